"""Build the notebooks: one text, three products.

    sources/NN_name.py           ->  lectures/NN_name.ipynb            executed, with its figures
    sources/ASSIGNMENT/name.py   ->  solutions/ASSIGNMENT/name.ipynb   nbgrader's instructor version
                                 ->  exercises/ASSIGNMENT/name.ipynb   released from it by nbgrader

Usage::

    python sources/build.py lectures|solutions|exercises|all [NAME...] [--force]
    python sources/build.py back NOTEBOOK

The format of a source is told in docs/authoring.md. Building again changes no byte: ids come from the cells'
names, and a lecture is executed only when its source has changed (or with ``--force``).
"""

import argparse
import base64
import hashlib
import itertools
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from mircourse.execution import NotebookFailure, execute

ROOT = Path(__file__).resolve().parent.parent
LECTURE = re.compile(r"\d\d_\w+")
CELL_LINE = re.compile(r"^# %%(?=\s|$)", re.MULTILINE)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
UNNAMED_TEXT = re.compile(r".+-text(-\d+)?")
ATTACHMENT = re.compile(r"!\[[^\]]*\]\(attachment:([^)\s]+)\)")
SECRET = re.compile(r"#+ *BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)#+ *END (?:SOLUTION|HIDDEN TESTS)", re.DOTALL)
AUDIO = re.compile(r"<audio\b.*?</audio>", re.DOTALL | re.IGNORECASE)
PROGRESS_BAR = re.compile(r"^.*\d+%\|.*\n?", re.MULTILINE)

CELL_METADATA = {"nbgrader", "alt", "tags", "jupyter", "slideshow"}
LAYOUT_METADATA = {"cell_marker", "lines_to_next_cell", "lines_to_end_of_cell_marker"}  # jupytext's own notes
NBGRADER_KEYS = {"solution", "points", "locked"}
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
WIDGET = "application/vnd.jupyter.widget-view+json"
LISTEN = "Run the cell to listen."
MOVE = "Run the cell to move the sliders."


class SourceError(Exception):
    """A source (or a notebook on its way back) breaks the format; the message says where and what to do."""


# ---------------------------------------------------------------------------------------------------------------
# From a source to the cells of a notebook


def cell_texts(source: str) -> list[str]:
    """Cut a source into its cells' own text, each beginning with its ``# %%`` line."""
    starts = [match.start() for match in CELL_LINE.finditer(source)]
    return [source[start:end] for start, end in itertools.pairwise([*starts, len(source)])]


def read_source(path: Path) -> NotebookNode:
    """Read a source into a notebook without outputs; cell names become cell ids.

    Raises
    ------
    SourceError
        If a cell breaks the format; the message begins with the file and the line.
    """
    return parse_source(path.read_text(encoding="utf-8"), path)


def parse_source(text: str, path: Path) -> NotebookNode:
    """Turn a source's text into a notebook; `path` says where its pictures lie and is named in errors."""
    texts = cell_texts(text)
    if not texts or not text.startswith("# %%"):
        raise SourceError(f"{path}:1: a source begins with a cell line such as '# %% [markdown]'.")
    parsed = jupytext.reads(text, fmt="py:percent")
    if len(parsed.cells) != len(texts):
        raise SourceError(f"{path}: {len(texts)} cell lines gave {len(parsed.cells)} cells; begin each with '# %% '.")

    notebook = nbformat.v4.new_notebook(metadata=NotebookNode(NOTEBOOK_METADATA))
    line, previous, texts_since = 1, "top", 0
    for cell, cell_text in zip(parsed.cells, texts, strict=True):
        where = f"{path}:{line}"
        line += cell_text.count("\n")
        name = cell.metadata.pop("title", None)
        if name is not None:
            if not NAME.fullmatch(name) or UNNAMED_TEXT.fullmatch(name):
                raise SourceError(f"{where}: {name!r} is no cell name: use small letters, digits, - and _.")
            if any(name == earlier.id for earlier in notebook.cells):
                raise SourceError(f"{where}: the name {name!r} is taken by an earlier cell.")
            cell.id = previous = name
            texts_since = 0
        elif cell.cell_type == "code":
            raise SourceError(f"{where}: a code cell needs a name, as in '# %% onset-targets'.")
        elif "nbgrader" in cell.metadata:
            raise SourceError(f"{where}: a cell that nbgrader handles needs a name.")
        else:
            texts_since += 1
            cell.id = f"{previous}-text" if texts_since == 1 else f"{previous}-text-{texts_since}"
        cell.metadata = expanded_metadata(cell, where)
        attach_pictures(cell, path.parent, where)
        notebook.cells.append(cell)
    nbformat.validate(notebook)
    return notebook


