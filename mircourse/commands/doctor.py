"""Say what is installed, what is missing and what to do about it."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mircourse import __version__
from mircourse.errors import InputError

OLDEST_PYTHON = (3, 11)
_ROOMY_GIGABYTES = 2.0
# What has parts that pip cannot vouch for (shared libraries, a processor's instructions) is imported, too.
_TRIED = ("numpy", "soundfile", "torch")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    level : {'ok', 'advice', 'missing'}
        ``missing`` makes the course unusable; ``advice`` costs a part of it.
    what : str
    remedy : str
        What to do; empty for ``ok``.
    """

    level: str
    what: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``mircourse doctor``: none."""


def execute(arguments: argparse.Namespace) -> int:
    """Print the report.

    Returns
    -------
    int
        0, or 1 if the course cannot be used.
    """
    missing = advice = 0
    for check in (
        _python,
        _requirements,
        _imports,
        _torch,
        _soundfonts,
        _synthesizer,
        _checkpoints,
        _cache,
        _notebooks,
    ):
        for finding in _guarded(check):
            missing += finding.level == "missing"
            advice += finding.level == "advice"
            print(
                f"{finding.level:<8} {finding.what}"
                + (f"\n{'':<9}-> {finding.remedy}" if finding.remedy else "")
            )
    if missing:
        print(
            f"\nThe course cannot be used yet: {missing} thing{'s' * (missing != 1)} missing, see the arrows above."
        )
        return 1
    print(
        "\nThe course can be used"
        + (f"; {advice} thing{'s' * (advice != 1)} could be better." if advice else ".")
    )
    return 0


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Report a check that itself cannot be made: a doctor that falls ill is of no use."""
    try:
        yield from check()
    except InputError as error:  # says itself what to do
        yield Finding("missing", str(error))
    except Exception as error:  # a broken installation can raise anything
        yield Finding(
            "missing", f"{check.__name__.strip('_')}: {type(error).__name__}: {error}", _reinstall()
        )


def _reinstall() -> str:
    return f"{Path(sys.executable).name} -m pip install --upgrade mircourse, or `make lab` in a checkout"


def _python() -> Iterator[Finding]:
    import platform

    version = f"mircourse {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    cores = f"{os.cpu_count()} cores"
    if sys.version_info < OLDEST_PYTHON:
        yield Finding(
            "missing", f"{version}, {cores}", f"install Python {'.'.join(map(str, OLDEST_PYTHON))} or later"
        )
    else:
        yield Finding("ok", f"{version}, {cores}")


def _declared(extra: str = "") -> list:
    """Give the requirements of the core, or those that an extra adds, as far as they concern this machine."""
    from packaging.requirements import Requirement

    parsed = [Requirement(line) for line in _requirement_lines()]
    return [
        requirement
        for requirement in parsed
        if (requirement.marker is None and not extra)
        or (
            requirement.marker is not None
            and requirement.marker.evaluate({"extra": extra})
            and (not extra or not requirement.marker.evaluate({"extra": ""}))
        )
    ]


def _requirement_lines() -> list[str]:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return requires("mircourse") or []
    except PackageNotFoundError:
        import tomllib  # a checkout that runs without being installed

        with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
            project = tomllib.load(file)["project"]
        extras = project.get("optional-dependencies", {})
        return project["dependencies"] + [
            f'{line}; extra == "{name}"' for name in extras for line in extras[name]
        ]


def _versions(extra: str, level: str) -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    fine = []
    for requirement in _declared(extra):
        install = f'{Path(sys.executable).name} -m pip install "{requirement.name}{requirement.specifier}"'
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(level, f"{requirement.name} is not installed", install)
            continue
        if requirement.specifier.contains(installed, prereleases=True):
            fine.append(f"{requirement.name} {installed}")
        else:
            yield Finding(
                level, f"{requirement.name} {installed}, needed is {requirement.specifier}", install
            )
    if fine:
        yield Finding("ok", ", ".join(fine))


def _requirements() -> Iterator[Finding]:
    yield from _versions("", "missing")


def _imports() -> Iterator[Finding]:
    from importlib import import_module

    for name in _TRIED:
        try:
            import_module(name)
        except (ImportError, OSError) as error:
            yield Finding("missing", f"{name} is there but does not load: {error}", _reinstall())


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError):
        return  # said above
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        yield Finding("ok", f"computes on {torch.cuda.get_device_name()} ({memory:.0f} GB)")
    else:
        yield Finding("ok", f"computes on the CPU, {torch.get_num_threads()} threads (no CUDA device)")


def _soundfonts() -> Iterator[Finding]:
    from mircourse.band.soundfonts import find_soundfonts

    fonts = find_soundfonts()
    if fonts:
        yield Finding("ok", "SoundFonts: " + ", ".join(font.path.name for font in fonts))
    else:
        yield Finding("missing", "no SoundFont found", "reinstall pretty_midi, whose wheel brings TimGM6mb")
    if len(fonts) == 1:
        yield Finding(
            "advice",
            "one SoundFont only: the band has few timbres",
            "on Debian or Ubuntu: apt install fluid-soundfont-gm musescore-general-soundfont-small; elsewhere name "
            ".sf2 files in MIRCOURSE_SOUNDFONTS",
        )


def _synthesizer() -> Iterator[Finding]:
    from importlib.util import find_spec

    if not any(map(find_spec, ("midirenderer", "fluidsynth"))):
        yield Finding(
            "advice",
            "no SoundFont synthesizer: the band lacks its unheard piano",
            "pip install midirenderer; where it has no wheel, install FluidSynth and pip install pyfluidsynth",
        )


def _checkpoints() -> Iterator[Finding]:
    from mircourse.training.checkpoints import packaged_checkpoints

    shipped = packaged_checkpoints()
    if shipped:
        sizes = (f"{name} ({path.stat().st_size / 1e6:.1f} MB)" for name, path in shipped.items())
        yield Finding("ok", "checkpoints: " + ", ".join(sizes))
    else:
        yield Finding(
            "advice", "no checkpoint comes with this copy", "mircourse train piano --size mini --minutes 10"
        )


def _cache() -> Iterator[Finding]:
    import shutil

    from mircourse.cache import cache_folder

    folder = cache_folder()
    free = shutil.disk_usage(folder).free / 1e9
    if free < _ROOMY_GIGABYTES:
        yield Finding(
            "advice",
            f"cache folder {folder}: only {free:.1f} GB free, the band wants {_ROOMY_GIGABYTES:.0f} GB",
            "make room, or set MIRCOURSE_HOME to a folder on another disk",
        )
    else:
        yield Finding("ok", f"cache folder {folder}: {free:.0f} GB free")


def _notebooks() -> Iterator[Finding]:
    yield from _versions("lab", "advice")
