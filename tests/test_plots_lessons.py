"""Figures and tables of the lessons: axes are named, nothing is left open, what is drawn is what was given."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from mircourse.piano.targets import frame_weights, rolls
from mircourse.plots import heads, spectra, tables, targets

NOTES = np.array([[0.11, 0.5, 60, 80], [0.35, 0.37, 64, 70], [0.45, 0.8, 67, 80]])
ROLLS = rolls(NOTES, 28)
WEIGHTS = frame_weights(ROLLS["onset"], ROLLS["frame"])
RNG = np.random.default_rng(0)
HERTZ = np.geomspace(60, 7000, 40)
NAMES = (
    "bands", "shared_partials", "decays", "shifted", "onset_labels", "frame_weights", "loss_by_logit", "one_key",
    "influence",
)  # fmt: skip


def tone(hertz, n=8000):
    return sum(np.sin(2 * np.pi * h * hertz * np.arange(n) / 16000) / h for h in range(1, 16))


def two_tones(ratio):
    tones = {"A": (tone(200), 200.0), "B": (tone(200 * ratio), 200.0 * ratio)}
    return spectra.shared_partials(tones, 16000, title="t")


def figures():
    ramp = np.linspace(-3, 3, 50)
    return {
        "bands": spectra.bands(RNG.random((50, 40)), HERTZ, frame_rate=31.25, title="t", notes=NOTES),
        "shared_partials": two_tones(2.0),
        "decays": spectra.decays(np.arange(20), {"a": np.arange(20), "b": -np.arange(20)}, title="t"),
        "shifted": spectra.shifted({"a": (ramp, 60), "b": (ramp, 63)}, bands_per_key=3, title="t"),
        "onset_labels": targets.onset_labels(NOTES, ROLLS["onset"], frame_rate=31.25, title="t"),
        "frame_weights": targets.frame_weights(ROLLS["onset"], ROLLS["frame"], WEIGHTS, key=39, title="t"),
        "loss_by_logit": targets.loss_by_logit(ramp, ramp**2, ramp**2, title="t"),
        "one_key": heads.one_key(ROLLS["onset"], ROLLS["frame"], {"a": NOTES}, pitch=60, frame_rate=31.25, title="t"),
        "influence": heads.influence(np.arange(9), frame=4, title="t"),
    }


@pytest.fixture(scope="module")
def drawn():
    return figures()


def test_figures_are_closed(drawn):
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", NAMES)
def test_figures_name_their_axes(drawn, name):
    axes = drawn[name].axes
    assert axes[0].get_title() == "t" and axes[0].get_ylabel()
    assert any(axis.get_xlabel() for axis in axes)
    drawn[name].canvas.draw()


def test_a_label_on_a_wrong_key_shows():
    roll = ROLLS["onset"].copy()
    roll[5, 0] = 1
    axis = targets.onset_labels(NOTES, roll, frame_rate=31.25, title="t").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["21", "60", "64", "67"]


def test_shared_partials_are_marked_and_no_others():
    def marked(ratio):
        patches = two_tones(ratio).axes[0].patches
        return sum(bool(np.isfinite(patch.get_extents().x0)) for patch in patches)

    assert marked(2.0) > marked(1.5) > marked(1.03) == 0


def test_a_table_says_the_same_in_html_and_in_text():
    table = tables.transcription({"one <system>": {"frame_f1": 0.783, "note_f1": 0.8229}}, caption="MAPS, %")
    html, text = table._repr_html_(), repr(table)
    assert "one &lt;system&gt;" in html and html.count("<td") == 9 and html.count("–") == 7
    assert 'scope="row"' in html and "<caption" in html
    for cell in ("78.3", "82.3", "MAPS, %"):
        assert cell in html and cell in text
