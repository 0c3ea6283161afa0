"""What lasts: a reboot of every host, the mail packages installed anew, sendmailconfig run by hand. Then a converge.

After each of these, permissions, services, firewall and mail flow have to hold before anybody repairs anything; a converge
afterwards changes the tasks that are named here and no others, and leaves the hosts as they were.

These tests restart the whole lab and run site.yml four times, about ten minutes on two cores: not part of `make test`.

    pytest tests/site -m lasting
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.site import lab, mailflow, recap, test_sendmail
from tests.site.state import State, differences, states
from tests.site.test_matrix import report, try_all

pytestmark = pytest.mark.lasting

MAIL = sorted({*lab.group("gateways"), *lab.group("stores"), *lab.group("mail_clients")})
SERVERS = sorted({*lab.group("gateways"), *lab.group("stores")})
READER = lab.users()[0]

# -- what is done ----------------------------------------------------------------------------------------------------


def on_all(names: list[str], act: Callable[[lab.Machine], object]) -> None:
    """Do something on hosts at the same time."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: act(lab.Machine(name)), names))


def settled(machine: lab.Machine) -> bool:
    """Whether systemd has started all that it is going to."""
    return machine.run("systemctl", "is-system-running", check=False).stdout.strip() in {"running", "degraded"}


def reboot() -> None:
    """Every host is shut down and started again, the props too."""
    everybody = lab.group("all")
    subprocess.run(
        ["docker", "restart", "--time", "30", *(lab.Machine(name).container for name in everybody)],
        check=True,
        capture_output=True,
    )
    for name in everybody:
        machine = lab.Machine(name)
        lab.until(lambda machine=machine: settled(machine), f"{name} is up", 60)  # type: ignore[misc]


def reinstall() -> None:
    """All packages that are made of the sources of sendmail and dovecot, as they are, are installed over themselves."""

    def act(machine: lab.Machine) -> None:
        wanted = machine.sh("dpkg-query -W -f '${source:Package} ${binary:Package}\\n'").splitlines()
        packages = [line.split()[1] for line in wanted if line.split()[0] in {"sendmail", "dovecot"}]
        assert packages
        machine.sh(f"DEBIAN_FRONTEND=noninteractive apt-get -qq install --reinstall {' '.join(packages)} >&2", timeout=300)

    on_all(MAIL, act)


def configure() -> None:
    """sendmailconfig by hand on the servers, every question answered with yes."""
    on_all(SERVERS, lambda machine: machine.run("sendmailconfig", text="y\n" * 20, timeout=120))


EVENTS = {"reboot": reboot, "reinstall": reinstall, "sendmailconfig": configure}

# The tasks that a converge afterwards has to do, as (host, task). Anything else it does is a finding.
MENDED: dict[str, set[tuple[str, str]]] = {"reboot": set(), "reinstall": set(), "sendmailconfig": set()}


def converge() -> set[tuple[str, str]]:
    """Run site.yml, and say what it changed."""
    return recap.play("site.yml").changes


# -- the tests -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def before() -> dict[str, State]:
    """All hosts as site.yml leaves them."""
    converge()
    return states()


@pytest.fixture(scope="module", params=EVENTS)
def event(request: pytest.FixtureRequest, before: dict[str, State]) -> str:
    """One thing that happens, done once for all tests about it."""
    EVENTS[request.param]()
    return str(request.param)


@pytest.mark.requirement("SM-3", side="positive")
@pytest.mark.requirement("SM-2", side="positive")
@pytest.mark.parametrize("name", MAIL)
def test_the_permission_table_holds(event: str, name: str) -> None:
    wanted = test_sendmail.table(name)
    assert test_sendmail.found(lab.Machine(name), list(wanted)) == wanted


@pytest.mark.requirement("SM-4", side="positive")
@pytest.mark.requirement("OPS-5", side="negative")
def test_the_same_services_run_and_listen_and_none_has_failed_or_come_back(event: str, before: dict[str, State]) -> None:
    """Programs that come and go, such as one that a timer has started, are given time to go."""
    deadline = time.monotonic() + 30
    while differences(before, states(), "services", "listeners") and time.monotonic() < deadline:
        pass
    assert differences(before, states(), "services", "listeners") == {}


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.requirement("NET-5", side="positive")
def test_rules_addresses_and_routes_are_the_same(event: str, before: dict[str, State]) -> None:
    assert differences(before, states(), "rules", "links", "kernel") == {}


@pytest.mark.requirement("NET-1", side="positive")
@pytest.mark.requirement("NET-1", side="negative")
def test_everybody_reaches_what_the_policy_lists_and_nothing_else(event: str, collector: lab.Machine) -> None:
    report(try_all(collector).wrong(lambda cell: True))


@pytest.mark.requirement("GW-1", side="positive")
@pytest.mark.requirement("GW-5", side="positive")
def test_mail_flows_both_ways(event: str) -> None:
    inward, outward = lab.token(), lab.token()
    mailflow.from_the_world([mailflow.ours(READER)], inward)
    mailflow.from_the_desk([mailflow.FOREIGNER], outward, mailflow.ours(READER))
    assert mailflow.fetched(READER, inward) is not None
    mailflow.arrived_abroad(outward)


@pytest.mark.requirement("SM-1", side="positive")
def test_a_converge_mends_what_changed_and_nothing_else(event: str, before: dict[str, State]) -> None:
    assert converge() == MENDED[event]
    assert differences(before, states(), "files", "services", "listeners", "rules", "links") == {}
