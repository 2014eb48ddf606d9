"""One training loop for every system of the course.

It runs on a CPU, on one GPU, and on several with ``accelerate launch``; in bf16 where asked. The learning rate
rises for a while and falls to zero over the planned budget (steps, or minutes by the clock). An average of the
weights is validated and kept. A run with a folder survives a kill: start it again and it goes on.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast, broadcast_object_list
from tqdm import tqdm

from mircourse.errors import InputError
from mircourse.training.averaging import WeightAverage
from mircourse.training.cards import CardFields, make_card
from mircourse.training.checkpoints import load_card, load_checkpoint, save_checkpoint, write_card
from mircourse.training.prefetch import prefetched
from mircourse.training.state import RunState, load_state, save_state

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to learn.

    Parameters
    ----------
    steps, minutes : int, float
        The budget: one of the two. Minutes are counted by the clock, validations included, over all resumptions.
    learning_rate : float
        The highest one.
    warmup : float
        Share of the budget in which the rate rises from 1/25 of the highest; then it falls to zero as a cosine.
    gradient_clip : float
        Largest norm of the gradient.
    weight_decay : float
        On matrices and kernels only (AdamW).
    average : float
        Decay of the moving average of the weights, a step.
    seed : int
        With the step number it seeds torch at every step, so that a resumed run draws what an
        uninterrupted one draws. Initial weights are the caller's: seed before building the model.
    validations : int
        Evenly over the budget; the last one falls on its end.
    patience : int, optional
        Stop after so many validations without a better score.
    score_key : str
        The score that is maximised.
    save_every_seconds : float
    device : {'auto', 'cpu', 'cuda', 'mps'}
    mixed_precision : {'no', 'bf16'}
    prefetch : int
        Batches made ahead in a background thread.
    progress : bool
        Show a progress bar on stderr.
    """

    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 1e-3
    warmup: float = 0.1
    gradient_clip: float = 3.0
    weight_decay: float = 0.0
    average: float = 0.999
    seed: int = 0
    validations: int = 10
    patience: int | None = None
    score_key: str = "score"
    save_every_seconds: float = 45.0
    device: str = "auto"
    mixed_precision: str = "no"
    prefetch: int = 2
    progress: bool = True

    def __post_init__(self):
        if (self.steps is None) == (self.minutes is None):
            raise InputError("A training plan needs a budget: give either steps or minutes.")
        if (self.steps or self.minutes or 0) <= 0:
            raise InputError("A training budget must be above zero; give more steps or minutes.")
        if not 0 <= self.warmup < 1:
            raise InputError(f"The warm-up is a share of the budget from 0 to below 1, not {self.warmup}; change it.")
        if self.validations < 1:
            raise InputError(f"A run validates at least once, not {self.validations} times; change it.")

    def progress_at(self, step: int, seconds: float) -> float:
        """Share of the budget that is spent, from 0 to 1 and a little over."""
        return step / self.steps if self.steps else seconds / (60 * (self.minutes or 1))

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate when a share `progress` of the budget is spent."""
        if progress < self.warmup:
            return self.learning_rate * (1 + 24 * progress / self.warmup) / 25
        fall = min(1.0, (progress - self.warmup) / (1 - self.warmup))
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * fall))


@dataclass
class TrainingResult:
    """What a run leaves.

    Parameters
    ----------
    model : torch.nn.Module
        The model handed in, in evaluation mode, with the best averaged weights.
    card : dict
    steps, minutes : int, float
    losses : numpy.ndarray
        Shape (steps,).
    validations : list of dict
        ``step``, ``minutes`` and the scores.
    checkpoint : pathlib.Path or None
        ``FOLDER/best.safetensors``.
    """

    model: torch.nn.Module
    card: dict[str, Any]
    steps: int
    minutes: float
    losses: np.ndarray
    validations: list[dict[str, float]] = field(default_factory=list)
    checkpoint: Path | None = None


def train(
    model: torch.nn.Module,
    loss_function: Callable[[torch.nn.Module, Batch], torch.Tensor],
    batches: Callable[[int], Iterator[Batch]],
    plan: TrainingPlan,
    *,
    validate: Callable[[torch.nn.Module], Mapping[str, float]] | None = None,
    folder: str | Path | None = None,
    about: CardFields | None = None,
) -> TrainingResult:
    """Train `model` within the budget of `plan`.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place.
    loss_function : callable
        ``loss_function(model, batch)`` calls the model and returns a scalar.
    batches : callable
        ``batches(start)`` returns an endless iterator over dictionaries of tensors or arrays, examples along
        their first axis, that begins with batch number `start`. What batch n holds must be a function of the
        seed and n, or a resumed run learns from something else than an uninterrupted one. Several processes
        share the examples of each batch between them.
    plan : TrainingPlan
    validate : callable, optional
        ``validate(model)`` returns scores; the model is the average, in evaluation mode and float32, on the
        device of training. Without it the last average is kept.
    folder : path, optional
        Keeps ``state.pt`` (to go on after a kill) and ``best.safetensors`` with its card ``best.json``. A folder
        that holds an unfinished run is taken up where it stood; a finished one is only loaded.
    about : CardFields, optional
        For the card.

    Returns
    -------
    TrainingResult

    Raises
    ------
    InputError
        If the folder cannot be used, the device is absent, or the loss is no longer a number.
    """
    accelerator = _accelerator(plan)
    run = _Run(model, plan, accelerator, Path(folder) if folder else None, about or CardFields("unnamed", "unnamed"))
    state = run.state
    stream = prefetched(batches(state.step), plan.prefetch)
    progress = run.progress()
    try:
        while progress < 1 and not run.out_of_patience():
            seed_step(plan.seed, state.step, accelerator.process_index)
            batch = _share_of(_next(stream, state.step), accelerator)
            for group in run.optimiser.param_groups:
                group["lr"] = plan.learning_rate_at(progress)

            run.model.train()
            loss = loss_function(run.model, batch)
            run.optimiser.zero_grad()
            accelerator.backward(loss)
            # Here, and nowhere later: a gradient clipped after the step has already done its harm.
            accelerator.clip_grad_norm_(run.model.parameters(), plan.gradient_clip)
            run.optimiser.step()

            state.step += 1
            run.average.update(accelerator.unwrap_model(run.model), state.step)
            run.note(loss)
            before, progress = progress, run.progress()
            if validate and _crosses(before, progress, plan.validations):
                run.validation(validate)
            if run.save_is_due():
                run.save()
            progress = run.progress()
        if state.step and run.validated_step != state.step:
            run.validation(validate)
        return run.finish()
    finally:
        stream.close()
        run.bar.close()


class _Run:
    """The parts of a run that must be kept together: weights, average, optimiser, clock, bar and files."""

    def __init__(
        self, model: torch.nn.Module, plan: TrainingPlan, accelerator: Accelerator, folder: Path | None, about: CardFields
    ):
        self.plan, self.accelerator, self.about = plan, accelerator, about
        self.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.identity = {"system": about.system, "size": about.size, "seed": plan.seed, "parameters": self.parameters}
        self.state_path = folder / "state.pt" if folder else None
        self.best_path = folder / "best.safetensors" if folder else None
        # The average is copied before accelerate wraps the model, and so stays free of mixed precision.
        self.average = WeightAverage(model, plan.average)
        self.average.model.to(accelerator.device)
        optimiser = torch.optim.AdamW(_parameter_groups(model, plan.weight_decay), lr=plan.learning_rate)
        self.model, self.optimiser = accelerator.prepare(model, optimiser)
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.card: dict[str, Any] = {}
        self.pending: list[torch.Tensor] = []
        self.state = self._taken_up() or RunState()
        self.validated_step = int(self.state.validations[-1]["step"]) if self.state.validations else 0
        self.started = self.saved = time.monotonic()
        self.seconds_before = self.state.seconds
        self.bar = self._progress_bar()

    def _taken_up(self) -> RunState | None:
        found = load_state(self.state_path, self.identity, "cpu") if self.state_path else None
        if found is None:
            return None
        state, tensors = found
        self.accelerator.unwrap_model(self.model).load_state_dict(tensors["model"])
        self.average.model.load_state_dict(tensors["average"])
        self.optimiser.load_state_dict(tensors["optimiser"])
        if self.best_path and self.best_path.exists():
            self.best_weights, self.card = load_checkpoint(self.best_path)
        self.accelerator.print(f"Going on at step {state.step}, after {state.seconds / 60:.1f} minutes.")
        return state

    def _progress_bar(self) -> tqdm:
        plan, by_steps = self.plan, self.plan.steps is not None
        return tqdm(
            total=plan.steps if by_steps else round(60 * (plan.minutes or 0)),
            initial=self.state.step if by_steps else int(self.state.seconds),
            unit="step" if by_steps else "s",
            bar_format=None if by_steps else "{l_bar}{bar}| {n:.0f}/{total:.0f} s [left {remaining}{postfix}]",
            # A log file is no place for ten updates a second.
            mininterval=0.5 if sys.stderr.isatty() else 20,
            disable=not (plan.progress and self.accelerator.is_main_process),
        )

    def progress(self) -> float:
        """Read the clock; every process gets the main one's answer, so that all stop at the same step."""
        seconds = self.seconds_before + time.monotonic() - self.started
        since_saved = time.monotonic() - self.saved
        if self.accelerator.num_processes > 1:
            reading = torch.tensor([seconds, since_saved], device=self.accelerator.device)
            seconds, since_saved = (float(value) for value in broadcast(reading))  # type: ignore[union-attr]
        self.state.seconds, self.since_saved = seconds, since_saved
        return self.plan.progress_at(self.state.step, seconds)

    def note(self, loss: torch.Tensor) -> None:
        """Remember a loss without waiting for the device, and move the bar."""
        self.pending.append(loss.detach().float().reshape(()))
        if len(self.pending) >= 10 or self.accelerator.device.type == "cpu":
            self.read_losses()
        done = self.state.step if self.plan.steps is not None else int(self.state.seconds)
        self.bar.update(max(0, min(done, self.bar.total or 0) - self.bar.n) if not self.bar.disable else 0)

    def read_losses(self) -> None:
        """Fetch the losses noted so far; stop where they are no longer numbers."""
        if not self.pending:
            return
        losses = torch.stack(self.pending)
        self.pending = []
        if self.accelerator.num_processes > 1:
            losses = self.accelerator.reduce(losses, "mean")
        values = losses.tolist()  # type: ignore[union-attr]
        if not all(map(math.isfinite, values)):
            raise InputError(
                f"The loss is no longer a number near step {self.state.step}; train with a lower learning rate"
                f" than {self.plan.learning_rate:g}, in another folder."
            )
        self.state.losses += values
        shown = {"loss": f"{np.mean(self.state.losses[-50:]):.4f}"}
        if self.state.validations:
            shown[self.plan.score_key] = f"{self.state.validations[-1].get(self.plan.score_key, math.nan):.4f}"
        self.bar.set_postfix(shown, refresh=False)

    def out_of_patience(self) -> bool:
        """Tell whether too many validations have passed without a better score."""
        return self.plan.patience is not None and self.state.since_best >= self.plan.patience

    def save_is_due(self) -> bool:
        """Tell whether the last save is long enough ago; the same answer in every process."""
        return self.state_path is not None and self.since_saved >= self.plan.save_every_seconds

    def validation(self, validate: Callable[[torch.nn.Module], Mapping[str, float]] | None) -> None:
        """Score the average; keep it if it is the best so far (always, where there is no `validate`)."""
        self.read_losses()
        state, scores = self.state, {}
        if validate:
            shared: list[dict[str, float] | None] = [None]
            if self.accelerator.is_main_process:
                with torch.no_grad():
                    shared = [{name: float(value) for name, value in validate(self.average.model.eval()).items()}]
            if self.accelerator.num_processes > 1:
                broadcast_object_list(shared)
            scores = shared[0] or {}
            if self.plan.score_key not in scores:
                raise ValueError(f"validate() returned {sorted(scores)}, which lacks the plan's {self.plan.score_key!r}.")
        self.progress()
        state.validations.append({"step": state.step, "minutes": state.seconds / 60, **scores})
        self.validated_step = state.step
        score = scores.get(self.plan.score_key, state.best_score)
        if score > state.best_score or not validate or not self.best_weights:
            state.best_score, state.best_step, state.since_best = score, state.step, 0
            self.keep_best(scores)
        else:
            state.since_best += 1
        self.save()

    def keep_best(self, scores: dict[str, float]) -> None:
        """Hold on to the averaged weights of now, on disk where the run has a folder."""
        self.best_weights = {name: tensor.cpu().clone() for name, tensor in self.average.model.state_dict().items()}
        self.card = make_card(
            self.about,
            parameters=self.parameters,
            seed=self.plan.seed,
            steps=self.state.step,
            minutes=self.state.seconds / 60,
            scores={self.about.validated_on: scores} if scores else {},
            best_step=self.state.step,
            batch_sharing_processes=self.accelerator.num_processes,
            mixed_precision=self.plan.mixed_precision,
        )
        if self.best_path and self.accelerator.is_main_process:
            save_checkpoint(self.best_path, self.best_weights, self.card)

    def save(self) -> None:
        """Write the state, so that a kill from now on costs only what follows."""
        self.read_losses()
        if self.state_path and self.accelerator.is_main_process:
            tensors = {
                "model": self.accelerator.unwrap_model(self.model).state_dict(),
                "average": self.average.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
            }
            save_state(self.state_path, self.state, tensors, self.identity)
        self.saved = time.monotonic()

    def finish(self) -> TrainingResult:
        """Put the best weights into the model and the run's totals into the card."""
        state = self.state
        model = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        if self.best_path and self.best_path.exists():
            self.accelerator.wait_for_everyone()
            # From the file, so that what is heard now is what the file will give later.
            self.best_weights, card = load_checkpoint(self.best_path)
            self.card = {**card, "steps": state.step, "minutes": round(state.seconds / 60, 2)}
            if self.accelerator.is_main_process and self.card != load_card(self.best_path):
                write_card(self.best_path, self.card)
        if self.best_weights:
            model.load_state_dict(self.best_weights)
        return TrainingResult(
            model=model.eval(),
            card=self.card,
            steps=state.step,
            minutes=state.seconds / 60,
            losses=np.asarray(state.losses),
            validations=state.validations,
            checkpoint=self.best_path,
        )


