"""What the flow table says of every pair of hosts and every port of interest, and what counts as that having come true.

Pure functions over a site (plugins/filter/policy.py), with a reading of the flow table of their own: they ask whether a flow
names two hosts and a port, and know no firewall rules. tests/unit/test_matrix.py holds both readings against each other.

Two sorts of cells are refusals, and they are not the same. Where the firewall stands between two hosts it drops the packet,
and only silence with a line in its log is right: even a reset would be an answer from beyond it. Between neighbours nothing
stands in the way, and the target itself has to refuse. What comes from outside may already end at the border router, which
drops and logs as the firewall does: one line of either is a line.

All is tried in both families, where both hosts have both: a flow names hosts, and means them by either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ansible_collections.widgets.mail.plugins.filter import policy

# Ports that are tried whether or not a service has them, by protocol; echo has none.
INTEREST = {
    "tcp": (22, 23, 25, 53, 79, 110, 143, 465, 514, 587, 993, 995, 3306, 6000),
    "udp": (53, 514),
    "icmp": (0,),
}


class Expected(Enum):
    """What the policy makes of an attempt; the value says it in the fewest words."""

    ANSWERS = "answers"  # a flow lists it, and the target has the service
    PASSES = "passes"  # a flow lists it, but nobody has the service there: the firewall lets it by, and nothing comes of it
    DROPPED = "dropped"  # no flow lists it, and the firewall is between, or is one of the two
    TURNED_AWAY = "turned away"  # a neighbour's daemon listens, for others
    CLOSED = "closed"  # a neighbour, and nothing listens there
    ECHO = (
        "echo"  # a neighbour's kernel answers echo requests; no policy is about that, and it shows that the prober can see one
    )
    FREE = "free"  # between the site's border and strangers' own servers: theirs to refuse, so tried and shown, not judged


class Got(Enum):
    """What came of an attempt."""

    ANSWER = "answer"  # the service spoke as to a welcome client: its greeting, its reply; a line of syslog was filed
    HANG_UP = "hang-up"  # the connection opened, and the daemon turned the client away or said nothing
    OPEN = "open"  # it opened and stayed so, at a port of which no greeting is known
    RESET = "reset"  # the target said that nothing listens: a TCP reset, or port unreachable
    UNREACHABLE = "unreachable"  # somebody on the way said so
    SILENCE = "silence"  # nothing came back


# Who asks for a certificate listens for the authority only while it looks: tests/site/test_acme.py.
SELDOM = {("tcp", 80)}
# WireGuard says nothing to anybody whose key it does not know: tests/site/test_vpn.py has one that it knows.
MUTE = {("udp", 51820), *SELDOM}

# What may come of each. A reset is right only where no firewall is between: from beyond one it would be an answer.
# Silence is as good as a reset from a neighbour: it got nothing. A hang-up is one only where a daemon listens for others.
RIGHT = {
    Expected.ANSWERS: {Got.ANSWER, Got.OPEN},
    Expected.PASSES: {Got.RESET, Got.SILENCE, Got.UNREACHABLE},
    Expected.DROPPED: {Got.SILENCE},
    Expected.TURNED_AWAY: {Got.HANG_UP, Got.RESET, Got.SILENCE},
    Expected.CLOSED: {Got.RESET, Got.SILENCE},
    Expected.ECHO: {Got.ANSWER},
    Expected.FREE: set(Got),
}


@dataclass(frozen=True)
class Cell:
    """One attempt: who tries whom, at which address, over which protocol, at which port (0 for an echo request)."""

    source: str
    target: str
    address: str
    protocol: str
    port: int
    expected: Expected
    # The address that the firewall judges: a public one has been translated before.
    inner: str
    # The target's own address, tried from outside, where it must not be reachable whatever flows there are.
    private: bool = False
    # The flow that lists it and the requirements that the flow is there for.
    flow: str | None = None
    paper: tuple[str, ...] = field(default=(), compare=False)

    @property
    def service(self) -> str:
        """Protocol and port, for people."""
        return "icmp echo" if self.protocol == "icmp" else f"{self.protocol} {self.port}"

    @property
    def logged(self) -> bool:
        """Whether the firewall must have written it down."""
        return self.expected is Expected.DROPPED


@dataclass(frozen=True)
class Result:
    """What came of a cell, and whether the firewall wrote that it was refused."""

    cell: Cell
    got: Got
    logged: bool
    detail: str = ""

    @property
    def right(self) -> bool:
        """Whether that is what the policy says, in the log as well."""
        return self.got in RIGHT[self.cell.expected] and self.logged == self.cell.logged

    def __str__(self) -> str:
        cell = self.cell
        wanted = f"{cell.expected.value}{' and logged' if cell.logged else ''}"
        if cell.flow:
            wanted += f" ({cell.flow})"
        found = f"{self.got.value} {'and logged' if self.logged else 'and not logged' if cell.logged else ''}".strip()
        detail = f": {self.detail!r}" if self.detail else ""
        return f"{cell.source} -> {cell.target} [{cell.address}] {cell.service}: expected {wanted}, got {found}{detail}"


# -- what the policy says --------------------------------------------------------------------------------------------


def ports(site: policy.Site) -> list[tuple[str, int]]:
    """Protocols and ports to try: those of interest and those of all services."""
    out = []
    for protocol, numbers in INTEREST.items():
        served = {port for service in site["services"].values() for port in service.get(protocol, [])}
        out += [(protocol, port) for port in sorted({*numbers, *served})]
    return out


def addresses(site: policy.Site, source: str, target: str) -> list[tuple[str, bool]]:
    """Addresses to try, and whether each is one that must not work: the one by which the target is known to the source first,
    then, from outside, those of its own that are inside. IPv6 after IPv4, where both hosts have it."""
    outer = policy.open_zone(site)
    start, home = policy.host_zone(site, source), policy.host_zone(site, target)
    host = site["hosts"][target]
    from_outside = start == outer != home
    out = []
    for family, (_network, key) in policy.KEYS.items():
        own = policy.host_address(site, target, start) if family == 4 else policy.host_address6(site, target, start)
        if not own or (family == 6 and not policy.host_address6(site, source)):
            continue
        # Nobody translates IPv6: a host is known by the same address everywhere.
        known = str(host.get("public") or own) if from_outside and family == 4 else own
        out.append((known, False))
        if from_outside:
            # A host without an address outside has no other than the private one, and no flow may lead there.
            inner = [str(foot[key]) for zone, foot in host["interfaces"].items() if zone != outer and foot.get(key)]
            out += [(address, True) for address in inner if address != known]
    return out


def gates(site: policy.Site) -> set[str]:
    """The hosts that policy_rules is about: the firewall, and those at which tunnels end."""
    ends = {policy.firewall_host(site), *(zone.get("tunnel") for zone in site["zones"].values())}
    return {host for host in site["hosts"] if host in ends}


def _named(site: policy.Site, host: str, ends: Any) -> bool:
    """Whether an end of a flow means a host. A gate is no member of its zones: it is meant where it is named."""
    zones = {policy.ANY, policy.host_zone(site, host)} if host not in gates(site) else set()
    return any(end == host or end in zones for end in policy.as_list(ends))


def filters(site: policy.Site) -> set[str | None]:
    """The firewall, and the border router in front of it where the inventory has one."""
    return {policy.firewall_host(site), site["zones"][policy.open_zone(site)].get("gateway")}


def flow_for(site: policy.Site, source: str, target: str, protocol: str, port: int) -> dict[str, Any] | None:
    """The first flow that lets one host open a port of another. What a filter itself may open names it; a zone is not enough."""
    for flow in site["flows"]:
        served = any(port in site["services"][name].get(protocol, []) for name in flow["services"])
        start = _named(site, source, flow["from"]) and (source not in filters(site) or source in policy.as_list(flow["from"]))
        if served and start and _named(site, target, flow["to"]):
            found: dict[str, Any] = flow
            return found
    return None


def serves(site: policy.Site, props: Iterable[str], host: str, protocol: str, port: int) -> bool:
    """Whether a daemon of a host listens, and says so. A host of the site has what flows lead to, and SSH for its administrator; strangers
    have what the site's hosts may ask of the world."""
    if (protocol, port) in MUTE:
        return False
    names = [name for name, service in site["services"].items() if port in service.get(protocol, [])]
    outer = policy.open_zone(site)
    if host in props:
        return policy.host_zone(site, host) == outer and any(
            set(names) & set(flow["services"]) and {outer, policy.ANY} & set(policy.as_list(flow["to"]))
            for flow in site["flows"]
        )
    return "ssh" in names or any(policy.policy_sources(site, host, name) for name in names)


