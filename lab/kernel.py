"""What the machine's kernel has left for the lab's hosts: asked before they are made, since nothing else says clearly that it is too little.

Each host's daemons watch files by inotify, and the kernel counts the watchers of a user, root's of all containers together. Where there
are too many, programs say "too many open files" (wireguard-go), or do not start.
"""

from __future__ import annotations

import os
from pathlib import Path

from shell import LabError, answer

PROC = Path("/proc")
LIMIT = "fs.inotify.max_user_instances"
# Of root's watchers, on the host that has most of them (the tunnels' end); the others have 5 to 7. One lab fits into the usual 128.
PER_HOST = 8
# Two labs, the machine, and room.
ENOUGH = 512


def limit(proc: Path = PROC) -> int | None:
    """How many watchers a user may have; None where the kernel does not say."""
    try:
        return int((proc / "sys" / LIMIT.replace(".", "/")).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def in_use(proc: Path = PROC, owner: int = 0) -> int:
    """How many a user's processes have, of those that may be looked at."""
    found = 0
    for process in proc.iterdir():
        try:
            if process.name.isdigit() and process.stat().st_uid == owner:
                found += sum(os.readlink(entry) == "anon_inode:inotify" for entry in os.scandir(process / "fd"))
        except OSError:
            continue  # it has ended, or is not ours to look at
    return found


def shortage(allowed: int, used: int, hosts: int) -> str:
    """What is to be said where so many more hosts have no room; nothing where they have."""
    needed = hosts * PER_HOST
    if not hosts or used + needed <= allowed:
        return ""
    wanted = max(ENOUGH, 2 * (used + needed))
    return (
        f"{LIMIT} is {allowed} on this machine, and {used} are in use: {hosts} more hosts of a lab may take up to {needed}. Their daemons "
        f'would say "too many open files", or not start. As root: sysctl -w {LIMIT}={wanted} (a line {LIMIT} = {wanted} in a file below '
        "/etc/sysctl.d keeps it), or remove another lab (make destroy); then run this again."
    )


def local_engine() -> bool:
    """Whether containers run under this machine's kernel, as far as its address tells."""
    return os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")


def ensure(names: list[str]) -> None:
    """Refuse to go on where the containers of these names, of which some may run, have no room."""
    allowed = limit()
    if allowed is None or not local_engine():
        return
    running = set((answer(["docker", "ps", "--format", "{{.Names}}"]) or "").split())
    if said := shortage(allowed, in_use(), len(set(names) - running)):
        raise LabError(said)
