"""The reachability matrix without a lab: what the flow table makes of a pair, and what counts as which outcome."""

from __future__ import annotations

import copy
import dataclasses
import ipaddress
import json
from collections import Counter
from functools import cache
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import matrix, probe_batch
from tests.site.matrix import Cell, Expected, Got, Result
from tests.unit.inventory import ROOT, lab_site, lab_site4
from tools import matrix_picture

INVENTORY = ROOT / "inventories/lab"


@pytest.fixture
def site() -> dict[str, Any]:
    return copy.deepcopy(lab_site())


@cache
def _cells(site: str) -> list[Cell]:
    return matrix.expected(json.loads(site), matrix_picture.props_of(INVENTORY))


def cells(site: dict[str, Any]) -> list[Cell]:
    return _cells(json.dumps(site))


def cell(site: dict[str, Any], source: str, target: str, protocol: str, port: int, address: str | None = None) -> Cell:
    """One cell; at the first address unless another is asked for."""
    return next(
        c
        for c in cells(site)
        if (c.source, c.target, c.protocol, c.port) == (source, target, protocol, port) and address in (None, c.address)
    )


# -- what the policy says --------------------------------------------------------------------------------------------


def test_every_ordered_pair_is_there_with_every_port(site: dict[str, Any]) -> None:
    found = Counter((c.source, c.target, c.address) for c in cells(site))
    hosts = {name for name, host in site["hosts"].items() if "beyond" not in host}
    pairs = {(source, target) for source in hosts for target in hosts if source != target}
    assert {(source, target) for source, target, _address in found} == pairs
    wanted = {
        ("tcp", port) for port in (22, 23, 25, 53, 79, 80, 110, 143, 443, 465, 514, 587, 993, 995, 3306, 4190, 4191, 6000)
    }
    wanted |= {("udp", 53), ("udp", 514), ("udp", 51820), ("icmp", 0)}
    assert set(matrix.ports(site)) == wanted
    assert set(found.values()) == {len(wanted)}


def test_the_port_of_a_new_service_is_tried_as_well(site: dict[str, Any]) -> None:
    site["services"]["time"] = {"udp": [123]}
    assert ("udp", 123) in matrix.ports(site)


@pytest.mark.parametrize(
    ("source", "target", "protocol", "port", "expected"),
    [
        ("internet", "smtp1", "tcp", 25, Expected.ANSWERS),
        ("internet", "smtp1", "tcp", 587, Expected.DROPPED),
        ("internet", "mail", "tcp", 25, Expected.DROPPED),
        ("internet", "router", "tcp", 22, Expected.TURNED_AWAY),
        ("internet", "router", "tcp", 25, Expected.CLOSED),
        ("internet", "router", "icmp", 0, Expected.FREE),
        ("router", "internet", "tcp", 25, Expected.FREE),
        ("router", "smtp1", "tcp", 25, Expected.DROPPED),
        ("router", "mgmt", "tcp", 514, Expected.ANSWERS),
        ("smtp1", "internet", "tcp", 25, Expected.ANSWERS),
        ("smtp1", "router", "tcp", 25, Expected.PASSES),
        ("smtp1", "dns1", "tcp", 22, Expected.TURNED_AWAY),
        ("smtp1", "dns1", "tcp", 25, Expected.CLOSED),
        ("smtp1", "dns1", "icmp", 0, Expected.ECHO),
        ("smtp1", "mail", "icmp", 0, Expected.DROPPED),
        ("dns1", "smtp1", "tcp", 25, Expected.ANSWERS),
        ("dns1", "mail", "tcp", 25, Expected.DROPPED),
        ("mgmt", "fw", "tcp", 22, Expected.ANSWERS),
        ("mail", "fw", "tcp", 22, Expected.DROPPED),
        ("fw", "mgmt", "udp", 514, Expected.ANSWERS),
        ("fw", "smtp1", "tcp", 25, Expected.DROPPED),
        ("workstation", "mail", "tcp", 995, Expected.ANSWERS),
        ("workstation", "mgmt", "udp", 514, Expected.TURNED_AWAY),
        ("mail", "workstation", "tcp", 22, Expected.CLOSED),
        ("internet", "vpn", "udp", 51820, Expected.PASSES),
        ("internet", "vpn", "tcp", 22, Expected.DROPPED),
        ("router", "vpn", "icmp", 0, Expected.DROPPED),
        ("workstation", "vpn", "udp", 51820, Expected.DROPPED),
        ("mgmt", "vpn", "tcp", 22, Expected.ANSWERS),
        ("vpn", "mgmt", "tcp", 514, Expected.ANSWERS),
        ("vpn", "mail", "tcp", 25, Expected.DROPPED),
    ],
)
def test_what_is_expected_of_a_pair(
    source: str, target: str, protocol: str, port: int, expected: Expected, site: dict[str, Any]
) -> None:
    assert cell(site, source, target, protocol, port).expected is expected


