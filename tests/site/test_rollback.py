"""A run that would shut the operator out is taken back by the host itself; one that does not is confirmed and stays.

Ansible comes in over SSH here, as it would to a real site: from the management host's address, through the firewall's rules. The
program runs on this machine, and a relay in the management host's container stands for sitting there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.site import lab

HOST = lab.FIREWALL
KEYS = "/root/.ssh/authorized_keys"
RULES = "/etc/nftables.conf"
SSHD = "/etc/ssh/sshd_config"
# Long enough for a change that is sound on a busy machine, short enough to wait for one that is not.
SECONDS = 20


@pytest.fixture(scope="module")
def over_ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Variables with which Ansible logs in to the host by a key of its own; the key is let in for these tests only."""
    home = tmp_path_factory.mktemp("ssh")
    machine, address = lab.Machine(HOST), lab.address(HOST)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "key"], check=True)
    (home / "known_hosts").write_text(f"{address} {machine.sh('cat /etc/ssh/ssh_host_ed25519_key.pub')}")
    machine.sh(f"cp -a {KEYS} /run/keys.before")
    machine.run("tee", "-a", KEYS, text=(home / "key.pub").read_text())
    relay = lab.relay(lab.Machine(lab.COLLECTOR))
    yield {
        "ansible_connection": "ssh",
        "ansible_host": address,
        "ansible_ssh_private_key_file": str(home / "key"),
        "ansible_ssh_common_args": f'-o UserKnownHostsFile={home}/known_hosts -o ConnectTimeout=5 -o ProxyCommand="{relay}"',
        "site_ssh_authorized_keys": [(home / "key.pub").read_text().strip()],
        "firewall_rollback_seconds": SECONDS,
        "ssh_rollback_seconds": SECONDS,
    }
    # In place and with the old times: nothing has changed for whoever looks later.
    machine.sh(f"cat /run/keys.before > {KEYS}; touch -r /run/keys.before {KEYS}; rm /run/keys.before")


def play(book: str, variables: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the one host."""
    argv = ["ansible-playbook", "-i", str(lab.INVENTORY), f"playbooks/{book}.yml", "--limit", HOST, *more]
    return lab.ansible(*argv, "-e", json.dumps(variables), check=False)


def armed(name: str) -> bool:
    """Whether the host would still go back."""
    unit = f"ansible-rollback-{name}.timer"
    return lab.Machine(HOST).run("systemctl", "is-active", unit, check=False).stdout.strip() == "active"


def reaches_ssh() -> bool:
    """Whether the management host gets a shell, by its own key."""
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", f"root@{lab.fqdn(HOST)}", "true"]
    return lab.Machine(lab.COLLECTOR).run(*argv, check=False).returncode == 0


@pytest.mark.requirement("OPS-4", side="positive")
def test_a_sound_change_of_rules_over_ssh_is_confirmed_and_stays(over_ssh: dict[str, Any]) -> None:
    machine = lab.Machine(HOST)
    before = machine.sh(f"cat {RULES}")
    done = play("firewalls", {**over_ssh, "firewall_log_rate": 51})
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.sh(f"cat {RULES}") != before and not armed("firewall") and reaches_ssh()
    assert "51/second" in machine.sh("nft list table inet firewall")
    # Back, by an ordinary run.
    done = play("firewalls", over_ssh)
    assert done.returncode == 0 and machine.sh(f"cat {RULES}") == before, done.stdout + done.stderr


@pytest.mark.requirement("OPS-4", side="positive")
def test_rules_that_shut_the_operator_out_are_put_back_by_the_host(over_ssh: dict[str, Any]) -> None:
    machine = lab.Machine(HOST)
    before, rules = machine.sh(f"cat {RULES}"), machine.sh("nft -s list chains inet")
    shut = [flow for flow in lab.site()["flows"] if "ssh" not in flow["services"]]
    done = play("firewalls", {**over_ssh, "site_flows": shut})
    assert done.returncode != 0 and "The new files of firewall were put back" in done.stdout, done.stdout + done.stderr
    assert machine.sh(f"cat {RULES}") == before and machine.sh("nft -s list chains inet") == rules
    assert reaches_ssh() and not armed("firewall")


@pytest.mark.requirement("OPS-4", side="positive")
def test_a_server_that_the_operator_no_longer_reaches_is_put_back_by_the_host(over_ssh: dict[str, Any]) -> None:
    """On another port, which no rule of the firewall lets in."""
    machine = lab.Machine(HOST)
    before = machine.sh(f"cat {SSHD}")
    done = play("base", {**over_ssh, "ssh_ports": [2222]}, "--tags", "ssh")
    assert done.returncode != 0 and "The new files of ssh were put back" in done.stdout, done.stdout + done.stderr
    assert machine.sh(f"cat {SSHD}") == before and reaches_ssh() and not armed("ssh")
