"""IPv6 beside IPv4: what the flow table permits connects, everything else is dropped and logged, and names are answered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acme import acme
from tests.site import away, lab

WALL = lab.FIREWALL
HOSTS = [host for host in lab.site()["hosts"] if host != WALL]
SERVICES = [name for name, service in lab.site()["services"].items() if service.get("tcp")]


def pairs(start: str) -> list[tuple[str, str]]:
    """Every host of another zone, with every service of the site that uses TCP."""
    return [(host, service) for host in HOSTS if lab.zone(host) != lab.zone(start) for service in SERVICES]


def permitted(start: str, target: str, service: str) -> bool:
    """Whether any flow has it."""
    return any(service in flow["services"] and acme.permits(flow, start, target) for flow in lab.site()["flows"])


@pytest.mark.parametrize("family", acme.FAMILIES)
@pytest.mark.parametrize("start", HOSTS)
def test_what_the_table_has_connects_and_all_else_is_dropped(start: str, family: int) -> None:
    wanted = pairs(start)
    targets = [[acme.address(host, family, start), lab.port(service)] for host, service in wanted]
    found = lab.Machine(start).call(away.probe, targets=targets, timeout=4)
    # What is permitted to strangers need not be offered by them: their answer, even a refusal, has come through.
    results = {pair: "dropped" if entry["result"] == "silent" else "through" for pair, entry in zip(wanted, found, strict=True)}
    assert results == {pair: "through" if permitted(start, *pair) else "dropped" for pair in wanted}


def test_the_table_permits_and_refuses_something_for_every_host() -> None:
    """Else the test above would compare nothing with nothing."""
    verdicts = {start: {permitted(start, *pair) for pair in pairs(start)} for start in HOSTS}
    assert verdicts == {start: {True, False} for start in HOSTS}


@pytest.mark.parametrize("direction", ["in", "out"])
def test_what_is_dropped_is_logged_with_its_address(direction: str) -> None:
    start, target = (lab.STRANGER, "store1") if direction == "in" else ("store1", lab.STRANGER)
    to = acme.address(target, 6, start)
    (probe,) = lab.Machine(start).call(away.probe, targets=[[to, lab.port("ssh")]], timeout=2)
    assert probe["result"] == "silent"
    wall = lab.Machine(WALL)
    lab.until(
        lambda: (
            wall.run(
                "grep", "-E", f"fw deny .*SPT={probe['source_port']} DPT=22", "/var/log/ulog/denied.log", check=False
            ).stdout
        ),
        "the firewall's line",
    )


def test_nobody_outside_reaches_the_firewall_itself() -> None:
    feet = lab.site()["hosts"][WALL]["interfaces"]
    targets = [[foot["address6"], lab.port(service)] for foot in feet.values() for service in SERVICES]
    found = lab.Machine(lab.STRANGER).call(away.probe, targets=targets, timeout=3)
    assert {entry["result"] for entry in found} == {"silent"}


def asked(start: str, name: str, kind: str) -> dict[str, Any]:
    """The name server's answer over IPv6."""
    address = acme.address(lab.NAMESERVER, 6, start)
    (answer,) = lab.Machine(start).call(away.dns, server=address, port=lab.port("dns"), questions=[[name, kind]])
    found: dict[str, Any] = answer
    return found


@pytest.mark.parametrize("domain", acme.DOMAINS)
def test_the_world_finds_both_gateways_over_ipv6(domain: str) -> None:
    answer = asked(lab.STRANGER, domain, "MX")
    assert sorted(value for _name, _kind, value in answer["answer"]) == [f"10 {lab.fqdn(host)}" for host in acme.GATEWAYS]
    for host in acme.GATEWAYS:
        answer = asked(lab.STRANGER, lab.fqdn(host), "AAAA")
        assert [value for _name, _kind, value in answer["answer"]] == [acme.address(host, 6)]


@pytest.mark.parametrize("host", [*acme.STORES, lab.COLLECTOR])
def test_inside_names_have_both_addresses_and_outside_they_do_not_exist(host: str) -> None:
    for family, kind in ((4, "A"), (6, "AAAA")):
        answer = asked(lab.DESK, lab.fqdn(host), kind)
        assert [value for _name, _kind, value in answer["answer"]] == [acme.address(host, family, lab.DESK)]
        assert asked(lab.STRANGER, lab.fqdn(host), kind)["code"] == "NXDOMAIN"


def test_the_desk_has_foreign_names_looked_up_over_ipv6() -> None:
    answer = asked(lab.DESK, lab.foreign_domain(), "MX")
    assert answer["code"] == "NOERROR"
    assert answer["answer"]


def test_strangers_have_no_names_looked_up() -> None:
    assert asked(lab.STRANGER, "root.elsewhere.example", "A")["code"] == "REFUSED"


@pytest.mark.parametrize("host", [host for host in lab.group("site") if host != lab.COLLECTOR])
def test_the_collector_hears_hosts_over_ipv6_and_files_their_lines_by_name(host: str) -> None:
    """A line sent by hand from the host's IPv6 address; the host's own rsyslog goes by IPv4."""
    word = lab.token()
    feet = lab.site()["hosts"][lab.COLLECTOR]["interfaces"]
    address = feet[lab.zone(lab.COLLECTOR)]["address6"]
    text = f"<13>1 - somebody-else probe - - - {word}\n"
    script = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10); "
        "s.sendall(sys.argv[3].encode()); s.close()"
    )
    lab.Machine(host).run("python3", "-c", script, address, str(lab.port("syslog")), text)
    log = f"{lab.REMOTE_LOGS}/{host}/syslog.log"
    lab.until(lambda: lab.Machine(lab.COLLECTOR).run("grep", word, log, check=False).stdout, f"the line in {log}")
