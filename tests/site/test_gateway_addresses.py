"""The gateway's two addresses: the one that the world knows it by, and the one that its link carries."""

from __future__ import annotations

import pytest

from tests.site import away, lab

SMTP = lab.port("smtp")


@pytest.mark.requirement("GW-7", side="positive")
def test_the_link_carries_the_public_address_and_a_sub_interface_the_private_one(gateway: lab.Machine) -> None:
    words = [line.split() for line in gateway.sh("ip -o -4 address show scope global").splitlines()]
    (public,) = [line for line in words if line[3] == f"{lab.public(lab.GATEWAY)}/32"]
    (private,) = [line for line in words if line[3].startswith(f"{lab.address(lab.GATEWAY)}/")]
    assert public[1] == private[1], "one link"
    label = private[private.index("global") + 1].rstrip("\\")
    assert label.endswith(":1") and public[public.index("global") + 1].rstrip("\\") == public[1]


@pytest.mark.requirement("GW-7", side="positive")
def test_the_way_out_leads_to_the_firewall_under_the_private_address(gateway: lab.Machine) -> None:
    way = gateway.sh(f"ip -o route get {lab.address(lab.STRANGER)}").split()
    assert way[way.index("via") + 1] == lab.address(lab.FIREWALL, lab.zone(lab.GATEWAY))
    assert way[way.index("src") + 1] == lab.address(lab.GATEWAY)


@pytest.mark.requirement("GW-7", side="negative")
def test_the_network_outside_is_not_taken_for_the_gateways_own(gateway: lab.Machine) -> None:
    way = gateway.sh(f"ip -o route get {lab.address(lab.ROUTER, 'outside')}").split()
    assert "via" in way, way


@pytest.mark.requirement("GW-7", side="positive")
def test_sendmail_knows_all_its_addresses_for_its_own(gateway: lab.Machine) -> None:
    known = gateway.run("sendmail", "-bt", text="$=w\n").stdout
    assert {f"[{lab.public(lab.GATEWAY)}]", f"[{lab.address(lab.GATEWAY)}]"} <= set(known.split())
    assert lab.address6(lab.GATEWAY) in lab.addresses6(known)


@pytest.mark.requirement("GW-7", side="negative")
def test_an_address_in_brackets_is_no_way_to_a_recipient_that_does_not_exist(stranger: lab.Machine) -> None:
    for address in (lab.public(lab.GATEWAY), lab.address(lab.GATEWAY), f"IPv6:{lab.address6(lab.GATEWAY)}"):
        commands = [
            "EHLO probe.example",
            f"MAIL FROM:<probe@{lab.foreign_domain()}>",
            f"RCPT TO:<nobody-such@[{address}]>",
            "QUIT",
        ]
        replies = stranger.call(away.smtp, address=lab.public(lab.GATEWAY), port=SMTP, commands=commands)
        assert replies[3].startswith("550"), replies
