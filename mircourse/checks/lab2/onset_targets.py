"""Lab 2, exercise 1: draw the onset label of every note on a roll (Hawthorne et al., ISMIR 2018).

``onset_targets(notes, n_frames, frame_rate)``: notes (N, 4) of onset s, offset s, MIDI pitch, velocity ->
float roll (n_frames, 88), column 0 is MIDI 21. A label begins in frame floor(onset * frame_rate) and ends before
frame ceil(min(offset, onset + 0.032) * frame_rate), yet holds one frame at least; what lies behind the last frame
is cut off.
"""

import numpy as np

from mircourse.checks.spec import Case, Criterion, Misconception, Part, Spec, form, untouched
from mircourse.piano.targets import FRAME_RATE, LOWEST_PITCH, N_KEYS, ONSET_SECONDS, rolls

MAIN = ("start", "end", "key", "roll")


def reference(notes, n_frames, frame_rate=FRAME_RATE):
    """Return the library's onset roll."""
    return rolls(notes, n_frames, frame_rate=frame_rate)["onset"]


def draw(rng):
    """Draw notes whose edges keep off the frame borders, except where the border is an exact binary number."""
    low, high = (0.05, 0.45), (0.55, 0.95)
    return [
        Case((_notes(rng, 1, FRAME_RATE, 30, start=low), 30, FRAME_RATE), "one note", MAIN),
        Case(
            (_notes(rng, 1, FRAME_RATE, 24, start=high), 24, FRAME_RATE), "one note late in its frame", MAIN
        ),
        Case((_notes(rng, 6, FRAME_RATE, 40), 40, FRAME_RATE), "six notes", MAIN),
        Case((_notes(rng, 6, 50.0, 60), 60, 50.0), "six notes at 50 frames/s", MAIN),
        Case((_notes(rng, 5, 100.0, 90), 90, 100.0), "five notes at 100 frames/s", MAIN),
        Case((_chord(rng), 20, FRAME_RATE), "a chord from the lowest to the highest key", ("key", "roll")),
        Case((_notes(rng, 5, 100.0, 80, length=(0.004, 0.027)), 80, 100.0), "notes under 32 ms", ("short",)),
        Case((_notes(rng, 3, 200.0, 70, length=(0.004, 0.027)), 70, 200.0), "notes under 32 ms", ("short",)),
        Case((_restruck(rng), 70, 100.0), "a key struck again within 32 ms", ("roll",)),
        # Powers of two: these borders are exact in every formula.
        Case((_note(rng, 0.5, 1.25), 40, 32.0), "an onset exactly on a frame border", ("border",)),
        Case((_note(rng, 0.5, 0.515625), 50, 64.0), "an offset exactly on a frame border", ("border",)),
        Case((_note(rng, 0.5, 0.5), 30, 32.0), "a note of no length", ("border",)),
        Case((_note(rng, 0.0, 0.7), 30, 50.0), "an onset at 0 s", ("border",)),
        Case((np.zeros((0, 4)), int(rng.integers(3, 9)), FRAME_RATE), "no notes", ("outside",)),
        Case((_note(rng, 0.011, 0.8), 1, FRAME_RATE), "a single frame", ("outside",)),
        Case((_past_the_end(rng), 21, 50.0), "notes at and behind the end", ("outside",)),
        Case((_notes(rng, 2, FRAME_RATE, 24), 24), "the frame rate left out", ("outside",)),
    ]


def _note(rng, onset, offset):
    return np.array([[onset, offset, rng.integers(22, 108), rng.integers(20, 120)]], dtype=np.float64)


def _notes(rng, count, frame_rate, n_frames, *, start=(0.05, 0.95), length=(0.06, 0.5)):
    """Draw notes on different keys that begin at least 4 frames before the roll ends."""
    pitches = rng.choice(np.arange(22, 108), size=count, replace=False)
    notes = []
    while len(notes) < count:
        onset = (rng.integers(1, n_frames - 12) + rng.uniform(*start)) / frame_rate
        offset = onset + rng.uniform(*length)
        edges = np.array([onset, offset, onset + ONSET_SECONDS]) * frame_rate % 1
        if np.all((edges > 0.02) & (edges < 0.98)):
            notes.append([onset, offset, pitches[len(notes)], rng.integers(20, 120)])
    return _sorted(notes)


def _chord(rng):
    onset = (rng.integers(3, 9) + rng.uniform(0.6, 0.9)) / FRAME_RATE
    inner = rng.choice(np.arange(30, 100), size=2, replace=False)
    return _sorted([[onset, onset + 0.21, pitch, rng.integers(20, 120)] for pitch in (21, *inner, 108)])


