"""What roles would refuse of a host's variables."""

from __future__ import annotations

import pytest
from ansible_collections.widgets.mail.plugins.lookup.role_errors import refused, role_specs, slips

SPECS = {
    "dns_port": {"type": "int", "default": 53},
    "dns_kind": {"type": "str", "choices": ["inner", "outer"]},
    "dns_zones": {"type": "list", "elements": "dict", "options": {"name": {"type": "str", "required": True}}},
    "dns_owner": {"type": "str", "required": True},
}
GOOD = {"dns_owner": "me", "dns_zones": [{"name": "a.example"}], "dns_kind": "inner"}


def test_sound_values_are_not_refused() -> None:
    assert refused(SPECS, GOOD) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dns_port": "many"}, ["dns_port", "many", "int"]),
        ({"dns_kind": "upper"}, ["dns_kind", "inner, outer", "upper"]),
        ({"dns_zones": [{"nome": "x"}]}, ["dns_zones", "nome"]),
        ({"dns_zones": [{}]}, ["dns_zones", "name"]),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(wrong: dict[str, object], words: list[str]) -> None:
    said = " ".join(refused(SPECS, {**GOOD, **wrong}))
    assert [word for word in words if word not in said] == []


def test_what_is_required_is_asked_for() -> None:
    assert "dns_owner" in " ".join(refused(SPECS, {}))


def test_a_name_that_is_nearly_a_variables_is_taken_for_a_slip_and_others_are_left_alone() -> None:
    assert slips(["dns_zone", "dns_something_else", "other_zones", "dns_zones"], ["dns"], SPECS) == [
        "dns_zone is no variable of a role: is dns_zones meant?"
    ]


def test_every_role_of_the_collection_has_a_spec_that_can_be_read() -> None:
    assert {"base_packages", "sendmail_profile"} <= set(role_specs(["base", "sendmail"]))
    with pytest.raises(ValueError, match="no role nosuch"):
        role_specs(["nosuch"])
