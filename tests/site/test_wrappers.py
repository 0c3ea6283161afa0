"""TCP wrappers between neighbours, where no firewall stands: each daemon talks to whom the policy lists, and to nobody else."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import away, lab, matrix

# Daemons that begin to speak when a client connects: service -> how an answer to a welcome client begins.
GREETINGS = {"ssh": "SSH-2.0-", "smtp": "220 ", "pop3": "+OK "}


def neighbours() -> list[tuple[str, str, str]]:
    """Client, server and service of every pair in one zone whose server listens for somebody."""
    out = []
    for server in lab.group("site"):
        for client in lab.group("all"):
            if client == server or lab.zone(client) != lab.zone(server) or {client, server} & matrix.gates(lab.site()):
                continue
            if lab.zone(client) == policy.open_zone(lab.site()):
                continue
            for service in GREETINGS:
                if policy.policy_sources(lab.site(), server, service):
                    out.append((client, server, service))
    return out


def listed(client: str, server: str, service: str) -> bool:
    """Whether the policy lists a host as a client of another one's service."""
    address = ipaddress.ip_address(lab.address(client, lab.zone(server)))
    sources = policy.policy_sources(lab.site(), server, service)
    return any(source == policy.ANY or address in ipaddress.ip_network(source) for source in sources)


PAIRS = {which: [pair for pair in neighbours() if listed(*pair) == which] for which in (True, False)}


def clients(which: bool) -> list[str]:
    """The hosts that have neighbours which the policy lets them talk to, or does not."""
    return sorted({client for client, _server, _service in PAIRS[which]})


def heard(client: str, which: bool) -> dict[tuple[str, str], str]:
    """What a host hears from its neighbours' daemons, of those that welcome it or of those that do not."""
    pairs = [(server, service) for start, server, service in PAIRS[which] if start == client]
    targets = [[lab.address(server), lab.port(service)] for server, service in pairs]
    # A daemon that turns a client away keeps the connection for five seconds (libwrap), and says nothing.
    words = lab.Machine(client).call(away.first_words, targets=targets, timeout=8)
    return dict(zip(pairs, words, strict=True))


@pytest.fixture(scope="module")
def turned_away() -> dict[str, set[str]]:
    """What each host hears from the daemons that do not welcome it, all hosts at once: each is kept waiting for five seconds."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda client: set(heard(client, False).values()), clients(False))
        return dict(zip(clients(False), found, strict=True))


@pytest.mark.requirement("OPS-3", side="positive")
@pytest.mark.parametrize("client", clients(True))
def test_daemons_greet_a_neighbour_that_the_policy_lists(client: str) -> None:
    found = heard(client, True)
    assert {pair: words for pair, words in found.items() if not words.startswith(GREETINGS[pair[1]])} == {}


@pytest.mark.requirement("OPS-3", side="negative")
@pytest.mark.parametrize("client", clients(False))
def test_daemons_hang_up_on_a_neighbour_that_the_policy_does_not_list(client: str, turned_away: dict[str, set[str]]) -> None:
    assert turned_away[client] == {""}
