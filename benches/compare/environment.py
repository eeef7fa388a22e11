"""The Python packages that the comparisons need: from this interpreter, or else from `target/python`."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# Compiled packages are of one version of Python.
PACKAGES = ROOT / "target" / "python" / f"{sys.version_info.major}.{sys.version_info.minor}"
# What was asked for when the packages were installed.
STAMP = PACKAGES / "requirements.txt"


def require(*modules: str) -> None:
    """Makes `modules` importable; if one is missing, installs the pinned packages under `target/`."""
    if not missing(modules):
        return
    sys.path.insert(0, str(PACKAGES))
    if not missing(modules) and STAMP.exists() and STAMP.read_text() == REQUIREMENTS.read_text():
        return
    install()
    importlib.invalidate_caches()
    if missing(modules):
        sys.exit(f"error: {', '.join(missing(modules))} cannot be imported from {PACKAGES}: delete that folder")


def missing(modules: tuple[str, ...]) -> list[str]:
    return [name for name in modules if importlib.util.find_spec(name) is None]


def install() -> None:
    print(f"installing {REQUIREMENTS.relative_to(ROOT)} into {PACKAGES.relative_to(ROOT)}, once ...", file=sys.stderr)
    quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    command = [sys.executable, "-m", "pip", "install", *quiet, "--upgrade"]
    command += ["--target", str(PACKAGES), "--requirement", str(REQUIREMENTS)]
    if subprocess.run(command).returncode != 0:
        sys.exit(f"error: `{' '.join(command)}` failed; with no pip: apt-get install python3-pip")
    STAMP.write_text(REQUIREMENTS.read_text())
