"""Short excerpts of the band for a lesson; what is not rendered yet is rendered first, with a progress bar."""

from dataclasses import dataclass

import numpy as np

from mircourse.datasets import piano
from mircourse.errors import InputError


@dataclass(frozen=True)
class Excerpt:
    """A few seconds of a rendered piece.

    Attributes
    ----------
    name : str
    audio : np.ndarray, shape (n,), float32
        Mono at 16 kHz.
    notes : np.ndarray, shape (N, 4), float64
        Onset s, offset s, MIDI pitch, velocity; times from the beginning of the excerpt.
    seconds : float
    """

    name: str
    audio: np.ndarray
    notes: np.ndarray
    seconds: float


def piano_excerpts(split: str, count: int, *, seconds: float = 20.0, start: float = 0.0) -> list[Excerpt]:
    """Cut the same few seconds out of the first pieces of a split of the piano band.

    Parameters
    ----------
    split : {"train", "validation", "test", "unheard"}
    count : int
        Pieces; they are rendered if they are not there yet.
    seconds, start : float
        What to cut out of each piece, which lasts two minutes. At its beginning nothing rings on from before.

    Returns
    -------
    list of Excerpt
    """
    return [cut(item, start, seconds) for item in _first_items(split, count)]


def cut(item: piano.Item, start: float, seconds: float) -> Excerpt:
    """Cut an excerpt out of a piece.

    Notes that are struck before it are left out though they may ring into it; notes that ring on behind it end with
    it: nobody can hear how long they last.
    """
    notes = item.notes()
    notes = notes[(notes[:, 0] >= start) & (notes[:, 0] < start + seconds - 0.1)]
    notes[:, :2] -= start
    notes[:, 1] = np.minimum(notes[:, 1], seconds)
    return Excerpt(item.name, item.audio(start, seconds), notes, seconds)


def _first_items(split: str, count: int) -> list[piano.Item]:
    try:
        found = piano.items(split)
    except InputError:
        found = []
    if len(found) < count:
        hours = (count - 0.5) * (piano.PIECE_SECONDS + 3.0) / 3600
        piano.prepare(splits={split: hours})
        found = piano.items(split)
    return found[:count]
