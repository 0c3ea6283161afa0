"""A run that would shut the operator out is taken back by the host itself; one that does not is confirmed and stays.

Ansible comes in over SSH here, as it would to a real site: from the management host's address, through the firewall's rules. The
program runs on this machine, and a relay in the management host's container stands for sitting there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.site import lab

# One host's rules and another's SSH server: no filter stands between that one and the management host, so both are tried at once.
FILTER, SERVER = lab.FIREWALL, lab.STORE
KEYS = "/root/.ssh/authorized_keys"
RULES = "/etc/nftables.conf"
SSHD = "/etc/ssh/sshd_config"
# Long enough for a change that is sound on a busy machine, short enough to wait for one that is not.
SECONDS = 20


@pytest.fixture(scope="module")
def over_ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """For each host, variables with which Ansible logs in by a key of its own; the key is let in for these tests only."""
    home = tmp_path_factory.mktemp("ssh")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "key"], check=True)
    key = (home / "key.pub").read_text()
    relay = lab.relay(lab.Machine(lab.COLLECTOR))
    machines = [lab.Machine(name) for name in (FILTER, SERVER)]
    known = [f"{lab.address(machine.name)} {machine.sh('cat /etc/ssh/ssh_host_ed25519_key.pub')}" for machine in machines]
    (home / "known_hosts").write_text("".join(known))
    for machine in machines:
        machine.sh(f"cp -a {KEYS} /run/keys.before")
        machine.run("tee", "-a", KEYS, text=key)
    yield {
        machine.name: {
            "ansible_connection": "ssh",
            "ansible_host": lab.address(machine.name),
            "ansible_ssh_private_key_file": str(home / "key"),
            "ansible_ssh_common_args": f'-o UserKnownHostsFile={home}/known_hosts -o ConnectTimeout=5 -o ProxyCommand="{relay}"',
            "site_ssh_authorized_keys": [key.strip()],
            "firewall_rollback_seconds": SECONDS,
            "ssh_rollback_seconds": SECONDS,
        }
        for machine in machines
    }
    for machine in machines:
        # In place and with the old times: nothing has changed for whoever looks later.
        machine.sh(f"cat /run/keys.before > {KEYS}; touch -r /run/keys.before {KEYS}; rm /run/keys.before")


def play(book: str, host: str, variables: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on one host."""
    argv = ["ansible-playbook", "-i", str(lab.INVENTORY), f"playbooks/{book}.yml", "--limit", host, *more]
    return lab.ansible(*argv, "-e", json.dumps(variables), check=False)


def armed(name: str, host: str) -> bool:
    """Whether a host would still go back."""
    unit = f"ansible-rollback-{name}.timer"
    return lab.Machine(host).run("systemctl", "is-active", unit, check=False).stdout.strip() == "active"


def reaches_ssh(host: str) -> bool:
    """Whether the management host gets a shell, by its own key."""
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", f"root@{lab.fqdn(host)}", "true"]
    return lab.Machine(lab.COLLECTOR).run(*argv, check=False).returncode == 0


@pytest.mark.requirement("OPS-4", side="positive")
def test_a_sound_change_of_rules_over_ssh_is_confirmed_and_stays(over_ssh: dict[str, dict[str, Any]]) -> None:
    machine, way = lab.Machine(FILTER), over_ssh[FILTER]
    before = machine.sh(f"cat {RULES}")
    done = play("firewalls", FILTER, {**way, "firewall_log_rate": 51})
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.sh(f"cat {RULES}") != before and not armed("firewall", FILTER) and reaches_ssh(FILTER)
    assert "51/second" in machine.sh("nft list table inet firewall")
    # Back, by an ordinary run.
    done = play("firewalls", FILTER, way)
    assert done.returncode == 0 and machine.sh(f"cat {RULES}") == before, done.stdout + done.stderr


@dataclass(frozen=True)
class Half:
    """What a run that was broken off has replaced, on what host, and how the role that goes on is played."""

    host: str
    path: str
    name: str
    unit: str
    play: tuple[str, ...]
    former: str  # makes the former file of the one that is wanted
    shows: Callable[[], str]  # which of the two the program goes by that reads it


