"""How much a service could do if somebody took it over, and that an administrator's session can do everything it must."""

from __future__ import annotations

import pytest
import yaml

from tests.site import lab
from tools import scans

LISTED, WRONG = scans.limits(yaml.safe_load((lab.ROOT / "lab/audit.yml").read_text())["exposure"])
LIMITS = {entry.unit: entry.limit for entry in LISTED}


@pytest.mark.requirement("OPS-5", side="negative")
def test_no_unit_is_more_exposed_than_it_may_be_and_none_runs_that_nobody_speaks_of(each: lab.Machine) -> None:
    found = scans.exposures(each.sh(scans.MEASURE))
    assert WRONG == []
    assert {unit: number for unit, number in found.items() if number > (LIMITS[unit] or 10)} == {}
    assert sum(LIMITS[unit] is not None for unit in found) >= 3


# What administrators and Ansible do in a session, each a thing that one of sshd's bounds would take away if it were drawn closer.
SESSION = {
    "a file system is mounted, for all to see": "mount -t tmpfs probe /mnt && nsenter -t 1 -m findmnt -no SOURCE /mnt; umount /mnt",
    "a program gets a set-id bit, as dpkg gives it": "f=$(mktemp) && chmod 4755 $f && stat -c probe%a $f; rm $f",
    "a name space is made": "unshare --mount --net --uts --ipc --pid --fork echo probe",
    "somebody else is become": "setpriv --reuid=nobody --clear-groups echo probe",
    "rules of the packet filter are checked": "ip link show lo >/dev/null && echo probe",
    "a process is looked into": "readlink /proc/1/exe | sed s/.*/probe/",
    "services are seen to": "systemctl daemon-reload && echo probe",
    "systemd does what a session may not": "systemd-run --quiet --wait --pipe sh -c 'grep -q ^Seccomp:.0 /proc/self/status && echo probe'",
    "packets are watched": "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3); print(\"probe\")'",
    "files of the system may be written": "test -w /usr && test -w /etc && test -w /boot && test -w /root && echo probe",
    "packages are seen to": "dpkg --audit && apt-get -qq check && echo probe",
}


@pytest.mark.requirement("OPS-4", side="positive")
@pytest.mark.parametrize("what", SESSION)
def test_a_session_of_the_administrator_is_whole(what: str, collector: lab.Machine) -> None:
    argv = ["ssh", "-o", "BatchMode=yes", f"root@{lab.fqdn(lab.GATEWAY)}", SESSION[what]]
    done = collector.run(*argv, check=False)
    assert (done.returncode, done.stdout[:5]) == (0, "probe"), done.stderr


@pytest.mark.requirement("OPS-5", side="negative")
def test_a_session_leaves_to_systemd_what_nobody_does_in_one(collector: lab.Machine) -> None:
    # Who is let is told that there is no such file, as on the host itself.
    command = "LC_ALL=C swapoff /nowhere"
    done = collector.run("ssh", "-o", "BatchMode=yes", f"root@{lab.fqdn(lab.GATEWAY)}", command, check=False)
    assert done.returncode != 0 and "Not superuser" in done.stderr, done.stderr
    assert "No such file" in lab.Machine(lab.GATEWAY).run("sh", "-c", command, check=False).stderr
