"""Rolls become notes again: the gate, the cut, the half frame, and the stream equal to the whole."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mir_eval.transcription import match_notes

from mircourse.piano.decoding import NoteDecoder, decode, decode_frames
from mircourse.piano.targets import rolls

FPS = 31.25


def roll(*spans, n_frames=40, key=39):
    """Return a roll with 1 in the rows first..last-1 of one key, for every (first, last)."""
    values = np.zeros((n_frames, 88), dtype=np.float32)
    for first, last in spans:
        values[first:last, key] = 1
    return values


def score(reference, estimate, tolerance=0.05):
    """Return note F1 on onsets."""

    def hertz(notes):
        return 440 * 2 ** ((notes[:, 2] - 69) / 12)

    matched = match_notes(
        reference[:, :2],
        hertz(reference),
        estimate[:, :2],
        hertz(estimate),
        onset_tolerance=tolerance,
        offset_ratio=None,
    )
    return 2 * len(matched) / (len(reference) + len(estimate))


def test_a_frame_without_an_onset_is_no_note():
    assert len(decode(roll(), roll((5, 20)))) == 0
    assert len(decode_frames(roll((5, 20)))) == 1


def test_a_new_onset_splits_the_sounding_note():
    notes = decode(roll((5, 7), (12, 14)), roll((5, 20)))
    np.testing.assert_allclose(notes[:, 0] * FPS, [5.5, 12.5])
    np.testing.assert_allclose(notes[:, 1] * FPS, [12.5, 19.5])
    assert len(decode_frames(roll((5, 20)))) == 1


def test_an_onset_sounds_even_where_the_frame_head_is_silent():
    notes = decode(roll((5, 7)), roll())
    np.testing.assert_allclose(notes * [FPS, FPS, 1, 1], [[5.5, 6.5, 60, 64]])


def test_an_onset_that_stays_high_is_one_note_from_its_rise():
    notes = decode(roll((5, 15)), roll((5, 30)))
    np.testing.assert_allclose(notes[:, :2] * FPS, [[5.5, 29.5]])


def test_frames_before_the_onset_are_ignored_and_a_later_onset_starts_the_note():
    notes = decode(roll((10, 12)), roll((5, 20)))
    np.testing.assert_allclose(notes[:, :2] * FPS, [[10.5, 19.5]])


def test_first_and_last_frame_count():
    notes = decode(roll((0, 2), (38, 40)), roll((0, 10), (38, 40)))
    np.testing.assert_allclose(notes[:, 0] * FPS, [0.5, 38.5])
    np.testing.assert_allclose(notes[:, 1] * FPS, [9.5, 39.5])


def test_the_lowest_and_highest_key_do_not_touch():
    onset = roll((5, 7), key=0) + roll((5, 7), key=87)
    frame = roll((5, 40), key=0) + roll((5, 9), key=87)
    assert decode(onset, frame)[:, 2].tolist() == [21, 108]


def test_velocity_is_read_at_the_onset():
    velocity = roll((5, 6)) * (90 / 127) + roll((6, 7)) * (90 / 127) + roll((12, 14)) * (3 / 127)
    assert decode(roll((5, 7), (12, 14)), roll((5, 20)), velocity)[:, 3].tolist() == [90, 3]
    assert decode(roll((5, 7)), roll((5, 20)), roll() - 1)[0, 3] == 1
    assert decode(roll((5, 7)), roll((5, 20)), roll() + 2)[0, 3] == 127


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.99])
def test_decoded_onset_is_within_half_a_frame(fraction):
    start, end = (10 + fraction) / FPS, (25 + fraction) / FPS
    drawn = rolls([[start, end, 60, 80]], 40)
    decoded = decode(drawn["onset"], drawn["frame"], drawn["velocity"])
    assert abs(decoded[0, 0] - start) <= 0.5001 / FPS + (0.5 / FPS if fraction == 0 else 0)
    assert abs(decoded[0, 1] - end) <= 0.5001 / FPS
    assert decoded[0, 2:].tolist() == [60, 80]


@pytest.mark.parametrize("frame_rate", [31.25, 50.0, 62.5, 100.0])
def test_perfect_rolls_decode_without_bias(frame_rate):
    rng = np.random.default_rng(1)
    starts = np.arange(400) * 0.5 + rng.uniform(0, 0.2, 400)
    notes = np.column_stack(
        [starts, starts + rng.uniform(0.1, 0.25, 400), np.full(400, 60), np.full(400, 70)]
    )
    drawn = rolls(notes, round(201 * frame_rate), frame_rate=frame_rate)
    decoded = decode(drawn["onset"], drawn["frame"], frame_rate=frame_rate)
    error = (decoded - notes)[:, :2] * frame_rate
    assert np.abs(error.mean(axis=0)).max() < 0.05  # frames; the standard error is 0.015
    assert np.abs(error).max() < 1.0


def test_soft_peaks_give_the_expected_time():
    """A model unsure between three rows says the expected label; its centroid is the expected onset."""
    rng = np.random.default_rng(2)
    errors = {True: [], False: []}
    for _ in range(300):
        belief = rng.dirichlet([1.0, 2.0, 1.0])
        onset = sum(weight * roll((10 + shift, 12 + shift)) for shift, weight in enumerate(belief))
        expected = 10 + belief @ [0, 1, 2] + 0.5
        for refine, collected in errors.items():
            found = decode(onset, roll((10, 30)), refine=refine)
            if len(found) == 1:
                collected.append(found[0, 0] * FPS - expected)
    spread = {refine: np.sqrt(np.mean(np.square(collected))) for refine, collected in errors.items()}
    assert abs(np.mean(errors[True])) < 0.03
    assert spread[True] < 0.1 < 0.2 < spread[False]


def test_a_dip_between_two_close_peaks_divides_their_mass():
    onset = roll((5, 7), (8, 10))
    onset[7, 39] = 0.4
    notes = decode(onset, roll((5, 20)))
    np.testing.assert_allclose(notes[:, 0] * FPS, [5.5, 8.5], atol=0.4)


note_lists = st.lists(
    st.tuples(st.floats(0, 8), st.floats(0.001, 2), st.integers(21, 108), st.integers(1, 127)),
    max_size=30,
)


def spaced(drawn, gap=3.2 / FPS):
    """Keep notes whose key is free and was struck at least `gap` s before."""
    kept = []
    for onset, length, pitch, velocity in sorted(drawn):
        before = [note for note in kept if note[2] == pitch]
        if all(onset - note[0] >= gap for note in before):
            for note in before:
                note[1] = min(note[1], onset)
            kept.append([onset, onset + length, pitch, velocity])
    return np.array(kept, dtype=float).reshape(-1, 4)


@settings(max_examples=60, deadline=None)
@given(note_lists)
def test_notes_survive_the_round_trip(drawn):
    notes = spaced(drawn)
    painted = rolls(notes, 330)
    decoded = decode(painted["onset"], painted["frame"], painted["velocity"])
    assert len(decoded) == len(notes)
    if len(notes):
        assert score(notes, decoded) == 1.0
        assert (decoded[:, 1] > decoded[:, 0]).all()
        order = np.lexsort((notes[:, 0], notes[:, 2]))
        found = np.lexsort((decoded[:, 0], decoded[:, 2]))
        np.testing.assert_array_equal(decoded[found, 3], notes[order, 3])
        assert np.abs(decoded[found, 0] - notes[order, 0]).max() <= 1.01 / FPS


def test_a_regressed_shift_places_the_onset_inside_its_row():
    shift = np.zeros((40, 88), dtype=np.float32)
    shift[5:7, 39] = [0.3, -0.7]  # rows from each row's beginning to one and the same moment
    notes = decode(roll((5, 7)), roll((5, 20)), None, shift)
    np.testing.assert_allclose(notes[:, 0] * FPS, [5.3], rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=12), st.booleans())
def test_a_stream_of_blocks_gives_the_notes_of_the_whole(seed, cuts, regressed):
    rng = np.random.default_rng(seed)
    rolls_given = list(rng.uniform(0, 0.75, (3, 60, 88)))
    if regressed:
        rolls_given.append(rng.normal(0, 2, (60, 88)))
    whole = decode(*rolls_given)
    assert (whole[:, 1] > whole[:, 0]).all()
    decoder = NoteDecoder(FPS)
    edges = [0, *sorted(cuts), 60]
    parts = [
        decoder.push(*(values[first:last] for values in rolls_given))
        for first, last in zip(edges, edges[1:], strict=False)
    ]
    parts.append(decoder.finish())
    streamed = np.concatenate(parts)
    streamed = streamed[np.lexsort((streamed[:, 2], streamed[:, 0]))]
    np.testing.assert_allclose(streamed, whole)
    np.testing.assert_allclose(decoder.finish(), np.zeros((0, 4)))


def slow_decode(onset, frame):
    """The rule, cell by cell, in rows: the plain version that the vectorised one must agree with."""
    notes = []
    for key in range(88):
        began = None
        for row in range(len(onset) + 1):
            is_onset = row < len(onset) and onset[row, key] > 0.5
            rising = is_onset and not (row > 0 and onset[row - 1, key] > 0.5)
            sounds = is_onset or (row < len(onset) and frame[row, key] > 0.5)
            if began is not None and (rising or not sounds):
                notes.append((began + 0.5, row + 0.5 if rising else max(row - 0.5, began + 1), key + 21))
                began = None
            if rising:
                began = row
    return sorted(notes)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_vectorised_rule_is_the_rule(seed):
    onset, frame = np.random.default_rng(seed).uniform(0, 0.8, (2, 40, 88))
    decoded = decode(onset, frame, refine=False)
    np.testing.assert_allclose(sorted(map(tuple, decoded[:, :3] * [FPS, FPS, 1])), slow_decode(onset, frame))


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="onset must have the shape"):
        decode(np.zeros((10, 87)), np.zeros((10, 88)))
    with pytest.raises(ValueError, match="same number of rows"):
        decode(np.zeros((10, 88)), np.zeros((11, 88)))
    with pytest.raises(ValueError, match="same shape"):
        NoteDecoder().push(np.zeros((10, 88)), np.zeros((11, 88)))


def test_empty_rolls_have_no_notes():
    assert decode(np.zeros((0, 88)), np.zeros((0, 88))).shape == (0, 4)
    assert decode_frames(np.zeros((0, 88))).shape == (0, 4)


def test_frame_runs_become_notes():
    notes = decode_frames(roll((3, 4), (10, 20)), velocity=roll((3, 4)) * 0.5 + roll((10, 11)))
    np.testing.assert_allclose(notes * [FPS, FPS, 1, 1], [[3.5, 4, 60, 64], [10.5, 19.5, 60, 127]])


def test_an_hour_decodes_in_seconds():
    rng = np.random.default_rng(3)
    starts = np.sort(rng.uniform(0, 3590, 36000))
    notes = np.column_stack(
        [starts, starts + rng.uniform(0.05, 2, 36000), rng.integers(21, 109, 36000), starts * 0 + 64]
    )
    drawn = rolls(notes, 112500)
    start = time.perf_counter()
    decoded = decode(drawn["onset"], drawn["frame"], drawn["velocity"])
    seconds = time.perf_counter() - start
    print(f"{seconds:.2f} s, {len(decoded)} notes")
    assert seconds < 6 and len(decoded) > 30000  # about 0.6 s on an idle core
