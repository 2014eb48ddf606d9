"""Lab 2 in a real kernel: the solution earns every point, the stub none, and a stub does not stop the page."""

from pathlib import Path

import nbformat
import pytest

from mircourse.checks.spec import EXERCISES, find
from mircourse.execution import execute
from sources import build

nbgrader_utils = pytest.importorskip("nbgrader.utils")

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "sources" / "lab2_piano" / "lab2_piano.py"
GRADED = {name: find(name) for name in EXERCISES if name.startswith("lab2/")}
# The band is not rendered in a test: four seconds of three strings stand for it.
STAND_IN = """
import numpy as np
from mircourse.datasets import excerpts

def piano_excerpts(split, count, **options):
    notes = np.array([[0.5, 2.0, 60, 80], [1.0, 2.5, 64, 70], [1.5, 3.5, 67, 90]])
    time = np.arange(4 * 16000) / 16000
    audio = sum(np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * time) * (time > s) for s, _, p, _ in notes)
    return [excerpts.Excerpt(split, (0.2 * audio).astype(np.float32), notes, 4.0)] * count

excerpts.piano_excerpts = piano_excerpts
"""


def graded_part(notebook):
    """Keep what stands before part 6: the exercises and their checks."""
    names = [cell.id for cell in notebook.cells]
    notebook.cells = notebook.cells[: names.index("part-6")]
    return notebook


def points(notebook):
    """Return {cell: points} as nbgrader would give them."""
    cells = [cell for cell in notebook.cells if cell.id.startswith("check-")]
    return {cell.id: nbgrader_utils.determine_grade(cell)[0] for cell in cells}


def maxima():
    return {"check-" + name.removeprefix("lab2/").replace("_", "-"): spec.points for name, spec in GRADED.items()}


@pytest.fixture(scope="module")
def exercise(tmp_path_factory):
    """Release the exercise as the builder does."""
    root = tmp_path_factory.mktemp("course")
    (root / "sources" / "lab2_piano").mkdir(parents=True)
    (root / "sources" / "lab2_piano" / SOURCE.name).write_bytes(SOURCE.read_bytes())
    build.build(root, "exercises", ["lab2_piano"], force=False)
    return root / "exercises" / "lab2_piano" / "lab2_piano.ipynb"


def test_points_are_those_of_the_specs():
    notebook = build.read_source(SOURCE)
    given = {cell.id: cell.metadata.nbgrader.points for cell in notebook.cells if cell.id.startswith("check-")}
    assert given == maxima()
    marked = [cell.metadata.nbgrader for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert sum(cell.points for cell in marked if cell.grade) == 40 and "`40 points`" in notebook.cells[0].source


def test_graded_cells_need_no_torch():
    notebook = graded_part(build.read_source(SOURCE))
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "torch" not in code and "transcribe" not in code


def test_the_solution_earns_every_point(tmp_path):
    notebook = graded_part(build.read_source(SOURCE))
    execute(notebook, folder=tmp_path, seconds_per_cell=120)
    assert points(notebook) == maxima()


def test_the_stub_earns_nothing_and_stops_nothing(exercise, tmp_path):
    notebook = nbformat.read(exercise, as_version=4)
    assert "BEGIN SOLUTION" not in exercise.read_text(encoding="utf-8")
    first = next(i for i, cell in enumerate(notebook.cells) if cell.id == "compare")
    notebook.cells.insert(first, nbformat.v4.new_code_cell(STAND_IN, id="stand-in"))
    execute(notebook, folder=tmp_path, seconds_per_cell=300)
    assert points(notebook) == dict.fromkeys(maxima(), 0.0)
    answer = next(cell for cell in notebook.cells if cell.id == "answer")
    assert "YOUR ANSWER HERE" in answer.source


def test_every_exercise_has_its_parts():
    cells = build.read_source(SOURCE).cells
    for number, name in enumerate(GRADED, start=1):
        names = [cell.id for cell in cells]
        function = name.removeprefix("lab2/").replace("_", "-")
        at = names.index(f"exercise-{number}")
        assert names[at : at + 5] == [
            f"exercise-{number}", f"target-{number}", function, f"check-{function}", f"hints-{number}",
        ]  # fmt: skip
        task, _, answer, check, hints = cells[at : at + 5]
        assert all(word in task.source for word in ("`difficulty:", "minutes`", "points`", "objective"))
        assert all(word in hints.source for word in ("Hint 1", "Hint 2", "I get …"))
        assert answer.metadata.nbgrader.solution and check.metadata.nbgrader.locked
        written = build.SECRET.findall(answer.source)[0].strip().splitlines()
        assert 3 <= len(written) <= 15

