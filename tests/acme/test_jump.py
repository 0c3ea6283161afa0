"""The operator's way: from a desk in the office by SSH to the management host, and through it to everything else.

The programs run on this machine, and a relay in the desk's container stands for sitting there: beyond it all is as the inventory
says, ProxyJump included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import lab

ADMIN = lab.COLLECTOR
KEY = lab.ROOT / ".lab/acme/operator"
MANAGED = lab.group("site")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The operator's file for ssh: the key, the host keys that are known, and the desk as the place where it all starts."""
    home = tmp_path_factory.mktemp("operator")
    known = [f"{address(host)} {lab.Machine(host).sh('cat /etc/ssh/ssh_host_ed25519_key.pub')}" for host in MANAGED]
    yield lab.ssh_config(home, KEY, "".join(known), lab.Machine(lab.DESK), address(ADMIN))


def address(host: str) -> str:
    """The address by which the management host knows another."""
    return lab.address(host, lab.zone(ADMIN))


def test_ansible_reaches_every_host_through_the_management_host(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CONNECTION", "ssh")
    monkeypatch.setenv("ACME_SSH_CONFIG", str(config))
    done = lab.ansible("ansible", "-i", str(lab.INVENTORY), "site", "-m", "ansible.builtin.command", "-a", "hostname")
    said = dict(re.findall(r"(?m)^(\S+) \| CHANGED \| rc=0 >>\n(\S+)$", done.stdout))
    assert said == {host: host for host in MANAGED}


def test_a_run_through_the_management_host_changes_nothing(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one store: what it says of a host is the same by SSH as by the engine that made it."""
    monkeypatch.setenv("LAB_CONNECTION", "ssh")
    monkeypatch.setenv("ACME_SSH_CONFIG", str(config))
    hosts = f"{lab.STORE},{ADMIN}"
    done = lab.ansible("ansible-playbook", "-i", str(lab.INVENTORY), "playbooks/mail.yml", "--limit", hosts, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout and "changed=1" not in done.stdout, done.stdout


@pytest.mark.parametrize("host", [host for host in MANAGED if host != ADMIN])
def test_without_the_management_host_there_is_no_way(config: Path, host: str, tmp_path: Path) -> None:
    direct = tmp_path / "config"
    text = config.read_text().replace(f"Host {address(ADMIN)}\n", f"Host {address(host)}\n")
    direct.write_text(text.replace("ConnectTimeout 20", "ConnectTimeout 5"))
    done = lab.ssh(direct, f"root@{address(host)}", "hostname")
    assert (done.returncode, done.stdout) == (255, "")


@pytest.mark.parametrize(("host", "service"), [(lab.STORE, "smtp"), (lab.GATEWAY, "smtp"), (lab.STRANGER, "ssh")])
def test_the_management_host_lets_through_to_ssh_servers_of_the_site_alone(config: Path, host: str, service: str) -> None:
    target = f"{lab.address(host)}:{lab.port(service)}"
    done = lab.ssh(config, "-W", target, f"root@{address(ADMIN)}")
    assert done.returncode != 0
    assert "administratively prohibited" in done.stderr, done.stderr


def test_no_other_host_is_a_way_through(config: Path) -> None:
    first, second = lab.group("stores")
    jump = f"root@{address(ADMIN)}"
    done = lab.ssh(config, "-J", jump, "-W", f"{address(second)}:{lab.port('ssh')}", f"root@{address(first)}")
    assert done.returncode != 0
    assert "administratively prohibited" in done.stderr, done.stderr
