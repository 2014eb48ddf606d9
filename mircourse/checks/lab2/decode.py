"""Lab 2, exercise 5: from probabilities to notes, gated by onsets (Hawthorne et al., ISMIR 2018; magenta's note-seq).

``decode(onset_probability, frame_probability, frame_rate, threshold)``: two arrays (T, 88) -> notes (N, 3): onset s,
offset s, MIDI pitch; sorted by onset, then pitch; (0, 3) where there are none.

A key sounds where its frame OR its onset probability exceeds the threshold. A note begins where the thresholded
onset rises, and only there. It ends before the first frame that does not sound; or where the onset rises again,
which begins the next note; or with the last frame. Onset = first frame / frame_rate, offset = end frame (exclusive)
/ frame_rate. (`mircourse.piano.decoding` follows the same rule, and then places the onsets finer than a frame.)
"""

import numpy as np

from mircourse.checks.spec import Case, Criterion, Misconception, Part, Spec, form, untouched
from mircourse.piano.targets import FRAME_RATE, LOWEST_PITCH, N_KEYS

MAIN = ("start", "end")


def reference(onset_probability, frame_probability, frame_rate=FRAME_RATE, threshold=0.5):
    """Return the notes; a test compares them with the library's decoder."""
    onset = onset_probability > threshold
    sounds = onset | (frame_probability > threshold)
    rises = np.diff(onset.astype(int), axis=0, prepend=0) == 1
    notes = []
    for begin, key in np.argwhere(rises):
        stops = np.flatnonzero(~sounds[begin:, key] | np.append(False, rises[begin + 1 :, key]))
        end = begin + stops[0] if len(stops) else len(onset)
        notes.append((begin / frame_rate, end / frame_rate, key + LOWEST_PITCH))
    return np.array(notes, dtype=np.float64).reshape(-1, 3)


# A column of frames: "O" onset and frame, "o" onset alone, "f" frame alone, "." neither.
ORDINARY = (".OOfffff..", "..Offf...", "...OOff...", ".OOOOfff..", ".OOf....")
WITHOUT_ONSET = ("..ffff...", ".OOf..fff.", ".fffff....", "...ff....", ".ff..fff..")
LATE_ONSET = ("..fffOOfff..", ".ffOfff...", "...fOOff..")
ONSET_ALONE = ("..oo.....", ".oofff...", "..Oo.....", ".Oofff...", "...oOff..")
AT_THE_EDGES = ("OOfff....", "Of.......", "oo.......", ".....Offf", "......OOf", ".......OO", "........O")
RESTRUCK = (".OOfffOOff..", ".OfOfOff...", "..OOffooff..", ".OOf.OOff...", ".OffOOOffOf.", ".OOfffOOO...")
SEPARATE = (".OOff...OOff..", ".Off..Off....", "..OOf....Offf")


def draw(rng):
    """Draw probabilities well on either side of the threshold, from columns that hold every situation."""
    everything = (*ORDINARY, *WITHOUT_ONSET, *LATE_ONSET, *ONSET_ALONE, *AT_THE_EDGES, *RESTRUCK, *SEPARATE)
    return [
        Case(_probabilities(rng, ORDINARY, 1), "one note", MAIN),
        Case(_probabilities(rng, (*ORDINARY, *SEPARATE), 10), "notes on ten keys", MAIN),
        Case(_probabilities(rng, (*WITHOUT_ONSET, *ORDINARY), 8), "frames without an onset", MAIN),
        Case(_probabilities(rng, LATE_ONSET, 3), "frames that begin before their onset", MAIN),
        Case(_probabilities(rng, ONSET_ALONE, 6), "onsets without a frame", MAIN),
        Case(_probabilities(rng, AT_THE_EDGES, 7), "notes at the first and the last frame", MAIN),
        Case(_probabilities(rng, RESTRUCK, 6), "keys struck again", ("again",)),
        Case(_probabilities(rng, RESTRUCK, 6), "keys struck again", ("again",)),
        Case(_probabilities(rng, everything, 40, 50.0), "everything at once, 50 frames/s", ("all", "order")),
        Case(_random(rng, 45, 0.3), "random probabilities, threshold 0.3", ("all", "order")),
        Case(_random(rng, 45, 0.7), "random probabilities, threshold 0.7", ("all", "order")),
        Case(_silence(rng, 9), "silence", ("edge",)),
        Case(_probabilities(rng, ORDINARY, 5)[:2], "frame rate and threshold left out", ("edge",)),
        Case(_probabilities(rng, (".", "o", "O", "f"), 30), "a single frame", ("edge",)),
    ]


