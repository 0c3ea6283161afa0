# SPDX-License-Identifier: MIT
"""A timed way back: files that are put back, and commands that are run, unless somebody confirms in time.

Shared by the modules `text_files`, which arms it, and `rollback_confirm`. Both the files that were replaced and the script that
puts them back lie under /run: a reboot ends what was not confirmed in the state that is on disk.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Sequence

DIRECTORY = "/run/ansible-rollback"
NAME = re.compile(r"^[a-z][a-z0-9-]*$")
ABSENT = ".absent"
Run = Callable[..., tuple[int, str, str]]


def directory(name: str) -> str:
    """Where the copies and the script of one rollback lie."""
    return os.path.join(DIRECTORY, name)


def timer(name: str) -> str:
    """The transient timer that stands for an armed rollback."""
    return f"ansible-rollback-{name}.timer"


def copy_of(place: str, path: str) -> str:
    """Where the copy of a path lies."""
    return os.path.join(place, path.strip("/").replace("%", "%25").replace("/", "%2F"))


def script(name: str, place: str, paths: Iterable[str], commands: Iterable[Sequence[str]]) -> str:
    """The shell script that puts everything back, each file by a rename."""
    lines = ["#!/bin/sh", f"# Puts back what nobody confirmed ({name}).", "rc=0"]
    for path in paths:
        kept, new = copy_of(place, path), f"{path}.rollback"
        back = f"cp -a {shlex.quote(kept)} {shlex.quote(new)} && mv {shlex.quote(new)} {shlex.quote(path)} || rc=1"
        lines.append(f"if [ -e {shlex.quote(kept + ABSENT)} ]; then rm -f {shlex.quote(path)}; else {back}; fi")
    lines += [f"{shlex.join(command)} || rc=1" for command in commands]
    said = f"{name}: not confirmed in time, the former files were put back"
    lines += [f"logger -p daemon.warning -t ansible-rollback {shlex.quote(said)}", f"rm -rf {shlex.quote(place)}", "exit $rc"]
    return "\n".join(lines) + "\n"


def keep(place: str, path: str) -> None:
    """Copy a file with owner and mode, or note that there is none; an older copy, never confirmed, is the one that counts."""
    kept = copy_of(place, path)
    if os.path.exists(kept) or os.path.exists(kept + ABSENT):
        return
    if not os.path.exists(path):
        with open(kept + ABSENT, "w", encoding="utf-8"):
            return
    shutil.copy2(path, kept + ".new")
    state = os.stat(path)
    os.chown(kept + ".new", state.st_uid, state.st_gid)
    os.chmod(kept + ".new", state.st_mode & 0o7777)
    os.rename(kept + ".new", kept)


def kept_paths(place: str) -> list[str]:
    """The paths whose former state lies there."""
    entries = [entry.removesuffix(ABSENT) for entry in os.listdir(place) if entry != "script"] if os.path.isdir(place) else []
    return sorted("/" + entry.replace("%2F", "/").replace("%25", "%") for entry in entries)


def former(name: str, path: str) -> str:
    """The text that would be put back; nothing where there was no file, or no text."""
    try:
        with open(copy_of(directory(name), path), encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def arm(run: Run, name: str, seconds: int, paths: Iterable[str], commands: Iterable[Sequence[str]]) -> str | None:
    """Keep copies and start the timer; the reason where it cannot be had."""
    place = directory(name)
    os.makedirs(place, mode=0o700, exist_ok=True)
    for path in paths:
        keep(place, path)
    with open(os.path.join(place, "script"), "w", encoding="utf-8") as file:
        file.write(script(name, place, kept_paths(place), commands))
    run(["systemctl", "stop", timer(name)])  # of a run that was broken off; most often there is none
    rc, _out, err = run(
        [
            "systemd-run",
            "--quiet",
            f"--unit={timer(name).removesuffix('.timer')}",
            f"--on-active={seconds}s",
            "--timer-property=AccuracySec=1s",
            "/bin/sh",
            os.path.join(place, "script"),
        ]
    )
    return (err.strip() or f"systemd-run ended with {rc}") if rc else None


def armed(run: Run, name: str) -> bool:
    """Whether the timer runs: it has not fired and has not been confirmed."""
    return run(["systemctl", "is-active", "--quiet", timer(name)])[0] == 0


def unconfirmed(run: Run, name: str) -> list[str]:
    """The paths that a run which was broken off has replaced, and that would still be put back."""
    return kept_paths(directory(name)) if armed(run, name) else []


def confirm(run: Run, name: str) -> None:
    """Stay with what is there now."""
    run(["systemctl", "stop", timer(name)])
    shutil.rmtree(directory(name), ignore_errors=True)