def expanded_metadata(cell: NotebookNode, where: str) -> NotebookNode:
    """Check a cell line's metadata and fill in what nbgrader wants besides."""
    unknown = set(cell.metadata) - CELL_METADATA - LAYOUT_METADATA
    if unknown:
        raise SourceError(f"{where}: unknown {', '.join(sorted(unknown))}; a cell line takes {sorted(CELL_METADATA)}.")
    metadata = NotebookNode({key: cell.metadata[key] for key in sorted(CELL_METADATA & set(cell.metadata))})
    if "nbgrader" not in metadata:
        return metadata
    short = metadata["nbgrader"]
    unknown = set(short) - NBGRADER_KEYS
    if unknown:
        raise SourceError(f"{where}: nbgrader takes {sorted(NBGRADER_KEYS)}, not {', '.join(sorted(unknown))}.")
    if cell.cell_type == "markdown" and "points" in short and not short.get("solution"):
        raise SourceError(f"{where}: a text cell with points is an answer: add \"solution\": true.")
    solution, graded = bool(short.get("solution")), "points" in short
    full: dict[str, Any] = {
        "grade": graded,
        "grade_id": cell.id,
        "locked": bool(short.get("locked", graded and not solution)),
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if graded:
        full["points"] = short["points"]
    metadata["nbgrader"] = full
    return metadata


def attach_pictures(cell: NotebookNode, folder: Path, where: str) -> None:
    """Put the pictures that ``![...](attachment:NAME.png)`` names inside the cell, so that a notebook is one file."""
    if cell.cell_type != "markdown":
        return
    for name in ATTACHMENT.findall(cell.source):
        picture = folder / name
        if not picture.is_file() or picture.suffix != ".png":
            raise SourceError(f"{where}: the picture {name} was not found beside the source; put a .png there.")
        data = base64.b64encode(picture.read_bytes()).decode()
        cell.setdefault("attachments", NotebookNode())[name] = NotebookNode({"image/png": data})


# ---------------------------------------------------------------------------------------------------------------
# Products


def write_notebook(notebook: NotebookNode, path: Path) -> bool:
    """Write a notebook in its one canonical form; return whether the file changed."""
    text = nbformat.writes(notebook, sort_keys=True).rstrip("\n") + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return True


def source_hash(path: Path) -> str:
    """Return the SHA-256 of a source, as kept in its lecture's metadata."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lecture_sources(root: Path) -> list[Path]:
    """List the sources of lectures, in order."""
    return sorted(path for path in (root / "sources").glob("*.py") if LECTURE.fullmatch(path.stem))


def assignment_sources(root: Path) -> dict[str, list[Path]]:
    """List the sources of each assignment."""
    found: dict[str, list[Path]] = {}
    for path in sorted((root / "sources").glob("*/*.py")):
        found.setdefault(path.parent.name, []).append(path)
    return found


def build_lecture(root: Path, source: Path, *, force: bool = False, seconds_per_cell: int = 300) -> bool:
    """Build and execute a lecture unless the one on disk came from this very source.

    Raises
    ------
    SourceError
        If the source breaks the format.
    mircourse.execution.NotebookFailure
        If a cell fails; the lecture on disk is left as it was.
    """
    notebook = read_source(source)
    product = root / "lectures" / f"{source.stem}.ipynb"
    digest = source_hash(source)
    if not force and product.is_file():
        built = nbformat.read(product, as_version=4)
        if built.metadata.get("mircourse", {}).get("source_sha256") == digest:
            return False
    execute(notebook, folder=root, seconds_per_cell=seconds_per_cell)
    notebook.metadata = NotebookNode({**NOTEBOOK_METADATA, "mircourse": {"source_sha256": digest}})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            settle_outputs(cell, root)
    return write_notebook(notebook, product)


def settle_outputs(cell: NotebookNode, root: Path) -> None:
    """Keep of a cell's outputs what may be committed: figures with alt text, no sound, nothing of this machine."""
    cell.metadata.pop("execution", None)
    alts = cell.metadata.get("alt", [])
    alts = [alts] if isinstance(alts, str) else list(alts)
    kept = []
    for output in cell.outputs:
        if output.output_type == "stream":
            output.text = without_machine(PROGRESS_BAR.sub("", output.text), root)
            if not output.text.strip():
                continue
        elif output.output_type in ("display_data", "execute_result"):
            data = output.data
            if PROGRESS_BAR.match(data.get("text/plain", "")):
                continue
            if WIDGET in data:
                output.data = data = NotebookNode({"text/plain": MOVE})
            if AUDIO.search(data.get("text/html", "")):
                data["text/html"] = AUDIO.sub(f"<em>{LISTEN}</em>", data["text/html"])
                data["text/plain"] = LISTEN
            for kind in ("text/plain", "text/html", "text/markdown"):
                if kind in data:
                    data[kind] = without_machine(data[kind], root)
            if "image/png" in data and alts:
                output.metadata["image/png"] = {**output.metadata.get("image/png", {}), "alt": alts.pop(0)}
        kept.append(output)
    cell.outputs = kept


def without_machine(text: str, root: Path) -> str:
    """Replace this checkout's and this user's folders, which mean nothing to a reader."""
    text = text.replace(f"{root}/", "").replace(str(root), ".")
    home = str(Path.home())
    return text.replace(f"{home}/", "~/") if len(home) > 1 else text


def build_solutions(root: Path, assignment: str, sources: list[Path]) -> list[Path]:
    """Build an assignment's instructor version; return the files that changed."""
    products = [root / "solutions" / assignment / f"{source.stem}.ipynb" for source in sources]
    return [
        product
        for source, product in zip(sources, products, strict=True)
        if write_notebook(read_source(source), product)
    ]


def leaks(source: str, released: NotebookNode) -> list[str]:
    """List what a released notebook shows of its solutions: their lines, hidden tests, markers, outputs."""
    secret = {line.strip() for text in SECRET.findall(source) for line in text.splitlines()}
    told = {line.strip() for line in SECRET.sub("", source).splitlines()}
    secret = {line for line in secret - told if len(line) > 8}
    seen = [line.strip() for cell in released.cells for line in cell.source.splitlines()]
    found = [line for line in seen if line in secret or re.search("(BEGIN|END) (SOLUTION|HIDDEN)", line)]
    code = [cell for cell in released.cells if cell.cell_type == "code"]
    return found + [f"output of {cell.id}" for cell in code if cell.outputs or cell.execution_count]


def build_exercises(root: Path, assignment: str) -> list[Path]:
    """Release an assignment with nbgrader, in a course folder of its own and without a gradebook.

    Returns
    -------
    list of pathlib.Path
        The files that changed.

    Raises
    ------
    SourceError
        If nbgrader refuses the assignment; the message is nbgrader's own.
    """
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.utils import capture_log
    from traitlets.config import Config, PyFileConfigLoader

    config = Config()
    if (root / "nbgrader_config.py").is_file():
        config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
    changed = []
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder)
        config.CourseDirectory.root = str(course)
        config.CourseDirectory.source_directory = "solutions"
        config.CourseDirectory.release_directory = "exercises"
        config.CourseDirectory.assignment_id = assignment
        config.GenerateAssignment.no_database = True
        config.SaveCells.enabled = False
        shutil.copytree(root / "solutions" / assignment, course / "solutions" / assignment)
        result = capture_log(GenerateAssignment(coursedir=CourseDirectory(config=config), config=config))
        if not result["success"]:
            raise SourceError(f"nbgrader did not release {assignment}:\n{result.get('log') or result['error']}")
        for released in sorted((course / "exercises" / assignment).glob("*.ipynb")):
            notebook = nbformat.read(released, as_version=4)
            notebook.metadata = NotebookNode(NOTEBOOK_METADATA)
            source = root / "sources" / assignment / f"{released.stem}.py"
            told = leaks(source.read_text(encoding="utf-8"), notebook)
            if told:
                raise SourceError(f"{source}: the exercise would give away {told[0]!r}; it was not written.")
            product = root / "exercises" / assignment / released.name
            if write_notebook(notebook, product):
                changed.append(product)
    return changed


