"""What runs scanners on a host (lab/audit/host.sh) shows them all of it, hands back what they say, and leaves nothing there. The
scanners are stand-ins here, which write wherever they can: the real ones take minutes (`make audit`)."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest

from tests.site import lab

SCRIPT = (lab.ROOT / "lab/audit/host.sh").read_text(encoding="utf-8")
LITTER = "touch /etc/litter /usr/litter /var/lib/litter /mnt/litter"
# In the place of the loader that starts oscap, and of Lynis.
OSCAP = f"""#!/bin/sh
{LITTER}
test ! -e /.dockerenv && grep -q '^Package: linux-base' /var/lib/dpkg/status || exit 9
hostname > /mnt/results/oscap.xml
exit {{status}}
"""
LYNIS = f"""#!/bin/sh
{LITTER}
grep -q '^Package: linux-base' /var/lib/dpkg/status && exit 9
id -u > /mnt/results/lynis.dat
"""


def scanners(status: int) -> bytes:
    """A tree as the image of the scanners has it, as a tar file."""
    files = {
        "carried/lib/ld-linux-stand-in.so.2": OSCAP.format(status=status),
        "carried/bin/oscap": "",
        "carried/content/ssg-debian-ds.xml": "",
        "carried/lynis/lynis": LYNIS,
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o755, len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return out.getvalue()


def scan(machine: lab.Machine, status: int) -> subprocess.CompletedProcess[bytes]:
    """Run the script on a host as `make audit` does."""
    argv = ["docker", "exec", "-i", machine.container, "unshare", "--mount", "sh", "-c", SCRIPT, "host.sh", "profile"]
    return subprocess.run(argv, input=scanners(status), capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize("status", [0, 2])
def test_a_scan_hands_back_its_results_and_leaves_nothing_on_the_host(status: int, gateway: lab.Machine) -> None:
    mounts = gateway.sh("cat /proc/1/mounts")
    done = scan(gateway, status)
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        got = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        said = {name.removeprefix("./"): file.read().decode().strip() for name, file in got.items() if file}
    assert said == {"oscap.xml": gateway.name, "lynis.dat": "0"}
    assert gateway.sh("find /etc /usr /var /mnt /tmp /run -xdev -name 'litter*' -o -name 'lynis*' -o -name '*oscap*'") == ""
    assert gateway.sh("ls -A /mnt") == ""
    assert gateway.sh("cat /proc/1/mounts") == mounts
    assert "linux-base" not in gateway.sh("dpkg-query -W -f '${Package}\\n'").split()


def test_a_scanner_that_fails_fails_the_scan(gateway: lab.Machine) -> None:
    done = scan(gateway, 1)
    assert done.returncode != 0 and done.stdout == b""
