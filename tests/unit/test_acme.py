"""The second inventory: IPv6 beside IPv4, two gateways, two stores with the users split between them, an internationalised domain."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import dns, idn, policy, policy_checks, sendmail

from tests.unit.inventory import site_of, variables

GATEWAYS, STORES = ["mx1", "mx2"], ["store1", "store2"]
IDN = "xn--acm-dma.example"


@pytest.fixture
def site() -> dict[str, Any]:
    """The site as playbooks/group_vars/site.yml makes it: with A-labels."""
    found = copy.deepcopy(site_of("acme"))
    return {**found, "domain": idn.idn_domain(found["domain"]), "domains": idn.idn_domains(found["domains"])}


@pytest.fixture
def users() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = idn.idn_users(variables("acme")["site_users"])
    return found


# -- IPv6 ------------------------------------------------------------------------------------------------------------


def rules(site: dict[str, Any], flow: str, gate: str | None = None) -> list[tuple[Any, ...]]:
    return [(r["chain"], r["saddr"], r["daddr"]) for r in policy.policy_rules(site, gate) if r["flow"] == flow]


def test_the_inventory_is_sound(site: dict[str, Any], users: list[dict[str, Any]]) -> None:
    assert policy_checks.policy_errors(site) == []
    aliases = idn.idn_aliases(variables("acme")["site_aliases"])
    assert sendmail.mail_errors(users, aliases, [d["name"] for d in site["domains"]], {}, STORES) == []


def test_a_flow_between_hosts_makes_a_rule_of_each_family_that_mixes_none(site: dict[str, Any]) -> None:
    assert rules(site, "smtp-out") == [
        ("forward", "10.77.16.11", None),
        ("forward", "2001:db8:ac:10::11", None),
        ("forward", "10.77.16.12", None),
        ("forward", "2001:db8:ac:10::12", None),
    ]
    ends = [{":" in end for end in (saddr, daddr) if end} for _, saddr, daddr in rules(site, "smtp-to-stores")]
    assert len(ends) == 8
    assert all(len(families) == 1 for families in ends)


def test_no_rule_opens_more_than_its_flow_where_a_host_has_no_ipv6(site: dict[str, Any]) -> None:
    del site["hosts"]["mx2"]["interfaces"]["edge"]["address6"]
    assert policy_checks.policy_errors(site) == []
    assert rules(site, "smtp-out") == [
        ("forward", "10.77.16.11", None),
        ("forward", "2001:db8:ac:10::11", None),
        ("forward", "10.77.16.12", None),
    ]


def test_a_zone_without_ipv6_has_no_part_in_it(site: dict[str, Any]) -> None:
    del site["zones"]["office"]["network6"]
    for name in ("wall", "workstation"):
        del site["hosts"][name]["interfaces"]["office"]["address6"]
    assert policy_checks.policy_errors(site) == []
    assert {":" in saddr for _, saddr, _ in rules(site, "pop")} == {False}
    assert policy.policy_sources(site, "store1", "pop3s") == ["10.77.32.0/22"]


def test_flows_of_the_firewall_itself_are_of_both_families(site: dict[str, Any]) -> None:
    assert rules(site, "ssh-admin")[:2] == [
        ("input", "10.77.20.30", "10.77.20.1"),
        ("input", "2001:db8:ac:20::30", "2001:db8:ac:20::1"),
    ]


def test_clients_are_known_by_both_addresses(site: dict[str, Any]) -> None:
    assert policy.policy_sources(site, "store1", "pop3s") == ["10.77.32.0/22", "2001:db8:ac:30::/64"]
    assert policy.policy_senders(site, "admin", "syslog")["2001:db8:ac:10::12"] == "mx2"
    assert policy.policy_resolvers(site, "mx1", ["ns1"]) == ["10.77.16.13", "2001:db8:ac:10::53"]
    assert policy.policy_known_as(site, ["mx1"]) == {"mx1": ["mx1.acme.example", "10.77.16.11", "2001:db8:ac:10::11"]}
    assert "2001:db8:ac:10::53" in policy.policy_targets(site, "admin", "ssh")
    assert policy.policy_targets(site, "mx1", "ssh") == []


def test_links_have_both_addresses_and_both_ways_out(site: dict[str, Any]) -> None:
    (link,) = policy.policy_links(site, "mx1", GATEWAYS)
    assert (link["addresses"], link["addresses6"]) == (["198.51.100.135/32"], ["2001:db8:ac:10::11/64"])
    assert (link["gateway"], link["gateway6"]) == ("10.77.16.1", "2001:db8:ac:10::1")
    uplink = next(link for link in policy.policy_links(site, "wall") if link["name"] == "uplink")
    assert (uplink["gateway"], uplink["gateway6"]) == ("198.51.100.129", "2001:db8:ac::1")


def test_nothing_of_ipv6_is_translated(site: dict[str, Any]) -> None:
    assert {":" in entry[key] for entry in policy.policy_static(site) for key in ("public", "private")} == {False}
    assert policy.all_seen_as(site, "mx1", "uplink") == ["198.51.100.135", "2001:db8:ac:10::11"]


def test_a_border_router_filters_ipv6_by_the_hosts_own_addresses(site: dict[str, Any]) -> None:
    site["hosts"]["edge-router"] = {
        "interfaces": {
            "world": {"address": "198.18.70.1", "address6": "2001:db8:70::1"},
            "uplink": {"address": "198.51.100.131", "address6": "2001:db8:ac::3"},
        }
    }
    del site["hosts"]["internet"]["interfaces"]["uplink"]
    site["zones"]["uplink"]["gateway"] = "edge-router"
    assert policy_checks.policy_errors(site) == []
    found = policy.policy_border_rules(site, "edge-router")
    assert [(r["iif"], r["saddr"], r["daddr"]) for r in found if r["flow"] == "smtp-in"][:2] == [
        ("world", None, "198.51.100.135"),
        ("world", None, "2001:db8:ac:10::11"),
    ]
    assert not [r for r in found if "2001:db8:ac:20" in f"{r['saddr']}{r['daddr']}"]
    assert "2001:db8:ac:20::/64" in policy.policy_bogons(site, "world")


def test_a_site_may_do_without_a_firewall(site: dict[str, Any]) -> None:
    """One zone, every host by its own public address: the hosts' own lists still hold."""
    site["zones"] = {"uplink": {**site["zones"]["uplink"], "gateway": "198.51.100.129"}}
    site["hosts"] = {
        name: {"public": address, "interfaces": {"uplink": {"address": address}}}
        for name, address in (("mx1", "198.51.100.135"), ("store1", "198.51.100.140"))
    }
    site["domains"] = [{"name": "acme.example", "store": "store1"}]
    site["flows"] = [
        {"id": "smtp-in", "from": "any", "to": "mx1", "services": ["smtp"]},
        {"id": "smtp-to-store", "from": "mx1", "to": "store1", "services": ["smtp"]},
    ]
    assert policy_checks.policy_errors(site) == []
    assert policy.firewall_host(site) is None
    assert (policy.policy_rules(site), policy.policy_static(site)) == ([], [])
    assert policy.policy_sources(site, "store1", "smtp") == ["198.51.100.135"]
    assert policy.policy_links(site, "mx1", ["mx1"])[0]["addresses"] == ["198.51.100.135/26"]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("zones", "edge", "network6"), "10.9.0.0/24", ["site_zones.edge.network6", "2001:db8:1:1::/64"]),
        (("zones", "edge", "network"), "2001:db8:9::/64", ["site_zones.edge.network ", "10.1.1.0/24"]),
        (("zones", "edge", "network6"), "2001:db8:ac::/48", ["overlaps", "site_zones.edge.network6"]),
        (("zones", "edge", "gateway6"), "2001:db8::1", ["site_zones.edge.gateway6", "2001:db8:ac:10::/64"]),
        (("hosts", "mx1", "interfaces", "edge", "address6"), "2001:db8:ac:20::9", ["mx1.interfaces.edge.address6", "inside"]),
        (("hosts", "mx1", "interfaces", "edge", "address6"), "2001:db8:ac:10:0::11", ["shortest form"]),
        (("hosts", "mx1", "interfaces", "edge", "address6"), "2001:db8:ac:10::12", ["mx2.interfaces.edge.address6", "differ"]),
        (("zones", "edge", "network6"), None, ["mx1.interfaces.edge.address6", "site_zones.edge has no network6"]),
    ],
)
def test_a_wrong_ipv6_entry_is_named(site: dict[str, Any], path: tuple[str, ...], value: Any, words: list[str]) -> None:
    table: Any = site
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    errors = " ".join(policy_checks.policy_errors(site))
    assert [word for word in words if word not in errors] == [], errors