def test_from_outside_a_host_is_known_by_its_public_address_and_must_not_be_reachable_by_its_own(site: dict[str, Any]) -> None:
    own = {
        name: {zone: link["address6"] for zone, link in site["hosts"][name]["interfaces"].items()}
        for name in ("smtp1", "fw", "mail")
    }
    smtp1, mail = own["smtp1"]["dmz"], own["mail"]["inside"]
    assert matrix.addresses(site, "internet", "smtp1") == [("198.51.100.4", False), ("10.1.1.11", True), (smtp1, False)]
    assert matrix.addresses(site, "router", "fw") == [
        *(("198.51.100.2", False), ("10.1.1.1", True), ("10.1.0.1", True)),
        *((own["fw"]["outside"], False), (own["fw"]["dmz"], True), (own["fw"]["inside"], True)),
    ]
    assert matrix.addresses(site, "internet", "mail") == [("10.1.0.25", False), (mail, False)]
    assert matrix.addresses(site, "mgmt", "smtp1") == [("10.1.1.11", False), (smtp1, False)]
    assert matrix.addresses(site, "dns1", "fw") == [("10.1.1.1", False), (own["fw"]["dmz"], False)]
    assert cell(site, "internet", "smtp1", "tcp", 25, "10.1.1.11").expected is Expected.DROPPED
    assert cell(site, "internet", "smtp1", "tcp", 25, smtp1).expected is Expected.ANSWERS
    assert all(c.expected is Expected.DROPPED for c in cells(site) if c.private)


def test_both_families_are_expected_to_do_the_same(site: dict[str, Any]) -> None:
    """Every cell of IPv4 has its twin, but for the private addresses of hosts that have public ones: nobody has two in IPv6."""
    four, six = (
        Counter((c.source, c.target, c.service, c.expected, c.flow) for c in cells(site) if (":" in c.address) is which)
        for which in (False, True)
    )
    twice = four - six
    assert not six - four
    assert {target for _source, target, _service, _expected, _flow in twice} == {"smtp1", "dns1"}
    assert {expected for _source, _target, _service, expected, _flow in twice} == {Expected.DROPPED}


def test_a_host_without_ipv6_is_tried_over_ipv4_alone(site: dict[str, Any]) -> None:
    del site["hosts"]["mail"]["interfaces"]["inside"]["address6"]
    assert matrix.addresses(site, "internet", "mail") == [("10.1.0.25", False)]
    assert matrix.addresses(site, "mail", "smtp1") == [("10.1.1.11", False)]
    assert cells(lab_site4()) == [c for c in cells(lab_site()) if ":" not in c.address]


def test_the_log_has_the_address_after_translation(site: dict[str, Any]) -> None:
    assert cell(site, "internet", "smtp1", "tcp", 22).inner == "10.1.1.11"
    assert cell(site, "internet", "fw", "tcp", 22).inner == "198.51.100.2"


def on_the_way(site: dict[str, Any], c: Cell) -> list[str]:
    """The hosts that filter and that the first packet of a cell comes by."""
    ends = [host for host in (c.source, c.target) if host in matrix.gates(site)]
    levels = set(policy.level_zones(site))
    feet = [levels & {policy.host_zone(site, host), *site["hosts"][host]["interfaces"]} for host in (c.source, c.target)]
    wall = policy.firewall_host(site)
    return ends + ([wall] if wall and wall not in ends and not feet[0] & feet[1] else [])


def permitted(site: dict[str, Any], c: Cell) -> bool:
    """Whether rules of all filters on its way match the first packet of a cell: another reading of the same flow table."""
    return all(_permitted(site, c, gate) for gate in on_the_way(site, c))


