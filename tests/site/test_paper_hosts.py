"""Modes of logs, what the bastion has not got, and what the shared address does not answer."""

from __future__ import annotations

import pytest

from tests.site import away, lab, matrix

# What helps somebody who has got in: compilers, and programs that talk to other hosts. (make is not here: sendmail-base needs it.)
COMFORT = "cc gcc telnet ftp tftp nc ncat netcat nmap tcpdump rsh socat uudecode procmail curl wget gdb strace"
INTERESTING = [21, 22, 23, 25, 53, 79, 80, 110, 111, 143, 443, 465, 514, 587, 993, 995, 3306, 6000]


@pytest.mark.requirement("SM-11", side="positive")
def test_logs_are_kept_and_their_modes_leave_ordinary_accounts_out(each: lab.Machine) -> None:
    logs = each.sh("find /var/log -type f \\( -name 'mail*' -o -name 'auth*' -o -name 'syslog*' \\) -printf '%m %U %p\\n'")
    found = [line.split(" ", 2) for line in logs.splitlines()]
    assert found
    assert [path for mode, owner, path in found if int(mode, 8) & 0o027 or owner != "0"] == []


@pytest.mark.requirement("GW-6", side="negative")
def test_the_bastion_has_nothing_that_helps_an_intruder_and_shows_the_world_what_is_mails_and_no_more(
    gateway: lab.Machine, stranger: lab.Machine
) -> None:
    """Port 25, and what senders ask before they use it (RFC 8461). At the port at which an authority looks nobody listens otherwise."""
    assert gateway.sh(f"for name in {COMFORT}; do command -v $name || true; done").split() == []
    targets = [[lab.public(lab.GATEWAY), port] for port in INTERESTING]
    found = stranger.call(away.probe, targets=targets)
    answering = {port: entry["result"] for port, entry in zip(INTERESTING, found, strict=True) if entry["result"] != "silent"}
    seldom = {port: "refused" for _protocol, port in matrix.SELDOM}
    assert answering == {lab.port("smtp"): "open", lab.port("https"): "open", **seldom}


@pytest.mark.requirement("GW-6", side="positive")
def test_no_patch_waits_to_be_applied_on_the_bastion(gateway: lab.Machine) -> None:
    assert "0 upgraded" in gateway.sh("apt-get -s upgrade")


@pytest.mark.requirement("NET-5", side="negative")
@pytest.mark.parametrize("start", [lab.STRANGER, lab.ROUTER])
def test_nobody_reaches_inside_hosts_by_the_address_that_they_share(start: str) -> None:
    targets = [[lab.site()["pat"]["address"], port] for port in INTERESTING]
    found = [entry["result"] for entry in lab.Machine(start).call(away.probe, targets=targets)]
    assert found == ["silent"] * len(targets)
