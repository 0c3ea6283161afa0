"""The policy as PIX commands: the paper's Appendix A line by line, the lab's meaning packet by packet, and bad input."""

from __future__ import annotations

import copy
import ipaddress
from typing import Any

import jinja2
import pytest
from ansible_collections.widgets.mail.plugins.filter import pix, policy, policy_checks

from tests.unit.inventory import ROOT, site_of, variables

INVENTORIES = ["appendix_a", "lab"]
APPENDIX = (ROOT / "tests/unit/data/appendix_a.cfg").read_text(encoding="utf-8").splitlines()
Tables = tuple[dict[str, Any], dict[str, Any]]


def tables(inventory: str) -> Tables:
    return copy.deepcopy(site_of(inventory)), copy.deepcopy(variables(inventory)["site_pix"])


def commands(site: dict[str, Any], data: dict[str, Any]) -> list[str]:
    return [command for section in pix.pix_commands(site, data) for command in section["commands"]]


def access_list(site: dict[str, Any], data: dict[str, Any], zone: str) -> list[str]:
    (acl,) = [interface["acl"] for interface in data["interfaces"] if interface["zone"] == zone]
    prefix = f"access-list {acl} "
    return [command.removeprefix(prefix) for command in commands(site, data) if command.startswith(prefix)]


@pytest.fixture
def appendix() -> Tables:
    return tables("appendix_a")


@pytest.fixture
def lab() -> Tables:
    return tables("lab")


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_the_inventories_are_sound(inventory: str) -> None:
    site, data = tables(inventory)
    assert policy_checks.policy_errors(site) == []
    assert pix.pix_errors(site, data) == []


# -- Appendix A ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("NET-6", side="positive")
def test_appendix_a_is_printed_command_by_command_in_its_order(appendix: Tables) -> None:
    assert commands(*appendix) == APPENDIX


def test_the_file_holds_these_commands_and_comments_and_nothing_else(appendix: Tables) -> None:
    # As Ansible sets up its templates.
    loader = jinja2.FileSystemLoader(ROOT / "playbooks/templates")
    environment = jinja2.Environment(loader=loader, trim_blocks=True, keep_trailing_newline=True)
    text = environment.get_template("pix.cfg.j2").render(site_domain="widgets.com", __pix_sections=pix.pix_commands(*appendix))
    assert text.endswith("inside\n")
    lines = text.splitlines()
    assert [line for line in lines if not line.startswith("!---")] == APPENDIX
    assert "" not in lines


def test_the_errata_are_data_of_that_inventory_alone(appendix: Tables) -> None:
    site, data = appendix
    site["flows"] = [flow for flow in site["flows"] if flow["id"] != "out-smtp"]
    site["flows"].append({"id": "smtp", "from": "outside", "to": "smtp1", "services": ["smtp"]})
    assert "permit tcp any host 6.3.1.4 eq smtp" in access_list(site, data, "outside")
    assert "permit tcp any host 6.3.1.5 eq smtp" not in access_list(site, data, "outside")


# -- what the commands mean ------------------------------------------------------------------------------------------

PORTS = [
    *(("tcp", port) for port in (22, 23, 25, 53, 79, 80, 110, 143, 465, 514, 587, 995, 3306, 6000)),
    *(("udp", port) for port in (53, 69, 123, 161, 514)),
]
STRANGERS = ["203.0.113.9", "192.0.2.1"]


def take_end(words: list[str]) -> Any:
    """Take a source or destination from the front of a command's words."""
    first = words.pop(0)
    if first == "any":
        return ipaddress.ip_network("0.0.0.0/0")
    if first == "host":
        return ipaddress.ip_network(words.pop(0))
    return ipaddress.ip_network(f"{first}/{words.pop(0)}")


def permits(lines: list[str], source: str, target: str, protocol: str, port: int) -> bool:
    """What an access list says of a packet: the first line that fits it decides."""
    for line in lines:
        words = line.split()
        action = words.pop(0)
        if action == "remark":
            continue
        kind, sources, targets = words.pop(0), take_end(words), take_end(words)
        wanted = {pix.PORT_NAMES[protocol].get(port, str(port)), str(port)}
        fits = kind == "ip" or (kind == protocol and words[0] == "eq" and words[1] in wanted)
        if fits and ipaddress.ip_address(source) in sources and ipaddress.ip_address(target) in targets:
            return action == "permit"
    raise AssertionError("the list ends without a refusal")


