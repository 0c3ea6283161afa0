"""IPv6 in the lab's inventory: what the flow table makes of it is, rule for rule, what it makes of IPv4."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import dns, policy, policy_checks, sendmail, tcp_wrappers

from tests.unit.inventory import lab_site, lab_site4, lab_variables

ROUTER = "router"
GATES = ["fw", "vpn"]


@pytest.fixture
def site() -> dict[str, Any]:
    return lab_site()


def twins(site: dict[str, Any]) -> dict[str, str]:
    """Every address and network of the site: in IPv4 -> in IPv6."""
    out = {zone["network"]: zone["network6"] for zone in site["zones"].values()}
    for host in site["hosts"].values():
        out.update({link["address"]: link["address6"] for link in host["interfaces"].values()})
    return out


Rule = tuple[Any, ...]


def by_family(rules: list[dict[str, Any]]) -> tuple[list[Rule], list[Rule], list[Rule]]:
    """Rules of IPv4, of IPv6, and of both at once."""
    out: tuple[list[Rule], list[Rule], list[Rule]] = ([], [], [])
    for rule in rules:
        ends = [end for end in (rule["saddr"], rule["daddr"]) if end]
        families = {":" in end for end in ends}
        assert len(families) <= 1, rule
        ports = (rule["protocol"], *rule["ports"])
        row = (rule["flow"], rule["chain"], rule["iif"], rule["oif"], rule["saddr"], rule["daddr"], *ports)
        out[2 if not families else int(True in families)].append(row)
    return out


def test_every_host_and_zone_has_both_families(site: dict[str, Any]) -> None:
    assert policy_checks.policy_errors(site) == []
    assert lab_variables()["site_ipv6"] is True
    links = [link for host in site["hosts"].values() for link in host["interfaces"].values()]
    assert [link for link in links if not link.get("address6")] == []
    assert [name for name, zone in site["zones"].items() if not zone.get("network6")] == []


def test_no_address_is_one_that_the_world_would_not_route(site: dict[str, Any]) -> None:
    """The site has documentation addresses (RFC 3849), the world those for benchmarks (RFC 5180), as in IPv4: of the former a name server
    looks no names up for anybody but itself (RFC 6303), and nothing is of NOWHERE6, which the router would take for a forgery."""
    for name, zone in site["zones"].items():
        block = "2001:2::/48" if name == "world" else "2001:db8::/32"
        assert ipaddress.IPv6Network(zone["network6"]).subnet_of(ipaddress.IPv6Network(block)), name


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.parametrize("gate", GATES)
def test_each_rule_of_one_family_has_its_twin_in_the_other_and_none_is_added(gate: str, site: dict[str, Any]) -> None:
    four, six, both = by_family(policy.policy_rules(site, gate))
    known = twins(site)
    assert len(four) > 5
    assert [(*row[:4], *(known.get(str(end), end) for end in row[4:6]), *row[6:]) for row in four] == six
    assert [row for row in both if not {row[2], row[3]} & {"outside", "inside", "dmz"}] == []
    # And what is of IPv4 is what a site without the other family would have.
    assert four + both == [row for rows in by_family(policy.policy_rules(lab_site4(), gate)) for row in rows]


@pytest.mark.requirement("NET-7", side="negative")
def test_the_border_router_lets_by_in_ipv6_what_it_lets_by_in_ipv4_and_no_more(site: dict[str, Any]) -> None:
    """Untranslated: by the hosts' own addresses, and a host that hides behind the shared IPv4 address has one of its own."""
    four, six, both = by_family(policy.policy_border_rules(site, ROUTER))
    assert both == []
    own = twins(site)
    for host in site["hosts"].values():
        if "public" in host:
            own[host["public"]] = next(iter(host["interfaces"].values()))["address6"]
    pat = site["pat"]["address"]
    for row in four:
        ends = [own.get(str(end), end) for end in row[4:6]]
        assert [r for r in six if r[:4] == row[:4] and r[6:] == row[6:] and (pat in ends or list(r[4:6]) == ends)], row
    assert len(six) == len(four)
    store = site["hosts"]["mail"]["interfaces"]["inside"]["address6"]
    assert [
        row for row in six if row[1] == "forward" and (store in row[4:6] or site["zones"]["inside"]["network6"] in row[4:6])
    ] == []


@pytest.mark.requirement("NET-7", side="negative")
def test_the_sites_own_networks_do_not_come_from_the_world(site: dict[str, Any]) -> None:
    bogons = [ipaddress.IPv6Network(network) for network in policy.policy_bogons(site, "world") if ":" in network]
    for name, zone in site["zones"].items():
        inside = any(ipaddress.IPv6Network(zone["network6"]).subnet_of(bogon) for bogon in bogons)
        assert inside == (name != "world"), name


def test_a_host_that_comes_through_a_tunnel_is_routed_there_in_both_families(site: dict[str, Any]) -> None:
    (link,) = policy.policy_links(site, "mail")
    assert link["gateway6"] == "2001:db8:a1:100::1"
    via = {route["to"]: route["via"] for route in link["routes"]}
    for zone in ("remote", "branch-office"):
        assert via[site["zones"][zone]["network6"]] == "2001:db8:a1:100::3"


def test_wrappers_and_relays_name_clients_by_both_addresses(site: dict[str, Any]) -> None:
    (sshd,) = [entry for entry in policy.policy_wrappers(site, "smtp1") if entry["daemon"] == "sshd"]
    assert [tcp_wrappers.tcp_wrappers_client(client) for client in sshd["clients"]] == [
        "10.1.0.24",
        "[2001:db8:a1:100::24]/128",
    ]
    assert "2001:db8:a1:100::25" in sendmail.mail_relay_from(site, "smtp1", ["smtp1"], ["mail"])


@pytest.mark.requirement("NET-8", side="negative")
def test_the_world_is_told_of_the_two_hosts_in_the_dmz_alone(site: dict[str, Any]) -> None:
    zones = dns.dns_zones(site, ["dns1"], ["smtp1"], hidden=["mail", "mgmt"])
    assert dns.dns_zone_errors(zones) == []
    outside = [zone for zone in zones if zone["views"] == ["external"]]
    records = [
        (zone["name"], r["name"], r["value"]) for zone in outside for r in zone["records"] if r["type"] in ("AAAA", "PTR")
    ]
    dmz = "0.5.0.0.1.a.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
    label = "1.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
    assert ("widgets.example", "smtp1", "2001:db8:a1:50::11") in records
    assert (dmz, label, "smtp1.widgets.example.") in records
    assert {value for _zone, _name, value in records if ":" in value} == {"2001:db8:a1:50::11", "2001:db8:a1:50::12"}
    assert "a1:100" not in str(outside)
    inside = [zone for zone in zones if zone["views"] == ["internal"]]
    assert {r["value"] for zone in inside for r in zone["records"] if r["type"] == "AAAA"} >= {"2001:db8:a1:100::25"}
