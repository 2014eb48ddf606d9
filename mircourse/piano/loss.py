"""The losses of Onsets and Frames: two cross-entropies that pull together, and what later versions added.

Sources: Hawthorne et al., ISMIR 2018 (onset + weighted frame loss), ICLR 2019 (offset head); the constants are
the papers' own where they give one.
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

# Mean over 88 keys and all frames makes every term tiny, because nearly all cells are silent; sums over keys
# and means over frames keep the terms' proportions and give them a size that suits Adam's epsilon and clipping.
KEYS = 88


def weighted_frame_loss(logits: torch.Tensor, frame: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the frame head, each cell with its weight.

    Parameters
    ----------
    logits, frame, weights : torch.Tensor, shape (..., frames, 88)
        `weights` as `mircourse.piano.targets.frame_weights` gives them.

    Returns
    -------
    torch.Tensor
        Scalar: sum over keys, mean over frames.
    """
    return KEYS * (weights * binary_cross_entropy_with_logits(logits, frame, reduction="none")).mean()


def transcription_loss(
    logits: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The terms of the loss for the heads that a model has.

    Parameters
    ----------
    logits : dict of torch.Tensor, shape (batch, frames, 88)
        Any of onset, frame, offset, velocity, shift.
    targets : dict of torch.Tensor, shape (batch, frames, 88)
        onset, frame, offset, velocity, shift and, for the loss of 2018, frame_weights.

    Returns
    -------
    dict of torch.Tensor
        One scalar a head; their sum is what is minimised.
    """
    terms = {}
    for head in ("onset", "offset"):
        if head in logits:
            terms[head] = KEYS * binary_cross_entropy_with_logits(logits[head], targets[head])
    if "frame" in logits:
        weights = targets.get("frame_weights", torch.ones_like(targets["frame"]))
        terms["frame"] = weighted_frame_loss(logits["frame"], targets["frame"], weights)
    if "velocity" in logits:
        # Only where a note begins is there a velocity to be wrong about.
        error = (torch.sigmoid(logits["velocity"]) - targets["velocity"]) ** 2 * targets["onset"]
        terms["velocity"] = error.sum() / targets["onset"].sum().clamp(min=1)
    if "shift" in logits:
        late = (logits["shift"] - targets["shift"]).abs() * targets["onset"]
        terms["shift"] = late.sum() / targets["onset"].sum().clamp(min=1)
    return terms
