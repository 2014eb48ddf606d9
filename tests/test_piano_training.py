"""How the piano transcriber is trained: what a batch holds, how a model is scored, and that a run learns."""

from functools import partial

import numpy as np
import pytest
import torch

from mircourse.band import procedural
from mircourse.datasets import piano
from mircourse.errors import InputError
from mircourse.piano import training
from mircourse.piano.loss import transcription_loss
from mircourse.piano.targets import frame_weights, rolls
from mircourse.piano.transcribe import load_checkpoint
from mircourse.piano.transcriber import Transcriber

SECONDS = 5.0


@pytest.fixture(scope="module")
def band(tmp_path_factory):
    """A tiny band: three pieces to learn from and two to be judged by, on one computed piano."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MIRCOURSE_HOME", str(tmp_path_factory.mktemp("home")))
        patched.setattr(piano, "CORPUS_SHARE", 0.0)
        bank = procedural.draw_piano(np.random.default_rng(0), seconds=1.0)
        patched.setattr(piano, "_draw_instrument", lambda rng: bank)
        hours = (SECONDS + piano.TAIL_SECONDS) / 3600
        splits = {"train": 3 * hours, "validation": 2 * hours}
        piano.prepare(splits=splits, jobs=1, progress=False, piece_seconds=SECONDS)
        patched.setattr(training, "items", partial(piano.items, piece_seconds=SECONDS))
        yield piano.items("train", piece_seconds=SECONDS), piano.items("validation", piece_seconds=SECONDS)


def test_a_batch_holds_audio_and_rolls(band):
    batch = next(training.batches(band[0], batch_size=3, frames=50, seed=0)(0))
    assert batch["audio"].shape == (3, 49 * 512)
    rolls_of = {"onset", "frame", "offset", "velocity", "shift", "frame_weights"}
    assert set(batch) == {"audio"} | rolls_of
    assert all(batch[name].shape == (3, 50, 88) and batch[name].dtype == np.float32 for name in rolls_of)
    assert batch["onset"].sum() > 0
    logits = Transcriber("mini")(torch.from_numpy(batch["audio"]))
    assert logits["frame"].shape == (3, 50, 88)
    without = next(training.batches(band[0], batch_size=3, frames=50, seed=0, weighted_frames=False)(0))
    assert "frame_weights" not in without
    np.testing.assert_array_equal(without["onset"], batch["onset"])


def test_the_rolls_of_a_batch_are_those_of_its_segments(band):
    make = training.batches(band[0], batch_size=2, frames=40, seed=5)
    batch = next(make(7))
    drawn = next(piano.segments(band[0], batch_size=2, seconds=39 * 512 / 16000, seed=5, start_step=7))
    for row, (audio, notes) in enumerate(drawn):
        np.testing.assert_array_equal(batch["audio"][row], audio)
        expected = rolls(notes, 40)
        np.testing.assert_array_equal(batch["frame"][row], expected["frame"])
        weights = frame_weights(expected["onset"], expected["frame"])
        np.testing.assert_array_equal(batch["frame_weights"][row], weights)


def test_a_stream_can_begin_anywhere(band):
    make = training.batches(band[0], batch_size=2, frames=20, seed=1)
    stream = make(0)
    fourth = [next(stream) for _ in range(4)][3]
    again = next(make(3))
    assert all(np.array_equal(fourth[name], again[name]) for name in fourth)


def test_the_loss_is_the_sum_of_its_terms(band):
    torch.manual_seed(0)
    batch = next(training.batches(band[0], batch_size=1, frames=20, seed=0)(0))
    batch = {name: torch.from_numpy(values) for name, values in batch.items()}
    for size in ("mini", "frames-mini", "harmonic"):
        model = Transcriber(size).eval()
        terms = transcription_loss(model(batch["audio"]), batch)
        assert set(terms) == set(model(batch["audio"]))
        assert training.loss_function(model, batch).item() == pytest.approx(
            sum(term.item() for term in terms.values()), rel=1e-5
        )


class Oracle(torch.nn.Module):
    """Says what the rolls of the right answer say."""

    def __init__(self, answers, heads):
        super().__init__()
        self.answers, self.heads, self.calls = answers, heads, 0
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, audio):
        notes = self.answers[self.calls % len(self.answers)]
        self.calls += 1
        drawn = rolls(notes, audio.shape[1] // 512 + 1)
        said = {name: torch.from_numpy(drawn[name])[None] for name in self.heads}
        return {name: roll if name == "shift" else 20 * roll - 10 for name, roll in said.items()}


@pytest.mark.parametrize("seconds", [3.0, 30.0])
def test_a_model_that_knows_the_answer_scores_almost_one(band, seconds):
    validate = training.validator(band[1], seconds=seconds)
    answers = [item.notes() for item in band[1]]
    scores = validate(Oracle(answers, ("onset", "frame", "shift")))
    assert scores["note_f1"] > 0.88 and scores["frame_f1"] > 0.9 and scores["note_offset_f1"] > 0.75
    frames_only = validate(Oracle(answers, ("frame",)))
    assert 0.1 < frames_only["frame_threshold"] < 0.9
    assert frames_only["frame_f1"] > 0.9 and 0.3 < frames_only["note_f1"] <= scores["note_f1"]


@pytest.mark.parametrize("size", ["mini", "frames-mini", "harmonic"])
def test_a_run_of_a_few_steps(band, tmp_path, size):
    result = training.train_piano(
        size, steps=3, folder=tmp_path, device="cpu", validations=1, progress=False, batch_size=2, frames=40
    )
    assert result.steps == 3 and np.isfinite(result.losses).all()
    assert "note_f1" in result.validations[-1]
    assert result.card["system"] == "piano" and result.card["size"] == size
    assert "3 pieces" in result.card["data"] and f"--size {size}" in result.card["command"]
    loaded = load_checkpoint(tmp_path, device="cpu")
    audio = torch.randn(1, 16000) / 10
    with torch.inference_mode():
        for head, values in loaded(audio).items():
            torch.testing.assert_close(values, result.model(audio)[head], atol=1e-3, rtol=1e-2)


def test_a_run_learns(band):
    batch = next(training.batches(band[0], batch_size=8, frames=60, seed=99)(0))
    batch = {name: torch.from_numpy(values) for name, values in batch.items()}

    @torch.no_grad()
    def loss_of(model):
        return float(training.loss_function(model.eval(), batch))

    torch.manual_seed(0)
    before = loss_of(Transcriber("mini"))
    result = training.train_piano(
        "mini", steps=30, device="cpu", validations=1, progress=False, batch_size=4, frames=60
    )
    assert loss_of(result.model) < 0.8 * before


def test_an_unknown_size_is_named(band):
    with pytest.raises(InputError, match="'huge'"):
        training.train_piano("huge", steps=1)