def seed_step(seed: int, step: int, process: int = 0) -> None:
    """Seed torch (dropout, noise) for one step of one process."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, process)).generate_state(1)[0]))


def _accelerator(plan: TrainingPlan) -> Accelerator:
    available = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if plan.device not in available:
        raise InputError(f"There is no device '{plan.device}'; choose one of {', '.join(available)}.")
    if not available[plan.device]:
        raise InputError(f"This machine has no usable '{plan.device}' device; choose 'cpu' or 'auto'.")
    if AcceleratorState._shared_state and not AcceleratorState().use_distributed:
        # A notebook trains several times, now on this device and now on that; accelerate knows only one.
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=plan.device == "cpu", mixed_precision=plan.mixed_precision)


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def _next(stream: Iterator[Batch], step: int) -> Batch:
    with contextlib.suppress(StopIteration):
        return next(stream)
    raise ValueError(f"batches() ended at step {step}; it must be endless.")


def _share_of(batch: Batch, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """Take this process's examples of a batch, on its device."""
    rank, processes = accelerator.process_index, accelerator.num_processes
    return {
        name: torch.as_tensor(values)[rank::processes].to(accelerator.device, non_blocking=True)
        for name, values in batch.items()
    }


def _crosses(before: float, after: float, parts: int) -> bool:
    """Tell whether one of `parts` equal parts of the budget ended between two readings."""
    return math.floor(after * parts + 1e-9) > math.floor(before * parts + 1e-9)
