"""`mircourse evaluate`: the documented JSON, lags, choices, and what is left out is said."""

import json

import numpy as np
import pytest

from mircourse.cli import main
from mircourse.commands.systems import SYSTEMS
from mircourse.errors import InputError
from tests.command_line import complaints, tone, write

NOTES = np.array([[0.5, 1.0, 60, 80], [1.0, 1.5, 64, 80], [1.5, 2.0, 67, 80]])


@pytest.fixture
def annotated(tmp_path, monkeypatch):
    """A folder of two recordings, and a system that hears its notes exactly, but 0.1 s late in ``late_Am``."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("late_Am", "right_Cl"):
        write(folder / f"{name}.wav", tone(3.0))
        np.savetxt(folder / f"{name}.notes.csv", NOTES, delimiter=",", fmt=["%.4f", "%.4f", "%d", "%d"])

    def transcribe(audio, model, progress):
        if audio.suffix == ".ogg":
            raise InputError(f"{audio} cannot be read.")
        return NOTES + ([0.1, 0.1, 0, 0] if audio.stem == "late_Am" else 0)

    monkeypatch.setattr(SYSTEMS["piano"], "load", lambda checkpoint, device: None)
    monkeypatch.setattr(SYSTEMS["piano"], "transcribe", transcribe)
    return folder


def evaluate(folder, *arguments):
    return main(["evaluate", "piano", "--data", f"folder:{folder}", *arguments])


def test_evaluate_writes_the_documented_json(annotated, tmp_path, capsys):
    assert evaluate(annotated, "--json", str(tmp_path / "new" / "scores.json")) == 0
    scores = json.loads((tmp_path / "new" / "scores.json").read_text())
    assert list(scores) == ["system", "data", "files", "metrics", "per_file"]
    assert (scores["system"], scores["data"], scores["files"]) == ("piano", f"folder:{annotated}", 2)
    expected = {
        f"{kind}_{measure}"
        for kind in ("note", "note_offset", "note_offset_velocity", "frame")
        for measure in ("f1", "precision", "recall")
    }
    assert set(scores["metrics"]) == expected
    assert list(scores["per_file"]) == ["late_Am", "right_Cl"]
    assert set(scores["per_file"]["late_Am"]) == expected
    assert scores["per_file"]["right_Cl"]["note_f1"] == 1 and scores["per_file"]["late_Am"]["note_f1"] == 0
    assert scores["metrics"]["note_f1"] == 0.5
    table = capsys.readouterr().out
    assert "(recordings)" in table and "mean of 2" in table and "note_offset_velocity_f1" in table


def test_lag_moves_the_reference_of_matching_files_only(annotated, tmp_path):
    path = tmp_path / "scores.json"
    assert evaluate(annotated, "--lag", "*Am=0.1", "--json", str(path)) == 0
    assert json.loads(path.read_text())["metrics"]["note_f1"] == 1
    assert evaluate(annotated, "--lag", "*=0.1", "--lag", "*Cl=-0.02", "--json", str(path)) == 0
    assert json.loads(path.read_text())["metrics"]["note_f1"] == 1


def test_evaluate_on_the_band_says_so(annotated, tmp_path, monkeypatch, capsys):
    from mircourse.commands.systems import Example

    splits = []

    def band(split):
        splits.append(split)
        return [Example(name, annotated / f"{name}.wav", lambda: NOTES) for name in ("late_Am", "right_Cl")]

    monkeypatch.setattr(SYSTEMS["piano"], "band", band)
    path = tmp_path / "scores.json"
    assert main(["evaluate", "piano", "--split", "unheard", "--only", "right*", "--json", str(path)]) == 0
    scores = json.loads(path.read_text())
    assert (splits, scores["data"], scores["files"]) == (["unheard"], "band:unheard", 1)
    assert "(synthetic band)" in capsys.readouterr().out
    assert main(["evaluate", "piano", "--only", "x"]) == 2
    assert "late_Am" in complaints(capsys.readouterr())[0]


def test_evaluate_the_baseline(annotated, tmp_path, monkeypatch):
    monkeypatch.setattr(SYSTEMS["piano"], "baseline", lambda: lambda audio: NOTES[:2])
    path = tmp_path / "scores.json"
    assert evaluate(annotated, "--baseline", "--json", str(path)) == 0
    assert json.loads(path.read_text())["metrics"]["note_recall"] == pytest.approx(2 / 3)


def test_only_chooses_files(annotated, tmp_path, capsys):
    path = tmp_path / "scores.json"
    assert evaluate(annotated, "--only", "*_Cl", "--json", str(path)) == 0
    assert list(json.loads(path.read_text())["per_file"]) == ["right_Cl"]
    assert evaluate(annotated, "--only", "*_Zz") == 2
    assert "*_Zz" in complaints(capsys.readouterr())[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "folder:/absent"], "not there"),
        (["--data", "maestro"], "folder:DIR"),
        (["--lag", "*Zz=0.1"], "*Zz"),
        (["--baseline", "--checkpoint", "mine"], "--baseline"),
        (["--json", "/"], "a folder"),
    ],
)
def test_evaluate_refuses_with_a_sentence(annotated, capsys, arguments, words):
    assert main(["evaluate", "piano", "--data", f"folder:{annotated}", *arguments]) == 2
    (line,) = complaints(capsys.readouterr())
    assert words in line


@pytest.mark.parametrize("lag", ["0.1", "*=soon", "=0.1", "*=nan"])
def test_a_lag_of_another_form_is_wrong_usage(lag, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "piano", "--lag", lag])
    assert stopped.value.code == 2 and "GLOB=SECONDS" in capsys.readouterr().err


def test_evaluate_names_what_it_leaves_out(annotated, tmp_path, capsys):
    write(annotated / "bare.wav")
    write(annotated / "broken.ogg")
    (annotated / "broken.notes.csv").write_text("0.5,1.0,60,80\n")
    write(annotated / "wrong.wav")
    (annotated / "wrong.notes.csv").write_text("0.5,0.4,60,80\n")
    assert evaluate(annotated, "--json", str(tmp_path / "scores.json")) == 2
    lines = complaints(capsys.readouterr())
    assert "bare.wav" in lines[0] and "broken.ogg" in lines[1] and "wrong.notes.csv" in lines[2]
    assert "2 of 4 files" in lines[3]
    assert json.loads((tmp_path / "scores.json").read_text())["files"] == 2


def test_a_json_file_that_is_there_survives_what_goes_wrong(annotated, tmp_path, capsys):
    (tmp_path / "scores.json").write_text("precious")
    for path in annotated.glob("*.csv"):
        path.write_text("0.5,0.4,60,80\n")
    assert evaluate(annotated, "--json", str(tmp_path / "scores.json")) == 2
    assert (tmp_path / "scores.json").read_text() == "precious"
