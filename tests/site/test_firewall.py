"""The firewall and the router in front of it: who reaches what, who does not and where that is written down, under which
address one is seen, and what outlives a change of the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.site import away, lab
from tests.site.network import denials

SMTP, DNS, SSH, SYSLOG, POP = (lab.port(name) for name in ("smtp", "dns", "ssh", "syslog", "pop3"))
UNUSED = 4444  # a port that no service has
FAMILIES = (4, 6)
OWN = {4: lab.address, 6: lab.address6}

# Who tries, whom, at which port; None for a stranger's own side is the foreign host.
ALLOWED = [
    pytest.param(lab.STRANGER, lab.GATEWAY, SMTP, marks=pytest.mark.requirement("NET-2", side="positive")),
    pytest.param(lab.STRANGER, lab.NAMESERVER, DNS, marks=pytest.mark.requirement("NET-2", side="positive")),
    pytest.param(lab.GATEWAY, lab.STRANGER, SMTP, marks=pytest.mark.requirement("NET-3", side="positive")),
    pytest.param(lab.GATEWAY, lab.STRANGER, DNS, marks=pytest.mark.requirement("NET-3", side="positive")),
    pytest.param(lab.NAMESERVER, lab.STRANGER, DNS, marks=pytest.mark.requirement("NET-3", side="positive")),
    pytest.param(lab.GATEWAY, lab.STORE, SMTP, marks=pytest.mark.requirement("GW-2", side="positive")),
    pytest.param(lab.GATEWAY, lab.COLLECTOR, SYSLOG, marks=pytest.mark.requirement("NET-3", side="positive")),
    pytest.param(lab.NAMESERVER, lab.COLLECTOR, SYSLOG, marks=pytest.mark.requirement("NET-3", side="positive")),
    pytest.param(lab.DESK, lab.GATEWAY, SMTP, marks=pytest.mark.requirement("NET-4", side="positive")),
    pytest.param(lab.DESK, lab.NAMESERVER, DNS, marks=pytest.mark.requirement("NET-4", side="positive")),
    pytest.param(lab.COLLECTOR, lab.GATEWAY, SSH, marks=pytest.mark.requirement("NET-4", side="positive")),
    pytest.param(lab.COLLECTOR, lab.NAMESERVER, SSH, marks=pytest.mark.requirement("NET-4", side="positive")),
    pytest.param(lab.COLLECTOR, lab.FIREWALL, SSH, marks=pytest.mark.requirement("OPS-4", side="positive")),
    pytest.param(lab.FIREWALL, lab.COLLECTOR, SYSLOG, marks=pytest.mark.requirement("OPS-1", side="positive")),
    pytest.param(lab.ROUTER, lab.COLLECTOR, SYSLOG, marks=pytest.mark.requirement("OPS-1", side="positive")),
]
IN_FRONT = [(lab.GATEWAY, SSH), (lab.COLLECTOR, SSH), (lab.FIREWALL, SSH), (lab.STORE, SMTP)]
REFUSED = {
    # into the site
    lab.STRANGER: [
        (lab.GATEWAY, SSH),
        (lab.GATEWAY, POP),
        (lab.NAMESERVER, SMTP),
        (lab.NAMESERVER, SSH),
        (lab.STORE, SMTP),
        (lab.STORE, POP),
        (lab.COLLECTOR, SYSLOG),
        (lab.COLLECTOR, SSH),
        (lab.FIREWALL, SSH),
        (lab.FIREWALL, UNUSED),
    ],
    # in front of it: refused by the router's own rules
    lab.ROUTER: IN_FRONT,
    # out of the DMZ
    lab.GATEWAY: [
        (lab.STRANGER, UNUSED),
        (lab.STRANGER, SSH),
        (lab.STORE, POP),
        (lab.STORE, SSH),
        (lab.DESK, UNUSED),
        (lab.FIREWALL, SSH),
    ],
    lab.NAMESERVER: [(lab.STRANGER, SMTP), (lab.STORE, SMTP), (lab.STORE, SSH), (lab.FIREWALL, SSH)],
    # out of the inside
    lab.DESK: [
        (lab.STRANGER, SMTP),
        (lab.STRANGER, DNS),
        (lab.STRANGER, UNUSED),
        (lab.GATEWAY, SSH),
        (lab.NAMESERVER, SSH),
        (lab.NAMESERVER, UNUSED),
        (lab.FIREWALL, SSH),
    ],
    lab.STORE: [(lab.STRANGER, SMTP), (lab.GATEWAY, SSH)],
    lab.COLLECTOR: [(lab.STRANGER, SMTP), (lab.STRANGER, SSH)],
    # from the firewall itself
    lab.FIREWALL: [(lab.STRANGER, SMTP), (lab.STRANGER, DNS), (lab.STORE, SMTP), (lab.GATEWAY, SSH), (lab.DESK, UNUSED)],
}


def past(host: str) -> dict[str, str]:
    """How `away.knock` gets a packet from a host to the firewall past the host's own rules."""
    return {"around": lab.site()["hosts"][lab.FIREWALL]["interfaces"]["outside"]["mac"]} if host == lab.ROUTER else {}


