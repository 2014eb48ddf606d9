"""The room: whatever it adds, the direct sound stays where it was, and the level stays inside full scale."""

import numpy as np
import pytest

from mircourse.band import room

RATE = 16000


@pytest.fixture(scope="module")
def clicks() -> np.ndarray:
    """Clicks at irregular moments, so that no echo lines up with another click."""
    rng = np.random.default_rng(0)
    sound = np.zeros(2 * RATE, dtype=np.float32)
    sound[rng.choice(np.arange(800, 2 * RATE - 800), 25, replace=False)] = rng.uniform(0.5, 1, 25)
    return sound


def lag(dry, wet) -> int:
    """Samples by which `wet` lies behind `dry`, from the largest cross-correlation."""
    n = 2 * len(dry)
    correlation = np.fft.irfft(np.conj(np.fft.rfft(dry, n)) * np.fft.rfft(wet, n), n)
    best = int(np.argmax(np.abs(correlation)))
    return best if best < n // 2 else best - n


@pytest.mark.parametrize("seed", range(40))
def test_the_direct_sound_stays_in_its_place(clicks, seed):
    wet = room.record(np.random.default_rng(seed), clicks, RATE)
    assert wet.dtype == np.float32 and wet.shape == clicks.shape
    assert np.isfinite(wet).all()
    assert 0.12 < np.abs(wet).max() <= 0.945
    assert -1 <= lag(clicks, wet) <= 0.001 * RATE


def test_a_room_begins_with_the_direct_sound_and_dies_away():
    for seed in range(20):
        response = room.impulse_response(np.random.default_rng(seed), RATE)
        assert abs(response[0]) == pytest.approx(1.0, abs=0.01)
        quarter = len(response) // 4
        assert np.sum(response[-quarter:] ** 2) < 0.2 * np.sum(response[1 : 1 + quarter] ** 2) + 1e-9


def test_the_same_seed_is_the_same_recording(clicks):
    before = clicks.copy()
    first, again, other = (room.record(np.random.default_rng(seed), clicks, RATE) for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 0.01
    np.testing.assert_array_equal(clicks, before)


@pytest.mark.parametrize("n", [1, 7, 500, RATE])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-6])
def test_silence_constants_and_snippets_are_recorded_too(n, value):
    for seed in range(5):
        wet = room.record(np.random.default_rng(seed), np.full(n, value, dtype=np.float32), RATE)
        assert wet.shape == (n,) and np.isfinite(wet).all() and np.abs(wet).max() <= 0.945


def test_loud_input_is_not_clipped():
    dry = 30 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE).astype(np.float32)
    for seed in range(10):
        wet = room.record(np.random.default_rng(seed), dry, RATE)
        # A clipped wave stays at its peak for a while.
        assert np.mean(np.abs(wet) > 0.999 * np.abs(wet).max()) < 0.2
        assert np.abs(wet).max() <= 0.945


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_other_rates(rate):
    dry = np.zeros(rate, dtype=np.float32)
    dry[100] = 1.0
    for seed in range(5):
        assert -1 <= lag(dry, room.record(np.random.default_rng(seed), dry, rate)) <= 0.001 * rate
