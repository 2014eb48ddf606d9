"""Textures and performance: what is written fits the keyboard, what is played could be played."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mircourse.band import textures
from mircourse.band.performance import Performance, _separate, perform

WRITERS = sorted(
    {writer for table in (textures.RIGHT, textures.LEFT, textures.FREE) for writer, _ in table},
    key=lambda writer: writer.__name__,
)


def assert_playable(keys: np.ndarray) -> None:
    """No key is pressed while it is down, and all are in order."""
    assert np.array_equal(np.lexsort((keys[:, 2], keys[:, 0])), np.arange(len(keys)))
    for pitch in np.unique(keys[:, 2]):
        one = keys[keys[:, 2] == pitch]
        assert (one[1:, 0] > one[:-1, 1]).all(), f"key {pitch} is pressed while it is down"


def assert_performed(played: Performance) -> None:
    keys, pedal = played.keys, played.pedal
    assert_playable(keys)
    assert np.isfinite(keys).all() and np.isfinite(pedal).all()
    assert (keys[:, 0] >= 0.01).all()
    assert (keys[:, 1] - keys[:, 0] > 0.01).all()
    assert ((keys[:, 2] >= 21) & (keys[:, 2] <= 108)).all()
    assert ((keys[:, 3] >= 8) & (keys[:, 3] <= 124) & (keys[:, 3] % 1 == 0)).all()
    assert (np.diff(pedal[:, 0]) > 0).all(), "pedal times ascend"
    assert (pedal[::2, 1] == 127).all() and (pedal[1::2, 1] == 0).all()
    assert len(pedal) % 2 == 0


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_every_texture_writes_notes(writer):
    if writer is textures.silence:
        assert writer(None, None, 8.0, 60) == []
        return
    for seed in range(25):
        rng = np.random.default_rng(seed)
        length = float(rng.choice([8, 12, 16, 24]))
        harmony = textures.Harmony(rng, n_chords=8, beats=float(rng.choice([1, 2, 4])))
        notes = np.array(writer(rng, harmony, length, int(rng.integers(40, 87))), dtype=float)
        assert len(notes) >= 2
        assert (notes[:, 1] > 0).all()
        assert (notes[:, 0] >= 0).all() and (notes[:, 0] < length).all()
        assert np.isin(notes[:, 3], [textures.LEAD, textures.INNER, textures.BASS]).all()
        assert np.mean((notes[:, 2] >= 21) & (notes[:, 2] <= 108)) > 0.7  # `compose` drops the others
        assert (notes[:, 2] % 1 == 0).all()


@pytest.mark.parametrize("seed", range(30))
def test_a_composed_piece_fits_the_keyboard(seed):
    score = textures.compose(np.random.default_rng(seed), 100)
    assert ((score[:, 2] >= 21) & (score[:, 2] <= 108)).all()
    assert (score[:, 1] > 0).all()
    assert np.array_equal(np.lexsort((score[:, 2], score[:, 0])), np.arange(len(score)))
    starts = np.append(score[:, 0], 100.0)
    assert np.diff(starts).max() < 20  # no long silence


def test_pieces_reach_the_ends_of_the_keyboard_and_all_densities():
    pieces = [textures.compose(np.random.default_rng(seed), 120) for seed in range(40)]
    pitches = np.concatenate([piece[:, 2] for piece in pieces])
    assert pitches.min() <= 23 and pitches.max() >= 106
    density = [len(piece) / 120 for piece in pieces]
    assert min(density) < 4 and max(density) > 7


@pytest.mark.parametrize("seed", range(30))
def test_a_performance_can_be_played(seed):
    rng = np.random.default_rng(seed)
    assert_performed(perform(rng, textures.compose(rng, 60)))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.floats(0.012, 4), st.integers(59, 61), st.integers(8, 124)),
        max_size=30,
    )
)
def test_no_key_is_pressed_while_it_is_down(rows):
    keys = np.array([[a, a + d, p, v] for a, d, p, v in rows], dtype=float).reshape(-1, 4)
    before = keys.copy()
    apart = _separate(keys)
    np.testing.assert_array_equal(keys, before)
    assert_playable(apart)
    assert set(np.unique(apart[:, 2])) == set(np.unique(keys[:, 2])), "no key falls silent altogether"
    assert set(map(tuple, apart[:, [0, 2, 3]])) <= set(map(tuple, keys[:, [0, 2, 3]])), "no onset moves"
    assert (apart[:, 1] > apart[:, 0] + 0.01).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 40),
            st.floats(0.01, 8),
            st.integers(21, 108),
            st.sampled_from([textures.LEAD, textures.INNER, textures.BASS]),
        ),
        max_size=40,
    ),
    st.integers(0, 2**32 - 1),
    st.one_of(st.none(), st.floats(20, 300)),
)
def test_any_score_can_be_performed(rows, seed, tempo):
    score = np.array(sorted(rows), dtype=float).reshape(-1, 4)
    before = score.copy()
    assert_performed(perform(np.random.default_rng(seed), score, tempo=tempo))
    np.testing.assert_array_equal(score, before)


def test_an_empty_score_is_an_empty_performance():
    played = perform(np.random.default_rng(0), np.zeros((0, 4)))
    assert played.keys.shape == (0, 4)


def test_the_tempo_is_kept_on_average():
    score = np.array([[beat, 0.5, 60 + beat % 12, textures.LEAD] for beat in range(64)], dtype=float)
    seconds = []
    for seed in range(20):
        onsets = perform(np.random.default_rng(seed), score, tempo=120).keys[:, 0]
        seconds.append((onsets[-1] - onsets[0]) / 63)
        assert 0 < onsets[0] < 0.65
    assert np.mean(seconds) == pytest.approx(0.5, rel=0.1)
    assert np.std(seconds) > 0.005  # but no two performances alike


def test_dense_music_is_not_played_faster_than_hands_go():
    score = np.array([[i / 8, 0.125, 40 + i % 40, textures.LEAD] for i in range(8 * 64)], dtype=float)
    for seed in range(20):
        onsets = perform(np.random.default_rng(seed), score).keys[:, 0]
        assert np.median(np.histogram(onsets, bins=np.arange(0, onsets.max(), 1.0))[0]) <= 30


def test_the_same_seed_is_the_same_performance():
    def play(seed):
        rng = np.random.default_rng(seed)
        return perform(rng, textures.compose(rng, 60))

    first, again, other = play(1), play(1), play(2)
    assert first.keys.tobytes() == again.keys.tobytes()
    assert first.pedal.tobytes() == again.pedal.tobytes()
    assert first.keys.tobytes() != other.keys.tobytes()


def test_dynamics_touch_and_pedal_vary_from_piece_to_piece():
    played = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        played.append(perform(rng, textures.compose(rng, 40)))
    loudness = [one.keys[:, 3].mean() for one in played]
    assert min(loudness) < 45 and max(loudness) > 80
    with_pedal = np.mean([len(one.pedal) > 0 for one in played])
    assert 0.45 < with_pedal < 0.85
