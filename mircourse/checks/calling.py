"""The second step of a check: call the learner's function, and come back with plain arrays whatever it does."""

import inspect
import linecache
import os
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from mircourse.checks.limits import TimeUp, quiet, run_limited
from mircourse.checks.spec import Case

MOST_TIMEOUTS = 2
LIBRARY_FOLDERS = tuple(
    os.path.join(os.path.normpath(folder), "")
    for folder in (
        *(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")),
        os.path.dirname(os.path.dirname(__file__)),
    )
)


@dataclass(frozen=True)
class Stop:
    """Where and how a function stopped: the learner's own line, never a library's."""

    kind: str
    message: str
    function: str = ""
    line: int = 0
    text: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one call came to, in plain values only.

    Attributes
    ----------
    status : {"value", "raised", "time", "skipped"}
    value : np.ndarray, tuple, list or dict of such, or None
        What was returned, copied; None where it is nothing that holds numbers.
    kind : str
        What it was: "array", "tensor", "scalar", "list", "tuple", "dict", "None", or the name of its type.
    changed : tuple of int
        The arguments that the function wrote into.
    stop : Stop or None
        With "raised" and "time": where it stopped.
    printed : str
        The beginning of what it printed.
    printed_lines : int
    warned : tuple of str
        Messages of the warnings it caused.
    """

    status: str
    value: Any = None
    kind: str = "None"
    changed: tuple[int, ...] = ()
    stop: Stop | None = None
    printed: str = ""
    printed_lines: int = 0
    warned: tuple[str, ...] = ()


def call_all(function: Callable[..., Any], cases: Sequence[Case], seconds: float) -> list[Outcome]:
    """Call a function on every case; after two calls that took too long, leave the others out."""
    outcomes: list[Outcome] = []
    timeouts = 0
    for case in cases:
        if timeouts >= MOST_TIMEOUTS:
            outcomes.append(Outcome("skipped"))
            continue
        outcome = call(function, case.args, seconds)
        timeouts += outcome.status == "time"
        outcomes.append(outcome)
    return outcomes


def call(function: Callable[..., Any], args: tuple, seconds: float) -> Outcome:
    """Call a function on copies of the arguments.

    Only ``KeyboardInterrupt`` passes through: it is the reader who wants to stop.
    """
    given = copy(args)
    status, value, kind, stop = "value", None, "None", None

    def work():
        # Turning the answer into plain arrays may run code of its own, so it stands under the same limits.
        return plain(function(*given))

    with quiet() as (tape, caught):
        try:
            value, kind = run_limited(work, seconds)
        except KeyboardInterrupt:
            raise
        except TimeUp as error:
            status, stop = "time", _where(error)
        except BaseException as error:
            status, stop = "raised", _where(error)
    return Outcome(
        status=status,
        value=value,
        kind=kind,
        changed=tuple(
            i for i, (now, before) in enumerate(zip(given, args, strict=True)) if not same(now, before)
        ),
        stop=stop,
        printed=tape.kept,
        printed_lines=tape.lines,
        warned=tuple(dict.fromkeys(str(entry.message) for entry in caught)),
    )


def copy(value: Any) -> Any:
    """Copy arrays, and the tuples, lists and dictionaries that hold them."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (tuple, list)):
        return type(value)(copy(entry) for entry in value)
    if isinstance(value, dict):
        return {key: copy(entry) for key, entry in value.items()}
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two plain values are the same bit for bit (NaN equals NaN)."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        numeric = one.dtype.kind in "fc"
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=numeric)
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


def plain(value: Any) -> tuple[Any, str]:
    """Turn what a function returned into plain arrays.

    Returns
    -------
    value : np.ndarray, tuple, list or dict of such, or None
        Copies of class `np.ndarray` itself, whatever was returned: no subclass, no view, no object array.
    kind : str
        What it was, as `Outcome.kind` says it.
    """
    if value is None:
        return None, "None"
    if isinstance(value, (bool, int, float, complex, np.generic)):
        array = np.asarray(value)
        return (array, "scalar") if array.dtype.kind in "biufc" else (None, type(value).__name__)
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        tensor = value.detach().cpu()
        if not hasattr(np, str(tensor.dtype).removeprefix("torch.")):
            tensor = tensor.float()  # bfloat16 has no NumPy twin
        return np.array(tensor.numpy()), "tensor"
    if isinstance(value, dict):
        return {str(key): plain(entry)[0] for key, entry in value.items()}, "dict"
    if isinstance(value, (list, tuple)):
        return _plain_sequence(value)
    return None, type(value).__name__


def _plain_array(value: np.ndarray) -> tuple[Any, str]:
    array = np.array(value, copy=True, subok=False)
    if array.dtype.kind in "biufc":
        return array, "array"
    try:
        return np.array(array.tolist(), dtype=np.float64), "array of objects"
    except (TypeError, ValueError):
        return None, "array of objects"


def _plain_sequence(value: list | tuple) -> tuple[Any, str]:
    entries = [plain(entry)[0] for entry in value]
    kind = "tuple" if isinstance(value, tuple) else "list"
    return (tuple(entries) if kind == "tuple" else entries), kind


def _where(error: BaseException) -> Stop:
    """Describe an exception by the innermost line that is the learner's own."""
    try:
        message = str(error)
    except Exception:
        message = ""
    found: tuple[str, str, int] | None = None
    step: TracebackType | None = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if not _is_library(code.co_filename):
            found = (code.co_name, code.co_filename, step.tb_lineno)
        step = step.tb_next
    if found is None:
        return Stop(type(error).__name__, message)
    name, filename, line = found
    return Stop(type(error).__name__, message, name, line, linecache.getline(filename, line).strip())


def _is_library(filename: str) -> bool:
    """Whether a source file is Python's, an installed package's or this one's."""
    if filename.startswith("<"):  # "<string>" and "<stdin>" are somebody's own code; "<frozen ...>" is not
        return filename.startswith(("<frozen", "<__array_function__"))
    path = os.path.normpath(filename)
    return path.startswith(LIBRARY_FOLDERS) or "site-packages" in path.split(os.sep)


def refuses(function: Callable[..., Any], n_arguments: int) -> str | None:
    """Return the function's own parameter list if it cannot be called with that many arguments, else None."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*[None] * n_arguments)
    except TypeError:
        return str(signature)
    return None
