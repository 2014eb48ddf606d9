"""Prepare the next batches while the current one is being learned from."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(items: Iterator[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Yield `items` in order, up to `depth` of them made ahead of time in one background thread.

    Parameters
    ----------
    items : iterator
        Advanced in the background thread only, so it must not draw from the global random generators.
    depth : int
        Items kept ready; 0 makes them on demand.

    Raises
    ------
    Exception
        Whatever `items` raises, where its item would have come.
    """
    if depth < 1:
        yield from items
        return
    ready: queue.Queue = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def offer(message) -> bool:
        while not closed.is_set():
            try:
                ready.put(message, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not offer(("item", item)):
                    return
            offer(("end", None))
        except BaseException as error:  # handed on to the consumer, who raises it
            offer(("error", error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, content = ready.get()
            if kind == "error":
                raise content
            if kind == "end":
                return
            yield content
    finally:
        closed.set()
        # Left running, it could still be inside torch when the interpreter ends.
        thread.join(timeout=10)
