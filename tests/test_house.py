"""The house: what make, pip, CI and nbgrader are told."""

import fnmatch
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import DEBIAN_PACKAGES

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def run_make(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    return subprocess.run(
        [make, "-C", str(ROOT), *arguments], capture_output=True, text=True, env=environment, timeout=60, check=False
    )


def test_pins_name_every_dependency_and_torch_first():
    assert pins()[0].startswith("torch==")
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in pins()}
    wanted = PROJECT["project"]["dependencies"] + sum(PROJECT["project"]["optional-dependencies"].values(), [])
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert name and re.sub(r"[-_.]+", "-", name[0]).lower() in pinned, f"constraints.txt lacks {requirement}"


def test_pins_hold_on_every_machine():
    for line in pins():
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), f"{line!r}: no local build, no address"


def test_every_data_file_of_the_package_is_installed():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["mircourse"]
    for path in (ROOT / "mircourse").rglob("*"):
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
            name = path.relative_to(ROOT / "mircourse").as_posix()
            known = any(fnmatch.fnmatch(name, pattern) or Path(name).match(pattern) for pattern in patterns)
            assert known, f"{name} would be missing from an installed package: add it to package-data"


def test_ci_installs_what_tests_may_ask_for():
    lines = (ROOT / ".ci" / "debian-packages").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == set(DEBIAN_PACKAGES)


def test_help_names_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    shown = run_make("help", PATH="/usr/bin:/bin").stdout
    assert targets
    for target in set(targets[1].split()) - {"environment", "help"}:
        assert f"make {target}" in shown


def test_make_without_python_says_what_to_install(tmp_path):
    for tool in ("sh", "id"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    result = run_make("environment", f"VENV={tmp_path}/venv", PATH=str(tmp_path))
    assert result.returncode != 0
    assert "needs Python 3.11 to 3.14 and found none: install one" in result.stderr


def test_make_with_an_old_python_says_so(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = run_make("environment", f"VENV={tmp_path}/venv", f"PYTHON={old}", PATH="/usr/bin:/bin")
    assert result.returncode != 0
    assert f"{old} is not Python 3.11 to 3.14" in result.stderr


def test_make_without_venv_says_what_to_install(tmp_path):
    bare = tmp_path / "python3"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    bare.chmod(0o755)
    result = run_make("environment", f"VENV={tmp_path}/venv", f"PYTHON={bare}", PATH="/usr/bin:/bin")
    assert result.returncode != 0
    assert "sudo apt install python3-venv" in result.stderr


def test_nbgrader_is_patient_and_knows_its_folders():
    loader = pytest.importorskip("traitlets.config").PyFileConfigLoader
    config = loader("nbgrader_config.py", path=str(ROOT)).load_config()
    assert config.CourseDirectory.source_directory == "solutions"
    assert config.CourseDirectory.release_directory == "exercises"
    assert config.Execute.timeout > 60
