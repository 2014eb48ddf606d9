"""Transcription before neural networks: non-negative matrix factorisation with a fixed dictionary of piano keys.

A magnitude spectrogram V (bins, frames) is explained as W H: the columns of W (bins, templates) are spectra of
single keys, learned once from isolated notes and then fixed; the rows of H (templates, frames) say how much of each
sounds when. Only H is found for a recording, by the multiplicative updates that lower the Kullback-Leibler
divergence D(V | W H):

    H  <-  H * (W^T (V / W H)) / (W^T 1)

Each key owns a template for its attack and others for what remains as the high partials die away. A note starts
where the activation of a key climbs fast enough, measured against the loud moments of the piece, and ends where it
has fallen.

What it cannot do: partials are shared, so octaves, twelfths and double octaves (12, 19, 24 semitones) leak into each
other; a held note fades into the background long before its damper falls.

Sources: Lee & Seung, "Algorithms for Non-negative Matrix Factorization", NIPS 2000; Smaragdis & Brown, "Non-negative
Matrix Factorization for Polyphonic Music Transcription", WASPAA 2003.
"""

import io
from dataclasses import dataclass

import numpy as np

from mircourse.cache import cache_folder
from mircourse.piano.targets import LOWEST_PITCH, N_KEYS

SAMPLE_RATE = 16000
HOP_LENGTH = 512
N_FFT = 3072
BANDS_PER_KEY = 3
# Seconds after the hammer: the attack, the early sound, what remains.
STAGES = ((0.0, 0.06), (0.06, 0.26), (0.26, 0.96))
BLOCK_FRAMES = 1024
# Activation of a single note at about -60 dB of full scale: below it a recording is taken for silent.
SILENCE = 2e-3


@dataclass(frozen=True)
class Templates:
    """The dictionary W.

    Attributes
    ----------
    spectra : np.ndarray, shape (bins, templates), float32
        Each column sums to 1.
    pitches : np.ndarray, shape (templates,), int
        The MIDI pitch that each column belongs to.
    """

    spectra: np.ndarray
    pitches: np.ndarray


