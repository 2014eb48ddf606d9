"""`mircourse run`: results that are whole, and for everything that can go wrong one sentence and a status."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mircourse.cli import main
from mircourse.commands import doctor
from mircourse.commands.systems import SYSTEMS
from tests.command_line import assert_whole, complaints, tone, write

REAL = Path(__file__).parents[2] / "shared" / "real" / "piano"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A piano model that has learned nothing and hears every key all the time; quality is tested elsewhere."""
    import torch

    from mircourse.piano.transcriber import Transcriber
    from mircourse.training.cards import CardFields, make_card
    from mircourse.training.checkpoints import save_checkpoint

    torch.manual_seed(0)
    model = Transcriber("mini").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("logits.bias"):
                parameter.fill_(4.0)
    card = make_card(CardFields("piano", "mini"), parameters=0, seed=0, steps=0, minutes=0)
    return str(save_checkpoint(tmp_path_factory.mktemp("model") / "untrained.safetensors", model, card))


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "mircourse.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


# Starting


def test_starting_costs_little():
    script = (
        # Seconds of the processor, not of the clock: other programs may be running.
        "import sys, time; t = time.process_time(); import mircourse.cli; took = time.process_time() - t\n"
        "print(took, *({'numpy', 'torch', 'librosa', 'soundfile', 'tqdm'} & set(sys.modules)))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
        for _ in range(5)
    ]
    took, *heavy = min(runs, key=lambda line: float(line.split()[0])).split()
    assert not heavy
    assert float(took) < 0.1


