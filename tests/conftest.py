"""What every test file shares: tests that need a Debian package say so, and skip by that name where it is absent."""

import os
from pathlib import Path

import pytest

# What shows that a package is there; on other systems the same thing may come from elsewhere.
DEBIAN_PACKAGES = {
    "fluid-soundfont-gm": lambda: Path("/usr/share/sounds/sf2/FluidR3_GM.sf2").is_file(),
    "musescore-general-soundfont-small": lambda: any(
        Path("/usr/share/sounds").glob("sf*/MuseScore_General*.sf*"),
    ),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked ``@pytest.mark.debian(package)`` where the package is absent; fail it in CI."""
    for marker in item.iter_markers("debian"):
        package = marker.args[0]
        if not DEBIAN_PACKAGES[package]():
            if os.environ.get("CI"):
                pytest.fail(f"CI lacks the Debian package {package}: add it to .ci/debian-packages")
            pytest.skip(f"needs the Debian package {package}")
