"""How the piano transcriber is trained: segments, loss, validation, and the recipe of each size."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mircourse.datasets.piano import Item, instruments_heard, items, segments
from mircourse.errors import InputError
from mircourse.piano.decoding import decode, decode_frames
from mircourse.piano.evaluation import evaluate, mean_metrics
from mircourse.piano.loss import transcription_loss
from mircourse.piano.targets import frame_weights, rolls
from mircourse.piano.transcribe import read_heads
from mircourse.piano.transcriber import HOP_LENGTH, SAMPLE_RATE, Transcriber
from mircourse.training.cards import CardFields
from mircourse.training.loop import TrainingPlan, TrainingResult, train


@dataclass(frozen=True)
class Recipe:
    """What differs between the sizes.

    Attributes
    ----------
    batch_size, frames : int
        Segments a step and frames a segment.
    learning_rate, weight_decay : float
    mixed_precision : {"no", "bf16"}
        bf16 halves the time of wide convolutions on processors that know it, and helps little elsewhere.
    weighted_frames : bool
        Weigh the frame loss as in 2018, or not at all, as in 2019.
    """

    batch_size: int
    frames: int
    learning_rate: float
    weight_decay: float
    mixed_precision: str
    weighted_frames: bool


RECIPES = {
    "harmonic": Recipe(4, 125, 3e-3, 1e-2, "bf16", False),
    "frames-harmonic": Recipe(4, 125, 3e-3, 1e-2, "bf16", False),
    "mini": Recipe(4, 64, 1.5e-3, 1e-3, "no", True),
    "frames-mini": Recipe(4, 64, 1.5e-3, 1e-3, "no", True),
    "paper": Recipe(8, 640, 6e-4, 0.0, "bf16", True),
}


def batches(
    train_items: list[Item], *, batch_size: int, frames: int, seed: int, weighted_frames: bool = True
) -> Callable[[int], Iterator[dict[str, np.ndarray]]]:
    """Make the stream of training batches.

    Parameters
    ----------
    train_items : list of Item
    batch_size, frames : int
    seed : int
    weighted_frames : bool
        Add the weights of the frame loss.

    Returns
    -------
    callable
        ``batches(start)`` yields dictionaries: audio (batch, samples) float32 and the rolls onset, frame, offset,
        velocity, shift and, where asked for, frame_weights (batch, frames, 88) float32.
    """
    samples = (frames - 1) * HOP_LENGTH  # centred frames: one more than there are hops

    def stream(start: int) -> Iterator[dict[str, np.ndarray]]:
        drawn = segments(train_items, batch_size=batch_size, seconds=samples / SAMPLE_RATE, seed=seed, start_step=start)
        for batch in drawn:
            targets = [rolls(notes, frames) for _, notes in batch]
            stacked = {name: np.stack([target[name] for target in targets]) for name in targets[0]}
            if weighted_frames:
                stacked["frame_weights"] = np.stack([frame_weights(t["onset"], t["frame"]) for t in targets])
            stacked["audio"] = np.stack([audio for audio, _ in batch])
            yield stacked

    return stream


def loss_function(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Sum of the loss terms of the heads the model has."""
    terms = transcription_loss(model(batch["audio"]), dict(batch))
    return torch.stack(list(terms.values())).sum()


def validator(
    chosen: list[Item], *, seconds: float = 30.0
) -> Callable[[torch.nn.Module], dict[str, float]]:
    """Score a model on the first seconds of some pieces.

    A model with an onset head is read through the onset gate at 0.5; a frame-only one as runs of frames above
    the best of several thresholds, which is also returned (``frame_threshold``).
    """
    excerpts = []
    for item in chosen:
        notes = item.notes()
        notes = notes[notes[:, 0] < seconds - 0.1]  # the last are hardly heard
        notes[:, 1] = np.minimum(notes[:, 1], seconds)  # what the excerpt does not hold nobody can hear
        excerpts.append((item.audio(0.0, seconds), notes))

    def validate(model: torch.nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        heads = []
        for audio, _ in excerpts:
            logits = model(torch.from_numpy(audio)[None].to(device))
            heads.append({name: value[0].cpu().numpy() for name, value in read_heads(logits).items()})
        references = [notes for _, notes in excerpts]

        def score(found: list[np.ndarray]) -> dict[str, float]:
            found = [notes[notes[:, 0] < seconds - 0.05] for notes in found]
            return mean_metrics([evaluate(r, e) for r, e in zip(references, found, strict=True)])

        if "onset" in heads[0]:
            return score([decode(h["onset"], h["frame"], h.get("velocity"), h.get("shift")) for h in heads])
        best: dict[str, float] = {"note_f1": -1.0}
        for threshold in np.arange(0.15, 0.9, 0.05):
            scores = score([decode_frames(h["frame"], threshold=float(threshold)) for h in heads])
            if scores["note_f1"] > best["note_f1"]:
                best = {**scores, "frame_threshold": float(threshold)}
        return best

    return validate


def train_piano(
    size: str = "mini",
    *,
    minutes: float | None = None,
    steps: int | None = None,
    data_seed: int = 0,
    seed: int = 0,
    device: str = "auto",
    folder: str | Path | None = None,
    validations: int = 8,
    progress: bool = True,
    **changes: Any,
) -> TrainingResult:
    """Train a piano transcriber on the rendered band.

    Parameters
    ----------
    size : {"harmonic", "frames-harmonic", "mini", "frames-mini", "paper"}
    minutes, steps : float, int
        The budget: one of the two.
    data_seed : int
        Seed the band was rendered with.
    seed : int
        Of weights and segments.
    device : {"auto", "cpu", "cuda", "mps"}
    folder : path, optional
        Of the run; a run that was killed goes on there.
    validations : int
    progress : bool
    **changes
        Fields of `Recipe` to change.

    Returns
    -------
    TrainingResult
    """
    from dataclasses import replace

    if size not in RECIPES:
        raise InputError(f"There is no piano model of size '{size}'; choose one of {', '.join(RECIPES)}.")
    recipe = replace(RECIPES[size], **changes)
    train_items = items("train", seed=data_seed)
    torch.manual_seed(seed)
    model = Transcriber(size)
    budget = f"--minutes {minutes:g}" if minutes else f"--steps {steps}"
    about = CardFields(
        system="piano",
        size=size,
        data=f"the piano band, {len(train_items)} pieces of two minutes (seed {data_seed}); no recordings of music",
        command=f"mircourse train piano --size {size} {budget} --seed {seed}",
        licences=instruments_heard(),
    )
    plan = TrainingPlan(
        steps=steps, minutes=minutes, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay,
        mixed_precision=recipe.mixed_precision, seed=seed, device=device, validations=validations,
        score_key="note_f1", progress=progress,
    )  # fmt: skip
    stream = batches(
        train_items,
        batch_size=recipe.batch_size,
        frames=recipe.frames,
        seed=seed,
        weighted_frames=recipe.weighted_frames,
    )
    validate = validator(items("validation", seed=data_seed)[:12])
    return train(model, loss_function, stream, plan, validate=validate, folder=folder, about=about)
