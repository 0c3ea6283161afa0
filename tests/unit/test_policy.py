"""The flow table: what the lab's inventory resolves to, and what a wrong entry says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy, policy_checks

from tests.unit.inventory import lab_site4


@pytest.fixture
def site() -> dict[str, Any]:
    """The lab as it would be with IPv4 alone; tests/unit/test_lab_ipv6.py has the other family."""
    return lab_site4()


def rules(site: dict[str, Any], flow: str) -> list[tuple[Any, ...]]:
    return [
        (r["chain"], r["iif"], r["saddr"], r["oif"], r["daddr"], r["protocol"], r["ports"])
        for r in policy.policy_rules(site)
        if r["flow"] == flow
    ]


def test_the_labs_inventory_is_sound(site: dict[str, Any]) -> None:
    assert policy_checks.policy_errors(site) == []


def test_smtp_from_anywhere_reaches_the_gateway_only_across_the_firewall(site: dict[str, Any]) -> None:
    assert rules(site, "smtp-in") == [
        ("forward", "outside", None, "dmz", "10.1.1.11", "tcp", [25]),
        ("forward", "inside", "10.1.0.0/24", "dmz", "10.1.1.11", "tcp", [25]),
    ]


def test_a_flow_inside_one_zone_makes_no_rule(site: dict[str, Any]) -> None:
    assert rules(site, "pop") == []


def test_flows_of_the_firewall_itself_use_its_input_and_output(site: dict[str, Any]) -> None:
    assert ("output", None, "10.1.0.1", "inside", "10.1.0.24", "tcp", [514]) in rules(site, "syslog")
    assert ("input", "inside", "10.1.0.24", None, "10.1.0.1", "tcp", [22]) in rules(site, "ssh-admin")


def test_nothing_reaches_the_store_from_outside(site: dict[str, Any]) -> None:
    assert [r for r in policy.policy_rules(site) if r["iif"] == "outside" and r["daddr"] == "10.1.0.25"] == []
    assert [r for r in policy.policy_rules(site) if r["oif"] == "inside" and r["daddr"] == "10.1.0.0/24"] == []


def test_hosts_see_translated_addresses_in_the_open_zone_only(site: dict[str, Any]) -> None:
    assert policy.seen_as(site, "mgmt", "outside") == "198.51.100.29"
    assert policy.seen_as(site, "smtp1", "outside") == "198.51.100.4"
    assert policy.seen_as(site, "mgmt", "dmz") == "10.1.0.24"
    assert policy.seen_as(site, "router", "inside") == "198.51.100.1"
    assert policy.seen_as(site, "fw", "inside") == "10.1.0.1"


def test_wrappers_name_clients_as_the_host_sees_them(site: dict[str, Any]) -> None:
    assert policy.policy_wrappers(site, "smtp1") == [
        {"daemon": "sshd", "clients": ["10.1.0.24"]},
        {"daemon": "sendmail", "clients": ["ALL"]},
    ]
    assert policy.policy_wrappers(site, "mail") == [
        {"daemon": "sshd", "clients": ["10.1.0.24"]},
        {"daemon": "sendmail", "clients": ["10.1.1.11", "10.1.0.0/24", "10.1.2.0/24", "10.2.0.0/24"]},
        {"daemon": "pop3", "clients": ["10.1.0.0/24", "10.1.2.0/24", "10.2.0.0/24"]},
        {"daemon": "imap", "clients": ["10.1.0.0/24", "10.1.2.0/24", "10.2.0.0/24"]},
        {"daemon": "sieve", "clients": ["10.1.0.0/24", "10.1.2.0/24", "10.2.0.0/24"]},
    ]
    assert policy.policy_wrappers(site, "router") == [{"daemon": "sshd", "clients": ["198.51.100.29"]}]
    assert policy.policy_wrappers(site, "mgmt") == [{"daemon": "sshd", "clients": ["10.1.1.11", "10.1.1.12"]}]
    assert policy.policy_wrappers(site, "workstation") == []


def test_names_are_those_of_the_hosts_asked_for(site: dict[str, Any]) -> None:
    assert policy.policy_names(site, ["smtp1"]) == [{"address": "10.1.1.11", "names": ["smtp1.widgets.example", "smtp1"]}]
    assert policy.policy_known_as(site, ["smtp1"]) == {"smtp1": ["smtp1.widgets.example", "10.1.1.11"]}


def test_syslog_senders_are_known_by_address(site: dict[str, Any]) -> None:
    assert policy.policy_senders(site, "mgmt", "syslog") == {
        "10.1.0.1": "fw",
        "10.1.0.3": "vpn",
        "10.1.0.25": "mail",
        "10.1.1.11": "smtp1",
        "10.1.1.12": "dns1",
        "198.51.100.1": "router",
    }


def test_only_hosts_behind_the_firewall_have_a_resolver(site: dict[str, Any]) -> None:
    found = {host: policy.policy_resolvers(site, host, ["dns1"]) for host in ("router", "fw", "vpn", "smtp1", "mail")}
    assert found == {"router": [], "fw": [], "vpn": [], "smtp1": ["10.1.1.12"], "mail": ["10.1.1.12"]}


def test_links_of_the_firewall_carry_the_translated_addresses(site: dict[str, Any]) -> None:
    outside, dmz, inside = policy.policy_links(site, "fw")
    assert outside["addresses"] == [
        "198.51.100.2/27",
        "198.51.100.4/32",
        "198.51.100.5/32",
        "198.51.100.29/32",
    ]
    assert (outside["gateway"], dmz["gateway"], inside["gateway"]) == ("198.51.100.1", None, None)
    assert [link["group"] for link in (outside, dmz, inside)] == [1, 51, 101]


def test_the_router_reaches_the_inner_zones_through_the_firewall(site: dict[str, Any]) -> None:
    world, outside = policy.policy_links(site, "router")
    assert (world["gateway"], outside["gateway"], world["group"]) == (None, None, 201)
    assert outside["routes"] == [
        {"to": "10.1.1.0/24", "via": "198.51.100.2"},
        {"to": "10.1.0.0/24", "via": "198.51.100.2"},
    ]


def test_a_concentrator_lets_its_tunnels_to_what_names_them_and_nothing_through_between_its_own_feet(
    site: dict[str, Any],
) -> None:
    found = [(r["chain"], r["flow"], r["iif"], r["saddr"], r["oif"], r["daddr"]) for r in policy.policy_rules(site, "vpn")]
    assert set(found) == {
        ("output", "syslog", None, "10.1.0.3", "inside", "10.1.0.24"),
        ("input", "ssh-admin", "inside", "10.1.0.24", None, "10.1.0.3"),
        ("input", "vpn", "outside", None, None, "198.51.100.3"),
        ("forward", "vpn-mail", "remote", "10.1.2.0/24", "inside", "10.1.0.25"),
        ("forward", "vpn-mail", "branch-office", "10.2.0.0/24", "inside", "10.1.0.25"),
        ("forward", "submission", "remote", "10.1.2.0/24", "inside", "10.1.0.25"),
        ("forward", "submission", "branch-office", "10.2.0.0/24", "inside", "10.1.0.25"),
        ("forward", "imap", "remote", "10.1.2.0/24", "inside", "10.1.0.25"),
        ("forward", "sieve", "remote", "10.1.2.0/24", "inside", "10.1.0.25"),
        ("forward", "imap", "branch-office", "10.2.0.0/24", "inside", "10.1.0.25"),
        ("forward", "sieve", "branch-office", "10.2.0.0/24", "inside", "10.1.0.25"),
        ("forward", "vpn-dns", "remote", "10.1.2.0/24", "inside", "10.1.1.12"),
        ("forward", "vpn-dns", "branch-office", "10.2.0.0/24", "inside", "10.1.1.12"),
    }


def test_the_firewall_sees_what_came_through_a_tunnel_on_the_concentrators_side(site: dict[str, Any]) -> None:
    assert rules(site, "vpn-dns") == [
        ("forward", "inside", network, "dmz", "10.1.1.12", protocol, [53])
        for network in ("10.1.2.0/24", "10.2.0.0/24")
        for protocol in ("tcp", "udp")
    ]
    assert rules(site, "vpn-mail") == rules(site, "vpn") == []


def test_any_does_not_mean_those_beyond_tunnels(site: dict[str, Any]) -> None:
    assert {r["saddr"] for r in policy.policy_rules(site) if r["flow"] == "smtp-in"} == {None, "10.1.0.0/24"}


def test_a_small_sites_firewall_is_its_concentrator_as_well(site: dict[str, Any]) -> None:
    del site["hosts"]["vpn"]
    for name in ("remote", "branch-office"):
        site["zones"][name]["tunnel"] = "fw"
    for flow in site["flows"]:
        flow["from"] = [end for end in policy.as_list(flow["from"]) if end != "vpn"]
        flow["to"] = [{"vpn": "fw"}.get(end, end) for end in policy.as_list(flow["to"])]
    assert policy_checks.policy_errors(site) == []
    assert policy.policy_zones(site) == {"outside": 1, "dmz": 51, "inside": 101, "remote": 200, "branch-office": 200}
    assert ("forward", "remote", "10.1.2.0/24", "inside", "10.1.0.25", "tcp", [25, 110, 995]) in rules(site, "vpn-mail")
    assert rules(site, "vpn") == [("input", "outside", None, None, "198.51.100.2", "udp", [51820])]


def test_zones_of_a_gate_are_its_interfaces_and_its_tunnels(site: dict[str, Any]) -> None:
    assert policy.policy_zones(site) == policy.policy_zones(site, "fw") == {"outside": 1, "dmz": 51, "inside": 101}
    assert policy.policy_zones(site, "vpn") == {"outside": 1, "inside": 101, "remote": 200, "branch-office": 200}


def test_a_concentrator_leaves_by_the_outside_and_reaches_the_dmz_through_the_firewall(site: dict[str, Any]) -> None:
    outside, inside = policy.policy_links(site, "vpn")
    assert (outside["gateway"], outside["routes"], inside["gateway"]) == ("198.51.100.1", [], None)
    assert inside["routes"] == [{"to": "10.1.1.0/24", "via": "10.1.0.1"}]


@pytest.mark.parametrize(("host", "zone"), [("mail", "inside"), ("fw", "inside"), ("workstation", "inside")])
def test_the_inside_reaches_what_is_beyond_tunnels_through_the_concentrator(host: str, zone: str, site: dict[str, Any]) -> None:
    routes = {link["name"]: link["routes"] for link in policy.policy_links(site, host)}
    assert routes.pop(zone) == [{"to": "10.1.2.0/24", "via": "10.1.0.3"}, {"to": "10.2.0.0/24", "via": "10.1.0.3"}]
    assert not any(routes.values())


def test_a_concentrator_is_seen_by_its_own_addresses(site: dict[str, Any]) -> None:
    assert (policy.seen_as(site, "vpn", "outside"), policy.seen_as(site, "vpn", "inside")) == ("198.51.100.3", "10.1.0.3")


def test_a_gateway_carries_its_public_address_and_its_own_on_a_sub_interface(site: dict[str, Any]) -> None:
    (link,) = policy.policy_links(site, "smtp1", ["smtp1"])
    assert link["addresses"] == ["198.51.100.4/32"]
    assert link["sub_interface"] == {"address": "10.1.1.11/24", "label": "dmz:1"}
    assert link["gateway"] == "10.1.1.1"


def border(site: dict[str, Any], flow: str) -> list[tuple[Any, ...]]:
    return [
        (r["chain"], r["iif"], r["saddr"], r["oif"], r["daddr"], r["protocol"], r["ports"])
        for r in policy.policy_border_rules(site, "router")
        if r["flow"] == flow
    ]


def test_the_border_router_knows_hosts_by_their_translated_addresses(site: dict[str, Any]) -> None:
    assert policy.policy_border_zones(site, "router") == {"world": 201, "outside": 1}
    assert border(site, "smtp-in") == [("forward", "world", None, "outside", "198.51.100.4", "tcp", [25])]
    assert border(site, "smtp-out") == [("forward", "outside", "198.51.100.4", "world", None, "tcp", [25])]
    assert border(site, "syslog") == [
        ("output", None, "198.51.100.1", "outside", "10.1.0.24", "tcp", [514]),
        ("output", None, "198.51.100.1", "outside", "10.1.0.24", "udp", [514]),
    ]
    assert border(site, "ssh-admin") == [("input", "outside", "198.51.100.29", None, "198.51.100.1", "tcp", [22])]


def test_the_border_router_asks_whom_a_flow_of_its_own_lets_it_ask(site: dict[str, Any]) -> None:
    assert [
        rule for rule in policy.policy_border_rules(site, "router") if rule["chain"] == "output" and rule["daddr"] is None
    ] == []
    site["services"]["ntp"] = {"udp": [123]}
    site["flows"].append({"id": "ntp", "from": ["router", "fw"], "to": "outside", "services": ["ntp"]})
    own = {"chain": "output", "iif": None, "oif": None, "saddr": None, "daddr": None, "protocol": "udp", "ports": [123]}
    assert [
        rule for rule in policy.policy_border_rules(site, "router") if rule["flow"] == "ntp" and rule["chain"] == "output"
    ] == [{"flow": "ntp", **own}]


def test_the_border_router_lets_the_world_come_to_the_tunnels_port_and_sees_nothing_of_what_is_inside(
    site: dict[str, Any],
) -> None:
    assert border(site, "vpn") == [("forward", "world", None, "outside", "198.51.100.3", "udp", [51820])]
    assert border(site, "vpn-mail") == border(site, "vpn-dns") == []


def test_what_stays_behind_the_firewall_is_nothing_to_the_router(site: dict[str, Any]) -> None:
    assert [flow for flow in ("smtp-to-store", "pop", "smtp-submit", "ssh-to-management") if border(site, flow)] == []


def test_bogons_are_the_sites_own_and_private_networks_but_not_the_world(site: dict[str, Any]) -> None:
    bogons = policy.policy_bogons(site, "world")
    assert {"198.51.100.0/27", "10.0.0.0/8", "192.168.0.0/16"} <= set(bogons)
    assert "198.18.0.0/24" not in bogons


WRONG: list[tuple[str, Any, list[str]]] = [
    ("zones", ["dmz"], ["site_zones", "['dmz']", "a dictionary with at least one entry"]),
    ("zones.dmz", "10.1.1.0/24", ["site_zones, entry dmz", "10.1.1.0/24", "a dictionary"]),
    ("flows", {}, ["site_flows", "a list with at least one entry"]),
    ("flows.0", "smtp", ["site_flows, entry 1", "smtp", "a dictionary"]),
    ("hosts.smtp1.interfaces", ["dmz"], ["site_hosts.smtp1.interfaces", "dictionary of zones"]),
    ("hosts.smtp1.interfaces.dmz", "10.1.1.11", ["site_hosts.smtp1.interfaces", "dictionary of zones"]),
    ("pat", "198.51.100.29", ["site_pat", "198.51.100.29", "zone, address and idle"]),
    ("zones.dmz.network", "10.1.0.0/16", ["site_zones.dmz", "overlaps", "site_zones.inside"]),
    ("zones.dmz.network", "10.1.1.1/24", ["site_zones.dmz.network", "10.1.1.1/24", "host bits"]),
    ("zones.dmz.level", 100, ["level is 100", "differ"]),
    ("zones.dmz.level", 101, ["site_zones.", "101", "0 (least trusted) to 100"]),
    ("zones.dmz.gateway", "nobody", ["site_zones.dmz.gateway", "nobody", "fw"]),
    ("hosts.smtp1.interfaces.dmz.address", "10.1.2.11", ["site_hosts.smtp1", "10.1.2.11", "10.1.1.0/24"]),
    ("hosts.smtp1.interfaces.dmz.address", "10.1.1.255", ["site_hosts.smtp1", "10.1.1.255"]),
    ("hosts.smtp1.interfaces.dmz.address", "10.1.1.12", ["10.1.1.12", "site_hosts.smtp1", "site_hosts.dns1", "differ"]),
    ("hosts.smtp1.interfaces.dmz.mac", "02:00", ["site_hosts.smtp1", "02:00", "like"]),
    ("hosts.smtp1.interfaces.moon", {"address": "10.9.9.9"}, ["moon", "allowed are dmz, inside"]),
    ("hosts.smtp1.public", "10.9.9.9", ["site_hosts.smtp1.public", "10.9.9.9", "198.51.100.0/27"]),
    ("hosts.smtp1.public", "198.51.100.29", ["site_pat.address", "198.51.100.29", "differ"]),
    ("hosts.any", {"interfaces": {"dmz": {"address": "10.1.1.77"}}}, ["site_hosts.any"]),
    ("hosts.smtp1.interfaces", {}, ["site_hosts.smtp1.interfaces", "empty"]),
    ("services.smtp.tcp", [0], ["site_services.smtp.tcp", "0", "1 to 65535"]),
    ("services.smtp", {"wrapper": "sendmail"}, ["site_services.smtp", "no port"]),
    ("services.smtp.sctp", [25], ["site_services.smtp", "sctp", "tcp, udp"]),
    ("flows.0.from", "mars", ["entry 1 (smtp-in)", "mars", "any, "]),
    ("flows.0.from", "world", ["entry 1 (smtp-in)", "without a level", "outside"]),
    ("flows.0.services", ["gopher"], ["entry 1 (smtp-in)", "gopher", "smtp"]),
    ("flows.1.id", "smtp-in", ["entry 2", "smtp-in", "taken"]),
    ("flows.0.port", 25, ["entry 1 (smtp-in)", "unknown key port"]),
    ("flows.0", {"id": "x"}, ["entry 1 (x)", "from, services, to is missing"]),
    ("zones.remote.network", "10.1.0.128/25", ["site_zones.remote", "overlaps", "site_zones.inside"]),
    ("zones.remote.tunnel", "nobody", ["site_zones.remote.tunnel", "nobody", "vpn"]),
    ("zones.remote.tunnel", "internet", ["site_zones.remote.tunnel", "internet", "foot in a zone"]),
    ("zones.remote.level", 30, ["site_zones.remote", "tunnel and level"]),
    ("zones.remote.gateway", "10.1.2.1", ["site_zones.remote", "tunnel and gateway"]),
    ("hosts.mail.interfaces.remote", {"address": "10.1.2.9"}, ["site_hosts.mail.interfaces.remote", "beyond the tunnels"]),
    ("hosts.roamer.beyond", "inside", ["site_hosts.roamer.beyond", "inside", "remote"]),
    ("flows.0.to", "remote", ["entry 1 (smtp-in)", "to names 'remote'", "from 'any'"]),
    ("flows.2.from", ["smtp1", "remote"], ["entry 3 (smtp-out)", "from names 'remote'", "to 'outside'"]),
    ("pat.idle", 5, ["site_pat.idle", "5", "600 to 3600"]),
    ("pat.zone", "outside", ["site_pat.zone", "outside", "dmz, inside"]),
    ("domain", "Widgets", ["site_domain", "Widgets", "widgets.example"]),
    ("domains.0.name", "no_good.example", ["site_domains[0].name", "no_good.example"]),
    ("domains.0.store", "cellar", ["site_domains[0].store", "cellar", "mail"]),
]


@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[f"{path}={value}"[:60] for path, value, _ in WRONG])
def test_a_wrong_entry_is_named_with_what_is_allowed(site: dict[str, Any], path: str, value: Any, words: list[str]) -> None:
    *parents, last = path.split(".")
    place: Any = site
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    errors = " ".join(policy_checks.policy_errors(site))
    for word in words:
        assert word in errors


NTP_FLOW = {"id": "ntp", "from": ["smtp1", "fw"], "to": "outside", "services": ["ntp"]}


@pytest.mark.parametrize(
    ("host", "server", "flow", "fine"),
    [
        ("smtp1", "192.0.2.7", None, False),
        ("smtp1", "192.0.2.7", {}, True),
        ("smtp1", "ntp.example", {}, True),
        ("smtp1", "ntp.example", None, False),
        ("smtp1", "2001:db8:ffff::7", {"from": "any", "to": "any"}, True),
        # Another host asks, or another zone is asked.
        ("dns1", "192.0.2.7", {}, False),
        ("smtp1", "10.1.0.24", {}, False),
        ("smtp1", "10.1.0.24", {"to": "mgmt"}, True),
        ("smtp1", "10.1.0.24", {"from": "dmz", "to": "inside"}, True),
        # What is on the same link passes no firewall, but that of a host that filters packets itself.
        ("dns1", "10.1.1.11", None, True),
        ("fw", "10.1.1.11", None, False),
        ("fw", "10.1.1.11", {"to": "smtp1"}, True),
        ("fw", "192.0.2.7", {}, True),
        ("fw", "192.0.2.7", {"from": ["inside", "dmz"]}, False),
        # TCP is of no use.
        ("smtp1", "192.0.2.7", {"services": ["smtp"]}, False),
    ],
)
def test_a_time_server_is_one_that_a_flow_leads_to(
    site: dict[str, Any], host: str, server: str, flow: dict[str, Any] | None, fine: bool
) -> None:
    site["services"]["ntp"] = {"udp": [123]}
    site["flows"] += [{**NTP_FLOW, **flow}] if flow is not None else []
    errors = policy_checks.policy_time_errors(site, host, [server], filters=host == "fw")
    assert errors == [] if fine else server in errors[0] and f"lets {host} send to UDP port 123" in errors[0]