@pytest.mark.parametrize(("start", "target", "port"), ALLOWED)
def test_a_listed_connection_opens(start: str, target: str, port: int) -> None:
    (found,) = lab.Machine(start).call(away.probe, targets=[[lab.reach(target, start), port]])
    assert found["result"] == "open"


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.requirement("NET-2", side="negative")
@pytest.mark.requirement("NET-3", side="negative")
@pytest.mark.requirement("NET-4", side="negative")
@pytest.mark.parametrize("start", REFUSED)
def test_what_is_not_listed_is_dropped_and_each_attempt_is_in_the_collectors_log(start: str, collector: lab.Machine) -> None:
    targets = [(lab.reach(target, start), port) for target, port in REFUSED[start]]
    found = lab.Machine(start).call(away.probe, targets=targets)
    assert [entry["result"] for entry in found] == ["silent"] * len(targets), targets
    # A public address has been translated by the time that the firewall judges a packet; the router sees it as it came.
    inner = {lab.public(host): lab.address(host) for host in (lab.GATEWAY, lab.NAMESERVER)}
    patterns = [
        f"DST=({address}|{inner.get(address, address)}) .*SPT={entry['source_port']} DPT={port} "
        for (address, port), entry in zip(targets, found, strict=True)
    ]
    filters = (lab.FIREWALL, lab.ROUTER)
    lab.until(lambda: all(re.search(pattern, denials(collector, *filters)) for pattern in patterns), f"lines with {patterns}")


@pytest.mark.requirement("NET-7", side="positive")
@pytest.mark.parametrize(
    ("start", "target", "ends", "family"),
    [
        (lab.STRANGER, lab.GATEWAY, f"ip daddr {lab.public(lab.GATEWAY)}", 4),
        (lab.GATEWAY, lab.STRANGER, f"ip saddr {lab.public(lab.GATEWAY)}", 4),
        (lab.STRANGER, lab.GATEWAY, f"ip6 daddr {lab.address6(lab.GATEWAY)}", 6),
        (lab.GATEWAY, lab.STRANGER, f"ip6 saddr {lab.address6(lab.GATEWAY)}", 6),
    ],
)
def test_what_is_listed_passes_the_router_by_a_rule_of_its_own(
    start: str, target: str, ends: str, family: int, router: lab.Machine
) -> None:
    def passed() -> int:
        rule = rf"{re.escape(ends)} tcp dport {SMTP} counter packets (\d+)"
        return sum(int(packets) for packets in re.findall(rule, router.sh("nft list table inet firewall")))

    before = passed()
    (found,) = lab.Machine(start).call(away.probe, targets=[[lab.to_reach(target, start, family), SMTP]])
    assert found["result"] == "open" and passed() > before


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.requirement("NET-7", side="negative")
@pytest.mark.parametrize("family", FAMILIES)
def test_what_gets_past_the_router_is_still_refused_by_the_firewall(
    family: int, collector: lab.Machine, router: lab.Machine
) -> None:
    own, first = OWN[family](lab.ROUTER, "outside"), lab.source_port()
    for number, (target, port) in enumerate(IN_FRONT):
        ends = {"target": lab.to_reach(target, lab.ROUTER, family), "target_port": port}
        router.call(away.knock, source=own, source_port=first + number, **past(lab.ROUTER), **ends)
    patterns = [f"SRC={own} .*SPT={first + number} DPT={port} " for number, (_target, port) in enumerate(IN_FRONT)]
    lab.until(lambda: all(re.search(one, denials(collector, lab.FIREWALL)) for one in patterns), f"lines with {patterns}")