def _probabilities(rng, columns, n_keys, frame_rate=FRAME_RATE, threshold=0.5):
    """Place columns (every one of them, if there are keys enough) on random keys."""
    length = max(len(column) for column in columns)
    onset, frame = rng.uniform(0.02, threshold - 0.05, (2, length, N_KEYS))
    order = rng.permutation(len(columns))
    for i, key in enumerate(rng.choice(N_KEYS, size=n_keys, replace=False)):
        column = columns[order[i % len(columns)]]
        # Columns without a note at the edges may begin anywhere; the others stay where they are.
        shift = int(rng.integers(0, length - len(column) + 1)) if column[0] == column[-1] == "." else 0
        for row, cell in enumerate(column, start=shift):
            if cell in "Oo":
                onset[row, key] = rng.uniform(threshold + 0.05, 0.98)
            if cell in "Of":
                frame[row, key] = rng.uniform(threshold + 0.05, 0.98)
    return onset, frame, frame_rate, threshold


def _random(rng, n_frames, threshold):
    """Draw probabilities that change slowly, without any plan, on either side of the threshold and of 0.5."""
    onset, frame = np.repeat(rng.random((2, n_frames // 3, N_KEYS)), 3, axis=1)
    onset = 0.7 * onset + 0.3 * rng.random(onset.shape)
    quiet = rng.permutation(N_KEYS)[20:]
    for values in (onset, frame):
        values[:, quiet] *= threshold
        near = np.abs(values - threshold) < 0.02
        values[near] += 0.04 * np.where(values[near] < threshold, -1, 1)
    return onset, frame, 100.0, threshold


def _silence(rng, n_frames):
    return (*rng.uniform(0.02, 0.45, (2, n_frames, N_KEYS)), FRAME_RATE, 0.5)


def _by_row(notes, columns):
    chosen = notes[:, columns]
    return chosen[np.lexsort(chosen.T[::-1])]


def _starts(notes, *_):
    return _by_row(notes, [0, 2])


def _ends(notes, *_):
    return _by_row(notes, [1, 2])


def _any_order(notes, *_):
    return _by_row(notes, [0, 2, 1])


def _is_sorted(notes, *_):
    return np.array(np.array_equal(np.lexsort((notes[:, 2], notes[:, 0])), np.arange(len(notes))), dtype=int)


def _answer(*, starts="rise", sounds="or", cut=True, overlap=False, first=True, last=True, end_shift=0):
    """Make a wrong answer; the defaults give a right one.

    starts : "rise" of the onset, "every" onset frame, "sound" (rise of what sounds), "frame" (rise of the frame)
    sounds : "or", "and", "frame", "onset"
    cut : a rise while sounding starts a new note; overlap : but does not end the old one
    first, last : look at the first frame; keep notes that sound at the end
    """

    def answer(onset_probability, frame_probability, frame_rate=FRAME_RATE, threshold=0.5):
        onset, frame = onset_probability > threshold, frame_probability > threshold
        active = {"or": onset | frame, "and": onset & frame, "frame": frame, "onset": onset}[sounds]
        gate = {"rise": onset, "every": onset, "sound": onset | frame, "frame": frame}[starts]
        notes = []
        for key in np.flatnonzero((gate | active).any(axis=0)):
            begin = None
            n_frames = len(onset)
            for t in range(n_frames):
                before = gate[t - 1, key] if t else not first
                rises = gate[t, key] and (starts == "every" or not before)
                if begin is not None and not active[t, key]:
                    notes.append((begin, t + end_shift, key))
                    begin = None
                if rises and (begin is None or cut):
                    if overlap:
                        ends = np.flatnonzero(~active[t:, key])
                        notes.append((t, t + ends[0] if len(ends) else n_frames, key))
                        continue
                    if begin is not None:
                        notes.append((begin, t + end_shift, key))
                    begin = t
            if begin is not None and last:
                notes.append((begin, n_frames + end_shift, key))
        return _table(notes, frame_rate)

    return answer


def _table(notes, frame_rate):
    table = np.array(notes, dtype=np.float64).reshape(-1, 3)
    table = table[np.lexsort((table[:, 2], table[:, 0]))]
    return table / [frame_rate, frame_rate, 1] + [0, 0, LOWEST_PITCH]


def _changed(change):
    """Make a wrong answer from a right one."""

    def answer(onset_probability, frame_probability, frame_rate=FRAME_RATE, threshold=0.5):
        notes = reference(onset_probability, frame_probability, frame_rate, threshold)
        return change(notes, frame_rate)

    return answer


def _onset_column(values):
    """Make a wrong answer from what becomes of the seconds."""
    return _changed(lambda notes, rate: np.column_stack([*values(notes, rate), notes[:, 2]]))


def _gate_ignores_threshold(onset, frame, frame_rate=FRAME_RATE, threshold=0.5):
    return reference(onset - 0.5 + threshold, frame, frame_rate, threshold)


def _frame_ignores_threshold(onset, frame, frame_rate=FRAME_RATE, threshold=0.5):
    return reference(onset, frame - 0.5 + threshold, frame_rate, threshold)


def _empty_without_columns(*args):
    notes = reference(*args)
    return notes if len(notes) else np.zeros(0)


def _writes_into_probabilities(onset, frame, frame_rate=FRAME_RATE, threshold=0.5):
    notes = reference(onset, frame, frame_rate, threshold)
    onset[...] = onset > threshold
    frame[...] = frame > threshold
    return notes


def _either_starts(onset_probability, frame_probability, frame_rate=FRAME_RATE, threshold=0.5):
    """Let a note begin where the onset rises and also where the key starts to sound."""
    onset = onset_probability > threshold
    sounds = onset | (frame_probability > threshold)
    begins = np.diff(sounds.astype(int), axis=0, prepend=0) == 1
    begins |= np.diff(onset.astype(int), axis=0, prepend=0) == 1
    notes = []
    for begin, key in np.argwhere(begins):
        stops = np.flatnonzero(~sounds[begin:, key] | np.append(False, begins[begin + 1 :, key]))
        notes.append((begin, begin + stops[0] if len(stops) else len(onset), key))
    return _table(notes, frame_rate)


def _frame_decides(onset_probability, frame_probability, frame_rate=FRAME_RATE, threshold=0.5):
    """End a note where the frame is low, even if its onset is high; at least one frame is kept."""
    onset, frame = onset_probability > threshold, frame_probability > threshold
    rises = np.diff(onset.astype(int), axis=0, prepend=0) == 1
    notes = []
    for begin, key in np.argwhere(rises):
        stops = np.flatnonzero(~frame[begin + 1 :, key] | rises[begin + 1 :, key])
        notes.append((begin, begin + 1 + stops[0] if len(stops) else len(onset), key))
    return _table(notes, frame_rate)


MISCONCEPTIONS = (
    Misconception(
        "no_gate",
        "a note begins wherever a key starts to sound. It may begin only where an onset rises: that is the gate.",
        _answer(starts="sound", cut=False),
    ),
    Misconception(
        "no_gate_but_cut",
        "re-strikes are cut, but a note also begins where only the frame starts to sound. Without an onset there is "
        "no note.",
        _either_starts,
    ),
    Misconception(
        "frames_only",
        "the notes are the runs of frames; the onsets are not used at all.",
        _answer(starts="frame", sounds="frame", cut=False),
    ),
    Misconception(
        "no_cut",
        "an onset that rises while the key sounds is overlooked. It ends the old note and begins a new one.",
        _answer(cut=False),
    ),
    Misconception(
        "overlap",
        "a key struck again begins a new note, but the old one goes on beneath it. A string sounds once: end the old "
        "note.",
        _answer(overlap=True),
    ),
    Misconception(
        "every_onset_frame",
        "every frame above the onset threshold begins a note, so one strike becomes two or three. Only the rise "
        "counts: above now, not above one frame before.",
        _answer(starts="every"),
    ),
    Misconception(
        "frame_without_onset",
        "a key counts as sounding only where its frame probability is high. It sounds where frame OR onset is.",
        _frame_decides,
    ),
    Misconception(
        "frame_and_onset",
        "a key counts as sounding where frame AND onset are high, so notes end with their onset. It is OR.",
        _answer(sounds="and"),
    ),
    Misconception(
        "onset_only",
        "the notes are the runs of onsets; the frames are not used at all.",
        _answer(sounds="onset"),
    ),
    Misconception(
        "onset_needs_frame",
        "an onset counts only where the frame is high too. The onset alone begins a note.",
        lambda onset, frame, rate=FRAME_RATE, threshold=0.5: _answer()(
            np.minimum(onset, frame), frame, rate, threshold
        ),
    ),
    Misconception(
        "first_frame",
        "an onset in frame 0 is missed. Before the first frame there is silence, so it rises there.",
        _answer(first=False),
    ),
    Misconception(
        "last_frame",
        "notes that still sound in the last frame are lost. The end of the recording ends them.",
        _answer(last=False),
    ),
    Misconception(
        "end_inclusive",
        "the offset is the last frame that sounds; it should be the frame after it, where the sound is over.",
        _answer(end_shift=-1),
    ),
    Misconception(
        "end_late",
        "every offset is one frame late. The end is the first frame that does not sound.",
        _answer(end_shift=1),
    ),
    Misconception(
        "frames_as_seconds",
        "times are frame numbers. Divide by the frame rate.",
        _onset_column(lambda notes, rate: (notes[:, 0] * rate, notes[:, 1] * rate)),
    ),
    Misconception(
        "multiplied",
        "frames are multiplied by the frame rate. Frames divided by frames per second are seconds.",
        _onset_column(lambda notes, rate: (notes[:, 0] * rate**2, notes[:, 1] * rate**2)),
    ),
    Misconception(
        "milliseconds",
        "times are in milliseconds. They should be in seconds.",
        _onset_column(lambda notes, rate: (notes[:, 0] * 1000, notes[:, 1] * 1000)),
    ),
    Misconception(
        "fixed_frame_rate",
        "the frame rate is always taken to be 31.25. It is an argument: use it.",
        _onset_column(lambda notes, rate: (notes[:, 0] * rate / FRAME_RATE, notes[:, 1] * rate / FRAME_RATE)),
    ),
    Misconception(
        "duration",
        "the second column is the duration. It should be the time of the offset.",
        _onset_column(lambda notes, rate: (notes[:, 0], notes[:, 1] - notes[:, 0])),
    ),
    Misconception(
        "half_frame",
        "half a frame is added to the times. A good idea (the library does so), but here the onset is the first "
        "frame divided by the frame rate.",
        _onset_column(lambda notes, rate: (notes[:, 0] + 0.5 / rate, notes[:, 1] + 0.5 / rate)),
    ),
    Misconception(
        "key_as_pitch",
        "the third column is the key 0..87. MIDI numbers begin at 21 on a piano.",
        _changed(lambda notes, rate: notes - [0, 0, LOWEST_PITCH]),
    ),
    Misconception(
        "key_off_by_one",
        "every pitch is a semitone too low. Key 0 is MIDI 21.",
        _changed(lambda notes, rate: notes - [0, 0, 1]),
    ),
    Misconception(
        "key_off_by_one_above",
        "every pitch is a semitone too high. Key 0 is MIDI 21.",
        _changed(lambda notes, rate: notes + [0, 0, 1]),
    ),
    Misconception(
        "fixed_threshold",
        "both thresholds are always 0.5. The threshold is an argument: use it.",
        lambda onset, frame, rate=FRAME_RATE, threshold=0.5: reference(onset, frame, rate, 0.5),
    ),
    Misconception(
        "fixed_onset_threshold",
        "the onset threshold is always 0.5. The threshold is an argument, for onsets and frames alike.",
        _gate_ignores_threshold,
    ),
    Misconception(
        "fixed_frame_threshold",
        "the frame threshold is always 0.5. The threshold is an argument, for onsets and frames alike.",
        _frame_ignores_threshold,
    ),
    Misconception(
        "arguments_swapped",
        "onset and frame probabilities are mixed up: the onsets are the first argument.",
        lambda onset, frame, rate=FRAME_RATE, threshold=0.5: reference(frame, onset, rate, threshold),
    ),
    Misconception(
        "sorted_by_pitch",
        "the notes are right, but they stand key by key. Sort them by onset, then pitch (np.lexsort).",
        _changed(lambda notes, rate: notes[np.lexsort((notes[:, 0], notes[:, 2]))]),
    ),
    Misconception(
        "sorted_by_offset",
        "the notes are right, but they are in the order in which they end. Sort them by onset, then pitch.",
        _changed(lambda notes, rate: notes[np.lexsort((notes[:, 2], notes[:, 1]))]),
    ),
    Misconception(
        "transposed",
        "the table lies on its side: one row a note, (N, 3).",
        _changed(lambda notes, rate: notes.T),
    ),
    Misconception(
        "empty_without_columns",
        "without any note the result has shape (0,). It should still be a table: (0, 3). np.array([]) does not know "
        "that there are three columns; .reshape(-1, 3) tells it.",
        _empty_without_columns,
    ),
    Misconception(
        "writes_into_probabilities",
        "the notes are right, but the probabilities are overwritten with the result of the threshold.",
        _writes_into_probabilities,
    ),
)


SPEC = Spec(
    name="lab2/decode",
    function="decode",
    signature=("onset_probability", "frame_probability", "frame_rate", "threshold"),
    draw=draw,
    reference=reference,
    returns=(Part("table of notes", ("note", "column"), columns=("onset s", "offset s", "pitch")),),
    criteria=(
        Criterion("start", "notes begin where onsets rise", 2, _starts, columns=("onset s", "pitch")),
        Criterion("end", "notes end where the sound ends", 2, _ends, columns=("offset s", "pitch")),
        Criterion("again", "keys struck again", 2, _any_order, columns=("onset s", "pitch", "offset s")),
        Criterion(
            "all",
            "everything together, at other thresholds and frame rates",
            2,
            _any_order,
            columns=("onset s", "pitch", "offset s"),
        ),
        Criterion(
            "order",
            "sorted by onset, then pitch",
            0.5,
            _is_sorted,
            axes=(),
            columns=(),
            supporting=True,
            hint="(1 stands for sorted.)",
        ),
        Criterion("edge", "silence, a single frame, and the default arguments", 0.5, supporting=True),
        form(0.5, "a floating-point array of shape (N, 3)"),
        untouched(0.5),
    ),
    misconceptions=MISCONCEPTIONS,
)