# ---------------------------------------------------------------------------------------------------------------
# From a notebook edited in JupyterLab back to its source


def source_of(root: Path, notebook: Path) -> Path:
    """Return the source that a lecture or solution notebook was built from."""
    try:
        kind, *rest = notebook.resolve().relative_to(root.resolve()).parts
    except ValueError:
        kind, rest = "", []
    if kind == "exercises":
        raise SourceError(f"{notebook} has lost its solutions: edit the notebook of that name under solutions/.")
    lecture = kind == "lectures" and len(rest) == 1 and LECTURE.fullmatch(notebook.stem)
    solution = kind == "solutions" and len(rest) == 2
    if notebook.suffix != ".ipynb" or not (lecture or solution):
        raise SourceError(f"{notebook} is neither lectures/NN_name.ipynb nor solutions/ASSIGNMENT/name.ipynb.")
    return (root / "sources").joinpath(*rest).with_suffix(".py")


def short_nbgrader(full: dict[str, Any]) -> dict[str, Any]:
    """Return the part of nbgrader's metadata that a source's cell line carries."""
    short: dict[str, Any] = {"solution": True} if full.get("solution") else {}
    if full.get("grade"):
        short["points"] = full.get("points", 0)
    elif full.get("locked"):
        short["locked"] = True
    return short