@pytest.mark.requirement("NET-7", side="negative")
def test_the_router_refuses_by_itself_what_the_firewall_never_sees(
    collector: lab.Machine, stranger: lab.Machine, firewall: lab.Machine
) -> None:
    with firewall.talk(away.knocks_session, port=SSH) as witness:
        assert witness.read() == "ready"
        (found,) = stranger.call(away.probe, targets=[[lab.public(lab.GATEWAY), SSH]])
        pattern = f"router deny .*DST={lab.public(lab.GATEWAY)} .*SPT={found['source_port']} DPT={SSH} "
        lab.until(lambda: re.search(pattern, denials(collector, lab.ROUTER)), f"a line with {pattern}")
        # The next packet that the firewall does see is this one: nothing came before it.
        collector.call(away.probe, targets=[[lab.address(lab.GATEWAY), SSH]])
        assert witness.read()[0] == lab.address(lab.COLLECTOR)


@pytest.mark.requirement("NET-5", side="positive")
def test_the_gateway_sees_a_strangers_own_address(gateway: lab.Machine, stranger: lab.Machine) -> None:
    with gateway.talk(away.knocks_session, port=SMTP) as witness:
        assert witness.read() == "ready"
        (found,) = stranger.call(away.probe, targets=[[lab.public(lab.GATEWAY), SMTP]])
        assert witness.read() == [lab.address(lab.STRANGER), found["source_port"]]


@pytest.mark.requirement("NET-5", side="positive")
def test_a_foreign_server_sees_the_gateways_public_address(gateway: lab.Machine, stranger: lab.Machine) -> None:
    with stranger.talk(away.knocks_session, port=SMTP) as witness:
        assert witness.read() == "ready"
        (found,) = gateway.call(away.probe, targets=[[lab.address(lab.STRANGER), SMTP]])
        assert witness.read() == [lab.public(lab.GATEWAY), found["source_port"]]


@pytest.mark.requirement("NET-5", side="positive")
def test_the_world_sees_an_inside_host_under_the_shared_address(collector: lab.Machine, router: lab.Machine) -> None:
    with router.talk(away.knocks_session, port=SSH) as witness:
        assert witness.read() == "ready"
        collector.call(away.probe, targets=[[lab.reach(lab.ROUTER, lab.COLLECTOR), SSH]])
        source, _port = witness.read()
    assert source == lab.site()["pat"]["address"] != lab.address(lab.COLLECTOR)


@pytest.fixture
def desk_outside(firewall: lab.Machine) -> Iterator[None]:
    """The firewall with its way to an inside host leading outside, as the default route does while the inside link is down."""
    route = f"{lab.address(lab.DESK)}/32 via {lab.address(lab.ROUTER, 'outside')}"
    firewall.sh(f"ip route add {route}")
    yield
    firewall.sh(f"ip route del {route}")


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.usefixtures("desk_outside")
def test_what_is_for_an_inside_host_is_not_sent_outside(gateway: lab.Machine, collector: lab.Machine) -> None:
    """The gateway may send mail out there: that must not take what is for the inside along, nor translate its sender."""
    (found,) = gateway.call(away.probe, targets=[[lab.address(lab.DESK), SMTP]])
    pattern = f"SRC={lab.address(lab.GATEWAY)} DST={lab.address(lab.DESK)} .*SPT={found['source_port']} DPT={SMTP} "
    lab.until(lambda: re.search(pattern, denials(collector, lab.FIREWALL)), f"a line with {pattern}")


