"""What `make bench` does on the lab's hosts: counts arrivals, sends, reads mailboxes, weighs processes.

This file is sent to a host and run there, so it imports nothing but the standard library. The name of a function is its
argument; its own arguments come as one line of JSON on standard input, and each thing it has to say is one line of JSON on
standard output. Times are those of the kernel's monotonic clock, which all containers of a machine share.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import poplib
import pwd
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

# How often an arrival is looked for (seconds): a fraction of what one measurement takes.
LOOK = 0.01
MARK = ".bench."


def say(value: Any) -> None:
    """One line of JSON to whoever called."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _when(count: Callable[[], int], wanted: int, patience: float) -> None:
    """Say that we look, and then when as much was there as is wanted, or how much was when patience ended."""
    say("looking")
    end = time.monotonic() + patience
    while (found := count()) < wanted and time.monotonic() < end:
        time.sleep(LOOK)
    say({"count": found, "time": time.monotonic()})


def sink(path: str, wanted: int, patience: float) -> None:
    """Wait until smtp-sink, which writes its counters to a file, has counted so many messages more than it has now."""

    def counted() -> int:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.path.getsize(path) - 200))
            found = re.findall(rb"mesg=(\d+)", stream.read())
        return int(found[-1]) if found else 0

    before = counted()
    _when(lambda: counted() - before, wanted, patience)


def _letters(box: str) -> list[os.DirEntry[str]]:
    """The messages of a mailbox."""
    return [entry for part in ("new", "cur") if os.path.isdir(f"{box}/{part}") for entry in os.scandir(f"{box}/{part}")]


def mailbox(box: str, wanted: int, patience: float) -> None:
    """Wait until a mailbox holds so many messages more than it does now."""
    before = len(_letters(box))
    _when(lambda: len(_letters(box)) - before, wanted, patience)


def known(box: str) -> None:
    """The names of the messages that a mailbox holds."""
    say([entry.name.partition(":")[0] for entry in _letters(box)])


def clean(box: str, keep: list[str]) -> None:
    """Take all messages but these out of a mailbox; how many that were."""
    stale = [entry.path for entry in _letters(box) if entry.name.partition(":")[0] not in set(keep)]
    for path in stale:
        os.unlink(path)
    say(len(stale))


def fill(box: str, user: str, wanted: int, size: int) -> None:
    """Put messages into a mailbox, as its owner."""
    account = pwd.getpwnam(user)
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    lines = ("x" * 70 + "\n") * (size // 71)
    for number in range(wanted):
        text = f"From: <bench@bench.example>\nTo: <{user}@bench.example>\nSubject: {number}\n\n{lines}"
        pathlib.Path(f"{box}/new/{int(time.time())}{MARK}{number}").write_text(text, encoding="ascii")
    say(len(_letters(box)))


def send(
    target: str, sender: str, recipient: str, size: int, parallel: int, count: int, keep: bool, source: str, patience: float
) -> None:
    """Send with smtp-source, which ends with an error at the first reply that is not as it should be."""
    argv = [source, "-4", "-C", "100", "-M", "sender.bench.example", "-s", str(parallel), "-m", str(count), "-l", str(size)]
    argv += [*(["-d"] if keep else []), "-f", sender, "-t", recipient, f"inet:{target}"]
    begun = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=patience)
    say({"time": begun, "end": time.monotonic(), "status": done.returncode, "said": (done.stdout + done.stderr).strip()[-300:]})


def ready(address: str, port: int, patience: float) -> None:
    """Wait until a server greets; an empty greeting when it has not by then."""
    end = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((address, port), 2) as sock:
                sock.settimeout(5)
                greeting = sock.recv(512).decode("latin-1").strip()
        except OSError:
            greeting = ""
        if greeting.startswith("220") or time.monotonic() > end:
            say(greeting)
            return
        time.sleep(LOOK * 5)


def hold(address: str, port: int, count: int) -> None:
    """Open connections, greet, say so, and hold them until the caller has something to say or goes."""
    held = []
    for _ in range(count):
        sock = socket.create_connection((address, port), 20)
        stream = sock.makefile("rb")
        stream.readline()
        sock.sendall(b"HELO sender.bench.example\r\n")
        held.append((sock, stream.readline()))
    say(sum(reply.startswith(b"250") for _, reply in held))
    sys.stdin.readline()


def weigh(pid: int) -> None:
    """The memory (proportional set size, KiB) and the number of a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    family, todo = [], [pid]
    while todo:
        family.append(todo.pop())
        todo += children.get(family[-1], [])
    weight = 0
    for member in family:
        try:
            found = re.search(r"Pss:\s+(\d+)", pathlib.Path(f"/proc/{member}/smaps_rollup").read_text())
        except OSError:
            continue
        weight += int(found[1]) if found else 0
    say({"kib": weight, "processes": len(family)})


def cpu() -> None:
    """Processor time of all that this container has run, in seconds."""
    for line in pathlib.Path("/proc/1/cgroup").read_text().splitlines():
        _number, names, path = line.split(":", 2)
        own = path.removesuffix("/init.scope")
        if "cpuacct" in names.split(","):
            say(int(pathlib.Path(f"/sys/fs/cgroup/cpuacct{own}/cpuacct.usage").read_text()) / 1e9)
            return
        if not names and os.path.exists(f"/sys/fs/cgroup{own}/cpu.stat"):
            found = re.search(r"usage_usec (\d+)", pathlib.Path(f"/sys/fs/cgroup{own}/cpu.stat").read_text())
            assert found
            say(int(found[1]) / 1e6)
            return


def pop(address: str, port: int, user: str, password: str, parallel: int, seconds: float, letters: int) -> None:
    """Log in as often as possible for some seconds, or, where letters are wanted, retrieve them one by one over each connection."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def one(number: int) -> int:
        done, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            box = poplib.POP3_SSL(address, port, timeout=60, context=context)
            box.user(user)
            box.pass_(password)
            if letters:
                while done < letters and time.monotonic() < end:
                    box.retr(number * letters + done + 1)
                    done += 1
                box.quit()
                break
            box.quit()
            done += 1
        return done

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max_workers=parallel) as pool:
        total = sum(pool.map(one, range(parallel)))
    say({"count": total, "seconds": time.monotonic() - begun})


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.stdin.readline()))