def test_help_lists_the_commands():
    done = command("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("doctor", "prepare", "train", "run", "evaluate"))


@pytest.mark.parametrize(
    "arguments",
    [(), ("walk",), ("run", "kazoo", "x.wav"), ("run", "piano"), ("prepare", "kazoo"), ("run", "--frob")],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: mircourse" in capsys.readouterr().err


# run


def test_run_end_to_end_in_a_process_of_its_own(tmp_path, checkpoint):
    for suffix in ("wav", "flac", "ogg", "mp3"):
        write(tmp_path / f"{suffix} file.{suffix}")
    audio = sorted(tmp_path.glob("*file.*"))
    done = command(
        "run", "piano", *audio, "-o", tmp_path / "out", "--checkpoint", checkpoint, "--device", "cpu"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 of 4 recordings" in done.stdout and "x real time" in done.stdout
    for path in audio:
        assert_whole(tmp_path / "out", path.stem)
    assert len(list((tmp_path / "out").iterdir())) == 8


@pytest.mark.parametrize(
    ("audio", "sample_rate"),
    [
        (np.zeros(16000), 16000),
        (tone(1.0, 8000), 8000),
        (tone(1.0, 96000), 96000),
        (np.stack([tone()] * 6, axis=1), 16000),
        (tone(0.06), 16000),
    ],
    ids=["silence", "8 kHz", "96 kHz", "6 channels", "60 ms"],
)
def test_unusual_audio_is_right(tmp_path, checkpoint, capsys, audio, sample_rate):
    path = write(tmp_path / "x.wav", audio, sample_rate)
    assert main(["run", "piano", path, "-o", str(tmp_path / "out"), "--checkpoint", checkpoint]) == 0
    assert not complaints(capsys.readouterr())
    assert_whole(tmp_path / "out", "x")


def bad_audio(folder):
    """One file of every kind that cannot be transcribed: (path, words of its sentence)."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 160000)
    (folder / "text.wav").write_text("hello")
    (folder / "no bytes.wav").touch()
    (folder / "folder.wav").mkdir()
    (folder / "phone.m4a").write_bytes(bytes(1000))
    write(folder / "no samples.wav", np.zeros(0))
    write(folder / "1 ms.wav", tone(0.001))
    write(folder / "nan.wav", np.r_[tone(), np.nan], subtype="FLOAT")
    for suffix in ("mp3", "ogg", "flac"):
        path = folder / f"half.{suffix}"
        write(path, noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {
        "absent.wav": "no file",
        "text.wav": "not audio",
        "no bytes.wav": "empty",
        "folder.wav": "folder",
        "phone.m4a": "convert",
        "no samples.wav": "no samples",
        "1 ms.wav": "1 ms",
        "nan.wav": "not finite",
        "half.mp3": "breaks off",
        "half.ogg": "breaks off",
        "half.flac": "breaks off",
    }


def test_each_bad_file_gets_one_sentence_and_status_2(tmp_path, checkpoint, capfd):
    for name, words in bad_audio(tmp_path).items():
        arguments = [
            "run",
            "piano",
            str(tmp_path / name),
            "-o",
            str(tmp_path / "out"),
            "--checkpoint",
            checkpoint,
        ]
        assert main(arguments) == 2
        captured = capfd.readouterr()
        (line,) = complaints(captured)
        assert str(tmp_path / name) in line and words in line
        assert captured.out == ""
    assert not list((tmp_path / "out").glob("*"))


def test_bad_files_do_not_stop_the_good_ones(tmp_path, checkpoint, capsys):
    bad = bad_audio(tmp_path)
    bad.pop("half.ogg"), bad.pop("half.flac")  # would share a name with half.mp3
    good = write(tmp_path / "good.wav")
    status = main(
        ["run", "piano", *(str(tmp_path / name) for name in bad), good]
        + ["-o", str(tmp_path / "out"), "--checkpoint", checkpoint]
    )
    assert status == 2
    captured = capsys.readouterr()
    lines = complaints(captured)
    assert len(lines) == len(bad) + 1
    assert f"{len(bad)} of {len(bad) + 1} recordings could not" in lines[-1]
    assert all(any(name in line and words in line for line in lines[:-1]) for name, words in bad.items())
    assert f"1 of {len(bad) + 1} recordings" in captured.out
    assert_whole(tmp_path / "out", "good")


def test_a_text_named_wav_from_the_shell(tmp_path):
    (tmp_path / "x.wav").write_text("hello")
    done = command("run", "piano", tmp_path / "x.wav", "-o", tmp_path / "out")
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr.count("\n") == 1 and done.stderr.startswith("mircourse: ") and "not audio" in done.stderr
    )


def test_two_recordings_of_one_name_do_not_overwrite_each_other(tmp_path, checkpoint, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [write(tmp_path / "a" / "x.wav"), write(tmp_path / "b" / "X.flac")]
    assert main(["run", "piano", *paths, "-o", str(tmp_path / "out"), "--checkpoint", checkpoint]) == 2
    (line,) = complaints(capsys.readouterr())
    assert all(path in line for path in paths) and "-o" in line
    assert not (tmp_path / "out").exists()
    twice = ["run", "piano", paths[0], paths[0], "-o", str(tmp_path / "out"), "--checkpoint", checkpoint]
    assert main(twice) == 0


def test_an_annotation_beside_the_recording_is_not_overwritten(tmp_path, checkpoint, capsys, monkeypatch):
    path = write(tmp_path / "x.wav")
    (tmp_path / "x.notes.csv").write_text("0.1,0.2,60,64\n")
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "piano", path, "--checkpoint", checkpoint]
    assert main(arguments) == 2
    assert "annotation" in complaints(capsys.readouterr())[0]
    assert (tmp_path / "x.notes.csv").read_text() == "0.1,0.2,60,64\n" and not (tmp_path / "x.mid").exists()
    assert main([*arguments, "--overwrite"]) == 0
    assert_whole(tmp_path, "x")


def test_a_second_run_replaces_the_first(tmp_path, checkpoint):
    arguments = [
        "run",
        "piano",
        write(tmp_path / "x.wav"),
        "-o",
        str(tmp_path / "out"),
        "--checkpoint",
        checkpoint,
    ]
    assert main(arguments) == 0 and main(arguments) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x.mid", "x.notes.csv"]


def test_output_folder_that_is_a_file(tmp_path, checkpoint, capsys):
    path = write(tmp_path / "x.wav")
    assert main(["run", "piano", path, "-o", path, "--checkpoint", checkpoint]) == 2
    assert "it is a file" in complaints(capsys.readouterr())[0]


def may_mount():
    """Tell whether a process without rights may mount a small disk in a world of its own."""
    if not (sys.platform == "linux" and shutil.which("unshare")):
        return False
    trial = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(trial, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs Linux user namespaces to mount a small disk")
@pytest.mark.parametrize(
    ("options", "words"), [("ro", "cannot be written (Read-only"), ("size=8k", "is full")]
)
def test_read_only_and_full_output_folders(tmp_path, options, words, checkpoint):
    path, out = write(tmp_path / "x.wav"), tmp_path / "out"
    out.mkdir()
    script = f'mount -t tmpfs -o {options} none "$1" && shift && exec "$@"'
    run = [sys.executable, "-m", "mircourse.cli", "run", "piano", path, "-o", out, "--checkpoint", checkpoint]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", out, *run], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and words in done.stderr and str(out) in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fills_up_on_the_way_keeps_what_is_done(
    tmp_path, checkpoint, capsys, monkeypatch, number
):
    out = tmp_path / "out"
    paths = [write(tmp_path / f"{name}.wav") for name in "abc"]
    real_fsync = os.fsync

    def fsync(descriptor):
        if (out / "a.notes.csv").exists():
            raise OSError(number, os.strerror(number))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert main(["run", "piano", *paths, "-o", str(out), "--checkpoint", checkpoint]) == 2
    (line,) = complaints(capsys.readouterr())
    assert str(out / "b.mid") in line and os.strerror(number) in line
    assert sorted(path.name for path in out.iterdir()) == ["a.mid", "a.notes.csv"]
    assert_whole(out, "a")


def test_an_unexpected_full_disk_is_a_sentence_too(monkeypatch, capsys):
    def full(arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/x")

    monkeypatch.setattr(doctor, "execute", full)
    assert main(["doctor"]) == 2
    assert "The disk is full at /somewhere/x" in complaints(capsys.readouterr())[0]


def test_an_interrupt_is_a_sentence_and_status_130(tmp_path, checkpoint, capsys, monkeypatch):
    paths = [write(tmp_path / f"{name}.wav") for name in "ab"]
    real = SYSTEMS["piano"].transcribe

    def transcribe(audio, model, progress):
        if audio.stem == "b":
            raise KeyboardInterrupt
        return real(audio, model, progress)

    monkeypatch.setattr(SYSTEMS["piano"], "transcribe", transcribe)
    assert main(["run", "piano", *paths, "-o", str(tmp_path / "out"), "--checkpoint", checkpoint]) == 130
    assert "Interrupted" in complaints(capsys.readouterr())[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mid", "a.notes.csv"]


def test_checkpoints_that_cannot_be_used(tmp_path, checkpoint, capsys):
    import torch
    from safetensors.torch import save_file

    audio = write(tmp_path / "x.wav")
    intact = Path(checkpoint).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(intact[: len(intact) // 2])
    (tmp_path / "noise.safetensors").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "alone.safetensors").write_bytes(intact)
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickled.pt")
    for name in (
        "absent",
        "cut.safetensors",
        "noise.safetensors",
        "alone.safetensors",
        "foreign.safetensors",
        "pickled.pt",
    ):
        path = str(tmp_path / name)
        assert main(["run", "piano", audio, "-o", str(tmp_path / "out"), "--checkpoint", path]) == 2
        (line,) = complaints(capsys.readouterr())
        assert name in line
    assert not list((tmp_path / "out").iterdir())


def test_an_absent_gpu_is_a_sentence(tmp_path, checkpoint, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    audio = write(tmp_path / "x.wav")
    assert (
        main(["run", "piano", audio, "-o", str(tmp_path), "--checkpoint", checkpoint, "--device", "cuda"])
        == 2
    )
    assert "no usable 'cuda'" in complaints(capsys.readouterr())[0]


# With the checkpoint that comes with the package


@pytest.fixture
def shipped():
    from mircourse.training.checkpoints import packaged_checkpoints

    if not packaged_checkpoints():
        pytest.skip("no checkpoint comes with this copy")


def test_silence_has_no_notes(shipped, tmp_path):
    path = write(tmp_path / "x.wav", np.zeros(16000 * 5))
    assert main(["run", "piano", path, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "x.notes.csv").read_text() == ""


@pytest.mark.skipif(not REAL.is_dir(), reason="real recordings are not beside this checkout")
def test_a_real_recording(shipped, tmp_path):
    name = "madmom_stereo_sample"
    assert main(["run", "piano", str(REAL / f"{name}.flac"), "-o", str(tmp_path)]) == 0
    assert_whole(tmp_path, name)
    scores = tmp_path / "scores.json"
    assert main(["evaluate", "piano", "--data", f"folder:{REAL}", "--only", name, "--json", str(scores)]) == 0
    assert json.loads(scores.read_text())["metrics"]["note_f1"] > 0.5
