"""Scores agree with mir_eval, files survive the round trip, and bad files are told apart in one sentence."""

import os
import warnings

import mido
import mir_eval
import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mircourse.errors import InputError
from mircourse.piano.evaluation import (
    evaluate,
    match,
    mean_metrics,
    read_notes,
    validate,
    write_midi,
    write_notes,
)
from mircourse.piano.targets import extend_with_pedal


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def hertz(notes):
    return 440 * 2 ** ((notes[:, 2] - 69) / 12)


def performance(seed, n_notes=200, keys=20):
    rng = np.random.default_rng(seed)
    onsets = np.sort(rng.uniform(0, 40, n_notes))
    notes = np.column_stack(
        [
            onsets,
            onsets + rng.uniform(0.05, 1.5, n_notes),
            rng.integers(60, 60 + keys, n_notes),
            rng.integers(1, 128, n_notes),
        ]
    )
    return validate(notes)


def disturbed(notes, seed):
    """Return what a fair transcriber might make of the notes."""
    rng = np.random.default_rng(seed)
    heard = notes[rng.uniform(size=len(notes)) < 0.85].copy()
    heard[:, 0] += rng.normal(0, 0.03, len(heard))
    heard[:, 0] = np.maximum(heard[:, 0], 0)
    heard[:, 1] = np.maximum(heard[:, 1] + rng.normal(0, 0.1, len(heard)), heard[:, 0] + 0.01)
    heard[:, 3] = np.clip(heard[:, 3] * 0.6 + rng.normal(20, 8, len(heard)), 1, 127)
    return validate(np.concatenate([heard, performance(seed + 1000, 20)]))


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_mir_eval(seed):
    reference = performance(seed)
    estimate = disturbed(reference, seed)
    ours = evaluate(reference, estimate)
    lists = reference[:, :2], hertz(reference), estimate[:, :2], hertz(estimate)
    loud = (*lists[:2], reference[:, 3], *lists[2:], estimate[:, 3])
    theirs = {
        "note": mir_eval.transcription.precision_recall_f1_overlap(*lists, offset_ratio=None),
        "note_offset": mir_eval.transcription.precision_recall_f1_overlap(*lists),
    }
    for name, (precision, recall, f1, _) in theirs.items():
        got = [ours[f"{name}_{part}"] for part in ("precision", "recall", "f1")]
        np.testing.assert_allclose(got, [precision, recall, f1])
    # Equally large matchings may pair two strikes of one key differently, and so other velocities.
    velocity_f1 = mir_eval.transcription_velocity.precision_recall_f1_overlap(*loud)[2]
    assert ours["note_offset_velocity_f1"] == pytest.approx(velocity_f1, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_velocity_scores_are_those_of_mir_eval_where_the_matching_is_unique(seed):
    reference = performance(seed, 80, keys=40)
    reference[:, 2] = 21 + np.arange(80) % 88  # every key once
    reference = validate(reference)
    estimate = reference.copy()
    estimate[:, 3] = np.clip(reference[:, 3] * 0.5 + np.random.default_rng(seed).normal(30, 8, 80), 1, 127)
    theirs = mir_eval.transcription_velocity.precision_recall_f1_overlap(
        reference[:, :2], hertz(reference), reference[:, 3], estimate[:, :2], hertz(estimate), estimate[:, 3]
    )
    assert evaluate(reference, estimate)["note_offset_velocity_f1"] == pytest.approx(theirs[2])
    assert 0.3 < theirs[2] < 1


def test_frame_scores_are_those_of_multipitch():
    reference = performance(7)
    estimate = disturbed(reference, 7)
    frame_rate = 31.25
    centres = (
        np.arange(np.ceil(max(reference[:, 1].max(), estimate[:, 1].max()) * frame_rate)) + 0.5
    ) / frame_rate

    def sampled(notes):
        sounding = [notes[(notes[:, 0] <= t) & (t < notes[:, 1])] for t in centres]
        return [np.unique(hertz(now)) for now in sounding]

    theirs = mir_eval.multipitch.metrics(centres, sampled(reference), centres, sampled(estimate))
    ours = evaluate(reference, estimate)
    np.testing.assert_allclose([ours["frame_precision"], ours["frame_recall"]], theirs[:2])


def test_perfect_and_empty():
    notes = performance(3)
    assert set(evaluate(notes, notes).values()) == {1.0}
    empty = np.zeros((0, 4))
    for reference, estimate in ((notes, empty), (empty, notes), (empty, empty), ([], [])):
        assert set(evaluate(reference, estimate).values()) == {0.0}


def test_tolerances_are_inclusive():
    reference = [[1.0, 2.0, 60, 64]]
    assert evaluate(reference, [[1.05, 2.0, 60, 64]])["note_f1"] == 1
    assert evaluate(reference, [[1.051, 2.0, 60, 64]])["note_f1"] == 0
    assert evaluate(reference, [[1.0, 2.2, 60, 64]])["note_offset_f1"] == 1
    assert evaluate(reference, [[1.0, 2.21, 60, 64]])["note_offset_f1"] == 0
    assert evaluate(reference, [[1.0, 2.0, 61, 64]])["note_f1"] == 0


def test_lag_moves_the_reference():
    notes = performance(4)
    late = notes + [0.06, 0.06, 0, 0]
    assert evaluate(notes, late)["note_f1"] < 0.2
    assert evaluate(notes, late, lag=0.06)["note_f1"] == 1


def test_the_pedal_convention_costs_offsets_but_not_onsets():
    keys = performance(5)
    held = extend_with_pedal(keys, [[t, value] for t in range(0, 40, 2) for value in (127,)] + [[41, 0]])
    scores = evaluate(held, keys)
    assert scores["note_f1"] == 1 and scores["note_offset_f1"] < 0.8


def test_means_are_means_of_scores():
    assert mean_metrics([]) == {}
    assert mean_metrics([{"note_f1": 1.0}, {"note_f1": 0.5}]) == {"note_f1": 0.75}


def test_match_pairs_each_note_once():
    notes = performance(6)
    pairs = match(notes, disturbed(notes, 6))
    assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs) > 100


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_csv_and_midi_round_trips(tmp_path_factory, seed, n_notes):
    folder = tmp_path_factory.mktemp("notes")
    notes = extend_with_pedal(performance(seed, n_notes), [])
    write_notes(folder / "a.notes.csv", notes)
    back = read_notes(folder / "a.notes.csv")
    assert back.shape == notes.shape
    np.testing.assert_allclose(back, notes, atol=1.01e-4)

    write_midi(folder / "a.mid", notes)
    back = read_notes(folder / "a.mid")
    by_pretty_midi = sum(
        (part.notes for part in pretty_midi.PrettyMIDI(str(folder / "a.mid")).instruments), []
    )
    assert len(back) == len(by_pretty_midi) == len(notes)
    if n_notes:
        by_key = [np.lexsort((rows[:, 0], rows[:, 2])) for rows in (back, notes)]
        np.testing.assert_allclose(back[by_key[0]], notes[by_key[1]], atol=1.1e-3)