def test_outside_learns_the_public_addresses_of_both_families_and_no_others(site: dict[str, Any]) -> None:
    zones = dns.dns_zones(site, ["ns1"], GATEWAYS, hidden=[*STORES, "admin"])
    assert dns.dns_zone_errors(zones) == []
    outside = [zone for zone in zones if zone["views"] == ["external"]]
    (own,) = [zone for zone in outside if zone["name"] == "acme.example"]
    assert {(r["name"], r["value"]) for r in own["records"] if r["type"] == "AAAA"} == {
        ("mx1", "2001:db8:ac:10::11"),
        ("mx2", "2001:db8:ac:10::12"),
        ("ns1", "2001:db8:ac:10::53"),
    }
    (other,) = [zone for zone in outside if zone["name"] == IDN]
    assert [r["value"] for r in other["records"] if r["type"] == "MX"] == ["10 mx1.acme.example.", "10 mx2.acme.example."]
    (spf,) = [r["value"] for r in other["records"] if r["type"] == "TXT"]
    assert spf == "v=spf1 ip4:198.51.100.135 ip6:2001:db8:ac:10::11 ip4:198.51.100.136 ip6:2001:db8:ac:10::12 -all"
    assert not [zone["name"] for zone in outside if zone["name"].endswith("77.10.in-addr.arpa")]
    pointers = {r["value"] for zone in outside for r in zone["records"] if r["type"] == "PTR"}
    assert pointers == {"mx1.acme.example.", "mx2.acme.example.", "ns1.acme.example."}
    text = "".join(t for path, t in dns.dns_zone_files(zones).items() if path.startswith("zones/external/"))
    assert [word for word in ("10.77.", "ac:20", "ac:30", "store", "admin") if word in text] == []


