# %% title [markdown] nbgrader={"locked": true}
# # Lab 2 · Onsets, frames, and the gate between them
#
# `to do: about 2 hours` · `to run: 1 min on 2 CPU cores` · `GPU: not needed` · `40 points`
#
# At the end of this notebook a recording goes in and notes come out, and every step between the network and the notes
# is yours: the labels it learned from, the loss that weighed them, the connection inside it, and the decoder that
# turns its probabilities into music you can hear.
#
# **You will be able to**
#
# 1. *draw* onset labels on a grid of frames without losing a note (exercise 1);
# 2. *weigh* and *compute* a loss that is finite for every logit (exercises 2 and 3);
# 3. *connect* a frame head to an onset head, forward and backward in time (exercise 4);
# 4. *write* an onset-gated decoder that separates repeated notes (exercise 5);
# 5. *judge* a transcription by numbers and by ear (part 6 and the question at the end).
#
# **Before you start**: [Lecture 12](../../lectures/12_piano.ipynb), above all sections 5 to 7. You need NumPy and no
# PyTorch for the exercises.
#
# **How it works.** Each exercise is one function. Replace the line `raise NotImplementedError()`, run the cell, then run
# the check below it: it says at once what is right, how far off the rest is and, if it recognises the mistake, what you
# may have been thinking. Check as often as you like; nothing is counted until you hand in. If you are stuck, unfold
# one hint at a time.

# %% set-up
import importlib.util

import numpy as np
from IPython import get_ipython
from IPython.display import display

if importlib.util.find_spec("mircourse") is None:  # on Colab, once a session
    get_ipython().run_line_magic("pip", "install --quiet mircourse")

# %% about-tools [markdown] nbgrader={"locked": true}
# The next cell brings the checks, the pictures, and one bar of music that we shall use throughout: five notes, each a
# row of onset in seconds, offset in seconds, MIDI pitch and velocity. Middle C (60) is struck twice; the E (64) is
# so short that it ends 20 ms after it began.

# %% tools nbgrader={"locked": true}
from mircourse.checks import check
from mircourse.checks.spec import find
from mircourse.plots import heads, piano, tables, targets

FPS = 31.25  # frames per second: one frame lasts 32 ms
BAR = np.array([
    [0.110, 0.620, 60, 80], [0.355, 0.375, 64, 70], [0.459, 1.030, 67, 75], [0.650, 1.080, 60, 95], [0.650, 1.080, 72, 90],
])  # fmt: skip

# %% exercise-1 [markdown] nbgrader={"locked": true}
# ---
# ## Exercise 1 · Onset labels
#
# `difficulty: ★☆☆` · `15 minutes` · `7 points` · objective 1
#
# A network that is to find onsets needs a target: a roll with one row a frame and one column a key that is 1 where a
# note begins and 0 elsewhere. A label lasts 32 ms, or until the note ends if that is sooner. Write down in which frames
# it lies.
#
# With $f$ frames per second, a note that starts at $s$ and ends at $e$ seconds is labelled in the frames
#
# $$ \lfloor s f \rfloor,\ \dots,\ \lceil \min(e,\ s + 0.032)\, f \rceil - 1, $$
#
# and in one frame at least. Rounding *down* at the start and *up* at the end means that every frame is labelled that
# the label touches, if only just. Column 0 is the lowest key of a piano, MIDI pitch 21. Notes may lie partly or wholly
# behind the last frame: label what fits and drop the rest.
#
# **Before you write:** C is struck at 0.110 s and again at 0.650 s. Which frames get its labels? Work it out on paper,
# then look at the target.

# %% target-1 nbgrader={"locked": true} alt="Five notes as lines on a grid of frames, labels as filled cells: two cells for each, one for the short E"
roll = find("lab2/onset_targets").reference(BAR, 36, FPS)
targets.onset_labels(BAR, roll, frame_rate=FPS, title="Your target: two cells where a note begins, one for the short E")

