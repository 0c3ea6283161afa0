"""TCP wrappers between neighbours, where no firewall stands: each daemon talks to whom the policy lists, and to nobody else."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import away, lab

# Daemons that begin to speak when a client connects: service -> how an answer to a welcome client begins.
GREETINGS = {"ssh": "SSH-2.0-", "smtp": "220 ", "pop3": "+OK "}


def neighbours() -> list[tuple[str, str, str]]:
    """Client, server and service of every pair in one zone whose server listens for somebody."""
    out = []
    for server in lab.group("site"):
        for client in lab.group("all"):
            if client == server or lab.zone(client) != lab.zone(server) or lab.FIREWALL in (client, server):
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


PAIRS = neighbours()


@pytest.mark.requirement("OPS-3", side="positive")
@pytest.mark.parametrize(("client", "server", "service"), [pair for pair in PAIRS if listed(*pair)])
def test_a_neighbour_that_the_policy_lists_is_greeted(client: str, server: str, service: str) -> None:
    words = lab.Machine(client).call(away.first_words, address=lab.address(server), port=lab.port(service))
    assert words.startswith(GREETINGS[service])


@pytest.mark.requirement("OPS-3", side="negative")
@pytest.mark.parametrize(("client", "server", "service"), [pair for pair in PAIRS if not listed(*pair)])
def test_a_neighbour_that_the_policy_does_not_list_is_hung_up_on(client: str, server: str, service: str) -> None:
    words = lab.Machine(client).call(away.first_words, address=lab.address(server), port=lab.port(service))
    assert words == ""
