"""What lasts: a reboot of every host, the mail packages installed anew, sendmailconfig run by hand. Then a converge.

After each of these, permissions, services, firewall and mail flow have to hold before anybody repairs anything; a converge
afterwards changes the tasks that are named here and no others, and leaves the hosts as they were.

These tests restart the whole lab and run site.yml four times, about ten minutes on two cores: not part of `make test`.

    pytest tests/site -m lasting
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.site import lab, mailflow, recap, test_sendmail
from tests.site.test_hosts import listeners
from tests.site.test_matrix import report, try_all

pytestmark = pytest.mark.lasting

SITE = lab.group("site")
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

# -- what has to be the same -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """A host as it can be compared: each part a set of lines."""

    files: frozenset[str]
    services: frozenset[str]
    listeners: frozenset[str]
    rules: frozenset[str]
    links: frozenset[str]

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
# Rewritten by programs at their own time; and the copies that sendmail's package makes of the configuration which it finds,
# which nothing reads.
RESTLESS = re.compile(r"/etc/(mtab|ld\.so\.cache|\.pwd\.lock|resolv\.conf\.\S*|mail/(sendmail|submit)\.cf\.old)\b")


def rules(machine: lab.Machine) -> frozenset[str]:
    """The firewall's rules without what they have counted and whom they have seen."""
    text = machine.run("nft", "-s", "list", "table", "inet", "firewall", check=False).stdout
    text = re.sub(r"(?s)(set logged \{.*?)elements = \{.*?\}\n", r"\1", text)
    return frozenset(line.strip() for line in text.splitlines())


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
    units = machine.sh(
        "systemctl list-units --plain --no-legend --state=running,waiting,listening,failed | awk '{print $1,$4}'"
    )
    enabled = machine.sh("systemctl list-unit-files --plain --no-legend --state=enabled,masked | awk '{print $1,$2}'")
    # Shells and scopes of the container engine come and go.
    kept = [line for line in (units + enabled).splitlines() if not re.search(r"\.scope|^user@|\.mount|\.device", line)]
    return State(
        files=frozenset(line for line in machine.sh(FILES).splitlines() if not RESTLESS.search(line)),
        services=frozenset(kept),
        listeners=frozenset(str(entry) for entry in listeners(machine)),
        rules=rules(machine) if name == lab.FIREWALL else frozenset(),
        links=links(machine),
    )


def states() -> dict[str, State]:
    """All hosts of the site as they are."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SITE, pool.map(state, SITE), strict=True))


def differences(one: dict[str, State], other: dict[str, State], *parts: str) -> dict[str, dict[str, list[str]]]:
    """What differs, by host and part."""
    found = {name: one[name].against(other[name], *parts) for name in one}
    return {name: parts for name, parts in found.items() if parts}


def converge() -> set[tuple[str, str]]:
    """Run site.yml, and say what it changed."""
    return recap.changed(lab.ansible("ansible-playbook", "-i", str(lab.INVENTORY), "site.yml").stdout)


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
    assert differences(before, states(), "rules", "links") == {}


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
