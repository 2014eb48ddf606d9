"""The state of a run: everything that must survive a kill.

One file, replaced in one move, so that weights, averages, optimiser and counters always belong together. It is
read with ``weights_only=True``: a state file from elsewhere can hold numbers, never code. Random generators are
not in it, because the loop seeds them anew at each step from the plan's seed and the step number.
"""

import io
import math
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mircourse.errors import InputError
from mircourse.training.atomic import write_atomically

if TYPE_CHECKING:
    import torch

STATE_VERSION = 1


@dataclass
class RunState:
    """Counters and history of a run.

    Parameters
    ----------
    step : int
        Optimiser steps done; also the position in the stream of batches.
    seconds : float
        Time spent so far, over all resumptions.
    best_score : float
    best_step : int
    since_best : int
        Validations since the best one.
    losses : list of float
        One a step.
    validations : list of dict
        ``step``, ``minutes`` and the scores, one a validation.
    """

    step: int = 0
    seconds: float = 0.0
    best_score: float = -math.inf
    best_step: int = 0
    since_best: int = 0
    losses: list[float] = field(default_factory=list)
    validations: list[dict[str, float]] = field(default_factory=list)


def save_state(path: Path, state: RunState, tensors: dict[str, Any], identity: dict[str, Any]) -> None:
    """Write the state of a run.

    Parameters
    ----------
    path : pathlib.Path
    state : RunState
    tensors : dict
        State dicts of model, average and optimiser.
    identity : dict
        What a resumed run must share with this one, for example the seed.
    """
    import torch

    content = {"version": STATE_VERSION, "identity": identity, "run": vars(state), **tensors}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load_state(
    path: Path, identity: dict[str, Any], device: "torch.device | str" = "cpu"
) -> tuple[RunState, dict[str, Any]] | None:
    """Read the state of a run, or return None where none has begun.

    Raises
    ------
    InputError
        If the file is damaged or foreign, or belongs to a run with another `identity`.
    """
    import torch

    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        version, found, run = content["version"], content["identity"], RunState(**content["run"])
    except (
        OSError,
        RuntimeError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            f"The training state {path} is damaged or not of this course;"
            " delete it to start anew, or choose another folder."
        ) from error
    if version != STATE_VERSION:
        raise InputError(f"The training state {path} is of another version; delete it to start anew.")
    for name, value in identity.items():
        if found.get(name) != value:
            raise InputError(
                f"The folder {path.parent} holds a run with {name} {found.get(name)}, not {value};"
                " choose another folder, or delete it to start anew."
            )
    return run, content