def _permitted(site: dict[str, Any], c: Cell, gate: str) -> bool:
    address = policy.host_address6 if ":" in c.address else policy.host_address
    start = str(address(site, c.source, policy.host_zone(site, c.target)))
    feet = set(site["hosts"][gate]["interfaces"])
    zones = [policy.host_zone(site, host) for host in (c.source, c.target)]
    # A concentrator reaches zones that it has no foot in by its own.
    zones = [zone if zone in feet else policy.host_zone(site, gate) for zone in zones]
    chain = "output" if c.source == gate else "input" if c.target == gate else "forward"
    iif = None if chain == "output" else zones[0]
    oif = None if chain == "input" else zones[1]

    def inside(address: str, network: str | None) -> bool:
        # An address is in no network of the other family.
        return network is None or ipaddress.ip_address(address) in ipaddress.ip_network(network)

    return any(
        (rule["chain"], rule["iif"], rule["oif"], rule["protocol"]) == (chain, iif, oif, c.protocol)
        and c.port in rule["ports"]
        and inside(start, rule["saddr"])
        and inside(c.inner, rule["daddr"])
        for rule in policy.policy_rules(site, gate)
    )


@pytest.mark.requirement("NET-1", side="positive")
@pytest.mark.requirement("NET-1", side="negative")
def test_the_matrix_and_the_firewalls_rules_read_the_flow_table_alike(site: dict[str, Any]) -> None:
    """But for private addresses, which rules do not tell from translated ones, and for what the router keeps to itself."""
    judged = [c for c in cells(site) if not c.private and matrix.crosses(site, c.source, c.target) and c.source != "router"]
    assert [str((c.source, c.target, c.service)) for c in judged if permitted(site, c) != (c.flow is not None)] == []
    assert 20 < sum(c.flow is not None for c in judged) < len(judged) / 2


def test_a_flow_that_is_taken_away_closes_its_cells_and_no_others(site: dict[str, Any]) -> None:
    before = {(c.source, c.target, c.address, c.service): c.expected for c in cells(site)}
    site["flows"] = [flow for flow in site["flows"] if flow["id"] != "smtp-to-store"]
    after = {(c.source, c.target, c.address, c.service): c.expected for c in cells(site)}
    changed = {key: after[key] for key in before if before[key] != after[key]}
    own = site["hosts"]["mail"]["interfaces"]["inside"]
    assert changed == {("smtp1", "mail", own[key], "tcp 25"): Expected.DROPPED for key in ("address", "address6")}


def test_the_pace_keeps_below_the_firewalls_limit_of_lines(site: dict[str, Any]) -> None:
    """An attempt without an answer makes up to two lines within the patience of the prober. What counts as one source are the hosts of
    a /64 together: in no second may they make more lines than that source is allowed."""
    rate = 50
    times = matrix.schedule(site, cells(site), rate)
    assert set(times) == set(cells(site))
    lines: Counter[tuple[Any, ...]] = Counter()
    for c, at in times.items():
        if c.logged:
            lines.update((*matrix.counted_as(site, c), int(at + later)) for later in (0, 1))
    assert max(lines.values()) <= rate
    assert max(times.values()) < 20


def test_hosts_of_one_network_count_as_one_source_in_ipv6_alone(site: dict[str, Any]) -> None:
    def source(start: str, target: str, address: str | None = None) -> tuple[str, str]:
        return matrix.counted_as(site, cell(site, start, target, "tcp", 23, address))

    outside = {"smtp1": "2001:db8:a1:50::11", "fw": "2001:db8:a1::2"}
    assert source("mail", "smtp1") == ("fw", "10.1.0.25")
    assert (
        source("mail", "smtp1", outside["smtp1"]) == source("mgmt", "smtp1", outside["smtp1"]) == ("fw", "2001:db8:a1:100::/64")
    )
    assert source("internet", "fw", outside["fw"]) == ("router", "2001:2:0:c612::/64")
    assert source("mail", "vpn")[0] == source("vpn", "mail")[0] == "vpn"
    assert source("dns1", "vpn")[0] == "fw"


# -- what came of it -------------------------------------------------------------------------------------------------


def got(c: Cell, state: str, words: str = "", filed: bool = False) -> Got:
    return matrix.judge(c, {"state": state, "words": words}, filed)


