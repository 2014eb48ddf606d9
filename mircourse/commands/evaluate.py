"""Compare transcriptions with annotations: a table on stdout, JSON if asked."""

import argparse
import math
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from mircourse.commands.output import prepare_folder
from mircourse.commands.systems import SYSTEMS, Example, System, add_model_arguments
from mircourse.errors import InputError
from mircourse.training.atomic import write_atomically

Scores = Mapping[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``mircourse evaluate``."""
    parser.add_argument("system", choices=SYSTEMS, help="what to score")
    parser.add_argument(
        "--data",
        default="band",
        metavar="band|folder:DIR",
        help="the synthetic band, or recordings with annotations",
    )
    parser.add_argument(
        "--split",
        default="test",
        choices=("test", "unheard"),
        help="of the band: pieces, or pieces and a SoundFont, that training never hears (default: test)",
    )
    parser.add_argument(
        "--baseline", action="store_true", help="score the classical baseline, not a trained model"
    )
    parser.add_argument("--only", metavar="GLOB", help="only the files whose name matches")
    parser.add_argument(
        "--lag",
        action="append",
        default=[],
        type=_lag,
        metavar="GLOB=SECONDS",
        help="add seconds to the reference times of files whose name matches (repeatable; the last match holds)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores to this file too")
    add_model_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Score every file that can be; the mean is over these.

    Returns
    -------
    int
        0, or 2 if a file could not be read.
    """
    import json

    from tqdm import tqdm

    system = SYSTEMS[arguments.system]
    if arguments.baseline and arguments.checkpoint != "default":
        raise InputError("--baseline uses no checkpoint; leave out one of --baseline and --checkpoint.")
    data, examples = _examples(system, arguments)
    lags = _lags(examples, arguments.lag)
    if arguments.json:
        if arguments.json.is_dir():
            raise InputError(f"{arguments.json} is a folder; give --json the name of a file in it.")
        prepare_folder(arguments.json.resolve().parent)
    if arguments.baseline:
        what, transcribe = "baseline", system.baseline()
    else:
        model = system.load(arguments.checkpoint, arguments.device)
        what, transcribe = (
            f"checkpoint {arguments.checkpoint}",
            lambda audio: system.transcribe(audio, model, None),
        )
    per_file: dict[str, Scores] = {}
    for example in tqdm(examples, unit="file", desc=f"{system.name}, {data}", disable=None, leave=False):
        try:
            reference = example.reference()
            per_file[example.name] = system.score(reference, transcribe(example.audio), lags[example.name])
        except InputError as error:
            tqdm.write(f"mircourse: {error}", file=sys.stderr)
    if not per_file:
        return 2
    metrics = system.mean(list(per_file.values()))
    kind = "synthetic band" if data.startswith("band") else "recordings"
    print(f"{system.name}, {what}, on {data} ({kind})")
    print(_table(per_file, metrics, system.headline))
    if arguments.json:
        report = {
            "system": system.name,
            "data": data,
            "files": len(per_file),
            "metrics": _plain(metrics),
            "per_file": {name: _plain(scores) for name, scores in per_file.items()},
        }
        write_atomically(arguments.json, (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    if len(per_file) < len(examples):
        print(f"mircourse: the mean is over {len(per_file)} of {len(examples)} files.", file=sys.stderr)
        return 2
    return 0


def _examples(system: System, arguments: argparse.Namespace) -> tuple[str, list[Example]]:
    from mircourse.datasets.folder import is_folder_spec, read_folder

    if arguments.data == "band":
        data, examples = f"band:{arguments.split}", system.band(arguments.split)
        if arguments.only:
            chosen = [example for example in examples if fnmatchcase(example.name, arguments.only)]
            if not chosen:
                raise InputError(
                    f"No piece of {data} matches '{arguments.only}'; its names are like {examples[0].name}."
                )
            examples = chosen
        return data, examples
    if not is_folder_spec(arguments.data):
        raise InputError(
            f"There is no data '{arguments.data}'; write band, or folder:DIR with the folder of recordings."
        )
    folder = read_folder(arguments.data, system=system.name, only=arguments.only)
    if folder.without_annotation:
        names = ", ".join(path.name for path in folder.without_annotation)
        print(f"mircourse: left out for want of an annotation: {names}.", file=sys.stderr)
    return arguments.data, [system.example(recording) for recording in folder.recordings]


def _lag(text: str) -> tuple[str, float]:
    glob, _, seconds = text.rpartition("=")
    try:
        value = float(seconds)
    except ValueError:
        value = math.nan
    if not glob or not math.isfinite(value):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not of the form GLOB=SECONDS, for example '*_Am=0.025'"
        )
    return glob, value


def _lags(examples: list[Example], lags: list[tuple[str, float]]) -> dict[str, float]:
    by_name = dict.fromkeys((example.name for example in examples), 0.0)
    for glob, seconds in lags:
        matching = [name for name in by_name if fnmatchcase(name, glob)]
        if not matching:
            raise InputError(
                f"No file matches the --lag pattern '{glob}'; names are like {next(iter(by_name))}."
            )
        by_name.update(dict.fromkeys(matching, seconds))
    return by_name


def _table(per_file: Mapping[str, Scores], metrics: Scores, headline: tuple[str, ...]) -> str:
    mean = f"mean of {len(per_file)}"
    width = max(map(len, [*per_file, mean]))
    lines = [" " * width + "".join(f"  {name}" for name in headline)]
    for name, scores in [*per_file.items(), (mean, metrics)]:
        lines.append(name.ljust(width) + "".join(f"  {scores[key]:{len(key)}.3f}" for key in headline))
    return "\n".join(lines)


def _plain(scores: Scores) -> dict[str, float | None]:
    """Plain numbers for JSON, which has no NaN."""
    return {name: float(value) if math.isfinite(value) else None for name, value in scores.items()}
