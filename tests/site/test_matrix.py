"""The reachability matrix: every pair of hosts and every port of interest, tried for real, against what the flow table says.

All of it is tried once, by one batch from each host (tests/site/probe_batch.py), and each test judges the cells that its
requirement is about. What counts as allowed and as refused is in tests/site/matrix.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.widgets.mail.plugins.filter import policy

from tests import results
from tests.site import away, lab, matrix
from tests.site.matrix import Cell, Expected, Result
from tools import matrix_picture

BATCH = (Path(__file__).parent / "probe_batch.py").read_text(encoding="utf-8")
# Who refuses packets on their way and writes it down, and where the collector has it.
LOGS = {host: f"{lab.REMOTE_LOGS}/{host}/syslog.log" for host in sorted({lab.ROUTER, *matrix.gates(lab.site())})}
SECONDS = 60  # that the whole matrix may take
# How long silence has to last, and a daemon may take over its first words: one that turns a client away keeps the connection
# for five seconds (libwrap).
PATIENCE, HEARING = 2.5, 8.0

CELLS = matrix.expected(lab.site(), lab.group("props"))
OUTER = policy.open_zone(lab.site())


@dataclass(frozen=True)
class Matrix:
    """All results, and the time that it took."""

    results: list[Result]
    seconds: float

    def wrong(self, which: Callable[[Cell], bool]) -> list[str]:
        """What is wrong of the cells asked for, a line each. It is a mistake of the test to ask for none."""
        asked = [result for result in self.results if which(result.cell)]
        assert asked, "no cell of the matrix is about this"
        return [str(result) for result in asked if not result.right]


def log_rate() -> int:
    """The firewall's limit of lines, as the inventory or else the role has it."""
    own = lab.inventory()["_meta"]["hostvars"][lab.FIREWALL]
    defaults = yaml.safe_load((lab.ROOT / "roles/firewall/defaults/main.yml").read_text(encoding="utf-8"))
    return int(own.get("firewall_log_rate", defaults["firewall_log_rate"]))


# Services whose clients begin with TLS.
TLS_FIRST = ("submissions", "imaps", "pop3s")


def probe(cell: Cell, word: str, at: float) -> dict[str, Any]:
    """A cell as the prober takes it: when, and what its client says first, where it is the client that begins."""
    out: dict[str, Any] = {"at": at, "address": cell.address, "protocol": cell.protocol, "port": cell.port}
    services = lab.site()["services"]
    if cell.port in services["dns"].get(cell.protocol, []):
        out["dns"] = lab.domain()
    elif cell.protocol == "tcp" and cell.port in map(lab.port, TLS_FIRST):
        out["tls"] = True
    elif (cell.protocol, cell.port) in matrix.SYSLOG or cell.protocol == "udp":
        out["line"] = f"<134>Jan  1 00:00:00 probe matrix: {word}"
    return out


def tried(source: str, words: dict[Cell, str], times: dict[Cell, float]) -> dict[Cell, dict[str, Any]]:
    """The findings of one host, in one batch."""
    cells = [cell for cell in CELLS if cell.source == source]
    spec = {
        "patience": PATIENCE,
        "hearing": HEARING,
        "probes": [probe(cell, words[cell], times[cell]) for cell in cells],
    }
    done = lab.Machine(source).run("python3", "-c", BATCH, text=json.dumps(spec), timeout=SECONDS)
    return dict(zip(cells, json.loads(done.stdout), strict=True))


def filed(collector: lab.Machine, run: str) -> set[tuple[str, str]]:
    """Of each word of this run that the collector has: the host that it is filed under, and the word."""
    done = collector.run("grep", "-rohE", "--include=syslog.log", f"[^ ]+ matrix: {run}-[0-9]+", lab.REMOTE_LOGS, check=False)
    lines = (line.split() for line in done.stdout.splitlines())
    return {(line[0], line[-1]) for line in lines}