def greeting() -> str:
    """What the server says to whoever connects."""
    return lab.Machine(lab.COLLECTOR).sh(f"ssh-keyscan -t ed25519 {lab.address(SERVER)} 2>&1 | grep '^#'")


def limits() -> str:
    """How much the rules in force log of what they deny."""
    return lab.Machine(FILTER).sh("nft -s list table inet firewall | grep /second")


HALVES = [
    Half(SERVER, SSHD, "ssh", "ssh", ("base", "--tags", "ssh"), "1i VersionAddendum former", greeting),
    Half(FILTER, RULES, "firewall", "nftables", ("firewalls",), "s|[0-9]*/second|51/second|", limits),
]


@pytest.mark.requirement("OPS-4", side="positive")
@pytest.mark.parametrize("half", [pytest.param(half, id=half.name) for half in HALVES])
def test_a_run_after_one_that_was_broken_off_loads_and_confirms_what_that_one_has_replaced(half: Half) -> None:
    """It finds every file as it should be, a program that has not read it, and a timer that would put the former one back under it."""
    machine = lab.Machine(half.host)
    wanted, mode, works = machine.sh(f"cat {half.path}"), machine.sh(f"stat -c %a {half.path}").strip(), half.shows()
    machine.sh(f"sed -i '{half.former}' {half.path}; systemctl reload {half.unit}")
    assert machine.sh(f"cat {half.path}") != wanted and half.shows() != works
    files = {
        "files": [{"path": half.path, "content": wanted, "mode": f"0{mode}"}],
        "rollback": {"name": half.name, "seconds": 90, "commands": [["systemctl", "reload", half.unit]]},
    }
    lab.ansible("ansible", "-i", str(lab.INVENTORY), half.host, "-m", "widgets.mail.text_files", "-a", json.dumps(files))
    assert armed(half.name, half.host)
    book, *tags = half.play
    foretold = play(book, half.host, {}, *tags, "--check")
    assert "changed=0" not in foretold.stdout and armed(half.name, half.host), foretold.stdout + foretold.stderr
    done = play(book, half.host, {}, *tags)
    assert done.returncode == 0 and not armed(half.name, half.host), done.stdout + done.stderr
    assert machine.sh(f"cat {half.path}") == wanted and half.shows() == works


@dataclass(frozen=True)
class Harmful:
    """A run that shut the operator out: what it said, and the state of its host before."""

    done: subprocess.CompletedProcess[str]
    before: str


STATE = {FILTER: f"cat {RULES}; nft -s list chains inet", SERVER: f"cat {SSHD}; ss -Hlnt"}


def state(host: str) -> str:
    """What such a run changes."""
    return lab.Machine(host).sh(STATE[host])


@pytest.fixture(scope="module")
def shut_out(over_ssh: dict[str, dict[str, Any]]) -> dict[str, Harmful]:
    """Rules without SSH on one host, and on the other a server at a port that the operator does not use: both at once."""
    shut = [flow for flow in lab.site()["flows"] if "ssh" not in flow["services"]]
    before = {host: state(host) for host in (FILTER, SERVER)}
    with ThreadPoolExecutor() as pool:
        rules = pool.submit(play, "firewalls", FILTER, {**over_ssh[FILTER], "site_flows": shut})
        server = pool.submit(play, "base", SERVER, {**over_ssh[SERVER], "ssh_ports": [2222]}, "--tags", "ssh")
    return {FILTER: Harmful(rules.result(), before[FILTER]), SERVER: Harmful(server.result(), before[SERVER])}


@pytest.mark.requirement("OPS-4", side="positive")
@pytest.mark.parametrize(("name", "host"), [("firewall", FILTER), ("ssh", SERVER)])
def test_a_change_that_shuts_the_operator_out_is_put_back_by_the_host(
    name: str, host: str, shut_out: dict[str, Harmful]
) -> None:
    run = shut_out[host]
    said = run.done.stdout + run.done.stderr
    assert run.done.returncode != 0 and f"The new files of {name} were put back" in run.done.stdout, said
    assert state(host) == run.before
    assert reaches_ssh(host) and not armed(name, host)
