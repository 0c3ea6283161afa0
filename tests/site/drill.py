"""The drill: mail flows through the running lab at a steady rate while something breaks; then the ledgers are joined with the mailboxes.

Strangers send to users, and a desk sends to a stranger, each message numbered and its body known by its hash (tests/site/postman.py).
A fault (tests/site/faults.py) is made, held and undone; nothing else is put right by hand. The flow goes on a while, then all that was
taken has to arrive. tests/site/ledger.py says what came of it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.site import lab, ledger, mailflow, network, postman

GATEWAY, STORE = lab.Machine(lab.GATEWAY), lab.Machine(lab.STORE)
STRANGER, DESK = lab.Machine(lab.STRANGER), lab.Machine(lab.DESK)
QUEUE = "/var/spool/mqueue"
# Seconds between two messages, from each side. The strangers have as many addresses as it takes not to meet the limits for one.
EVERY = 0.4
ADDRESSES = range(180, 190)
# Seconds of flow before a fault and after it, and how long all may take to arrive.
BEFORE, AFTER, DRAINED = 4.0, 5.0, 300.0

Step = Callable[[], Any]


class DrillError(Exception):
    """The drill itself could not be held; the text says why."""


# -- ways to make a fault, and to undo it -------------------------------------------------------------------------------


def on(host: lab.Machine, script: str, timeout: float = 180) -> Step:
    """A script on a host, which stops at the first command that fails."""

    def step() -> str:
        done = host.run("sh", "-euc", script, check=False, timeout=timeout)
        if done.returncode != 0:
            raise DrillError(f"{host.name}: {script.strip()}: {(done.stdout + done.stderr).strip()[-800:]}")
        return done.stdout

    return step


def engine(host: lab.Machine, *verb: str) -> Step:
    """Something that is done to a whole host: stop, kill, start, pause."""

    def step() -> None:
        done = subprocess.run(["docker", *verb, host.container], capture_output=True, text=True, check=False, timeout=180)
        if done.returncode != 0:
            raise DrillError(f"docker {' '.join(verb)} {host.container}: {done.stderr.strip()}")

    return step


# Variables that every play of the drill gives beside the inventory's.
GIVEN: dict[str, Any] = {}


def play(*argv: str) -> Step:
    """A playbook of the project."""

    def step() -> None:
        given = ["-e", json.dumps(GIVEN)] if GIVEN else []
        done = lab.ansible("ansible-playbook", "-i", str(lab.INVENTORY), *given, *argv, check=False)
        if done.returncode != 0:
            raise DrillError(f"ansible-playbook {' '.join(argv)}: {done.stdout[-1500:]}{done.stderr[-500:]}")

    return step


@contextmanager
def delivering(mode: str) -> Iterator[None]:
    """Gateway and store hand mail on in this way (sendmail_delivery) meanwhile; as the inventory says where it is empty."""
    if not mode:
        yield
        return
    servers = play("playbooks/mail.yml", "--limit", f"{GATEWAY.name},{STORE.name}", "--tags", "sendmail")
    GIVEN["sendmail_delivery"] = mode
    try:
        servers()
        yield
    finally:
        GIVEN.clear()
        servers()


# -- the flow ----------------------------------------------------------------------------------------------------------


def addresses(numbers: range) -> AbstractContextManager[Sequence[str]]:
    """More addresses for the strangers."""
    own = lab.address(lab.STRANGER)
    return network.more_addresses(STRANGER, own, [f"{own.rsplit('.', 1)[0]}.{number}" for number in numbers])


def queued() -> dict[str, set[str]]:
    """What waits in the queues of gateway, store and the foreign server. A host that is away has none to show yet.

    A file of no size is what is left of a message that was not taken: sendmail had no room to write its envelope.
    """
    out = {}
    for machine in (GATEWAY, STORE):
        done = machine.run("find", QUEUE, "-name", "[qh]f*", "-size", "+0", "-printf", "%f ", check=False)
        out[machine.name] = set(done.stdout.split()) if done.returncode == 0 else {"?"}
    done = STRANGER.run(
        "sh", "-c", "find /var/spool/postfix/incoming /var/spool/postfix/active /var/spool/postfix/deferred -type f"
    )
    out[STRANGER.name] = set(done.stdout.split())
    return out


def beyond(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What queues hold that they did not hold before; no host where there is nothing."""
    now = queued()
    return {host: more for host in now if (more := now[host] - before[host])}


