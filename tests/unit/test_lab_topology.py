"""From zones and hosts to networks and containers, and what may stand in their way."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import lab

from tests.unit.inventory import lab_site

ZONES = {"outside": {"network": "198.51.100.0/27"}, "inside": {"network": "10.1.0.0/24"}}
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"


def networks(version: str = "20.10.24+dfsg1") -> list[dict[str, Any]]:
    return lab.lab_networks(ZONES, "widgets", version)


def test_the_gateway_is_the_last_usable_address() -> None:
    assert [(n["name"], n["gateway"]) for n in networks()] == [
        ("widgets-outside", "198.51.100.30"),
        ("widgets-inside", "10.1.0.254"),
    ]


@pytest.mark.parametrize(("version", "there"), [("20.10.24+dfsg1", False), ("27.5.1", False), ("28.0.0", True), ("29.1", True)])
def test_engines_that_drop_routed_packets_are_told_not_to(version: str, there: bool) -> None:
    assert all((GATEWAY_MODE in n["options"]) is there for n in networks(version))


def test_no_host_of_the_lab_has_the_gateways_address() -> None:
    site = lab_site()
    gateways = {n["gateway"] for n in lab.lab_networks(site["zones"], "widgets", "20.10")}
    addresses = {link["address"] for host in site["hosts"].values() for link in host["interfaces"].values()}
    assert not gateways & addresses


def test_links_are_told_by_address() -> None:
    host = lab_site()["hosts"]["router"]
    assert lab.lab_links(host) == "198.18.0.1=02:00:c6:12:00:01,198.51.100.1=02:00:c6:33:64:01"
    assert lab.lab_attachments(host, "widgets")[0] == {"name": "widgets-world", "ipv4_address": "198.18.0.1"}


def test_reverse_zones_are_cut_at_the_last_octet() -> None:
    assert lab.lab_reverse_zone("198.51.100.5") == "100.51.198.in-addr.arpa"


def test_every_name_between_the_root_and_a_zone_is_told_once_and_no_zone_is() -> None:
    zones = ["elsewhere.example", "firm.example", "a.b.firm.example", "198.in-addr.arpa", "top"]
    assert lab.lab_between(zones) == ["arpa", "b.firm.example", "example", "in-addr.arpa"]


def conflicts(containers: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[str]:
    return lab.lab_conflicts(networks(), ["fw"], "widgets", {"containers": containers, "networks": others})


def network(name: str, subnet: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"Name": name, "Labels": labels or {}, "IPAM": {"Config": [{"Subnet": subnet}]}}


OURS = {lab.LABEL: "true"}


def test_what_is_ours_or_elsewhere_is_in_nobodys_way() -> None:
    assert not conflicts(
        [{"Names": ["/widgets-fw"], "Labels": OURS}, {"Names": ["/fw"], "Labels": {}}],
        [network("widgets-inside", "10.1.0.0/24", OURS), network("bridge", "172.17.0.0/16"), {"Name": "host", "IPAM": {}}],
    )


@pytest.mark.parametrize(
    ("containers", "others", "words"),
    [
        ([{"Names": ["/widgets-fw"], "Labels": {}}], [], "container widgets-fw exists .*docker rm -f widgets-fw"),
        ([], [network("widgets-inside", "10.9.0.0/24")], "network widgets-inside exists .*docker network rm widgets-inside"),
        ([], [network("office", "10.0.0.0/8")], r"widgets-inside \(10.1.0.0/24\) overlaps .* office \(10.0.0.0/8\)"),
    ],
)
def test_what_is_in_the_way_is_named_with_what_to_do(
    containers: list[dict[str, Any]], others: list[dict[str, Any]], words: str
) -> None:
    (error,) = conflicts(containers, others)
    assert re.search(words, error), error