def crosses(site: policy.Site, source: str, target: str) -> bool:
    """Whether the firewall is between two hosts, or one of them filters."""
    return bool(gates(site) & {source, target}) or policy.host_zone(site, source) != policy.host_zone(site, target)


def _expect(
    site: policy.Site, props: Iterable[str], source: str, target: str, protocol: str, port: int, listed: bool
) -> Expected:
    between = crosses(site, source, target)
    if protocol == "icmp":
        outside = policy.host_zone(site, source) == policy.open_zone(site)
        return Expected.DROPPED if between else Expected.FREE if outside else Expected.ECHO
    served = serves(site, props, target, protocol, port)
    if listed:
        return Expected.ANSWERS if served else Expected.PASSES
    if between:
        return Expected.DROPPED
    if target in props:
        return Expected.FREE if served else Expected.CLOSED
    return Expected.TURNED_AWAY if served else Expected.CLOSED


def expected(site: policy.Site, props: Iterable[str]) -> list[Cell]:
    """Every cell of the matrix: all ordered pairs of hosts, on each address to try, at each port.

    Those who come through tunnels are in two places at once; tests/site/test_vpn.py is about them.
    """
    props = set(props)
    hosts = [name for name, host in site["hosts"].items() if "beyond" not in host]
    out = []
    for source in hosts:
        for target in hosts:
            if source == target:
                continue
            for address, private in addresses(site, source, target):
                for protocol, port in ports(site):
                    flow = None if private else flow_for(site, source, target, protocol, port)
                    cell = Cell(
                        source=source,
                        target=target,
                        address=address,
                        protocol=protocol,
                        port=port,
                        expected=_expect(site, props, source, target, protocol, port, flow is not None),
                        inner=address if private or address != site["hosts"][target].get("public") else _home(site, target),
                        private=private,
                        flow=flow["id"] if flow else None,
                        paper=tuple(flow.get("paper", [])) if flow else (),
                    )
                    out.append(cell)
    return out


