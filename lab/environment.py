"""The virtual environment: pinned versions from requirements.txt, made once and remade when that file changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable

from shell import ROOT, VENV, LabError, answer, apt_install, run

REQUIREMENTS = ROOT / "requirements.txt"
STAMP = VENV / ".requirements"
OLDEST = (3, 11)


def wanted() -> str:
    """What the environment was made from: the requirements and this Python."""
    return hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode() + str(VENV).encode()).hexdigest()


def versions() -> str:
    """A line about the parts that people ask about."""
    code = (
        "import importlib.metadata as m; print('ansible-core', m.version('ansible-core') + ', molecule', m.version('molecule'))"
    )
    return answer([str(VENV / "bin/python"), "-c", code]) or "unknown versions"


def environment() -> dict[str, str]:
    """Variables with which the environment's programs are run."""
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"PATH": path, "VIRTUAL_ENV": str(VENV), "PYTHONDONTWRITEBYTECODE": "1", "ANSIBLE_FORCE_COLOR": "0"}


def ensure(note: Callable[[str], None]) -> str:
    """Have the environment; give a line about it."""
    if sys.version_info < OLDEST:
        raise LabError(
            f"Python {sys.version.split()[0]} is too old: ansible-core 2.19 needs {'.'.join(map(str, OLDEST))} or newer. Run this on "
            "Debian 12 or 13, or call lab/lab.py with a newer python3."
        )
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted():
        return versions()
    note("making .venv")
    make = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    try:
        import ensurepip  # noqa: F401  (only to see whether Debian's python3-venv is there)
    except ImportError:
        apt_install(["python3-venv"], "apt", "The virtual environment")
    try:
        run(make, "venv", doing="Making .venv")
        run(
            [str(VENV / "bin/pip"), "install", "--disable-pip-version-check", "--requirement", str(REQUIREMENTS)],
            "venv",
            doing="Installing requirements.txt into .venv",
            on_line=lambda line: note(line.strip()[:70]),
            append=True,
            advice="Check that this machine reaches its Python package index, then run this again.",
        )
    except LabError:
        shutil.rmtree(VENV, ignore_errors=True)
        raise
    STAMP.write_text(wanted(), encoding="utf-8")
    return versions()