def spectrogram(audio):
    """Magnitudes on a logarithmic frequency axis, three bands a piano key.

    Parameters
    ----------
    audio : np.ndarray, shape (n,)
        Mono at 16 kHz, in [-1, 1].

    Returns
    -------
    np.ndarray, shape (bins, frames), float32
        Frame f is centred at sample 512 f; a sinusoid of amplitude 1 reads about 1.
    """
    import scipy.fft

    from mircourse.audio.features import log_frequency_basis

    n_bins = int(12 * BANDS_PER_KEY * np.log2(0.498 * SAMPLE_RATE / 27.5)) + 2
    frequencies = 27.5 * 2 ** ((np.arange(n_bins) - 1) / (12 * BANDS_PER_KEY))
    basis = log_frequency_basis(SAMPLE_RATE, N_FFT, frequencies)
    window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    padded = np.pad(np.asarray(audio, dtype=np.float32), (N_FFT // 2, N_FFT // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    bands = np.empty((n_bins, len(frames)), dtype=np.float32)
    # In blocks, because the overlapping frames together are six times as large as the audio.
    for first in range(0, len(frames), BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        magnitude = np.abs(np.asarray(scipy.fft.rfft(frames[block] * window, axis=1))) * (2 / window.sum())
        bands[:, block] = (magnitude @ basis).T
    return bands


def learn_templates(sounds, pitches):
    """Learn the dictionary from isolated notes.

    Parameters
    ----------
    sounds : sequence of np.ndarray, shape (n,)
        One note each at 16 kHz, the hammer at sample 0, one second or longer. Several of one pitch are averaged,
        each with the same weight.
    pitches : sequence of int
        MIDI pitch of each sound, 21..108.

    Returns
    -------
    Templates
        Three spectra a key: attack, early sound, what remains.
    """
    keys = np.unique(pitches).astype(np.int64)
    if len(keys) == 0 or keys[0] < LOWEST_PITCH or keys[-1] >= LOWEST_PITCH + N_KEYS:
        raise ValueError("templates need at least one sound, all of MIDI pitches 21..108")
    frame_rate = SAMPLE_RATE / HOP_LENGTH
    lead = 8  # silent frames before the hammer, so that the attack is seen as in a piece
    total: dict[int, np.ndarray | float] = dict.fromkeys(keys.tolist(), 0.0)
    for sound, pitch in zip(sounds, pitches, strict=True):
        if len(sound) < STAGES[-1][1] * SAMPLE_RATE:
            raise ValueError(
                f"the sound of pitch {pitch} is shorter than the second that templates are made of"
            )
        bands = spectrogram(np.concatenate([np.zeros(lead * HOP_LENGTH), sound]))
        stages = []
        for start, end in STAGES:
            stage = bands[:, lead + round(start * frame_rate) : lead + round(end * frame_rate)].mean(axis=1)
            stages.append(stage / (stage.sum() + 1e-12))
        total[int(pitch)] = total[int(pitch)] + np.stack(stages, axis=1)
    spectra = np.concatenate([total[key] for key in keys.tolist()], axis=1)
    spectra = spectra / (spectra.sum(axis=0) + 1e-12)
    return Templates(spectra.astype(np.float32), np.repeat(keys, len(STAGES)))


def band_templates(*, n_pianos=4, seed=0):
    """Templates of computed pianos, made once (some seconds) and cached.

    Parameters
    ----------
    n_pianos : int
        Pianos to average over.
    seed : int

    Returns
    -------
    Templates
    """
    path = cache_folder("nmf") / f"templates-{n_pianos}-pianos-seed{seed}.npz"
    if path.exists():
        with np.load(path) as stored:
            return Templates(stored["spectra"], stored["pitches"])

    from mircourse.band.procedural import draw_piano
    from mircourse.training.atomic import write_atomically

    sounds, pitches = [], []
    for piano in range(n_pianos):
        bank = draw_piano(np.random.default_rng([seed, piano]), sample_rate=SAMPLE_RATE, seconds=2.0)
        # The softest and the loudest layer sound unlike most of what is played.
        middle = np.flatnonzero((bank.velocities >= 32) & (bank.velocities <= 96))
        sounds += list(bank.waves[middle])
        pitches += list(np.rint(bank.pitches[middle]).astype(int))
    templates = learn_templates(sounds, pitches)
    data = io.BytesIO()
    np.savez(data, spectra=templates.spectra, pitches=templates.pitches)
    write_atomically(path, data.getvalue())
    return templates


def factorise(magnitudes, spectra, *, iterations=50):
    """Find the activations H of a fixed dictionary W that explain V.

    Parameters
    ----------
    magnitudes : np.ndarray, shape (bins, frames)
        V, not negative.
    spectra : np.ndarray, shape (bins, templates)
        W, not negative.
    iterations : int
        Multiplicative updates.

    Returns
    -------
    np.ndarray, shape (templates, frames), float32
        H, not negative.
    """
    v = np.asarray(magnitudes, dtype=np.float32)
    w = np.asarray(spectra, dtype=np.float32)
    tiny = np.float32(1e-9)
    h = np.repeat(v.sum(axis=0, keepdims=True) / w.shape[1], w.shape[1], axis=0)
    scale = w.sum(axis=0)[:, np.newaxis] + tiny
    for _ in range(iterations):
        h *= (w.T @ (v / (w @ h + tiny))) / scale
    return h


def activations(audio, templates, *, iterations=50):
    """How strongly each key sounds in each frame.

    Parameters
    ----------
    audio : np.ndarray, shape (n,)
        Mono at 16 kHz.
    templates : Templates
    iterations : int

    Returns
    -------
    np.ndarray, shape (frames, 88), float32
        Sum over a key's templates; 31.25 frames per second.
    """
    magnitudes = spectrogram(audio)
    # One row a key adds up that key's templates; with W fixed every frame stands alone, so blocks change nothing.
    gather = (np.arange(N_KEYS)[:, np.newaxis] == templates.pitches - LOWEST_PITCH).astype(np.float32)
    keys = np.empty((magnitudes.shape[1], N_KEYS), dtype=np.float32)
    for first in range(0, len(keys), BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        keys[block] = (gather @ factorise(magnitudes[:, block], templates.spectra, iterations=iterations)).T
    return keys


def notes_from_activations(
    keys, *, onset_threshold=0.18, offset_threshold=0.1, climb_frames=3, frame_rate=SAMPLE_RATE / HOP_LENGTH
):
    """Read notes from activations.

    Parameters
    ----------
    keys : np.ndarray, shape (frames, 88)
    onset_threshold : float
        How far an activation must climb within `climb_frames` for a note to start, as a share of the loud moments
        of the piece (95th percentile over time of the strongest key).
    offset_threshold : float
        A note ends where its activation falls below this share, or below this share of its own peak: whichever is
        higher.
    climb_frames : int
        Over how many frames a climb is measured; also the least distance between two strikes of one key (96 ms).
    frame_rate : float
        Frames per second; frame f is centred at f / frame_rate.

    Returns
    -------
    np.ndarray, shape (N, 4), float64
        Onset s, offset s, MIDI pitch, velocity; sorted by onset, then pitch. Notes last at least 50 ms.
    """
    if len(keys) == 0:
        return np.zeros((0, 4))
    level = keys / max(float(np.percentile(keys.max(axis=1), 95)), SILENCE)
    n_frames = len(level)
    earlier = np.concatenate([np.zeros((climb_frames, N_KEYS), dtype=level.dtype), level])[:n_frames]
    climb = np.maximum(level - earlier, 0)
    around = np.pad(climb, ((climb_frames, climb_frames), (0, 0)))
    highest = np.max([around[shift : shift + n_frames] for shift in range(2 * climb_frames + 1)], axis=0)

    strikes = (climb >= highest) & (climb > onset_threshold)
    notes = []
    for column in np.flatnonzero(strikes.any(axis=0)):
        curve = level[:, column]
        rows = np.flatnonzero(strikes[:, column])
        for row, next_row in zip(rows, [*rows[1:], n_frames + climb_frames], strict=True):
            start = max(_half_way_up(curve, row, climb_frames) / frame_rate, 0.0)
            limit = max(next_row - climb_frames, row + 1)  # where the climb to the next strike begins
            peak = curve[row:limit][:5].max()
            fallen = np.flatnonzero(curve[row + 1 : limit] < offset_threshold * max(1.0, peak))
            end = row + 1 + fallen[0] if len(fallen) else limit
            velocity = np.clip(np.rint(90 + 20 * np.log10(peak)), 1, 127)
            notes.append((start, max(end / frame_rate, start + 0.05), column + LOWEST_PITCH, velocity))
    notes = np.array(notes, dtype=np.float64).reshape(-1, 4)
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def _half_way_up(curve, row, climb_frames):
    """Return the frame (with fraction) at which a climb that ends at `row` has come half its way.

    The window sees a note half a window before it begins; the activation passes half its height when the hammer
    falls in the middle of the window. (Mean error of matched notes: -1 ms on Disklavier recordings; -13 ms on
    the band, whose hammers are sharper.)
    """
    foot = max(row - climb_frames, 0)
    half = (curve[foot] + curve[row]) / 2
    above = row
    while above > foot and curve[above - 1] > half:
        above -= 1
    if above == foot:
        return float(foot)
    return above - 1 + (half - curve[above - 1]) / (curve[above] - curve[above - 1])


def transcribe(audio, templates=None, *, sample_rate=SAMPLE_RATE, iterations=50, onset_threshold=0.18):
    """Transcribe a recording.

    Parameters
    ----------
    audio : np.ndarray, shape (n,)
        Mono, in [-1, 1].
    templates : Templates, optional
        `band_templates` when left out.
    sample_rate : int
        Must be 16000; `mircourse.audio.reading.load` resamples.
    iterations : int
        Multiplicative updates.
    onset_threshold : float
        As for `notes_from_activations`.

    Returns
    -------
    np.ndarray, shape (N, 4), float64
        Onset s, offset s, MIDI pitch, velocity; sorted by onset, then pitch.
    """
    if sample_rate != SAMPLE_RATE:
        raise ValueError(
            f"the templates are made for {SAMPLE_RATE} Hz, the audio has {sample_rate} Hz: resample it"
        )
    templates = band_templates() if templates is None else templates
    keys = activations(audio, templates, iterations=iterations)
    return notes_from_activations(keys, onset_threshold=onset_threshold)