# %% onset-targets nbgrader={"solution": true}
def onset_targets(notes, n_frames, frame_rate=31.25):
    """Draw the onset label of every note on a roll.

    notes: (N, 4) of onset s, offset s, MIDI pitch 21..108, velocity. Returns float (n_frames, 88) of 0 and 1.
    """
    ### BEGIN SOLUTION
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        start = int(np.floor(onset * frame_rate))
        end = int(np.ceil(min(offset, onset + 0.032) * frame_rate - 1e-6))
        roll[start : max(end, start + 1), int(pitch) - 21] = 1.0
    return roll
    ### END SOLUTION


# %% check-onset-targets nbgrader={"points": 7}
check("lab2/onset_targets", onset_targets)

# %% hints-1 [markdown] nbgrader={"locked": true}
# <details><summary>Hint 1</summary>
#
# Begin with an empty roll of the right shape, then walk through the notes one by one. For each you need three whole
# numbers: first frame, end frame (exclusive, as in a slice), column. A slice that reaches beyond the array is cut off by
# NumPy without complaint, which is just what you want.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.floor` and `np.ceil` return floats; indices must be `int`. Compute the end in seconds first
# (`min(offset, onset + 0.032)`) and turn it into frames last. If the end frame is not behind the start frame, make it
# one more.
# </details>
#
# <details><summary>I get …</summary>
#
# - **… `IndexError: only integers, slices …`** A float is used as an index. Wrap it in `int(...)`.
# - **… `IndexError: index 88 is out of bounds`** The MIDI number is used as a column. The lowest key is 21, not 0.
# - **… labels of one frame only.** Which unit does 0.032 have? Add it before you multiply with the frame rate.
# - **… everything right except "exactly on a frame border".** `floor(x) + 1` is not `ceil(x)`: try $x = 16$.
# - **… right, but "inputs are left as they were" fails.** You turned seconds into frames inside `notes`. Work on a
#   number of your own instead.
# </details>

# %% exercise-2 [markdown] nbgrader={"locked": true}
# ---
# ## Exercise 2 · The weights of the frame loss
#
# `difficulty: ★★☆` · `20 minutes` · `6 points` · objective 2
#
# The frame head learns whether a key sounds. Not all cells matter alike: listeners notice the beginning of a note and
# hardly the middle of a long one. So each cell gets a weight:
#
# - 5 in the frames of the onset label;
# - $5/k$ in the $k$-th frame after the label, as long as the key sounds: 5, 2.5, 1.67, 1.25, …
# - 1 where the key is silent.
#
# Each key counts for itself, and a new onset starts the count afresh. You may rely on it that every sounding frame
# belongs to a note whose onset label lies in the roll.
#
# **Before you look:** how long must a note last until one of its frames weighs less than silence?

# %% target-2 nbgrader={"locked": true} alt="Bars of weight over frames for middle C: five on both onset labels, falling as five over k after them, one in silence"
from mircourse.piano.targets import rolls

bar_rolls = rolls(BAR, 36)
weights = find("lab2/frame_weights").reference(bar_rolls["onset"], bar_rolls["frame"])
targets.frame_weights(
    bar_rolls["onset"], bar_rolls["frame"], weights, key=60 - 21,
    title="Your target for middle C: the second strike starts the count afresh",
)  # fmt: skip

# %% frame-weights nbgrader={"solution": true}
def frame_weights(onset_roll, frame_roll):
    """Weigh the cells of the frame loss. Two rolls (T, 88) of 0 and 1 -> float weights (T, 88)."""
    ### BEGIN SOLUTION
    weights = np.ones(frame_roll.shape)
    since_label = np.zeros(frame_roll.shape[1])
    for t in range(len(frame_roll)):
        labelled, sounding = onset_roll[t] > 0, frame_roll[t] > 0
        since_label = np.where(labelled, 0, since_label + 1)
        weights[t, sounding] = 5.0 / np.maximum(since_label[sounding], 1)
        weights[t, labelled] = 5.0
    return weights
    ### END SOLUTION


# %% check-frame-weights nbgrader={"points": 6}
check("lab2/frame_weights", frame_weights)

