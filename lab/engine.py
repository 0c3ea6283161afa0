"""The container engine: one that answers is used as it is; where there is none, root gets Debian's and starts it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from shell import LOGS, STATE, LabError, answer, apt_install, is_root, run

PID_FILE = STATE / "dockerd.pid"
LOG = "dockerd"
START_SECONDS = 60
STOP_SECONDS = 30


def version() -> str | None:
    """Ask the engine for its version; None where none answers."""
    return answer(["docker", "version", "--format", "{{.Server.Version}}"])


def started_pid() -> int | None:
    """The engine that we started by hand and that still runs."""
    try:
        pid = int(PID_FILE.read_text(encoding="utf-8"))
        command = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return pid if command == "dockerd" else None


def ensure(note: Callable[[str], None]) -> str:
    """Have an engine that answers; give a line about it."""
    found = version()
    if found:
        return f"docker {found}, {'started by us' if started_pid() else 'was running'}"
    if not is_root():
        raise LabError(
            "No container engine answers, and installing or starting one needs root. Run this as root, or start Docker and "
            "let this user talk to it (group docker, or DOCKER_HOST), and run it again."
        )
    if shutil.which("dockerd") is None:
        note("installing docker.io")
        # Debian 13 has the client in a package of its own, Debian 12 has it in docker.io.
        apt_install(["docker.io", "iptables"], "apt", "The container engine")
        if shutil.which("docker") is None:
            apt_install(["docker-cli"], "apt", "The engine's client")
    if not version():
        note("starting dockerd")
        start_by_service() if Path("/run/systemd/system").is_dir() else start_by_hand()
    return f"docker {version()}, started by us"


def start_by_service() -> None:
    """Start the engine as the machine's service."""
    run(
        ["systemctl", "start", "docker.service"],
        LOG,
        doing="Starting docker.service",
        advice="`journalctl -u docker` tells why; put it right and run this again.",
    )
    wait(lambda: True)


def start_by_hand() -> None:
    """Start the engine in the background and keep its process id, so that what we started is all that we stop."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{LOG}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    PID_FILE.write_text(f"{process.pid}\n", encoding="utf-8")
    wait(lambda: process.poll() is None)


def wait(alive: Callable[[], bool]) -> None:
    """Wait until the engine answers, as long as it lives."""
    deadline = time.monotonic() + START_SECONDS
    while not version():
        if not alive() or time.monotonic() > deadline:
            path = LOGS / f"{LOG}.log"
            lines = path.read_text(encoding="utf-8").splitlines()[-12:] if path.exists() else []
            raise LabError(
                f"The container engine did not start within {START_SECONDS} s. Its last words:\n"
                + "\n".join(f"    {line}" for line in lines)
            )
        time.sleep(0.2)


def stop() -> str:
    """Stop the engine if we started it by hand; give a line about it."""
    pid = started_pid()
    PID_FILE.unlink(missing_ok=True)
    if pid is None:
        return "not ours, left running" if version() else "none running"
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            # Our own child would stay as a zombie; after a new start it is init's.
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return "stopped"
        except ChildProcessError:
            if not Path(f"/proc/{pid}").exists():
                return "stopped"
        time.sleep(0.1)
    raise LabError(f"The engine (process {pid}) did not stop within {STOP_SECONDS} s; `kill {pid}` by hand.")