def test_a_daemon_that_opens_and_hangs_up_has_not_answered(site: dict[str, Any]) -> None:
    smtp, ssh = cell(site, "internet", "smtp1", "tcp", 25), cell(site, "mgmt", "smtp1", "tcp", 22)
    assert got(smtp, "open", "220 smtp1.widgets.example ESMTP") is Got.ANSWER
    assert got(smtp, "open", "550 5.0.0 Access denied") is Got.HANG_UP
    assert got(smtp, "open", "") is Got.HANG_UP
    assert got(ssh, "closed", "") is Got.HANG_UP
    assert got(ssh, "reset") is Got.RESET


def test_a_name_server_that_refuses_has_not_answered(site: dict[str, Any]) -> None:
    dns = cell(site, "internet", "dns1", "udp", 53)
    assert got(dns, "open", "dns NOERROR") is Got.ANSWER
    assert got(dns, "open", "dns REFUSED") is Got.HANG_UP


def test_a_line_of_syslog_has_arrived_when_the_collector_has_filed_it(site: dict[str, Any]) -> None:
    tcp, udp = cell(site, "smtp1", "mgmt", "tcp", 514), cell(site, "smtp1", "mgmt", "udp", 514)
    assert got(udp, "silence", filed=True) is Got.ANSWER
    assert got(udp, "silence") is Got.SILENCE
    assert got(tcp, "open") is Got.HANG_UP
    assert got(tcp, "open", filed=True) is Got.ANSWER


@pytest.mark.parametrize(
    ("expected", "wrong"),
    [
        (Expected.ANSWERS, [Got.HANG_UP, Got.RESET, Got.UNREACHABLE, Got.SILENCE]),
        (Expected.DROPPED, [Got.ANSWER, Got.HANG_UP, Got.OPEN, Got.RESET, Got.UNREACHABLE]),
        (Expected.PASSES, [Got.ANSWER, Got.HANG_UP, Got.OPEN]),
        (Expected.TURNED_AWAY, [Got.ANSWER, Got.OPEN, Got.UNREACHABLE]),
        (Expected.CLOSED, [Got.ANSWER, Got.HANG_UP, Got.OPEN, Got.UNREACHABLE]),
        (Expected.ECHO, [Got.HANG_UP, Got.OPEN, Got.RESET, Got.UNREACHABLE, Got.SILENCE]),
        (Expected.FREE, []),
    ],
)
def test_what_may_not_come_of_it(expected: Expected, wrong: list[Got]) -> None:
    assert set(Got) - matrix.RIGHT[expected] == set(wrong)


def test_a_refusal_without_a_line_and_a_line_without_a_refusal_are_both_wrong(site: dict[str, Any]) -> None:
    refused, listed = cell(site, "internet", "smtp1", "tcp", 22), cell(site, "internet", "smtp1", "tcp", 25)
    assert Result(refused, Got.SILENCE, True).right
    assert not Result(refused, Got.SILENCE, False).right
    assert Result(listed, Got.ANSWER, False).right
    assert not Result(listed, Got.ANSWER, True).right


def test_a_wrong_cell_says_who_tried_what_and_what_came(site: dict[str, Any]) -> None:
    refused = cell(site, "internet", "smtp1", "tcp", 22)
    assert str(Result(refused, Got.SILENCE, False)) == (
        "internet -> smtp1 [198.51.100.4] tcp 22: expected dropped and logged, got silence and not logged"
    )
    listed = cell(site, "internet", "smtp1", "tcp", 25)
    assert str(Result(listed, Got.HANG_UP, False, "550 no")) == (
        "internet -> smtp1 [198.51.100.4] tcp 25: expected answers (smtp-in), got hang-up: '550 no'"
    )


