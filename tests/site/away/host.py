"""The host itself: its processes, its files, its sockets."""

from __future__ import annotations

import errno
import grp
import json
import os
import pathlib
import pwd
import select
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.site.away.common import main, say


def socket_opens(path: str, user: str) -> bool:
    """Whether a user can open a connection to a Unix socket."""
    person = pwd.getpwnam(user)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups(os.getgrouplist(user, person.pw_gid))
        os.setgid(person.pw_gid)
        os.setuid(person.pw_uid)
        with socket.socket(socket.AF_UNIX) as sock:
            failed = sock.connect_ex(path)
        os.write(writer, str(failed).encode())
        os._exit(0)
    os.waitpid(child, 0)
    failure = int(os.read(reader, 16))
    # Anything else, such as a missing socket, says nothing about permissions.
    if failure not in (0, errno.EACCES):
        raise OSError(failure, os.strerror(failure), path)
    return failure == 0


def _rights(status: dict[str, str]) -> list[str]:
    """What /proc/PID/status says of what a process may do."""
    return [value for key, value in status.items() if key in ("Uid", "NoNewPrivs") or key.startswith("Cap")]


def _looks(seconds: float) -> Iterator[None]:
    """One look after the other, until input ends or that time is over, and one look more."""
    end = time.monotonic() + seconds
    while time.monotonic() <= end and not select.select([sys.stdin], [], [], 0)[0]:
        yield
    yield


def _status(pid: str) -> dict[str, str]:
    """/proc/PID/status by its keys; empty where the process has ended.

    The kernel looks up users and capabilities one after the other, so a process that changes from one to another meanwhile
    seems to have the former's users and the latter's capabilities: only what is read twice was ever so.
    """
    before: dict[str, str] = {}
    while True:
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                now = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except OSError:
            return {}
        if before and _rights(now) == _rights(before):
            return now
        before = now


def processes(program: str) -> list[dict[str, Any]]:
    """All processes of a program (the name that the kernel has for it): user ids, capabilities, and whether it can gain more."""
    out = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line)
        except OSError:
            continue  # it has ended meanwhile
        if status["Name"] != program:
            continue
        out.append(
            {
                "pid": int(entry.name),
                "parent": int(status["PPid"]),
                "uids": [int(number) for number in status["Uid"].split()],
                "no_new_privileges": status["NoNewPrivs"] == "1",
                "capabilities": {key: int(value, 16) for key, value in status.items() if key.startswith("Cap")},
            }
        )
    return out


def watch_session(units: list[str], programs: list[str], seconds: float = 60) -> None:
    """Look at all processes again and again, until input ends: say "ready", then what was seen, each state once.

    Processes of interest are in a unit's control group or have a program's name. A state is what a process is allowed to do;
    the number of rounds and of processes seen tells how close the look was.
    """
    say("ready")
    seen: dict[str, dict[str, Any]] = {}
    pids: set[str] = set()
    rounds = 0
    for _ in _looks(seconds):
        rounds += 1
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or not (status := _status(pid)):
                continue
            try:
                with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
                    groups = {part for line in file for part in line.strip().split("/")}
                program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            except OSError:
                continue  # it has ended, or is a thread of the kernel
            unit = next((unit for unit in units if unit in groups), "")
            if not unit and status["Name"] not in programs:
                continue
            pids.add(pid)
            state = {
                "unit": unit,
                "name": status["Name"],
                "program": program,
                "child": status["PPid"] != "1",
                "uids": [int(number) for number in status["Uid"].split()],
                "no_new_privileges": status["NoNewPrivs"] == "1",
                "capabilities": {key: int(value, 16) for key, value in status.items() if key.startswith("Cap")},
            }
            seen.setdefault(json.dumps(state), state)
    say({"rounds": rounds, "processes": len(pids), "states": list(seen.values())})


def words_session(words: list[str], seconds: float = 120) -> None:
    """Look for words in the arguments and the environment of all processes, until input ends: "ready", then where they were."""
    say("ready")
    found = set()
    rounds = 0
    own = str(os.getpid())
    for _ in _looks(seconds):
        rounds += 1
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or pid == own:
                continue
            for name in ("cmdline", "environ"):
                try:
                    text = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
                except OSError:
                    continue
                if any(word.encode() in text for word in words):
                    # The name of the program, not what it was given.
                    found.add(f"{name} of {text.split(bytes(1))[0].decode('latin-1')[:80] if name == 'cmdline' else pid}")
    say({"rounds": rounds, "found": sorted(found)})


# File systems of the kernel: no files of anybody's.
# fmt: off
KERNEL = frozenset({
    "autofs", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "fusectl", "hugetlbfs", "mqueue", "nsfs",
    "proc", "pstore", "securityfs", "sysfs", "tracefs",
})
# fmt: on


def odd_files() -> dict[str, list[str]]:
    """Every file and directory of this host that lends a privilege, that everybody may write, or that is nobody's."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        foreign = {line.split()[1] for line in file if line.split()[2] in KERNEL}
    users = {line.split(":")[2] for line in subprocess.check_output(["getent", "passwd"], text=True).splitlines()}
    groups = {line.split(":")[2] for line in subprocess.check_output(["getent", "group"], text=True).splitlines()}
    found: dict[str, list[str]] = {"set-id": [], "capabilities": [], "writable": [], "unowned": [], "looked at": []}
    count = 0
    for top, directories, files in os.walk("/"):
        directories[:] = [name for name in directories if os.path.join(top, name) not in foreign]
        for name in [*directories, *files, ""]:
            path = os.path.join(top, name) if name else top
            try:
                entry = os.lstat(path)
            except FileNotFoundError:
                continue
            count += 1
            kind, mode = stat.S_IFMT(entry.st_mode), stat.S_IMODE(entry.st_mode)
            if kind == stat.S_IFREG and mode & (stat.S_ISUID | stat.S_ISGID):
                names = pwd.getpwuid(entry.st_uid).pw_name, grp.getgrgid(entry.st_gid).gr_name
                found["set-id"].append(f"{path} {mode:o} {names[0]} {names[1]}")
            if kind == stat.S_IFREG and "security.capability" in os.listxattr(path, follow_symlinks=False):
                found["capabilities"].append(path)
            if mode & stat.S_IWOTH and (
                kind in (stat.S_IFREG, stat.S_IFIFO) or (kind == stat.S_IFDIR and not mode & stat.S_ISVTX)
            ):
                found["writable"].append(f"{path} {mode:o}")
            if str(entry.st_uid) not in users or str(entry.st_gid) not in groups:
                found["unowned"].append(f"{path} {entry.st_uid}:{entry.st_gid}")
    found["looked at"].append(str(count))
    return {key: sorted(set(paths)) for key, paths in found.items()}


if __name__ == "__main__":
    main(globals())