# %% hints-2 [markdown] nbgrader={"locked": true}
# <details><summary>Hint 1</summary>
#
# Start from an array of ones and go through time, frame by frame, with *one counter for each key*: an array of 88
# numbers that says how many frames ago the label ended. An onset sets it back, every other frame adds one.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.where(condition, a, b)` updates all 88 counters at once. With the counter in hand the weight is `5 / counter`
# where the key sounds; on the label itself the counter is 0, so treat the label separately and divide nowhere by zero.
# </details>
#
# <details><summary>I get …</summary>
#
# - **… `inf`, or "divide by zero".** The first frame behind the label has $k = 1$, not 0.
# - **… 2.5 where 5 is expected.** That frame is the *first* after the label. Do you count before or after you use it?
# - **… weights like 0.36 in silence.** The count goes on after the note has ended. Only sounding cells get $5/k$.
# - **… whole numbers.** `np.ones(..., dtype=int)`, `//`, or `np.ones_like` of an integer roll: use floats.
# - **… "only one counter".** A single number counts for all keys. Make it an array.
# </details>

# %% exercise-3 [markdown] nbgrader={"locked": true}
# ---
# ## Exercise 3 · A loss that never breaks
#
# `difficulty: ★★☆` · `15 minutes` · `5 points` · objective 2
#
# The head gives a logit $z$ for each cell; the probability is $p = \sigma(z) = 1/(1 + e^{-z})$. With target $y$ and
# weight $w$ the loss is the mean over all cells of
#
# $$ w \cdot \big(-y \ln p - (1 - y) \ln(1 - p)\big). $$
#
# Typed in like this it works until the network becomes sure of itself. At $z = 40$ the sigmoid is exactly 1 in floating
# point, $\ln(1 - p)$ is minus infinity, and zero times infinity is not a number: one cell ruins a night of training.
# The remedy is algebra. Put $p = \sigma(z)$ in and simplify until no sigmoid is left:
#
# $$ -y \ln p - (1 - y)\ln(1 - p) \;=\; \ln(1 + e^{z}) - y z. $$
#
# One danger remains, $e^{z}$ for large $z$, and it has a remedy as well: what is $\ln(1 + e^z)$ nearly equal to then?
#
# **Before you look:** what does a cell cost if it is wrong with a logit of 10? With a logit of 1000?

# %% target-3 nbgrader={"locked": true} alt="Loss of a cell over its logit: two mirrored curves, flat where the network is right, straight lines where it is wrong"
price = find("lab2/weighted_frame_loss").reference
z = np.linspace(-12, 12, 121)
one = np.ones((1, 1))
sounding, silent = ([price(value * one, y * one, one) for value in z] for y in (1, 0))
targets.loss_by_logit(z, sounding, silent, title="Your target: the surer a mistake, the more it costs, without limit")

# %% weighted-frame-loss nbgrader={"solution": true}
def weighted_frame_loss(logits, frame_roll, weights):
    """Return the weighted cross-entropy in nats, one number: the mean over all cells. Three arrays (T, 88)."""
    ### BEGIN SOLUTION
    log_one_plus_exp = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))
    cross_entropy = log_one_plus_exp - frame_roll * logits
    return np.mean(weights * cross_entropy)
    ### END SOLUTION


# %% check-weighted-frame-loss nbgrader={"points": 5}
check("lab2/weighted_frame_loss", weighted_frame_loss)

# %% hints-3 [markdown] nbgrader={"locked": true}
# <details><summary>Hint 1</summary>
#
# Get the unweighted, unsafe version right first: the check gives points for it. Then multiply cell by cell with the
# weights and take *one* mean over everything. Dividing by the sum of the weights is a different loss.
# </details>
#
# <details><summary>Hint 2</summary>
#
# $\ln(1 + e^{z}) = \max(z, 0) + \ln(1 + e^{-|z|})$. The exponent is never positive now, so nothing can overflow; and
# NumPy has a function for $\ln(1 + x)$ that stays exact when $x$ is tiny.
# </details>
#
# <details><summary>I get …</summary>
#
# - **… `nan`.** Somewhere $0 \cdot \infty$ is computed. Do not take the logarithm of a sigmoid at all.
# - **… finite, but "large logits" fails.** Clipping the probability makes every confident error cost the same. Its
#   gradient is then zero: the network would never unlearn it.
# - **… a value 88 times too large.** You summed over keys and averaged over frames only.
# - **… a value 1.44 times too large.** That is base 2. `np.log` is the natural logarithm.
# </details>

