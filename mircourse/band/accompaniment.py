"""A left hand for a tune: the harmony that the tune implies, and a figure that plays it.

`harmonise` chooses one triad for every half bar or bar by dynamic programming: a chord is worth the
metrically weighted time for which the tune sounds its tones, and a step from chord to chord is worth more where
it is usual. `accompany` plays the chords in one of a few figures of salon and dance music; `thicken` gives
the right hand a few of their tones. All three are deterministic.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
FIGURES = {
    "duple": ("boom-chick", "alberti", "broken", "block", "octaves"),
    "triple": ("boom-chick", "broken", "block"),
    "compound": ("rocking", "broken", "block"),
}
TUNE, ADDED, MIDDLE, BASS = range(4)  # parts of an accompanied tune
HANDS = (0, 0, 1, 1)  # right, right, left, left
FOREIGN_TONE = -0.7  # what a tone outside the chord costs, in units of what a chord tone is worth
RARE_CHORD = {"diminished": 1.5, "mediant": 0.6}
DOMINANT_TO_TONIC, SAME_CHORD, OTHER_STEP = 0.3, 0.15, -0.25


@dataclass(frozen=True)
class Chord:
    """A triad that sounds from `start` to `end` (quarter notes); `bar` is where its bar began."""

    start: float
    end: float
    bar: float
    root: int
    intervals: tuple[int, int, int]

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Root, third and fifth, 0–11."""
        return tuple((self.root + interval) % 12 for interval in self.intervals)


def pulse_of(numerator: float, denominator: float) -> tuple[float, str]:
    """Pulse in quarter notes, and whether the metre is duple, triple or compound."""
    unit = 4.0 / denominator
    if numerator > 3 and numerator % 3 == 0:
        return 3 * unit, "compound"
    if numerator == 3:
        return unit, "triple"
    return min(unit, 1.0), "duple"


def spans(
    bars: np.ndarray, end: float, numerator: float, denominator: float
) -> list[tuple[float, float, float]]:
    """Stretches that carry one chord each: (start, end, bar onset); the pick-up carries none."""
    full = 4.0 * numerator / denominator
    halved = (numerator, denominator) in {(4, 4), (2, 2), (6, 8), (12, 8), (6, 4)}
    edges = np.append(bars, max(end, bars[-1]))
    stretches = []
    for index, (start, stop) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        is_pickup = index == 0 and stop - start < full - 1e-6
        if is_pickup or stop - start < 1e-6:
            continue
        middle = start + full / 2
        if halved and stop - middle > 1e-6:
            stretches += [(float(start), float(middle), float(start))]
            stretches += [(float(middle), float(stop), float(start))]
        else:
            stretches.append((float(start), float(stop), float(start)))
    return stretches


def harmonise(
    tune: np.ndarray,
    bars: np.ndarray,
    *,
    tonic: int,
    fifths: int,
    numerator: float,
    denominator: float,
) -> list[Chord]:
    """Choose the chords that a tune implies.

    Parameters
    ----------
    tune : np.ndarray, shape (N, >= 3)
        Onset, duration (quarter notes), MIDI pitch.
    bars : np.ndarray, shape (B,)
        Bar onsets in quarter notes.
    tonic : int
        Pitch class of the tonic, 0–11; with the signature it gives the mode.
    fifths : int
        Sharps (positive) or flats (negative) of the key signature.
    numerator, denominator : float
        Time signature.

    Returns
    -------
    list of Chord
        Ends on the tonic if the tune does.
    """
    end = float((tune[:, 0] + tune[:, 1]).max())
    stretches = spans(bars, end, numerator, denominator)
    if not stretches:
        return []
    candidates = _triads(tonic, fifths)
    pulse, _ = pulse_of(numerator, denominator)
    worth = np.array([_worth(tune, start, stop, bar, pulse, candidates) for start, stop, bar in stretches])
    final_pitch = int(tune[np.argmax(tune[:, 0]), 2]) % 12
    if final_pitch == tonic:
        worth[-1, [root != tonic for root, _, _ in candidates]] -= 10.0
    step = np.array([[_step(before, after, tonic) for after in candidates] for before in candidates])

    best, origin = worth[0], []
    for row in worth[1:]:
        total = best[:, None] + step
        origin.append(total.argmax(axis=0))
        best = total.max(axis=0) + row
    path = [int(best.argmax())]
    for pointers in reversed(origin):
        path.append(int(pointers[path[-1]]))
    return [
        Chord(start, stop, bar, candidates[choice][0], candidates[choice][1])
        for (start, stop, bar), choice in zip(stretches, reversed(path), strict=True)
    ]


