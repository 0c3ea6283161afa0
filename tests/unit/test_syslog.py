"""The syslog role's data: what is refused, in which words, and how senders are written."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import syslog

FORWARD = [{"host": "10.1.0.24", "port": 514, "protocol": "tcp"}]
LISTEN = [{"port": 514, "protocol": "tcp"}]
SENDERS = {"10.1.1.11": "smtp1", "10.1.1.12": "dns1"}
INPUTS = [{"path": "/var/log/ulog/denied.log", "tag": "firewall"}]


def errors(**changed: Any) -> list[str]:
    good: dict[str, Any] = {"forward": FORWARD, "listen": LISTEN, "senders": SENDERS, "inputs": INPUTS, "name": "mgmt"}
    return syslog.syslog_errors(**(good | changed))


def test_sound_data_has_no_errors() -> None:
    assert errors() == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"forward": [{"host": 'a" b'}]}, "syslog_forward: host"),
        ({"forward": [{"host": "a", "port": 0}]}, "syslog_forward: port 0"),
        ({"listen": [{"port": 70000, "protocol": "tcp"}]}, "syslog_listen: port 70000"),
        ({"listen": [{"port": 514, "protocol": "tcp", "address": "mgmt"}]}, "syslog_listen: 'mgmt'"),
        ({"senders": {}}, "syslog_senders: empty"),
        ({"senders": {"10.1.1.0/24": "smtp1"}}, "syslog_senders: '10.1.1.0/24'"),
        ({"senders": {"2001:db8:0::1": "smtp1"}}, "shortest form"),
        ({"senders": {"10.1.1.11": "../../etc"}}, "syslog_senders: '../../etc'"),
        ({"senders": {"10.1.1.11": "mgmt"}}, "own name"),
        ({"name": ".."}, "syslog_name: '..'"),
        ({"inputs": [{"path": "log", "tag": "a"}]}, "syslog_inputs: path 'log'"),
        ({"inputs": [{"path": "/log", "tag": "a b"}]}, "syslog_inputs: tag 'a b'"),
        ({"inputs": [{"path": "/log", "tag": "a", "facility": "local8"}]}, "syslog_inputs: facility 'local8'"),
        ({"inputs": [{"path": "/log", "tag": "a", "severity": "loud"}]}, "syslog_inputs: severity 'loud'"),
    ],
)
def test_bad_data_is_refused_in_words(changed: dict[str, Any], words: str) -> None:
    found = errors(**changed)
    assert len(found) == 1
    assert words in found[0]


def test_allowed_senders_are_in_numeric_order_and_brackets() -> None:
    senders = {"2001:db8::1": "c", "10.1.1.12": "b", "10.1.1.2": "a"}
    assert syslog.syslog_allowed(senders) == ["10.1.1.2", "10.1.1.12", "[2001:db8::1]"]
