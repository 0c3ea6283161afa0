# SPDX-License-Identifier: MIT
"""Who may reach a daemon, in the notation that libwrap understands (hosts_access(5))."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

DAEMON = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
ALL = "ALL"


def tcp_wrappers_client(client: str) -> str:
    """One client for libwrap: an address as it is, an IPv4 network with its mask, IPv6 in brackets, or ``ALL``.

    Host names are refused: libwrap would ask the DNS, which an attacker may answer, for every connection.
    """
    if client == ALL:
        return ALL
    try:
        network = ipaddress.ip_network(client)
    except ValueError as error:
        raise ValueError(f"tcp_wrappers_allow: client {client!r} is no address, no network and not ALL: {error}") from None
    if network.version == 6:
        return f"[{network.network_address}]/{network.prefixlen}"
    if network.prefixlen == 32:
        return str(network.network_address)
    return network.with_netmask


def tcp_wrappers_permits(allow: Iterable[Mapping[str, Any]], daemon: str, address: str) -> bool:
    """Whether a list lets an address through to a daemon."""
    source = ipaddress.ip_address(address.partition("%")[0])
    if source.is_loopback:
        return True
    clients = [str(c) for entry in allow if entry["daemon"] in (daemon, ALL) for c in entry["clients"]]
    return any(client == ALL or source in ipaddress.ip_network(client) for client in clients)


def tcp_wrappers_rules(allow: Sequence[Mapping[str, Any]], ssh_connection: str = "") -> list[str]:
    """Lines ``daemon: client`` for hosts.allow, one for each client: libwrap cuts lines of over 2047 characters off.

    `ssh_connection` is what sshd says about the connection that Ansible itself came by (client, port, server, port),
    empty where it came another way: a list that would shut it out is refused.
    """
    lines: list[str] = []
    for entry in allow:
        daemon = str(entry["daemon"])
        if not DAEMON.match(daemon):
            raise ValueError(f"tcp_wrappers_allow: {daemon!r} is no name of a daemon")
        for client in entry["clients"]:
            line = f"{daemon}: {tcp_wrappers_client(str(client))}"
            if line not in lines:
                lines.append(line)
    operator = ssh_connection.split(" ")[0].replace("UNKNOWN", "")  # sshd's word where there is no socket
    if operator and not tcp_wrappers_permits(allow, "sshd", operator):
        raise ValueError(f"tcp_wrappers_allow has no sshd entry for {operator}, where you are connected from")
    return lines


class FilterModule:
    """Filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "tcp_wrappers_rules": tcp_wrappers_rules,
        }
