"""Sampled pianos as banks: folders of recorded notes and SoundFont presets.

A folder of recorded notes holds files named by pitch and loudness layer, `A0v1.ogg` ... `C8v16.ogg` (the
naming of the Salamander Grand Piano); `MIRCOURSE_SAMPLES` lists such folders. A SoundFont preset is turned
into a bank by playing its keys one by one.
"""

import os
import re
from pathlib import Path

import numpy as np

from mircourse.band.sampler import Bank
from mircourse.cache import cache_folder

_NOTE_FILE = re.compile(r"^([A-G]#?)(\d)v(\d+)\.(ogg|wav|flac|mp3)$")
_CLASSES = {name: i for i, name in enumerate("C C# D D# E F F# G G# A A# B".split())}


def sample_folders() -> list[Path]:
    """Folders named by `MIRCOURSE_SAMPLES` that hold recorded notes."""
    named = [Path(p).expanduser() for p in os.environ.get("MIRCOURSE_SAMPLES", "").split(os.pathsep) if p]
    return [folder for folder in named if any(_NOTE_FILE.match(f.name) for f in folder.glob("*"))]


def strike_sample(wave: np.ndarray, sample_rate: int) -> int:
    """First sample of a struck note: where its 2 ms level comes within 26 dB of the attack's peak.

    Parameters
    ----------
    wave : np.ndarray, shape (n,)
    sample_rate : int

    Returns
    -------
    int
        0 when the note begins at once.
    """
    window = max(int(0.002 * sample_rate), 1)
    level = np.sqrt(np.convolve(wave[: int(0.5 * sample_rate)] ** 2, np.ones(window) / window, mode="same"))
    return max(int(np.argmax(level > level.max() * 10 ** (-26 / 20))) - window // 2, 0)


def _finish(waves: list[np.ndarray], sample_rate: int) -> np.ndarray:
    """Align every note to its strike, fade the end, and store as int16."""
    n = max(len(wave) for wave in waves)
    rows = np.zeros((len(waves), n), dtype=np.int16)
    peak = max(np.abs(wave).max() for wave in waves) + 1e-9
    fade = np.linspace(1, 0, sample_rate // 4)
    for row, wave in zip(rows, waves, strict=True):
        wave = wave[strike_sample(wave, sample_rate) :].copy()
        wave[-len(fade) :] *= fade[-len(wave) :]
        row[: len(wave)] = np.round(wave / peak * 32000)
    return rows


def _cached(path: Path, make) -> dict[str, np.ndarray]:
    """Load the arrays of a bank from the cache, or make and store them."""
    if not path.exists():
        arrays = make()
        partial = path.with_suffix(f".{os.getpid()}.partial.npz")
        np.savez(partial, **arrays)
        os.replace(partial, path)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def bank_of_folder(folder: Path, *, sample_rate: int = 16000, seconds: float = 8.0) -> Bank:
    """Read a folder of recorded notes.

    Parameters
    ----------
    folder : pathlib.Path
    sample_rate : int
        Hz of the bank; recordings are resampled once and cached.
    seconds : float
        Longest note kept.

    Returns
    -------
    Bank
    """
    import librosa
    import soundfile

    def make() -> dict[str, np.ndarray]:
        waves, pitches, layers = [], [], []
        for path in sorted(folder.iterdir()):
            match = _NOTE_FILE.match(path.name)
            if not match:
                continue
            info = soundfile.info(path)
            sound, rate = soundfile.read(path, frames=int((seconds + 0.3) * info.samplerate), dtype="float32")
            if sound.ndim == 2:
                sound = sound.mean(axis=1)
            waves.append(librosa.resample(sound, orig_sr=rate, target_sr=sample_rate, res_type="soxr_hq"))
            pitches.append(_CLASSES[match[1]] + 12 * (int(match[2]) + 1))
            layers.append(int(match[3]))
        n_layers = max(layers)
        velocities = (np.array(layers) - 0.5) * 127 / n_layers
        return {"waves": _finish(waves, sample_rate), "pitches": np.array(pitches, float), "velocities": velocities}

    name = f"folder-{folder.resolve().name}-{abs(hash_of(str(folder.resolve()))):x}-{sample_rate}-{seconds:g}.npz"
    arrays = _cached(cache_folder("banks") / name, make)
    return Bank(
        **arrays, levels=np.ones(len(arrays["pitches"])), dynamic_range_db=40.0, release_seconds=0.08,
        highest_damped_key=88, sample_rate=sample_rate, name=folder.resolve().name,
    )  # fmt: skip


def hash_of(text: str) -> int:
    """A number that stands for a text, the same on every machine."""
    import zlib

    return zlib.crc32(text.encode())


def bank_of_soundfont(path: Path, program: int, *, sample_rate: int = 16000, seconds: float = 7.0) -> Bank:
    """Play every third key of a SoundFont preset in six loudness layers and keep the notes.

    Parameters
    ----------
    path : pathlib.Path
        An .sf2 or .sf3 file.
    program : int
        General MIDI program, 0-based.
    sample_rate : int
        Hz.
    seconds : float
        Length of each note.

    Returns
    -------
    Bank
    """
    from mircourse.band.soundfonts import render_notes

    def make() -> dict[str, np.ndarray]:
        keys, layers = np.arange(21, 109, 3), np.array([18, 38, 58, 78, 98, 118])
        waves, pitches, velocities = [], [], []
        for velocity in layers:
            apart = seconds + 0.5
            notes = np.array([[i * apart, i * apart + seconds, key, velocity] for i, key in enumerate(keys)], float)
            sound = render_notes(notes, None, path, program, int(len(keys) * apart * sample_rate), sample_rate=sample_rate)
            for i, key in enumerate(keys):
                start = int(i * apart * sample_rate)
                waves.append(sound[start : start + int(seconds * sample_rate)])
                pitches.append(key)
                velocities.append(velocity)
        return {"waves": _finish(waves, sample_rate), "pitches": np.array(pitches, float),
                "velocities": np.array(velocities, float)}  # fmt: skip

    name = f"soundfont-{path.stem}-{program}-{sample_rate}-{seconds:g}.npz"
    arrays = _cached(cache_folder("banks") / name, make)
    return Bank(
        **arrays, levels=np.ones(len(arrays["pitches"])), dynamic_range_db=40.0, release_seconds=0.08,
        highest_damped_key=88, sample_rate=sample_rate, name=f"{path.stem}-{program}",
    )  # fmt: skip
