"""Checkpoints: weights in safetensors, and a card in JSON with the same stem beside them.

Matrices are stored in half precision; vectors (biases, batch-norm statistics) keep single precision, since
they weigh nothing and a small variance would vanish in half precision. What is loaded is float32 again.
"""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mircourse.errors import InputError
from mircourse.training.atomic import write_atomically

if TYPE_CHECKING:
    import torch

FORMAT = "mircourse checkpoint"
FORMAT_VERSION = 1


def save_checkpoint(
    path: str | Path,
    model: "torch.nn.Module | Mapping[str, torch.Tensor]",
    card: Mapping[str, Any],
    *,
    dtype: str = "float16",
) -> Path:
    """Write weights and card.

    Parameters
    ----------
    path : str or pathlib.Path
        Ends in ``.safetensors``; the card goes to the same stem with ``.json``.
    model : torch.nn.Module or mapping
        A model or its state dict.
    card : mapping
        From `mircourse.training.cards.make_card`.
    dtype : {'float16', 'bfloat16', 'float32'}
        Of the stored matrices. One that half precision cannot hold stays in float32.

    Returns
    -------
    pathlib.Path
        Of the weights.

    Raises
    ------
    InputError
        If the name or the folder cannot be used.
    """
    import torch
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"A checkpoint's name ends in .safetensors, not as in {path.name}; rename it.")
    weights: Mapping[str, torch.Tensor] = model.state_dict() if isinstance(model, torch.nn.Module) else model
    stored = {name: _stored(tensor, getattr(torch, dtype)) for name, tensor in weights.items()}
    essentials = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "system": str(card["system"]),
        "size": str(card["size"]),
    }
    # The card first: a kill in between must not leave weights that nothing describes.
    write_card(path, card)
    write_atomically(path, save(stored, metadata=essentials))
    return path


def _stored(tensor: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    # A copy of its own: on a GPU the weights of an LSTM are views of one block, which safetensors refuses.
    tensor = tensor.detach().cpu().contiguous().clone()
    if not tensor.is_floating_point():
        return tensor
    if tensor.ndim < 2:
        return tensor.float()
    smaller = tensor.to(dtype)
    return smaller if bool(smaller.isfinite().all()) else tensor.float()


def write_card(path: str | Path, card: Mapping[str, Any]) -> Path:
    """Write (or replace) the card of the checkpoint at `path`; return the card's own path."""
    card_path = Path(path).with_suffix(".json")
    write_atomically(card_path, (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    return card_path


def add_scores(path: str | Path, data: str, scores: Mapping[str, float]) -> dict[str, Any]:
    """Put scores on one data set into a checkpoint's card.

    Parameters
    ----------
    path : str or pathlib.Path
        The checkpoint.
    data : str
        Says whether this is the band or recordings: ``"band, test"``, ``"real, Disklavier"``.
    scores : mapping
        {metric: value}; replaces earlier scores under the same name.

    Returns
    -------
    dict
        The card as written.
    """
    card = load_card(path)
    card["scores"] = {
        **card.get("scores", {}),
        data: {name: round(float(value), 5) for name, value in scores.items()},
    }
    write_card(path, card)
    return card


def load_card(path: str | Path) -> dict[str, Any]:
    """Read the card beside a checkpoint.

    Raises
    ------
    InputError
        If it is missing or not a card.
    """
    card_path = Path(path).with_suffix(".json")
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"The checkpoint {Path(path).name} has no card {card_path.name} beside it; copy both files together."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"The card {card_path} cannot be read as JSON; copy the checkpoint and its card again."
        ) from error
    if not isinstance(card, dict) or "system" not in card or "size" not in card:
        raise InputError(
            f"{card_path} is not the card of a checkpoint; copy the checkpoint and its card again."
        )
    return card


def load_checkpoint(
    path: str | Path, *, system: str | None = None, size: str | None = None
) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
    """Read weights and card.

    Parameters
    ----------
    path : str or pathlib.Path
    system, size : str, optional
        What the caller expects.

    Returns
    -------
    state : dict of torch.Tensor
        State dict on the CPU, floating-point tensors in float32.
    card : dict

    Raises
    ------
    InputError
        If the file is missing, damaged, foreign, or of another system or size.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"There is no checkpoint file {path}; give the name of a shipped one or the path of your own."
        )
    try:
        with safe_open(path, framework="pt") as file:
            essentials = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is damaged or not a safetensors file ({error}); copy it again or train it again."
        ) from error
    if essentials.get("format") != FORMAT:
        raise InputError(
            f"{path} was not written by this course; give a checkpoint made with `mircourse train`."
        )
    if essentials.get("format_version") != str(FORMAT_VERSION):
        raise InputError(
            f"{path} has checkpoint format {essentials.get('format_version')}, this version reads format"
            f" {FORMAT_VERSION}; update mircourse or train the checkpoint again."
        )
    for name, found, expected in (
        ("system", essentials.get("system"), system),
        ("size", essentials.get("size"), size),
    ):
        if expected is not None and found != expected:
            raise InputError(
                f"{path} is a checkpoint of {name} '{found}', not '{expected}'; choose one of {name} '{expected}'."
            )
    card = load_card(path)
    if (card["system"], card["size"]) != (essentials.get("system"), essentials.get("size")):
        raise InputError(
            f"The card beside {path} belongs to another checkpoint"
            f" ({card['system']}, {card['size']}); copy the checkpoint and its card again."
        )
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise InputError(
            f"{path} holds weights that are not numbers; use another checkpoint or train it again."
        )
    return state, card


def load_weights(
    model: "torch.nn.Module", path: str | Path, *, system: str | None = None, size: str | None = None
) -> dict[str, Any]:
    """Put a checkpoint's weights into a model that was built for it.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    InputError
        As `load_checkpoint`; also if the weights do not fit the model.
    """
    state, card = load_checkpoint(path, system=system, size=size)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"The weights in {path} do not fit {type(model).__name__}; build the model with the settings in its card"
            f" (system '{card['system']}', size '{card['size']}')."
        ) from error
    return card


def packaged_checkpoints() -> dict[str, Path]:
    """List the checkpoints that come with the package: {name: path}, sorted by name."""
    folder = Path(str(resources.files("mircourse"))) / "checkpoints"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Find a checkpoint by the name of a shipped one, by path, or by the folder of a training run.

    Raises
    ------
    InputError
        If there is none; the message lists the shipped ones.
    """
    shipped = packaged_checkpoints()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.is_dir() and (path / "best.safetensors").is_file():
        return path / "best.safetensors"
    if path.is_file():
        return path
    names = ", ".join(shipped) or "none yet"
    raise InputError(
        f"There is no checkpoint {name_or_path}: neither a file, nor a finished run's folder, nor a shipped one"
        f" ({names}); give one of these."
    )
