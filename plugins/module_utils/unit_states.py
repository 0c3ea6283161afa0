# SPDX-License-Identifier: MIT
"""What systemd says of units: whether they exist, start at boot and run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

NAME = re.compile(r"^[A-Za-z0-9:_.@\\-]+\.(service|socket|timer|path|mount|automount|target)$")
RUNNING = {"active", "activating", "reloading"}
# Of what `systemctl is-enabled` approves: enabled until the next boot only, or by another name.
NOT_QUITE = {"enabled-runtime", "indirect", "alias"}
# Conditions about what the machine is, which no run of Ansible's changes (systemd.unit(5)).
OF_THE_MACHINE = {
    "ConditionArchitecture",
    "ConditionCapability",
    "ConditionFirmware",
    "ConditionSecurity",
    "ConditionVirtualization",
}


class State(NamedTuple):
    """What a unit is like; one that does not exist is neither. One that is not for this machine is started for nothing."""

    exists: bool
    masked: bool
    enabled: bool
    active: bool
    elsewhere: bool = False

    def __str__(self) -> str:
        if not self.exists:
            return "absent"
        boot = "masked" if self.masked else "enabled" if self.enabled else "disabled"
        return f"{boot}, {'active' if self.active else 'not for this machine' if self.elsewhere else 'inactive'}"


ABSENT = State(False, False, False, False)


def state_of(shown: str, said: str, status: int) -> State:
    """A unit's state, of what `systemctl show` and `systemctl is-enabled` print."""
    shows = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    load, active = shows.get("LoadState", "not-found"), shows.get("ActiveState", "") in RUNNING
    if load == "not-found" and not active:
        return ABSENT
    enabled = status == 0 and said.strip() not in NOT_QUITE
    return State(True, load == "masked", enabled, active)


def was_passed_over(shown: str) -> bool:
    """Whether systemd was to start a unit, and did not, since one of its conditions did not hold."""
    shows = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    tried = shows.get("ConditionTimestampMonotonic", "0") != "0"
    return tried and shows.get("ConditionResult") == "no" and shows.get("ActiveState") not in RUNNING


def machine_conditions(files: str) -> list[str]:
    """What a unit's files, as `systemctl cat` prints them, ask of the machine; an empty setting takes back all before it."""
    kept: list[str] = []
    for line in files.splitlines():
        key, equals, value = line.partition("=")
        if not (equals and key.startswith("Condition")):
            continue
        if not value.strip():
            kept = []
        elif key in OF_THE_MACHINE:
            kept.append(line.strip())
    return kept


def misnamed(names: list[str]) -> str:
    """The names that are none of units with their suffix, in a sentence; empty where all are."""
    wrong = [name for name in names if not NAME.match(name)]
    return f"these are no names of units with their suffix: {', '.join(wrong)}" if wrong else ""


def state(run_command: Callable[..., Any], name: str) -> State:
    """What systemd says of one unit."""
    asked = "--property=LoadState,ActiveState,ConditionResult,ConditionTimestampMonotonic"
    _status, shown, _err = run_command(["systemctl", "show", asked, "--", name])
    status, said, _err = run_command(["systemctl", "is-enabled", "--", name])
    found = state_of(shown, said, status)
    return found._replace(elsewhere=found.exists and was_passed_over(shown) and _is_for_others(run_command, name))


def _is_for_others(run_command: Callable[..., Any], name: str) -> bool:
    """Whether this machine is none that a unit is for: in a container, say, there is no clock to be set."""
    _status, files, _err = run_command(["systemctl", "cat", "--", name])
    asked = machine_conditions(files)
    return bool(asked) and bool(run_command(["systemd-analyze", "condition", *asked])[0] != 0)