def _home(site: policy.Site, host: str) -> str:
    return policy.host_address(site, host)


def pause(rate: int) -> float:
    """Seconds between the attempts that one source has refused, so that the firewall's limit of lines (a second and source) hides none.

    A packet without an answer is sent again after a second, which makes two or three lines of one attempt. The limit stays as
    it is on a real site, and honest traffic has to find its lines in spite of it.
    """
    return 2.5 / rate


def counted_as(site: policy.Site, cell: Cell) -> tuple[str, str]:
    """Who writes a refusal down, and what it takes for one source: an IPv4 address, in IPv6 a /64 with all the hosts in it."""
    outer, start = policy.open_zone(site), policy.host_zone(site, cell.source)
    if cell.source in gates(site) | filters(site):
        first = cell.source
    elif start == outer:
        first = str(site["zones"][outer].get("gateway"))
    else:
        near = cell.target in gates(site) and start in site["hosts"][cell.target]["interfaces"]
        first = cell.target if near else str(policy.firewall_host(site))
    toward = policy.host_zone(site, cell.target)
    if ":" not in cell.address:
        return first, policy.host_address(site, cell.source, toward)
    address = policy.host_address6(site, cell.source, toward)
    return first, str(ipaddress.ip_network(f"{address}/64", strict=False))


def schedule(site: policy.Site, cells: list[Cell], rate: int) -> dict[Cell, float]:
    """When each attempt begins, in seconds after the first: IPv4 and IPv6 at the same time, and hosts that count as one source in turns.

    What is not refused leaves no line, so it only has to keep the machine from being flooded.
    """
    numbers: dict[Cell, int] = {}
    counts: dict[tuple[str, bool], int] = {}
    for cell in cells:
        key = (cell.source, ":" in cell.address)
        numbers[cell] = counts[key] = counts.get(key, -1) + 1
    out = {}
    refused: dict[tuple[str, str], int] = {}
    for cell in sorted(cells, key=lambda cell: numbers[cell]):
        if cell.logged:
            source = counted_as(site, cell)
            out[cell] = refused.get(source, 0) * pause(rate)
            refused[source] = refused.get(source, 0) + 1
        else:
            out[cell] = numbers[cell] * pause(rate) / 2
    return out


# -- what came of it -------------------------------------------------------------------------------------------------

# How a service speaks to a client that is welcome, by the port that it is known for. Others need only stay open.
GREETINGS = {
    ("tcp", 22): r"SSH-2\.0-",
    ("tcp", 25): r"220[ -]",
    ("tcp", 53): r"dns (?!REFUSED)",
    ("udp", 53): r"dns (?!REFUSED)",
    ("tcp", 110): r"\+OK",
    ("tcp", 465): r"220[ -]",
    ("tcp", 587): r"220[ -]",
    ("tcp", 993): r"\* OK",
    ("tcp", 995): r"\+OK",
    ("tcp", 4190): r'"IMPLEMENTATION"',
    ("icmp", 0): r"echo",
}
SYSLOG = {("tcp", 514), ("udp", 514)}