def carry_back(root: Path, notebook_path: Path) -> tuple[Path, list[str]]:
    """Write a notebook's cells into its source; cells that were not touched keep their text to the letter.

    Returns
    -------
    source : pathlib.Path
    new_names : list of str
        Names given to code cells that had none; better ones are the author's to find.

    Raises
    ------
    SourceError
        If the notebook is no lecture or solution, or is not a notebook at all.
    """
    source = source_of(root, notebook_path)
    try:
        notebook = nbformat.read(notebook_path, as_version=4)
    except (OSError, ValueError) as error:
        raise SourceError(f"{notebook_path} cannot be read as a notebook: {error}") from None

    known, own_text = {}, {}
    if source.is_file():
        old = read_source(source)
        texts = cell_texts(source.read_text(encoding="utf-8"))
        known = {cell.id: cell for cell in old.cells}
        own_text = {cell.id: text for cell, text in zip(old.cells, texts, strict=True)}

    source.parent.mkdir(parents=True, exist_ok=True)
    written, new_names = "", []
    for cell in notebook.cells:
        before = known.get(cell.get("id", ""))
        if before is not None and same_cell(before, cell):
            text = own_text[cell.id]
        else:
            name = cell.id if before is not None and not UNNAMED_TEXT.fullmatch(cell.id) else None
            if name is None and cell.cell_type == "code":
                name = next(f"new-{n}" for n in range(1, 1000) if f"new-{n}" not in {*known, *new_names})
                new_names.append(name)
            text = cell_to_text(cell, name)
            keep_pictures(cell, source.parent)
        written += text.rstrip("\n") + blank_lines_after(own_text.get(cell.get("id", ""), ""))
    written = written.rstrip("\n") + "\n"
    parse_source(written, source)
    source.write_text(written, encoding="utf-8")
    return source, new_names


