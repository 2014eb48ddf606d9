"""The command line ``mircourse``: what it takes, and what it says when something goes wrong.

Each command stands in `mircourse.commands`. Here is the one place where an `InputError`, an interrupt or a full disk
becomes a sentence on stderr and an exit status: 2 for what the user can mend, 130 for an interrupt.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from mircourse import __version__
from mircourse.commands import doctor, evaluate, prepare, run, train
from mircourse.errors import InputError

COMMANDS = {"doctor": doctor, "prepare": prepare, "train": train, "run": run, "evaluate": evaluate}
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line; every command adds its own arguments."""
    parser = argparse.ArgumentParser(
        prog="mircourse", description="Recurrent networks and their use in music."
    )
    parser.add_argument("--version", action="version", version=f"mircourse {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(
            name, help=summary[0].lower() + summary[1:].rstrip("."), description=summary
        )
        module.add_arguments(command)
        command.set_defaults(execute=module.execute)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        As on the command line, without the program's name; `sys.argv` when left out.

    Returns
    -------
    int
        The exit status: 0 done, 1 unusable (`doctor`), 2 bad input, 130 interrupted.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        status = parsed.execute(parsed)
        sys.stdout.flush()
        return status
    except InputError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return _say(
            "Interrupted; every file that was finished is kept, and the command can be given again.", 130
        )
    except BrokenPipeError:
        # The reader (as in `| head`) has left: what Python would flush at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = error.filename or "the output"
        if error.errno in _DISK_FULL:
            return _say(
                f"The disk is full at {where}; make room and try again, what was finished is kept.", 2
            )
        if error.errno in _NOT_WRITABLE:
            return _say(f"{where} cannot be opened or written ({error.strerror}); see who may use it.", 2)
        raise


def _say(sentence: str, status: int) -> int:
    print("mircourse: " + " ".join(sentence.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