def try_all(collector: lab.Machine) -> Matrix:
    """Try the whole matrix."""
    begin = time.monotonic()
    run = lab.token()
    words = {cell: f"{run}-{number}" for number, cell in enumerate(CELLS)}
    sizes = {host: int(collector.run("stat", "-c", "%s", log).stdout) for host, log in LOGS.items()}
    sources = list(dict.fromkeys(cell.source for cell in CELLS))
    facts: dict[Cell, dict[str, Any]] = {}
    times = matrix.schedule(lab.site(), CELLS, log_rate())
    with ThreadPoolExecutor(len(sources)) as pool:
        for part in pool.map(partial(tried, words=words, times=times), sources):
            facts |= part

    def logged() -> set[Cell]:
        """The cells that are in the log of a host that filters, and those from outside that the router kept from it."""
        denied = {host: matrix.denied(collector.sh(f"tail -c +{size + 1} {LOGS[host]}")) for host, size in sizes.items()}
        return {
            cell
            for cell, fact in facts.items()
            if any(matrix.packet(cell, fact) in denied[host] for host in matrix.gates(lab.site()))
            or (cell.logged and lab.zone(cell.source) == OUTER and matrix.packet(cell, fact, False) in denied[lab.ROUTER])
        }

    wanted = {cell for cell in CELLS if cell.logged}
    listed = {(cell.source, words[cell]) for cell in CELLS if cell.flow and (cell.protocol, cell.port) in matrix.SYSLOG}
    # Lines take a moment; what is missing after the deadline is missing, and told cell by cell.
    deadline = time.monotonic() + 10
    while True:
        lines, arrived = logged(), filed(collector, run)
        if (wanted <= lines and listed <= arrived) or time.monotonic() > deadline:
            break
    seconds = time.monotonic() - begin

    out = []
    for cell in CELLS:
        got = matrix.judge(cell, facts[cell], (cell.source, words[cell]) in arrived)
        out.append(Result(cell, got, cell in lines, facts[cell]["words"]))
    return Matrix(out, seconds)


@pytest.fixture(scope="module")
def found(collector: lab.Machine) -> Matrix:
    """The whole matrix, tried; also printed (pytest -s) and left in .lab/results as text and as a picture."""
    out = try_all(collector)
    show(out.results, out.seconds)
    return out


def show(found: list[Result], seconds: float) -> None:
    """Print the matrix and write it down."""
    wrong = [result.cell for result in found if not result.right]
    text = matrix.table(CELLS, wrong) + f"{len(found)} attempts in {seconds:.0f} seconds, {len(wrong)} wrong\n"
    print(f"\n{text}")
    results.RESULTS.mkdir(parents=True, exist_ok=True)
    (results.RESULTS / "matrix.txt").write_text(text, encoding="utf-8")
    picture = matrix_picture.draw(lab.site(), CELLS, wrong, f"{len(found)} attempts, {len(wrong)} of them wrong")
    (results.RESULTS / "matrix.svg").write_text(picture, encoding="utf-8")


def report(wrong: list[str]) -> None:
    """Fail with a line for each wrong cell."""
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong)


# -- what is listed works --------------------------------------------------------------------------------------------


def purposes() -> list[Any]:
    """Every requirement that some flow is there for, each with its mark."""
    ids: Iterable[str] = sorted({name for cell in CELLS if cell.expected is Expected.ANSWERS for name in cell.paper})
    return [pytest.param(name, marks=pytest.mark.requirement(name, side="positive")) for name in ids]


@pytest.mark.requirement("NET-1", side="positive")
@pytest.mark.parametrize("purpose", purposes())
def test_whatever_the_policy_lists_answers(purpose: str, found: Matrix) -> None:
    report(found.wrong(lambda cell: cell.expected is Expected.ANSWERS and purpose in cell.paper))


