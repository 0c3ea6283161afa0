# SPDX-License-Identifier: MIT
"""Who may come in over SSH, which keys are known, and whether the operator would shut himself out."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

KEY_TYPES = ("ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ssh-rsa")


def ssh_allow_users(users: Iterable[str], sources: Iterable[str]) -> list[str]:
    """Patterns for AllowUsers: each user from each source, or from anywhere where no source is named."""
    names = list(users)
    places = list(sources)
    for place in places:
        try:
            ipaddress.ip_network(place)
        except ValueError as error:
            raise ValueError(f"ssh_allow_from: {place!r} is no address and no network: {error}") from None
    return [f"{name}@{place}" for name in names for place in places] if places else names


def _is_ssh(connection: str) -> bool:
    """Whether a connection plugin's way in is sshd."""
    return connection.rpartition(".")[2] in ("ssh", "paramiko", "paramiko_ssh", "smart", "libssh")


def ssh_lockout(
    users: Iterable[str], sources: Iterable[str], keys: Iterable[str], connection: str, user: str, address: str
) -> str:
    """Why the next login of the operator would be refused, empty where it would not.

    `connection` is Ansible's connection plugin, `user` its login name where known, `address` where it comes from, as
    sshd tells in SSH_CONNECTION. A connection that does not use SSH cannot be lost by this role.
    """
    if not _is_ssh(connection):
        return ""
    if not list(keys):
        return "ssh_authorized_keys is empty: nobody could log in again. Give the public keys of the administrators."
    names, places = list(users), list(sources)
    if user and user not in names:
        return f"ssh_allow_users is {names}: {user}, who is connected now, could not log in again."
    source = address.split(" ")[0].partition("%")[0].replace("UNKNOWN", "")  # sshd's word where there is no socket
    if source and places and not any(ipaddress.ip_address(source) in ipaddress.ip_network(p) for p in places):
        return f"ssh_allow_from is {places}: {source}, where you are connected from, could not come in again."
    return ""


def ssh_operator_errors(keys: Any, hostvars: Mapping[str, Any], hosts: Iterable[str]) -> list[str]:
    """What is wrong with `site_ssh_authorized_keys`, one sentence each.

    The key that the management host makes for itself does not count: whoever comes from elsewhere has another one.
    """
    if not isinstance(keys, list):
        return [f"site_ssh_authorized_keys is {str(keys)[:40]!r}: it must be a list of public keys."]
    by_ssh = sorted(host for host in hosts if _is_ssh(hostvars[host].get("ansible_connection", "ssh")))
    if by_ssh and not keys:
        return [
            f"site_ssh_authorized_keys is empty, and Ansible comes to {', '.join(by_ssh)} by SSH: nobody could log in again by the key that "
            "is used now. Give the public keys of the administrators; where Ansible runs on the management host, that of root there."
        ]
    return []


def ssh_client_keys(hostvars: Mapping[str, Any], hosts: Iterable[str]) -> list[str]:
    """The client keys that this role made on some hosts; hosts without one are left out."""
    found = (hostvars[host].get("ssh_client_public_key") for host in hosts if host in hostvars)
    return [str(key) for key in found if key]


def ssh_host_keys(
    hostvars: Mapping[str, Any], hosts: Iterable[str], names: Mapping[str, Iterable[str]] | None = None
) -> list[dict[str, Any]]:
    """Entries for `ssh_known_hosts` from the facts of hosts: all names of each with its ed25519 key.

    `names` gives further names and addresses by host. Hosts whose key is not known (yet) are left out; in check mode the role says
    what stands for the key of one that would have been installed.
    """
    entries = []
    for host in hosts:
        facts = hostvars[host].get("ansible_facts", {}) if host in hostvars else {}
        key = facts.get("ssh_host_key_ed25519_public")
        kind = facts.get("ssh_host_key_ed25519_public_keytype", "ssh-ed25519")
        line = f"{kind} {key}" if key else hostvars[host].get("ssh_host_key_to_come") if host in hostvars else None
        if line:
            all_names = dict.fromkeys([host, *(str(n) for n in (names or {}).get(host, []))])
            entries.append({"names": list(all_names), "key": str(line)})
    return entries


def ssh_bad_keys(keys: Iterable[str]) -> list[str]:
    """Public keys that are none, or of a kind that sshd here does not take, shortened for a message."""
    bad = []
    for key in keys:
        words = str(key).split()
        kinds = [word for word in words[:-1] if word in KEY_TYPES]
        if "\n" in str(key).strip() or not kinds:
            bad.append(str(key)[:40])
    return bad


class FilterModule:
    """Filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "ssh_allow_users": ssh_allow_users,
            "ssh_client_keys": ssh_client_keys,
            "ssh_host_keys": ssh_host_keys,
            "ssh_lockout": ssh_lockout,
            "ssh_operator_errors": ssh_operator_errors,
        }
