"""The rolls say what the paper says: floor and ceil, two onset rows, pedal first, weights 5, 5/k, 1."""

import time

import numpy as np
import pytest

from mircourse.piano.targets import extend_with_pedal, frame_weights, rolls

FPS = 31.25


def note(onset, offset, pitch=60, velocity=80):
    return [onset, offset, pitch, velocity]


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.99])
def test_first_row_is_the_frame_that_holds_the_onset(fraction):
    start = (10 + fraction) / FPS
    drawn = rolls([note(start, start + 1.0)], 100)
    rows = np.flatnonzero(drawn["frame"][:, 60 - 21])
    assert rows[0] == 10
    assert rows[-1] + 1 == np.ceil((start + 1.0) * FPS - 1e-6)
    onset_rows = np.flatnonzero(drawn["onset"][:, 60 - 21])
    assert list(onset_rows) == ([10] if fraction == 0 else [10, 11])


def test_only_the_key_is_marked():
    drawn = rolls([note(0.1, 0.5, 21), note(0.1, 0.5, 108)], 40)
    assert set(np.flatnonzero(drawn["frame"].any(axis=0))) == {0, 87}


def test_onset_label_ends_with_a_short_note_and_a_note_has_a_row_at_least():
    drawn = rolls([note(0.33, 0.331)], 40)
    assert drawn["frame"].sum() == drawn["onset"].sum() == 1


def test_velocity_stands_only_on_onsets():
    drawn = rolls([note(0.1, 1.0, 60, 127), note(0.5, 1.0, 64, 64)], 60)
    np.testing.assert_array_equal(drawn["velocity"] > 0, drawn["onset"] > 0)
    assert set(np.unique(drawn["velocity"])) == {np.float32(0), np.float32(64 / 127), np.float32(1)}


def test_velocity_of_a_restruck_key_is_the_later_one():
    drawn = rolls([note(5.5 / FPS, 6.6 / FPS, velocity=30), note(6.6 / FPS, 20 / FPS, velocity=90)], 40)
    np.testing.assert_allclose(drawn["velocity"][5:8, 39] * 127, [30, 90, 90], rtol=1e-6)


def test_offset_roll_starts_where_the_note_ends():
    drawn = rolls([note(0.0, 10.4 / FPS)], 40)
    assert list(np.flatnonzero(drawn["offset"][:, 39])) == [10, 11]


def test_notes_across_the_edges_are_clipped_and_silence_is_zero():
    drawn = rolls([note(-1.0, 0.2), note(1.2, 9.0, 70)], 40)
    assert drawn["frame"][:7, 39].all() and drawn["onset"][:, 39].sum() == 0
    assert drawn["frame"][38:, 49].all()
    assert all(roll.sum() == 0 and roll.dtype == np.float32 for roll in rolls(np.zeros((0, 4)), 5).values())


def test_pitches_off_the_keyboard_are_refused():
    with pytest.raises(ValueError, match="21..108"):
        rolls([note(0, 1, 20)], 10)


def test_frame_weights_by_hand():
    drawn = rolls([note(2.5 / FPS, 9.0 / FPS)], 12)
    weights = frame_weights(drawn["onset"], drawn["frame"])
    np.testing.assert_allclose(weights[:, 39], [1, 1, 5, 5, 5, 2.5, 5 / 3, 1.25, 1, 1, 1, 1], rtol=1e-6)
    assert (np.delete(weights, 39, axis=1) == 1).all()


def test_frame_weights_fall_below_one_in_a_held_note():
    drawn = rolls([note(0.0, 1.0)], 40)
    assert frame_weights(drawn["onset"], drawn["frame"])[20, 39] == pytest.approx(5 / 20)


def test_pedal_holds_until_it_lifts_or_the_key_is_struck_again():
    notes = [note(0.0, 0.5, 60), note(0.2, 0.4, 64), note(1.0, 1.2, 60), note(2.5, 2.6, 67)]
    held = extend_with_pedal(notes, [[0.3, 100], [2.0, 20]])
    np.testing.assert_allclose(held[:, 1], [1.0, 2.0, 2.0, 2.6])
    np.testing.assert_allclose(held[:, [0, 2, 3]], np.array(notes)[:, [0, 2, 3]])


def test_pedal_edges():
    one = [note(0.0, 1.0)]
    assert extend_with_pedal(one, [[0.5, 127], [1.0, 0]])[0, 1] == 1.0  # lifts with the key
    assert extend_with_pedal(one, [[1.5, 127], [2.0, 0]])[0, 1] == 1.0  # pressed too late
    assert extend_with_pedal(one, [[0.5, 63]])[0, 1] == 1.0  # not far enough down
    assert extend_with_pedal(one, [[0.5, 64], [3.0, 90]])[0, 1] == 3.0  # never lifts
    assert (
        extend_with_pedal(one, [[0.5, 70], [1.2, 90], [1.4, 0]])[0, 1] == 1.4
    )  # half-way value is still down
    assert extend_with_pedal([], [[0.5, 64]]).shape == (0, 4)
    assert extend_with_pedal(one, []).tolist() == [note(0.0, 1.0)]


def test_pedal_does_not_change_its_input():
    notes = np.array([note(0.0, 1.0), note(0.5, 2.0)])
    before = notes.copy()
    extend_with_pedal(notes, [[0.1, 127]])
    np.testing.assert_array_equal(notes, before)


def test_twenty_seconds_cost_about_a_millisecond():
    rng = np.random.default_rng(0)
    onsets = np.sort(rng.uniform(0, 19, 250))
    notes = np.column_stack(
        [onsets, onsets + rng.uniform(0.05, 2, 250), rng.integers(21, 109, 250), np.full(250, 64)]
    )
    best = np.inf
    for _ in range(20):
        start = time.perf_counter()
        drawn = rolls(notes, 625)
        frame_weights(drawn["onset"], drawn["frame"])
        best = min(best, time.perf_counter() - start)
    assert best < 5e-3, (
        f"{best * 1e3:.2f} ms"
    )  # about 1 ms on an idle core; the bound leaves room for a busy one
    print(f"{best * 1e3:.2f} ms")
