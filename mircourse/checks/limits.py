"""Run somebody's function with a time limit and without a sound.

The time limit works in a notebook's main thread: an alarm signal where the system has one (Unix), else a second
thread that is asked to stop. What the function prints is kept and shown in the report; nothing reaches stderr,
because nbgrader gives no marks to a cell that wrote there.
"""

import contextlib
import contextvars
import ctypes
import io
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

REPEAT_SECONDS = 0.1
KEPT_CHARACTERS = 20_000


class TimeUp(BaseException):
    """The time limit is over. Not an `Exception`, so that ``except Exception`` in a loop does not swallow it."""


class Tape(io.TextIOBase):
    """A text stream that keeps its beginning and counts the rest."""

    encoding = "utf-8"

    def __init__(self):
        super().__init__()
        self.kept = ""
        self.lines = 0

    def writable(self) -> bool:
        """Say yes, as `print` asks first."""
        return True

    def write(self, text: str) -> int:
        """Take a text."""
        self.lines += text.count("\n")
        room = KEPT_CHARACTERS - len(self.kept)
        if room > 0:
            self.kept += text[:room]
        return len(text)


def run_limited(function: Callable[[], Any], seconds: float) -> Any:
    """Call a function and stop it when its time is up.

    Parameters
    ----------
    function : callable
        Called without arguments.
    seconds : float
        Wall-clock time.

    Raises
    ------
    TimeUp
        It was stopped; the traceback tells where it was.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _run_with_alarm(function, seconds)
    return _run_in_thread(function, seconds)


def _run_with_alarm(function: Callable[[], Any], seconds: float) -> Any:
    armed = True
    alarms = 0

    def trace(frame, event, argument):
        # Raised at any other event, it would be swallowed with the alarm that is on its way.
        if armed and event == "line":
            raise TimeUp
        return trace

    def alarm(signal_number, frame):
        nonlocal alarms
        if not armed:
            return
        alarms += 1
        # A bare `except:` can swallow every alarm. Then raise at the next line too, which is in the handler.
        if alarms > 2 and frame is not None:
            frame.f_trace = trace
            sys.settrace(trace)
        raise TimeUp

    started = time.monotonic()
    old_trace = sys.gettrace()
    old_handler = signal.signal(signal.SIGALRM, alarm)
    old_delay, old_interval = signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
    try:
        try:
            return function()
        finally:
            armed = False
    finally:
        if sys.gettrace() is trace:
            sys.settrace(old_trace)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if old_handler is None else old_handler)
        if old_delay:
            left = old_delay - (time.monotonic() - started)
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001), old_interval)


def _run_in_thread(function: Callable[[], Any], seconds: float) -> Any:
    result: list[Any] = []
    error: list[BaseException] = []

    def work():
        try:
            result.append(function())
        except BaseException as caught:
            error.append(caught)

    # NumPy keeps `errstate` in the context, so it has to come along.
    worker = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    worker.start()
    worker.join(seconds)
    for _ in range(10):
        if not worker.is_alive() or worker.ident is None:
            break
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(TimeUp))
        worker.join(REPEAT_SECONDS)
    if error:
        raise error[0]
    if not result:
        raise TimeUp
    return result[0]


@contextlib.contextmanager
def quiet() -> Iterator[tuple[Tape, list[warnings.WarningMessage]]]:
    """Keep what is printed and warned about; let nothing reach stderr.

    Yields
    ------
    tape : Tape
        What went to stdout.
    caught : list of warnings.WarningMessage
    """
    out, error = Tape(), Tape()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with (
            _silent_stream(sys.stderr),
            _silent_descriptor(2),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
        ):
            yield out, caught


@contextlib.contextmanager
def _silent_stream(stream: Any) -> Iterator[None]:
    """Silence a stream object that a logging handler may have taken hold of before the call."""
    try:
        before = vars(stream).get("write")  # IPython puts one there
        stream.write = len  # takes a text and returns its length, as `write` should
    except (TypeError, AttributeError):
        yield  # a built-in stream: it writes to the descriptor, which is silenced too
        return
    try:
        yield
    finally:
        del stream.write
        if before is not None:
            stream.write = before


@contextlib.contextmanager
def _silent_descriptor(number: int) -> Iterator[None]:
    """Send a file descriptor to nowhere: libraries written in C, and child processes, use it directly."""
    try:
        kept = os.dup(number)
    except OSError:
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
