"""A run of training: the parts that must be kept together, on disk and in memory."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list
from tqdm import tqdm

from mircourse.errors import InputError
from mircourse.training.averaging import WeightAverage
from mircourse.training.cards import CardFields, make_card
from mircourse.training.checkpoints import load_card, load_checkpoint, save_checkpoint, write_card
from mircourse.training.plan import TrainingPlan
from mircourse.training.state import RunState, load_state, save_state


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


class Run:
    """The parts of a run that must be kept together: weights, average, optimiser, clock, bar and files."""

    def __init__(
        self,
        model: torch.nn.Module,
        plan: TrainingPlan,
        accelerator: Accelerator,
        folder: Path | None,
        about: CardFields,
    ):
        self.plan, self.accelerator, self.about = plan, accelerator, about
        self.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.identity = {
            "system": about.system,
            "size": about.size,
            "seed": plan.seed,
            "parameters": self.parameters,
        }
        self.state_path = folder / "state.pt" if folder else None
        self.best_path = folder / "best.safetensors" if folder else None
        # The average is copied before accelerate wraps the model, and so stays free of mixed precision.
        self.average = WeightAverage(model, plan.average)
        self.average.model.to(accelerator.device)
        optimiser = torch.optim.AdamW(_parameter_groups(model, plan.weight_decay), lr=plan.learning_rate)
        # `module` is the model itself; `model` is what accelerate makes of it for several processes and bf16.
        self.module = model
        self.model, self.optimiser = accelerator.prepare(model, optimiser)
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.card: dict[str, Any] = {}
        self.pending: list[torch.Tensor] = []
        self.state = self._taken_up() or RunState()
        self.started = self.saved = time.monotonic()
        self.since_saved = 0.0
        self.seconds_before = self.state.seconds
        self.bar = self._progress_bar()

    def _taken_up(self) -> RunState | None:
        found = load_state(self.state_path, self.identity, "cpu") if self.state_path else None
        if found is None:
            return None
        state, tensors = found
        self.module.load_state_dict(tensors["model"])
        self.average.model.load_state_dict(tensors["average"])
        self.optimiser.load_state_dict(tensors["optimiser"])
        if self.best_path and self.best_path.exists():
            self.best_weights, self.card = load_checkpoint(self.best_path)
        if state.step:
            self.accelerator.print(f"Going on at step {state.step}, after {state.seconds / 60:.1f} minutes.")
        return state

    def _progress_bar(self) -> tqdm:
        plan, by_steps = self.plan, self.plan.steps is not None
        return tqdm(
            total=plan.steps if by_steps else round(60 * (plan.minutes or 0)),
            initial=self.state.step if by_steps else int(self.state.seconds),
            unit="step" if by_steps else "s",
            bar_format=None
            if by_steps
            else "{l_bar}{bar}| {n:.0f}/{total:.0f} s [left {remaining}{postfix}]",
            # A log file is no place for two updates a second.
            mininterval=0.5 if sys.stderr.isatty() or "ipykernel" in sys.modules else 20,
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
        self.bar.update(max(0, min(done, self.bar.total) - self.bar.n))

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
            shown[self.plan.score_key] = (
                f"{self.state.validations[-1].get(self.plan.score_key, math.nan):.4f}"
            )
        self.bar.set_postfix(shown, refresh=False)

    @property
    def validated_step(self) -> int:
        """Step of the last validation; 0 before the first."""
        return int(self.state.validations[-1]["step"]) if self.state.validations else 0

    def validation_is_due(self, progress: float) -> bool:
        """Tell whether one of the plan's equal parts of the budget has ended since the last validation."""
        minutes = self.state.validations[-1]["minutes"] if self.state.validations else 0.0
        validated = self.plan.progress_at(self.validated_step, 60 * minutes)
        parts_validated, parts = (
            math.floor(share * self.plan.validations + 1e-9) for share in (validated, progress)
        )
        return parts > parts_validated and self.validated_step < self.state.step

    def out_of_patience(self) -> bool:
        """Tell whether too many validations have passed without a better score."""
        return self.plan.patience is not None and self.state.since_best >= self.plan.patience

    def save_is_due(self) -> bool:
        """Tell whether the last save is long enough ago; the same answer in every process."""
        return self.state_path is not None and self.since_saved >= self.plan.save_every_seconds

    def validation(self, validate: Callable[[torch.nn.Module], Mapping[str, float]] | None) -> None:
        """Score the average; keep it if it is the best so far (always, where there is no `validate`)."""
        self.save()  # a long validation, killed, must not cost what was learned before it
        state, scores = self.state, {}
        if validate:
            shared: list[dict[str, float] | None] = [None]
            if self.accelerator.is_main_process:
                with torch.no_grad():
                    shared = [
                        {name: float(value) for name, value in validate(self.average.model.eval()).items()}
                    ]
            if self.accelerator.num_processes > 1:
                broadcast_object_list(shared)
            scores = shared[0] or {}
            if self.plan.score_key not in scores:
                raise ValueError(f"validate() returned {sorted(scores)} without {self.plan.score_key!r}.")
        self.progress()
        state.validations.append({"step": state.step, "minutes": state.seconds / 60, **scores})
        score = scores.get(self.plan.score_key, state.best_score)
        score = -math.inf if math.isnan(score) else score
        if score > state.best_score or not validate or not self.best_weights:
            state.best_score, state.best_step, state.since_best = score, state.step, 0
            self.keep_best(scores)
        else:
            state.since_best += 1
        self.save()

    def keep_best(self, scores: dict[str, float]) -> None:
        """Hold on to the averaged weights of now, on disk where the run has a folder."""
        self.best_weights = {
            name: tensor.cpu().clone() for name, tensor in self.average.model.state_dict().items()
        }
        self.card = make_card(
            self.about,
            parameters=self.parameters,
            seed=self.plan.seed,
            steps=self.state.step,
            minutes=self.state.seconds / 60,
            scores={self.about.validated_on: scores} if scores else {},
            device=self.accelerator.device.type,
            best_step=self.state.step,
            processes=self.accelerator.num_processes,
            mixed_precision=self.plan.mixed_precision,
        )
        if self.best_path and self.accelerator.is_main_process:
            save_checkpoint(self.best_path, self.best_weights, self.card)

    def save(self) -> None:
        """Write the state, so that a kill from now on costs only what follows."""
        self.read_losses()
        if self.state_path and self.accelerator.is_main_process:
            tensors = {
                "model": self.module.state_dict(),
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


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
