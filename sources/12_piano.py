# %% [markdown]
# # Lecture 12 · A piano recording becomes notes
#
# `to read: 75 min` · `to run: 1 min on 2 CPU cores` · `GPU: not needed`
#
# Below, a network that has only ever heard synthesised pianos listens to one it has never met and writes down
# which keys were struck, when, how hard, and how long they sounded. By the end of this page you will know every part
# of it, and why it gets the notes right where a network with almost the same frame score gets them wrong.
#
# **You will be able to**
#
# 1. *say* what note transcription asks for, and *show* in a spectrogram why it is hard;
# 2. *derive* a transcriber by non-negative matrix factorisation, and *predict* its mistakes;
# 3. *explain* with numbers why a good frame score can go with bad notes;
# 4. *draw* onset targets, *weigh* a frame loss, and *connect* an onset head to a frame head;
# 5. *write* onset-gated decoding, and *measure* what gate and connection are worth;
# 6. *decide* which symmetry of the instrument a network should know before it hears a note.
#
# **Before you start**: what an [LSTM](https://colah.github.io/posts/2015-08-Understanding-LSTMs/) keeps from frame to
# frame; what a convolution shares; what a
# [mel spectrogram](https://librosa.org/doc/latest/generated/librosa.feature.melspectrogram.html) shows.

# %% set-up
import importlib.util

import numpy as np
from IPython import get_ipython
from IPython.display import display

if importlib.util.find_spec("mircourse") is None:  # on Colab, once a session
    get_ipython().run_line_magic("pip", "install --quiet mircourse")

# %% [markdown]
# The material comes from the *synthetic band*: pieces that the course performs itself, so that every label is exact.
# `test` holds pieces that no training has heard. `unheard` is harder: its piano, a SoundFont, occurs in no training
# piece either. (If `mircourse prepare piano` has not run yet, the cell renders what it needs and shows a bar.)

# %% material
from mircourse.datasets.excerpts import piano_excerpts

RATE, FPS = 16000, 31.25  # samples and frames per second
test = piano_excerpts("test", 6)  # 20 s each
unheard = piano_excerpts("unheard", 2)
clip = unheard[1]

# %% [markdown]
# First the end. In your left ear is the recording, in your right ear what the network wrote down, played on a plain
# tone. The picture says the same without sound: bars are notes that were found, hatched ones were missed, dotted ones
# were made up.

# %% promise alt="Piano roll over ten seconds: nearly all notes matched, single ones missed or made up"
from mircourse.audio.players import player, side_by_side, sonify_notes
from mircourse.piano.evaluation import evaluate, match, mean_metrics
from mircourse.piano.transcribe import load_checkpoint, transcribe
from mircourse.plots import heads, piano, spectra, tables, targets

harmonic = load_checkpoint("piano-harmonic")
found = transcribe(clip.audio, harmonic)
both = side_by_side(clip.audio, sonify_notes(found, RATE, len(clip.audio)))
display(player(both, RATE, title="Left: the recording. Right: the notes found in it."))
piano.transcription_comparison(clip.notes, found, match(clip.notes, found), end=10.0)

# %% [markdown]
# ## 1 · What is asked for
#
# **A note** is four numbers: onset in seconds, offset in seconds, MIDI pitch, velocity. A transcription is a list of
# them, an array of shape $(N, 4)$. It is not a score: there are no bars, no voices, no spelling of accidentals. It is
# what a player piano would need to play the piece again.

# %% notes
assert clip.notes.shape[1] == 4
print("onset s  offset s  pitch  velocity")
for onset, offset, pitch, velocity in clip.notes[:5]:
    print(f"{onset:7.3f} {offset:9.3f} {pitch:6.0f} {velocity:9.0f}")

# %% [markdown]
# Networks prefer grids. A **roll** is a matrix with one row for each frame of 32 ms and one column for each of the 88
# keys; cell $(t, k)$ of the *frame roll* is 1 while key $k$ sounds.
#
# **Predict:** two hands have ten fingers. How many keys sound at once in our eight excerpts, at most?

# %% polyphony
from mircourse.piano.targets import rolls

at_once = []
for e in test + unheard:
    frame_roll = rolls(e.notes, int(e.seconds * FPS))["frame"]
    assert frame_roll.shape == (625, 88)
    at_once.append(int(frame_roll.sum(axis=1).max()))
print(f"most keys at once, excerpt by excerpt: {at_once}")
assert max(at_once) > 10

# %% [markdown]
# The pedal does not count fingers: while it is down, every string that was struck rings on. That many voices at once
# is the first of four things that make the task hard. Let us look at the others one by one, on single tones of a
# sampled piano.
#
# ### Partials overlap
#
# A string of fundamental frequency $f_0$ sounds at $f_0, 2f_0, 3f_0, \dots$, its *partials*. Consonant intervals are
# ratios of small numbers, so the notes that music likes to combine are those that hide in each other.
#
# **Predict:** C5 lies an octave above C4. Which share of its partials coincides with partials of C4? And which share
# for the fifth, G4?

# %% overlap alt="Spectra of C4 and C5 over each other: each partial of C5 stands on an even partial of C4"
from mircourse.band.soundfonts import find_soundfonts, render_notes

font = next(font for font in find_soundfonts() if font.family == "timgm6mb")


def tone(pitch, seconds=1.5):
    """Return one struck key of a sampled piano, float32 samples in [-1, 1]."""
    return render_notes([[0, seconds, pitch, 80]], None, font, n_samples=int(seconds * RATE), align=True)


half_second = slice(1600, 9600)
spectra.shared_partials(
    {"C4": (tone(60)[half_second], 261.6), "C5": (tone(72)[half_second], 523.3)}, RATE,
    title="Every partial of C5 stands on a partial of C4",
)  # fmt: skip

