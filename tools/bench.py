#!/usr/bin/env python3
"""How fast the gateway is, beside Postfix and Debian's own sendmail at the same place of the running lab.

    python3 tools/bench.py [--cells 4k-10,...] [--rounds N] [--systems NAME,...] [--filters]    # `make bench` sees to the environment

The other servers are containers of the lab's own image that share the gateway's network: they stand at its address, behind the same
firewalls, and hand mail to the same host, so that only one of them runs at a time. What arrives there is counted by Postfix's
smtp-sink, or in a mailbox by the site's own store. Everything is sent by Postfix's smtp-source from the host that plays the world,
and a measurement ends when all has arrived. Systems take turns, round by round, and the median counts: what else the machine does
meets all of them. A whole run is written down in docs/bench.md and drawn in docs/bench.svg. The lab is put back at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.site import lab, mailflow
from tools import bench_picture

ROOT = Path(__file__).resolve().parents[1]
AWAY = (ROOT / "tools/bench_away.py").read_text(encoding="utf-8")
SOURCES = ROOT / "lab/bench"
REPORT, PICTURE = ROOT / "docs/bench.md", ROOT / "docs/bench.svg"
STATE = ROOT / ".lab/bench"
BEGIN, END = "<!-- written by make bench -->", "<!-- end of what make bench writes -->"
# Seconds that a measurement should take, that one may take at most, and that a server may take to come up.
TAKES, PATIENCE, COMING_UP = 2.5, 120.0, 60.0
# Messages of a first try, from which the number of the real ones is guessed, and the most of these.
FIRST, MOST = 30, 6000
# What the filters are shown before they are measured: rspamd's rules become machine code (LuaJIT) while the first hundreds pass.
WARM = 500
POP_LETTERS, POP_SIZE, POP_SECONDS = 10_000, 4096, 5.0
HELD = 40
FILTERS = {"rspamd": "rspamd", "clamav-daemon": "ClamAV, without fetched signatures", "redis-server": "Redis, the greylist's"}
SMTP_SOURCE, SMTP_SINK = "/usr/sbin/smtp-source", "/usr/sbin/smtp-sink"
COUNTERS = "/tmp/sink"  # in memory, as all of a container's /tmp
SENDER = f"sender@{lab.foreign_domain()}"
READER = lab.users()[-1]
RECIPIENT = f"{READER}@{lab.domain()}"

# What gateway and store are told for the bench: delivery that is fast and as safe, and no limit for each client, since all comes from one.
UNLIMITED = {
    "sendmail_delivery": "interactive",
    "sendmail_client_rate": 0,
    "sendmail_client_connections": 0,
    "sendmail_connection_rate": 10000,
    "sendmail_greet_pause": 0,
    "sendmail_max_daemon_children": 120,
}
# No TLS: the sink has none, and the gateway would hand it nothing.
OPEN = {
    **UNLIMITED,
    "sendmail_tls": False,
    "sendmail_tls_policy": [],
    "sendmail_sts_port": 0,
    "sendmail_submission_port": 0,
    "sendmail_submissions_port": 0,
}
# No filters: neither rspamd and ClamAV, nor lists, nor header checks.
UNFILTERED = {**OPEN, "site_content_filter": False, "sendmail_block_lists": [], "sendmail_header_checks": []}
# And nobody is asked about senders' domains and full mailboxes, since the others ask nobody either.
BARE = {**UNFILTERED, "sendmail_senders_resolve": False, "sendmail_quotas": {}}


class BenchError(Exception):
    """Something that stops the run; the text says what and where."""


@dataclass(frozen=True)
class Cell:
    """What is sent: the size of a message, senders at once, and whether they keep their connections."""

    size: int
    parallel: int
    keep: bool = False

    @property
    def name(self) -> str:
        """Its name on the command line and in the table."""
        return f"{self.size // 1024}k-{self.parallel}{'-kept' if self.keep else ''}"


CELLS = [
    *(Cell(size, parallel) for size in (4096, 102400) for parallel in (1, 10, 50)),
    *(Cell(size, 10, keep=True) for size in (4096, 102400)),
]


@dataclass(frozen=True)
class System:
    """A mail server at the gateway's place, and where its mail ends."""

    name: str
    title: str
    container: str
    start: str
    stop: str
    to_mailbox: bool = False
    # How much of the rounds it takes part in: what is bound by a limit of its own needs no median.
    rounds: int = 99