@dataclass
class Flow:
    """Mail on its way, from both sides; what was taken so far and what has arrived."""

    word: str
    posts: dict[str, lab.Talk]
    boxes: list[lab.Talk]
    mbox: lab.Talk
    before: dict[str, set[str]]
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    open: int = 0

    def look(self) -> None:
        """Ask both ends what is new."""
        self.open = 0
        for post in self.posts.values():
            state = post.ask("state")
            self.taken |= set(state["taken"])
            self.open += state["open"]
        for box in self.boxes:
            self.arrivals += box.ask("read")

    def flow(self, seconds: float) -> None:
        """Let it flow for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            self.look()

    def arrived(self) -> set[str]:
        """The names of what has arrived."""
        return {str(entry["name"]) for entry in self.arrivals if "name" in entry}

    def done(self) -> bool:
        """Whether every message was taken or refused, all that was taken has arrived, and no queue holds more than before."""
        self.look()
        return not (self.open or self.taken - self.arrived() or beyond(self.before))

    def left(self) -> list[str]:
        """What is not as `done` wants it: a sentence for each kind, with names to look for in the logs."""
        few = 5
        found = {"was taken and has not arrived": self.taken - self.arrived()}
        found |= {f"in the queue of {host}": files for host, files in beyond(self.before).items()}
        out = [
            f"{', '.join(sorted(names)[:few])}{' ...' if len(names) > few else ''} {what}"
            for what, names in found.items()
            if names
        ]
        return out + ([f"{self.open} neither taken nor refused"] if self.open else [])

    def drain(self, since: float, patience: float = DRAINED) -> float | None:
        """End new messages; the seconds since a moment until all was done, None where it never was within its patience."""
        for post in self.posts.values():
            post.ask("enough")
        end = time.monotonic() + patience
        while not self.done():
            # What was sent back will not arrive.
            if time.monotonic() > end or any("report" in entry for entry in self.arrivals):
                return None
            time.sleep(0.5)
        last = max((entry["at"] for entry in self.arrivals), default=since)
        self.look()
        return float(max(0.0, last - since))

    def ledgers(self) -> dict[str, dict[str, ledger.Message]]:
        """The ledgers as they lie on the disks of those who sent."""
        return {
            host: ledger.messages(lab.Machine(host).sh(f"cat {book(self.word)}").splitlines(keepends=True))
            for host in self.posts
        }


def book(word: str) -> str:
    """Where a sender keeps its ledger."""
    return f"/var/tmp/drill-{word}"


@contextmanager
def flowing(word: str, pause: float = 0.0, every: float = EVERY) -> Iterator[Flow]:
    """Mail from both sides, and somebody at each mailbox. Nothing of it is left afterwards."""
    port = lab.port("smtp")
    users = lab.users()
    common = {"word": word, "port": port, "every": every, "path": book(word)}
    foreign = f"/var/mail/{mailflow.FOREIGNER.split('@')[0]}"
    with ExitStack() as stack:
        sources = stack.enter_context(addresses(ADDRESSES))
        before = queued()
        mbox = stack.enter_context(STRANGER.talk(postman.mbox_session, path=foreign, word=word))
        pop = stack.enter_context(
            DESK.talk(
                postman.pop_session,
                address=mailflow.STORE,
                port=lab.port("pop3s"),
                users={user: lab.password(user) for user in users},
                word=word,
            )
        )
        inward = {
            **common,
            "word": f"{word}-in",
            "address": lab.public(lab.GATEWAY),
            "sources": sources,
            "sender": mailflow.FOREIGNER,
            "recipients": [mailflow.ours(user) for user in users],
            "pause": pause,
        }
        outward = {
            **common,
            "word": f"{word}-out",
            "address": mailflow.STORE,
            "sources": [],
            "sender": mailflow.ours(users[0]),
            "recipients": [mailflow.FOREIGNER],
        }
        for box in (mbox, pop):
            assert box.read() == "begun"
        posts = {}
        for machine, arguments in ((STRANGER, inward), (DESK, outward)):
            posts[machine.name] = stack.enter_context(machine.talk(postman.post_session, **arguments))
            assert posts[machine.name].read() == "begun"
        try:
            yield Flow(word, posts, [mbox, pop], mbox, before)
        finally:
            mbox.ask("clean")
            for machine in (STRANGER, DESK):
                machine.run("rm", "-f", book(word))


# -- one fault ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One thing that breaks: how it is made, how long it holds, and how it is undone where it does not undo itself."""

    name: str
    what: str
    make: Step
    undo: Step | None = None
    holds: float = 0.0  # seconds
    short: bool = False  # part of the short drill
    part_of: str = ""  # the fault that breaks the same and more: the whole drill has that one alone
    # What has to be there before mail flows, and is taken away once all has arrived. Faults in a row that prepare the same share it.
    prepare: Step | None = None
    restore: Step | None = None
    every: float = EVERY  # seconds between two messages from each side
    repeats: str = ""  # why a message may come twice; none may where nothing is said
    pause: float = 0.0  # seconds that some senders are silent amidst a text
    drained: float = DRAINED  # seconds that all may take to arrive afterwards
    within: float | None = (
        None  # seconds that 95 of 100 messages may take that begin meanwhile, where nobody is to notice anything
    )
    check: Callable[[Held], list[str]] | None = None  # what else has to be true; a sentence for each thing that is not


