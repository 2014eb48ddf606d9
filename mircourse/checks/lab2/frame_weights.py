"""Lab 2, exercise 2: weigh the cells of the frame loss (Hawthorne et al., ISMIR 2018).

``frame_weights(onset_roll, frame_roll)``: two rolls (T, 88) of 0 and 1 -> float weights (T, 88): 5 where the onset
roll is 1; 5 / k in the k-th frame after the onset label while the note sounds (5, 2.5, 1.67, ...); 1 in silence.
"""

import numpy as np

from mircourse.checks.spec import Case, Criterion, Misconception, Part, Spec, form, untouched
from mircourse.piano.targets import LOWEST_PITCH, N_KEYS
from mircourse.piano.targets import frame_weights as reference

C = 5.0
MAIN = ("onset", "silence", "decay")


def draw(rng):
    """Draw rolls in which every sounding frame belongs to a note that begins in the roll."""
    return [
        Case(_rolls(rng, 30, 1, strikes=1), "one note", MAIN),
        Case(_rolls(rng, 40, 1, strikes=1, label=(1, 2)), "one note with a label of one frame", MAIN),
        Case(_rolls(rng, 36, 12, strikes=1), "a note on each of twelve keys", MAIN),
        Case(_rolls(rng, 60, 10, strikes=3, gap=(2, 6)), "several notes a key, with rests", ("again",)),
        Case(_rolls(rng, 60, 10, strikes=4, gap=(0, 1)), "keys struck again without a rest", ("again",)),
        Case(_rolls(rng, 50, 30, strikes=3, gap=(0, 4)), "thirty keys", ("again",)),
        Case(_one_frame(rng), "a single frame", ("edge",)),
        Case((np.zeros((7, N_KEYS)), np.zeros((7, N_KEYS))), "silence", ("edge",)),
    ]


def _rolls(rng, n_frames, n_keys, *, strikes, gap=(2, 6), label=(2, 4)):
    """Draw notes one behind another on some keys: a rest of `gap` frames, a label of `label`, then the sustain."""
    onset, frame = np.zeros((2, n_frames, N_KEYS))
    for key in rng.choice(N_KEYS, size=n_keys, replace=False):
        row = int(rng.integers(1, 6))
        for _ in range(strikes):
            label_end = row + int(rng.integers(*label))
            end = label_end + int(rng.integers(7, 16) if strikes == 1 else rng.integers(1, 10))
            onset[row:label_end, key] = 1
            frame[row:end, key] = 1
            row = end + int(rng.integers(*gap))
    return onset, frame


def _one_frame(rng):
    onset = (rng.random((1, N_KEYS)) < 0.3).astype(np.float64)
    return onset, onset.copy()


def _on_onsets(weights, onset, frame):
    return np.where(onset > 0, weights, 0.0)


def _in_silence(weights, onset, frame):
    return np.where(frame > 0, 0.0, weights)


def _after_onsets(weights, onset, frame):
    return np.where((frame > 0) & (onset == 0), weights, 0.0)


def _answer(decay, *, silence=1.0, label=C, reset=True):
    """Make a wrong answer from the weight of the k-th frame after the label, and those of silence and label."""

    def answer(onset_roll, frame_roll):
        weights = np.full(frame_roll.shape, float(silence))
        for key in range(frame_roll.shape[1]):
            k = 0
            for t in range(len(frame_roll)):
                if onset_roll[t, key]:
                    weights[t, key] = label
                    k = 0 if reset else k
                elif frame_roll[t, key]:
                    k += 1
                    weights[t, key] = decay(k)
        return weights

    return answer


def _since_first_row(onset_roll, frame_roll):
    """Count k from the first frame of the label instead of from its end."""
    weights = np.ones(frame_roll.shape)
    for key in range(frame_roll.shape[1]):
        begin = 0
        for t in range(len(frame_roll)):
            if onset_roll[t, key] and not (t and onset_roll[t - 1, key]):
                begin = t
            if onset_roll[t, key]:
                weights[t, key] = C
            elif frame_roll[t, key]:
                weights[t, key] = C / (t - begin)
    return weights


def _decays_on_the_label(onset_roll, frame_roll):
    """Let the label itself decay too."""
    weights = np.ones(frame_roll.shape)
    for key in range(frame_roll.shape[1]):
        k = 0
        for t in range(len(frame_roll)):
            if onset_roll[t, key] and not (t and onset_roll[t - 1, key]):
                k = 0
            if frame_roll[t, key]:
                k += 1
                weights[t, key] = C / k
    return weights


def _decays_in_silence(onset_roll, frame_roll):
    weights = np.ones(frame_roll.shape)
    for key in range(frame_roll.shape[1]):
        k, struck = 0, False
        for t in range(len(frame_roll)):
            if onset_roll[t, key]:
                weights[t, key], k, struck = C, 0, True
            elif struck:
                k += 1
                weights[t, key] = C / k
    return weights