def blank_lines_after(text: str) -> str:
    """Return what separates a cell from the next: as many blank lines as it had, at least one."""
    return "\n" * max(2, len(text) - len(text.rstrip("\n")))


def same_cell(before: NotebookNode, cell: NotebookNode) -> bool:
    """Tell whether a notebook's cell says what its source says."""
    return (
        before.cell_type == cell.cell_type
        and before.source.rstrip() == cell.source.rstrip()
        and short_nbgrader(before.metadata.get("nbgrader", {})) == short_nbgrader(cell.metadata.get("nbgrader", {}))
        and all(before.metadata.get(key) == cell.metadata.get(key) for key in CELL_METADATA - {"nbgrader"})
    )


def cell_to_text(cell: NotebookNode, name: str | None) -> str:
    """Write one cell in the percent format."""
    metadata = {key: cell.metadata[key] for key in ("alt", "tags", "jupyter", "slideshow") if key in cell.metadata}
    if name is not None:
        metadata["title"] = name
        short = short_nbgrader(cell.metadata.get("nbgrader", {}))
        if short:
            metadata["nbgrader"] = short
    if cell.cell_type == "code":
        bare = nbformat.v4.new_code_cell(cell.source.rstrip(), metadata=metadata)
    else:
        bare = nbformat.v4.new_markdown_cell(cell.source.rstrip(), metadata=metadata)
    filters = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "all"}
    notebook = nbformat.v4.new_notebook(cells=[bare], metadata={"jupytext": filters})
    return jupytext.writes(notebook, fmt="py:percent").rstrip("\n")


def keep_pictures(cell: NotebookNode, folder: Path) -> None:
    """Save pictures pasted into a text cell beside its source."""
    for name, data in cell.get("attachments", {}).items():
        if "image/png" in data and f"attachment:{name}" in cell.source:
            (folder / Path(name).name).write_bytes(base64.b64decode(data["image/png"]))


# ---------------------------------------------------------------------------------------------------------------
# Command line


def report(root: Path, changed: list[Path], seconds: float) -> None:
    """Say what was written."""
    names = ", ".join(str(path.relative_to(root)) for path in changed)
    print(f"{names or 'nothing to do'} ({seconds:.1f} s)", flush=True)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Build what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(prog="build.py", description="Build the notebooks from their sources.")
    parser.add_argument("what", choices=["lectures", "solutions", "exercises", "all", "back"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="lectures or assignments (default: all); a notebook")
    parser.add_argument("--force", action="store_true", help="execute lectures whose source has not changed, too")
    options = parser.parse_args(arguments)
    try:
        if options.what == "back":
            for notebook in options.names:
                source, new_names = carry_back(root, Path(notebook))
                print(f"{source.relative_to(root)} written", *(f"(name cell {name})" for name in new_names))
            return 0
        build(root, options.what, options.names, force=options.force)
    except SourceError as error:
        print(error, file=sys.stderr)
        return 2
    except NotebookFailure as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build(root: Path, what: str, names: list[str], *, force: bool) -> None:
    """Build the products of one kind, or all."""
    lectures, assignments = lecture_sources(root), assignment_sources(root)
    unknown = set(names) - {source.stem for source in lectures} - set(assignments)
    if unknown:
        raise SourceError(f"No source for {', '.join(sorted(unknown))} under {root / 'sources'}.")
    for source in lectures if what in ("lectures", "all") else []:
        if not names or source.stem in names:
            start = time.perf_counter()
            try:
                changed = build_lecture(root, source, force=force)
            except NotebookFailure as error:
                raise NotebookFailure(f"{source.relative_to(root)}: {error}", error.cell_id) from None
            report(root, [root / "lectures" / f"{source.stem}.ipynb"] if changed else [], time.perf_counter() - start)
    for assignment, sources in assignments.items() if what in ("solutions", "exercises", "all") else []:
        if not names or assignment in names:
            start = time.perf_counter()
            changed = build_solutions(root, assignment, sources)
            if what != "solutions":
                changed += build_exercises(root, assignment)
            report(root, changed, time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
