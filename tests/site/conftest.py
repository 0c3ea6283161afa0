"""What all suites share: the lab's hosts as fixtures, and a plain word where there is no lab."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import lab

# What takes many minutes and runs where it is asked for.
LAST = ("lasting", "drill")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known."""
    config.addinivalue_line("markers", "lasting: restarts the lab and runs site.yml again and again; `-m lasting` selects it")
    config.addinivalue_line("markers", "drill: breaks something while mail flows; `-m drill` selects it")
    config.addinivalue_line("markers", "short: those of the drill that take five minutes together; `-m short` selects them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What lasts takes many minutes: those tests run where they are asked for, and after all others."""
    last = [item for item in items if any(item.get_closest_marker(mark) for mark in LAST)]
    items[:] = [item for item in items if item not in last]
    if any(mark in config.getoption("markexpr") for mark in (*LAST, "short")):
        items += last
    elif last:
        config.hook.pytest_deselected(items=last)


@pytest.fixture(scope="session", autouse=True)
def running_lab() -> None:
    """Nothing without a lab. Who waits for its hosts to be made and tests to begin is told so (lab/lab.py)."""
    lab.required("make site")
    if begun := os.environ.get("LAB_TESTS_BEGUN"):
        Path(begun).touch()


@pytest.fixture(scope="session", params=lab.group("site"))
def each(request: pytest.FixtureRequest) -> lab.Machine:
    """Every host of the site, one after the other."""
    return lab.Machine(request.param)


@pytest.fixture(scope="session")
def gateway() -> lab.Machine:
    """The SMTP gateway in the DMZ."""
    return lab.Machine(lab.GATEWAY)


@pytest.fixture(scope="session")
def store() -> lab.Machine:
    """The POP and SMTP server inside."""
    return lab.Machine(lab.STORE)


@pytest.fixture(scope="session")
def nameserver() -> lab.Machine:
    """The DNS server in the DMZ, the gateway's neighbour."""
    return lab.Machine(lab.NAMESERVER)


@pytest.fixture(scope="session")
def collector() -> lab.Machine:
    """The management host, where logs and reports arrive."""
    return lab.Machine(lab.COLLECTOR)


@pytest.fixture(scope="session")
def firewall() -> lab.Machine:
    """The firewall."""
    return lab.Machine(lab.FIREWALL)


@pytest.fixture(scope="session")
def router() -> lab.Machine:
    """The border router."""
    return lab.Machine(lab.ROUTER)


@pytest.fixture(scope="session")
def stranger() -> lab.Machine:
    """Somebody on the Internet."""
    return lab.Machine(lab.STRANGER)


@pytest.fixture(scope="session")
def desk() -> lab.Machine:
    """Somebody's desk inside."""
    return lab.Machine(lab.DESK)


@pytest.fixture
def concentrator() -> lab.Machine:
    """The host that tunnels end at."""
    return lab.Machine(lab.CONCENTRATOR)


@pytest.fixture(params=lab.TRAVELLERS)
def traveller(request: pytest.FixtureRequest) -> lab.Machine:
    """Each of those who come through a tunnel."""
    return lab.Machine(request.param)


@pytest.fixture
def without_tunnel(traveller: lab.Machine) -> Iterator[lab.Machine]:
    """A traveller whose tunnel is down, for one test."""
    traveller.run("systemctl", "stop", lab.TUNNEL)
    yield traveller
    traveller.run("systemctl", "start", lab.TUNNEL)
