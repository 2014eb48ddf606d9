"""Train a model from nothing, or go on with a run that was interrupted."""

import argparse
import os
from contextlib import suppress
from pathlib import Path

from mircourse.commands.output import prepare_folder
from mircourse.commands.systems import SYSTEMS
from mircourse.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``mircourse train``."""
    parser.add_argument("system", choices=SYSTEMS, help="what to learn")
    sizes = dict.fromkeys(size for system in SYSTEMS.values() for size in system.sizes)
    parser.add_argument("--size", default="mini", choices=sizes, help="of the network (default: mini)")
    parser.add_argument(
        "--data", default="band", choices=("band",), help="what to learn from (default: band)"
    )
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="by the clock (default: 10)")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of weights, order and dropout (default: 0)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="checkpoint (default: SYSTEM-SIZE.safetensors)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with an interrupted run of the same output"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Train; leave a checkpoint and its card, and until then a folder from which the run can go on."""
    system = SYSTEMS[arguments.system]
    output = arguments.output or Path(f"{arguments.system}-{arguments.size}.safetensors")
    if output.suffix != ".safetensors":
        raise InputError(
            f"A checkpoint's name ends in .safetensors, not as in {output.name}; change --output."
        )
    if not 0 < arguments.minutes < float("inf"):
        raise InputError(
            f"Training takes some minutes, not {arguments.minutes:g}; give --minutes 10, for example."
        )
    if arguments.seed < 0:
        raise InputError(f"A seed is 0 or more, not {arguments.seed}; give another --seed.")
    unfinished = output.with_suffix(".unfinished")
    is_first_process = os.environ.get("RANK", "0") == "0"  # `accelerate launch` starts one a GPU
    if is_first_process:
        _refuse_overwriting(output, unfinished, arguments.resume)
        prepare_folder(unfinished)
    try:
        result = system.train(
            size=arguments.size,
            minutes=arguments.minutes,
            device=arguments.device,
            seed=arguments.seed,
            folder=unfinished,
        )
    except InputError:
        with suppress(OSError):  # a run that could not even start leaves nothing behind
            unfinished.rmdir()
        raise
    if is_first_process:
        import shutil

        best, card = result.checkpoint or unfinished, output.with_suffix(".json")
        os.replace(best.with_suffix(".json"), card)
        os.replace(best, output)
        shutil.rmtree(unfinished)
        print(f"{output}  {card}  {result.steps} steps in {result.minutes:.1f} minutes")
        for data, scores in result.card.get("scores", {}).items():
            print(f"{data}: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return 0


def _refuse_overwriting(output: Path, unfinished: Path, resume: bool) -> None:
    if output.exists():
        raise InputError(f"{output} is there already; choose another --output, or move it away first.")
    if unfinished.is_dir() and any(unfinished.iterdir()) and not resume:
        raise InputError(
            f"{unfinished} holds an interrupted run; go on with --resume, or remove that folder to start anew."
        )
    if resume and not unfinished.is_dir():
        raise InputError(f"There is no interrupted run {unfinished}; leave out --resume to start one.")
