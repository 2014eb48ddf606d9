"""A recording to listen to: the reader's own, else an example, else what the lesson has; never one for another."""

import numpy as np
import pytest
import soundfile

from mircourse.audio import examples
from mircourse.errors import InputError


def otherwise():
    return np.full(32000, 0.25, dtype=np.float32), "a clip of the band"


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "mine.wav"
    soundfile.write(path, 0.5 * np.sin(np.arange(48000) / 10), 16000)
    return path


def test_own_file_is_heard(wav):
    heard = examples.recording(wav, example="pistachio", otherwise=otherwise, seconds=2.0)
    assert "your own file mine.wav" in heard.heard and len(heard.audio) == 32000 and heard.licence == ""


def test_own_file_that_cannot_be_used_is_not_replaced(tmp_path):
    with pytest.raises(InputError):
        examples.recording(tmp_path / "gone.wav", example="pistachio", otherwise=otherwise)


def test_example_comes_with_its_licence(wav, monkeypatch):
    import librosa

    monkeypatch.setattr(librosa, "example", lambda key: str(wav))
    monkeypatch.setattr(librosa.util, "example_info", lambda key: print(f"{key}\tA Rag\n-----\nCC0"))
    heard = examples.recording(None, example="pistachio", otherwise=otherwise)
    assert "librosa's example 'pistachio'" in heard.heard and heard.licence == "pistachio\tA Rag CC0"


def test_offline_the_lesson_says_what_it_plays_instead(monkeypatch, capsys):
    import librosa

    def offline(key):
        raise ConnectionError("no network")

    monkeypatch.setattr(librosa, "example", offline)
    heard = examples.recording(None, example="pistachio", otherwise=otherwise, seconds=1.0)
    assert heard.heard == "You hear a clip of the band." and len(heard.audio) == 16000
    assert capsys.readouterr().err == ""