def test_csv_takes_a_header_comments_and_blank_lines(tmp_path):
    path = tmp_path / "a.notes.csv"
    path.write_bytes(
        "\ufeffonset,offset,pitch,velocity\r\n# by hand\r\n\r\n0.5, 1.0, 60, 64\r\n0.1,0.2,61,1\r\n".encode()
    )
    assert read_notes(path).tolist() == [[0.1, 0.2, 61, 1], [0.5, 1.0, 60, 64]]
    path.write_text("")
    assert read_notes(path).shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.1,0.2,60,64\n0.3,0.2,60,64\n", "line 2: the offset 0.2 s must lie after the onset 0.3 s"),
        ("0.1,0.2,60\n", "line 1: 3 values where four are expected"),
        ("0.1,0.2,60.5,64\n", "not a key of the piano"),
        ("0.1,0.2,12,64\n", "not a key of the piano"),
        ("0.1,0.2,60,0\n", "velocity 0 must lie between 1 and 127"),
        ("-0.1,0.2,60,64\n", "before the recording"),
        ("nan,0.2,60,64\n", "finite"),
        (
            "0.1,0.2,60,64\nonset,offset,pitch,velocity\n",
            "line 2: 'onset,offset,pitch,velocity' is not a note",
        ),
        ("0.1 0.2 60 64\n", "four numbers"),
        ("0.1,0.2,sixty,64\n", "line 1: '0.1,0.2,sixty,64' is not a note"),
    ],
)
def test_csv_errors_name_the_line(tmp_path, text, says):
    path = tmp_path / "bad.notes.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_notes(path)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_not_a_file_of_notes(tmp_path):
    (tmp_path / "noise.csv").write_bytes(bytes(range(128, 256)))
    (tmp_path / "text.mid").write_text("not midi at all")
    (tmp_path / "empty.mid").write_bytes(b"")
    (tmp_path / "notes.xml").write_text("")
    for name, says in (
        ("absent.mid", "does not exist"),
        (".", "is a folder"),
        ("noise.csv", "not a text file"),
        ("text.mid", "cannot be read as a MIDI file"),
        ("empty.mid", "cannot be read as a MIDI file"),
        ("notes.xml", "are read from"),
    ):
        with pytest.raises(InputError, match=says):
            read_notes(tmp_path / name)