# %% exercise-4 [markdown] nbgrader={"locked": true}
# ---
# ## Exercise 4 · The connection
#
# `difficulty: ★★★` · `30 minutes` · `7 points` · objective 3
#
# Here is the idea that gave the paper its name. The frame head does not only see its own stack's guess (the
# *activation*), it is told what the onset head has found. Both are turned into probabilities, laid side by side, and
# read by a bidirectional recurrent network:
#
# $$ x_t = [\,\sigma(\text{onset}_t)\,;\ \sigma(\text{activation}_t)\,] \in \mathbb{R}^{176} $$
# $$ \overrightarrow{h}_t = \tanh(x_t W_x + \overrightarrow{h}_{t-1} W_h + b), \qquad
#    \overleftarrow{h}_t = \tanh(x_t W'_x + \overleftarrow{h}_{t+1} W'_h + b') $$
# $$ \text{frame}_t = [\,\overrightarrow{h}_t\,;\ \overleftarrow{h}_t\,]\, W + b_{\text{out}} $$
#
# To keep the arithmetic in sight we use plain tanh units where the paper has LSTMs. Both directions start from zero, the
# backward one at the last frame. `forward` and `backward` are triples `(W_x, W_h, b)` of shapes (176, H), (H, H) and
# (H,), and `output` is a pair `(W, b)` of shapes (2H, 88) and (88,). Return **logits**: exercise 3 takes care of the
# sigmoid.
#
# **Before you look:** we change the onset logits in frame 7 only. In which frames can the frame logits change?

# %% target-4 nbgrader={"locked": true} alt="Bars of how much each frame's logits change: highest at frame 7, falling off to both sides"
case = next(case for case in find("lab2/frame_head").cases(1) if case.label == "both directions")
reference = find("lab2/frame_head").reference
louder = (case.args[0] + 4 * (np.arange(len(case.args[0])) == 7)[:, None], *case.args[1:])
change = np.abs(reference(*louder) - reference(*case.args)).mean(axis=1)
heads.influence(change, frame=7, title="Your target: what happens in one frame is heard before and after it")

# %% frame-head nbgrader={"solution": true}
def frame_head(onset_logits, activation_logits, forward, backward, output):
    """Return frame logits (T, 88) from onset and activation logits (T, 88); see above for the weights."""
    ### BEGIN SOLUTION
    def states(x, weights):
        w_x, w_h, b = weights
        h, kept = np.zeros(len(b)), []
        for row in x:
            h = np.tanh(row @ w_x + h @ w_h + b)
            kept.append(h)
        return np.array(kept)

    x = 1 / (1 + np.exp(-np.concatenate([onset_logits, activation_logits], axis=1)))
    both = np.concatenate([states(x, forward), states(x[::-1], backward)[::-1]], axis=1)
    return both @ output[0] + output[1]
    ### END SOLUTION


# %% check-frame-head nbgrader={"points": 7}
check("lab2/frame_head", frame_head)

# %% hints-4 [markdown] nbgrader={"locked": true}
# <details><summary>Hint 1</summary>
#
# Write a small function inside yours that runs *one* RNN over a sequence and returns all its states, shape (T, H). Use
# it twice. With a single frame there is no recurrence yet, so the first criterion of the check tests the connection and
# the output layer alone: get that one first.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Reading backward is reading forward through the reversed sequence: `x[::-1]`. What comes out is in reading order, so
# its first row belongs to the *last* frame. Reverse it once more before you lay it beside the forward states.
# </details>
#
# <details><summary>I get …</summary>
#
# - **… `matmul: Input operand 1 has a mismatch`.** Print the shapes. `x_t` has 176 numbers, not 88, and the two parts lie
#   side by side (`axis=1`), not below each other.
# - **… the first criterion right, "backward" wrong.** Are the states turned round again?
# - **… values that are close, but not equal.** Is $W_h$ transposed somewhere? It is square, so no error will tell you.
# - **… numbers between 0 and 1 only.** These are probabilities. Return logits.
# - **… states that are all the same.** You keep appending the same array, changed in place. Make a new `h` each time.
# </details>

