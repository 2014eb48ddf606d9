"""NMF with fixed templates hears simple notes of its own making."""

import time
import warnings

import numpy as np
import pytest

from mircourse.piano.baseline import (
    SAMPLE_RATE,
    Templates,
    activations,
    factorise,
    learn_templates,
    notes_from_activations,
    spectrogram,
    transcribe,
)
from mircourse.piano.evaluation import evaluate

PITCHES = [48, 52, 55, 60, 64, 67, 71]


def struck(pitch, seconds, gain=0.2):
    """Return a plain decaying harmonic tone."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    f0 = 440 * 2 ** ((pitch - 69) / 12)
    partials = sum(np.exp(-t * (1 + 0.5 * n)) * np.sin(2 * np.pi * n * f0 * t + n) / n for n in range(1, 9))
    return gain * partials


def played(notes, seconds):
    audio = np.zeros(int(seconds * SAMPLE_RATE))
    for onset, offset, pitch, velocity in notes:
        sound = struck(pitch, offset - onset, 0.2 * velocity / 80)
        release = np.minimum(1, np.arange(len(sound))[::-1] / 400)
        start = round(onset * SAMPLE_RATE)
        audio[start : start + len(sound)] += sound * release
    return audio.astype(np.float32)


@pytest.fixture(scope="module")
def templates():
    return learn_templates([struck(pitch, 1.5) for pitch in PITCHES], PITCHES)


PIECE = np.array(
    [
        [0.503, 1.2, 60, 80],
        [1.011, 1.9, 64, 80],
        [1.011, 1.9, 67, 70],
        [2.207, 2.7, 48, 80],
        [2.7, 3.2, 48, 90],  # struck again
        [3.305, 3.9, 55, 60],
        [3.6, 4.2, 71, 80],
    ]
)


def test_templates_are_spectra_of_their_key(templates):
    assert templates.spectra.shape[1] == len(templates.pitches) == 3 * len(PITCHES)
    np.testing.assert_allclose(templates.spectra.sum(axis=0), 1, rtol=1e-5)
    assert (templates.spectra >= 0).all()
    late = templates.spectra[:, templates.pitches == 60][:, 2]
    band = int(np.argmax(late))
    assert abs(27.5 * 2 ** ((band - 1) / 36) / 261.63 - 1) < 0.03


def test_a_piece_is_heard(templates):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes = transcribe(played(PIECE, 5.0), templates)
    assert evaluate(PIECE, notes)["note_f1"] == 1.0
    assert notes.shape[1] == 4 and (np.diff(notes[:, 0]) >= 0).all()


def test_loudness_does_not_matter_but_silence_does(templates):
    audio = played(PIECE, 5.0)
    assert len(transcribe(audio * 0.1, templates)) == len(transcribe(audio, templates)) == len(PIECE)
    assert transcribe(np.zeros(SAMPLE_RATE), templates).shape == (0, 4)
    noise = np.random.default_rng(0).normal(0, 1e-5, SAMPLE_RATE)
    assert transcribe(noise, templates).shape == (0, 4)
    assert transcribe(np.zeros(0), templates).shape == (0, 4)


def test_updates_lower_the_divergence_and_keep_signs():
    rng = np.random.default_rng(1)
    w, truth = rng.uniform(0, 1, (40, 6)), rng.exponential(1, (6, 25))
    v = w @ truth

    def divergence(h):
        model = w @ h
        return np.sum(v * np.log(v / model) - v + model)

    steps = [divergence(factorise(v, w, iterations=n)) for n in (1, 2, 5, 20, 100, 1000)]
    assert all(later < earlier for earlier, later in zip(steps, steps[1:], strict=False))
    found = factorise(v, w, iterations=3000)
    assert (found >= 0).all() and found.dtype == np.float32
    np.testing.assert_allclose(found, truth, atol=0.1)


def test_blocks_change_nothing(templates):
    audio = np.tile(played(PIECE, 5.0), 8)  # 1250 frames: more than a block
    keys = activations(audio, templates, iterations=5)
    magnitudes = spectrogram(audio)
    whole = factorise(magnitudes, templates.spectra, iterations=5)
    middle_c = whole[templates.pitches == 60].sum(axis=0)
    assert keys.shape == (magnitudes.shape[1], 88)
    np.testing.assert_allclose(keys[:, 60 - 21], middle_c, rtol=1e-3, atol=1e-6)
    assert (keys[:, 0] == 0).all()  # a key without a template is never heard


def test_notes_from_a_drawn_activation():
    keys = np.zeros((60, 88), dtype=np.float32)
    keys[10:30, 39] = np.linspace(1, 0.3, 20)
    keys[8:10, 39] = [0.0, 0.5]
    notes = notes_from_activations(keys)
    np.testing.assert_allclose(notes[:, 0] * 31.25, [9.0], atol=0.01)
    np.testing.assert_allclose(notes[:, 1] * 31.25, [30.0])
    assert notes[0, 2] == 60 and notes_from_activations(keys[:0]).shape == (0, 4)


def test_other_rates_and_pitches_are_refused(templates):
    with pytest.raises(ValueError, match="16000 Hz"):
        transcribe(np.zeros(100), templates, sample_rate=44100)
    with pytest.raises(ValueError, match="21..108"):
        learn_templates([np.zeros(SAMPLE_RATE)], [12])
    with pytest.raises(ValueError, match="shorter"):
        learn_templates([np.zeros(SAMPLE_RATE // 2)], [60])
    with pytest.raises(ValueError, match="at least one sound"):
        learn_templates([], [])


def test_it_is_several_times_faster_than_the_music():
    rng = np.random.default_rng(2)
    full = Templates(rng.uniform(0, 1, (296, 264)).astype(np.float32), np.repeat(np.arange(21, 109), 3))
    audio = rng.normal(0, 0.1, 20 * SAMPLE_RATE)
    transcribe(audio[:SAMPLE_RATE], full)  # imports
    start = time.perf_counter()
    transcribe(audio, full)
    seconds = time.perf_counter() - start
    print(f"{20 / seconds:.0f} times real time")
    assert seconds < 4  # five times real time; about a hundred on an idle core