def _triads(tonic: int, fifths: int) -> list[tuple[int, tuple[int, int, int], float]]:
    """Triads of the signature: root, intervals, what the chord costs; the major dominant for minor keys."""
    major_tonic = (7 * fifths) % 12
    scale = [(major_tonic + step) % 12 for step in MAJOR_SCALE]
    triads = []
    for degree, root in enumerate(scale):
        third = (scale[(degree + 2) % 7] - root) % 12
        fifth = (scale[(degree + 4) % 7] - root) % 12
        cost = RARE_CHORD["diminished"] if fifth == 6 else 0.0
        if (root - tonic) % 12 in (3, 4):
            cost += RARE_CHORD["mediant"]
        triads.append((root, (0, third, fifth), cost))
    dominant = (tonic + 7) % 12
    if (dominant, (0, 4, 7)) not in [triad[:2] for triad in triads]:
        triads.append((dominant, (0, 4, 7), 0.1))
    return triads


def _worth(
    tune: np.ndarray, start: float, stop: float, bar: float, pulse: float, candidates: list
) -> list[float]:
    """What every candidate is worth in a stretch; 1 to 2 for a chord that holds all its tones."""
    overlap = np.minimum(tune[:, 0] + tune[:, 1], stop) - np.maximum(tune[:, 0], start)
    inside = overlap > 1e-6
    place = (tune[inside, 0] - bar) / pulse
    on_pulse = np.abs(place - np.round(place)) < 1e-3
    on_bar = np.abs(tune[inside, 0] - bar) < 1e-3
    weight = overlap[inside] / (stop - start) * (1.0 + 0.5 * on_pulse + 0.5 * on_bar)
    classes = tune[inside, 2].astype(int) % 12
    scores = []
    for root, intervals, cost in candidates:
        members = [(root + interval) % 12 for interval in intervals]
        scores.append(float((weight * np.where(np.isin(classes, members), 1.0, FOREIGN_TONE)).sum()) - cost)
    return scores


def _step(before: tuple, after: tuple, tonic: int) -> float:
    if before[:2] == after[:2]:
        return SAME_CHORD
    if (before[0] - tonic) % 12 == 7 and after[0] == tonic:
        return DOMINANT_TO_TONIC
    return 0.0 if tonic in (before[0], after[0]) or (after[0] - tonic) % 12 == 7 else OTHER_STEP


@dataclass(frozen=True)
class Pulse:
    """One pulse of the accompaniment, and what sounds under it."""

    time: float  # quarter notes
    length: float
    division: int  # notes that a running figure fits into the pulse
    beat: int  # counted in the bar
    is_first: bool  # the chord begins here
    stretch: float  # length of the chord
    bass: int  # the root, MIDI 36–47
    third: int  # intervals above the root
    fifth: int
    voicing: list[int]  # the triad in close position

    def chord(self, onset: float, duration: float) -> list[tuple[float, ...]]:
        """Strike the whole triad."""
        return [(onset, duration, float(pitch), MIDDLE) for pitch in self.voicing]

    def low(self, pitch: int, duration: float) -> tuple[float, ...]:
        """Strike one bass note on the pulse."""
        return (self.time, duration, float(pitch), BASS)


