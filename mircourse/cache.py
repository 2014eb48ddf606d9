"""Where rendered corpora and warmed-up caches live: `MIRCOURSE_HOME`, else the user's cache folder."""

import os
import sys
from pathlib import Path

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
