"""Listening: players for notebooks and web pages, notes turned into sound, recording and transcription side by side.

A player is plain HTML, so it needs no widget and looks the same in JupyterLab, on Colab and on the course's
site. It is scaled so that it neither clips nor whispers, and says in words what is heard.
"""

import base64
import html
import io

import numpy as np
import soundfile

from mircourse.errors import InputError

PEAK = 0.9
_TIMBRE = (1.0, 0.5, 0.3, 0.18, 0.1, 0.06)  # amplitudes of the partials of a sonified note
_RELEASE_SECONDS = 0.06


class Player:
    """An audio player that a notebook shows; made by `player`.

    Attributes
    ----------
    title : str
        What is heard; caption and accessible name.
    seconds : float
        Length.
    wav : bytes
        The sound as 16-bit WAV.
    """

    def __init__(self, title: str, seconds: float, wav: bytes):
        self.title = title
        self.seconds = seconds
        self.wav = wav

    def _repr_html_(self) -> str:
        title = html.escape(self.title, quote=True)
        source = base64.b64encode(self.wav).decode("ascii")
        return (
            '<figure class="mircourse-player" style="margin: 0.5em 0">'
            f"<figcaption>{title}</figcaption>"
            f'<audio controls preload="metadata" aria-label="{title} ({self.seconds:.1f} seconds)" '
            f'src="data:audio/wav;base64,{source}"></audio></figure>'
        )

    def __repr__(self) -> str:
        return f"Player: {self.title} ({self.seconds:.1f} s)"


def player(audio: np.ndarray, sample_rate: int, *, title: str, normalise: bool = True) -> Player:
    """Make an audio player for a notebook.

    Parameters
    ----------
    audio : array, shape (n,) or (2, n)
        Mono, or left and right.
    sample_rate : int
        In Hz.
    title : str
        What is heard, in words; a screen reader says it too.
    normalise : bool
        Scale the peak to 0.9. With False loudness is kept, except where it would clip.

    Returns
    -------
    Player
        Shown as the last value of a cell or by ``display``.

    Raises
    ------
    InputError
        If the audio is empty, not finite, or of another shape.
    """
    samples = np.atleast_2d(np.asarray(audio, dtype=np.float32))
    if samples.ndim != 2 or samples.shape[0] not in (1, 2) or not samples.shape[1]:
        raise InputError(
            f"A player takes audio of shape (n,) or (2, n), not {np.shape(audio)}; transpose or slice it."
        )
    if not np.isfinite(samples).all():
        raise InputError(
            "A player takes finite samples, and this audio holds NaN or infinity; look where they come from."
        )
    if normalise or np.abs(samples).max() > 1:
        samples = _scaled(samples)
    file = io.BytesIO()
    soundfile.write(file, samples.T, sample_rate, format="WAV", subtype="PCM_16")
    return Player(title, samples.shape[1] / sample_rate, file.getvalue())


def sonify_notes(notes: np.ndarray, sample_rate: int, n_samples: int) -> np.ndarray:
    """Play a list of notes on a plain decaying tone: to hear a transcription, not to admire it.

    Parameters
    ----------
    notes : array, shape (N, 4)
        Onset s, offset s, MIDI pitch (fractions allowed), velocity 1-127.
    sample_rate : int
        In Hz.
    n_samples : int
        Length of the result; what sounds later is left out.

    Returns
    -------
    numpy.ndarray, shape (n_samples,), float32
        Peak at most 0.9.
    """
    audio = np.zeros(n_samples, dtype=np.float32)
    notes = np.asarray(notes, dtype=float).reshape(-1, 4)
    notes = notes[(notes[:, 0] < n_samples / sample_rate) & (notes[:, 1] > np.maximum(notes[:, 0], 0))]
    release = max(1, round(_RELEASE_SECONDS * sample_rate))
    fade = np.linspace(1, 0, release, dtype=np.float32)
    for pitch in np.unique(notes[:, 2]):
        of_pitch = notes[notes[:, 2] == pitch]
        longest = round((of_pitch[:, 1] - of_pitch[:, 0]).max() * sample_rate) + release
        tone = _tone(pitch, min(longest, n_samples + release), sample_rate)
        for onset, offset, _, velocity in of_pitch:
            start = max(0, round(onset * sample_rate))
            held = round((offset - onset) * sample_rate)
            sound = tone[: held + release] * (velocity / 127) ** 1.5
            ending = sound[held:]
            ending *= fade[: len(ending)]
            sound = sound[: n_samples - start]
            audio[start : start + len(sound)] += sound
    return _scaled(audio)


def side_by_side(recording: np.ndarray, transcription: np.ndarray) -> np.ndarray:
    """Put a recording in the left ear and its sonified transcription in the right.

    Parameters
    ----------
    recording, transcription : array, shape (n,) and (m,)
        Mono, at the same sample rate; the shorter one is padded with silence.

    Returns
    -------
    numpy.ndarray, shape (2, max(n, m)), float32
        Both sides scaled to the same peak, 0.9.

    Raises
    ------
    InputError
        If one of them is not mono.
    """
    sides = [np.asarray(side, dtype=np.float32) for side in (recording, transcription)]
    if any(side.ndim != 1 for side in sides):
        raise InputError(
            "Recording and transcription must be mono, of shape (n,); average their channels first."
        )
    stereo = np.zeros((2, max(len(side) for side in sides)), dtype=np.float32)
    for row, side in zip(stereo, sides, strict=True):
        row[: len(side)] = _scaled(side)
    return stereo


def _tone(pitch: float, n_samples: int, sample_rate: int) -> np.ndarray:
    time = np.arange(n_samples, dtype=np.float32) / sample_rate
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    decay_seconds = 1.5 * 2 ** ((60 - pitch) / 24)  # low strings ring longer
    tone = np.zeros(n_samples, dtype=np.float32)
    for number, amplitude in enumerate(_TIMBRE, start=1):
        if number * frequency < sample_rate / 2:
            tone += amplitude * np.sin(np.float32(2 * np.pi * number * frequency) * time, dtype=np.float32)
    attack = np.minimum(1, time / 0.003)  # without it every note begins with a click
    return tone * attack * np.exp(-time / np.float32(decay_seconds))


def _scaled(audio: np.ndarray) -> np.ndarray:
    peak = float(np.abs(audio).max(initial=0.0))
    return audio * np.float32(PEAK / peak) if peak > 0 else audio
