"""Checks in the real nbgrader: a check cell's last value is its marks, whatever the answer does to stderr."""

import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

pytest.importorskip("nbgrader")
from nbgrader.api import Gradebook

SETUP = """import logging, os, sys, time, warnings
import numpy as np
from tqdm import tqdm
from mircourse.checks import check
logging.basicConfig(stream=sys.stderr)"""
HEAD = "def weighted_frame_loss(logits, frame_roll, weights):\n"
SOLUTION = "    return np.mean(weights * (np.logaddexp(0, logits) - logits * frame_roll))\n"
SOURCE = f"{HEAD}    ### BEGIN SOLUTION\n{SOLUTION}    ### END SOLUTION"
NOISY = """    warnings.warn("careful")
    for _ in tqdm(range(3)):
        np.log(np.zeros(1))
    logging.warning("logged")
    print("an error", file=sys.stderr)
    os.write(2, b"from C")
"""

# Student -> (body of the function, or None for the stub as it was released; marks of 5)
STUDENTS = {
    "ada": (SOLUTION, 5.0),
    "ben": (None, 0.0),
    "cleo": ("    return np.mean(np.logaddexp(0, logits) - logits * frame_roll)\n", 2.5),
    "dan": (NOISY + SOLUTION, 5.0),
    "eve": ("    while True:\n        pass\n", 0.0),
    "finn": ("    return logits[0, 100]\n", 0.0),
    "gus": (
        "    loss = np.float32(0)\n" + SOLUTION.replace("return ", "return np.float32(").rstrip() + ")\n",
        5.0,
    ),
}


def nbgrader(course, *arguments):
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(course / "config"),
        "OMP_NUM_THREADS": "1",
        # nbgrader calls alembic by its name.
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
    }
    command = [sys.executable, "-m", "nbgrader", *arguments, "--course-dir", str(course)]
    done = subprocess.run(
        command, cwd=course, env=environment, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def marked(source, name, **metadata):
    made = new_code_cell(source, id=name)
    made.metadata["nbgrader"] = {"schema_version": 3, "grade_id": name, "task": False, **metadata}
    return made


@pytest.mark.slow
def test_marks_in_nbgrader(tmp_path):
    notebook = new_notebook(
        cells=[
            new_code_cell(SETUP, id="setup"),
            marked(SOURCE, "loss", grade=False, solution=True, locked=False),
            marked(
                'check("lab2/weighted_frame_loss", weighted_frame_loss)',
                "check-loss",
                grade=True,
                solution=False,
                locked=True,
                points=5,
            ),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path = tmp_path / "source" / "lab" / "lab.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    nbgrader(tmp_path, "generate_assignment", "lab")

    for student, (body, _) in STUDENTS.items():
        released = nbformat.read(tmp_path / "release" / "lab" / "lab.ipynb", as_version=4)
        assert "raise NotImplementedError" in released.cells[1].source
        if body is not None:
            released.cells[1].source = HEAD + body
        folder = tmp_path / "submitted" / student / "lab"
        folder.mkdir(parents=True)
        nbformat.write(released, folder / "lab.ipynb")
    nbgrader(tmp_path, "autograde", "lab")

    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as gradebook:
        marks = {student: gradebook.find_submission("lab", student).score for student in STUDENTS}
    assert marks == {student: mark for student, (_, mark) in STUDENTS.items()}

    for student, words in (
        ("cleo", "the weights have no effect"),
        ("finn", "logits[0, 100]"),
        ("eve", "did not come back"),
    ):
        graded = nbformat.read(tmp_path / "autograded" / student / "lab" / "lab.ipynb", as_version=4)
        outputs = graded.cells[2].outputs
        assert [output.output_type for output in outputs] == ["display_data", "execute_result"]
        assert words in outputs[0].data["text/html"] and words in outputs[0].data["text/plain"]
