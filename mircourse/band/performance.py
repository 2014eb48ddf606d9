"""From a score to what the fingers and the foot do: tempo, dynamics, touch and pedal.

A performance is what a Disklavier would record: key presses with velocity, and the pedal's movements.
"""

from dataclasses import dataclass

import numpy as np

from mircourse.band.textures import LEAD


@dataclass
class Performance:
    """Keys and pedal.

    Attributes
    ----------
    keys : np.ndarray, shape (N, 4)
        Key down s, key up s, MIDI pitch, velocity 1-127; no key is pressed while it is down.
    pedal : np.ndarray, shape (M, 2)
        Time s, sustain control value 0-127.
    """

    keys: np.ndarray
    pedal: np.ndarray


def _walk(rng: np.random.Generator, n: int, depth: float, smooth: int) -> np.ndarray:
    """A smooth random curve of n points with standard deviation about `depth`."""
    knots = rng.normal(0, depth, n // smooth + 3)
    return np.interp(np.arange(n) / smooth, np.arange(len(knots)), knots)


def _clock(rng: np.random.Generator, n_beats: int, tempo: float) -> np.ndarray:
    """Seconds of every beat 0..n_beats for a tempo that drifts, breathes and sometimes halts."""
    rubato = rng.choice([0.01, 0.04, 0.1])
    curve = _walk(rng, n_beats, rubato, 8) + _walk(rng, n_beats, rubato * 0.7, 2)
    seconds = 60 / tempo * np.exp(curve)
    halts = rng.random(n_beats) < 0.01
    seconds = np.where(halts, seconds * rng.uniform(1.3, 2.5, n_beats), seconds)
    return np.concatenate([[0.0], np.cumsum(seconds)])


def _separate(keys: np.ndarray) -> np.ndarray:
    """Let no key be pressed while it is down: the earlier note ends a moment before, doubles are dropped."""
    keys = keys[np.lexsort((keys[:, 0], keys[:, 2]))]
    same = (np.diff(keys[:, 2]) == 0) & (np.diff(keys[:, 0]) < 0.035)
    keys = keys[np.concatenate([[True], ~same])] if len(keys) else keys
    follows = np.append(keys[1:, 2] == keys[:-1, 2], False) if len(keys) else np.zeros(0, bool)
    following = np.append(keys[1:, 0], np.inf) if len(keys) else np.zeros(0)
    keys[:, 1] = np.where(follows, np.minimum(keys[:, 1], following - 0.012), keys[:, 1])
    return keys[np.lexsort((keys[:, 2], keys[:, 0]))]


def _pedal(rng: np.random.Generator, clock: np.ndarray, style: str) -> np.ndarray:
    """Pedal movements: lifted with the harmony, pressed again just after it (syncopated), or not at all."""
    if style == "none":
        return np.zeros((0, 2))
    times, beat, every = [], 0.0, float(rng.choice([1, 2, 4]))
    while beat < len(clock) - 1:
        length = every if style == "regular" else every * float(rng.choice([0.5, 1, 1, 2, 4]))
        if style == "regular" or rng.random() < 0.65:
            down = np.interp(beat, np.arange(len(clock)), clock) + rng.uniform(0.03, 0.18)
            up = np.interp(beat + length, np.arange(len(clock)), clock) + rng.normal(0.01, 0.03)
            down = max(down, times[-1][0] + 0.02) if times else max(down, 0.0)
            if up > down + 0.08:
                times += [(down, 127.0), (up, 0.0)]
        beat += length
    return np.array(times).reshape(-1, 2)


def perform(rng: np.random.Generator, score: np.ndarray, *, tempo: float | None = None) -> Performance:
    """Play a score.

    Parameters
    ----------
    rng : np.random.Generator
    score : np.ndarray, shape (N, 4)
        Onset and duration in quarter beats, MIDI pitch, voice (0 lead, 1 inner, 2 bass).
    tempo : float, optional
        Quarter beats a minute; drawn so that the hands stay playable when left out.

    Returns
    -------
    Performance
        Beat 0 of the score falls within the first half second, with the jitter of the fingers.
    """
    onsets, durations, pitches, voices = score.T
    n_beats = int(np.ceil((onsets + durations).max())) + 1 if len(score) else 1
    if tempo is None:
        # Hands stay under about 22 notes a second in the densest stretch, and mostly well under.
        density = np.percentile(np.histogram(onsets, bins=np.arange(0, n_beats + 1))[0], 90) if len(score) else 1.0
        fastest = min(220.0, 60 * 22 / max(density, 1.0))
        tempo = float(np.exp(rng.uniform(np.log(min(45.0, fastest / 2)), np.log(fastest))))
    clock = _clock(rng, n_beats, tempo)
    beats = np.arange(len(clock))
    lead_in = rng.uniform(0.05, 0.5)

    jitter = rng.choice([0.003, 0.008, 0.016])
    spread = rng.choice([0.0, 0.005, 0.02]) * (pitches - pitches.mean()) / 24 if len(score) else 0.0
    rolled = rng.random() < 0.15
    start = np.interp(onsets, beats, clock) + rng.normal(0, jitter, len(onsets)) + np.abs(spread) * rng.choice([-1, 1])
    start = start - (voices == LEAD) * rng.choice([0.0, 0.01, 0.025])
    if rolled:
        order = np.zeros(len(onsets))
        for beat in np.unique(onsets):
            chord = np.flatnonzero(onsets == beat)
            if len(chord) >= 3 and rng.random() < 0.3:
                order[chord] = np.argsort(np.argsort(pitches[chord])) * rng.uniform(0.02, 0.06)
        start = start + order
    written = np.interp(onsets + durations, beats, clock) - np.interp(onsets, beats, clock)
    touch = np.array([rng.choice([0.35, 0.7, 0.95, 1.05]) for _ in range(3)])[voices.astype(int)]
    end = start + np.maximum(written * touch * rng.uniform(0.85, 1.1, len(onsets)), 0.03)

    level = rng.uniform(28, 88)
    depth = rng.uniform(4, 16)
    phrase = np.interp(onsets, beats, _walk(rng, len(clock), depth, 6))
    balance = np.array([rng.uniform(0, 16), rng.uniform(-14, 2), rng.uniform(-10, 6)])[voices.astype(int)]
    accent = np.where(np.isclose(onsets % 1.0, 0), rng.uniform(0, 6), 0.0)
    velocity = level + phrase + balance + accent + rng.normal(0, rng.uniform(2, 8), len(onsets))
    keys = np.stack([start + lead_in, end + lead_in, pitches, np.clip(np.round(velocity), 8, 124)], axis=1)
    keys[:, 0] = np.maximum(keys[:, 0], 0.01)
    keys = _separate(keys)

    pedal = _pedal(rng, clock, str(rng.choice(["none", "regular", "free"], p=[0.35, 0.3, 0.35])))
    pedal[:, 0] += lead_in
    return Performance(keys[keys[:, 1] > keys[:, 0] + 0.01], pedal)

