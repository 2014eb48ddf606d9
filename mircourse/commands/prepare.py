"""Render the embedded corpora: progress bar, parallel, resumable."""

import argparse
import time

from mircourse.commands.systems import SYSTEMS
from mircourse.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``mircourse prepare``."""
    parser.add_argument(
        "systems", nargs="*", type=_system, metavar="SYSTEM", help="which ones (default: all)"
    )
    parser.add_argument(
        "--hours", type=float, default=3.0, metavar="H", help="of training audio (default: 3)"
    )
    parser.add_argument("--jobs", type=int, metavar="J", help="processes (default: one a core)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="another seed is another band (default: 0)"
    )


def _system(name: str) -> str:
    if name not in SYSTEMS:
        raise argparse.ArgumentTypeError(f"there is no system '{name}'; choose from {', '.join(SYSTEMS)}")
    return name


def execute(arguments: argparse.Namespace) -> int:
    """Render what is missing; what is there is kept."""
    if not 0 < arguments.hours < float("inf"):
        raise InputError(
            f"The band needs some hours of audio, not {arguments.hours:g}; give --hours 3, for example."
        )
    if arguments.jobs is not None and arguments.jobs < 1:
        raise InputError(f"At least one process renders, not {arguments.jobs}; give --jobs 1 or more.")
    if arguments.seed < 0:
        raise InputError(f"A seed is 0 or more, not {arguments.seed}; give another --seed.")
    for name in arguments.systems or SYSTEMS:
        started = time.perf_counter()
        seconds, rendered = SYSTEMS[name].prepare(arguments.hours, arguments.jobs, arguments.seed)
        took = time.perf_counter() - started
        splits = ", ".join(f"{split} {length / 3600:.2f} h" for split, length in seconds.items())
        news = f"{rendered / 3600:.2f} h rendered in {took:.0f} s ({rendered / took:.0f} x real time)"
        print(f"{name}: {splits}; {news if rendered else 'all of it was there already'}")
    return 0
