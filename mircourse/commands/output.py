"""Output folders, tried before the work begins."""

import errno
import os
from pathlib import Path

from mircourse.errors import InputError

_PROBE_BYTES = 16384


def prepare_folder(folder: Path) -> None:
    """Create a folder and prove that it can be written, before minutes are spent on what goes there.

    Raises
    ------
    InputError
        If it cannot be created or written, or has no room.
    """
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".mircourse-") as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"The disk of the output folder {folder} is full; make room, or choose another."
            ) from error
        reason = "it is a file" if folder.is_file() else error.strerror or str(error)
        raise InputError(
            f"The output folder {folder} cannot be written ({reason}); choose another one."
        ) from error
