"""Where rendered corpora and warmed-up caches live: `MIRCOURSE_HOME`, else the user's cache folder."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mircourse.errors import InputError


def cache_folder(*parts: str) -> Path:
    """Return (and create) a folder below the course's cache.

    Parameters
    ----------
    *parts : str
        Names of nested folders, for example ``"band", "piano"``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If the folder cannot be created or written.
    """
    home = os.environ.get("MIRCOURSE_HOME")
    if home:
        root = Path(home).expanduser()
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches" / "mircourse"
    elif sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "mircourse"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mircourse"
    folder = root.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise InputError(
            f"The cache folder {folder} cannot be written; set MIRCOURSE_HOME to a folder that can be, and try again."
        )
    return folder


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file of the cache for writing; it appears under its name when it is whole, or not at all.

    Several processes may write the same file at once: each writes a file of its own, and the last one stays.

    Parameters
    ----------
    path : pathlib.Path
        In an existing folder.

    Yields
    ------
    binary file

    Raises
    ------
    InputError
        If the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); make room there, or set MIRCOURSE_HOME to a folder "
            "that has some, and try again: what is already there is kept."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_unfinished(folder: Path, *, seconds: float = 60.0) -> None:
    """Remove what a kill left of files that `whole_file` was writing.

    Parameters
    ----------
    folder : pathlib.Path
    seconds : float
        Younger files stay: another process may be writing them at this moment.
    """
    for partial in folder.glob("*.partial"):
        with suppress(OSError):  # gone already
            if time.time() - partial.stat().st_mtime > seconds:
                partial.unlink()
