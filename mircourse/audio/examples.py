"""A recording to listen to: one's own, else an openly licensed example, else whatever the caller can offer."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mircourse.audio.reading import load


@dataclass(frozen=True)
class Recording:
    """What is heard, and where it comes from.

    Attributes
    ----------
    audio : np.ndarray, shape (n,), float32
        Mono.
    sample_rate : int
        Hz.
    heard : str
        One sentence that says which recording this is.
    licence : str
        What its publisher says about title and licence; empty for a file of the reader's own.
    """

    audio: np.ndarray
    sample_rate: int
    heard: str
    licence: str


def recording(
    own_file: str | Path | None,
    *,
    example: str,
    otherwise: Callable[[], tuple[np.ndarray, str]],
    seconds: float = 20.0,
    sample_rate: int = 16000,
) -> Recording:
    """Find a recording, and say which one it is.

    Parameters
    ----------
    own_file : path or None
        A file of the reader's own, if there is one.
    example : str
        The key of one of librosa's examples (`librosa.util.list_examples`): downloaded once, if online.
    otherwise : callable
        Where there is neither: gives mono samples at `sample_rate` and what they are ("a clip of ...").
    seconds : float
        How much of the beginning to take.
    sample_rate : int
        Hz.

    Returns
    -------
    Recording

    Raises
    ------
    mircourse.errors.InputError
        If the reader's own file cannot be used; the other two are never heard instead of it.
    """
    licence = ""
    if own_file is not None:
        audio, what = load(own_file, sample_rate=sample_rate), f"your own file {Path(own_file).name}"
    else:
        found = _librosa_example(example)
        if found is not None:
            path, licence = found
            audio, what = load(path, sample_rate=sample_rate), f"librosa's example '{example}'"
        else:
            audio, what = otherwise()
    return Recording(audio[: int(seconds * sample_rate)], sample_rate, f"You hear {what}.", licence)


def _librosa_example(key: str) -> tuple[Path, str] | None:
    """Return an example's file and what its publisher says about it; None where it cannot be had."""
    import librosa

    said = io.StringIO()
    try:
        with _downloads_unannounced(), contextlib.redirect_stdout(said):
            path = Path(librosa.example(key))
            librosa.util.example_info(key)
    except Exception:  # no network, a proxy, a broken download: there are many ways not to get a file
        return None
    lines = [line.strip() for line in said.getvalue().splitlines()]
    return path, " ".join(line for line in lines if line.strip("-"))


@contextlib.contextmanager
def _downloads_unannounced() -> Iterator[None]:
    """Keep librosa's downloader from announcing itself on stderr."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