# -- users, stores, gateways -----------------------------------------------------------------------------------------


def test_each_user_has_one_mailbox(site: dict[str, Any], users: list[dict[str, Any]]) -> None:
    homes = {user["name"]: sendmail.mail_home(user, site["domains"]) for user in users}
    assert homes == {"anna": "store1", "ben": "store2", "chloe": "store2", "dan": "store2"}
    on_second = sendmail.mail_users(users, site["domains"], "store2")
    assert [user["name"] for user in on_second] == ["ben", "chloe", "dan"]
    assert all(set(user) == {"name", "password", "email"} for user in on_second)


def test_a_gateway_sends_each_recipient_to_the_mailbox(site: dict[str, Any], users: list[dict[str, Any]]) -> None:
    """Played through for every recipient, on every host where mail may be: it comes to the one store and goes in no circle."""
    addresses = {policy.host_address(site, store): store for store in STORES}
    tables = {}
    for host in [*GATEWAYS, *STORES]:
        tables[host] = (
            {entry["name"]: entry.get("next_hop") for entry in sendmail.mail_domains(site["domains"], site, host, users)},
            {
                entry["recipient"]: entry["next_hop"]
                for entry in sendmail.mail_routes(users, site["domains"], site, host, STORES)
            },
        )
    for user in users:
        for domain in user.get("domains", [entry["name"] for entry in site["domains"]]):
            for start in tables:
                at, steps = start, 0
                while steps < 3:
                    domains, routes = tables[at]
                    hop = routes.get(f"{user['name']}@{domain}") or domains[domain]
                    if hop is None:
                        break
                    at, steps = addresses[hop], steps + 1
                assert at == sendmail.mail_home(user, site["domains"]), (user["name"], domain, start)


