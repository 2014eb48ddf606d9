"""Sampled pianos as banks: folders of recorded notes and SoundFont presets.

A folder of recorded notes holds files named by pitch and loudness layer, `A0v1.ogg` ... `C8v16.ogg` (the
naming of the Salamander Grand Piano); `MIRCOURSE_SAMPLES` lists such folders. A SoundFont preset is turned
into a bank by playing its keys one by one. Banks are kept in the cache.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mircourse.band.sampler import Bank
from mircourse.cache import cache_folder, remove_unfinished, whole_file
from mircourse.errors import InputError

_NOTE_FILE = re.compile(r"^([A-G]#?)(\d)v(\d+)\.(ogg|wav|flac|mp3)$")
_CLASSES = {name: i for i, name in enumerate("C C# D D# E F F# G G# A A# B".split())}


def sample_folders() -> list[Path]:
    """Folders of recorded notes that `MIRCOURSE_SAMPLES` names (separated as in `PATH`).

    Raises
    ------
    InputError
        If one of them does not exist or holds no recorded note.
    """
    folders = [Path(name).expanduser() for name in os.environ.get("MIRCOURSE_SAMPLES", "").split(os.pathsep) if name]
    for folder in folders:
        if not _note_files(folder):
            raise InputError(
                f"MIRCOURSE_SAMPLES names {folder}, which holds no recorded notes (files named like A0v1.ogg and "
                "C#4v8.wav); correct or unset the variable."
            )
    return folders


def _note_files(folder: Path) -> list[Path]:
    """Recorded notes of a folder in a fixed order."""
    return sorted(path for path in folder.glob("*") if _NOTE_FILE.match(path.name))


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


def _cached(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Load the arrays of a bank from the cache; make and store them where they are missing or damaged."""
    path = cache_folder("banks") / name
    with suppress(OSError, ValueError, EOFError, BadZipFile), np.load(path) as stored:
        return {name: stored[name] for name in stored.files}
    arrays = make()
    remove_unfinished(path.parent)
    with whole_file(path) as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    return arrays


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

    Raises
    ------
    InputError
        If the folder holds no recorded note, or one that cannot be read.
    """
    files = _note_files(folder)
    if not files:
        raise InputError(f"{folder} holds no recorded notes; files named like A0v1.ogg and C#4v8.wav are needed.")

    def make() -> dict[str, np.ndarray]:
        waves, pitches, layers = [], [], []
        for path in files:
            pitch_class, octave, layer, _ = _NOTE_FILE.match(path.name).groups()  # pyright: ignore[reportOptionalMemberAccess]
            waves.append(_read_note(path, sample_rate, seconds))
            pitches.append(_CLASSES[pitch_class] + 12 * (int(octave) + 1))
            layers.append(int(layer))
        velocities = (np.array(layers) - 0.5) * 127 / max(layers)
        return {"waves": _finish(waves, sample_rate), "pitches": np.array(pitches, float), "velocities": velocities}

    # Other recordings in the folder make another bank.
    content = "".join(f"{path.resolve()}{path.stat().st_size}" for path in files)
    name = f"folder-{folder.resolve().name}-{hash_of(content):x}-{sample_rate}-{seconds:g}.npz"
    arrays = _cached(name, make)
    return Bank(
        **arrays, levels=np.ones(len(arrays["pitches"])), dynamic_range_db=40.0, release_seconds=0.08,
        highest_damped_key=88, sample_rate=sample_rate, name=folder.resolve().name,
    )  # fmt: skip


def _read_note(path: Path, sample_rate: int, seconds: float) -> np.ndarray:
    """Read the beginning of a recorded note: the attack's lead-in and `seconds` of sound, mono."""
    import librosa
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            sound = file.read(int((seconds + 0.3) * rate), dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError as error:
        raise InputError(f"The recorded note {path} cannot be read; copy it again or remove it.") from error
    if not len(sound):
        raise InputError(f"The recorded note {path} holds no samples; copy it again or remove it.")
    return librosa.resample(sound, orig_sr=rate, target_sr=sample_rate, res_type="soxr_hq")


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
        apart = seconds + 0.5
        n_samples = int(len(keys) * apart * sample_rate)
        for velocity in layers:
            notes = np.array([[i * apart, i * apart + seconds, key, velocity] for i, key in enumerate(keys)], float)
            sound = render_notes(notes, None, path, program, n_samples, sample_rate=sample_rate)
            for i, key in enumerate(keys):
                start = int(i * apart * sample_rate)
                waves.append(sound[start : start + int(seconds * sample_rate)])
                pitches.append(key)
                velocities.append(velocity)
        return {"waves": _finish(waves, sample_rate), "pitches": np.array(pitches, float),
                "velocities": np.array(velocities, float)}  # fmt: skip

    name = f"soundfont-{path.stem}-{path.stat().st_size}-{program}-{sample_rate}-{seconds:g}.npz"
    arrays = _cached(name, make)
    return Bank(
        **arrays, levels=np.ones(len(arrays["pitches"])), dynamic_range_db=40.0, release_seconds=0.08,
        highest_damped_key=88, sample_rate=sample_rate, name=f"{path.stem}-{program}",
    )  # fmt: skip
