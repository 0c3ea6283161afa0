# SPDX-License-Identifier: MIT
"""Notes of how a host was before a role of this collection came to it: what `put_back` goes by.

A role that has no note gets one before it changes anything; roles that come together share it, and a role that goes takes its note along.
A note holds the files of /etc, keys included, so it is root's alone.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PLACE = "/var/lib/widgets-mail"
# role -> {record: name of a file beside it, or null for a role that was here before there were notes; leaving: true}
NOTES = f"{PLACE}/roles.json"
# Kept with its contents, but for files larger than this many octets.
TREE = "/etc"
LARGEST = 1 << 20
# Of all else, whether it was there, whose it was, and its mode. Not of these: the kernel's, and what is gone at the next boot.
PASSED_OVER = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp")
# People's files, mail and data can be many: so many levels of them are looked at.
LEVELS = {
    "/home": 1,
    "/root": 1,
    "/srv": 1,
    "/media": 1,
    "/mnt": 1,
    "/var/mail": 1,
    "/var/spool": 1,
    "/var/cache": 1,
    "/var/lib": 2,
}
# File systems that a host's own programs may lie on.
DISKS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "overlay", "zfs", "f2fs"}
STATS, STATE = "stats.json", "state.json"
KERNEL = "/proc/sys"
KERNEL_PARTS = ("dev", "fs", "kernel", "net", "vm")
# What the roles' templates begin with.
MARK = re.compile(rb"(?:by the role|Managed by Ansible \(role) (\w+)")

Run = Callable[..., Any]


def closed(mounts: str) -> set[str]:
    """The directories that are not looked into, by /proc/self/mounts."""
    rows = [line.split(" ") for line in mounts.splitlines()]
    return {*PASSED_OVER, *(row[1] for row in rows if len(row) > 2 and row[2] not in DISKS)}


def walk(shut: set[str], top: str = "/") -> Iterator[tuple[str, os.stat_result]]:
    """Every file and directory that is looked at. Directories at which it ends are added to those that are shut."""
    for directory, directories, files in os.walk(top):
        for place, levels in LEVELS.items():
            below = directory[len(place) :]
            if directory.startswith(place) and below[:1] in ("", "/") and below.count("/") == levels:
                shut.add(directory)
        if directory in shut:
            directories[:], files = [], []
        for name in [*directories, *files]:
            path = os.path.join(directory, name)
            try:
                yield path, os.lstat(path)
            except FileNotFoundError:
                continue


def kernel_settings() -> dict[str, str]:
    """The kernel's settings that can be read, as paths below /proc/sys."""
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


def packages(run: Run, status: str = "installed") -> list[str]:
    """The packages that are installed, or in another state."""
    _rc, out, _err = run(["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n"])
    return sorted({line.split()[1] for line in out.splitlines() if line.startswith(f"{status} ")})


def notes() -> dict[str, dict[str, Any]] | None:
    """Each role that has come to the host and not gone again; None where no role has come yet."""
    try:
        with open(NOTES, encoding="utf-8") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return None


def write(path: str, fill: Callable[[Any], None]) -> None:
    """Write a file of ours, whole or not at all."""
    os.makedirs(PLACE, mode=0o700, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=PLACE)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def keep(noted: dict[str, dict[str, Any]]) -> None:
    """Write who has come, and drop the records that nobody goes by any longer."""
    write(NOTES, lambda file: file.write(json.dumps(noted, indent=1, sort_keys=True).encode()))
    wanted = {note["record"] for note in noted.values()}
    for name in os.listdir(PLACE):
        if name.startswith("before-") and name not in wanted:
            os.unlink(f"{PLACE}/{name}")


def unnoted(roles: Iterable[str]) -> bool:
    """Whether a role has no note, or one of an interrupted leave."""
    have = notes() or {}
    return any(role not in have or "leaving" in have[role] for role in roles)


def note(run: Run, roles: Iterable[str]) -> None:
    """Note how the host is, for the roles that have no note yet."""
    noted = notes() or {}
    for role in roles:
        noted.get(role, {}).pop("leaving", None)
    new = [role for role in roles if role not in noted]
    if new:
        numbers = [int(name[7:-7]) for name in os.listdir(PLACE) if name.startswith("before-")] if os.path.isdir(PLACE) else []
        record = f"before-{max(numbers, default=0) + 1}.tar.gz"
        foreign = take(run, f"{PLACE}/{record}") - set(noted)
        # A role that nobody noted has left its marks: the host is not what it was before the roles came.
        noted.update({role: {"record": None if foreign else record} for role in new})
    keep(noted)


def leaving(role: str) -> None:
    """Note that a role is about to go: what is left half done is not taken for done."""
    noted = notes() or {}
    noted[role]["leaving"] = True
    keep(noted)


def forget(role: str) -> None:
    """A role has gone."""
    noted = notes() or {}
    noted.pop(role, None)
    keep(noted)


def _add(tar: tarfile.TarFile, name: str, data: Any) -> None:
    text = json.dumps(data).encode("ascii")
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text))


def take(run: Run, path: str) -> set[str]:
    """Write a record of how the host is; the roles whose marks are in its files."""
    _rc, overrides, _err = run(["dpkg-statoverride", "--list"])
    tables = run(["nft", "list", "tables"])[1] if shutil.which("nft") else ""
    state: dict[str, Any] = {
        "packages": packages(run),
        "units": units(run),
        "active": active(run),
        "overrides": overrides.splitlines(),
        "tables": tables.splitlines(),
        "kernel": kernel_settings(),
    }
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        shut = closed(file.read())
    stats = [(name, found.st_uid, found.st_gid, found.st_mode) for name, found in walk(shut)]
    state["closed"] = sorted(shut)
    marks: set[str] = set()

    def fill(file: Any) -> None:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as tar:
            _add(tar, STATE, state)
            _add(tar, STATS, stats)
            for name, _uid, _gid, mode in stats:
                if name == TREE or name.startswith(f"{TREE}/"):
                    marks.update(_keep(tar, name, mode))

    write(path, fill)
    return marks


def _keep(tar: tarfile.TarFile, name: str, mode: int) -> set[str]:
    """Put a file into a record; whose mark it bears."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        return set()
    try:
        entry = tar.gettarinfo(name)
        if not stat.S_ISREG(mode):
            tar.addfile(entry)
            return set()
        with open(name, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return set()
    if len(data) > LARGEST:
        return set()
    # Of a file with two names, either may have to come back alone.
    entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", len(data)
    tar.addfile(entry, io.BytesIO(data))
    return {found.decode() for found in MARK.findall(data)}