def allowed(site: dict[str, Any], ends: tuple[str, str, str, str], protocol: str, port: int) -> bool:
    """What the flow table says of it."""
    source_zone, source, target_zone, target = ends

    def fits(value: str | None, address: str) -> bool:
        return value is None or ipaddress.ip_address(address) in ipaddress.ip_network(value)

    return any(
        rule["chain"] == "forward"
        and (rule["iif"], rule["oif"], rule["protocol"]) == (source_zone, target_zone, protocol)
        and port in rule["ports"]
        and fits(rule["saddr"], source)
        and fits(rule["daddr"], target)
        for rule in policy.policy_rules(site)
    )


@pytest.mark.requirement("NET-6", side="positive")
@pytest.mark.parametrize("inventory", INVENTORIES)
def test_every_packet_meets_the_same_end_as_on_the_firewall(inventory: str) -> None:
    site, data = tables(inventory)
    gate, outermost = policy.firewall_host(site), policy.open_zone(site)
    lists = {zone: access_list(site, data, zone) for zone in policy.level_zones(site)}
    hosts = [name for name in site["hosts"] if name != gate]
    ends = [
        (policy.host_zone(site, name), policy.host_address(site, name), site["hosts"][name].get("public")) for name in hosts
    ]
    ends += [(outermost, address, None) for address in STRANGERS]
    ends += [
        (zone, str(ipaddress.ip_network(site["zones"][zone]["network"])[200]), None) for zone in policy.level_zones(site)[1:]
    ]
    yes = no = 0
    for source_zone, source, _ in ends:
        for target_zone, target, public in ends:
            if source_zone == target_zone:
                continue
            seen = public if public and source_zone == outermost else target
            for protocol, port in PORTS:
                expected = allowed(site, (source_zone, source, target_zone, target), protocol, port)
                assert permits(lists[source_zone], source, seen, protocol, port) == expected, (source, target, protocol, port)
                yes, no = yes + expected, no + (not expected)
    assert yes > 20
    assert no > 200


def test_every_list_of_the_lab_ends_in_a_logged_refusal(lab: Tables) -> None:
    for zone in policy.level_zones(lab[0]):
        assert access_list(*lab, zone)[-1] == "deny ip any any log"
    assert [c.split()[-1] for c in commands(*lab) if c.startswith("access-group ")] == policy.level_zones(lab[0])


def test_every_flow_of_the_lab_that_crosses_the_firewall_is_named(lab: Tables) -> None:
    site, data = lab
    named = {line.split()[-1] for line in commands(site, data) if " remark flow " in line}
    assert named == {rule["flow"] for rule in policy.policy_rules(site) if rule["chain"] == "forward"}


@pytest.mark.requirement("NET-6", side="positive")
def test_the_lab_prints_the_lists_of_the_papers_text(lab: Tables) -> None:
    dmz = access_list(*lab, "dmz")
    for server in ("10.1.1.11", "10.1.1.12"):
        assert f"permit udp host {server} host 10.1.0.24 eq syslog" in dmz
        assert f"permit tcp host {server} host 10.1.0.24 eq 22" in dmz
        assert f"permit udp host {server} any eq domain" in dmz
    assert "permit tcp host 10.1.1.11 any eq smtp" in dmz
    inside = access_list(*lab, "inside")
    assert "permit tcp 10.1.0.0 255.255.255.0 host 10.1.1.11 eq smtp" in inside
    assert [line for line in inside if line.endswith("eq 22") and "host 10.1.0.24" not in line] == []
    assert [line for line in access_list(*lab, "outside") if line.endswith("eq 22")] == []


def test_inner_zones_are_refused_before_what_is_open_to_the_outside_only(lab: Tables) -> None:
    dmz = access_list(*lab, "dmz")
    refusal = dmz.index("deny ip any 10.1.0.0 255.255.255.0 log")
    assert dmz.index("permit tcp host 10.1.1.11 host 10.1.0.25 eq smtp") < refusal
    assert refusal < dmz.index("permit tcp host 10.1.1.11 any eq smtp")


