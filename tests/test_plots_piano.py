"""Figures of notes: labelled axes, nothing said by colour alone, and a sentence for who does not see them."""

import io
import warnings

import numpy as np
import pytest

from mircourse.piano.evaluation import match
from mircourse.piano.targets import rolls
from mircourse.plots.piano import activations, alt_text, pianoroll, probabilities, transcription_comparison

NOTES = np.array([[0.5, 1.0, 60, 64], [0.9, 2.0, 64, 127], [1.5, 2.5, 72, 1]])
HEARD = np.array([[0.51, 1.0, 60, 64], [0.9, 1.5, 76, 100], [1.52, 2.0, 72, 20]])


def drawn(figure):
    """Render a figure as a notebook would, with warnings as errors; return its axes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    return figure.axes


def test_pianoroll():
    figure = pianoroll(NOTES)
    (axis,) = drawn(figure)
    assert axis.get_xlabel() == "time (s)" and "MIDI" in axis.get_ylabel() and axis.get_title()
    assert len(axis.collections[0].get_paths()) == 3
    assert alt_text(figure) == "Piano roll of 3 notes from 0 to 2.5 s, MIDI pitches 60 to 72."


def test_comparison_tells_three_kinds_apart_without_colour():
    figure = transcription_comparison(NOTES, HEARD, match(NOTES, HEARD))
    (axis,) = drawn(figure)
    assert axis.get_title() == "2 notes matched, 1 missed, 1 extra"
    assert len({collection.get_hatch() for collection in axis.collections}) == 3
    assert [entry.get_text().split("(")[1] for entry in axis.get_legend().get_texts()] == ["2)", "1)", "1)"]
    assert "2 notes matched, 1 missed, 1 extra" in alt_text(figure)


@pytest.mark.parametrize("reference", [None, NOTES])
def test_heat_maps(reference):
    roll = rolls(NOTES, 100)
    figure = probabilities(roll["onset"], roll["frame"], reference=reference)
    upper, lower, bar = drawn(figure)
    assert "Onset" in upper.get_title() and "Frame" in lower.get_title() and bar.get_ylabel() == "probability"
    assert upper.get_ylim()[0] < 60 and upper.get_ylim()[1] > 72
    assert len(alt_text(figure).split()) >= 4
    single, bar = drawn(activations(roll["frame"] * 0.3, reference=reference, end=2.0))
    assert single.get_xlim() == (0.0, 2.0) and bar.get_ylabel() == "activation"


def test_nothing_to_show_is_an_empty_picture():
    silence = np.zeros((50, 88))
    nothing = np.zeros((0, 4))
    for figure in (
        pianoroll(nothing),
        transcription_comparison(nothing, nothing, np.zeros((0, 2))),
        probabilities(silence, silence),
        activations(silence),
    ):
        assert drawn(figure) and alt_text(figure)