# %% shared-by-interval
def shared(semitones, cents=25.0):
    """Return the share of the upper tone's first 12 partials that lie within `cents` of a lower partial."""
    lower, upper = np.arange(1, 61), 2 ** (semitones / 12) * np.arange(1, 13)
    apart = np.abs(1200 * np.log2(upper[:, None] / lower[None, :]))  # (12, 40)
    return float((apart.min(axis=1) < cents).mean())


for name, semitones in {"octave": 12, "twelfth": 19, "double octave": 24, "fifth": 7, "semitone": 1}.items():
    print(f"{name:14} {shared(semitones):4.0%}")
assert shared(12) == shared(19) == shared(24) == 1.0 and shared(7) == 0.5

# %% [markdown]
# All of them: at the octave, the twelfth and the double octave the upper note adds *no frequency of its own*. Only
# loudness and timing betray it. Remember the numbers 12, 19 and 24, they return as mistakes.
#
# ### Notes fade, and fade unevenly
#
# A hammer gives the string its energy once; from then on it only loses. High partials lose it first, so the spectrum
# of a note one second old is not the spectrum it began with.

# %% decay alt="Three lines falling with time: the sixth partial of C4 loses its level much faster than the first"
import librosa

level = librosa.amplitude_to_db(np.abs(librosa.stft(tone(60), n_fft=4096, hop_length=512)), top_db=None)
seconds = np.arange(level.shape[1]) / FPS
late = (seconds > 0.15) & (seconds < 1.3)
partials = {f"partial {h}": level[round(h * 261.6 * 4096 / RATE), late] for h in (1, 3, 6)}
lost = {name: values[0] - values[-1] for name, values in partials.items()}
assert lost["partial 6"] > lost["partial 1"] + 6
spectra.decays(seconds[late], partials, title="High partials die first: the spectrum of a note changes as it ages")

# %% [markdown]
# A long note therefore fades into whatever else is going on, and nobody can hear exactly where it stops. Onsets are
# the opposite: a hammer stroke is a broad-band event that lasts a few milliseconds. Keep this asymmetry in mind, the
# whole lecture turns on it.
#
# ### The pedal decides when a note ends
#
# On a piano the key is not the end of the note. If the pedal is down when the finger leaves, the damper stays up.
# Reference and estimate must agree about this *before* anything is drawn or scored, so in this course offsets always
# follow the damper.

# %% pedal alt="Piano roll of four notes struck one after another that all end together when the pedal lifts"
from mircourse.piano.targets import extend_with_pedal

keys = np.array([[0.1, 0.4, 48, 60], [0.5, 0.8, 64, 70], [0.9, 1.2, 67, 80], [1.3, 1.6, 72, 100]])
pedal = np.array([[0.2, 127], [2.5, 0]])  # time s, value: down at 0.2 s, up at 2.5 s
held = extend_with_pedal(keys, pedal)
assert (held[:, 1] == 2.5).all() and (keys[:, 1] < 2).all()
piano.pianoroll(held, title="Four short keys, one pedal: all four strings ring until it lifts")

# %% [markdown]
# ## 2 · The front end
#
# The network does not see samples. It sees, 31.25 times a second, the energy in 229 bands that are narrow and evenly
# spaced at the bottom, wide and logarithmically spaced at the top: a **log-mel spectrogram**. With the magnitude
# $|X_t|$ of a 2048-point Fourier transform and the triangular mel filters $M$,
#
# $$ x_t = \ln \max(M\,|X_t|,\ 10^{-5}), \qquad x_t \in \mathbb{R}^{229}. $$
#
# From scratch first, then the module that the course uses (it runs on a GPU too), then the proof that both agree.

# %% log-mel
import torch

from mircourse.audio.features import LogMel

M = librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=229, fmin=30, fmax=8000, htk=True)  # (229, 1025)
X = librosa.stft(clip.audio, n_fft=2048, hop_length=512, pad_mode="reflect")  # (1025, frames)
x = np.log(np.maximum(M @ np.abs(X), 1e-5)).T  # (frames, 229)

mel = LogMel()(torch.from_numpy(clip.audio)[None])  # (1, frames, 229)
assert np.allclose(x, mel[0].numpy(), atol=2e-2)

# %% log-mel-figure alt="Log-mel spectrogram of six seconds with the notes drawn at their fundamentals as white lines"
centres = librosa.mel_frequencies(231, fmin=30, fmax=8000, htk=True)[1:-1]
shown = clip.notes[clip.notes[:, 0] < 6]
spectra.bands(
    x[: int(6 * FPS)], centres, frame_rate=FPS, notes=shown,
    title="Each white line is a note; all the ridges above it are its partials",
)  # fmt: skip

# %% [markdown]
# Look at the bottom of the picture. One bin of the Fourier transform is $16000 / 2048 = 7.8$ Hz wide, while the lowest
# two keys of a piano are 1.6 Hz apart: down there the fundamentals cannot be told from each other, and a network has
# to read bass notes from their upper partials. That is one more reason to *learn* the task.
#
# ## 3 · A baseline that is not a network
#
# Magnitudes of simultaneous sounds nearly add up. So if column $w_k$ is the average spectrum of key $k$, a frame of a
# recording should be a sum of such columns, each with a strength that is never negative:
#
# $$ V \approx W H, \qquad V: (\text{bins}, \text{frames}),\quad W: (\text{bins}, \text{templates}),\quad H \ge 0. $$
#
# We learn $W$ once from single notes, three templates for each key (attack, early sound, what remains), and *fix* it.
# For a recording only $H$ is found. Lee and Seung's multiplicative update lowers the Kullback–Leibler divergence
# $D(V \,\|\, WH)$ at every step and can never turn a positive number negative:
#
# $$ H \leftarrow H \odot \frac{W^\top \,(V / WH)}{W^\top \mathbf{1}} $$

# %% nmf
from mircourse.piano import baseline