def test_logging_logins_and_time_out_come_from_the_tables(lab: Tables) -> None:
    site, data = lab
    site["pat"]["idle"] = 754
    lines = commands(site, data)
    assert "logging host inside 10.1.0.24" in lines
    assert "logging trap informational" in lines
    assert "ssh 10.1.0.24 255.255.255.255 inside" in lines
    assert "timeout conn 0:12:34" in lines
    site["services"]["syslog"] = {"tcp": [514]}
    assert "logging host inside 10.1.0.24 tcp/514" in commands(site, data)


def test_one_port_is_translated_to_itself_where_a_less_trusted_zone_needs_it(lab: Tables) -> None:
    statics = [line for line in commands(*lab) if line.startswith("static (inside,outside)")]
    assert "static (inside,outside) udp 10.1.0.24 syslog 10.1.0.24 syslog netmask 255.255.255.255 0 0" in statics
    assert all(" 10.1.0.24 " in line and line.split()[2] in ("tcp", "udp") for line in statics)


def test_names_of_interfaces_are_data(lab: Tables) -> None:
    site, data = lab
    data["interfaces"][0]["name"] = "Internet"
    text = "\n".join(commands(site, data))
    assert "nameif ethernet0 Internet security0" in text
    assert "access-group acl_out in interface Internet" in text
    assert "static (dmz,Internet) 198.51.100.4" in text
    assert "outside" not in text


def test_a_line_that_two_flows_ask_for_is_there_once(lab: Tables) -> None:
    site, data = lab
    site["flows"] += [
        {"id": "again", "from": "smtp1", "to": "outside", "services": ["smtp"]},
        {"id": "wider", "from": "dns1", "to": "any", "services": ["dns"]},
    ]
    dmz = access_list(site, data, "dmz")
    lines = [line for line in dmz if not line.startswith("remark")]
    assert len(lines) == len(set(lines))
    assert "remark flow again" not in dmz
    assert "permit udp host 10.1.1.12 any eq domain" in dmz[: dmz.index("deny ip any 10.1.0.0 255.255.255.0 log")]


# -- errors ----------------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any, list[str]]] = [
    ("interfaces.0.acl", "acl out", ["interfaces[0].acl", "'acl out'", "without a space"]),
    ("interfaces.0.acl", "a" * 49, ["interfaces[0].acl", "48"]),
    ("interfaces.0.acl", "acl\npermit", ["interfaces[0].acl", "permit"]),
    ("interfaces.0.acl", None, ["interfaces[0].acl is None"]),
    ("interfaces.0.acl", "acl_dmz", ["acl_dmz", "interfaces[0]", "interfaces[2].acl", "once"]),
    ("interfaces.0.name", "the outside", ["interfaces[0].name", "'the outside'", "without a space"]),
    ("interfaces.0.name", "o" * 49, ["interfaces[0].name", "48"]),
    ("interfaces.0.name", "dmz", ["name is dmz", "interfaces[0].name", "once"]),
    ("interfaces.1.name", "indoors", ["indoors at level 100", "'inside' and nowhere else"]),
    ("interfaces.2.hardware", "ethernet1", ["hardware is ethernet1", "interfaces[1].hardware", "once"]),
    ("interfaces.2.hardware", "eth 2", ["interfaces[2].hardware", "'eth 2'", "ethernet0"]),
    ("interfaces.2.zone", None, ["interfaces[2].zone is None", "dmz, inside, outside", "no interface for zone dmz"]),
    ("interfaces.2.zone", ["dmz"], ["interfaces[2].zone", "no interface for zone dmz"]),
    ("interfaces.2.zone", "world", ["interfaces[2].zone is 'world'", "with a level"]),
    ("interfaces.2.zone", "inside", ["zone is inside", "interfaces[1].zone", "no interface for zone dmz"]),
    ("interfaces.2.colour", "red", ["interfaces[2]", "colour", "acl, hardware, name, zone"]),
    ("interfaces.2", "dmz", ["interfaces[2] is 'dmz'", "zone, hardware and acl"]),
    ("interfaces", [], ["site_pix.interfaces is []", "one interface for each zone"]),
    ("pool", 0, ["site_pix.pool is 0", "1 to 2147483647"]),
    ("pool", True, ["site_pix.pool is True"]),
    ("logging_level", "loud", ["site_pix.logging_level", "loud", "informational"]),
    ("idle", 3600, ["site_pix.idle is 3600", "true or false"]),
    ("nat", ["inside"], ["site_pix.nat is ['inside']", "zones (dmz, inside)"]),
    ("nat", {"outside": ["10.0.0.0/8"]}, ["site_pix.nat", "'outside'", "dmz, inside"]),
    ("nat", {"inside": ["10.1.0.1/8"]}, ["site_pix.nat.inside", "10.1.0.1/8", "host bits"]),
    ("nat", {"inside": ["smtp1"]}, ["site_pix.nat.inside", "smtp1", "hosts of that zone"]),
    ("nat", {"dmz": ["smtp1"]}, ["ssh-admin", "10.1.0.24 in inside cannot reach outside", "site_pix.nat.inside"]),
    ("identity", {"from": "inside"}, ["site_pix.identity", "list"]),
    ("identity", [{"from": "inside"}], ["site_pix.identity[0]", "from, to and network"]),
    ("identity", [{"from": "dmz", "to": "inside", "network": "10.1.0.0/16"}], ["site_pix.identity[0]", "less trusted"]),
    ("identity", [{"from": "inside", "to": "dmz", "network": "all"}], ["site_pix.identity[0].network", "'all'"]),
    ("acl", {}, ["unknown key acl", "interfaces"]),
]