def container(name: str) -> str:
    """The name of a container of the bench."""
    return f"{lab.variables()['lab_prefix']}-bench-{name}"


GATEWAY = lab.Machine(lab.GATEWAY)
STORE = lab.Machine(lab.STORE)
WORLD = lab.Machine(lab.STRANGER)
DESK = lab.Machine(lab.DESK)
SENDMAIL = ("systemctl start sendmail", "systemctl stop sendmail")
POSTFIX_STOP = "systemctl stop postfix"
SYSTEMS = [
    System("ours", "our gateway", GATEWAY.container, *SENDMAIL),
    System(
        "postfix",
        "Postfix, package's defaults",
        container("postfix"),
        "sh /root/setup no && systemctl start postfix",
        POSTFIX_STOP,
    ),
    System("tuned", "Postfix, tuned", container("postfix"), "sh /root/setup yes && systemctl start postfix", POSTFIX_STOP),
    System("mailbox", "our gateway, store, mailbox", GATEWAY.container, *SENDMAIL, to_mailbox=True, rounds=2),
    # Its init script ends no daemon in a container.
    System(
        "stock",
        "Debian's sendmail",
        container("stock"),
        "install -d -o smmta -g smmsp /run/sendmail /run/sendmail/mta && /usr/sbin/sendmail-mta -bd -q10m",
        "pid=$(head -1 /run/sendmail/mta/sendmail.pid) && kill $pid && timeout 20 tail --pid=$pid -f /dev/null || true",
        rounds=1,
    ),
]


@dataclass
class Results:
    """All that was measured."""

    rates: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    costs: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    facts: str = ""
    took: float = 0.0
    bare: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    unfiltered: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    filtered: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    whole: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    filters_memory: dict[str, float] = field(default_factory=dict)
    pop: dict[str, float] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)


# -- the stage -------------------------------------------------------------------------------------------------------


def say(text: str, end: str = "\n") -> None:
    """A line for the person at the terminal."""
    print(text, end=end, flush=True)


def docker(*argv: str, check: bool = True, text: str | None = None, timeout: float = 300) -> str:
    """Ask the engine for something."""
    done = subprocess.run(["docker", *argv], input=text, capture_output=True, text=True, check=False, timeout=timeout)
    if check and done.returncode:
        raise BenchError(f"docker {' '.join(argv[:4])} ...: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def shell(where: str, script: str) -> str:
    """Run a script in a container."""
    return docker("exec", where, "sh", "-c", script)


class Away:
    """A function of tools/bench_away.py that runs in a container."""

    def __init__(self, where: str, function: str, **arguments: Any) -> None:
        argv = ["docker", "exec", "-i", where, "python3", "-c", AWAY, function]
        self.function = function
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()

    def read(self) -> Any:
        """The next thing that it says."""
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"{self.function}: {self.process.stderr.read().strip()[-400:]}")
        return json.loads(line)

    def end(self) -> None:
        """Let it go; what still looks for something gives up by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def away(where: str, function: str, **arguments: Any) -> Any:
    """Run such a function and give what it says."""
    call = Away(where, function, **arguments)
    try:
        return call.read()
    finally:
        call.end()


def converge(variables: Mapping[str, Any] | None = None, hosts: str = f"{lab.GATEWAY},{lab.STORE}") -> None:
    """Hosts' mail servers as site.yml makes them, with other values for some variables or as the inventory has them."""
    argv = ["ansible-playbook", "site.yml", "--limit", hosts, "--tags", "sendmail,content_filter"]
    done = lab.ansible(*argv, *(["-e", json.dumps(variables)] if variables else []), check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(argv)}: {done.stdout[-1500:]}")