@pytest.mark.requirement("OPS-3", side="positive")
def test_neighbours_that_the_policy_lists_are_not_turned_away(found: Matrix) -> None:
    report(
        found.wrong(lambda cell: cell.expected is Expected.ANSWERS and not matrix.crosses(lab.site(), cell.source, cell.target))
    )


def test_a_neighbours_echo_is_seen_so_silence_of_the_others_means_something(found: Matrix) -> None:
    report(found.wrong(lambda cell: cell.expected is Expected.ECHO))


# -- nothing else does -----------------------------------------------------------------------------------------------


def starts_in(zone: str) -> Callable[[Cell], bool]:
    """Refusals of what a zone's hosts try; the firewall's own attempts are not those of a zone."""
    return lambda cell: cell.source != lab.FIREWALL and lab.zone(cell.source) == zone and not cell.flow


def at_store(cell: Cell) -> bool:
    """Refusals at the store."""
    return cell.target == lab.STORE and not cell.flow


def pop_or_smtp_from_beyond(cell: Cell) -> bool:
    """The store's own services, tried from beyond its zone."""
    ports = {lab.port(service) for service in ("smtp", "submission", "submissions", "pop3", "pop3s", "imaps", "sieve")}
    return at_store(cell) and cell.port in ports and lab.zone(cell.source) != lab.zone(lab.STORE)


REFUSALS = {
    "NET-1": lambda cell: cell.expected is Expected.DROPPED,
    "NET-2": starts_in(OUTER),
    "NET-3": starts_in(lab.zone(lab.GATEWAY)),
    "NET-4": starts_in(lab.zone(lab.COLLECTOR)),
    "NET-5": lambda cell: cell.private,
    "MS-1": at_store,
    "MS-6": pop_or_smtp_from_beyond,
    "OPS-1": lambda cell: cell.target == lab.COLLECTOR and cell.port == lab.port("syslog") and not cell.flow,
    "OPS-3": lambda cell: cell.expected is Expected.TURNED_AWAY,
    "OPS-4": lambda cell: (cell.protocol, cell.port) == ("tcp", lab.port("ssh")) and not cell.flow,
}


@pytest.mark.parametrize(
    "purpose", [pytest.param(name, marks=pytest.mark.requirement(name, side="negative")) for name in REFUSALS]
)
def test_whatever_the_policy_does_not_list_gets_nothing_and_is_logged_where_the_firewall_refused_it(
    purpose: str, found: Matrix
) -> None:
    report(found.wrong(REFUSALS[purpose]))


@pytest.mark.requirement("NET-1", side="negative")
def test_no_cell_of_the_matrix_is_wrong(found: Matrix) -> None:
    """All of it, should a cell belong to none of the tests above."""
    report(found.wrong(lambda cell: True))


@pytest.fixture
def router_that_filters_nothing(router: lab.Machine) -> Iterator[None]:
    """The border router without its own access lists, for one test."""
    router.run("nft", "delete", "table", "inet", "firewall")
    yield
    router.run("systemctl", "reload", "nftables")


@pytest.mark.requirement("NET-5", side="negative")
@pytest.mark.parametrize("start", [lab.STRANGER, lab.ROUTER])
@pytest.mark.usefixtures("router_that_filters_nothing")
def test_private_addresses_are_unreachable_from_outside_by_the_firewalls_own_doing(start: str) -> None:
    """Defence in depth: what the router refuses as well has to end at the firewall when the router lets it by."""
    cells = [cell for cell in CELLS if cell.source == start and cell.private and cell.protocol == "tcp"]
    assert cells
    found = lab.Machine(start).call(away.probe, targets=[[cell.address, cell.port] for cell in cells], at_once=len(cells))
    opened = zip(cells, (entry["result"] for entry in found), strict=True)
    report([f"{cell.target} [{cell.address}] {cell.service}: {result}" for cell, result in opened if result != "silent"])


def test_the_whole_matrix_is_tried_within_a_minute(found: Matrix) -> None:
    assert found.seconds <= SECONDS