def test_an_alias_leads_to_users_of_the_other_store_by_their_address(site: dict[str, Any], users: list[dict[str, Any]]) -> None:
    aliases = {"everybody": ["anna", "chloe", "staff", "|logger"], "staff": ["dan"]}
    assert sendmail.mail_aliases(aliases, users, site["domains"], "store1") == {
        "everybody": ["anna", f"chloe@{IDN}", "staff", "|logger"],
        "staff": ["dan@acme-parts.example"],
    }
    assert sendmail.mail_aliases(aliases, users, site["domains"], "store2")["staff"] == ["dan"]


def test_both_gateways_are_tried_and_each_store_begins_at_another(site: dict[str, Any]) -> None:
    hops = {
        host: sendmail.mail_smart_hosts(site, host, GATEWAYS, STORES) for host in ("mx1", "store1", "store2", "admin", "ns1")
    }
    assert hops == {
        "mx1": [],
        "store1": ["10.77.16.11", "10.77.16.12"],
        "store2": ["10.77.16.12", "10.77.16.11"],
        "admin": ["10.77.20.21", "10.77.20.22"],
        "ns1": ["10.77.16.11", "10.77.16.12"],
    }
    assert sendmail.sendmail_hops(hops["ns1"]) == "[10.77.16.11]:[10.77.16.12]"
    assert sendmail.sendmail_hops("2001:db8::1") == "[IPv6:2001:db8::1]"


def test_no_server_relays_for_the_other_side(site: dict[str, Any]) -> None:
    relayed = {host: sendmail.mail_relay_from(site, host, GATEWAYS, STORES) for host in ("mx2", "store1")}
    assert relayed == {
        "mx2": ["10.77.20.21", "2001:db8:ac:20::21", "10.77.20.22", "2001:db8:ac:20::22"],
        "store1": ["10.77.32.0/22", "2001:db8:ac:30::/64", "10.77.20.30", "2001:db8:ac:20::30"],
    }


def test_a_store_that_is_none_is_named(users: list[dict[str, Any]], site: dict[str, Any]) -> None:
    users[0]["store"] = "mx1"
    users[2]["domains"] = []
    errors = " ".join(sendmail.mail_errors(users, {}, [d["name"] for d in site["domains"]], {}, STORES))
    assert "entry 1 (anna): store is 'mx1'; allowed are store1, store2." in errors
    assert "entry 3 (chloe): domains is empty" in errors


# -- internationalised names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("acme.example", "acme.example"),
        ("acmé.example", IDN),
        ("ACMÉ.example", IDN),
        (IDN, IDN),
        ("bücher.bücher.example", "xn--bcher-kva.xn--bcher-kva.example"),
        # Two standards disagree about these: they stay, and the check of domains refuses them.
        ("straße.example", "straße.example"),
        # Too long, empty label, no text at all: the checks that follow say so.
        ("é" * 60 + ".example", "é" * 60 + ".example"),
        ("é..example", "é..example"),
        (7, 7),
    ],
)
def test_a_domain_gets_its_a_label(given: Any, made: Any) -> None:
    assert idn.idn_domain(given) == made


def test_domains_of_users_and_aliases_get_theirs() -> None:
    assert idn.idn_users([{"name": "a", "domains": ["acmé.example"]}, {"name": "b"}])[0]["domains"] == [IDN]
    assert idn.idn_aliases({"x": ["a@acmé.example", "b", "|logger é@é.example"]}) == {
        "x": [f"a@{IDN}", "b", "|logger é@é.example"]
    }
    assert idn.idn_domains("nonsense") == "nonsense"
    assert idn.idn_aliases({"x": "a"}) == {"x": "a"}


def test_what_has_no_a_label_is_refused_by_name(site: dict[str, Any]) -> None:
    site["domains"].append({"name": idn.idn_domain("straße.example"), "store": "store1"})
    (error,) = policy_checks.policy_errors(site)
    assert "straße.example" in error


@pytest.mark.parametrize("name", ["zoé", "用户"])
def test_a_local_part_is_ascii(name: str) -> None:
    errors = " ".join(sendmail.mail_errors([{"name": name}], {}, ["acme.example"]))
    assert f"entry 1 ({name}): a user's name is lower-case letters" in errors
