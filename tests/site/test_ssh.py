"""Who gets a shell: the management host by its key, and nobody else in any way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import away, lab

PORT = lab.port("ssh")
MANAGED = [host for host in lab.group("site") if host != lab.COLLECTOR]
# Hosts that the policy names as clients of no SSH server, or of one only.
UNNAMED = [lab.STRANGER, lab.DESK, lab.ROUTER, lab.GATEWAY, lab.NAMESERVER, lab.STORE]


def ssh(machine: lab.Machine, target: str, *options: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    """Run `hostname` on a host by ssh, with no one there to answer a question."""
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *options, f"{user}@{lab.fqdn(target)}", "hostname"]
    return machine.run(*argv, check=False)


@pytest.mark.requirement("OPS-4", side="positive")
@pytest.mark.requirement("GW-6", side="positive")
@pytest.mark.parametrize("target", MANAGED)
def test_the_management_host_logs_in_by_key_and_knows_whom_it_talks_to(target: str, collector: lab.Machine) -> None:
    done = ssh(collector, target)
    assert (done.returncode, done.stdout.strip()) == (0, target), done.stderr


@pytest.mark.requirement("OPS-4", side="negative")
@pytest.mark.parametrize("target", MANAGED)
def test_no_way_in_but_a_key_is_offered(target: str, collector: lab.Machine) -> None:
    done = ssh(collector, target, "-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password")
    assert done.returncode != 0
    assert "Permission denied (publickey)." in done.stderr


@pytest.fixture(scope="module")
def other_key(collector: lab.Machine) -> Iterator[str]:
    """A key on the management host that nobody trusts."""
    directory = collector.sh("mktemp -d").strip()
    collector.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/key")
    yield f"{directory}/key"
    collector.run("rm", "-r", directory)


@pytest.mark.requirement("OPS-4", side="negative")
@pytest.mark.parametrize("target", MANAGED)
def test_a_key_that_is_not_listed_opens_nothing(target: str, other_key: str, collector: lab.Machine) -> None:
    done = ssh(collector, target, "-o", "IdentitiesOnly=yes", "-o", f"IdentityFile={other_key}")
    assert done.returncode != 0
    assert "Permission denied (publickey)." in done.stderr


@pytest.mark.requirement("OPS-4", side="negative")
@pytest.mark.parametrize("user", ["nobody", "smmta", *lab.users()])
def test_the_right_key_opens_no_account_but_the_administrators(user: str, collector: lab.Machine) -> None:
    done = ssh(collector, lab.STORE, user=user)
    assert done.returncode != 0
    assert "Permission denied (publickey)." in done.stderr


@pytest.fixture
def user_with_a_key(store: lab.Machine) -> Iterator[str]:
    """A user of the store who has put the management host's key among the own ones, for one test."""
    user = lab.users()[0]
    home = store.sh(f"getent passwd {user} | cut -d: -f6").strip()
    store.run("test", "!", "-e", f"{home}/.ssh")
    store.sh(f"install -d -o {user} -m 0700 {home}/.ssh")
    store.sh(f"install -o {user} -m 0600 /root/.ssh/authorized_keys {home}/.ssh/")
    yield user
    store.run("rm", "-r", f"{home}/.ssh")


@pytest.mark.requirement("OPS-4", side="negative")
@pytest.mark.requirement("MS-3", side="negative")
def test_a_user_lets_nobody_in_by_a_key_of_the_own(user_with_a_key: str, collector: lab.Machine) -> None:
    done = ssh(collector, lab.STORE, user=user_with_a_key)
    assert done.returncode != 0
    # Not the login shell's refusal, but the server's.
    assert "Permission denied (publickey)." in done.stderr


def said_to(start: str) -> dict[str, str]:
    """What the SSH servers that the policy does not open to a host say to it."""
    strangers_to = [
        target
        for target in lab.group("site")
        if target != start and lab.seen(start, target) not in policy.policy_sources(lab.site(), target, "ssh")
    ]
    targets = [[lab.reach(target, start), PORT] for target in strangers_to]
    words = lab.Machine(start).call(away.first_words, targets=targets, timeout=3)
    return dict(zip(strangers_to, words, strict=True))


@pytest.fixture(scope="module")
def said_to_unnamed() -> dict[str, dict[str, str]]:
    """The same for all of them, at once: silence takes its time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(UNNAMED, pool.map(said_to, UNNAMED), strict=True))


@pytest.mark.requirement("OPS-4", side="negative")
@pytest.mark.requirement("OPS-3", side="negative")
@pytest.mark.parametrize("start", UNNAMED)
def test_from_a_host_that_the_policy_does_not_name_no_ssh_server_says_a_word(
    start: str, said_to_unnamed: dict[str, dict[str, str]]
) -> None:
    """Neighbours have no firewall between them: there TCP wrappers hang up before the server speaks."""
    assert said_to_unnamed[start]
    assert {target: said for target, said in said_to_unnamed[start].items() if said} == {}


@pytest.mark.requirement("NET-3", side="positive")
@pytest.mark.parametrize("start", [lab.GATEWAY, lab.NAMESERVER])
def test_from_the_dmz_the_management_hosts_ssh_server_is_reached(start: str) -> None:
    (words,) = lab.Machine(start).call(away.first_words, targets=[[lab.address(lab.COLLECTOR), PORT]], timeout=8)
    assert words.startswith("SSH-2.0-")
