"""What all rotations of keys have in common: which steps are taken now, and what is said of the others."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.widgets.mail.plugins.module_utils import key_rotation

NOON = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
ROW = {"domain": "a.example", "state": "next", "since": None}


@pytest.mark.parametrize(
    ("step", "when", "told", "taken", "said"),
    [
        ("switch", NOON, False, ["a.example: switch"], []),
        ("switch", NOON + HOUR, False, [], ["a.example: switch not before 2026-11-24T13:00:00Z"]),
        ("switch", None, False, [], ["a.example: switch comes after the hosts know the step before"]),
        ("", None, False, [], ["a.example: there is nothing to do"]),
        # Who tells that the hosts know takes no step, due or not.
        ("switch", NOON - HOUR, True, [], ["a.example: switch not before 2026-11-24T12:00:00Z"]),
    ],
)
def test_a_step_is_taken_when_it_is_due_and_told_of_otherwise(
    step: str, when: datetime.datetime | None, told: bool, taken: list[str], said: list[str]
) -> None:
    rows, steps, waits = key_rotation.advanced(
        [ROW], ["a.example"], lambda rows, name: (step, when), lambda rows, name, step: [], NOON, told
    )
    assert (steps, waits) == (taken, said)
    assert rows == ([] if taken else [{**ROW, "since": "2026-11-24T12:00:00Z"}] if told else [ROW])


def test_a_step_changes_nobody_elses_rows_and_waits_for_the_hosts() -> None:
    other = {**ROW, "domain": "b.example"}
    moved = key_rotation.moved(key_rotation.known([ROW, other], NOON), {"domain": "a.example"}, {"next": "signing"})
    assert moved == [{**ROW, "state": "signing"}, {**other, "since": "2026-11-24T12:00:00Z"}]
    assert key_rotation.after("switch", moved[1], moved, {"switch": 60}) == ("switch", None)
    assert key_rotation.after("switch", moved[1], moved[1:], {"switch": 60}) == ("switch", NOON + HOUR / 60)
