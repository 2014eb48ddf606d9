"""One training loop for every system of the course.

It runs on a CPU, on one GPU, and on several with ``accelerate launch``; in bf16 where asked. The learning rate
rises for a while and falls to zero over the planned budget (steps, or minutes by the clock). An average of the
weights is validated and kept. A run with a folder survives a kill: start it again and it goes on.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from mircourse.errors import InputError
from mircourse.training.cards import CardFields
from mircourse.training.plan import TrainingPlan
from mircourse.training.prefetch import prefetched
from mircourse.training.run import Run, TrainingResult

__all__ = ["Batch", "TrainingPlan", "TrainingResult", "seed_step", "train"]

Batch = Mapping[str, Any]


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
    run = Run(
        model, plan, accelerator, Path(folder) if folder else None, about or CardFields("unnamed", "unnamed")
    )
    state = run.state
    if not state.step:
        run.save()  # a folder that cannot be written should say so now, not in a minute
    stream = prefetched(batches(state.step), plan.prefetch)
    try:
        while True:
            progress = run.progress()
            if validate and run.validation_is_due(progress):
                run.validation(validate)
                progress = run.progress()
            elif run.save_is_due():
                run.save()
            if progress >= 1 or run.out_of_patience():
                break

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
            run.average.update(run.module, state.step)
            run.note(loss)
        if run.validated_step != state.step:
            run.validation(validate)
        return run.finish()
    finally:
        stream.close()
        run.bar.close()


def seed_step(seed: int, step: int, process: int = 0) -> None:
    """Seed torch (dropout, noise) for one step of one process."""
    number = int(np.random.SeedSequence((seed, step, process)).generate_state(1)[0])
    # torch.manual_seed would, where no GPU has been used, queue a call for it at every step and never empty the queue.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(number)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(number)


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
