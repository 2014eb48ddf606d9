"""The systems as the command line sees them: what each one reads, writes, trains and scores.

A system is one object with the methods below; a new one is one more class and one more line in `SYSTEMS`.
Everything heavy is imported inside the methods.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from mircourse.datasets.folder import Recording
    from mircourse.training.run import TrainingResult


@dataclass(frozen=True)
class Example:
    """Something to be transcribed and scored.

    Attributes
    ----------
    name : str
    audio : path
    reference : callable
        Reads the annotation.
    """

    name: str
    audio: Path
    reference: Callable[[], Any]


_TEST_HOURS = 0.2  # what `mircourse.datasets.piano.prepare` gives to each of the test splits


class Piano:
    """Notes of a piano: onset, offset, pitch, velocity."""

    name = "piano"
    sizes = ("mini", "paper", "harmonic", "frames-mini", "frames-harmonic")
    outputs = (".mid", ".notes.csv")
    headline = (
        "note_f1",
        "note_precision",
        "note_recall",
        "note_offset_f1",
        "note_offset_velocity_f1",
        "frame_f1",
    )

    def prepare(self, hours: float, jobs: int | None, seed: int) -> tuple[dict[str, float], float]:
        """Render the band; return the seconds of audio of every split, and how many of them are new."""
        from mircourse.datasets.piano import PIECE_SECONDS, SPLITS, TAIL_SECONDS, folder_of, prepare

        def count_pieces() -> int:
            return sum(len(list(folder_of(split, seed).glob("*.notes.csv"))) for split in SPLITS)

        before = count_pieces()
        seconds = prepare(hours=hours, jobs=jobs, seed=seed)
        return seconds, (count_pieces() - before) * (PIECE_SECONDS + TAIL_SECONDS)

    def train(self, *, size: str, minutes: float, device: str, seed: int, folder: Path) -> "TrainingResult":
        """Train on the band; the run lives in `folder` and goes on there."""
        from mircourse.piano.training import train_piano

        return train_piano(size, minutes=minutes, device=device, seed=seed, folder=folder)

    def load(self, checkpoint: str, device: str) -> Any:
        """Load a model by the name of a shipped checkpoint or by file."""
        import pretty_midi  # noqa: F401 (slow to import, and start-up is the time for it)

        from mircourse.piano.transcribe import load_checkpoint

        return load_checkpoint(checkpoint, device=device)

    def transcribe(self, audio: Path, model: Any, progress: Callable[[float], Any] | None) -> "np.ndarray":
        """Notes of a recording, shape (N, 4); `progress` hears of every stretch of seconds that is done."""
        from mircourse.piano.transcribe import transcribe

        done = 0.0

        def report(seconds: float) -> None:
            nonlocal done
            if progress:
                progress(seconds - done)
            done = seconds

        return transcribe(audio, model, progress=report)

    def baseline(self) -> Callable[[Path], "np.ndarray"]:
        """Matrix factorisation with one template a key."""
        from mircourse.audio.reading import load
        from mircourse.piano import baseline

        return lambda audio: baseline.transcribe(load(audio))

    def write(self, folder: Path, stem: str, notes: "np.ndarray") -> list[Path]:
        """Write what ``run`` leaves of one recording; return the files."""
        from mircourse.piano.evaluation import write_midi, write_notes

        midi, table = (folder / (stem + suffix) for suffix in self.outputs)
        write_midi(midi, notes)
        write_notes(table, notes)
        return [midi, table]

    def describe(self, notes: "np.ndarray") -> str:
        """Say in a few words what was found."""
        return f"{len(notes)} note{'' if len(notes) == 1 else 's'}"

    def band(self, split: str) -> list[Example]:
        """List the pieces of a split of the synthetic band; what is not rendered yet is rendered now."""
        from mircourse.datasets.piano import items, prepare

        # Also where some pieces are there: after an interrupted `prepare` a score would be that of a part.
        prepare(splits={split: _TEST_HOURS})
        return [Example(item.name, item.audio_path, item.notes) for item in items(split)]

    def example(self, recording: "Recording") -> Example:
        """Turn a recording of an annotated folder into an example."""
        from mircourse.piano.evaluation import read_notes

        return Example(recording.name, recording.audio, lambda: read_notes(recording.annotation))

    def score(self, reference: "np.ndarray", estimate: "np.ndarray", lag: float) -> dict[str, float]:
        """Score one transcription; `lag` seconds are added to the reference times."""
        from mircourse.piano.evaluation import evaluate

        return evaluate(reference, estimate, lag=lag)

    def mean(self, scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Mean of the scores of several recordings."""
        from mircourse.piano.evaluation import mean_metrics

        return mean_metrics([dict(score) for score in scores])


System = Piano  # until there is a second one, the first is the pattern
SYSTEMS = {"piano": Piano()}


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which model is used, and where it computes."""
    parser.add_argument(
        "--checkpoint",
        default="default",
        metavar="NAME_OR_FILE",
        help="a shipped checkpoint's name, or a file",
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute"
    )