def build(name: str) -> str:
    """The image of one of the other servers, of the lab's own image and what its pool has."""
    image = f"{lab.variables()['lab_prefix']}/bench-{name}"
    packages = json.loads((ROOT / "lab/props/packages.json").read_text(encoding="utf-8"))[f"bench-{name}"]
    base = docker("inspect", "--format", "{{.Config.Image}}", GATEWAY.container).strip()
    labels = ["--label", "widgets.image=true"]
    arguments = ["--build-arg", f"BASE={base}", "--build-arg", f"PACKAGES={' '.join(packages)}"]
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    argv = ["docker", "build", "--quiet", "--network=none", "--tag", image, *labels, *arguments, str(SOURCES)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise BenchError(f"The image {image} cannot be built: {done.stdout[-800:]}{done.stderr[-800:]}")
    return image


def boot(name: str, image: str) -> None:
    """A host beside the gateway, in its network, with the same limits; its log goes where the gateway's goes."""
    where = container(name)
    given = json.loads(docker("inspect", GATEWAY.container))[0]["HostConfig"]
    docker(
        *["run", "--detach", "--name", where, f"--network=container:{GATEWAY.container}", "--label=widgets.lab=true"],
        *[f"--cap-add={capability}" for capability in given["CapAdd"]],
        *[f"--security-opt={option}" for option in given["SecurityOpt"]],
        *["--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"],
        *["--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec,mode=1777", image],
    )
    lab.until(
        lambda: re.search("running|degraded", docker("exec", where, "systemctl", "is-system-running", check=False)),
        where,
        COMING_UP,
    )
    for path in ("/etc/hosts", "/etc/resolv.conf", "/etc/rsyslog.conf"):
        docker("exec", "-i", where, "sh", "-c", f"cat > {path}", text=GATEWAY.sh(f"cat {path}"))
    shell(where, "mkdir -p /var/spool/rsyslog && systemctl restart rsyslog")
    hop, users = lab.address(lab.STORE), [*lab.users(), *lab.aliases()]
    words = [lab.fqdn(lab.GATEWAY), lab.domain(), hop, lab.seen(lab.STRANGER, lab.GATEWAY)]
    script = (SOURCES / f"{name}.sh").read_text(encoding="utf-8")
    docker("exec", "-i", where, "sh", "-c", "cat > /root/setup.sh", text=script)
    tuned = ' "$1"' if name == "postfix" else ""
    docker(
        *["exec", "-i", where, "sh", "-c", "cat > /root/setup"],
        text=f"exec sh /root/setup.sh {' '.join(words)}{tuned} {' '.join(users)} > /root/setup.log 2>&1\n",
    )
    if name == "stock":
        shell(where, "sh /root/setup")


class Stage:
    """Who stands at the gateway's place now, and what stands behind it."""

    def __init__(self, systems: Sequence[System]) -> None:
        self.systems = systems
        self.now: System | None = None
        self.behind = ""
        self.box = mailflow.mailbox(READER)
        self.sink = container("sink")
        self.kept: list[str] = away(STORE.container, "known", box=self.box)

    def enter(self) -> None:
        """Make the other hosts."""
        images = {}
        for name in ("postfix", "stock"):
            say(f"  image and host of {name} ...")
            images[name] = build(name)
            boot(name, images[name])
        command = (
            f"exec {SMTP_SINK} -4 -c -u nobody -m 400 -h sink {lab.address(lab.STORE)}:{lab.port('smtp')} 1024 > {COUNTERS}"
        )
        docker(
            *["create", "--name", self.sink, f"--network=container:{STORE.container}", "--label=widgets.lab=true"],
            *["--tmpfs=/tmp:exec,mode=1777", "--entrypoint=/bin/sh", images["postfix"], "-c", command],
        )

    def leave_containers(self) -> None:
        """Remove what the bench made."""
        for name in ("postfix", "stock", "sink"):
            docker("rm", "--force", "--volumes", container(name), check=False)

    def leave(self) -> None:
        """The lab as it was."""
        self.leave_containers()
        for machine in (GATEWAY, STORE):
            machine.sh("systemctl start sendmail")
        STORE.sh("systemctl start sendmail-msp")
        converge()
        self.clean()

    def clean(self) -> None:
        """The reader's mailbox as it was; Dovecot is told, or it would go on offering what is gone."""
        away(STORE.container, "clean", box=self.box, keep=self.kept)
        STORE.sh(f"doveadm force-resync -u {READER} INBOX")

    def arrive_at(self, behind: str) -> None:
        """Let mail end in the sink or in the store."""
        if behind == self.behind:
            return
        if behind == "sink":
            STORE.sh("systemctl stop sendmail")
            docker("start", self.sink)
            away(STORE.container, "ready", address=lab.address(lab.STORE), port=lab.port("smtp"), patience=COMING_UP)
        else:
            docker("stop", "--time=0", self.sink, check=False)
            if behind == "store":
                STORE.sh("systemctl start sendmail")
        self.behind = behind

    def greets(self) -> str:
        """What the server at the gateway's place says to the world."""
        where = {"address": lab.public(lab.GATEWAY), "port": lab.port("smtp")}
        return str(away(WORLD.container, "ready", **where, patience=COMING_UP))

    def put(self, system: System) -> None:
        """Put a system there, and see that it answers."""
        self.arrive_at("store" if system.to_mailbox else "sink")
        if self.now and self.now.container == system.container and self.now.start == system.start:
            self.now = system
            return
        if self.now:
            shell(self.now.container, self.now.stop)
        else:
            for other in self.systems:
                shell(other.container, other.stop)
        shell(system.container, system.start)
        self.now = system
        if not self.greets().startswith("220"):
            raise BenchError(
                f"{system.title} does not answer: {docker('exec', system.container, 'cat', '/root/setup.log', check=False)}"
            )


# -- measuring -------------------------------------------------------------------------------------------------------


def send(cell: Cell, count: int) -> dict[str, Any]:
    """Messages from the world to a user of the site."""
    found: dict[str, Any] = away(
        WORLD.container,
        "send",
        target=f"{lab.public(lab.GATEWAY)}:{lab.port('smtp')}",
        sender=SENDER,
        recipient=RECIPIENT,
        size=cell.size,
        parallel=cell.parallel,
        count=count,
        keep=cell.keep,
        source=SMTP_SOURCE,
        patience=PATIENCE,
    )
    return found


def rate(stage: Stage, system: System, cell: Cell, count: int) -> tuple[float, float]:
    """Messages a second from the first connection until all have arrived, and milliseconds of the server's processor for each."""
    before = away(system.container, "cpu")
    if system.to_mailbox:
        arrival = Away(STORE.container, "mailbox", box=stage.box, wanted=count, patience=PATIENCE)
    else:
        arrival = Away(stage.sink, "sink", path=COUNTERS, wanted=count, patience=PATIENCE)
    try:
        arrival.read()
        sent = send(cell, count)
        if sent["status"]:
            raise BenchError(f"{system.title}, {cell.name}: smtp-source ended with {sent['status']}: {sent['said']}")
        arrived = arrival.read()
    finally:
        arrival.end()
    if arrived["count"] < count:
        raise BenchError(f"{system.title}, {cell.name}: {arrived['count']} of {count} had arrived after {PATIENCE:.0f} s")
    spent = (away(system.container, "cpu") - before) / count * 1000
    return float(count / (arrived["time"] - sent["time"])), float(spent)


def guess(per_second: float, cell: Cell) -> int:
    """How many messages take about as long as a measurement should."""
    return max(cell.parallel * 2, min(MOST, round(per_second * TAKES)))


Measured = dict[str, dict[str, list[float]]]


def compare(
    stage: Stage, systems: Sequence[System], cells: Sequence[Cell], rounds: int, warm: int = FIRST
) -> tuple[Measured, Measured]:
    """All systems in turn, as often as there are rounds, for each cell: their rates, and processor time for a message."""
    rates: Measured = {}
    costs: Measured = {}
    for number, cell in enumerate(cells, 1):
        found: dict[str, list[float]] = {system.name: [] for system in systems}
        cost: dict[str, list[float]] = {system.name: [] for system in systems}
        first: dict[str, float] = {}
        for turn in range(rounds):
            for system in systems:
                if turn >= system.rounds:
                    continue
                stage.put(system)
                if system.name not in first:
                    first[system.name] = rate(stage, system, cell, max(warm, cell.parallel))[0]
                known = found[system.name][-1] if found[system.name] else first[system.name]
                reached, spent = rate(stage, system, cell, guess(known, cell))
                found[system.name].append(reached)
                cost[system.name].append(spent)
                where = f"[{number}/{len(cells)}] {cell.name:<12} round {turn + 1}"
                say(f"  {where}  {system.name:<8} {reached:7.1f}/s  {spent:6.2f} ms of processor time each")
        rates[cell.name], costs[cell.name] = found, cost
        # Or the reader's mailbox would fill up.
        stage.clean()
    return rates, costs


def merge(into: Measured, more: Measured) -> None:
    """What was measured later, beside what was measured before."""
    for cell, of in more.items():
        for name, found in of.items():
            into.setdefault(cell, {}).setdefault(name, []).extend(found)


def main_pid(system: System) -> int:
    """The process that all of a system's processes come from."""
    if system.container == GATEWAY.container:
        return int(GATEWAY.sh("systemctl show -P MainPID sendmail"))
    if "postfix" in system.container:
        return int(shell(system.container, "pgrep --newest --exact master"))
    return int(shell(system.container, "head -1 /run/sendmail/mta/sendmail.pid"))


def memory(stage: Stage, systems: Sequence[System]) -> dict[str, dict[str, float]]:
    """What each system takes while it is idle, and for each connection that says nothing."""
    out = {}
    for system in systems:
        # A new start: what a busy hour leaves behind in Postfix's processes goes by itself, a minute later.
        stage.put(system)
        shell(system.container, system.stop)
        if "postfix" in system.container:
            # Its unit ends before it does.
            shell(system.container, "timeout 30 sh -c 'while pgrep --exact master > /dev/null; do postfix stop; done' || true")
        shell(system.container, system.start)
        stage.greets()
        pid = main_pid(system)
        idle = away(system.container, "weigh", pid=pid)
        held = Away(WORLD.container, "hold", address=lab.public(lab.GATEWAY), port=lab.port("smtp"), count=HELD)
        try:
            served = held.read()
            busy = away(system.container, "weigh", pid=pid)
        finally:
            held.end()
        if served != HELD:
            raise BenchError(f"{system.title}: {served} of {HELD} connections were served")
        out[system.name] = {"idle": idle["kib"] / 1024, "each": (busy["kib"] - idle["kib"]) / HELD / 1024}
        say(
            f"  {system.title:<28} idle {out[system.name]['idle']:6.1f} MiB, each connection {out[system.name]['each']:5.2f} MiB"
        )
    return out


def filters_memory() -> dict[str, float]:
    """What the filters take after they have looked at some thousand messages, MiB."""
    out = {}
    for unit, title in FILTERS.items():
        pid = int(GATEWAY.sh(f"systemctl show -P MainPID {unit}"))
        out[title] = away(GATEWAY.container, "weigh", pid=pid)["kib"] / 1024
        say(f"  {title:<28} {out[title]:6.1f} MiB")
    return out


def pop(stage: Stage) -> dict[str, float]:
    """Logins and retrievals a second of a large mailbox."""
    stage.clean()
    away(STORE.container, "fill", box=stage.box, user=READER, wanted=POP_LETTERS, size=POP_SIZE)
    who = {"address": lab.address(lab.STORE), "port": lab.port("pop3s"), "user": READER, "password": lab.password(READER)}
    # The first session reads what nobody has read yet; it is not counted.
    away(DESK.container, "pop", **who, parallel=1, seconds=1, letters=0)
    out = {}
    for name, parallel, letters in (
        ("logins, one client", 1, 0),
        ("logins, four at once", 4, 0),
        ("retrievals, one client", 1, POP_LETTERS),
    ):
        found = away(DESK.container, "pop", **who, parallel=parallel, seconds=POP_SECONDS, letters=letters)
        out[name] = found["count"] / found["seconds"]
        say(f"  {name:<28} {out[name]:7.1f}/s")
    stage.clean()
    return out


# -- what is on the disk before a 250 --------------------------------------------------------------------------------

CALLS = "trace=fsync,fdatasync,write,sendto,sendmsg,read,recvfrom,connect,openat,unlink"
# What matters of them, and the words for it in the report.
EVENTS = [
    (re.compile(r'(?:read|recvfrom)\(\d+, "250 2\.0\.0 Ok'), "the next hop's 250 is read"),
    (re.compile(r'(?:read|recvfrom)\(\d+, "250 2\.0\.0 \S+ Message accepted'), "the next hop's 250 is read"),
    (re.compile(r"f(?:data)?sync\("), "fsync"),
    (re.compile(r'(?:write|sendto|sendmsg)\(\d+, .*"250 2\.0\.0 '), "our 250 is written"),
    (re.compile(r"connect\(.*ECONNREFUSED"), "the next hop refuses"),
]


def events(trace: str) -> list[str]:
    """What happened, in order, from strace's lines."""
    out = []
    for line in trace.splitlines():
        for pattern, words in EVENTS:
            if pattern.search(line):
                out.append(words)
                break
    return out


def durable(found: Sequence[str]) -> bool:
    """Whether a 250 came only after the next hop's or after the message and its queue file were on the disk."""
    if "our 250 is written" not in found:
        return False
    before = found[: found.index("our 250 is written")]
    return "the next hop's 250 is read" in before or before.count("fsync") >= 2


def trace(stage: Stage, system: System, behind: str, image: str) -> list[str]:
    """The system calls of one message, from strace in a container that sees the gateway's processes."""
    stage.put(system)
    stage.arrive_at(behind)
    spy = container("strace")
    docker("rm", "--force", spy, check=False)
    docker(
        *[
            "run",
            "--detach",
            "--name",
            spy,
            f"--pid=container:{system.container}",
            "--network=none",
            "--label=widgets.lab=true",
        ],
        *[
            "--cap-add=SYS_PTRACE",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            "--entrypoint=strace",
        ],
        *[image, "-f", "-s", "120", "-e", CALLS, "-p", str(main_pid(system))],
    )
    try:
        lab.until(lambda: "attached" in said(spy), "strace", COMING_UP)
        send(CELLS[0], 1)
        lab.until(lambda: "our 250 is written" in events(said(spy)), "a 250 in the trace", COMING_UP)
        return events(said(spy))
    finally:
        docker("rm", "--force", spy, check=False)


def said(where: str) -> str:
    """What a container's process has written."""
    done = subprocess.run(["docker", "logs", where], capture_output=True, text=True, errors="replace", check=False)
    return done.stdout + done.stderr


def shown(found: Sequence[str]) -> str:
    """Events in a line, repetitions counted."""
    out: list[tuple[str, int]] = []
    for word in found:
        if out and out[-1][0] == word:
            out[-1] = (word, out[-1][1] + 1)
        else:
            out.append((word, 1))
    return ", ".join(word if times == 1 else f"{word} ({times} times)" for word, times in out)


# -- the report ------------------------------------------------------------------------------------------------------


def medians(rates: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    """The middle of what was measured, for each cell and system."""
    return {cell: {name: statistics.median(all_) for name, all_ in of.items() if all_} for cell, of in rates.items()}


def words(cell: Cell) -> str:
    """A cell in words."""
    many = "1 sender" if cell.parallel == 1 else f"{cell.parallel} senders"
    return f"{cell.size // 1024} KB, {many}{', connections kept' if cell.keep else ''}"


def table(middle: Mapping[str, Mapping[str, float]], systems: Sequence[System], unit: str = "/s") -> list[str]:
    """Rates, and ratios to the base within the same run."""
    base, digits = "postfix", 0 if unit == "/s" else 2
    cells = [cell for cell in CELLS if cell.name in middle]
    lines = [f"| | {' | '.join(system.title for system in systems)} |", "|---|" + "---:|" * len(systems)]
    for cell in cells:
        row = middle[cell.name]
        shares = [
            f"{row[system.name]:.{digits}f}{unit} ({row[system.name] / row[base]:.2f} x)"
            if system.name in row and base in row
            else "-"
            for system in systems
        ]
        lines.append(f"| {words(cell)} | {' | '.join(shares)} |")
    return lines


def of_itself(results: Results) -> list[str]:
    """The gateway's rates as it has more and more to do, and their shares of those with nothing to do."""
    found = (results.bare, results.unfiltered, results.filtered, results.whole)
    bare, unfiltered, filtered, whole = (medians(rates) for rates in found)
    lines = [
        "| | nothing looked up | no filters | all filters | all filters, TLS, store, mailbox |",
        "|---|---:|---:|---:|---:|",
    ]
    for cell in (cell for cell in CELLS if cell.name in filtered):
        base = unfiltered[cell.name]["ours"]
        rates = [bare[cell.name]["ours"], base, filtered[cell.name]["ours"], whole[cell.name]["mailbox"]]
        lines.append(f"| {words(cell)} | {' | '.join(f'{rate_:.0f}/s ({rate_ / base:.2f} x)' for rate_ in rates)} |")
    return lines


def machine() -> str:
    """The machine in words, without its name."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*: (.*)", info)
    total = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    kind = "a virtual machine" if "hypervisor" in info else "a machine"
    memory_ = f"{int(total[1]) / 2**20:.0f} GiB of memory" if total else ""
    return f"{kind} with {os.cpu_count()} cores ({model[1].strip() if model else platform.machine()}), {memory_}, Linux {'.'.join(platform.release().split('.')[:2])}"


def versions() -> str:
    """What was measured."""
    asked = "dpkg-query -W -f '${Package} ${Version}, ' "
    found = (
        GATEWAY.sh(f"{asked} sendmail-bin")
        + shell(container("postfix"), f"{asked} postfix")
        + STORE.sh(f"{asked} dovecot-core")
    )
    return found.rstrip(", ")


def report(results: Results, systems: Sequence[System]) -> str:
    """What docs/bench.md says of this run."""
    day = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d")
    lines = [BEGIN, "", f"`make bench`, {day}, {results.took / 60:.0f} minutes, on {machine()}. {results.facts}.", ""]
    lines += ["![Rates in relation to Postfix](bench.svg)", ""]
    lines += ["Messages a second until all had arrived, and in brackets the share of Postfix with its package's defaults:", ""]
    lines += table(medians(results.rates), systems)
    if results.costs:
        lines += [
            "",
            "Milliseconds of processor time that the server's host spent on each message (its log daemon's included):",
            "",
        ]
        lines += table(medians(results.costs), systems, unit=" ms")
    if results.filtered:
        lines += [
            "",
            "What filters cost before the same sink, measured in turn. Nothing looked up is the gateway as in the tables above; without filters it",
            "asks about the sender's domain and full mailboxes; all filters are block list, header checks, greylisting, rspamd with SPF, DKIM, DMARC",
            "and ARC seals, and ClamAV. The last column adds verified TLS to the store, and ends in the mailbox: the site as it stands but for its",
            "limits. In brackets the share of the gateway without filters:",
            "",
        ]
        lines += of_itself(results)
    if results.memory:
        lines += ["", "Memory (proportional set size):", "", "| | idle | each silent connection |", "|---|---:|---:|"]
        for system in systems:
            if system.name in results.memory:
                found = results.memory[system.name]
                lines.append(f"| {system.title} | {found['idle']:.1f} MiB | {found['each']:.2f} MiB |")
    if results.filters_memory:
        lines += ["", "And of the filters, after the messages above:", "", "| | memory |", "|---|---:|"]
        lines += [f"| {title} | {value:.0f} MiB |" for title, value in results.filters_memory.items()]
    if results.pop:
        lines += [
            "",
            f"POP3 over TLS, a mailbox of {POP_LETTERS} messages of {POP_SIZE // 1024} KB:",
            "",
            "| | a second |",
            "|---|---:|",
        ]
        lines += [f"| {name} | {value:.0f} |" for name, value in results.pop.items()]
    if results.trace:
        lines += ["", "System calls of one message, by strace:", "", *results.trace]
    return "\n".join([*lines, "", END])


def written(old: str, new: str) -> str:
    """The page with its measured part replaced; what people wrote around it stays."""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + new + after


@contextlib.contextmanager
def staged(systems: Sequence[System]) -> Iterator[Stage]:
    """The stage, and the lab as it was afterwards."""
    if gone := lab.missing():
        raise BenchError(f"The lab does not run ({', '.join(gone)}): `make site` first.")
    stage = Stage(systems)
    try:
        # Left by a run that was killed, they would hold the gateway's port.
        stage.leave_containers()
        say("Gateway and store without limits for one client, without TLS and without filters ...")
        converge(BARE)
        stage.enter()
        yield stage
    finally:
        say("Putting the lab back ...")
        stage.leave()


def measure(results: Results, stage: Stage, cells: Sequence[Cell], systems: Sequence[System], rounds: int, whole: bool) -> None:
    """All that there is to measure, into the results."""
    results.rates, results.costs = compare(stage, systems, cells, rounds)
    if not whole:
        return
    say("Memory ...")
    stage.arrive_at("sink")
    results.memory = memory(stage, [system for system in systems if not system.to_mailbox])
    say("POP ...")
    results.pop = pop(stage)
    say("What is on the disk before a 250 ...")
    results.trace = traces(stage, systems[0])
    filters(results, stage, systems)


def filters(results: Results, stage: Stage, systems: Sequence[System]) -> None:
    """What filters cost, in turn with their absence; and the site as it stands."""
    few = [cell for cell in CELLS if cell.parallel == 10 and not cell.keep]
    ours, mailbox = ([system for system in systems if system.name == name] for name in ("ours", "mailbox"))
    results.bare, results.unfiltered, results.filtered = {}, {}, {}
    say("With filters, and in turn without ...")
    stage.put(*ours)
    for _turn in range(2):
        for given, found in ((BARE, results.bare), (UNFILTERED, results.unfiltered), (OPEN, results.filtered)):
            # The sink has the store's port.
            converge(given, lab.GATEWAY)
            merge(found, compare(stage, ours, few, 2, WARM)[0])
    results.filters_memory = filters_memory()
    say("With filters and TLS, into the mailbox ...")
    stage.put(*mailbox)
    converge(UNLIMITED)
    results.whole, _ = compare(stage, mailbox, few, 2)


def again() -> Results:
    """What was measured last, of which a part is to be measured anew."""
    try:
        return Results(**json.loads((STATE / "results.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        raise BenchError(
            "Filters are measured into the page of a whole run: there is none here, `make bench` makes one."
        ) from problem


def run(cells: Sequence[Cell], systems: Sequence[System], rounds: int, whole: bool, part: bool = False) -> int:
    """Measure, tell, write down; only the part about filters, beside what was measured last."""
    begun = time.monotonic()
    results = again() if part else Results()
    try:
        with staged(systems) as stage:
            results.facts = versions()
            if part:
                filters(results, stage, systems)
            else:
                measure(results, stage, cells, systems, rounds, whole)
    except AssertionError as problem:
        # The lab's own words for a host that does not do as it is told.
        raise BenchError(str(problem)) from problem
    finally:
        results.took += time.monotonic() - begun
        # Of a run that broke off, too, what it has.
        STATE.mkdir(parents=True, exist_ok=True)
        (STATE / "results.json").write_text(json.dumps(results.__dict__, indent=1), encoding="utf-8")
    shown_ = of_itself(results) if part else table(medians(results.rates), systems)
    say("\n" + "\n".join(shown_) + f"\n({(time.monotonic() - begun) / 60:.1f} min)")
    if whole:
        REPORT.write_text(written(REPORT.read_text(encoding="utf-8"), report(results, systems)), encoding="utf-8")
        titles = {system.name: system.title for system in systems}
        PICTURE.write_text(
            bench_picture.draw(medians(results.rates), titles, {cell.name: words(cell) for cell in CELLS}), encoding="utf-8"
        )
        say(f"Written down in {REPORT.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}.")
    return 0


def traces(stage: Stage, ours: System) -> list[str]:
    """One message with a next hop that takes it, and one with none."""
    image = f"{lab.variables()['lab_prefix']}/bench-stock"
    out = []
    for behind, what in (("sink", "The next hop takes it"), ("nothing", "Nobody listens at the next hop")):
        found = trace(stage, ours, behind, image)
        if not durable(found):
            raise BenchError(f"{what}: a 250 before the message was safe: {shown(found)}")
        out.append(f"- {what}: {shown(found)}.")
        say(f"  {out[-1]}")
    GATEWAY.sh("rm -f /var/spool/mqueue/*")
    return out


def stop(number: int, frame: object) -> None:
    """Being asked to end is being interrupted."""
    raise KeyboardInterrupt


def chosen(text: str, known: Mapping[str, Any], what: str) -> list[Any]:
    """Those of some things that a list of names asks for, all where it asks for none."""
    names = [name for name in text.split(",") if name]
    if wrong := [name for name in names if name not in known]:
        raise BenchError(f"{what}: {', '.join(wrong)} is not known here; there are {', '.join(known)}.")
    return [thing for name, thing in known.items() if not names or name in names]


def main() -> int:
    """Read the command line; turn what goes wrong into words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--cells", default="", metavar="NAME,...", help="only these, such as 4k-10; docs/bench.md stays as it is"
    )
    parser.add_argument("--systems", default="", metavar="NAME,...", help="only these, such as ours,postfix; likewise")
    parser.add_argument("--filters", action="store_true", help="only what filters cost, into the page of the last whole run")
    parser.add_argument("--rounds", type=int, default=3)
    signal.signal(signal.SIGTERM, stop)
    arguments = parser.parse_args()
    try:
        cells = chosen(arguments.cells, {cell.name: cell for cell in CELLS}, "--cells")
        systems = chosen(arguments.systems, {system.name: system for system in SYSTEMS}, "--systems")
        whole = arguments.filters or not (arguments.cells or arguments.systems)
        return run(cells, systems, arguments.rounds, whole, arguments.filters)
    except BenchError as problem:
        say(f"\n{problem}")
    except KeyboardInterrupt:
        say("\nInterrupted; the lab was put back. Should anything be left: `ansible-playbook site.yml` mends it.")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
