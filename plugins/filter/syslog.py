"""What the syslog role asks of its data: errors in words, and senders as rsyslog writes them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

NAME = re.compile(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
TAG = re.compile(r"^[A-Za-z0-9_./-]{1,31}$")
# The host, path and tag of an entry are written between double quotes in rsyslog.conf.
QUOTED = re.compile(r'^[^"\\\x00-\x1f]+$')
FACILITIES = {
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"),
    *(f"local{n}" for n in range(8)),
}
SEVERITIES = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}


def is_address(value: Any) -> bool:
    """Whether a value is a single address in its shortest form, the only form that rsyslog compares equal."""
    try:
        return bool(str(ipaddress.ip_address(value)) == value)
    except ValueError:
        return False


def bad_port(port: Any) -> bool:
    """Whether a value is no port number."""
    try:
        return not 0 < int(port) < 65536
    except (TypeError, ValueError):
        return True


def syslog_errors(
    forward: Iterable[Mapping[str, Any]],
    listen: Iterable[Mapping[str, Any]],
    senders: Mapping[str, str],
    inputs: Iterable[Mapping[str, Any]],
    name: str,
) -> list[str]:
    """What is wrong with the role's variables, one sentence each: variable, value, what is allowed."""
    errors = []
    for entry in forward:
        if not QUOTED.match(str(entry["host"])):
            errors.append(f"syslog_forward: host {entry['host']!r} is neither an address nor a name")
        if bad_port(entry.get("port", 514)):
            errors.append(f"syslog_forward: port {entry['port']!r} is not within 1 to 65535")
    listening = list(listen)
    for entry in listening:
        if bad_port(entry["port"]):
            errors.append(f"syslog_listen: port {entry['port']!r} is not within 1 to 65535")
        if entry.get("address") and not is_address(entry["address"]):
            errors.append(f"syslog_listen: {entry['address']!r} is not an IP address in its shortest form")
    if listening and not senders:
        errors.append("syslog_senders: empty while syslog_listen is not, so nobody could be heard: name the senders")
    for address, sender in senders.items():
        if not is_address(address):
            errors.append(f"syslog_senders: {address!r} is not an IP address in its shortest form")
        if not NAME.match(str(sender)):
            errors.append(f"syslog_senders: {sender!r} (of {address}) is no host name of a-z, 0-9, dot and hyphen")
        elif sender == name:
            errors.append(f"syslog_senders: {sender!r} (of {address}) is the collecting host's own name, syslog_name")
    if not NAME.match(str(name)):
        errors.append(f"syslog_name: {name!r} is no host name of a-z, 0-9, dot and hyphen")
    for entry in inputs:
        if not (str(entry["path"]).startswith("/") and QUOTED.match(entry["path"])):
            errors.append(f"syslog_inputs: path {entry['path']!r} is not absolute")
        if not TAG.match(str(entry["tag"])):
            errors.append(f"syslog_inputs: tag {entry['tag']!r} is not 1 to 31 letters, digits and _ . / -")
        if entry.get("facility", "local0") not in FACILITIES:
            errors.append(f"syslog_inputs: facility {entry['facility']!r} is none of {', '.join(sorted(FACILITIES))}")
        if entry.get("severity", "info") not in SEVERITIES:
            errors.append(f"syslog_inputs: severity {entry['severity']!r} is none of {', '.join(sorted(SEVERITIES))}")
    return errors


def syslog_allowed(senders: Mapping[str, str]) -> list[str]:
    """Addresses of senders as rsyslog's $AllowedSender takes them: IPv6 in brackets, in numeric order."""
    addresses = sorted((ipaddress.ip_address(a) for a in senders), key=lambda a: (a.version, int(a)))
    return [f"[{a}]" if a.version == 6 else str(a) for a in addresses]


class FilterModule:
    """The functions above as filters."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters."""
        return {"syslog_allowed": syslog_allowed}
