"""What roles say of a release, for whoever wires them together."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.widgets.mail.plugins.lookup.role_release import role_release


def test_the_wiring_asks_the_role_which_sendmail_looks_at_tlsa_records() -> None:
    assert (role_release("sendmail", "12")["dane"], role_release("sendmail", "13")["dane"]) == (False, True)


def test_a_release_of_which_a_role_says_nothing_has_no_facts() -> None:
    assert role_release("sendmail", "") == {}


def test_a_role_that_knows_no_releases_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no __moon_release in"):
        role_release("moon", "12", tmp_path)
