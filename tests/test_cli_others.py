"""`mircourse prepare`, `train` and `doctor`: what they leave, say and refuse; the work is tested where it is done."""

import os
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from mircourse.cli import main
from mircourse.commands import doctor
from mircourse.commands.systems import SYSTEMS
from tests.command_line import complaints


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "--hours", "0"],
        ["prepare", "--hours", "nan"],
        ["prepare", "--jobs", "0"],
        ["prepare", "--seed", "-1"],
        ["train", "piano", "--minutes", "0"],
        ["train", "piano", "--seed", "-1"],
        ["train", "piano", "--output", "model.pt"],
        ["train", "piano", "--output", "absent.safetensors", "--resume"],
    ],
)
def test_impossible_wishes_are_refused(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert len(complaints(capsys.readouterr())) == 1
    assert not list(tmp_path.iterdir())


def test_train_leaves_a_checkpoint_and_goes_on_only_when_told(tmp_path, capsys, monkeypatch):
    from types import SimpleNamespace

    def train(*, size, minutes, device, seed, folder):
        if not (folder / "state.pt").exists():
            (folder / "state.pt").touch()
            raise KeyboardInterrupt
        (folder / "best.safetensors").write_text(f"{size} {minutes} {device} {seed}")
        (folder / "best.json").touch()
        card = {"scores": {"band, validation": {"note_f1": 0.5}}}
        return SimpleNamespace(checkpoint=folder / "best.safetensors", steps=3, minutes=1.0, card=card)

    monkeypatch.setattr(SYSTEMS["piano"], "train", train)
    output = tmp_path / "my.safetensors"
    arguments = [
        "train",
        "piano",
        "--output",
        str(output),
        "--minutes",
        "2",
        "--device",
        "cpu",
        "--seed",
        "5",
    ]
    assert main(arguments) == 130
    assert main(arguments) == 2
    assert "--resume" in complaints(capsys.readouterr())[-1]
    assert main([*arguments, "--resume"]) == 0
    assert "band, validation: note_f1 0.500" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.json", "my.safetensors"]
    assert output.read_text() == "mini 2.0 cpu 5"
    assert main(arguments) == 2
    assert "there already" in complaints(capsys.readouterr())[0]


def test_training_without_a_band_leaves_nothing_behind(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MIRCOURSE_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert main(["train", "piano"]) == 2
    assert "mircourse prepare" in complaints(capsys.readouterr())[0]
    assert not list((tmp_path / "work").iterdir())


# Six pieces of four seconds instead of the sixteen of two minutes that `mircourse prepare` renders at least.
PREPARE = """
import sys
from mircourse.cli import main
from mircourse.commands.systems import Piano
from mircourse.datasets.piano import prepare

if __name__ == "__main__":
    def few(self, hours, jobs, seed):
        seconds = prepare(splits={"train": 0.01}, jobs=jobs, seed=seed, piece_seconds=4.0)
        return seconds, seconds["train"]

    Piano.prepare = few
    sys.exit(main(["prepare", "--jobs", "1"]))
"""


def test_a_prepare_that_is_killed_is_finished_by_the_next(tmp_path):
    environment = {**os.environ, "MIRCOURSE_HOME": str(tmp_path)}
    killed = subprocess.Popen([sys.executable, "-c", PREPARE], env=environment, start_new_session=True)
    while not list(tmp_path.rglob("*.notes.csv")) and killed.poll() is None:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.notes.csv")}
    assert 1 <= len(before) < 6
    assert all(path.with_name(path.name.replace(".notes.csv", ".wav")).exists() for path in before)

    done = subprocess.run([sys.executable, "-c", PREPARE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "train 0.01 h" in done.stdout, done.stderr
    assert len(list(tmp_path.rglob("*.notes.csv"))) == 6
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len({soundfile.info(path).frames for path in tmp_path.rglob("*.wav")}) == 1


def test_prepare_says_how_fast_it_was(monkeypatch, capsys):
    answers = [({"train": 7200.0, "test": 360.0}, 7200.0), ({"train": 7200.0, "test": 360.0}, 0.0)]
    monkeypatch.setattr(SYSTEMS["piano"], "prepare", lambda hours, jobs, seed: answers.pop(0))
    assert main(["prepare"]) == 0
    first = capsys.readouterr().out
    assert "train 2.00 h, test 0.10 h; 2.00 h rendered" in first and "x real time" in first
    assert main(["prepare", "piano"]) == 0
    assert "was there already" in capsys.readouterr().out


# doctor


def test_doctor_reports(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MIRCOURSE_HOME", str(tmp_path / "home"))
    status = main(["doctor"])
    report = capsys.readouterr().out
    assert status in (0, 1) and (status == 1) == ("\nmissing " in "\n" + report)
    assert "Python 3." in report and "torch " in report and str(tmp_path / "home") in report


def test_doctor_finds_a_missing_package(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_requirement_lines", lambda: ["numpy>=99", "no-such-package", "numpy>=1"])
    assert main(["doctor"]) == 1
    report = capsys.readouterr().out
    assert "missing  no-such-package is not installed" in report and "needed is >=99" in report
    assert 'pip install "no-such-package"' in report and "cannot be used yet" in report


def test_doctor_survives_what_it_examines(capsys, monkeypatch):
    def broken():
        raise RuntimeError("no such luck")
        yield

    monkeypatch.setattr(doctor, "_torch", broken)
    assert main(["doctor"]) == 1
    assert "RuntimeError: no such luck" in capsys.readouterr().out


def test_doctor_with_a_cache_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIRCOURSE_HOME", str(tmp_path / "file" / "home"))
    assert main(["doctor"]) == 1
    assert "MIRCOURSE_HOME" in capsys.readouterr().out


def test_a_reader_that_leaves_early_is_no_error():
    script = f'"{sys.executable}" -m mircourse.cli doctor | head -1'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""
