"""Runs other programs: their output goes to .lab/log, a failure becomes one paragraph with its last lines."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".lab"
LOGS = STATE / "log"
VENV = ROOT / ".venv"


class LabError(Exception):
    """Something went wrong that the person at the terminal can put right; the text says how."""


def is_root() -> bool:
    """Tell whether we may install packages and start the engine."""
    return os.geteuid() == 0


@contextlib.contextmanager
def log_file(name: str, append: bool = False) -> Iterator[Path]:
    """Give the path of a log, emptied unless it is to be continued."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{name}.log"
    if not append:
        path.write_text("", encoding="utf-8")
    yield path


def last_lines(lines: list[str]) -> list[str]:
    """Where most programs say what went wrong."""
    return lines[-12:]


def run(
    argv: list[str],
    log: str,
    *,
    doing: str,
    on_line: Callable[[str], None] | None = None,
    env: dict[str, str] | None = None,
    append: bool = False,
    advice: str = "",
    telling: Callable[[list[str]], list[str]] = last_lines,
) -> str:
    """Run a program to its end, give its output; raise LabError when it fails.

    `doing` completes the sentence "... failed"; `advice` tells what to do about it; `telling` picks the lines to show.
    """
    lines: list[str] = []
    with log_file(log, append) as path, path.open("a", encoding="utf-8") as out:
        out.write(f"$ {' '.join(argv)}\n")
        try:
            process = subprocess.Popen(
                argv,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise LabError(f"{doing} failed: the program {argv[0]} is not there. {advice}".rstrip()) from error
        with process:
            assert process.stdout is not None
            try:
                for coloured in process.stdout:
                    line = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
                    out.write(line)
                    out.flush()
                    lines.append(line.rstrip("\n"))
                    if on_line:
                        on_line(lines[-1])
            except BaseException:
                process.terminate()
                raise
    if process.returncode != 0:
        tail = "\n".join(f"    {line}" for line in telling(lines))
        message = f"{doing} failed (exit code {process.returncode}). {advice}".rstrip()
        raise LabError(f"{message}\n{tail}\nThe whole output is in {path.relative_to(ROOT)}.")
    return "\n".join(lines)


def answer(argv: list[str], timeout: float = 20) -> str | None:
    """Give what a quick question to a program prints, or None if it fails, hangs or is not there."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def apt_install(packages: list[str], log: str, why: str) -> None:
    """Install Debian packages on this machine; only root may, anybody else is told what is missing."""
    names = " ".join(packages)
    if not is_root():
        raise LabError(
            f"{why} needs the Debian package(s) {names}. Install them as root (apt-get install {names}) and run this again."
        )
    apt = ["apt-get", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"]
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    advice = "Check that this machine reaches its package mirror (apt-get update), then run this again."
    run([*apt, "update"], log, doing="apt-get update", env=env, append=True, advice=advice)
    run([*apt, "install", *packages], log, doing=f"Installing {names}", env=env, append=True, advice=advice)
