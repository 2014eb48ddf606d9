"""Recorded notes and SoundFont presets become banks: aligned, at pitch, kept in the cache."""

import errno
import os

import numpy as np
import pytest
import soundfile

from mircourse import cache
from mircourse.band import samples, soundfonts
from mircourse.band.sampler import render
from mircourse.errors import InputError

RATE = 16000
LEAD_IN = 0.03  # seconds of silence before the hammer, as in recordings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MIRCOURSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MIRCOURSE_SAMPLES", raising=False)
    return tmp_path


def tone(pitch, *, level=0.5, rate=44100, seconds=1.0):
    time = np.arange(round(seconds * rate)) / rate
    wave = level * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) * np.exp(-3 * time)
    return np.concatenate([np.zeros(round(LEAD_IN * rate)), wave])


@pytest.fixture
def recorded(home):
    """A folder in the manner of the Salamander Grand Piano: three keys, layers 1, 4 and 16, stereo."""
    folder = home / "grand"
    folder.mkdir()
    for name, pitch in (("A0", 21), ("F#3", 54), ("C8", 108)):
        for layer in (1, 4, 16):
            left = tone(pitch, level=0.05 * layer)
            soundfile.write(folder / f"{name}v{layer}.wav", np.stack([left, 0.8 * left], axis=1), 44100)
    (folder / "LICENSE.txt").write_text("for whoever asks")
    return folder


def test_a_folder_of_recorded_notes_becomes_a_bank(recorded):
    bank = samples.bank_of_folder(recorded, seconds=0.6)
    assert bank.waves.dtype == np.int16 and len(bank.waves) == 9
    assert sorted(set(bank.pitches)) == [21, 54, 108]
    assert sorted(set(bank.velocities)) == pytest.approx([127 / 32, 3.5 * 127 / 16, 15.5 * 127 / 16])
    assert np.abs(bank.waves).max() == 32000
    rows = zip(bank.pitches, bank.velocities, bank.waves, strict=True)
    loudest = {(pitch, round(velocity)): np.abs(wave).max() for pitch, velocity, wave in rows}
    assert loudest[54, 123] > 2 * loudest[54, 28] > 4 * loudest[54, 4]


def test_the_hammer_falls_on_the_first_sample(recorded):
    bank = samples.bank_of_folder(recorded, seconds=0.6)
    for pitch in (54, 108):
        sound = render(bank, np.array([[0.2, 0.7, pitch, 120]]), RATE)
        assert not sound[: round(0.2 * RATE)].any()
        heard = np.flatnonzero(np.abs(sound) > 0.2 * np.abs(sound).max())[0] / RATE
        assert heard == pytest.approx(0.2, abs=0.003)


def test_recorded_notes_keep_their_pitch_and_fill_the_keys_between(recorded):
    bank = samples.bank_of_folder(recorded, seconds=0.6)
    for pitch in (50, 54, 60, 80):
        sound = render(bank, np.array([[0.0, 1.0, pitch, 100]]), RATE // 2)
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * RATE))
        found = np.argmax(spectrum) / 8
        assert 1200 * np.log2(found / (440 * 2 ** ((pitch - 69) / 12))) == pytest.approx(0, abs=5)


def test_a_bank_is_read_once_and_again_when_the_folder_changes(recorded, monkeypatch):
    first = samples.bank_of_folder(recorded, seconds=0.4)
    with monkeypatch.context() as patched:
        patched.setattr(samples, "_read_note", lambda *_: pytest.fail("read again"))
        again = samples.bank_of_folder(recorded, seconds=0.4)
    assert first.waves.tobytes() == again.waves.tobytes()
    assert (first.velocities == again.velocities).all()
    soundfile.write(recorded / "A4v1.wav", tone(69), 44100)
    assert len(samples.bank_of_folder(recorded, seconds=0.4).waves) == 10


def test_a_damaged_cache_is_made_again(recorded):
    first = samples.bank_of_folder(recorded, seconds=0.4)
    (stored,) = cache.cache_folder("banks").iterdir()
    stored.write_bytes(stored.read_bytes()[:1000])
    assert samples.bank_of_folder(recorded, seconds=0.4).waves.tobytes() == first.waves.tobytes()
    with np.load(stored) as arrays:
        assert arrays["waves"].shape == first.waves.shape


def test_what_a_kill_left_is_removed_but_not_what_is_being_written(recorded):
    folder = cache.cache_folder("banks")
    old, young = folder / "x.npz.123.partial", folder / "y.npz.124.partial"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    samples.bank_of_folder(recorded, seconds=0.4)
    assert not old.exists() and young.exists()


def test_a_full_disk_is_said_in_one_sentence(recorded, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match="No space left on device.*MIRCOURSE_HOME"):
        samples.bank_of_folder(recorded, seconds=0.4)
    assert list(cache.cache_folder("banks").iterdir()) == []


def test_a_note_that_cannot_be_read_is_named(recorded):
    (recorded / "C4v1.wav").write_text("not audio")
    with pytest.raises(InputError, match="C4v1.wav"):
        samples.bank_of_folder(recorded, seconds=0.4)
    soundfile.write(recorded / "C4v1.wav", np.zeros(0), 44100)
    with pytest.raises(InputError, match="C4v1.wav"):
        samples.bank_of_folder(recorded, seconds=0.4)


def test_folders_are_named_by_the_environment(recorded, home, monkeypatch):
    assert samples.sample_folders() == []
    other = home / "upright"
    other.mkdir()
    soundfile.write(other / "D#2v3.flac", tone(39), 44100)
    monkeypatch.setenv("MIRCOURSE_SAMPLES", os.pathsep.join([str(recorded), "", str(other)]))
    assert samples.sample_folders() == [recorded, other]


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_notes_is_an_error(home, monkeypatch, exists):
    folder = home / "empty"
    if exists:
        folder.mkdir()
        (folder / "piano.wav").touch()
    monkeypatch.setenv("MIRCOURSE_SAMPLES", str(folder))
    with pytest.raises(InputError, match="MIRCOURSE_SAMPLES.*empty"):
        samples.sample_folders()
    with pytest.raises(InputError, match="holds no recorded notes"):
        samples.bank_of_folder(folder)


def test_a_soundfont_preset_becomes_a_bank(home):
    font = next(font for font in soundfonts.find_soundfonts() if font.family == "timgm6mb")
    bank = samples.bank_of_soundfont(font.path, 0, sample_rate=RATE, seconds=0.5)
    assert bank.waves.shape[0] == 180 and len(set(bank.pitches)) == 30
    peaks = np.abs(bank.waves.astype(float)).max(axis=1).reshape(6, 30)
    assert (np.diff(np.median(peaks, axis=1)) > 0).all()  # louder from layer to layer
    for pitch in (45, 57, 69):
        wave = bank.waves[np.flatnonzero((bank.pitches == pitch) & (bank.velocities == 98))[0]]
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 8 * RATE))
        near = 440 * 2 ** ((pitch - 69) / 12)
        window = slice(round(8 * near * 0.97), round(8 * near * 1.03))
        found = (window.start + np.argmax(spectrum[window])) / 8
        assert 1200 * np.log2(found / near) == pytest.approx(0, abs=15)
    again = samples.bank_of_soundfont(font.path, 0, sample_rate=RATE, seconds=0.5)
    assert again.waves.tobytes() == bank.waves.tobytes()
