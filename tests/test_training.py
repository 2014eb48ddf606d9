"""The training loop on a toy: echo the input of the step before, with a small GRU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from mircourse.errors import InputError
from mircourse.training.averaging import WeightAverage
from mircourse.training.cards import CardFields
from mircourse.training.loop import TrainingPlan, train

ABOUT = CardFields("toy", "mini", data="random bits", command="none")


class Echo(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = torch.nn.GRU(2, 16, batch_first=True)
        self.dropout = torch.nn.Dropout(float(os.environ.get("ECHO_DROPOUT", "0.1")))
        self.out = torch.nn.Linear(16, 2)

    def forward(self, x):
        return self.out(self.dropout(self.cells(x)[0]))


def toy() -> Echo:
    torch.manual_seed(3)
    return Echo()


def batches(start):
    step = start
    while True:
        bits = np.random.default_rng((5, step)).integers(0, 2, (8, 12, 2)).astype(np.float32)
        yield {"x": bits, "y": np.concatenate([np.zeros_like(bits[:, :1]), bits[:, :-1]], axis=1)}
        step += 1


def loss_function(model, batch):
    return torch.nn.functional.binary_cross_entropy_with_logits(model(batch["x"]), batch["y"])


def validate(model):
    batch = next(batches(10**6))
    right = (model(torch.as_tensor(batch["x"])) > 0) == (torch.as_tensor(batch["y"]) > 0.5)
    return {"score": right.float().mean().item()}


def plan(**changes) -> TrainingPlan:
    return TrainingPlan(
        **{"steps": 40, "learning_rate": 0.02, "device": "cpu", "progress": False, "validations": 4} | changes
    )


def test_it_learns_the_toy_and_leaves_a_checkpoint_with_a_card(tmp_path):
    result = train(
        toy(), loss_function, batches, plan(steps=200), validate=validate, folder=tmp_path, about=ABOUT
    )
    assert result.losses.shape == (200,)
    assert result.losses[-20:].mean() < 0.1 < result.losses[:5].mean()
    assert validate(result.model)["score"] == 1.0
    assert [entry["step"] for entry in result.validations] == [50, 100, 150, 200]
    assert result.checkpoint and result.checkpoint.exists()
    assert result.card["steps"] == 200 and result.card["minutes"] >= 0
    assert result.card["scores"]["band, validation"]["score"] == 1.0


def test_the_gradient_is_clipped_between_backward_and_step(monkeypatch):
    calls = []

    def noted(owner, name, read):
        original = getattr(owner, name)

        def wrapper(self, *args, **kwargs):
            result = original(self, *args, **kwargs)
            calls.append((name, read(self, args)))
            return result

        monkeypatch.setattr(owner, name, wrapper)

    model = toy()

    def gradient_norm(*_):
        return float(torch.cat([p.grad.ravel() for p in model.parameters() if p.grad is not None]).norm())

    noted(Accelerator, "backward", gradient_norm)
    noted(Accelerator, "clip_grad_norm_", gradient_norm)
    noted(torch.optim.AdamW, "step", gradient_norm)
    train(model, loss_function, batches, plan(steps=2, gradient_clip=0.01))
    assert [name for name, _ in calls] == ["backward", "clip_grad_norm_", "step"] * 2
    assert calls[0][1] > 0.02
    assert calls[1][1] == pytest.approx(0.01, rel=1e-3)
    assert calls[2][1] == pytest.approx(0.01, rel=1e-3)


def test_the_learning_rate_rises_then_falls_to_zero():
    slow = plan(learning_rate=1.0, warmup=0.2)
    rates = [slow.learning_rate_at(share) for share in (0, 0.1, 0.2, 0.6, 1.0)]
    assert rates == pytest.approx([1 / 25, 0.52, 1.0, 0.5, 0.0])
    assert plan(warmup=0, learning_rate=1.0).learning_rate_at(0) == 1.0


def test_the_same_seed_gives_the_same_losses_and_another_seed_others():
    first, again, other = (train(toy(), loss_function, batches, plan(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.losses, again.losses)
    # Same weights and batches; only dropout differs, and it does.
    assert not np.allclose(first.losses, other.losses, atol=1e-4)


def test_batches_are_the_same_with_and_without_a_background_thread():
    ahead = train(toy(), loss_function, batches, plan(prefetch=3))
    at_once = train(toy(), loss_function, batches, plan(prefetch=0))
    np.testing.assert_array_equal(ahead.losses, at_once.losses)


def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(tmp_path):
    script = [sys.executable, str(Path(__file__).resolve())]
    process = subprocess.Popen([*script, str(tmp_path), "0.01"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("batch 25"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    before = torch.load(tmp_path / "state.pt", weights_only=True)["run"]
    assert 0 < before["step"] < 40

    starts = []

    def noted(start):
        starts.append(start)
        return batches(start)

    resumed = train(toy(), loss_function, noted, plan(), validate=validate, folder=tmp_path, about=ABOUT)
    whole = train(
        toy(), loss_function, batches, plan(), validate=validate, folder=tmp_path / "whole", about=ABOUT
    )
    assert starts == [before["step"]]
    np.testing.assert_allclose(resumed.losses, whole.losses, atol=1e-6)
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert resumed.minutes * 60 > before["seconds"]
    assert resumed.card["minutes"] == round(resumed.minutes, 2)
    assert [v["step"] for v in resumed.validations] == [v["step"] for v in whole.validations]


def test_a_run_cut_off_in_a_validation_validates_again_at_the_same_step(tmp_path):
    def cut_off(model):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy(), loss_function, batches, plan(), validate=cut_off, folder=tmp_path, about=ABOUT)
    resumed = train(toy(), loss_function, batches, plan(), validate=validate, folder=tmp_path, about=ABOUT)
    whole = train(toy(), loss_function, batches, plan(), validate=validate)
    assert [v["step"] for v in resumed.validations] == [10, 20, 30, 40]
    np.testing.assert_allclose(resumed.losses, whole.losses, atol=1e-6)


def test_a_finished_run_is_only_loaded(tmp_path):
    first = train(toy(), loss_function, batches, plan(), validate=validate, folder=tmp_path, about=ABOUT)
    again = train(toy(), loss_function, batches, plan(), validate=validate, folder=tmp_path, about=ABOUT)
    assert again.steps == first.steps == 40
    for ours, theirs in zip(again.model.parameters(), first.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_it_stops_early_and_keeps_the_best(tmp_path):
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])
    result = train(
        toy(),
        loss_function,
        batches,
        plan(steps=60, validations=6, patience=2),
        validate=lambda model: {"score": next(scores)},
        folder=tmp_path,
        about=ABOUT,
    )
    assert result.steps == 40
    assert result.card["best_step"] == 20
    assert result.card["scores"]["band, validation"]["score"] == 0.5


def test_a_score_that_is_no_number_is_never_the_best():
    scores = iter([float("nan"), 0.2, float("nan"), 0.1])
    result = train(toy(), loss_function, batches, plan(), validate=lambda model: {"score": next(scores)})
    assert result.card["best_step"] == 20


def test_a_budget_in_minutes_ends_on_time_with_a_validation():
    began = time.monotonic()
    result = train(
        toy(), loss_function, batches, plan(steps=None, minutes=0.03, validations=2), validate=validate
    )
    assert 1.8 <= time.monotonic() - began < 6
    assert result.validations[-1]["step"] == result.steps == len(result.losses) > 5
    assert result.minutes == pytest.approx(0.03, abs=0.02)


def test_validation_sees_an_average_of_the_weights():
    seen = {}
    model = toy()

    def look(average):
        assert not average.training
        seen["average"], seen["last"] = average.out.bias.clone(), model.out.bias.detach().clone()
        return {"score": 1.0}

    result = train(model, loss_function, batches, plan(steps=3, validations=1), validate=look)
    assert not torch.allclose(seen["average"], seen["last"], atol=1e-6)
    torch.testing.assert_close(result.model.out.bias.detach(), seen["average"])


def test_the_average_moves_by_its_decay_which_starts_low():
    model = torch.nn.BatchNorm1d(2)
    average = WeightAverage(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.num_batches_tracked.fill_(7)
    average.update(model, step=1)  # keeps (1 + 1) / (10 + 1)
    torch.testing.assert_close(average.model.weight, torch.full((2,), 3 - 2 * 2 / 11), check_stride=False)
    average.update(model, step=1000)  # keeps 0.5
    torch.testing.assert_close(average.model.weight, torch.full((2,), 3 - 2 / 11))
    assert average.model.num_batches_tracked == 7


def test_bf16_trains_and_validates_in_float32():
    def exact(model):
        assert model(torch.zeros(1, 2, 2)).dtype == torch.float32
        return validate(model)

    result = train(toy(), loss_function, batches, plan(mixed_precision="bf16"), validate=exact)
    assert result.losses[-5:].mean() < result.losses[:5].mean()
    assert next(result.model.parameters()).dtype == torch.float32


def test_a_loss_that_is_no_number_stops_with_a_sentence():
    with pytest.raises(InputError, match="no longer a number near step 1"):
        train(toy(), lambda model, batch: loss_function(model, batch) * float("nan"), batches, plan())


def test_a_folder_of_another_run_is_refused(tmp_path):
    train(toy(), loss_function, batches, plan(steps=2), folder=tmp_path, about=ABOUT)
    with pytest.raises(InputError, match="seed 0, not 7"):
        train(toy(), loss_function, batches, plan(steps=2, seed=7), folder=tmp_path, about=ABOUT)


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 cut short"])
def test_a_damaged_state_is_refused(tmp_path, content):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(InputError, match="damaged or not of this course"):
        train(toy(), loss_function, batches, plan(), folder=tmp_path, about=ABOUT)


def test_a_folder_that_cannot_be_made_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        train(toy(), loss_function, batches, plan(), folder=tmp_path / "file" / "run", about=ABOUT)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": None}, "either steps or minutes"),
        ({"minutes": 1.0}, "either steps or minutes"),
        ({"steps": 0}, "above zero"),
        ({"warmup": 1.0}, "share of the budget"),
        ({"validations": 0}, "at least once"),
        ({"mixed_precision": "fp8"}, "no mixed precision 'fp8'"),
        ({"device": "abacus"}, "no device 'abacus'"),
    ],
)
def test_an_impossible_plan_is_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        train(toy(), loss_function, batches, plan(**changes))


def test_an_error_in_the_stream_of_batches_reaches_the_caller():
    def broken(start):
        yield next(batches(start))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(toy(), loss_function, broken, plan())
    with pytest.raises(ValueError, match="must be endless"):
        train(toy(), loss_function, lambda start: iter([next(batches(0))]), plan())


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    script = str(Path(__file__).resolve())
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ECHO_DROPOUT": "0"}
    subprocess.run([*launch, script, str(tmp_path / "two"), "0"], env=environment, check=True, timeout=240)
    subprocess.run(
        [sys.executable, script, str(tmp_path / "one"), "0"], env=environment, check=True, timeout=240
    )
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("one", "two"))
    np.testing.assert_allclose(two["run"]["losses"], one["run"]["losses"], atol=1e-4)
    for name, weights in one["average"].items():
        torch.testing.assert_close(two["average"][name], weights, atol=1e-3, rtol=1e-3)


def main(folder: str, pause: str) -> None:
    """Train in a process of its own, slowly enough to be killed."""

    def told(start):
        for step, batch in enumerate(batches(start), start):
            print("batch", step, flush=True)
            time.sleep(float(pause))
            yield batch

    quick = plan(save_every_seconds=0.02, prefetch=0)
    train(toy(), loss_function, told, quick, validate=validate, folder=folder, about=ABOUT)


if __name__ == "__main__":
    main(*sys.argv[1:])
