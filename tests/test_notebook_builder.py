"""The notebook builder, on a small course of its own."""

import base64
import json

import nbformat
import pytest

from mircourse.execution import NotebookFailure, NotebookRunner
from sources import build

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

LECTURE = r'''# %% [markdown]
# # A tiny lecture
#
# Why, then maths: $p = \sigma(z)$.

# %% set-up
import numpy as np
from IPython.display import HTML, display

# %% tone
def tone(hz):
    """Return 10 ms of a sine."""
    return np.sin(2 * np.pi * hz * np.arange(160) / 16000)


# %% [markdown]
# Listen.

# %% listen
display(HTML('<b>A4</b><audio controls src="data:audio/wav;base64,UklGRg=="></audio>'))

# %% figure alt=["One dark pixel, much enlarged", "The same pixel once more"]
import matplotlib.pyplot as plt

plt.plot(tone(440))
plt.show()
plt.plot(tone(220))
plt.show()

# %% slider
import ipywidgets

out = ipywidgets.Output()
with out:
    print("inside a widget")
display(out)
ipywidgets.interactive(lambda level: level, level=(0, 3))

# %% progress
import os
import sys

from tqdm import tqdm

for step in tqdm(range(3)):
    pass
print(os.getcwd() + "/notes.csv")

# %% last tags=["hide-input"]
# a comment is no name
1 + 1
'''

LAB = '''# %% title [markdown] nbgrader={"locked": true}
# # A tiny lab
#
# ![A pixel that is dark](attachment:pixel.png)

# %% set-up
import numpy as np

# %% double nbgrader={"solution": true}
def double(x):
    """Return twice x."""
    ### BEGIN SOLUTION
    twice_as_much = 2 * x
    return twice_as_much
    ### END SOLUTION


# %% check-double nbgrader={"points": 2}
assert double(2) == 4
### BEGIN HIDDEN TESTS
assert double(1234) == 2468
### END HIDDEN TESTS

# %% why [markdown] nbgrader={"solution": true, "points": 1}
# Because two is more than one.
'''


@pytest.fixture
def course(tmp_path):
    (tmp_path / "sources" / "lab1").mkdir(parents=True)
    (tmp_path / "sources" / "01_tiny.py").write_text(LECTURE)
    (tmp_path / "sources" / "lab1" / "tiny.py").write_text(LAB)
    (tmp_path / "sources" / "lab1" / "pixel.png").write_bytes(PIXEL)
    return tmp_path


def test_lecture_is_executed_and_may_be_committed(course):
    assert build.main(["lectures"], course) == 0
    path = course / "lectures" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells] == [
        "top-text", "set-up", "tone", "tone-text", "listen", "figure", "slider", "progress", "last",
    ]  # fmt: skip
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert outputs["listen"][0].data["text/html"] == f"<b>A4</b><em>{build.LISTEN}</em>"
    alts = [output.metadata["image/png"]["alt"] for output in outputs["figure"] if "image/png" in output.data]
    assert alts == ["One dark pixel, much enlarged", "The same pixel once more"]
    assert outputs["slider"][-1].data == {"text/plain": build.MOVE}
    assert [output.text for output in outputs["progress"]] == ["notes.csv\n"]
    assert outputs["last"][0].data["text/plain"] == "2"
    text = json.dumps(list(outputs.values()))
    assert "data:audio" not in text and str(course) not in text
    assert "jupytext" not in path.read_text()
    assert notebook.metadata.mircourse.source_sha256 == build.source_hash(course / "sources" / "01_tiny.py")


def test_building_again_changes_no_byte(course):
    assert build.main(["all"], course) == 0
    products = sorted(course.glob("*/**/*.ipynb"))
    assert len(products) == 3
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in products}
    assert build.main(["all"], course) == 0
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in products} == before
    assert build.main(["lectures", "--force"], course) == 0
    assert {path: path.read_bytes() for path in products} == {path: data for path, (data, _) in before.items()}
    assert not list(course.rglob("gradebook.db")) and not list(course.rglob("*.partial"))


