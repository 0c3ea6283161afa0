"""Where agents wait (tests/site/agent.py), and how one is asked: one for each host, and more where threads ask at once."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

# What is said of a host on which no agent can be started: the engine's own code for it.
NO_AGENT = 1
# And of a program whose host went away meanwhile: that of a program that was killed.
GONE = 137


class Lost(Exception):
    """An agent went away before it took a request."""


class Agent:
    """One agent, at the other end of two pipes."""

    def __init__(self, argv: list[str]) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.heard = b""

    def lives(self) -> bool:
        """Whether it may be asked."""
        return self.process.poll() is None

    def line(self, end: float) -> Any:
        """The next thing that it says, or nothing once it is gone."""
        assert self.process.stdout is not None
        while b"\n" not in self.heard:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                return None
            self.heard += chunk
        line, _, self.heard = self.heard.partition(b"\n")
        return json.loads(line)

    def ask(self, request: dict[str, Any], timeout: float) -> subprocess.CompletedProcess[str]:
        """Have something run."""
        end = time.monotonic() + timeout
        assert self.process.stdin is not None
        try:
            rest = memoryview(json.dumps(request).encode() + b"\n")
            while rest:
                rest = rest[self.process.stdin.write(rest) :]
        except BrokenPipeError as error:
            raise Lost from error
        try:
            if self.line(end) is None:
                raise Lost
            answer = self.line(end)
        except TimeoutError as error:
            self.close()
            raise subprocess.TimeoutExpired(request["argv"], timeout) from error
        if answer is None:
            return subprocess.CompletedProcess(request["argv"], GONE, "", "The host went away.")
        return subprocess.CompletedProcess(request["argv"], answer["code"], answer["out"], answer["err"])

    def close(self) -> str:
        """Leave it to itself: it ends once what it runs has ended. What it had to complain of."""
        self.process.kill()
        _, complaint = self.process.communicate()
        return complaint.decode("utf-8", "replace")


class Agents:
    """Agents that wait, by host."""

    def __init__(self, start: Callable[[str, str], Agent]) -> None:
        self.start = start
        self.idle: dict[str, list[Agent]] = defaultdict(list)
        self.lock = threading.Lock()

    def taken(self, container: str, program: str) -> Agent:
        """One that waits, or a new one."""
        with self.lock:
            while self.idle[container]:
                agent = self.idle[container].pop()
                if agent.lives():
                    return agent
                agent.close()
        return self.start(container, program)

    def ask(self, container: str, program: str, request: dict[str, Any], timeout: float) -> subprocess.CompletedProcess[str]:
        """Have an agent run something. A host that was restarted has lost its agents: then by a new one."""
        complaint = ""
        for _ in range(2):
            agent = self.taken(container, program)
            try:
                done = agent.ask(request, timeout)
            except Lost:
                complaint = agent.close()
                continue
            with self.lock:
                self.idle[container].append(agent)
            return done
        return subprocess.CompletedProcess(request["argv"], NO_AGENT, "", complaint)

    def close(self) -> None:
        """Leave all of them to themselves."""
        for agent in [agent for waiting in self.idle.values() for agent in waiting]:
            agent.close()
        self.idle.clear()


def in_container(container: str, program: str) -> Agent:
    """One that the engine starts."""
    return Agent(["docker", "exec", "-i", container, "python3", "-c", program])


_AGENTS = Agents(in_container)
ask = _AGENTS.ask
atexit.register(_AGENTS.close)
