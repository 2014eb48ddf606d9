"""Run a notebook without a browser: widget messages are ignored, and no cell runs without a limit.

nbclient mirrors `Output` widgets by answering the kernel's comm messages, and now and then misses one and waits
for ever. Nothing that is executed here needs that mirror: every widget of the course has a static twin.
"""

import os
import re
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets import TraitError, validate

ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TRACEBACK_LINES = 25


class NotebookFailure(RuntimeError):
    """A notebook did not run to its end. The message names the cell and what it said.

    Parameters
    ----------
    message : str
        What happened, for a person.
    cell_id : str
        The id of the cell that failed.
    """

    def __init__(self, message: str, cell_id: str):
        super().__init__(message)
        self.cell_id = cell_id


class NotebookRunner(NotebookClient):
    """`nbclient.NotebookClient` with widget comms switched off and a limit on every cell."""

    def __init__(self, nb: NotebookNode, **options: Any):
        super().__init__(nb, **{"timeout": 300, "record_timing": False, "coalesce_streams": True, **options})

    @validate("timeout")
    def _needs_a_limit(self, proposal: Any) -> int:
        if not proposal.value or proposal.value < 0:
            raise TraitError("A notebook is never executed without a limit: give a positive number of seconds.")
        return proposal.value

    def handle_comm_msg(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Ignore a widget's message."""


def execute(notebook: NotebookNode, *, folder: Path, seconds_per_cell: int = 300) -> None:
    """Execute a notebook in place, in a fresh kernel of the running Python.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Version 4.5 or later; its code cells receive their outputs.
    folder : pathlib.Path
        Working folder of the kernel.
    seconds_per_cell : int
        Limit on each cell, in seconds.

    Raises
    ------
    NotebookFailure
        If a cell raises, runs past its limit or ends the kernel.
    """
    running: list[NotebookNode] = []
    runner = NotebookRunner(
        notebook,
        timeout=seconds_per_cell,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=lambda cell, cell_index: running.append(cell),
    )
    # Figures appear in the notebook whatever backend the caller's shell prefers.
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    try:
        runner.execute(env=environment)
    except CellExecutionError as error:
        lines = ANSI_COLOUR.sub("", error.traceback).rstrip().splitlines()[-TRACEBACK_LINES:]
        headline = f"cell {running[-1].id!r} failed with {error.ename}: {error.evalue}"
        raise NotebookFailure("\n".join([headline, *lines]), running[-1].id) from None
    except CellTimeoutError:
        headline = f"cell {running[-1].id!r} ran past its limit of {seconds_per_cell} s"
        raise NotebookFailure(headline, running[-1].id) from None
    except DeadKernelError:
        cell_id = running[-1].id if running else ""
        headline = f"the kernel died in cell {cell_id!r}: too little memory is the usual reason"
        raise NotebookFailure(headline, cell_id) from None