@pytest.mark.requirement("NET-6", side="negative")
@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[f"{path}={value}"[:60] for path, value, _ in WRONG])
def test_a_wrong_entry_is_named_with_what_is_allowed(lab: Tables, path: str, value: Any, words: list[str]) -> None:
    site, data = lab
    *parents, last = path.split(".")
    place: Any = data
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[int(last) if isinstance(place, list) else last] = value
    errors = " ".join(pix.pix_errors(site, data))
    for word in words:
        assert word in errors


def test_a_site_without_pix_data_says_so(lab: Tables) -> None:
    assert "site_pix is None" in " ".join(pix.pix_errors(lab[0], None))


FLOWS: list[tuple[dict[str, Any], list[str]]] = [
    ({"from": "outside", "to": "dmz", "services": ["smtp"]}, ["outside cannot reach 10.1.1.0/24", "site_pix.identity"]),
    ({"from": "dmz", "to": "outside", "services": ["smtp"]}, ["10.1.1.0/24 in dmz cannot reach outside", "site_pix.nat.dmz"]),
    ({"from": "inside", "to": "fw", "services": ["dns"]}, ["tcp 53", "firewall itself", "only tcp 22"]),
]


@pytest.mark.requirement("NET-6", side="negative")
@pytest.mark.parametrize(("flow", "words"), FLOWS, ids=[words[0] for _, words in FLOWS])
def test_a_flow_that_a_pix_cannot_carry_is_named(lab: Tables, flow: dict[str, Any], words: list[str]) -> None:
    site, data = lab
    site["flows"].append({"id": "odd", **flow})
    assert policy_checks.policy_errors(site) == []
    errors = " ".join(pix.pix_errors(site, data))
    for word in ["Flow odd", *words]:
        assert word in errors


def test_an_id_cannot_smuggle_a_command_into_a_remark(lab: Tables) -> None:
    site, data = lab
    site["flows"][0]["id"] = "smtp\naccess-list acl_out permit ip any any"
    assert "cannot be a remark" in " ".join(pix.pix_errors(site, data))


def test_of_a_site_with_both_families_the_ipv4_part_is_printed(lab: Tables) -> None:
    """To the letter what would be printed if it had no IPv6: no line too many, and none of the other family."""
    site, data = lab
    assert any(zone.get("network6") for zone in site["zones"].values())
    assert pix.pix_errors(site, data) == []
    printed = pix.pix_commands(site, data)
    for zone in site["zones"].values():
        zone.pop("network6", None)
    for host in site["hosts"].values():
        for link in host["interfaces"].values():
            link.pop("address6", None)
    assert pix.pix_commands(site, data) == printed
    assert "2001:db8" not in str(printed)


def test_a_firewall_without_a_foot_in_every_zone_and_a_network_that_is_not_ipv4_are_refused(lab: Tables) -> None:
    site, data = lab
    del site["hosts"]["fw"]["interfaces"]["dmz"]
    site["zones"]["dmz"]["network"] = "fd00::/64"
    site["zones"]["outside"]["level"] = 10
    errors = " ".join(pix.pix_errors(site, data))
    for word in (
        "no host has an interface in each of dmz, inside, outside",
        "fd00::/64",
        "IPv4 only",
        "outermost level",
    ):
        assert word in errors
