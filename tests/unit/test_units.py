"""Module units: what a unit is like, and what it needs, where it exists and where check mode has only foretold it."""

from __future__ import annotations

import pytest
from ansible_collections.widgets.mail.plugins.module_utils.unit_states import (
    ABSENT,
    State,
    machine_conditions,
    misnamed,
    state,
    state_of,
)
from ansible_collections.widgets.mail.plugins.modules.units import steps

GOOD = State(True, False, True, True)


@pytest.mark.parametrize(
    ("shown", "said", "status", "state"),
    [
        ("LoadState=loaded\nActiveState=active\n", "enabled\n", 0, GOOD),
        ("LoadState=loaded\nActiveState=activating\n", "static\n", 0, GOOD),
        ("LoadState=loaded\nActiveState=inactive\n", "disabled\n", 1, State(True, False, False, False)),
        ("LoadState=loaded\nActiveState=failed\n", "enabled-runtime\n", 0, State(True, False, False, False)),
        ("LoadState=loaded\nActiveState=active\n", "alias\n", 0, State(True, False, False, True)),
        ("LoadState=masked\nActiveState=inactive\n", "masked\n", 1, State(True, True, False, False)),
        ("LoadState=not-found\nActiveState=inactive\n", "", 1, ABSENT),
        # A unit whose file is gone and whose program still runs.
        ("LoadState=not-found\nActiveState=active\n", "", 1, State(True, False, False, True)),
    ],
)
def test_what_systemctl_prints_is_understood(shown: str, said: str, status: int, state: State) -> None:
    assert state_of(shown, said, status) == state


@pytest.mark.parametrize(
    ("state", "wanted", "verbs"),
    [
        (GOOD, "started", []),
        (GOOD._replace(enabled=False), "started", ["enable"]),
        (GOOD._replace(active=False), "started", ["start"]),
        (GOOD._replace(active=False, elsewhere=True), "started", []),
        (State(True, False, False, False, elsewhere=True), "started", ["enable"]),
        (State(True, True, False, False), "started", ["unmask", "enable", "start"]),
        (ABSENT, "started", ["enable", "start"]),
        (GOOD, "restarted", ["restart"]),
        (GOOD, "reloaded", ["reload"]),
        (GOOD._replace(active=False), "reloaded", ["start"]),
        (ABSENT, "restarted", ["start"]),
        (GOOD, "stopped", ["stop"]),
        (GOOD._replace(active=False), "stopped", []),
        (ABSENT, "stopped", []),
    ],
)
def test_a_unit_gets_what_it_lacks(state: State, wanted: str, verbs: list[str]) -> None:
    assert steps(state, wanted)[0] == verbs


@pytest.mark.parametrize("wanted", ["started", "restarted", "reloaded"])
def test_what_is_shown_of_a_unit_afterwards_does_not_depend_on_how_it_was(wanted: str) -> None:
    """Check mode knows a unit as it is, the run after it as others have left it meanwhile."""
    befores = [ABSENT, GOOD._replace(active=False), GOOD._replace(enabled=False, active=False)]
    assert len({steps(state, wanted)[1] for state in befores}) == 1


def test_a_name_without_a_suffix_is_refused() -> None:
    assert misnamed(["named.service", "a@b.timer"]) == ""
    assert misnamed(["named.service", "named", "a b.service"]).endswith(": named, a b.service")


CLOCK = """\
# /lib/systemd/system/systemd-timesyncd.service
[Unit]
ConditionCapability=CAP_SYS_TIME
ConditionVirtualization=!container
ConditionPathExists=/etc/there
[Service]
ExecStart=/bin/true
"""


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        (CLOCK, ["ConditionCapability=CAP_SYS_TIME", "ConditionVirtualization=!container"]),
        (f"{CLOCK}# a drop-in\n[Unit]\nConditionPathExists=\n", []),
        (f"{CLOCK}[Unit]\nConditionVirtualization=\nConditionVirtualization=vm\n", ["ConditionVirtualization=vm"]),
        ("", []),
    ],
)
def test_what_a_unit_asks_of_the_machine_is_read_from_its_files(files: str, asked: list[str]) -> None:
    assert machine_conditions(files) == asked


@pytest.mark.parametrize(
    ("shown", "holds", "elsewhere"),
    [
        ("ActiveState=inactive\nConditionResult=no\nConditionTimestampMonotonic=7", False, True),
        # What does not hold is something else, which a run may change.
        ("ActiveState=inactive\nConditionResult=no\nConditionTimestampMonotonic=7", True, False),
        # It was never to be started, so it is tried: as after its package came, and as check mode has foretold.
        ("ActiveState=inactive\nConditionResult=no\nConditionTimestampMonotonic=0", False, False),
        ("ActiveState=failed\nConditionResult=yes\nConditionTimestampMonotonic=7", False, False),
        ("ActiveState=active\nConditionResult=no\nConditionTimestampMonotonic=7", False, False),
    ],
)
def test_only_a_unit_that_this_machine_is_not_meant_for_is_passed_over(shown: str, holds: bool, elsewhere: bool) -> None:
    def run(command: list[str]) -> tuple[int, str, str]:
        if command[:2] == ["systemctl", "show"]:
            return 0, f"LoadState=loaded\n{shown}\n", ""
        if command[0] == "systemd-analyze":
            return 0 if holds else 1, "", ""
        return 0, CLOCK if command[1] == "cat" else "enabled\n", ""

    assert state(run, "systemd-timesyncd.service").elsewhere is elsewhere
