"""The whole site by SSH: from the management host, by the firewall's rule, as an ordinary account that becomes root by sudo.

The account is made as docs/howto/account.md says. Ansible runs on this machine, and a relay in the management host's container stands for
sitting there; the management host itself needs no way. Five runs of site.yml, some ten minutes:

    pytest tests/site/test_over_ssh.py -m lasting
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests import pages
from tests.site import away, lab, recap

pytestmark = pytest.mark.lasting

PAGE = pages.read(lab.ROOT / "docs/howto/account.md")
*MAKE, GONE = [step for step in PAGE.steps if step.changes]
(EDIT,) = [edit for edit in PAGE.edits]
SITE = lab.group("site")
FAR = [name for name in SITE if name != lab.COLLECTOR]


@dataclass(frozen=True)
class Way:
    """How Ansible is to go: the settings of the page, the same with a way by SSH, and the operator's file for ssh."""

    settings: Path
    over: Path
    config: Path

    def by_engine(self) -> set[tuple[str, str]]:
        """What a run changes that goes the lab's own way."""
        return recap.play("site.yml", "-e", f"@{self.settings}").changes

    def by_ssh(self, *more: str) -> set[tuple[str, str]]:
        """What a run changes that goes by SSH."""
        return recap.play("site.yml", "-i", str(self.over), "-e", f"@{self.settings}", *more).changes


def address(host: str) -> str:
    """The address by which the management host knows another."""
    return lab.address(host, lab.zone(lab.COLLECTOR))


def everywhere(*steps: pages.Step) -> None:
    """Some commands of the page, on all hosts of the site at once."""

    def one(name: str) -> None:
        for step in steps:
            said = lab.Machine(name).run("bash", "-c", step.script, timeout=300).stdout
            assert pages.missing(step, said) == [], said

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, SITE))


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """The account on all hosts, and the way that it comes by; nothing of it afterwards."""
    home = tmp_path_factory.mktemp("keeper")
    key = home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    known = [f"{address(name)} {lab.Machine(name).sh('cat /etc/ssh/ssh_host_ed25519_key.pub')}" for name in FAR]
    config = lab.ssh_config(home, key, "".join(known), lab.Machine(lab.COLLECTOR))
    settings = yaml.safe_load(EDIT.text) | {"site_ssh_authorized_keys": [(home / "key.pub").read_text().strip()]}
    hosts = {
        name: {
            "ansible_connection": "ansible.builtin.ssh",
            "ansible_host": address(name),
            "ansible_user": settings["ssh_admin_user"],
            "ansible_become": True,
            "ansible_ssh_common_args": f"-F {config}",
        }
        for name in FAR
    }
    found = Way(home / "settings.yml", home / "over.yml", config)
    found.settings.write_text(yaml.safe_dump(settings))
    found.over.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    everywhere(*MAKE)
    try:
        assert found.by_engine()
        yield found
    finally:
        try:
            recap.play("site.yml")
        finally:
            everywhere(GONE)


def size(stranger: lab.Machine) -> str:
    """How large a message the gateway says that it takes."""
    place = {"address": lab.public(lab.GATEWAY), "port": lab.port("smtp")}
    _greeting, hello, _bye = stranger.call(away.smtp, **place, commands=["EHLO probe.example", "QUIT"])
    return next(line[4:] for line in str(hello).splitlines() if line[4:].startswith("SIZE "))


@pytest.mark.requirement("OPS-4", side="positive")
def test_a_run_by_ssh_says_that_nothing_has_changed(way: Way) -> None:
    assert way.by_ssh() == set()


@pytest.mark.requirement("OPS-4", side="positive")
def test_a_change_by_ssh_has_its_effect_and_so_has_its_undoing(way: Way, stranger: lab.Machine) -> None:
    before = size(stranger)
    changes = way.by_ssh("-e", "sendmail_max_message_size=5000000")
    assert changes and size(stranger) == "SIZE 5000000"
    assert way.by_ssh() == changes and size(stranger) == before


@pytest.mark.requirement("OPS-4", side="negative")
@pytest.mark.parametrize("host", FAR)
def test_root_comes_in_no_more_and_nobody_without_the_way(way: Way, host: str, tmp_path: Path) -> None:
    assert lab.ssh(way.config, f"keeper@{address(host)}", "sudo id -un").stdout == "root\n"
    assert lab.ssh(way.config, f"root@{address(host)}", "id").returncode == 255
    elsewhere = tmp_path / "config"
    start = lab.relay(lab.Machine(lab.DESK))
    elsewhere.write_text(
        way.config.read_text()
        .replace(lab.relay(lab.Machine(lab.COLLECTOR)), start)
        .replace("ConnectTimeout 20", "ConnectTimeout 5")
    )
    assert lab.ssh(elsewhere, f"keeper@{address(host)}", "id").returncode == 255
