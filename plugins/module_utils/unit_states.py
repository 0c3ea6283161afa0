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


class State(NamedTuple):
    """What a unit is like; one that does not exist is neither."""

    exists: bool
    masked: bool
    enabled: bool
    active: bool

    def __str__(self) -> str:
        if not self.exists:
            return "absent"
        boot = "masked" if self.masked else "enabled" if self.enabled else "disabled"
        return f"{boot}, {'active' if self.active else 'inactive'}"


ABSENT = State(False, False, False, False)


def state_of(shown: str, said: str, status: int) -> State:
    """A unit's state, of what `systemctl show` and `systemctl is-enabled` print."""
    shows = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    load, active = shows.get("LoadState", "not-found"), shows.get("ActiveState", "") in RUNNING
    if load == "not-found" and not active:
        return ABSENT
    enabled = status == 0 and said.strip() not in NOT_QUITE
    return State(True, load == "masked", enabled, active)


def misnamed(names: list[str]) -> str:
    """The names that are none of units with their suffix, in a sentence; empty where all are."""
    wrong = [name for name in names if not NAME.match(name)]
    return f"these are no names of units with their suffix: {', '.join(wrong)}" if wrong else ""


def state(run_command: Callable[..., Any], name: str) -> State:
    """What systemd says of one unit."""
    _status, shown, _err = run_command(["systemctl", "show", "--property=LoadState,ActiveState", "--", name])
    status, said, _err = run_command(["systemctl", "is-enabled", "--", name])
    return state_of(shown, said, status)