def _restruck(rng):
    """Two strikes of one key, the second before the label of the first is over."""
    onset = (rng.integers(10, 20) + 0.3) / 100.0
    pitch, velocity = rng.integers(22, 108), rng.integers(20, 120)
    return _sorted(
        [[onset, onset + 0.0204, pitch, velocity], [onset + 0.0204, onset + 0.205, pitch, velocity]]
    )


def _past_the_end(rng):
    pitches = rng.choice(np.arange(22, 108), size=3, replace=False)
    onsets = np.array([20.4, 23.4, 12.3]) / 50.0
    return _sorted([[onset, onset + 0.3, pitch, 64] for onset, pitch in zip(onsets, pitches, strict=True)])


def _sorted(notes):
    notes = np.array(notes, dtype=np.float64)
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def _starts(roll, *_):
    """Count the labels that begin in each frame, on whatever key."""
    return np.sum(np.diff((roll > 0).astype(int), axis=0, prepend=0) == 1, axis=1)


def _ends(roll, *_):
    """Count the labels that end before each frame, on whatever key."""
    return np.sum(np.diff((roll > 0).astype(int), axis=0, append=0) == -1, axis=1)


def _keys(roll, *_):
    return np.any(roll > 0, axis=0).astype(int)


def _answer(
    first, end, *, key=lambda pitch: int(pitch) - LOWEST_PITCH, value=lambda velocity: 1.0, add=False
):
    """Make a wrong answer from what it takes for the first frame, the end frame, the column and the value."""

    def answer(notes, n_frames, frame_rate=FRAME_RATE):
        roll = np.zeros((n_frames, N_KEYS))
        for onset, offset, pitch, velocity in notes:
            begin = int(first(onset, offset, frame_rate))
            rows = slice(max(begin, 0), max(int(end(onset, offset, frame_rate)), 0))
            roll[rows, key(pitch)] = value(velocity) + (roll[rows, key(pitch)] if add else 0.0)
        return roll

    return answer


def _floor(onset, offset, frame_rate):
    return np.floor(onset * frame_rate)


def _ceil(onset, offset, frame_rate):
    return max(np.ceil(min(offset, onset + ONSET_SECONDS) * frame_rate), np.floor(onset * frame_rate) + 1)


def _round(onset, offset, frame_rate):
    return np.round(onset * frame_rate)


def _round_end(onset, offset, frame_rate):
    return max(np.round(min(offset, onset + ONSET_SECONDS) * frame_rate), np.round(onset * frame_rate) + 1)


def _truncated_end(onset, offset, frame_rate):
    return max(int(min(offset, onset + ONSET_SECONDS) * frame_rate), int(onset * frame_rate) + 1)


def _at_offset(notes, n_frames, frame_rate=FRAME_RATE):
    moved = np.array(notes)
    moved[:, 0], moved[:, 1] = notes[:, 1], notes[:, 1] + ONSET_SECONDS
    return _answer(_floor, _ceil)(moved, n_frames, frame_rate)


def _writes_into_notes(notes, n_frames, frame_rate=FRAME_RATE):
    roll = reference(notes, n_frames, frame_rate)
    notes[:, :2] *= frame_rate
    return roll


