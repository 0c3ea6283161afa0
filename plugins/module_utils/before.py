# SPDX-License-Identifier: MIT
"""The record of how a host was before a role of this collection first changed it: what `put_back` goes by.

Taken once, by the first role that comes to a host, and never again. It holds all of /etc with the keys in it, so it is root's alone.
"""

from __future__ import annotations

import fnmatch
import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

PLACE = "/var/lib/widgets-mail"
RECORD = f"{PLACE}/before.tar.gz"
# Kept with their contents.
TREES = ("/etc", "/root", "/usr/local")
# Neither kept nor looked at: Ansible's own, and what is nobody's files.
PASSED_OVER = ("/root/.ansible", "/proc", "/sys", "/dev", "/run", "/tmp", PLACE)
# Of everything else, owner and mode.
STATS, STATE = "stats", "state.json"
KERNEL = "/proc/sys"
KERNEL_PARTS = ("fs", "kernel", "net", "vm")

Run = Callable[..., Any]


class Stat(NamedTuple):
    """Whose a file is, and what may be done with it."""

    uid: int
    gid: int
    mode: int


def within(path: str, places: tuple[str, ...]) -> bool:
    """Whether a path is one of some places, or below one."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


def walk(top: str = "/") -> Iterator[tuple[str, os.stat_result]]:
    """Every file and directory of the root file system that is looked at."""
    device = os.lstat(top).st_dev
    for directory, directories, files in os.walk(top):
        directories[:] = [
            name
            for name in directories
            if not within(os.path.join(directory, name), PASSED_OVER)
            and os.lstat(os.path.join(directory, name)).st_dev == device
        ]
        for name in [*directories, *files]:
            path = os.path.join(directory, name)
            try:
                yield path, os.lstat(path)
            except FileNotFoundError:
                continue


def kernel_settings() -> dict[str, str]:
    """The kernel's settings that can be read, as sysctl names them."""
    out = {}
    for part in KERNEL_PARTS:
        for directory, _directories, files in os.walk(f"{KERNEL}/{part}"):
            for name in files:
                path = os.path.join(directory, name)
                try:
                    with open(path, encoding="latin-1") as file:
                        out[path[len(KERNEL) + 1 :]] = file.read().strip()
                except OSError:
                    continue
    return out


def units(run: Run) -> dict[str, str]:
    """What is to happen to each unit at boot."""
    _rc, out, _err = run(["systemctl", "list-unit-files", "--no-legend", "--plain", "--no-pager"])
    return {line.split()[0]: line.split()[1] for line in out.splitlines() if len(line.split()) > 1}


def active(run: Run) -> list[str]:
    """The units that run."""
    _rc, out, _err = run(["systemctl", "list-units", "--state=active", "--no-legend", "--plain", "--no-pager"])
    return sorted(line.split()[0] for line in out.splitlines() if line.split())


def packages(run: Run) -> list[str]:
    """The packages that are installed."""
    _rc, out, _err = run(["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n"])
    return sorted({line.split()[1] for line in out.splitlines() if line.startswith("installed ")})


def taken() -> bool:
    """Whether there is a record."""
    return os.path.exists(RECORD)


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def take(run: Run) -> None:
    """Write the record, whole or not at all."""
    os.makedirs(PLACE, mode=0o700, exist_ok=True)
    _rc, overrides, _err = run(["dpkg-statoverride", "--list"])
    state = {
        "packages": packages(run),
        "units": units(run),
        "active": active(run),
        "overrides": overrides.splitlines(),
        "kernel": kernel_settings(),
    }
    stats = "".join(
        f"{found.st_uid} {found.st_gid} {stat.S_IMODE(found.st_mode):o} {path}\n"
        for path, found in walk()
        if not within(path, TREES) and not stat.S_ISLNK(found.st_mode)
    )
    handle, name = tempfile.mkstemp(dir=PLACE)
    try:
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as tar:
            _add(tar, STATE, json.dumps(state))
            _add(tar, STATS, stats)
            for tree in TREES:
                tar.add(tree, arcname=tree, filter=lambda entry: None if within(f"/{entry.name}", PASSED_OVER) else entry)
        os.replace(name, RECORD)
    except BaseException:
        os.unlink(name)
        raise


class Record:
    """A record that was taken."""

    def __init__(self, path: str = RECORD) -> None:
        self._tar = tarfile.open(path)  # noqa: SIM115
        self._entries = {f"/{entry.name.strip('/')}": entry for entry in self._tar.getmembers()}
        self.state: dict[str, Any] = json.loads(self._text(STATE))
        self.stats: dict[str, Stat] = {}
        for line in self._text(STATS).split("\n"):
            if line.count(" ") >= 3:
                uid, gid, mode, place = line.split(" ", 3)
                self.stats[place] = Stat(int(uid), int(gid), int(mode, 8))

    def _text(self, name: str) -> str:
        file = self._tar.extractfile(name)
        assert file is not None
        return file.read().decode("utf-8", "surrogateescape")

    def entry(self, path: str) -> tarfile.TarInfo | None:
        """A file or directory as it was; None where there was none, or where its content was not kept."""
        return self._entries.get(path)

    def content(self, path: str) -> bytes:
        """What a file held."""
        file = self._tar.extractfile(self._entries[path])
        return file.read() if file else b""

    def below(self, path: str) -> list[str]:
        """What was below a directory, it included."""
        return sorted(name for name in self._entries if within(name, (path,)))

    def matching(self, pattern: str) -> list[str]:
        """What there was of a pattern; a star stands for no slash."""
        parts = pattern.count("/")
        return [name for name in self._entries if name.count("/") == parts and fnmatch.fnmatchcase(name, pattern)]

    def stat(self, path: str) -> Stat | None:
        """Whose something was, and its mode."""
        if entry := self._entries.get(path):
            return Stat(entry.uid, entry.gid, entry.mode)
        return self.stats.get(path)

    def setid(self) -> list[str]:
        """The files that lent somebody's rights."""
        return [path for path, found in self.stats.items() if found.mode & (stat.S_ISUID | stat.S_ISGID)]

    def lines(self, path: str) -> dict[str, list[str]]:
        """The lines of a file such as /etc/passwd by their first field."""
        rows = [line.split(":") for line in self.content(path).decode("utf-8").splitlines()]
        return {row[0]: row for row in rows}
