"""A folder of recordings with their annotations beside them: ``folder:DIR`` of the command line.

``NAME.wav`` (or .flac, .ogg, .mp3, ...) goes with an annotation of the same stem, for piano ``NAME.notes.csv`` or
``NAME.mid``. One folder holds one task; folders below it are not searched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mircourse.errors import InputError

PREFIX = "folder:"
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff")
ANNOTATION_SUFFIXES = {"piano": (".notes.csv", ".mid", ".midi")}


@dataclass(frozen=True)
class Recording:
    """An audio file and what is known about it.

    Attributes
    ----------
    name : str
        Stem of the audio file.
    audio : pathlib.Path
    annotation : pathlib.Path
    """

    name: str
    audio: Path
    annotation: Path


@dataclass(frozen=True)
class AnnotatedFolder:
    """The recordings of a folder.

    Attributes
    ----------
    recordings : tuple of Recording
        Those with an annotation, sorted by name.
    without_annotation : tuple of pathlib.Path
        Audio files that have none.
    """

    recordings: tuple[Recording, ...]
    without_annotation: tuple[Path, ...]


def is_folder_spec(spec: str) -> bool:
    """Tell whether a data name is of the form ``folder:DIR``."""
    return spec.startswith(PREFIX)


def read_folder(spec: str, *, system: str = "piano", only: str | None = None) -> AnnotatedFolder:
    """List the recordings of a folder with their annotations.

    Parameters
    ----------
    spec : str
        ``folder:DIR``, or a plain path.
    system : str
        Decides which annotations count, see `ANNOTATION_SUFFIXES`; the first kind that is there is taken.
    only : str, optional
        Shell pattern; keeps the recordings whose stem or file name matches.

    Returns
    -------
    AnnotatedFolder

    Raises
    ------
    InputError
        If there is no such folder, no recording in it has an annotation, none matches `only`, or two
        audio files share a stem.
    """
    folder = Path(spec.removeprefix(PREFIX)).expanduser()
    if not folder.is_dir():
        kind = "a file, not a folder" if folder.exists() else "not there"
        raise InputError(
            f"The folder {folder} is {kind}; write folder:DIR with the folder that holds the recordings."
        )
    audio = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    suffixes = ANNOTATION_SUFFIXES[system]
    if not audio:
        raise InputError(
            f"The folder {folder} holds no recordings ({', '.join(AUDIO_SUFFIXES)}){_below(folder)}."
        )
    if only is not None:
        names = ", ".join(path.stem for path in audio[:3])
        audio = [path for path in audio if fnmatchcase(path.stem, only) or fnmatchcase(path.name, only)]
        if not audio:
            raise InputError(f"No recording in {folder} matches '{only}'; its names are like {names}.")
    pairs = [(path, _annotation(path, suffixes)) for path in audio]
    recordings = tuple(Recording(path.stem, path, found) for path, found in pairs if found)
    if not recordings:
        raise InputError(
            f"None of the {len(audio)} recordings in {folder} has an annotation for {system}; put one of "
            f"{', '.join(audio[0].stem + suffix for suffix in suffixes)} beside {audio[0].name}."
        )
    for first, second in zip(recordings, recordings[1:], strict=False):
        if first.name == second.name:
            raise InputError(
                f"{first.audio.name} and {second.audio.name} in {folder} share one name; keep one of them, or choose "
                f"with --only '{first.audio.name}'."
            )
    return AnnotatedFolder(recordings, tuple(path for path, found in pairs if not found))


def _annotation(audio: Path, suffixes: Sequence[str]) -> Path | None:
    for suffix in suffixes:
        candidate = audio.with_name(audio.stem + suffix)
        if candidate.is_file():
            return candidate
    return None


def _below(folder: Path) -> str:
    below = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return f"; name one of the folders below it ({', '.join(below[:6])})" if below else "; check the path"
