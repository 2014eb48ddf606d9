"""The sampler and the computed piano: exact onsets, and velocity, pedal, release and tuning that can be heard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mircourse.band import procedural
from mircourse.band.sampler import Bank, render
from mircourse.piano.targets import extend_with_pedal

RATE = 16000


@pytest.fixture(scope="module")
def piano() -> Bank:
    return procedural.draw_piano(np.random.default_rng(7), sample_rate=RATE, seconds=1.5)


def hand_made(wave, *, pitches=(60.0,), velocities=(64.0,), highest_damped_key=88) -> Bank:
    """A bank whose every row is `wave`."""
    rows = len(pitches)
    return Bank(
        waves=np.tile(np.asarray(wave, dtype=np.float32), (rows, 1)),
        pitches=np.array(pitches, dtype=float),
        velocities=np.array(velocities, dtype=float),
        levels=np.ones(rows),
        dynamic_range_db=40.0,
        release_seconds=0.08,
        highest_damped_key=highest_damped_key,
        sample_rate=RATE,
        name="hand-made",
    )


def notes(*rows) -> np.ndarray:
    return np.array(rows, dtype=float)


def level(sound, start, end) -> float:
    """Root mean square between two moments in seconds."""
    return float(np.sqrt(np.mean(sound[round(start * RATE) : round(end * RATE)] ** 2)))


def frequency_near(sound, expected, *, cents=150, rate=RATE) -> float:
    """Frequency of the strongest peak within some cents of what is expected."""
    n = 8 * len(sound)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n))
    bins = np.fft.rfftfreq(n, 1 / rate)
    near = np.flatnonzero(np.abs(1200 * np.log2(np.maximum(bins, 1e-3) / expected)) < cents)
    peak = near[np.argmax(spectrum[near])]
    below, at, above = np.log(spectrum[peak - 1 : peak + 2])
    return (peak + 0.5 * (below - above) / (below - 2 * at + above)) * rate / n


def hertz(pitch):
    return 440 * 2 ** ((pitch - 69) / 12)


@pytest.mark.parametrize("onset", [0.0, 0.01, 0.5, 1.23456])
def test_a_click_falls_on_its_sample(onset):
    click = np.zeros(100)
    click[0] = 1.0
    sound = render(hand_made(click), notes([onset, onset + 0.2, 60, 64]), 2 * RATE)
    assert sound.dtype == np.float32 and sound.shape == (2 * RATE,)
    assert np.flatnonzero(sound).tolist() == [round(onset * RATE)]
    assert sound.max() == pytest.approx(1.0)


@pytest.mark.parametrize("pitch", [21, 45, 60, 88, 108])
@pytest.mark.parametrize("velocity", [8, 64, 124])
def test_the_computed_piano_begins_at_the_label(piano, pitch, velocity):
    start = 4321
    sound = render(piano, notes([start / RATE, 0.8, pitch, velocity]), RATE)
    assert not sound[:start].any()
    attack = np.abs(sound[start : start + round(0.008 * RATE)])
    assert attack.max() > 0.1 * np.abs(sound).max()


@pytest.mark.parametrize("pitch", [33, 60, 84])
def test_a_harder_stroke_is_louder_and_brighter(piano, pitch):
    levels, centroids = [], []
    for velocity in (16, 40, 64, 88, 115):
        sound = render(piano, notes([0.0, 1.0, pitch, velocity]), RATE)
        levels.append(level(sound, 0, 0.5))
        power = np.abs(np.fft.rfft(sound[: RATE // 2])) ** 2
        centroids.append((power * np.arange(len(power))).sum() / power.sum())
    assert np.all(np.diff(levels) > 0)
    assert levels[-1] > 4 * levels[0]
    assert centroids[-1] > 1.02 * centroids[0]


def test_loudness_grows_between_the_layers_too(piano):
    peaks = [np.abs(render(piano, notes([0.0, 0.4, 60, v]), RATE // 2)).max() for v in range(8, 125, 4)]
    rises = 20 * np.log10(np.array(peaks[1:]) / peaks[:-1])
    assert rises.min() > -1.5  # where the layer changes, the timbre does too
    assert np.median(rises) > 0.3


def test_the_pedal_lets_a_released_note_sound_on(piano):
    played = notes([0.0, 0.2, 55, 80])
    dry = render(piano, played, RATE)
    pedalled = render(piano, extend_with_pedal(played, [[0.1, 127], [0.9, 0]]), RATE)
    np.testing.assert_array_equal(dry[: round(0.2 * RATE)], pedalled[: round(0.2 * RATE)])
    assert level(pedalled, 0.7, 0.9) > 10 * level(dry, 0.7, 0.9)


@pytest.mark.parametrize("pitch", [36, 60, 84])
def test_a_released_string_fades_with_its_time_constant(pitch):
    bank = hand_made(np.ones(4 * RATE), pitches=(36.0, 60.0, 84.0), velocities=(64.0,) * 3)
    sound = render(bank, notes([0.1, 0.5, pitch, 64]), RATE)
    assert np.allclose(sound[round(0.1 * RATE) : round(0.5 * RATE)], 1.0)
    seconds = 0.08 * 1.3 ** ((60 - pitch) / 12)
    after = np.arange(1, round(0.3 * RATE)) / RATE
    np.testing.assert_allclose(
        sound[round(0.5 * RATE) + 1 :][: len(after)], np.exp(-after / seconds), rtol=1e-3, atol=2e-3
    )


def test_the_treble_has_no_dampers():
    bank = hand_made(np.ones(4 * RATE), pitches=(88.0, 89.0), velocities=(64.0, 64.0))
    damped, undamped = (render(bank, notes([0.0, 0.1, p, 64]), 2 * RATE) for p in (88, 89))
    assert level(damped, 1.0, 1.1) < 1e-3
    assert level(undamped, 1.0, 1.1) > 0.85


@pytest.mark.parametrize("tuning", [-35, -7.5, 0, 12, 35])
@pytest.mark.parametrize("pitch", [57, 69, 81])
def test_tuning_and_transposition_are_exact(pitch, tuning):
    bank = hand_made(np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE), pitches=(69.0,))
    sound = render(bank, notes([0.0, 1.5, pitch, 64]), RATE, tuning_cents=tuning)
    expected = hertz(pitch + tuning / 100)
    assert 1200 * np.log2(frequency_near(sound, expected) / expected) == pytest.approx(0, abs=0.5)


def test_the_nearest_key_and_then_its_nearest_layer_are_played():
    bank = hand_made(np.zeros(400), pitches=(60.0, 60.0, 64.0, 64.0), velocities=(30.0, 100.0, 40.0, 90.0))
    bank.waves[:] = np.array([1, 2, 3, 4])[:, np.newaxis]
    bank.dynamic_range_db = 0.0
    for pitch, velocity, expected in ((60, 100, 2), (61, 20, 1), (63, 127, 4), (70, 60, 3)):
        sound = render(bank, notes([0.0, 0.01, pitch, velocity]), 50)
        assert sound[0] == expected


def test_int16_rows_are_read_as_numbers_up_to_one():
    bank = hand_made(np.zeros(200))
    bank.waves = np.full((1, 200), 16384, dtype=np.int16)
    assert render(bank, notes([0.0, 0.01, 60, 64]), 100)[0] == pytest.approx(0.5)


def test_notes_add_up(piano):
    chord = notes([0.1, 0.4, 60, 70], [0.1, 0.5, 64, 60], [0.3, 0.6, 60, 90])
    together = render(piano, chord, RATE)
    np.testing.assert_allclose(together, sum(render(piano, note[None], RATE) for note in chord), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1, 3), st.floats(0, 9), st.integers(21, 108), st.integers(1, 127)),
        max_size=12,
    ),
    st.integers(1, 2 * RATE),
)
def test_whatever_is_played_stays_inside_and_finite(rows, n_samples):
    bank = hand_made(np.ones(3000), pitches=(30.0, 90.0), velocities=(64.0, 64.0))
    played = np.array([[a, a + d, p, v] for a, d, p, v in rows], dtype=float).reshape(-1, 4)
    sound = render(bank, played, n_samples)
    assert sound.shape == (n_samples,) and np.isfinite(sound).all()


def test_every_key_of_the_computed_piano_has_its_pitch(piano):
    """Within 15 cents, apart from the stretch of its octaves and its strings' stiffness, both at most as drawn."""
    deviations = []
    for row in range(2, len(piano.waves), 25):  # every fifth key
        pitch = piano.pitches[row]
        partial = int(
            np.ceil(150 / hertz(pitch))
        )  # a bass string's own frequency is weak and near its neighbours
        expected = partial * hertz(pitch)
        cents = 1200 * np.log2(frequency_near(piano.waves[row], expected, cents=140) / expected)
        octaves = (pitch - 69) / 12
        stretch = 1.5 * 2.2 * abs(octaves) ** 2.2
        stiffness = 1.8 * (10 ** (-3.9 + 0.0357 * max(pitch - 45, 0)) + 10 ** (-3.9 - 0.03 * (pitch - 21)))
        sharp = 600 * np.log2(1 + stiffness * partial**2)
        assert -15 - stretch * (octaves < 0) < cents < 15 + stretch * (octaves > 0) + sharp, pitch
        deviations.append(cents)
    assert np.mean(deviations[-4:]) > np.mean(deviations[:4])  # stretched: the treble is sharp of the bass


def test_a_seed_is_a_piano():
    first, again, other = (
        procedural.draw_piano(np.random.default_rng(seed), sample_rate=8000, seconds=0.6)
        for seed in (3, 3, 4)
    )
    assert first.waves.tobytes() == again.waves.tobytes()
    assert first.levels.tobytes() == again.levels.tobytes()
    assert (first.release_seconds, first.highest_damped_key) == (
        again.release_seconds,
        again.highest_damped_key,
    )
    assert np.abs(first.waves - other.waves).max() > 0.1
    played = notes([0.1, 0.4, 60, 70], [0.1, 0.5, 64, 60])
    assert render(first, played, 8000).tobytes() == render(again, played, 8000).tobytes()


@pytest.mark.parametrize("rate", [8000, 11025, 22050])
def test_a_piano_can_be_computed_at_any_rate(rate):
    bank = procedural.draw_piano(np.random.default_rng(1), sample_rate=rate, seconds=0.5)
    assert bank.waves.shape == (440, rate // 2) and np.isfinite(bank.waves).all()
    assert np.abs(bank.waves).max(axis=1).min() > 0.01
    assert not bank.waves[:, -1].any()