@dataclass
class Held:
    """What a check may look at."""

    flow: Flow
    begun: float
    made: Any
    row: ledger.Row


def units() -> list[str]:
    """What does not run that has to."""
    wanted = {GATEWAY: ["sendmail"], STORE: ["sendmail", "sendmail-msp", "dovecot"]}
    out = []
    for machine, names in wanted.items():
        for name in names:
            if machine.run("systemctl", "is-active", name, check=False).stdout.strip() != "active":
                out.append(f"{name} does not run on {machine.name}")
    return out


def twice(fault: Fault, row: ledger.Row) -> list[str]:
    """What came twice without a reason that the fault gives."""
    return [f"{row.duplicated} duplicated, and nothing was cut"] if row.duplicated and not fault.repeats else []


def hold(fault: Fault, prepared: bool = False, keep: bool = False) -> ledger.Row:
    """Hold the drill for one fault.

    prepared: the fault before has left what this one prepares; keep: so does this one, if it comes to its end.
    """
    word = lab.token()
    with ExitStack() as scene, ExitStack() as stack:
        if fault.restore:
            scene.callback(fault.restore)
        if fault.prepare and not prepared:
            fault.prepare()
        flow = stack.enter_context(flowing(word, fault.pause, fault.every))
        flow.flow(BEFORE)
        begun = time.time()
        try:
            made = fault.make()
            flow.flow(fault.holds)
        finally:
            held = time.time()
            if fault.undo:
                fault.undo()
        over = time.time()
        flow.flow(AFTER)
        drained = flow.drain(over, fault.drained)
        left = flow.left() if drained is None else []
        ledgers = list(flow.ledgers().values())
        row = ledger.row(fault.name, ledgers, flow.arrivals)
        row.drained = drained
        row.findings += [*left, *units()]
        if fault.within is not None:
            late = ledger.quantile(ledger.latencies(ledgers, flow.arrivals, begun, held), 0.95)
            row.notes.append(f"95 of 100 messages that began meanwhile took up to {late:.1f} s")
            if late > fault.within:
                row.findings.append(
                    f"95 of 100 messages that began meanwhile took up to {late:.1f} s, more than {fault.within:.0f}"
                )
        row.findings += twice(fault, row)
        if fault.check:
            row.findings += fault.check(Held(flow, begun, made, row))
        if keep:
            scene.pop_all()
        return row


def series(faults: Sequence[Fault]) -> Iterator[ledger.Row]:
    """Hold the drill for one fault after the other. Where one breaks off, its row says why, and those after it have their turn."""
    prepared = False
    for fault, following in zip(faults, [*faults[1:], None], strict=True):
        keep = following is not None and fault.prepare is not None and fault.prepare is following.prepare
        try:
            row = hold(fault, prepared, keep)
            prepared = keep
        except (DrillError, AssertionError, OSError, subprocess.SubprocessError) as problem:
            said = " ".join(f"{type(problem).__name__}: {problem}".split())
            row = ledger.Row(fault.name, findings=[f"the drill broke off: {said[-800:]}"])
            prepared = False
        yield row


def span(fault: Fault) -> str:
    """How long a fault lasts, in words."""
    if not fault.holds:
        return "as long as it takes"
    return f"{fault.holds:.0f} s"


def bounds(fault: Fault) -> str:
    """What it is held against beside the counts, in words."""
    late = [f"95 of 100 that begin meanwhile within {fault.within:.0f} s"] if fault.within is not None else []
    return "; ".join([*late, f"all within {fault.drained:.0f} s of its end"])