def midi(path, events, *, tempo=500000, extra_tracks=()):
    """Write (seconds, message) pairs at 120 beats a minute."""
    file = mido.MidiFile(ticks_per_beat=1000)
    for track_events in (events, *extra_tracks):
        track = mido.MidiTrack()
        now = 0
        for seconds, message in sorted(track_events, key=lambda event: event[0]):
            tick = round(seconds * 2000)
            track.append(message.copy(time=tick - now))
            now = tick
        file.tracks.append(track)
    file.save(path)
    return path


def on(pitch, velocity=64, channel=0):
    return mido.Message("note_on", note=pitch, velocity=velocity, channel=channel)


def pedal(value):
    return mido.Message("control_change", control=64, value=value)


def test_midi_pedal_is_applied_even_from_a_track_of_its_own(tmp_path):
    notes = [(0.0, on(60)), (0.5, on(60, 0)), (1.0, on(64)), (1.2, on(64, 0))]
    pedals = [(0.25, pedal(127)), (0.75, pedal(0))]
    together = read_notes(midi(tmp_path / "one.mid", notes + pedals))
    apart = read_notes(midi(tmp_path / "two.mid", notes, extra_tracks=[pedals]))
    np.testing.assert_allclose(together[:, :2], [[0, 0.75], [1.0, 1.2]])
    np.testing.assert_array_equal(together, apart)


def test_midi_restrikes_drums_and_open_notes(tmp_path):
    events = [
        (0.0, on(60)),
        (0.5, on(60, 90)),
        (0.2, on(36, channel=9)),
        (1.0, on(62)),
        (1.0, on(62, 0)),
        (2.0, pedal(0)),
    ]
    notes = read_notes(midi(tmp_path / "odd.mid", events))
    np.testing.assert_allclose(notes, [[0, 0.5, 60, 64], [0.5, 2.0, 60, 90]])


def test_tempo_changes_are_followed(tmp_path):
    slow = [(0.0, mido.MetaMessage("set_tempo", tempo=1000000)), (0.5, on(60)), (1.0, on(60, 0))]
    np.testing.assert_allclose(read_notes(midi(tmp_path / "slow.mid", slow))[0, :2], [1.0, 2.0])


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "a.notes.csv"
    write_notes(path, [[0, 1, 60, 64]])
    for writer in (write_notes, write_midi):
        with pytest.raises(InputError, match="The notes to write, note 1"):
            writer(path, [[0, 1, 200, 64]])
    assert path.read_text() == "0.0000,1.0000,60,64\n"
    assert os.listdir(tmp_path) == ["a.notes.csv"]
    with pytest.raises(InputError, match="cannot be written"):
        write_notes(path / "below_a_file.csv", [[0, 1, 60, 64]])


def test_validate_says_what_is_wrong():
    with pytest.raises(InputError, match="four columns"):
        validate(np.zeros((3, 3)), "mine")
    with pytest.raises(InputError, match="mine must be rows of four numbers"):
        validate([["a", 1, 2, 3]], "mine")
    with pytest.raises(InputError, match="mine, note 2: the offset"):
        validate([[0, 1, 60, 64], [1, 1, 60, 64]], "mine")


def test_a_file_of_one_word_is_no_header(tmp_path):
    path = tmp_path / "a.notes.csv"
    path.write_text("nonsense\n")
    with pytest.raises(InputError, match="not a note"):
        read_notes(path)
