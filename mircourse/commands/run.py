"""Transcribe recordings: audio in, plain text (and MIDI for piano) out."""

import argparse
import sys
import time
from pathlib import Path

from mircourse.commands.output import prepare_folder
from mircourse.commands.systems import SYSTEMS, System, add_model_arguments
from mircourse.errors import InputError

_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s [{elapsed}, left {remaining}]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``mircourse run``."""
    parser.add_argument("system", choices=SYSTEMS, help="what to listen for")
    parser.add_argument("audio", nargs="+", type=Path, metavar="AUDIO", help="WAV, FLAC, OGG or MP3 files")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("."),
        metavar="DIR",
        help="output folder (default: the current one)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that stand beside the recordings"
    )
    add_model_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Transcribe every recording that can be; name the others, each with its sentence.

    Returns
    -------
    int
        0, or 2 if a recording could not be read.
    """
    from tqdm import tqdm

    system = SYSTEMS[arguments.system]
    recordings = _distinct(arguments.audio)
    _refuse_collisions(recordings, system, arguments.output)
    if not arguments.overwrite:
        _refuse_overwriting(recordings, system, arguments.output)
    lengths, refused = _lengths(recordings)
    if not lengths:
        return _closing(refused, len(recordings), 0.0, 0.0)
    prepare_folder(arguments.output)
    model = system.load(arguments.checkpoint, arguments.device)
    started, heard = time.perf_counter(), 0.0
    bar = tqdm(total=sum(lengths.values()), bar_format=_BAR, desc=system.name, disable=None, leave=False)

    def advance(seconds_done: float) -> None:
        bar.update(min(seconds_done, bar.total - bar.n))  # the last frame reaches beyond the recording

    with bar:
        for number, (path, seconds) in enumerate(lengths.items(), start=1):
            bar.set_description(f"{number}/{len(lengths)} {path.name}")
            began = time.perf_counter()
            try:
                result = system.transcribe(path, model, advance)
            except InputError as error:
                refused.append(path)
                tqdm.write(f"mircourse: {error}", file=sys.stderr)
                continue
            written = system.write(arguments.output, path.stem, result)
            heard += seconds
            took = time.perf_counter() - began
            tqdm.write(
                f"{'  '.join(str(name) for name in written)}  {system.describe(result)}, {seconds:.1f} s of audio in "
                f"{took:.1f} s ({seconds / took:.0f} x real time)",
                file=sys.stdout,
            )
            sys.stdout.flush()
    return _closing(refused, len(recordings), heard, time.perf_counter() - started)


def _distinct(paths: list[Path]) -> list[Path]:
    """Drop files that are named twice, as by ``*.wav x.wav``."""
    return list({path.resolve(): path for path in reversed(paths)}.values())[::-1]


def _refuse_collisions(recordings: list[Path], system: System, output: Path) -> None:
    stems: dict[str, Path] = {}
    for path in recordings:
        # Without regard to case: on macOS and Windows X.mid and x.mid are one file.
        other = stems.setdefault(path.stem.casefold(), path)
        if other is not path:
            raise InputError(
                f"{other} and {path} would both be written as {output / (path.stem + system.outputs[0])}; give them in "
                "two commands with different output folders (-o)."
            )


def _refuse_overwriting(recordings: list[Path], system: System, output: Path) -> None:
    """What stands beside a recording under the name of a result may be its annotation, made by hand."""
    for path in recordings:
        if path.parent.resolve() != output.resolve():
            continue
        for suffix in system.outputs:
            if (output / (path.stem + suffix)).exists():
                raise InputError(
                    f"{path.stem + suffix} already stands beside {path} and may be its annotation; choose another "
                    "folder with -o, or replace it with --overwrite."
                )


def _lengths(recordings: list[Path]) -> tuple[dict[Path, float], list[Path]]:
    """Seconds of every recording that can be read, and the ones that cannot, after saying why."""
    from mircourse.audio.reading import duration

    lengths, refused = {}, []
    for path in recordings:
        try:
            lengths[path] = duration(path)
        except InputError as error:
            refused.append(path)
            print(f"mircourse: {error}", file=sys.stderr)
    return lengths, refused


def _closing(refused: list[Path], total: int, heard: float, took: float) -> int:
    done = total - len(refused)
    if done and total > 1:
        print(
            f"{done} of {total} recordings: {heard:.1f} s of audio in {took:.1f} s ({heard / took:.0f} x real time)"
        )
    if refused and total > 1:
        names = ", ".join(str(path) for path in refused)
        print(
            f"mircourse: {len(refused)} of {total} recordings could not be transcribed: {names}.",
            file=sys.stderr,
        )
    return 2 if refused else 0
