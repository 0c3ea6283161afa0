"""A whole host, as it can be held against itself: files, accounts, packages, services and listeners."""

from __future__ import annotations

import re

# What a host writes about itself, and what programs keep for speed: never the same twice.
RESTLESS = re.compile(
    r"/(var/(log|cache|backups|tmp|lib/(dpkg|apt|systemd|widgets-mail|ucf|private|logrotate))"
    r"|tmp|run|proc|sys|dev|root/\.ansible"
    r"|etc/(ld\.so\.cache|\.pwd\.lock|mtab|(passwd|group|shadow|gshadow|subuid|subgid)-?))(/|$)"
)
# For a shell: every file with kind, mode, owner and target, and a sum of what counts; then all else, a line each.
LOOK = r"""
find / -xdev ! -path '/proc/*' ! -path '/sys/*' -printf 'file %p %y %m %U:%G %l\n'
find /etc /usr/local /root /var/lib /var/spool -xdev -type f -exec sha256sum {} + | awk '{print "sum", $2, $1}'
dpkg-query -W -f 'package ${binary:Package} ${db:Status-Status}\n'
dpkg-statoverride --list | sed 's/^/override /'
awk -F: '{print "account", ($3 >= 100 && $3 < 1000 ? "system" : "own"), $0}' /etc/passwd /etc/group
ss -Hlntu | awk '{print "listener", $1, $5}'
systemctl list-unit-files --no-legend --plain | awk '{print "unit", $1, $2}'
systemctl list-units --state=active --type=service,socket,timer --no-legend --plain | awk '{print "runs", $1}'
sysctl -a 2>/dev/null | grep -E '^(net\.ipv[46]\.|fs\.|kernel\.(kptr|dmesg|randomize))' | sed 's/^/kernel /'
"""
# Counters, a key that the kernel draws at random when the first listener wants TCP Fast Open, and what systemd starts and ends by itself.
MOVING = re.compile(
    r"^kernel (fs\.(dentry|file-nr|inode|quota|aio-nr)|net\.ipv4\.(neigh|tcp_mem|udp_mem|tcp_fastopen_key))|^runs (apt-|dpkg-|user@|run-|systemd-tmpfiles)"
)


def lines(said: str) -> set[str]:
    """What of it has to stay the same."""
    out = set()
    for line in said.splitlines():
        kind, _, rest = line.partition(" ")
        if kind in ("file", "sum") and RESTLESS.match(rest.split(" ")[0]):
            continue
        if not MOVING.match(line):
            out.add(line)
    return out


# What a role leaves behind on purpose, as its tasks/absent.yml says.
STAYS = {
    "ssh": re.compile(r"(file|sum) /root/\.ssh\b"),  # the operator's way in
    "syslog": re.compile(r"(file|sum) /var/spool/rsyslog\b"),  # what nobody has taken yet
}
# Packages make users that outlive them, so that nobody gets their files.
OF_PACKAGES = re.compile(r"account system ")


def differences(before: set[str], after: set[str], role: str) -> list[str]:
    """What went, with a minus, and what came, with a plus."""
    came = {line for line in after - before if not OF_PACKAGES.match(line) and not (role in STAYS and STAYS[role].match(line))}
    return sorted([f"- {line}" for line in before - after] + [f"+ {line}" for line in came])
