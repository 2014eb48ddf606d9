"""What the band plays from: a piece as arrays, in quarter notes, with its bars and its metre.

A score knows keys and written lengths only. Tempo curves, dynamics, pedal and the spread of chords belong
to the performance. Times are counted in quarter notes from the first bar, whatever the metre.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from mircourse.errors import InputError

LOWEST_KEY, HIGHEST_KEY = 21, 108
SHORTEST = 1 / 16  # quarter notes; what is left of a key that is struck again sooner is dropped


@dataclass(frozen=True)
class Piece:
    """A piece condensed for one keyboard.

    Attributes
    ----------
    name : str
        Stable name such as ``"bach/bwv66.6"``; the split hangs on it.
    kind : str
        ``"chorale"``, ``"quartet"``, ``"piano"``, ``"song"`` or ``"folk"``.
    notes : np.ndarray, shape (N, 4), float64
        Onset and duration in quarter notes, MIDI pitch (21–108), part index (0 is the top part, as a rule
        the tune). Sorted by onset, then pitch. No key is struck while it is held, ties are merged, grace
        notes and ornaments are written out.
    hands : np.ndarray, shape (parts,), int64
        Hand of every part: 0 right, 1 left.
    bars : np.ndarray, shape (B,), float64
        Onset of every bar in quarter notes; the first bar may be a pick-up.
    metres : np.ndarray, shape (M, 3), float64
        Onset in quarter notes, numerator, denominator of every time signature.
    tempo : float
        Quarter notes per minute: the score's own mark, else a usual value for the kind and metre.
    fermatas : np.ndarray, shape (F,), float64
        Onsets in quarter notes of the notes that carry a fermata.
    """

    name: str
    kind: str
    notes: np.ndarray
    hands: np.ndarray
    bars: np.ndarray
    metres: np.ndarray
    tempo: float
    fermatas: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def length(self) -> float:
        """End of the last note, in quarter notes."""
        return float((self.notes[:, 0] + self.notes[:, 1]).max())

    @property
    def hand(self) -> np.ndarray:
        """Hand of every note, shape (N,), int64: 0 right, 1 left."""
        return self.hands[self.notes[:, 3].astype(int)]

    def excerpt(self, first_bar: int, last_bar: int) -> "Piece":
        """Cut out the bars ``first_bar`` up to, not including, ``last_bar``.

        Notes that begin inside are kept and end with the excerpt at the latest; times start again at zero.

        Raises
        ------
        InputError
            If there is no such bar, or no note in these bars.
        """
        if not 0 <= first_bar < last_bar <= len(self.bars):
            raise InputError(
                f"{self.name} has the bars 0 to {len(self.bars)}; "
                f"bars {first_bar} to {last_bar} cannot be cut out of it."
            )
        start = self.bars[first_bar]
        end = self.bars[last_bar] if last_bar < len(self.bars) else self.length
        inside = (self.notes[:, 0] >= start) & (self.notes[:, 0] < end)
        notes = self.notes[inside].copy()
        if not len(notes):
            raise InputError(f"{self.name} is silent in the bars {first_bar} to {last_bar}; choose others.")
        notes[:, 1] = np.minimum(notes[:, 1], end - notes[:, 0])
        notes[:, 0] -= start
        in_force = self.metres[(self.metres[:, 0] < end)]
        in_force = in_force[max(0, np.searchsorted(in_force[:, 0], start, side="right") - 1) :].copy()
        in_force[:, 0] = np.maximum(in_force[:, 0] - start, 0.0)
        fermatas = self.fermatas[(self.fermatas >= start) & (self.fermatas < end)] - start
        return replace(
            self,
            notes=notes,
            bars=self.bars[first_bar:last_bar] - start,
            metres=in_force,
            fermatas=fermatas,
        )


def condense(notes: np.ndarray) -> np.ndarray:
    """Make the notes of several parts playable on one keyboard.

    Parts that strike one key together share the stroke: the longest duration stays, and the upper part owns
    it. A key struck again while it is held is let go at that moment. Keys that no piano has are left out.

    Parameters
    ----------
    notes : np.ndarray, shape (N, 4)
        Onset, duration (quarter notes), MIDI pitch, part; in any order.

    Returns
    -------
    np.ndarray, shape (M, 4), M <= N
        Sorted by onset, then pitch.
    """
    notes = np.asarray(notes, dtype=np.float64).reshape(-1, 4)
    on_keyboard = (notes[:, 2] >= LOWEST_KEY) & (notes[:, 2] <= HIGHEST_KEY) & (notes[:, 1] > 0)
    kept: list[np.ndarray] = []
    for pitch in np.unique(notes[on_keyboard, 2]):
        key = notes[on_keyboard & (notes[:, 2] == pitch)]
        key = key[np.lexsort((key[:, 3], key[:, 0]))]
        strokes = [key[0].copy()]
        for note in key[1:]:
            last = strokes[-1]
            if note[0] - last[0] < SHORTEST:
                last[1] = max(last[1], note[0] + note[1] - last[0])
            else:
                last[1] = min(last[1], note[0] - last[0])
                strokes.append(note.copy())
        kept.extend(strokes)
    if not kept:
        return np.zeros((0, 4))
    condensed = np.array(kept)
    return condensed[np.lexsort((condensed[:, 2], condensed[:, 0]))]


def regular_bars(bars: np.ndarray, end: float, metres: np.ndarray) -> np.ndarray:
    """Join the halves of bars that a repeat sign cuts in two.

    Parameters
    ----------
    bars : np.ndarray, shape (B,)
        Onsets of the written measures in quarter notes.
    end : float
        End of the last measure in quarter notes.
    metres : np.ndarray, shape (M, 3)
        Onset, numerator, denominator.

    Returns
    -------
    np.ndarray, shape (C,), C <= B
        A pick-up at the start stays a bar of its own.
    """
    edges = np.append(bars, end)
    kept = [float(edges[0])]
    for index in range(1, len(edges) - 1):
        onset, numerator, denominator = metres[
            max(0, np.searchsorted(metres[:, 0], kept[-1], side="right") - 1)
        ]
        full = 4.0 * numerator / denominator
        is_pickup = len(kept) == 1
        joined = edges[index + 1] - kept[-1]
        halves = edges[index] - kept[-1] < full - 1e-6 and abs(joined - full) < 1e-6
        if not (halves and not is_pickup):
            kept.append(float(edges[index]))
    return np.array(kept)
