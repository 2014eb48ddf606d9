"""The card of a checkpoint: what it is, what it learned from, how well it does and how to make it again.

A card is a plain dictionary, kept as JSON beside the weights. Scores on the synthetic band and scores on
recordings stand under different names and are never mixed.
"""

import datetime
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CardFields:
    """What only the caller of the training loop knows about a checkpoint.

    Parameters
    ----------
    system, size : str
        For example ``"piano"``, ``"mini"``.
    data : str
        What the model is trained on, in one or two sentences.
    command : str
        The command that trains it again.
    licences : tuple of str
        Instruments and scores heard in training, with their licences.
    validated_on : str
        Name under which the validation scores of the loop stand in the card.
    settings : mapping
        What is needed to build the model and use its output: frame rate, thresholds, options. Plain JSON values.
    """

    system: str
    size: str
    data: str = ""
    command: str = ""
    licences: tuple[str, ...] = ()
    validated_on: str = "band, validation"
    settings: Mapping[str, Any] = field(default_factory=dict)


def machine(device: str = "cpu") -> dict[str, Any]:
    """Describe the computer: processor, cores, accelerator and versions; no names of hosts, users or folders.

    Parameters
    ----------
    device : str
        What computed: ``"cpu"``, ``"cuda"``, ``"mps"``; an idle accelerator is not named.

    Returns
    -------
    dict
    """
    import torch

    description: dict[str, Any] = {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device == "cuda":
        description["accelerator"] = torch.cuda.get_device_name()
    elif device != "cpu":
        description["accelerator"] = device
    return description


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def make_card(
    about: CardFields,
    *,
    parameters: int,
    seed: int,
    steps: int,
    minutes: float,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    device: str = "cpu",
    **more: Any,
) -> dict[str, Any]:
    """Put a card together.

    Parameters
    ----------
    about : CardFields
    parameters : int
        Trainable parameters.
    seed, steps : int
    minutes : float
        Minutes of training by the clock, validations included.
    scores : mapping of mapping, optional
        {data set: {metric: value}}.
    device : str
        What computed.
    **more
        Further plain JSON values.

    Returns
    -------
    dict
        Ready for JSON.
    """
    return {
        "system": about.system,
        "size": about.size,
        "parameters": int(parameters),
        "data": about.data,
        "seed": int(seed),
        "steps": int(steps),
        "minutes": round(float(minutes), 2),
        "machine": machine(device),
        "date": datetime.date.today().isoformat(),
        "scores": {
            data: {metric: round(float(value), 5) for metric, value in values.items()}
            for data, values in (scores or {}).items()
        },
        "command": about.command,
        "licences": list(about.licences),
        "settings": dict(about.settings),
        **more,
    }


def card_markdown(card: Mapping[str, Any]) -> str:
    """Render a card as a Markdown section: facts as a list, scores as a table with one row a data set."""
    computer = card.get("machine", {})
    names = ("processor", "accelerator")
    hardware = ", ".join(str(computer[name]) for name in names if computer.get(name))
    lines = [
        f"### {card['system']} · {card['size']}",
        "",
        f"- parameters: {card['parameters']:,}",
        f"- trained on: {card.get('data') or 'not stated'}",
        f"- training: {card['steps']:,} steps, {card['minutes']:.1f} minutes, seed {card['seed']}, {card.get('date')}",
        f"- machine: {hardware or 'not stated'}, {computer.get('cores')} cores, torch {computer.get('torch')}",
    ]
    if card.get("command"):
        lines.append(f"- made again with: `{card['command']}`")
    lines += [f"- licence: {licence}" for licence in card.get("licences", [])]
    scores = card.get("scores", {})
    if scores:
        metrics = list(dict.fromkeys(metric for values in scores.values() for metric in values))
        lines += ["", "| data | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
        for data, values in scores.items():
            cells = (f"{values[metric]:.3f}" if metric in values else "–" for metric in metrics)
            lines.append(f"| {data} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
