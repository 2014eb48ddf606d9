"""How long and how fast to learn: the budget, the learning rate over it, and the rest of a run's numbers."""

import math
from dataclasses import dataclass

from mircourse.errors import InputError


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
            raise InputError(
                f"The warm-up is a share of the budget, 0 to below 1, not {self.warmup}; change it."
            )
        if self.mixed_precision not in ("no", "bf16"):
            raise InputError(f"There is no mixed precision '{self.mixed_precision}'; choose 'no' or 'bf16'.")
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