templates = baseline.band_templates()
W = templates.spectra  # (bins, 3 x 88)
V = baseline.spectrogram(clip.audio)  # (bins, frames)
H = np.repeat(V.sum(axis=0, keepdims=True) / W.shape[1], W.shape[1], axis=0)
divergence = []
for _ in range(50):
    # H <- H * W^T (V / W H) / W^T 1
    H *= (W.T @ (V / (W @ H + 1e-9))) / (W.sum(axis=0)[:, None] + 1e-9)
    divergence.append(float(np.sum(V * np.log((V + 1e-9) / (W @ H + 1e-9)) - V + W @ H)))

assert np.all(np.diff(divergence) < 0)
assert np.allclose(H, baseline.factorise(V, W), rtol=1e-2, atol=1e-4)

# %% [markdown]
# The divergence fell in every one of the 50 steps, and the package's function finds the same $H$. Added up over the
# three templates of each key it is almost a piano roll:

# %% nmf-figure alt="Heat map of NMF activations with dashed reference notes: bright at onsets, fading before notes end, with faint ghosts in the bass"
strengths = np.stack([H[templates.pitches == pitch].sum(axis=0) for pitch in range(21, 109)], axis=1)
piano.activations(
    strengths, reference=clip.notes, end=8.0,
    title="NMF: bright where a hammer falls, dark long before the dashed note ends",
)  # fmt: skip

# %% [markdown]
# A note starts where a key's activation climbs fast enough and ends where it has fallen. We score every system on all
# six test excerpts, each excerpt by itself, then the mean. A note counts as found if its pitch is right and its onset
# lies within 50 ms.
#
# **Predict:** of the notes that NMF makes up, which share stands an octave, a twelfth or a double octave from
# something that really sounds?

# %% nmf-score
def score(transcriptions):
    """Return the mean over the test excerpts of all scores of a list of note lists."""
    return mean_metrics([evaluate(e.notes, notes) for e, notes in zip(test, transcriptions, strict=True)])


by_nmf = [baseline.transcribe(e.audio, templates) for e in test]
table = {"NMF, fixed templates": score(by_nmf)}
print(f"note F1 {table['NMF, fixed templates']['note_f1']:.2f}")

# %% nmf-mistakes
def near_relative(note, reference):
    """Say whether something that sounds at this moment lies 12, 19 or 24 semitones away."""
    sounding = reference[(reference[:, 0] <= note[0] + 0.05) & (reference[:, 1] > note[0])]
    return bool(np.isin(np.abs(note[2] - sounding[:, 2]), (12, 19, 24)).any())


ghosts, chance, rng = [], [], np.random.default_rng(0)
for e, notes in zip(test, by_nmf, strict=True):
    for note in np.delete(notes, match(e.notes, notes)[:, 1], axis=0):
        ghosts.append(near_relative(note, e.notes))
        chance.append(near_relative(note + [0, 0, rng.integers(-5, 6), 0], e.notes))
print(f"{np.mean(ghosts):.0%} of the made-up notes; {np.mean(chance):.0%} if their pitches are moved at random")
assert np.mean(ghosts) > 1.3 * np.mean(chance)

# %% [markdown]
# As the overlapping partials promised, the ghosts gather at the intervals of section 1. NMF looks at each frame by
# itself: it has no idea that a note which begins must go on, and no way to learn which octave ghosts are real.
#
# ## 4 · A network that labels frames
#
# The obvious next step: let a network say for every frame and key whether it sounds. Convolutions look at a
# neighbourhood in time and frequency; a bidirectional LSTM follows the piece through time; 88 sigmoids answer. We
# write the two bricks once and build every network of this lecture from them.

# %% bricks
from torch import nn