MISCONCEPTIONS = (
    Misconception(
        "round",
        "both borders are rounded to the nearest frame. A label starts in the frame that contains the onset, however "
        "late in that frame it is, and covers the last frame that it touches.",
        _answer(_round, _round_end),
    ),
    Misconception(
        "round_start",
        "the start is rounded to the nearest frame, so half of all labels begin one frame after the onset. In which "
        "frame does 7.9 lie?",
        _answer(_round, lambda onset, offset, rate: max(_ceil(onset, offset, rate), round(onset * rate) + 1)),
    ),
    Misconception(
        "one_frame",
        "every label is one frame long. It lasts 32 ms (or until the note ends), and mostly touches two frames.",
        _answer(_floor, lambda onset, offset, rate: np.floor(onset * rate) + 1),
    ),
    Misconception(
        "always_two_frames",
        "every label is two frames long. That is right for long notes at 31.25 frames/s only: compute the end from "
        "seconds.",
        _answer(_floor, lambda onset, offset, rate: np.floor(onset * rate) + 2),
    ),
    Misconception(
        "truncated_end",
        "the end is cut down to a whole frame, so the last frame that the label touches is missing. int() rounds "
        "towards zero.",
        _answer(_floor, _truncated_end),
    ),
    Misconception(
        "end_inclusive",
        "every label is one frame too long. The end frame is exclusive, as in a Python slice: why add one to it?",
        _answer(_floor, lambda onset, offset, rate: _ceil(onset, offset, rate) + 1),
    ),
    Misconception(
        "floor_plus_one",
        "the end is rounded down and then one is added. That is not rounding up: look at an end that lies exactly on "
        "a frame border.",
        _answer(_floor, lambda onset, offset, rate: np.floor(min(offset, onset + ONSET_SECONDS) * rate) + 1),
    ),
    Misconception(
        "whole_note",
        "the label lasts as long as the note: this is the frame roll. An onset label ends 32 ms after the onset.",
        _answer(_floor, lambda onset, offset, rate: max(np.ceil(offset * rate), np.floor(onset * rate) + 1)),
    ),
    Misconception(
        "short_notes_too_long",
        "a note that is shorter than 32 ms gets a label that outlasts it. The label ends with the note at the latest.",
        _answer(_floor, lambda onset, offset, rate: np.ceil((onset + ONSET_SECONDS) * rate)),
    ),
    Misconception(
        "at_offset",
        "the labels stand where the notes end. Which column of `notes` is the onset?",
        _at_offset,
    ),
    Misconception(
        "key_off_by_one",
        "every label is one key too high. The lowest key of a piano is MIDI 21, and its column is 0.",
        _answer(_floor, _ceil, key=lambda pitch: int(pitch) - 20),
    ),
    Misconception(
        "key_off_by_one_below",
        "every label is one key too low. The lowest key of a piano is MIDI 21, and its column is 0.",
        _answer(_floor, _ceil, key=lambda pitch: int(pitch) - 22),
    ),
    Misconception(
        "key_is_pitch",
        "the MIDI number is used as the column. The lowest key of a piano is MIDI 21, and its column is 0.",
        _answer(_floor, _ceil, key=int),
    ),
    Misconception(
        "fixed_frame_rate",
        "the frame rate is always taken to be 31.25. It is an argument: use it.",
        lambda notes, n_frames, frame_rate=FRAME_RATE: _answer(_floor, _ceil)(notes, n_frames, FRAME_RATE),
    ),
    Misconception(
        "seconds_as_frames",
        "seconds are used as frame numbers. How many frames does one second have?",
        lambda notes, n_frames, frame_rate=FRAME_RATE: _answer(_floor, _ceil)(notes, n_frames, 1.0),
    ),
    Misconception(
        "no_frame_for_no_length",
        "a note of no length gets no label. Every note has one frame at least.",
        _answer(_floor, lambda onset, offset, rate: np.ceil(min(offset, onset + ONSET_SECONDS) * rate)),
    ),
    Misconception(
        "counts",
        "labels are added up where they overlap, so a cell can hold 2. A roll says whether, not how often.",
        _answer(_floor, _ceil, add=True),
    ),
    Misconception(
        "velocity",
        "the roll holds velocities. An onset roll holds 1 where there is an onset, however loud.",
        _answer(_floor, _ceil, value=lambda velocity: velocity / 127),
    ),
    Misconception(
        "transposed",
        "the roll lies on its side. Time is the first axis: (n_frames, 88).",
        lambda *args: reference(*args).T,
    ),
    Misconception(
        "writes_into_notes",
        "the roll is right, but the seconds in `notes` are turned into frames in place, and whoever called the "
        "function loses them.",
        _writes_into_notes,
    ),
)

SPEC = Spec(
    name="lab2/onset_targets",
    function="onset_targets",
    signature=("notes", "n_frames", "frame_rate"),
    draw=draw,
    reference=reference,
    returns=(
        Part(
            "onset roll",
            ("frame", "key"),
            where=lambda frame, key: f"frame {frame}, key {key} (MIDI {key + LOWEST_PITCH})",
        ),
    ),
    criteria=(
        Criterion(
            "start",
            "labels start in the right frames",
            1,
            _starts,
            axes=("frame",),
            hint="(Counted: how many labels start in each frame.)",
        ),
        Criterion(
            "end",
            "labels end in the right frames",
            1,
            _ends,
            axes=("frame",),
            hint="(Counted: how many labels have their last frame here.)",
        ),
        Criterion("key", "labels are on the right keys", 1, _keys, axes=("key",)),
        Criterion("roll", "the whole roll is right", 1),
        Criterion("short", "notes shorter than 32 ms", 1),
        Criterion("border", "times exactly on a frame border", 0.5, supporting=True),
        Criterion(
            "outside",
            "no notes, one frame, notes behind the end, the default frame rate",
            0.5,
            supporting=True,
        ),
        form(0.5, "a floating-point array of shape (n_frames, 88)"),
        untouched(0.5),
    ),
    misconceptions=MISCONCEPTIONS,
)
