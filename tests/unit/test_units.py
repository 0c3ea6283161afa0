"""Module units: what a unit is like, and what it needs, where it exists and where check mode has only foretold it."""

from __future__ import annotations

import pytest
from ansible_collections.widgets.mail.plugins.module_utils.unit_states import ABSENT, State, misnamed, state_of
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
