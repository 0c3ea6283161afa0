"""A host as it can be compared with itself at another time: files, services, listeners, rules, links, the kernel's settings."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.site import lab
from tests.site.test_hosts import listeners

SITE = lab.group("site")


@dataclass(frozen=True)
class State:
    """A host as it can be compared: each part a set of lines."""

    files: frozenset[str]
    services: frozenset[str]
    listeners: frozenset[str]
    rules: frozenset[str]
    links: frozenset[str]
    kernel: frozenset[str]

    def against(self, other: State, *parts: str) -> dict[str, list[str]]:
        """What differs, by part: lines that went, with a minus, and lines that came, with a plus."""
        out = {}
        for part in parts:
            mine, others = getattr(self, part), getattr(other, part)
            lines = sorted([f"- {line}" for line in mine - others] + [f"+ {line}" for line in others - mine])
            if lines:
                out[part] = lines
        return out


# Of all configuration: kind, mode, owner, and what is in it.
FILES = """
find /etc -xdev ! -type d -printf '%p %y %m %U:%G %l\\n'
find /etc /var/spool $(ls -d /usr/libexec/sendmail 2>/dev/null) -xdev -maxdepth 3 -type d -printf '%p %y %m %U:%G\\n'
find / -xdev -type f -perm /6000 -printf '%p %m %U:%G\\n'
find /etc -xdev -type f -exec sha256sum {} +
"""
# What the kernel does with packets, as it is and not as it is written down.
KERNEL = "sysctl -a --pattern '^net[.]ipv[46][.](conf[.](all|default)[.]|ip_forward|icmp_|tcp_(syncookies|rfc1337))'"
# Rewritten by programs at their own time; and the copies that sendmail's package makes of the configuration which it finds,
# which nothing reads.
RESTLESS = re.compile(r"/etc/(mtab|ld\.so\.cache|\.pwd\.lock|resolv\.conf\.\S*|mail/(sendmail|submit)\.cf\.old)\b")


# What rules put into a set themselves: whom they have just met.
MET = re.compile(r"(set \w+ \{[^{}]*\bflags dynamic\b[^{}]*?)\s*elements = \{[^{}]*\}")


def written(ruleset: str) -> frozenset[str]:
    """Lines of a rule set as nft lists it, without whom its rules have seen. Sets that they do not write to keep their elements."""
    return frozenset(line.strip() for line in MET.sub(r"\1", ruleset).splitlines())


def rules(machine: lab.Machine) -> frozenset[str]:
    """The firewall's rules without what they have counted and whom they have seen."""
    return written(machine.run("nft", "-s", "list", "table", "inet", "firewall", check=False).stdout)


def links(machine: lab.Machine) -> frozenset[str]:
    """Addresses and groups of links, and routes. Names of links are not the same after a restart of a container."""
    out = set()
    for link in json.loads(machine.run("ip", "-j", "address").stdout):
        entries = [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]]
        out.add(f"{link.get('address')} group {link.get('group')} {' '.join(sorted(entries))}")
    for route in json.loads(machine.run("ip", "-j", "-4", "route").stdout):
        out.add(f"route {route['dst']} {route.get('gateway', 'link')}")
    return frozenset(out)


def state(name: str) -> State:
    """A host as it is."""
    machine = lab.Machine(name)
    # A timer that fires just now is one that waits again a moment later.
    fields = """awk '{if ($1 ~ /\\.timer$/ && $4 == "running") $4 = "waiting"; print $1,$4}'"""
    units = machine.sh(f"systemctl list-units --plain --no-legend --state=running,waiting,listening,failed | {fields}")
    enabled = machine.sh("systemctl list-unit-files --plain --no-legend --state=enabled,masked | awk '{print $1,$2}'")
    # Shells and scopes of the container engine come and go.
    kept = [line for line in (units + enabled).splitlines() if not re.search(r"\.scope|^user@|\.mount|\.device", line)]
    return State(
        files=frozenset(line for line in machine.sh(FILES).splitlines() if not RESTLESS.search(line)),
        services=frozenset(kept),
        listeners=frozenset(str(entry) for entry in listeners(machine)),
        rules=rules(machine) if name == lab.FIREWALL else frozenset(),
        links=links(machine),
        kernel=frozenset(machine.sh(KERNEL).splitlines()),
    )


def states() -> dict[str, State]:
    """All hosts of the site as they are."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SITE, pool.map(state, SITE), strict=True))


def differences(one: dict[str, State], other: dict[str, State], *parts: str) -> dict[str, dict[str, list[str]]]:
    """What differs, by host and part."""
    found = {name: one[name].against(other[name], *parts) for name in one}
    return {name: parts for name, parts in found.items() if parts}