@pytest.mark.requirement("NET-5", side="positive")
def test_an_idle_connection_of_an_inside_host_is_forgotten_after_the_policys_time(
    desk: lab.Machine, firewall: lab.Machine
) -> None:
    """What the firewall's own table of connections says how long this one may still be silent."""
    idle, gateway = int(lab.site()["pat"]["idle"]), lab.address(lab.GATEWAY)
    with desk.talk(away.smtp_session, address=gateway, port=SMTP) as session:
        assert session.read().startswith("220 ")
        table = firewall.sh("cat /proc/net/nf_conntrack")
        pattern = rf" (\d+) ESTABLISHED src={lab.address(lab.DESK)} dst={gateway} \S+ dport={SMTP} "
        left = [int(seconds) for seconds in re.findall(pattern, table)]
        session.ask("QUIT")
    assert left and max(left) in range(idle - 30, idle + 1)


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.requirement("NET-7", side="negative")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("start", [lab.STRANGER, lab.ROUTER])
def test_a_forged_inside_source_does_not_reach_the_gateway_where_the_same_packet_under_its_own_does(
    start: str, family: int, gateway: lab.Machine
) -> None:
    """Sent in this order over one path: when the honest packet is there, a forged one would have been there before it."""
    liar, address = lab.Machine(start), OWN[family]
    ends = {"target": lab.to_reach(lab.GATEWAY, start, family), "target_port": SMTP}
    port = lab.source_port()
    with gateway.talk(away.knocks_session, port=SMTP, family=family) as witness:
        assert witness.read() == "ready"
        # Some that no flow would let by, and one that flows let to this port from everywhere.
        for source in (address(lab.DESK), address(lab.STORE), address(lab.NAMESERVER), address(lab.FIREWALL, "outside")):
            liar.call(away.knock, source=source, source_port=port, **past(start), **ends)
        own = address(start, "world" if start == lab.STRANGER else lab.zone(start))
        liar.call(away.knock, source=own, source_port=port + 1, **past(start), **ends)
        assert witness.read() == [own, port + 1]


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.requirement("NET-7", side="negative")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("start", "judge"), [(lab.STRANGER, lab.ROUTER), (lab.ROUTER, lab.FIREWALL)])
def test_a_forged_source_is_in_the_collectors_log(start: str, judge: str, family: int, collector: lab.Machine) -> None:
    source_port, source = lab.source_port(), OWN[family](lab.DESK)
    ends = {"target": lab.to_reach(lab.GATEWAY, start, family), "target_port": SMTP}
    lab.Machine(start).call(away.knock, source=source, source_port=source_port, **past(start), **ends)
    pattern = f"SRC={source} .*SPT={source_port} "
    lab.until(lambda: re.search(pattern, denials(collector, judge)), f"a line of {judge} with {pattern}")


@pytest.mark.requirement("NET-1", side="positive")
@pytest.mark.parametrize(("action", "address"), list(zip(("reload", "restart"), lab.known(lab.GATEWAY), strict=True)))
def test_an_open_connection_survives_when_the_rules_are_loaded_anew(
    action: str, address: str, firewall: lab.Machine, stranger: lab.Machine
) -> None:
    with stranger.talk(away.smtp_session, address=address, port=SMTP) as session:
        assert session.read().startswith("220 ")
        firewall.run("systemctl", action, "nftables")
        assert session.ask("NOOP").startswith("250 ")
        assert session.ask("QUIT").startswith("221 ")


@pytest.fixture
def unit_stopped(firewall: lab.Machine) -> Iterator[None]:
    """The firewall with its unit stopped, for one test."""
    firewall.run("systemctl", "stop", "nftables")
    yield
    firewall.run("systemctl", "start", "nftables")


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.usefixtures("unit_stopped")
def test_stopping_the_unit_does_not_open_the_site(stranger: lab.Machine) -> None:
    targets = [[lab.public(lab.GATEWAY), SMTP], [lab.public(lab.GATEWAY), SSH], [lab.address(lab.STORE), SMTP]]
    targets += [[lab.address6(lab.GATEWAY), SMTP], [lab.address6(lab.GATEWAY), SSH], [lab.address6(lab.STORE), SMTP]]
    found = [entry["result"] for entry in stranger.call(away.probe, targets=targets)]
    assert found == ["open", "silent", "silent"] * 2