def judge(cell: Cell, fact: dict[str, Any], filed: bool) -> Got:
    """What a prober's finding means: ``state`` and ``words`` of tests/site/probe_batch.py, and whether a line was filed.

    A line of syslog gets no answer: it has arrived when the collector has filed it under the sender's name, and that is the
    answer. A line that was taken and thrown away has been turned away.
    """
    state = str(fact["state"])
    if (cell.protocol, cell.port) in SYSLOG:
        if filed:
            return Got.ANSWER
        return Got.HANG_UP if state in ("open", "closed") else Got(state)
    if state not in ("open", "closed"):
        return Got(state)
    greeting = GREETINGS.get((cell.protocol, cell.port))
    if greeting is None:
        return Got.OPEN if state == "open" else Got.HANG_UP
    return Got.ANSWER if re.match(greeting, str(fact["words"])) else Got.HANG_UP


LINE = re.compile(r"SRC=(?P<src>\S+) DST=(?P<dst>\S+) .*?PROTO=(?P<protocol>\w+) (?P<rest>.*)")
KEY = {
    "TCP": r"SPT=(\d+) DPT=(\d+)",
    "UDP": r"SPT=(\d+) DPT=(\d+)",
    "ICMP": r"TYPE=8 CODE=0 ID=(\d+)()",
    "ICMPv6": r"TYPE=128 CODE=0 ID=(\d+)()",
}

# Source, target, protocol, mark of the attempt (its source port, or the id of an echo request) and port.
Packet = tuple[str, str, str, int, int]


def denied(log: str) -> set[Packet]:
    """The packets that lines of the firewall's log tell of."""
    out = set()
    for line in log.splitlines():
        found = LINE.search(line)
        ends = re.search(KEY.get(found["protocol"], r"(?!)"), found["rest"]) if found else None
        if found and ends:
            # Addresses in their shortest form, whatever the log's.
            source, target = (str(ipaddress.ip_address(found[end])) for end in ("src", "dst"))
            protocol = found["protocol"].lower().removesuffix("v6")
            out.add((source, target, protocol, int(ends[1]), int(ends[2] or 0)))
    return out


def packet(cell: Cell, fact: dict[str, Any], translated: bool = True) -> Packet:
    """How the firewall would write down an attempt, or the router in front of it, which sees it before translation."""
    target = cell.inner if translated else cell.address
    return (str(ipaddress.ip_address(fact["from"])), target, cell.protocol, int(fact["mark"]), cell.port)


# -- to look at ------------------------------------------------------------------------------------------------------

SHORT = {
    Expected.ANSWERS: "+",
    Expected.PASSES: "o",
    Expected.DROPPED: ".",
    Expected.TURNED_AWAY: "x",
    Expected.CLOSED: "-",
    Expected.ECHO: "e",
    Expected.FREE: "?",
}


def rows(cells: Iterable[Cell]) -> dict[tuple[str, str, str], list[Cell]]:
    """The cells of each source and target and address."""
    out: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        out.setdefault((cell.source, cell.target, cell.address), []).append(cell)
    return out


def table(cells: Iterable[Cell], wrong: Iterable[Cell] = ()) -> str:
    """The matrix as text: a row for a pair, a column for a port; ! where what came is not what the policy says."""
    wrong = set(wrong)
    grid = rows(cells)
    columns = [cell.service for cell in next(iter(grid.values()))]
    parts = [column.split() for column in columns]
    left = max(len(f"{source} -> {target} {address}") for source, target, address in grid) + 2
    widths = [max(len(word) for word in pair) + 1 for pair in parts]
    lines = [" " * left + "".join(pair[i].rjust(width) for pair, width in zip(parts, widths, strict=True)) for i in (0, 1)]
    for (source, target, address), row in grid.items():
        signs = ["!" if cell in wrong else SHORT[cell.expected] for cell in row]
        name = f"{source} -> {target}"
        lines.append(
            f"{name}{address.rjust(left - 2 - len(name))}  "
            + "".join(sign.rjust(width) for sign, width in zip(signs, widths, strict=True))
        )
    lines.append("  ".join(f"{sign} {what.value}" for what, sign in SHORT.items()) + "  ! wrong")
    return "\n".join(lines) + "\n"