class AcousticStack(nn.Module):
    """Three convolutions that keep time and halve frequency twice, then a dense layer."""

    def __init__(self, maps, width):
        super().__init__()
        a, b, c = maps
        self.convolutions = nn.Sequential(  # no biases: batch normalisation follows
            nn.Conv2d(1, a, 3, padding=1, bias=False), nn.BatchNorm2d(a), nn.ReLU(),
            nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d((1, 2)), nn.Dropout(0.25),
            nn.Conv2d(b, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(), nn.MaxPool2d((1, 2)), nn.Dropout(0.25),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(c * (229 // 4), width), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, x):  # (batch, frames, 229) -> (batch, frames, width)
        maps = self.convolutions(x[:, None])  # (batch, c, frames, 57)
        return self.dense(maps.transpose(1, 2).flatten(2))


# %% blstm
class BLSTM(nn.Module):
    """A bidirectional LSTM followed by one logit a key."""

    def __init__(self, inputs, units):
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, batch_first=True, bidirectional=True)
        self.logits = nn.Linear(2 * units, 88)

    def forward(self, x):  # (batch, frames, inputs) -> (batch, frames, 88)
        return self.logits(self.lstm(x)[0])


# %% frame-only
class FrameOnly(nn.Module):
    """Version 1: one stack, one BLSTM, frames."""

    def __init__(self, maps=(32, 32, 64), width=512, units=128):
        super().__init__()
        self.frame_stack, self.frame_blstm = AcousticStack(maps, width), BLSTM(width, units)

    def forward(self, x):
        return {"frame": self.frame_blstm(self.frame_stack(x))}


# From scratch, then the library, then the proof: the package's class with our weights says the same.
from mircourse.piano.model import MEL_DEVIATION, MEL_MEAN, FrameCRNN

x = (mel - MEL_MEAN) / MEL_DEVIATION  # inputs of about unit size; the package does this inside
ours, theirs = FrameOnly().eval(), FrameCRNN("paper").eval()
theirs.load_state_dict(ours.state_dict())
with torch.inference_mode():
    assert ours(x)["frame"].shape == (1, mel.shape[1], 88)
    assert torch.allclose(ours(x)["frame"], theirs(mel)["frame"], atol=1e-4)

# %% [markdown]
# How do frame probabilities become notes? With nothing else to go by: every run of frames above a threshold is a
# note. The course ships a trained frame-only network. (It was trained for a few minutes; to learn something in so little
# time it shares its weights along the keyboard, as section 9 will explain. What it is asked to say, frames, is the
# same.) Its threshold was chosen on validation pieces, never on the test, and is kept in the checkpoint's card.

# %% frame-only-score
FRAMES_ONLY, JOINT = "piano-frames-harmonic-300", "piano-harmonic-300"  # 300 steps of training each

from mircourse.piano.decoding import decode, decode_frames
from mircourse.piano.transcribe import read_heads


@torch.inference_mode()
def hear(model, audio):
    """Return what each head of a model says, {name: (frames, 88)}, probabilities."""
    said = read_heads(model(torch.from_numpy(audio)[None]))
    return {name: values[0].numpy() for name, values in said.items()}


frames_only = load_checkpoint(FRAMES_ONLY)
threshold = frames_only.card["scores"]["band, validation"]["frame_threshold"]
by_frames = [decode_frames(hear(frames_only, e.audio)["frame"], threshold=threshold) for e in test]
table["frame-only CRNN"] = score(by_frames)
print({name: round(table["frame-only CRNN"][name], 2) for name in ("frame_f1", "note_f1")})

# %% frame-only-figure alt="Piano roll of the frame-only network: many extra fragments and missed repeated notes"
calm = int(np.argmin([np.sum(e.notes[:, 0] < 6) for e in test]))  # few notes are easy to look at
e, notes = test[calm], by_frames[calm]
piano.transcription_comparison(e.notes, notes, match(e.notes, notes), end=6.0)

# %% [markdown]
# Four kinds of mistake. Partials of a bass note raise a ghost an octave above it. Where the probability flickers, one
# note falls into pieces, and every piece counts as a wrong onset. Where a key is struck again without a gap, two notes
# melt into one. And where the probability rises a moment too early or too late, a note counts as wrong twice: once as
# missed, once as made up.
#
# ### The frame score does not see it
#
# Frame F1 counts cells of the roll: precision is the share of cells claimed that really sound, recall the share of
# sounding cells that were claimed. Let us corrupt a *perfect* roll and watch both scores. We switch off one cell in
# a hundred, at random, and read the notes as runs.
#
# **Predict:** frame F1 will be about 0.96. And note F1?

# %% flicker
rng = np.random.default_rng(0)
flickering = []
for e in test:
    roll = rolls(e.notes, int(e.seconds * FPS))["frame"]
    flickering.append(decode_frames(roll * (rng.random(roll.shape) > 0.01)))

after = score(flickering)
print(f"frame F1 {after['frame_f1']:.2f}, note F1 {after['note_f1']:.2f}")
assert after["frame_f1"] > 0.93 and after["note_f1"] < 0.85

# %% [markdown]
# One wrong cell in a hundred costs the frame score next to nothing and the notes a quarter of their value. Long notes
# own most cells, so the frame score is a score of long notes, and of their middles, where nothing happens. **A score
# that averages over time cannot see events.**
#
# ## 5 · Onsets deserve a target of their own
#
# Hawthorne and colleagues drew the conclusion in 2018: let a second output say where notes *begin*. Its target is a
# roll as well. A note that starts at $s$ and ends at $e$ seconds is labelled on the frames that touch
# $[s, \min(e, s + 32\,\text{ms}))$, that is from $\lfloor s f \rfloor$ up to, and not including,
# $\lceil \min(e, s + 0.032) f \rceil$, at $f$ frames per second.
#
# **Predict:** a frame lasts 32 ms, a label lasts 32 ms. How many frames does a label cover?

# %% onset-labels alt="Three notes as lines on a grid of frames, each with a label of two filled cells at its beginning"
three = np.array([[0.110, 0.50, 60, 80], [0.350, 0.75, 64, 80], [0.459, 0.85, 67, 80]])
onset_roll = rolls(three, 28)["onset"]
covered = onset_roll.sum(axis=0)[[60 - 21, 64 - 21, 67 - 21]]
assert (covered == 2).all()
targets.onset_labels(three, onset_roll, frame_rate=FPS, title="A label of 32 ms touches two frames of 32 ms")

# %% [markdown]
# Two, unless the onset falls exactly on a border. The authors tried 16, 32 and 48 ms and kept 32. Others report that
# with labels of a single frame a network takes thousands of steps to say anything but *no*: positives are too rare.
# How rare are they here?

# %% imbalance
drawn = [rolls(e.notes, int(e.seconds * FPS)) for e in test]
rate = {name: np.mean([r[name].mean() for r in drawn]) for name in ("onset", "frame")}
print(f"of all cells {rate['onset']:.2%} are onsets, {rate['frame']:.1%} sound")
assert rate["onset"] < 0.02 < rate["frame"]

# %% [markdown]
# The frame head gets a nudge too. Its loss is a cross-entropy in which the beginning of a note weighs most, because
# that is where the ear listens: $c = 5$ on the onset label, $c/k$ in the $k$-th frame after it, 1 in silence.

# %% weights-figure alt="Bars: weight five on the onset label, then five divided by k, below one from the sixth frame on, one in silence"
from mircourse.piano.targets import frame_weights

r = rolls(three, 28)
w = frame_weights(r["onset"], r["frame"])
assert np.allclose(w[3:8, 60 - 21], [5, 5, 5 / 1, 5 / 2, 5 / 3])
targets.frame_weights(
    r["onset"], r["frame"], w, key=60 - 21, title="The beginning of a note counts most; a long tail less than silence"
)

# %% [markdown]
# The bars make a detail visible that the paper's text hides: from the sixth frame after the label on, a sounding cell
# weighs *less* than a silent one. In the lab you will write labels, weights and loss yourself.
#
# ## 6 · The joint model
#
# Now the second version of our network. One stack and one BLSTM find **onsets**. A second stack guesses what sounds,
# and its guess (the *activation*) is laid **beside the onset probabilities**; a last BLSTM reads both, 176 numbers a
# frame, and says what sounds. That line is the **connection**: a frame head which is told when notes begin need not
# guess it from the decay.
#
# $$ \text{frame}_{1..T} = \mathrm{BLSTM}\big([\,\sigma(\text{onset}_t)\,;\ \sigma(\text{activation}_t)\,]_{t = 1..T}\big) $$

# %% joint
class Joint(nn.Module):
    """Version 2: an onset head, and a frame head that listens to it."""

    def __init__(self, maps=(32, 32, 64), width=512, units=128):
        super().__init__()
        self.onset_stack, self.onset_blstm = AcousticStack(maps, width), BLSTM(width, units)
        self.frame_stack, self.activation = AcousticStack(maps, width), nn.Linear(width, 88)
        self.frame_blstm = BLSTM(88 + 88, units)

    def forward(self, x):
        onset = self.onset_blstm(self.onset_stack(x))
        activation = self.activation(self.frame_stack(x))
        said = torch.cat([torch.sigmoid(onset), torch.sigmoid(activation)], dim=-1)  # the connection
        return {"onset": onset, "frame": self.frame_blstm(said)}


def parameters(model):
    """Count what is learned."""
    return sum(values.numel() for values in model.parameters())


print(f"{parameters(Joint()):,} parameters")
assert parameters(Joint()) == 4_854_088

# %% [markdown]
# 4,854,088 parameters: the number of the published network without its velocity branch (a third stack that learns,
# where onsets are, how loud they are). Losses add up, one for each head:
#
# $$ L = \mathrm{mean}\,\mathrm{BCE}(\text{onset}) + \mathrm{mean}\; w \odot \mathrm{BCE}(\text{frame}). $$
#
# In 2018 the frame loss also teaches the onset stack through the connection; in 2019 the authors stopped that
# gradient. Again: ours against the package's, with the same weights.

# %% joint-proof
from mircourse.piano.model import OnsetsAndFrames

ours, theirs = Joint().eval(), OnsetsAndFrames("paper").eval()
missing = theirs.load_state_dict(ours.state_dict(), strict=False).missing_keys
assert all(name.startswith("velocity") for name in missing)  # the branch that we left out
with torch.inference_mode():
    a, b = ours(x), theirs(mel)
assert all(torch.allclose(a[head], b[head], atol=1e-4) for head in a)

# %% joint-hears
joint = load_checkpoint(JOINT)
said = [hear(joint, e.audio) for e in test]

# %% probabilities-figure alt="Two heat maps: onset probabilities as short bright dashes at the beginnings of outlined notes, frame probabilities as long bars"
piano.probabilities(said[calm]["onset"], said[calm]["frame"], reference=test[calm].notes, end=6.0)

# %% [markdown]
# Above, short dashes where hammers fall; below, bars as long as keys sound. Both know something the other does not.
#
# ## 7 · Onset-gated decoding
#
# How do two rolls become notes? The rule is short, and it is a *gate*:
#
# 1. a key is struck where its onset probability rises above 0.5;
# 2. it sounds while its onset **or** its frame probability is above 0.5;
# 3. a note may begin **only** where the key is struck, and ends where it no longer sounds.
#
# Here it is for one key, with the state machine written out.

# %% gate
def gate(onset, frame, threshold=0.5):
    """Read one key. onset, frame: (frames,) probabilities. Return [(first frame, end frame), ...]."""
    struck, sounds = onset > threshold, (onset > threshold) | (frame > threshold)
    notes, begin = [], None
    for t in range(len(onset)):
        rises = struck[t] and not (t > 0 and struck[t - 1])
        if begin is None and rises:
            begin = t
        elif begin is not None and not sounds[t]:
            notes.append((begin, t))
            begin = None
    return notes + ([(begin, len(onset))] if begin is not None else [])


# %% [markdown]
# A made-up key shows what the gate does. Its frame probability drops out once in the first note, a ghost lights up at
# 1.6 s that no hammer has caused, and at 2.6 s the key is struck *again* while it still sounds.

# %% one-key alt="Probabilities of one key over three seconds, and below them three readings: runs make a ghost, our gate merges two strikes, the full rule separates them"
onset, frame = np.full((2, 100, 88), 0.03)
key = 60 - 21
onset[10:12, key], onset[70:72, key], onset[82:84, key] = 0.9, 0.8, 0.95
frame[10:38, key], frame[50:58, key], frame[70:95, key] = 0.8, 0.7, 0.85
frame[24:26, key] = 0.3
by_gate = [(b / FPS, end / FPS, 60) for b, end in gate(onset[:, key], frame[:, key])]
readings = {
    "runs of frames": decode_frames(frame),
    "our gate": by_gate,
    "with rule 4": decode(onset, frame),
}
assert [len(notes) for notes in readings.values()] == [4, 2, 3]
heads.one_key(
    onset, frame, readings, pitch=60, frame_rate=FPS, title="Only a stroke opens a note: no ghost, no second fragment"
)

# %% [markdown]
# The gate swallows the ghost and the fragment behind the drop-out. But it fails at the repeated note: our version is
# deaf while a note is open. So there is a fourth rule, and you will write it in the lab:
#
# 4. an onset that rises **while** the key sounds ends the old note and begins a new one.
#
# ### Half a frame
#
# Labels round down where notes start. Who reads the first frame $t$ as $t / f$ seconds therefore reports every onset
# early, by half a frame on average. The published model does: measured against the note list, its onsets come about
# 16 ms too soon. We can see it without any network, by decoding a perfect roll.

# %% half-frame
late_by = []
for e, r in zip(test, drawn, strict=True):
    perfect = decode(r["onset"], r["frame"], refine=False)  # reports the middle of the first row
    pairs = match(e.notes, perfect)
    late_by += list(perfect[pairs[:, 1], 0] - 0.5 / FPS - e.notes[pairs[:, 0], 0])

print(f"first frame / frame rate is {1000 * np.mean(late_by):+.0f} ms from the true onset, on average")
assert abs(np.mean(late_by) + 0.016) < 0.002

# %% [markdown]
# The package's `decode` gives the half frame back, and goes a step further: it puts the onset at the centre of the
# probability peak, which is finer than a frame.
#
# ## 8 · The comparison
#
# Scores must be taken against the **note list**. Scoring against a roll, as some public code does, forgives everything
# that the roll has already lost. The standard is
# [`mir_eval`](https://mir-eval.readthedocs.io/latest/api/transcription.html): it wants intervals in seconds and
# pitches in Hz, and finds the largest possible one-to-one matching. By hand once, then trust the package:

# %% by-hand
import mir_eval

gated = [decode(h["onset"], h["frame"], h["velocity"], h.get("shift")) for h in said]
e, notes = test[0], gated[0]
hertz = [440 * 2 ** ((pitches - 69) / 12) for pitches in (e.notes[:, 2], notes[:, 2])]
precision, recall, f1, _ = mir_eval.transcription.precision_recall_f1_overlap(
    e.notes[:, :2], hertz[0], notes[:, :2], hertz[1], onset_tolerance=0.05, offset_ratio=None
)
assert np.isclose(f1, evaluate(e.notes, notes)["note_f1"])

# %% [markdown]
# Now the experiment. *Frame-only* and *Onsets and Frames* are two networks of one family that were trained for the
# same number of steps on the same pieces. *No gate* and *Onsets and Frames* are the very same weights, once read as
# runs of the frame head, once through the gate, with the same threshold.
#
# **Predict** two differences before you run the cell: from frame-only to Onsets and Frames, in note F1 and in frame F1.

# %% table
assert joint.card["steps"] == frames_only.card["steps"] and joint.card["data"] == frames_only.card["data"]
table["no gate"] = score([decode_frames(h["frame"]) for h in said])
table["Onsets and Frames"] = score(gated)
tables.transcription(table, caption="LIVE: the band, six held-out excerpts of 20 s; mean of the excerpts, %")

# %% claims
only, no_gate, full = (table[name] for name in ("frame-only CRNN", "no gate", "Onsets and Frames"))
gain = {name: 100 * (full[name] - only[name]) for name in ("note_f1", "frame_f1")}
print(f"gate and connection: note F1 {gain['note_f1']:+.1f} points, frame F1 {gain['frame_f1']:+.1f} points")
assert gain["note_f1"] > 10 and abs(gain["frame_f1"]) < 5

alone = {name: 100 * (full[name] - no_gate[name]) for name in gain}
print(f"the gate alone:      note F1 {alone['note_f1']:+.1f} points, frame F1 {alone['frame_f1']:+.1f} points")
assert alone["note_f1"] > 10 and abs(alone["frame_f1"]) < 5

at_other_thresholds = [score([decode_frames(h["frame"], threshold=t) for h in said]) for t in (0.2, 0.4, 0.6, 0.7, 0.8)]
best = max(scores["note_f1"] for scores in at_other_thresholds)
print(f"no gate, with the threshold that is best on these very excerpts: note F1 {best:.2f}")
assert full["note_f1"] > best + 0.05

# %% [markdown]
# **That is the lecture in two numbers.** What is gained in notes hardly shows in frames. A good part of it is gained
# *after* training, by a rule of four lines. And no threshold makes up for a missing gate, not even one that was chosen
# on the test excerpts themselves, which is cheating.
#
# How do these figures compare with the literature? They do not: other pieces, other pianos, other microphones. What
# can be compared is the *pattern*. These are the published figures, on sixty real recordings of the MAPS collection:

# %% published
published = {
    "Sigtia et al. 2016": (72.22, 46.58, 18.38),
    "Kelz et al. 2016": (71.60, 50.94, 23.14),
    "Melodyne": (58.57, 54.02, 18.40),
    "Onsets and Frames 2018": (78.30, 82.29, 50.22),
}
columns = ("frame_f1", "note_f1", "note_offset_f1")
rows = {name: dict(zip(columns, np.array(f1) / 100, strict=True)) for name, f1 in published.items()}
assert round(78.30 - 71.60) == 7 and round(82.29 - 50.94) == 31
tables.transcription(rows, caption="PUBLISHED: MAPS, real Disklaviers (Hawthorne et al. 2018, Table 1), %, F1 only")

# %% [markdown]
# From Kelz to Onsets and Frames: 7 points of frame F1, but 31 of note F1. The paper also switches the gate off
# in its full model, at decoding only, and loses 18 % of its note score. The last column is low
# for everyone: it also asks for the *offset*, within 50 ms or a fifth of the note's length, and you heard in section 1
# why nobody knows where a note stops.
#
# ## 9 · On the keyboard's own terms
#
# Our joint model spends three quarters of its weights on one thing: dense layers from every band to every unit, which
# have to learn *each key by itself*. What they learned about one key helps little with another. With a hundred hours of
# recordings that is affordable. We have a few hours of synthesised pianos.
#
# But the keys are not strangers to each other. Partial $h$ of a note lies $\log_2 h$ octaves above the fundamental,
# *whatever the note*. On a logarithmic frequency axis with three bands a semitone, moving up by $d$ keys moves the
# whole spectrum by $3d$ bands.
#
# **Predict:** we shift the spectrum of a key, band by band, until it fits that of the key a minor third above. Starting
# from six different keys: at which shift does it fit? And on the mel axis, which is straight at the bottom and
# logarithmic at the top?

# %% shift alt="Two panels: the spectra of C4 and E flat 4 side by side, then lying on each other after a shift of nine bands"
from mircourse.audio.features import KeySpectrogram


def spectrum(front_end, pitch):
    """Return one frame, a third of a second after the hammer: (bands,)."""
    values = front_end(torch.from_numpy(tone(pitch))[None])[0]
    return (values[-1] if values.ndim == 3 else values)[10].numpy()  # the longest window, if there are several


spectra.shifted(
    {"C4": (spectrum(KeySpectrogram(), 60), 60), "E flat 4": (spectrum(KeySpectrogram(), 63), 63)},
    bands_per_key=3, title="Three keys up is nine bands up, for all partials at once",
)  # fmt: skip

# %% shift-search
def best_shift(low, high):
    """Return the shift that makes two spectra most alike, and their correlation there."""
    alike = [np.corrcoef(low[: len(low) - s], high[s:])[0, 1] for s in range(80)]
    return int(np.argmax(alike)), max(alike)


shifts = {}
for name, front_end in {"logarithmic": KeySpectrogram(), "mel": LogMel()}.items():
    fits = [best_shift(spectrum(front_end, low), spectrum(front_end, low + 3)) for low in (40, 48, 55, 60, 67, 72)]
    shifts[name] = [shift for shift, _ in fits]
    print(f"{name:12} shifts {shifts[name]}, mean correlation {np.mean([alike for _, alike in fits]):.2f}")
assert set(shifts["logarithmic"]) == {9} and len(set(shifts["mel"])) > 3

# %% [markdown]
# The search was told nothing about semitones and found nine bands, three a key, wherever it began. On the mel axis
# every key needs another shift, and none fits well. So on the logarithmic axis a detector that works for one key works
# for all of them, if it is *slid along the keyboard*. The network that the course ships does that
# ([`mircourse.piano.harmonic`](../mircourse/piano/harmonic.py)): it lays the spectrum at 0.5, 1, 2, … 10 times each
# key's frequency side by side, so that one small convolution sees all partials of *its* key; a small GRU, the same for
# all keys, follows each of them through time. Heads, connection and gate are those of section 6, with one more output
# that places an onset within its frame.

# %% sizes
mini = load_checkpoint("piano-mini")
for name, network in {"published": Joint(), "mini": mini.network, "keyboard": harmonic.network}.items():
    print(f"{name:10} {parameters(network):9,} parameters")
dense = 2 * parameters(Joint().onset_stack.dense)
assert 0.7 < dense / parameters(Joint()) < 0.8
assert parameters(harmonic.network) < parameters(mini.network) / 10

# %% [markdown]
# Every note of every training piece now teaches all 88 keys at once. Here is the same thing as an experiment. We take
# the spectrogram of a test piece and *push it up by two keys*, as if the piece had been transposed, without any new
# sound. A network with shared weights should transcribe the transposed piece as well as the original.

# %% transpose
def after_transposition(audio, keys_up):
    """Transcribe after moving the spectrogram up by some keys (3 bands each)."""
    with torch.inference_mode():
        bands = harmonic.features(torch.from_numpy(audio)[None])
        moved = torch.roll(bands, 3 * keys_up, dims=-1)
        moved[..., : 3 * keys_up] = bands.min()
        h = {name: values[0].numpy() for name, values in read_heads(harmonic.network(moved)).items()}
    return decode(h["onset"], h["frame"], h["velocity"], h.get("shift"))


transposed = {}
for up in (0, 2):
    pushed = [e.notes[e.notes[:, 2] + up <= 108] + [0, 0, up, 0] for e in test[:3]]
    estimates_up = [after_transposition(e.audio, up) for e in test[:3]]
    scores = [evaluate(notes, estimate) for notes, estimate in zip(pushed, estimates_up, strict=True)]
    transposed[up] = mean_metrics(scores)["note_f1"]
print({f"{up} keys up": round(f1, 3) for up, f1 in transposed.items()})
assert abs(transposed[0] - transposed[2]) < 0.05

# %% [markdown]
# It does not care where on the keyboard a piece lies. Nobody had to teach it transposition by examples: it is built
# in. A real piano differs from our synthetic ones in a thousand details, but not in *this*, and a model that has fewer
# things to learn has fewer things to learn wrongly. How much is that worth? First on the piano that none of our
# networks has met.

# %% harmonic-table
def gated_scores(model, excerpts):
    """Return the mean scores of a model's gated transcriptions."""
    said = [hear(model, e.audio) for e in excerpts]
    notes = [decode(h["onset"], h["frame"], h["velocity"], h.get("shift")) for h in said]
    return mean_metrics([evaluate(e.notes, n) for e, n in zip(excerpts, notes, strict=True)])


models = {"Onsets and Frames, mini": mini, "along the keyboard": joint, "along the keyboard, default": harmonic}
comparison = {
    f"{name} ({model.card['minutes']:.0f} min of training)": gated_scores(model, unheard) for name, model in models.items()
}
by_mini, by_short, by_default = (scores["note_f1"] for scores in comparison.values())
assert by_mini < by_short < by_default and joint.card["minutes"] < mini.card["minutes"]
tables.transcription(comparison, caption="LIVE: the band on an unheard SoundFont, two excerpts of 20 s, %")

# %% [markdown]
# The published layout, made small, has had more time and thirteen times as many weights than the second row. It is not
# a bad network: it is a network for more data.
#
# And the lesson of section 8? We take the gate away from the default network, too.
#
# **Predict:** its frame head is good. Does it still need a gate?

# %% harmonic-gate
ungated = [decode_frames(hear(harmonic, e.audio)["frame"]) for e in test]
both_ways = {"keyboard, no gate": score(ungated), "keyboard, gated": gated_scores(harmonic, test)}
without, with_gate = both_ways.values()
assert with_gate["note_f1"] > without["note_f1"] + 0.15
assert abs(with_gate["frame_f1"] - without["frame_f1"]) < 0.03
tables.transcription(both_ways, caption="LIVE: the band, six held-out excerpts of 20 s, the same weights read twice, %")

# %% [markdown]
# There is no cleaner way to say it: the frame columns stay where they are, the note columns are a different system.
#
# The scores on *recordings* cannot be computed here, because recordings with exact notes are not ours to give away.
# They were measured once, when the checkpoints were made, and are kept in their cards. The next cell reads them from
# there; the band's scores stand beside them, never mixed.

# %% cards
cards = {"mini": mini.card, "keyboard, default": harmonic.card}
rows = {f"{name}: {data}": scores for name, card in cards.items() for data, scores in card["scores"].items()}
tables.transcription(rows, caption="FROM THE CARDS: model: data it was scored on, %")

# %% [markdown]
# ## 10 · Listen to a recording
#
# Put the path of a recording of your own into the next cell. Without one the cell tries a ragtime from librosa's
# openly licensed examples, and if you are offline it falls back on the unheard SoundFont. It says which one it took.

# %% recording alt="Piano roll of the notes found in the recording"
from mircourse.audio.examples import recording

MY_FILE = None  # "my_piano.wav"

heard = recording(
    MY_FILE, example="pistachio",
    otherwise=lambda: (unheard[0].audio, "a clip of the band, on a SoundFont that no training piece uses"),
)  # fmt: skip
print(heard.heard, heard.licence)
written = transcribe(heard.audio, harmonic)
display(player(heard.audio, RATE, title="The recording"))
display(player(sonify_notes(written, RATE, len(heard.audio)), RATE, title=f"The {len(written)} notes found in it"))
piano.pianoroll(written, end=10.0, title="What was written down: the first ten seconds")

# %% [markdown]
# Listen three times: to the melody, to the bass, to the ends of the notes. Then put both in one player, as at the top
# of the page. Which do you notice first, notes that are missing or notes that are wrong? Many ears forgive a gap more
# easily than a stranger, above all a stranger an octave away.
#
# ## 11 · What the numbers do not say
#
# 50 ms is a generous tolerance: two sixteenth notes at a brisk tempo are 100 ms apart. What is left at 20 ms, and at 10?

# %% strict
within = {}
for tolerance in (0.05, 0.02, 0.01):
    pairs = [match(e.notes, notes, onset_tolerance=tolerance) for e, notes in zip(test, gated, strict=True)]
    within[tolerance] = sum(map(len, pairs)) / sum(len(e.notes) for e in test)
    print(f"within {1000 * tolerance:2.0f} ms: {within[tolerance]:.0%} of the notes")
assert within[0.01] < 0.85 * within[0.05]

# %% [markdown]
# - **The band is not the world.** Our test pieces come from the same generator as the training pieces. The distance
#   between the rows of the cards is the honest measure.
# - **F1 weighs all mistakes alike.** An extra octave deep in a chord and a wrong melody note cost the same.
# - **Offsets** depend on the pedal convention as much as on the model. Compare only scores that share it.
# - **Velocity** is scored after fitting scale and shift for each piece: a model that is always too loud loses nothing.
# - **One seed is one seed.** Train again and every figure moves. A single row proves little; a pattern that survives
#   seeds, sizes and data sets does. (`benchmarks/key_finding.py` repeats the comparison of section 8 over seeds.)
#
# ## Recap
#
# 1. Transcription asks for onset, offset, pitch and velocity. Overlapping partials, uneven decay and the pedal make it
#    hard, and octaves hardest.
# 2. NMF explains each frame by itself, as a sum of fixed key spectra. Its ghosts stand at 12, 19 and 24 semitones.
# 3. Frame F1 averages over time and cannot see events: one flickering cell in a hundred leaves it intact and ruins the
#    notes.
# 4. Onsets get a target of two frames and a head of their own; the frame head is told what the onset head heard.
# 5. The gate lets a note begin only where a hammer falls. It costs nothing to train and is worth many points.
# 6. On a logarithmic axis a key is a shift. A network that knows this needs fewer weights and carries further.
#
# ## Quiz yourself
#
# <details><summary>A label of 32 ms at 100 frames per second: how many frames does it cover?</summary>
#
# Three or four: 3.2 frames, rounded down at the start and up at the end. The model would see relatively more positives
# per note, but the same share of time.
# </details>
#
# <details><summary>Your frame F1 rises by 3 points and your note F1 falls by 3. What happened?</summary>
#
# Most likely sustain got better and onsets worse: longer notes that melt into their repetitions, for example after
# smoothing the frame probabilities.
# </details>
#
# <details><summary>Why does the gate use OR, and not only the frame head, to say that a key sounds?</summary>
#
# A short note may never push its frame probability above the threshold. Without OR the gate would open a note that has
# no frame in it.
# </details>
#
# <details><summary>Why not let the network see 88 transposed copies of every piece instead of sharing weights?</summary>
#
# It would help, and cost 88 times the computation; the weights would still have to agree by training, and never would
# exactly.
# </details>
#
# ## Go further
#
# - Sweep the onset threshold from 0.2 to 0.8 on *validation* pieces and draw precision against recall. Where would you
#   put it for a practice app that must not accuse falsely?
# - Cut the connection: feed zeros instead of onset probabilities into `ours.frame_blstm`. Which of the nine columns
#   suffers?
# - Record ten seconds of a piano with your telephone, from two metres and from ten. What does the room do to the
#   onsets?
#
# ## Read
#
# - Hawthorne et al., *Onsets and Frames: Dual-Objective Piano Transcription*, ISMIR 2018. The paper of this lecture;
#   read the ablation table and ask which rows you could have predicted.
# - Hawthorne et al., *Enabling Factorized Piano Music Modeling and Generation with the MAESTRO Dataset*, ICLR 2019.
#   What 200 hours of real recordings change, and which parts of the recipe were dropped.
# - Smaragdis and Brown, *Non-negative Matrix Factorization for Polyphonic Music Transcription*, WASPAA 2003. Six pages
#   that began a decade.
# - Kong et al., *High-resolution Piano Transcription with Pedals by Regressing Onset and Offset Times*, TASLP 2021. How
#   to leave the 32 ms grid, and what label noise does to those who stay on it.
# - Wei et al., *HPPNet*, ISMIR 2022, and Bittner et al., *A Lightweight Instrument-Agnostic Model*, ICASSP 2022. Where
#   the ideas of section 9 come from.
#
# **Next:** [Lab 2](../exercises/lab2_piano/lab2_piano.ipynb), in which you write the targets, the loss, the
# connection and the decoder, and transcribe a recording with them.
