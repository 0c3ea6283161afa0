"""The image of the scanners that `make audit` runs: none of them is ever installed on a host."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import images
from shell import ROOT, STATE, VENV, answer, run

NAME = f"{images.PREFIX}/audit"
SOURCES = ROOT / "lab/audit"
# The newest release has the newest scanners and the content that knows the other releases.
RELEASE = max(images.CODENAMES)
PYTHON = "3.13"  # of that release
IN_IMAGE = ("Dockerfile", "install.sh", "carry.sh", "ssh.py", "tls.py", "requirements.txt")


def ensure(note: Callable[[str], None]) -> str:
    """Have the image, building it where it is missing or not of these sources; give a line about it."""
    wanted = images.digest(*(f"{name}\n{(SOURCES / name).read_text(encoding='utf-8')}" for name in IN_IMAGE))
    label = f'{{{{index .Config.Labels "{images.IMAGE_LABEL}.hash"}}}}'
    if answer(["docker", "image", "inspect", "--format", label, NAME]) == wanted:
        return f"{NAME}: at hand"
    base, _ = images.ensure_base(RELEASE, note)
    mirror, security = images.machine_archives()
    context = STATE / "build/context-audit"
    shutil.rmtree(context, ignore_errors=True)
    (context / "wheels").mkdir(parents=True)
    try:
        for name in IN_IMAGE:
            shutil.copy(SOURCES / name, context)
        wheels(context / "wheels", note)
        images.docker_build(NAME, context, base, images.CODENAMES[RELEASE], mirror, security, {"hash": wanted}, note)
    finally:
        shutil.rmtree(context, ignore_errors=True)
    return f"{NAME}: built"


def wheels(target: Path, note: Callable[[str], None]) -> None:
    """Download the scanners from PyPI as this machine does, for the Python of the image, which may reach no index."""
    pip = [str(VENV / "bin/pip"), "--disable-pip-version-check"]
    pure, more = split((SOURCES / "requirements.txt").read_text(encoding="utf-8"))
    kind = [f"manylinux_2_{glibc}_{platform.machine()}" for glibc in (28, 17)] + [f"manylinux2014_{platform.machine()}"]
    for argv in (
        # One of them comes as source only, which this machine's pip can make a wheel of: it holds no machine code.
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(target), *pure],
        [
            *pip,
            *["download", "--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"],
            *[f"--platform={name}" for name in kind],
            *["--dest", str(target), *more],
        ],
    ):
        run(
            argv,
            "image-audit",
            doing="Downloading scanners",
            on_line=lambda line: note(f"{NAME}: {line.strip()[:70]}"),
            append=True,
            advice="Check that this machine reaches its Python package index, then run this again.",
        )


def split(requirements: str) -> tuple[list[str], list[str]]:
    """The scanners themselves, which come first in the file up to an empty line, and what they need."""
    first, _, rest = requirements.partition("\n\n")

    def names(text: str) -> list[str]:
        return [line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("#")]

    return names(first), names(rest)
