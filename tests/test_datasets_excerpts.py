"""Excerpts: cut at the same sample as their notes, rendered only if they are not there."""

import numpy as np
import pytest

from mircourse.datasets import excerpts, piano
from mircourse.errors import InputError


class Piece:
    """Ten seconds in which the sample at second s is s."""

    name = "piece"

    def notes(self):
        return np.array([[0.5, 4.0, 60, 80], [2.0, 9.0, 64, 80], [4.95, 5.5, 67, 80], [5.5, 6.0, 69, 80]])

    def audio(self, start, seconds):
        return (start + np.arange(int(seconds * 16000)) / 16000).astype(np.float32)


def test_notes_and_sound_are_cut_alike():
    excerpt = excerpts.cut(Piece(), 1.0, 4.0)
    assert excerpt.audio[0] == 1.0 and len(excerpt.audio) == 64000 and excerpt.seconds == 4.0
    # Struck before: left out. Rings on: ends with the excerpt. Struck in its last tenth: nobody could tell.
    assert excerpt.notes.tolist() == [[1.0, 4.0, 64.0, 80.0]]


def test_only_what_is_missing_is_rendered(monkeypatch):
    rendered, there = [], []

    def items(split):
        if not there:
            raise InputError("not rendered")
        return there

    def prepare(*, splits):
        rendered.append(splits)
        there.extend([Piece()] * 3)

    monkeypatch.setattr(piano, "items", items)
    monkeypatch.setattr(piano, "prepare", prepare)
    assert len(excerpts.piano_excerpts("test", 3)) == 3
    assert len(excerpts.piano_excerpts("test", 2)) == 2
    assert len(rendered) == 1
    pieces = np.ceil(rendered[0]["test"] * 3600 / (piano.PIECE_SECONDS + 3.0))
    assert pieces == 3


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(InputError):
        excerpts.piano_excerpts("training", 1)
