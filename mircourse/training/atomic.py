"""Files that are either the old one or the new one, never half of each."""

import os
from pathlib import Path

from mircourse.errors import InputError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` beside `path`, then put it in its place in one move.

    A kill or a full disk at any moment leaves what was there before.

    Parameters
    ----------
    path : str or pathlib.Path
        Missing parent folders are created.
    data : bytes

    Raises
    ------
    InputError
        If the folder cannot be written or has no room.
    """
    path = Path(path)
    # One fixed name per target: what a kill leaves behind is overwritten by the next attempt.
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        try:
            unfinished.unlink(missing_ok=True)
        except OSError:
            pass
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); choose a folder that can be written and has room."
        ) from error
