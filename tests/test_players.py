"""Players are plain HTML with a name; nothing clips; recording and transcription stand side by side."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile

from mircourse.audio.players import player, side_by_side, sonify_notes
from mircourse.errors import InputError


def heard(made):
    """Decode what a player's HTML carries."""
    source = re.search(r'src="data:audio/wav;base64,([^"]+)"', made._repr_html_())
    return soundfile.read(io.BytesIO(base64.b64decode(source.group(1))))


def test_player_says_what_is_heard():
    made = player(np.zeros(16000), 16000, title='Bach, "Prelude" <in C>')
    page = made._repr_html_()
    assert 'aria-label="Bach, &quot;Prelude&quot; &lt;in C&gt; (1.0 seconds)"' in page
    assert "<script" not in page and "controls" in page
    assert "1.0 s" in repr(made)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_player_neither_clips_nor_whispers(scale):
    audio = scale * np.sin(np.linspace(0, 500, 16000))
    samples, sample_rate = heard(player(audio, 16000, title="A tone"))
    assert sample_rate == 16000
    assert np.abs(samples).max() == pytest.approx(0.9, abs=0.01)


def test_player_keeps_loudness_when_asked():
    samples, _ = heard(player(0.1 * np.ones(100), 16000, title="Quiet", normalise=False))
    assert np.abs(samples).max() == pytest.approx(0.1, abs=0.001)
    samples, _ = heard(player(3.0 * np.ones(100), 16000, title="Loud", normalise=False))
    assert np.abs(samples).max() <= 0.91


def test_player_plays_silence_and_stereo():
    assert not heard(player(np.zeros(100), 16000, title="Nothing"))[0].any()
    samples, _ = heard(player(np.stack([np.ones(100), -np.ones(100)]), 16000, title="Both sides"))
    assert samples.shape == (100, 2) and samples[5, 0] == pytest.approx(-samples[5, 1], abs=1e-4)


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros((100, 2)), np.array([0.0, np.nan])])
def test_player_refuses_with_a_sentence(audio):
    with pytest.raises(InputError):
        player(audio, 16000, title="Wrong")


def test_sonified_notes_sound_when_and_where_they_should():
    notes = np.array([[0.5, 1.0, 69, 100], [1.5, 1.8, 57, 40]])
    audio = sonify_notes(notes, 16000, 32000)
    assert audio.shape == (32000,) and audio.dtype == np.float32
    assert not audio[:8000].any() and np.abs(audio).max() == pytest.approx(0.9, abs=1e-3)
    assert np.abs(audio[18000:23900]).max() == 0
    spectrum = np.abs(np.fft.rfft(audio[8000:16000]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)
    assert np.abs(audio[24000:28000]).max() < np.abs(audio[8000:16000]).max()


def test_sonified_notes_are_cut_at_the_borders():
    notes = np.array([[-0.2, 0.3, 60, 80], [0.9, 5.0, 61.5, 80], [3.0, 4.0, 62, 80], [0.0, 60.0, 21, 127]])
    audio = sonify_notes(notes, 8000, 8000)
    assert audio.shape == (8000,) and np.isfinite(audio).all() and audio[100:7900].any()


def test_no_notes_are_silence():
    assert not sonify_notes(np.zeros((0, 4)), 16000, 1000).any()


def test_sonification_does_not_change_the_notes():
    notes = np.array([[0.0, 1.0, 60, 100.0]])
    sonify_notes(notes, 16000, 8000)
    np.testing.assert_array_equal(notes, [[0.0, 1.0, 60, 100.0]])


def test_side_by_side_puts_the_recording_left():
    stereo = side_by_side(0.01 * np.ones(100), -np.ones(150))
    assert stereo.shape == (2, 150)
    np.testing.assert_allclose(stereo[0, :100], 0.9, rtol=1e-6)
    assert not stereo[0, 100:].any()
    np.testing.assert_allclose(stereo[1], -0.9, rtol=1e-6)
    with pytest.raises(InputError):
        side_by_side(np.zeros((2, 10)), np.zeros(10))
