"""hosts.allow: the notation of libwrap, and who is shut out."""

from __future__ import annotations

import pytest
from ansible_collections.widgets.mail.plugins.filter import tcp_wrappers as wrappers


@pytest.mark.parametrize(
    ("client", "line"),
    [
        ("ALL", "ALL"),
        ("10.1.0.24", "10.1.0.24"),
        ("10.1.0.24/32", "10.1.0.24"),
        ("10.1.0.0/24", "10.1.0.0/255.255.255.0"),
        ("198.51.100.0/27", "198.51.100.0/255.255.255.224"),
        ("0.0.0.0/0", "0.0.0.0/0.0.0.0"),
        ("2001:db8::25", "[2001:db8::25]/128"),
        ("2001:db8:1::/48", "[2001:db8:1::]/48"),
    ],
)
def test_notation(client: str, line: str) -> None:
    assert wrappers.tcp_wrappers_client(client) == line


@pytest.mark.parametrize("client", ["", "any", "mail.widgets.example", ".widgets.example", "10.1.0.24/24", "10.1.0.", "a: ALL"])
def test_names_and_half_networks_are_refused(client: str) -> None:
    with pytest.raises(ValueError, match="is no address, no network and not ALL"):
        wrappers.tcp_wrappers_client(client)


def test_one_line_a_client_and_none_twice() -> None:
    allow = [
        {"daemon": "sendmail", "clients": ["ALL"]},
        {"daemon": "pop3", "clients": ["10.1.0.0/24", "10.1.0.0/24", "10.1.2.3"]},
    ]
    assert wrappers.tcp_wrappers_rules(allow) == [
        "sendmail: ALL",
        "pop3: 10.1.0.0/255.255.255.0",
        "pop3: 10.1.2.3",
    ]
    assert wrappers.tcp_wrappers_rules([]) == []


def test_a_daemon_cannot_smuggle_an_option_in() -> None:
    with pytest.raises(ValueError, match="is no name of a daemon"):
        wrappers.tcp_wrappers_rules([{"daemon": "sshd: ALL: spawn x", "clients": ["ALL"]}])


def test_the_operator_is_not_shut_out() -> None:
    allow = [{"daemon": "sshd", "clients": ["10.1.0.0/28"]}, {"daemon": "sendmail", "clients": ["ALL"]}]
    assert wrappers.tcp_wrappers_rules(allow, "10.1.0.4 50000 10.1.0.25 22")
    assert wrappers.tcp_wrappers_rules(allow, "::1 50000 ::1 22")
    with pytest.raises(ValueError, match=r"no sshd entry for 10\.1\.0\.24, where you are connected from"):
        wrappers.tcp_wrappers_rules(allow, "10.1.0.24 50000 10.1.0.25 22")
    assert wrappers.tcp_wrappers_rules([{"daemon": "ALL", "clients": ["10.0.0.0/8"]}], "10.1.0.24 1 10.1.0.25 22")