def test_solution_and_exercise(course):
    assert build.main(["exercises"], course) == 0
    solution = nbformat.read(course / "solutions" / "lab1" / "tiny.ipynb", as_version=4)
    cells = {cell.id: cell for cell in solution.cells}
    assert cells["check-double"].metadata.nbgrader == {
        "grade": True, "grade_id": "check-double", "locked": True, "points": 2, "schema_version": 3,
        "solution": False, "task": False,
    }  # fmt: skip
    assert "twice_as_much" in cells["double"].source
    assert cells["title"].attachments["pixel.png"]["image/png"]

    released = nbformat.read(course / "exercises" / "lab1" / "tiny.ipynb", as_version=4)
    nbformat.validate(released)
    assert build.leaks(LAB, released) == []
    cells = {cell.id: cell for cell in released.cells}
    assert list(cells) == ["title", "set-up", "double", "check-double", "why"]
    assert "raise NotImplementedError()" in cells["double"].source and '"""Return twice x."""' in cells["double"].source
    assert cells["why"].source == "YOUR ANSWER HERE"
    assert cells["title"].attachments["pixel.png"] and not cells["check-double"].metadata.editable


def test_leaks_are_found(course):
    build.main(["solutions"], course)
    solution = nbformat.read(course / "solutions" / "lab1" / "tiny.ipynb", as_version=4)
    found = build.leaks(LAB, solution)
    assert "twice_as_much = 2 * x" in found and "assert double(1234) == 2468" in found


@pytest.mark.parametrize("name", ["sources/01_tiny.py", "sources/lab1/tiny.py"])
def test_back_without_an_edit_changes_no_byte(course, name):
    build.main(["solutions"], course)
    source = course / name
    folder = {"01_tiny": "lectures", "tiny": "solutions/lab1"}[source.stem]
    product = course / folder / f"{source.stem}.ipynb"
    build.write_notebook(build.read_source(source), product)
    before = source.read_bytes()
    assert build.main(["back", str(product)], course) == 0
    assert source.read_bytes() == before


def test_back_carries_edits_and_leaves_the_rest(course):
    build.main(["solutions"], course)
    product = course / "solutions" / "lab1" / "tiny.ipynb"
    notebook = nbformat.read(product, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    cells["double"].source = cells["double"].source.replace("2 * x", "x + x")
    cells["title"].source += "\n\nOne more line, with $x$."
    cells["check-double"].metadata.nbgrader.points = 3
    notebook.cells.insert(2, nbformat.v4.new_markdown_cell("Between.\n\n![A second dark pixel](attachment:new.png)"))
    notebook.cells[2].attachments = {"new.png": {"image/png": base64.b64encode(PIXEL).decode()}}
    notebook.cells.insert(3, nbformat.v4.new_code_cell("%pip list\nx = 1"))
    nbformat.write(notebook, product)

    source, new_names = build.carry_back(course, product)
    assert new_names == ["new-1"]
    expected = (
        LAB.replace("2 * x", "x + x")
        .replace('"points": 2', '"points": 3')
        .replace("pixel.png)\n", "pixel.png)\n#\n# One more line, with $x$.\n")
        .replace(
            "# %% double",
            "# %% [markdown]\n# Between.\n#\n# ![A second dark pixel](attachment:new.png)\n\n"
            "# %% new-1\n# %pip list\nx = 1\n\n# %% double",
        )
    )
    assert source.read_text() == expected
    assert (source.parent / "new.png").read_bytes() == PIXEL
    rebuilt = build.read_source(source)
    assert [cell.source for cell in rebuilt.cells] == [cell.source for cell in notebook.cells]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("exercises/lab1/tiny.ipynb", "lost its solutions"),
        ("elsewhere.ipynb", "neither lectures/"),
        ("lectures/readme.ipynb", "neither lectures/"),
        ("lectures/02_absent.ipynb", "cannot be read"),
        ("lectures/03_torn.ipynb", "cannot be read"),
    ],
)
def test_back_refuses_what_is_no_product(course, name, says, capsys):
    (course / "lectures").mkdir()
    (course / "lectures" / "03_torn.ipynb").write_text('{"cells": [')
    before = (course / "sources" / "01_tiny.py").read_bytes()
    assert build.main(["back", str(course / name)], course) == 2
    assert says in capsys.readouterr().err
    assert (course / "sources" / "01_tiny.py").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import numpy\n", ":1: a source begins with"),
        ("# %% a\n1\n\n# %%\n2\n", ":4: a code cell needs a name"),
        ("# %% a\n1\n\n# %% a\n2\n", ":4: the name 'a' is taken"),
        ("# %% Onset Targets\n1\n", "is no cell name"),
        ('# %% a nbgraber={"points": 1}\n1\n', "unknown nbgraber"),
        ('# %% a nbgrader={"point": 1}\n1\n', "not point"),
        ('# %% [markdown] nbgrader={"locked": true}\n# text\n', "needs a name"),
        ('# %% a [markdown] nbgrader={"points": 1}\n# text\n', "is an answer"),
        ("# %% [markdown]\n# ![A picture that is absent](attachment:none.png)\n", "none.png was not found"),
    ],
)
def test_source_errors_name_the_place(course, text, says, capsys):
    (course / "sources" / "02_wrong.py").write_text(text)
    assert build.main(["lectures", "02_wrong"], course) == 2
    message = capsys.readouterr().err
    assert says in message and "02_wrong.py" in message
    assert not (course / "lectures" / "02_wrong.ipynb").exists()


