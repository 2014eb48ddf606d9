"""The notebooks: what is committed is what the sources build, and a page has the course's shape."""

import json
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest
from nbformat import NotebookNode

from sources import build

ROOT = Path(__file__).resolve().parent.parent
LECTURES = build.lecture_sources(ROOT)
LABS = [path for sources in build.assignment_sources(ROOT).values() for path in sources]
IMAGE = re.compile(r"(?<!\[)!\[([^\]]*)\]\(|<img\b([^>]*)>")


def by_name(path: Path) -> str:
    return path.stem


def read(kind: str, source: Path) -> NotebookNode:
    folder = ROOT / kind if source in LECTURES else ROOT / kind / source.parent.name
    path = folder / f"{source.stem}.ipynb"
    assert path.is_file(), f"{path.relative_to(ROOT)} is not built: run 'make notebooks'"
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def words_per_line(notebook: NotebookNode) -> float:
    """Words of prose for each line of code; formulas and solutions count as neither."""
    prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    prose = re.sub(r"\$\$.*?\$\$|\$[^$\n]*\$|!?\[!?|\]\([^)]*\)|<[^>]+>", " ", prose, flags=re.DOTALL)
    words = [word for word in prose.split() if re.search(r"\w", word)]
    lines = [line for cell in code_cells(notebook) for line in code_lines(build.SECRET.sub("", cell.source))]
    return len(words) / max(1, len(lines))


# --- the format of every source ---------------------------------------------------------------------------------


@pytest.mark.parametrize("source", LECTURES + LABS, ids=by_name)
def test_shape_of_the_page(source):
    notebook = build.read_source(source)
    cells = code_cells(notebook)
    assert cells[0].id == "set-up", "the first code cell is the set-up cell"
    assert len(cells[0].source.splitlines()) <= 12
    for cell in cells:
        assert len(cell.source.splitlines()) <= 30, f"cell {cell.id} has over 30 lines"
    assert notebook.cells[0].cell_type == "markdown" and "# " in notebook.cells[0].source
    ratio = words_per_line(notebook)
    if source in LECTURES:
        assert median(len(cell.source.splitlines()) for cell in cells) <= 10
        assert 8 <= ratio <= 14, f"{ratio:.1f} words of prose for a line of code; a lecture has 8 to 14"
    else:
        assert ratio >= 15, f"{ratio:.1f} words of prose for a line of code outside the stubs; a lab has 15 or more"


@pytest.mark.parametrize("source", LECTURES + LABS, ids=by_name)
def test_pictures_in_the_text_have_alt_text(source):
    for cell in build.read_source(source).cells:
        if cell.cell_type != "markdown":
            continue
        for markdown, html in IMAGE.findall(cell.source):
            alt = markdown or "".join(re.findall(r'alt="([^"]*)"', html))
            assert len(alt.split()) >= 4, f"a picture in {cell.id} needs alt text of four words: {alt!r}"


def test_set_up_cells_are_the_same_everywhere():
    texts = {code_cells(build.read_source(source))[0].source for source in LECTURES + LABS}
    assert len(texts) <= 1


# --- lectures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", LECTURES, ids=by_name)
def test_lecture_is_fresh(source):
    built, wanted = read("lectures", source), build.read_source(source)
    assert built.metadata.mircourse.source_sha256 == build.source_hash(source), "stale: run 'make lectures'"
    for cell, expected in zip(built.cells, wanted.cells, strict=True):
        assert (cell.id, cell.cell_type, cell.source) == (expected.id, expected.cell_type, expected.source)


@pytest.mark.parametrize("source", LECTURES, ids=by_name)
def test_lecture_outputs(source):
    notebook = read("lectures", source)
    text = json.dumps([cell.outputs for cell in code_cells(notebook)])
    assert "data:audio" not in text and "<audio" not in text
    assert build.WIDGET not in text
    assert str(ROOT) not in text
    assert len(text) < 6e6, "a lecture stays small enough to open at once: use fewer or smaller figures"
    for cell in code_cells(notebook):
        assert cell.execution_count, f"{cell.id} was not executed"
        for output in cell.outputs:
            assert output.output_type != "error", f"{cell.id} failed"
            assert output.get("name") != "stderr", f"{cell.id} warns: {output.text}"
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt.split()) >= 4, f"the figure of {cell.id} needs alt text of four words or more"


# --- labs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", LABS, ids=by_name)
def test_solution_is_what_the_source_builds(source, tmp_path):
    build.write_notebook(build.read_source(source), tmp_path / "built.ipynb")
    committed = ROOT / "solutions" / source.parent.name / f"{source.stem}.ipynb"
    assert committed.read_bytes() == (tmp_path / "built.ipynb").read_bytes(), "stale: run 'make exercises'"


@pytest.mark.parametrize("assignment", build.assignment_sources(ROOT))
def test_exercise_is_what_nbgrader_releases(assignment, tmp_path):
    copy_of_course(ROOT, tmp_path)
    build.build(tmp_path, "exercises", [assignment], force=False)
    for built in sorted((tmp_path / "exercises" / assignment).iterdir()):
        committed = ROOT / built.relative_to(tmp_path)
        assert committed.read_bytes() == built.read_bytes(), "stale: run 'make exercises'"


@pytest.mark.parametrize("source", LABS, ids=by_name)
def test_exercise_gives_nothing_away(source):
    assert build.leaks(source.read_text(encoding="utf-8"), read("exercises", source)) == []


def copy_of_course(root: Path, folder: Path) -> None:
    """Copy what the builder reads."""
    for path in [root / "nbgrader_config.py", *sorted((root / "sources").rglob("*"))]:
        if path.is_file() and "__pycache__" not in path.parts:
            target = folder / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
