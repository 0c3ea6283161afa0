"""Peers of a concentrator: what is refused by name, and what follows a change of a configuration."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import vpn
from ansible_collections.widgets.mail.plugins.modules import wireguard_config

from tests.unit.inventory import lab_site

KEY_A = "B0VqhZpJED5HJQeVFzzwpTiFDgvYAp+GkLx7fG1z9XE="
KEY_B = "fcEIAFx233zMDE7nZ8fCTc2MOH3N8kvHkYC4vkNfLUk="
PEERS: list[dict[str, Any]] = [
    {"name": "roamer", "public_key": KEY_A, "addresses": ["10.1.2.20", "2001:db8:a1:200::20"], "keepalive": 25},
    {
        "name": "branch",
        "public_key": KEY_B,
        "addresses": ["10.2.0.0/24", "2001:db8:a1:201::/64"],
        "endpoint": "198.18.0.30:51820",
    },
]


@pytest.fixture
def peers() -> list[dict[str, Any]]:
    return copy.deepcopy(PEERS)


@pytest.mark.requirement("NET-9", side="positive")
def test_sound_peers_pass(peers: list[dict[str, Any]]) -> None:
    assert vpn.vpn_peer_errors(peers) == []
    assert vpn.vpn_errors(lab_site(), peers) == []
    assert vpn.vpn_errors(lab_site(), []) == []


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (0, {"public_key": ""}, ["entry 1 (roamer)", "no public_key", "wg pubkey"]),
        (0, {"public_key": None}, ["entry 1 (roamer)", "no public_key"]),
        (0, {"public_key": KEY_A[:-1]}, ["entry 1 (roamer)", "public_key", "44 characters"]),
        (0, {"public_key": "!" * 44}, ["entry 1 (roamer)", "public_key", "44 characters"]),
        (1, {"public_key": KEY_A}, ["entry 2 (branch)", KEY_A, "roamer", "keys must differ"]),
        (1, {"name": "roamer"}, ["entry 2 (roamer)", "names must differ"]),
        (1, {"name": "a\nb"}, ["entry 2", "letters, digits"]),
        (1, {"addresses": ["10.1.2.0/24"]}, ["entry 2 (branch)", "10.1.2.0/24", "10.1.2.20/32 of roamer", "must not share"]),
        (1, {"addresses": ["10.1.2.20"]}, ["entry 2 (branch)", "10.1.2.20/32 of roamer"]),
        (1, {"addresses": []}, ["entry 2 (branch)", "addresses is empty"]),
        (1, {"addresses": ["10.2.0.1/24"]}, ["entry 2 (branch)", "10.2.0.1/24", "without host bits"]),
        (1, {"addresses": ["0.0.0.0/0"]}, ["entry 2 (branch)", "0.0.0.0/0", "whole world"]),
        (1, {"endpoint": "somewhere"}, ["entry 2 (branch)", "somewhere", "address:port"]),
        (1, {"endpoint": "198.18.0.30:99999"}, ["entry 2 (branch)", "99999"]),
        (1, {"keepalive": -1}, ["entry 2 (branch)", "-1", "65535"]),
        (1, {"private_key": "x"}, ["entry 2 (branch)", "unknown key private_key"]),
        # against the zones
        (1, {"addresses": ["10.1.0.0/24"]}, ["entry 2 (branch)", "10.1.0.0/24", "overlaps site_zones.inside.network"]),
        (1, {"addresses": ["10.0.0.0/8"]}, ["overlaps site_zones.inside", "overlaps site_zones.dmz"]),
        (1, {"addresses": ["10.9.0.0/24"]}, ["entry 2 (branch)", "10.9.0.0/24", "remote (10.1.2.0/24, 2001:db8:a1:200::/64)"]),
        (1, {"addresses": ["2001:db8:a1:200::20"]}, ["entry 2 (branch)", "2001:db8:a1:200::20/128 of roamer"]),
        (1, {"addresses": ["::/0"]}, ["entry 2 (branch)", "::/0", "whole world"]),
        (1, {"addresses": ["2001:db8:a1:100::/64"]}, ["overlaps site_zones.inside.network6 2001:db8:a1:100::/64"]),
        (1, {"addresses": ["2001:db8:9::/64"]}, ["2001:db8:9::/64", "branch-office (10.2.0.0/24, 2001:db8:a1:201::/64)"]),
    ],
)
def test_a_wrong_peer_is_refused_by_name(
    number: int, change: dict[str, Any], words: list[str], peers: list[dict[str, Any]]
) -> None:
    peers[number] |= change
    errors = " ".join(vpn.vpn_errors(lab_site(), peers))
    assert [word for word in words if word not in errors] == []


def test_a_concentrator_gets_the_peers_and_networks_of_its_own_tunnels(peers: list[dict[str, Any]]) -> None:
    site = copy.deepcopy(lab_site())
    assert vpn.vpn_peers(site, peers, "vpn") == peers
    networks = [["10.1.2.0/24", "2001:db8:a1:200::/64"], ["10.2.0.0/24", "2001:db8:a1:201::/64"]]
    assert vpn.vpn_networks(site, "vpn") == [*networks[0], *networks[1]]
    site["zones"]["remote"]["tunnel"] = "fw"
    assert [peer["name"] for peer in vpn.vpn_peers(site, peers, "vpn")] == ["branch"]
    assert vpn.vpn_networks(site, "fw") == networks[0]


OLD = "# a\n[Interface]\nPrivateKey = k\nListenPort = 1\nAddress = 10.0.0.1/24\n\n# x\n[Peer]\nPublicKey = p\n"


@pytest.mark.parametrize(
    ("new", "apply"),
    [
        (OLD, "nothing"),
        (OLD + "\n[Peer]\nPublicKey = q\n", "reload"),
        (OLD.replace("Port = 1", "Port = 2"), "reload"),
        (OLD.replace("= k", "= l"), "reload"),
        (OLD.replace("# a", "# b"), "reload"),
        (OLD.replace("10.0.0.1", "10.0.0.2"), "restart"),
    ],
)
def test_only_the_interface_itself_takes_a_restart(new: str, apply: str) -> None:
    assert wireguard_config.what_follows(OLD, new) == apply
    assert wireguard_config.what_follows(None, new) == "start"


def test_no_diff_holds_a_private_key() -> None:
    assert (
        wireguard_config.hidden("[Interface]\n privatekey=abc=\nX = 1\n") == "[Interface]\n privatekey=@PRIVATE_KEY@\nX = 1\n"
    )