def _one_counter(onset_roll, frame_roll):
    """Keep one counter for all keys."""
    weights = np.ones(frame_roll.shape)
    k = 0
    for t in range(len(frame_roll)):
        k = 0 if onset_roll[t].any() else k + 1
        weights[t, frame_roll[t] > 0] = C / max(k, 1)
        weights[t, onset_roll[t] > 0] = C
    return weights


def _whole_numbers(onset_roll, frame_roll):
    return np.floor(reference(onset_roll, frame_roll))


def _writes_into_frame_roll(onset_roll, frame_roll):
    weights = reference(onset_roll, frame_roll)
    frame_roll[...] = weights
    return frame_roll


MISCONCEPTIONS = (
    Misconception(
        "k_from_two",
        "the first frame after the label gets 5/2. It is the first, so k = 1 and the weight is still 5.",
        _answer(lambda k: C / (k + 1)),
    ),
    Misconception(
        "k_from_zero",
        "k starts at 0, so the first frame after the label is divided by zero (or is kept from it), and all others "
        "are one step late. Count from 1.",
        _answer(lambda k: C / (k - 1) if k > 1 else C),
    ),
    Misconception(
        "k_from_zero_infinite",
        "k starts at 0, and the first frame after the label is divided by zero. Count from 1.",
        _answer(lambda k: C / (k - 1) if k > 1 else np.inf),
    ),
    Misconception(
        "k_from_label_start",
        "k counts from the beginning of the onset label. It counts the frames after the label's end.",
        _since_first_row,
    ),
    Misconception(
        "label_decays",
        "the weight falls already inside the onset label. All of the label weighs 5; the fall begins behind it.",
        _decays_on_the_label,
    ),
    Misconception(
        "not_reset",
        "k goes on counting from one note of a key to the next. A new onset starts it afresh.",
        _answer(lambda k: C / k, reset=False),
    ),
    Misconception(
        "decays_in_silence",
        "the weight goes on falling after the note has ended. In silence it is 1.",
        _decays_in_silence,
    ),
    Misconception(
        "silence_zero",
        "silent cells weigh nothing, so a false note would cost nothing. In silence the weight is 1.",
        _answer(lambda k: C / k, silence=0.0),
    ),
    Misconception(
        "never_below_one",
        "the weight stops falling at 1. In the paper it goes on: long held frames weigh less than silence.",
        _answer(lambda k: max(C / k, 1.0)),
    ),
    Misconception(
        "only_onsets",
        "only the onset label is weighted; frames after it weigh 1. They weigh 5/k.",
        _answer(lambda k: 1.0),
    ),
    Misconception(
        "whole_note",
        "every frame of a note weighs 5. Only the onset label does, the frames after it weigh 5/k. (Or are the two "
        "rolls mixed up? The first argument is the onset roll.)",
        _answer(lambda k: C),
    ),
    Misconception(
        "label_weighs_one",
        "the onset label weighs 1 like silence; it should weigh most, 5.",
        _answer(lambda k: C / k, label=1.0),
    ),
    Misconception(
        "c_is_one",
        "the constant is 1 where the paper has c = 5.",
        _answer(lambda k: 1.0 / k, label=1.0),
    ),
    Misconception(
        "halved",
        "the weight is halved from frame to frame. It is 5 divided by k: 5, 2.5, 1.67, 1.25.",
        _answer(lambda k: C / 2 ** (k - 1)),
    ),
    Misconception(
        "linear",
        "the weight falls by a constant amount from frame to frame. It is 5 divided by k: 5, 2.5, 1.67, 1.25.",
        _answer(lambda k: max(C - (k - 1), 1.0)),
    ),
    Misconception(
        "one_counter",
        "one counter serves all keys: an onset anywhere starts it afresh for everyone. Every key needs its own.",
        _one_counter,
    ),
    Misconception(
        "whole_numbers",
        "the weights are cut down to whole numbers. Does the array you write into hold integers, or is // used?",
        _whole_numbers,
    ),
    Misconception(
        "writes_into_frame_roll",
        "the weights are right, but they are written into `frame_roll` itself, and the targets of the loss are gone. "
        "`weights = frame_roll` gives a second name, not a copy.",
        _writes_into_frame_roll,
    ),
)

SPEC = Spec(
    name="lab2/frame_weights",
    function="frame_weights",
    signature=("onset_roll", "frame_roll"),
    draw=draw,
    reference=reference,
    returns=(
        Part(
            "array of weights",
            ("frame", "key"),
            where=lambda frame, key: f"frame {frame}, key {key} (MIDI {key + LOWEST_PITCH})",
        ),
    ),
    criteria=(
        Criterion("onset", "5 on the onset label", 1, _on_onsets),
        Criterion("silence", "1 in silence", 0.5, _in_silence, supporting=True),
        Criterion("decay", "5/k in the k-th frame after the label", 2, _after_onsets),
        Criterion("again", "several notes on one key", 1),
        Criterion("edge", "silence, and a single frame", 0.5, supporting=True),
        form(0.5, "a floating-point array of the shape of the rolls"),
        untouched(0.5),
    ),
    misconceptions=MISCONCEPTIONS,
)
