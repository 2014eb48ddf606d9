"""A sampler: recorded or computed single notes become a performance, every onset at its exact sample.

An instrument is a `Bank`: for some keys and loudness layers the sound of one struck string, aligned so
that the hammer hits at sample 0. The sampler plays the nearest layer at the right speed, lets it ring as
long as key or pedal holds it, and damps it afterwards. Mixing is compiled, so that a piece costs
milliseconds per second of sound.
"""

from dataclasses import dataclass

import numba
import numpy as np

LOWEST_KEY, HIGHEST_KEY = 21, 108


@dataclass
class Bank:
    """Single notes of one instrument.

    Attributes
    ----------
    waves : np.ndarray, shape (sounds, samples), float32 or int16
        One struck note a row, the hammer at sample 0, zero-padded at the end. int16 stands for [-1, 1).
    pitches : np.ndarray, shape (sounds,)
        MIDI pitch (fractions allowed) that each row sounds at when played at its own speed.
    velocities : np.ndarray, shape (sounds,)
        MIDI velocity that each row was struck with.
    levels : np.ndarray, shape (sounds,)
        Gain to apply to a row at its own velocity (1 keeps a recording's own level).
    dynamic_range_db : float
        Level difference between velocity 127 and velocity 1, used between two layers.
    release_seconds : float
        Time constant of a middle key's damper.
    highest_damped_key : int
        Keys above it ring on after their release, as on a real piano.
    sample_rate : int
        Hz.
    name : str
        For cards and file names.
    """

    waves: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray
    levels: np.ndarray
    dynamic_range_db: float
    release_seconds: float
    highest_damped_key: int
    sample_rate: int
    name: str


def _nearest_sounds(bank: Bank, pitches: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Row of the bank for every note: the nearest sampled pitch, then the nearest layer of it."""
    roots = np.unique(bank.pitches)
    root = roots[np.abs(roots[None, :] - pitches[:, None]).argmin(axis=1)]
    distance = np.abs(bank.velocities[None, :] - velocities[:, None])
    distance = np.where(bank.pitches[None, :] == root[:, None], distance, np.inf)
    return distance.argmin(axis=1)


@numba.njit(cache=True, fastmath=True)
def _mix(out, waves, scale, rows, speeds, gains, starts, lengths, decays):
    """Add every note to `out`; after `lengths` samples a note fades by the factor `decays` a sample."""
    for note in range(rows.shape[0]):
        wave = waves[rows[note]]
        speed, gain = speeds[note], gains[note] * scale
        start, length, decay = starts[note], lengths[note], decays[note]
        limit = min(out.shape[0] - start, int((wave.shape[0] - 2) / speed))
        envelope = 1.0
        for i in range(limit):
            if i > length:
                envelope *= decay
                if envelope < 1e-4:
                    break
            position = i * speed
            j = int(position)
            fraction = position - j
            value = wave[j] * (1.0 - fraction) + wave[j + 1] * fraction
            out[start + i] += gain * envelope * value


def render(bank: Bank, notes: np.ndarray, n_samples: int, *, tuning_cents: float = 0.0) -> np.ndarray:
    """Play notes on a bank.

    Parameters
    ----------
    bank : Bank
    notes : np.ndarray, shape (N, 4)
        Onset s, offset s (until which key or pedal holds the note), MIDI pitch, velocity 1-127.
    n_samples : int
        Length of the result.
    tuning_cents : float
        Detuning of the whole instrument.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        Not normalised.
    """
    rate = bank.sample_rate
    pitches, velocities = notes[:, 2], notes[:, 3]
    rows = _nearest_sounds(bank, pitches, velocities)
    speeds = 2.0 ** ((pitches - bank.pitches[rows] + tuning_cents / 100) / 12)
    # Between layers loudness follows a logarithmic velocity curve, pinned to the layer that is played.
    decibels = bank.dynamic_range_db * (np.log2(velocities / bank.velocities[rows]) / np.log2(127))
    gains = bank.levels[rows] * 10 ** (decibels / 20)
    starts = np.round(notes[:, 0] * rate).astype(np.int64)
    lengths = np.round((notes[:, 1] - notes[:, 0]) * rate).astype(np.int64)
    # Thick bass strings take longer to stop than thin ones: one octave lower, 1.3 times as long.
    seconds = bank.release_seconds * 1.3 ** ((60 - pitches) / 12)
    seconds = np.where(pitches > bank.highest_damped_key, 10.0, seconds)
    decays = np.exp(-1 / (seconds * rate))
    out = np.zeros(n_samples, dtype=np.float32)
    keep = (starts >= 0) & (starts < n_samples)
    scale = 1 / 32768 if bank.waves.dtype == np.int16 else 1.0
    _mix(out, bank.waves, scale, rows[keep], speeds[keep], gains[keep], starts[keep], lengths[keep], decays[keep])
    return out