def accompany(chords: list[Chord], *, numerator: float, denominator: float, figure: str) -> np.ndarray:
    """Play chords with the left hand.

    Parameters
    ----------
    chords : list of Chord
    numerator, denominator : float
        Time signature.
    figure : str
        One of ``FIGURES[metre]``, where ``metre`` is ``"duple"``, ``"triple"`` or ``"compound"``.

    Returns
    -------
    np.ndarray, shape (N, 4)
        Onset, duration (quarter notes), MIDI pitch, part (`MIDDLE` or `BASS`).
    """
    pulse, _ = pulse_of(numerator, denominator)
    rows: list[tuple[float, ...]] = []
    voicing: list[int] = []
    for chord in chords:
        voicing = _voicing(chord, voicing)
        for count in range(int(np.ceil((chord.end - chord.start) / pulse - 1e-6))):
            time = chord.start + count * pulse
            rows += PLAYED[figure](
                Pulse(
                    time=time,
                    length=min(pulse, chord.end - time),
                    division=4 if numerator == 2 and denominator == 4 else 2,  # common time is fast in dances
                    beat=round((time - chord.bar) / pulse),
                    is_first=count == 0,
                    stretch=chord.end - chord.start,
                    bass=36 + chord.root % 12,
                    third=chord.intervals[1],
                    fifth=chord.intervals[2],
                    voicing=voicing,
                )
            )
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _voicing(chord: Chord, before: list[int]) -> list[int]:
    """The inversion nearest to the chord before, drawn towards F3 so that it does not wander off."""
    target = (float(np.mean(before)) + 53.0) / 2 if before else 53.0
    options = [
        [pitch for pitch in range(lowest, lowest + 12) if pitch % 12 in chord.pitch_classes]
        for lowest in range(47, 56)
        if lowest % 12 in chord.pitch_classes
    ]
    return min(options, key=lambda tones: (abs(float(np.mean(tones)) - target), tones))


def _block(pulse: Pulse) -> list[tuple[float, ...]]:
    if not pulse.is_first:
        return []
    return [pulse.low(pulse.bass, pulse.stretch), *pulse.chord(pulse.time, pulse.stretch)]


def _octaves(pulse: Pulse) -> list[tuple[float, ...]]:
    return [pulse.low(pulse.bass, pulse.length), pulse.low(pulse.bass - 12, pulse.length)]


def _boom_chick(pulse: Pulse) -> list[tuple[float, ...]]:
    if pulse.beat == 0 or (pulse.is_first and pulse.beat % 2 == 0):
        return [pulse.low(pulse.bass, pulse.length)]
    return pulse.chord(pulse.time, pulse.length / 2)


def _alberti(pulse: Pulse) -> list[tuple[float, ...]]:
    lowest, middle, highest = pulse.voicing
    order = (lowest, highest, middle, highest)
    part = pulse.length / pulse.division
    first = pulse.beat * pulse.division
    return [
        (pulse.time + index * part, part, float(order[(first + index) % 4]), MIDDLE)
        for index in range(pulse.division)
    ]


def _rocking(pulse: Pulse) -> list[tuple[float, ...]]:
    third = pulse.length / 3
    low = pulse.low(pulse.bass if pulse.is_first else pulse.bass + pulse.fifth, third)
    return [low, *pulse.chord(pulse.time + 2 * third, third)]


def _broken(pulse: Pulse) -> list[tuple[float, ...]]:
    bass = pulse.bass
    tones = [bass, bass + pulse.fifth, bass + 12, bass + 12 + pulse.third]
    number = 3 if abs(pulse.length % 1.5) < 1e-6 else 2
    first = 0 if pulse.is_first else 4 - number
    part = pulse.length / number
    return [
        (pulse.time + index * part, part, float(tones[first + index]), BASS if first + index == 0 else MIDDLE)
        for index in range(number)
    ]


PLAYED: dict[str, Callable[[Pulse], list[tuple[float, ...]]]] = {
    "block": _block,
    "octaves": _octaves,
    "boom-chick": _boom_chick,
    "alberti": _alberti,
    "rocking": _rocking,
    "broken": _broken,
}


def thicken(tune: np.ndarray, chords: list[Chord], pulse: float) -> np.ndarray:
    """Chord tones that the right hand adds a third to a sixth below the tune on the pulse.

    Returns
    -------
    np.ndarray, shape (N, 4)
        Onset, duration (quarter notes), MIDI pitch, part (`ADDED`).
    """
    rows = []
    for chord in chords:
        inside = (tune[:, 0] >= chord.start - 1e-6) & (tune[:, 0] < chord.end - 1e-6)
        for onset, duration, pitch in tune[inside, :3]:
            place = (onset - chord.bar) / pulse
            if abs(place - round(place)) > 1e-3:
                continue
            below = [p for p in range(int(pitch) - 9, int(pitch) - 2) if p % 12 in chord.pitch_classes]
            if below and below[-1] >= 55:
                rows.append((onset, duration, float(below[-1]), ADDED))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)