def test_unknown_name_is_refused(course, capsys):
    assert build.main(["exercises", "lab9"], course) == 2
    assert "No source for lab9" in capsys.readouterr().err


def test_unmarked_solution_is_refused_with_nbgraders_words(course, capsys):
    path = course / "sources" / "lab1" / "tiny.py"
    path.write_text(path.read_text().replace(' nbgrader={"solution": true}\ndef', "\ndef"))
    assert build.main(["exercises"], course) == 2
    assert "non-solution cell" in capsys.readouterr().err


def test_failing_cell_is_named_and_the_old_lecture_stays(course, capsys):
    source = course / "sources" / "02_fails.py"
    source.write_text("# %% fine\nx = 1\n")
    assert build.main(["lectures", "02_fails"], course) == 0
    before = (course / "lectures" / "02_fails.ipynb").read_bytes()
    source.write_text("# %% fine\nx = 1\n\n# %% broken\nx / 0\n")
    assert build.main(["lectures", "02_fails"], course) == 1
    message = capsys.readouterr().err
    assert message.startswith("sources/02_fails.py: cell 'broken' failed with ZeroDivisionError: division by zero")
    assert "\x1b" not in message
    assert (course / "lectures" / "02_fails.ipynb").read_bytes() == before


def test_cell_past_its_limit_is_named(course):
    source = course / "sources" / "02_slow.py"
    source.write_text("# %% sleeps\nimport time\n\ntime.sleep(60)\n")
    with pytest.raises(NotebookFailure, match="'sleeps' ran past its limit of 1 s"):
        build.build_lecture(course, source, seconds_per_cell=1)


def test_dead_kernel_is_told(course):
    source = course / "sources" / "02_dies.py"
    source.write_text("# %% dies\nimport os\n\nos._exit(1)\n")
    with pytest.raises(NotebookFailure, match="the kernel died in cell 'dies'"):
        build.build_lecture(course, source)


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_no_execution_without_a_limit(limit):
    with pytest.raises(Exception, match="never executed without a limit"):
        NotebookRunner(nbformat.v4.new_notebook(), timeout=limit)


def test_products_carry_no_pairing(course):
    build.main(["solutions"], course)
    text = (course / "solutions" / "lab1" / "tiny.ipynb").read_text()
    assert "jupytext" not in text and "formats" not in text
    assert set(json.loads(text)["metadata"]) == {"kernelspec", "language_info"}