LOG = """\
2026-01-02T03:04:05+00:00 fw fw: Jan  2 03:04:05 fw fw deny  IN=outside OUT=dmz MAC=02 SRC=198.18.0.10 DST=10.1.1.11 LEN=60 \
TOS=00 PREC=0x00 TTL=62 ID=6107 DF PROTO=TCP SPT=41234 DPT=22 SEQ=1 ACK=0 WINDOW=64240 SYN URGP=0 MARK=0
2026-01-02T03:04:05+00:00 fw fw: Jan  2 03:04:05 fw fw deny  IN=dmz OUT=inside MAC=02 SRC=10.1.1.11 DST=10.1.0.25 LEN=28 \
TOS=00 PREC=0x00 TTL=63 ID=1 DF PROTO=ICMP TYPE=8 CODE=0 ID=777 SEQ=1 MARK=0
2026-01-02T03:04:05+00:00 fw fw: Jan  2 03:04:05 fw fw deny  IN=dmz OUT=inside MAC=02 SRC=10.1.1.12 DST=10.1.0.25 LEN=60 \
TOS=00 PREC=0x00 TTL=63 ID=1 DF PROTO=UDP SPT=5000 DPT=514 LEN=40 MARK=0
2026-01-02T03:04:05+00:00 fw fw: Jan  2 03:04:05 fw fw deny  IN=dmz OUT=inside MAC=02 SRC=2001:db8:a1:50::11 \
DST=2001:db8:a1:100::25 LEN=48 TC=0 HOPLIMIT=63 FLOWLBL=1 PROTO=ICMPv6 TYPE=128 CODE=0 ID=778 SEQ=1 MARK=0
2026-01-02T03:04:05+00:00 fw fw: Jan  2 03:04:05 fw fw deny  IN=dmz OUT=inside MAC=02 \
SRC=2001:0db8:00a1:0050:0000:0000:0000:0011 DST=2001:0db8:00a1:0100:0000:0000:0000:0025 LEN=80 TC=0 HOPLIMIT=63 FLOWLBL=1 \
PROTO=TCP SPT=41235 DPT=22 SEQ=1 ACK=0 WINDOW=64240 SYN URGP=0 MARK=0
2026-01-02T03:04:05+00:00 fw systemd[1]: Finished nftables.service - nftables.
"""


def test_the_firewalls_lines_are_told_apart_by_ends_and_mark(site: dict[str, Any]) -> None:
    found = matrix.denied(LOG)
    assert found == {
        ("198.18.0.10", "10.1.1.11", "tcp", 41234, 22),
        ("10.1.1.11", "10.1.0.25", "icmp", 777, 0),
        ("10.1.1.12", "10.1.0.25", "udp", 5000, 514),
        ("2001:db8:a1:50::11", "2001:db8:a1:100::25", "icmp", 778, 0),
        ("2001:db8:a1:50::11", "2001:db8:a1:100::25", "tcp", 41235, 22),
    }
    attempt = {"from": "198.18.0.10", "mark": 41234}
    assert matrix.packet(cell(site, "internet", "smtp1", "tcp", 22), attempt) in found
    assert matrix.packet(cell(site, "internet", "smtp1", "tcp", 23), attempt) not in found


def test_the_prober_packs_a_question_as_rfc_1035_has_it() -> None:
    assert probe_batch.question("a.example")[2:].hex() == "00000001000000000000" + "016107" + b"example".hex() + "0000060001"
    assert probe_batch.reply(bytes.fromhex("123481800001000100000000")) == "dns NOERROR"
    assert probe_batch.reply(bytes.fromhex("123481850001000000000000")) == "dns REFUSED"
    assert probe_batch.reply(b"HTTP") == "no dns"


# -- to look at ------------------------------------------------------------------------------------------------------


def test_the_table_marks_what_is_wrong(site: dict[str, Any]) -> None:
    all_cells = cells(site)
    text = matrix.table(all_cells, [cell(site, "internet", "smtp1", "tcp", 25)])
    (row,) = [line for line in text.splitlines() if line.startswith("internet -> smtp1") and "198.51.100.4" in line]
    assert row.split()[4:] == [*"..!..o..+............."]
    assert len(text.splitlines()) == 3 + len(matrix.rows(all_cells))


def test_the_picture_crosses_out_what_is_wrong(site: dict[str, Any]) -> None:
    all_cells = cells(site)
    assert 'href="#w"' not in matrix_picture.draw(site, all_cells)
    # Both families of one port, and IPv4 alone of another one.
    first = [c for c in all_cells if (c.source, c.target, c.port) == ("internet", "smtp1", 25) and not c.private]
    assert len(first) == 2
    drawn = matrix_picture.draw(site, all_cells, [*first, cell(site, "internet", "smtp1", "tcp", 22)])
    assert (drawn.count('href="#w"'), drawn.count('href="#v"')) == (1, 1)


def test_the_picture_halves_a_square_where_the_families_differ(site: dict[str, Any]) -> None:
    all_cells = cells(site)
    assert 'href="#h' not in matrix_picture.draw(site, all_cells)
    odd = cell(site, "internet", "smtp1", "tcp", 25, "2001:db8:a1:50::11")
    changed = [dataclasses.replace(c, expected=Expected.DROPPED) if c == odd else c for c in all_cells]
    assert matrix_picture.draw(site, changed).count('href="#h') == 2
