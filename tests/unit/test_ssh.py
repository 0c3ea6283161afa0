"""SSH: who may come from where, what is known of whom, and the operator who must not shut himself out."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import ssh

KEY = "ssh-ed25519 AAAAC3Nz root@mgmt"
CONNECTED = "10.1.0.24 50000 10.1.1.11 22"


def test_each_user_from_each_source() -> None:
    assert ssh.ssh_allow_users(["root", "ops"], ["10.1.0.24", "2001:db8::/64"]) == [
        "root@10.1.0.24",
        "root@2001:db8::/64",
        "ops@10.1.0.24",
        "ops@2001:db8::/64",
    ]
    assert ssh.ssh_allow_users(["root"], []) == ["root"]


def test_a_source_is_an_address() -> None:
    with pytest.raises(ValueError, match="ssh_allow_from: 'mgmt' is no address"):
        ssh.ssh_allow_users(["root"], ["mgmt"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"keys": []}, "ssh_authorized_keys is empty"),
        ({"keys": [], "connection": "community.docker.docker"}, ""),
        ({"keys": [], "connection": "local"}, ""),
        ({"user": "admin"}, "ssh_allow_users is ['root']: admin"),
        ({"user": ""}, ""),
        ({"sources": ["10.1.0.25"]}, "ssh_allow_from is ['10.1.0.25']: 10.1.0.24"),
        ({"sources": ["10.1.0.0/24"]}, ""),
        ({"sources": []}, ""),
        ({"sources": ["10.1.0.25"], "address": ""}, ""),
        ({"sources": ["10.1.0.25"], "address": "UNKNOWN 65535 UNKNOWN 65535"}, ""),
        ({"sources": ["10.1.0.25"], "address": "fe80::1%eth0 1 fe80::2%eth0 22"}, "fe80::1, where you are"),
    ],
)
def test_lockout(change: dict[str, Any], says: str) -> None:
    given = {
        "users": ["root"],
        "sources": ["10.1.0.24"],
        "keys": [KEY],
        "connection": "ansible.builtin.ssh",
        "user": "root",
        "address": CONNECTED,
    }
    answer = ssh.ssh_lockout(**{**given, **change})
    assert says in answer if says else answer == ""


def test_client_keys_of_hosts_that_have_one() -> None:
    hostvars: dict[str, Any] = {"mgmt": {"ssh_client_public_key": KEY}, "mail": {}}
    assert ssh.ssh_client_keys(hostvars, ["mgmt", "mail", "stranger"]) == [KEY]


def test_known_hosts_from_facts() -> None:
    facts = {"ssh_host_key_ed25519_public": "AAAAC3Nz", "ssh_host_key_ed25519_public_keytype": "ssh-ed25519"}
    hostvars: dict[str, Any] = {"mail": {"ansible_facts": facts}, "new": {"ansible_facts": {}}}
    assert ssh.ssh_host_keys(hostvars, ["mail", "new", "gone"], {"mail": ["10.1.0.25", "mail"]}) == [
        {"names": ["mail", "10.1.0.25"], "key": "ssh-ed25519 AAAAC3Nz"}
    ]


def test_a_host_key_that_check_mode_has_foretold_stands_in() -> None:
    hostvars = {"new": {"ansible_facts": {}, "ssh_host_key_to_come": "ssh-ed25519 AAAA made-by-the-run-itself"}}
    assert ssh.ssh_host_keys(hostvars, ["new"]) == [{"names": ["new"], "key": "ssh-ed25519 AAAA made-by-the-run-itself"}]


def test_what_is_no_public_key() -> None:
    good = [KEY, 'from="10.1.0.24",no-pty ssh-rsa AAAAB3 ops', "ssh-ed25519 AAAAC3Nz"]
    bad = ["-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-dss AAAA x", "ssh-ed25519", f"{KEY}\n{KEY}", ""]
    assert ssh.ssh_bad_keys([*good, *bad]) == [key[:40] for key in bad]


def test_an_operator_who_comes_by_ssh_has_a_key_of_his_own_in_the_inventory() -> None:
    """What the management host makes for itself is in the role's list all the same."""
    ways = {"a": {"ansible_connection": "community.docker.docker"}, "b": {}, "c": {"ansible_connection": "ansible.builtin.ssh"}}
    assert ssh.ssh_operator_errors([], ways, ["a"]) == []
    assert ssh.ssh_operator_errors(["ssh-ed25519 AAAA me"], ways, ways) == []
    (error,) = ssh.ssh_operator_errors([], ways, ["c", "b", "a"])
    assert "comes to b, c by SSH" in error
    assert ssh.ssh_operator_errors("ssh-ed25519 AAAA me", ways, ways) == [
        "site_ssh_authorized_keys is 'ssh-ed25519 AAAA me': it must be a list of public keys."
    ]
