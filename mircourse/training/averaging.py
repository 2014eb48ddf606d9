"""A moving average of the weights: steadier than the weights of any one step.

Source: B. Polyak and A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992; in the
exponential form used by most audio models of today.
"""

import copy

import torch


class WeightAverage:
    """An exponential moving average of a model's weights and floating-point buffers.

    Parameters
    ----------
    model : torch.nn.Module
        Copied; the copy stands in `.model`, in evaluation mode, and is never trained.
    decay : float
        Share of the old average kept at a step. The first steps keep less, (1 + n) / (10 + n), so that the
        random initial weights are soon forgotten.
    """

    def __init__(self, model: torch.nn.Module, decay: float = 0.999):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        """Move towards `model` after optimiser step number `step` (counted from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        average, current = [], []
        # Batch-norm statistics move with the weights they belong to; counters are simply copied.
        for kept, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if kept.is_floating_point():
                average.append(kept)
                current.append(new)
            else:
                kept.copy_(new)
        torch._foreach_lerp_(average, current, 1 - decay)