# %% exercise-5 [markdown] nbgrader={"locked": true}
# ---
# ## Exercise 5 · The gate
#
# `difficulty: ★★★` · `35 minutes` · `10 points` · objective 4
#
# The network has spoken: two rolls of probabilities. Now make music of them.
#
# 1. A key is *struck* where its onset probability is above the threshold, and it *sounds* where its onset **or** its
#    frame probability is.
# 2. A note begins where *struck* rises (it is true now, and was not one frame before), and **only** there. Before the
#    first frame there is silence.
# 3. It ends before the first frame that does not sound.
# 4. If *struck* rises again while the key sounds, the old note ends there and a new one begins.
# 5. What still sounds after the last frame ends with it.
#
# The onset is the first frame divided by the frame rate, the offset the end frame (exclusive) divided by the frame rate.
# (The lecture gives half a frame back; here we keep it plain and measure in part 6 what that costs.) Return one row a
# note, sorted by onset, then pitch: shape (N, 3), and (0, 3) where there is nothing.
#
# **Before you look:** in the picture a drop-out, a ghost and a repeated note lie in wait. How many notes should come
# out?

# %% target-5 nbgrader={"locked": true} alt="Probabilities of one key over three seconds and the notes read from them: one that ends at the drop-out, none for the ghost, two for the repeated strike"
onset_probability, frame_probability = np.full((2, 100, 88), 0.03)
for first, end, value in [(10, 12, 0.9), (70, 72, 0.8), (82, 84, 0.95)]:
    onset_probability[first:end, 60 - 21] = value
for first, end, value in [(10, 24, 0.8), (26, 38, 0.8), (50, 58, 0.7), (70, 95, 0.85)]:
    frame_probability[first:end, 60 - 21] = value
wanted = find("lab2/decode").reference(onset_probability, frame_probability, FPS, 0.5)
heads.one_key(
    onset_probability, frame_probability, {"your target": wanted}, pitch=60, frame_rate=FPS,
    title="Your target: only a stroke opens a note, and a stroke always does",
)  # fmt: skip

# %% decode nbgrader={"solution": true}
def decode(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    """Read notes through the onset gate. Two arrays (T, 88) -> (N, 3) of onset s, offset s, MIDI pitch."""
    ### BEGIN SOLUTION
    struck = onset_probability > threshold
    sounds = struck | (frame_probability > threshold)
    before = np.zeros_like(struck)
    before[1:] = struck[:-1]
    rises = struck & ~before
    notes = []
    for begin, key in np.argwhere(rises):
        end = begin + 1
        while end < len(struck) and sounds[end, key] and not rises[end, key]:
            end += 1
        notes.append((begin / frame_rate, end / frame_rate, key + 21))
    return np.array(notes, dtype=float).reshape(-1, 3)
    ### END SOLUTION


# %% check-decode nbgrader={"points": 10}
check("lab2/decode", decode)

# %% hints-5 [markdown] nbgrader={"locked": true}
# <details><summary>Hint 1</summary>
#
# Make three boolean arrays of shape (T, 88) before you think of notes: `struck`, `sounds` and `rises`. For `rises` you
# need `struck` moved down by one frame with a row of silence on top. Then every `True` in `rises` is exactly one note,
# and all that is left is to find its end.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.argwhere(rises)` lists pairs (frame, key), already sorted by frame, then key: the order you want. From each
# beginning walk forward while the next frame sounds, does not rise, and exists.
# </details>
#
# <details><summary>I get …</summary>
#
# - **… two or three notes for every strike.** Every frame above the threshold opens a note. Only the *rise* counts.
# - **… the ghost as a note.** A note may begin where the *onset* rises, not where the sound does.
# - **… one note where a key is struck twice.** Rule 4. Does your walk stop at the next rise?
# - **… nothing at frame 0, or nothing at the end.** Before the recording there is silence, after it too.
# - **… all notes, but "silence" fails.** `np.array([])` has shape (0,). `.reshape(-1, 3)` tells it about columns.
# - **… pitches that are 21 too low.** Column 0 is MIDI 21.
# - **… `TimeUp`.** A `while` that never moves on. Does every turn of the loop increase the frame?
# </details>

# %% part-6 [markdown] nbgrader={"locked": true}
# ---
# ## Part 6 · From your functions to music
#
# From here on nothing is graded until the question at the end. Cells that need a function you have not written yet use
# the package's instead, and say so.
#
# First: are your targets really what a network learns from? We take twenty seconds of a piece of the band and compare
# your functions with those that the training loop uses. (If the band is not rendered yet, a bar shows the progress.)

# %% compare nbgrader={"locked": true}
from mircourse.datasets.excerpts import piano_excerpts
from mircourse.piano import targets as course

test = piano_excerpts("test", 4)  # four pieces that no training has heard, 20 s each
T = int(20 * FPS)


def written(function, *arguments):
    """Return what your function says; None while it is still the stub."""
    try:
        return function(*arguments)
    except NotImplementedError:
        print(f"{function.__name__} is not written yet")


theirs = rolls(test[0].notes, T)
for yours, wanted in [
    (written(onset_targets, test[0].notes, T, FPS), theirs["onset"]),
    (written(frame_weights, theirs["onset"], theirs["frame"]), course.frame_weights(theirs["onset"], theirs["frame"])),
]:
    if yours is not None:
        print(f"of {wanted.size:,} cells {np.sum(~np.isclose(yours, wanted)):,} differ")

# %% about-training [markdown] nbgrader={"locked": true}
# ### Train, or load
#
# One switch. With `TRAIN = False` the cell loads the weights that come with the course. With `True` it renders three
# hours of training pieces if they are not there yet and trains the same network from nothing for ten minutes; watch
# the validation score. Do not worry if it stays near zero at first: onsets are so rare that saying *no* everywhere is
# hard to beat, and then it climbs at once. (An interrupted run goes on where it stopped.)
#
# The cell ends with the *card* of the weights: what they learned from, for how long, on which machine, and what they
# scored. The card of the weights that come with the course is the log of a real run; compare your own with it.

# %% train nbgrader={"locked": true}
from IPython.display import Markdown

from mircourse.piano.transcribe import load_checkpoint
from mircourse.training.cards import card_markdown

TRAIN = False

if TRAIN:
    from mircourse.datasets.piano import prepare
    from mircourse.piano.training import train_piano

    prepare()
    model = load_checkpoint(train_piano("mini", minutes=10, folder="lab2_training").checkpoint)
else:
    model = load_checkpoint("piano-mini")
display(Markdown(card_markdown(model.card)))

# %% about-readings [markdown] nbgrader={"locked": true}
# ### Your decoder on real probabilities
#
# Now the network listens to four test pieces. We read its probabilities in three ways: as runs of frames, without any
# gate; with your decoder; and with the decoder of the package, which follows your rules and then places each onset
# finer than a frame.
#
# **Predict:** all three rows come from the same weights. In which of the nine columns will they differ most, and in
# which least?

# %% readings nbgrader={"locked": true}
import torch

from mircourse.piano import decoding
from mircourse.piano.evaluation import evaluate, match, mean_metrics


def hear(audio):
    """Return onset and frame probabilities, each (frames, 88)."""
    with torch.inference_mode():
        logits = model(torch.from_numpy(audio)[None])
    return [torch.sigmoid(logits[name])[0].numpy() for name in ("onset", "frame")]


def your_notes(onset, frame):
    """Decode with your function (the package's while it is a stub); add a velocity to each note."""
    notes = written(decode, onset, frame, FPS, 0.5)
    return decoding.decode(onset, frame) if notes is None else np.column_stack([notes, np.full(len(notes), 64)])


yours = "your decoder" if written(decode, np.zeros((1, 88)), np.zeros((1, 88))) is not None else "still to be written"
heard = [hear(excerpt.audio) for excerpt in test]
readings = {
    "runs of frames, no gate": [decoding.decode_frames(frame) for _, frame in heard],
    yours: [your_notes(onset, frame) for onset, frame in heard],
    "the package's decoder": [decoding.decode(onset, frame) for onset, frame in heard],
}

# %% table nbgrader={"locked": true}
def scores(notes):
    """Return the mean scores of a list of transcriptions."""
    return mean_metrics([evaluate(excerpt.notes, n) for excerpt, n in zip(test, notes, strict=True)])


table = {name: scores(notes) for name, notes in readings.items()}
tables.transcription(table, caption="The band, four held-out excerpts of 20 s; mean of the excerpts, %")

# %% about-half-a-frame [markdown] nbgrader={"locked": true}
# Your row and the last row should be close. They are not equal, because your onsets come early: a label starts at the
# *beginning* of the frame in which a hammer falls, so you report on average half a frame, 16 ms, too soon. A tolerance
# of 50 ms forgives that. A stricter one does not:

# %% half-a-frame nbgrader={"locked": true}
for name in (yours, "the package's decoder"):
    pairs = [match(e.notes, n) for e, n in zip(test, readings[name], strict=True)]
    late = np.concatenate([
        n[p[:, 1], 0] - e.notes[p[:, 0], 0] for e, n, p in zip(test, readings[name], pairs, strict=True)
    ])
    strict = sum(len(match(e.notes, n, onset_tolerance=0.02)) for e, n in zip(test, readings[name], strict=True))
    print(f"{name:22} onsets {1000 * np.mean(late):+5.1f} ms; of {len(late)} notes within 50 ms, {strict} are within 20 ms")

# %% about-the-picture [markdown] nbgrader={"locked": true}
# Look at one transcription closely before you listen. Plain bars were found, hatched ones missed, dotted ones made
# up. Are the mistakes spread evenly, or do they gather: at the bottom, in repeated notes, an octave above something?

# %% look nbgrader={"locked": true} alt="Piano roll of your transcription of the first test piece with matched, missed and extra notes"
calm = int(np.argmin([np.sum(excerpt.notes[:, 0] < 8) for excerpt in test]))  # few notes are easy to look at
reference, notes = test[calm].notes, readings[yours][calm]
piano.transcription_comparison(reference, notes, match(reference, notes), end=8.0)

# %% about-listening [markdown] nbgrader={"locked": true}
# ### Listen
#
# Put a recording of your own into the next cell if you have one. Otherwise it takes a ragtime from librosa's openly
# licensed examples, or, offline, a clip of the band on a SoundFont that no training piece uses; it says which. In the
# left ear you hear the recording, in the right ear what your decoder made of it.

# %% listen
from mircourse.audio.examples import recording
from mircourse.audio.players import player, side_by_side, sonify_notes

MY_FILE = None  # "my_piano.wav"

found = recording(
    MY_FILE, example="pistachio",
    otherwise=lambda: (piano_excerpts("unheard", 1)[0].audio, "a clip of the band, on a SoundFont never trained on"),
)  # fmt: skip
print(found.heard, found.licence)
notes = your_notes(*hear(found.audio))
both = side_by_side(found.audio, sonify_notes(notes, found.sample_rate, len(found.audio)))
display(player(both, found.sample_rate, title=f"Left: the recording. Right: the {len(notes)} notes you decoded."))

# %% question [markdown] nbgrader={"locked": true}
# ---
# ## Question · What the gate is worth
#
# `difficulty: ★★☆` · `15 minutes` · `5 points, graded by hand` · objective 5
#
# Answer in about 150 words, with numbers from your table.
#
# | points | for |
# |---|---|
# | 1 | naming, with numbers, the column of *frame*, *note* and *note with offset* F1 that the gate changes most, and the one it changes least |
# | 1 | explaining from the definition of frame F1 why it does not see the difference |
# | 1 | saying *which* mistakes the gate removes and which it adds, in terms of precision and recall |
# | 1 | describing a situation in which the gate makes a transcription worse, and which error of the onset head causes it |
# | 1 | choosing, for an app that must not accuse a pupil of notes that were not played, which threshold you would move, in which direction, and what you pay for it |

# %% answer [markdown] nbgrader={"solution": true, "points": 5}
# *A model answer, with the weights that come with the course; other numbers and examples are as good if they are argued.*
# The gate changes note F1 most (from about 55 to 80 per cent) and frame F1 least (43 to 41): read as runs or through the
# gate, the same probabilities claim almost the same cells. Frame F1 counts cells, and most cells belong to the middles of
# long notes; a flicker costs one cell in hundreds but splits a note and adds a false onset, and a repeated note without
# a gap costs no cell at all. What the gate removes are extra notes, fragments and ghosts: precision doubles, from 42 to
# 86. Recall falls a little, from 80 to 74, because a note whose stroke is not heard is now lost as a whole, however well
# its frames were found: a soft inner voice under a loud chord, for example. There the gate hurts, and the error behind it
# is a missed onset. For the app I would raise the onset threshold: every note then needs a stroke that the network is
# sure of, so precision rises. The price is recall: more of the pupil's soft notes go unheard. The threshold must be
# chosen on validation pieces, never on the test.

# %% closing [markdown] nbgrader={"locked": true}
# ---
# ## Recap
#
# 1. An onset label touches two frames of 32 ms; rounding down and up costs half a frame, which the decoder can give back.
# 2. Weights say what matters: beginnings. Written in terms of the logit, a cross-entropy is finite and keeps its gradient.
# 3. The connection lays onset probabilities beside the frame head's own guess; two directions carry them through time.
# 4. The gate opens a note only at a stroke. The rule for repeated notes is one condition more, and worth hearing.
# 5. The same weights, read in two ways, differ a lot in notes and little in frames: look at the score that counts what
#    you care about.
#
# ## Quiz yourself
#
# <details><summary>Why may the decoder not simply take the maximum of onset and frame probability and cut it into runs?</summary>
#
# Then a note could begin without a stroke, and a second stroke in the middle of a note would change nothing.
# </details>
#
# <details><summary>Your onset labels are one frame too long. What happens to repeated notes?</summary>
#
# Two strikes need a frame between their labels that is not labelled, or the onset never falls and cannot rise again.
# Longer labels melt fast repetitions together, already in the targets.
# </details>
#
# <details><summary>Why is the mean over all cells a poor guide to how training goes?</summary>
#
# Nearly all cells are silent and easy. The loss falls to a small number within minutes while not one onset is found.
# </details>
#
# ## Go further
#
# - Give half a frame back in your `decode` and run the cell on tolerances again. Then do better: use the probabilities
#   of the two label frames to guess where within the frame the hammer fell.
# - Let the gate use the velocity head, and sonify with velocities. Is it worth it to the ear?
# - Replace the tanh units of exercise 4 by LSTM cells.
#
# ## Read
#
# - Hawthorne et al., *Onsets and Frames: Dual-Objective Piano Transcription*, ISMIR 2018: sections 3 and 4 are this
#   notebook.
# - Raffel et al., *mir_eval: A Transparent Implementation of Common MIR Metrics*, ISMIR 2014: why a matching must be
#   one to one, and how it is found.
# - Kim and Bello, *Adversarial Learning for Improved Onsets and Frames Music Transcription*, ISMIR 2019: what the frame
#   head still gets wrong, seen as a picture.
#
# **Next:** hand in this notebook, and go back to [Lecture 12](../../lectures/12_piano.ipynb), section 9, with your
# decoder in mind: which of its mistakes can no decoder repair?
