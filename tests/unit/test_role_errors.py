"""What roles would refuse of a host's variables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.widgets.mail.plugins.lookup.role_errors import given, plain, refused, role_specs, slips
from ansible_collections.widgets.mail.plugins.plugin_utils import role_checks

from tests.unit.inventory import ROOT

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


def test_what_a_role_leaves_behind_is_no_slip() -> None:
    assert slips(["base_host"], ["base"], role_specs(["base"])) == []


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("Port, 1 to 65535.", (1, 65535)),
        ("Octets, at least 1; 0 to 5 is not meant.", (0, 5)),
        ("Octets, at least 1.", (1, None)),
        ("As many as you like.", None),
        (["Two sentences.", "Seconds, 0 to 9."], (0, 9)),
    ],
)
def test_a_range_is_read_from_the_description(text: object, limits: object) -> None:
    assert role_checks.bounds({"description": text}) == limits


def test_numbers_are_held_against_their_range_in_lists_and_rows_too() -> None:
    port = {"type": "int", "description": "Port, 1 to 65535."}
    specs = {
        "x_ports": {"type": "list", "elements": "int", "description": "Ports, 1 to 65535."},
        "x_rows": {"type": "list", "elements": "dict", "options": {"port": port}},
    }
    assert role_checks.value_errors(specs, {"x_ports": [1, 65535], "x_rows": [{"port": 25}, {}]}) == []
    assert role_checks.value_errors(specs, {"x_ports": [22, 0], "x_rows": [{"port": 65536}]}) == [
        "x_ports[1] is 0: allowed is 1 to 65535.",
        "x_rows[0].port is 65536: allowed is 1 to 65535.",
    ]


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        *[
            (text, True)
            for text in (
                "daily",
                "Weekly UTC",
                "Mon",
                "Mon..Fri 04:00",
                "sat,SUN 2026-*-01 3:15:30.5 Europe/Berlin",
                "*-*-* 04:00:00",
            )
        ],
        *[(text, True) for text in ("*-*~1", "12-25", "*:0/15", "00/2:30", "*-*-1..7,15 4,16:30", "99-1-1")],
        *[
            (text, False)
            for text in ("every day", "", "4", "04", "24:00", "12:60", "*-13-1", "*-*-32", "Fri..Mon", "9..5:00", "Tues")
        ],
        *[(text, False) for text in ("*/2:00", "*-*-* 04:00:00 ", "04:00 tomorrow", "daily 04:00", "04:00\n", "Mon 04:00 Tue")],
    ],
)
def test_times_of_the_calendar_are_told_from_words(text: str, sound: bool) -> None:
    """As `systemd-analyze calendar` tells them."""
    assert role_checks.CALENDAR[0](text) is sound


def test_a_secret_is_never_shown() -> None:
    specs = {"x_word": {"type": "str", "no_log": True, "description": "A secret."}}
    assert role_checks.value_errors(specs, {"x_word": "se\ncret"}) == [
        "x_word is a secret: it must be one line without control characters."
    ]


def test_what_nobody_has_set_is_left_out_however_deep() -> None:
    assert given({"a": None, "b": [{"c": None, "d": 0}], "e": {"f": None}}) == {"b": [{"d": 0}], "e": {}}


def test_messages_name_no_class_of_ansibles_and_list_no_boolean() -> None:
    assert plain("argument 'x' is wrong: <class 'some.where._Tagged'> cannot be converted to a list") == (
        "argument 'x' is wrong: it cannot be converted to a list."
    )
    assert plain("unable to convert to bool: The value 'x' is not a valid boolean.  Valid booleans include: 0, 1") == (
        "unable to convert to bool: it must be true or false."
    )
    assert plain("x.y. Supported parameters include: a, b.") == "x.y is an unknown key: allowed are a, b."


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_a_role_looks_at_its_variables_before_anything_else(role: str) -> None:
    tasks = yaml.safe_load((ROOT / "roles" / role / "tasks/main.yml").read_text(encoding="utf-8"))
    assert "widgets.mail.role_check" in tasks[0] and "when" not in tasks[0] and tasks[0]["tags"] == [role]


def test_a_role_by_itself_refuses_what_types_cannot_say_without_a_look_at_the_host() -> None:
    argv = [str(Path(sys.executable).with_name("ansible")), "-i", "untouched,", "-c", "community.docker.docker", "untouched"]
    role = ["-m", "ansible.builtin.include_role", "-a", "name=widgets.mail.smmsp", "-e", "smmsp_gid=25"]
    done = subprocess.run([*argv, *role], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "smmsp_gid is 25, which is the group floppy on every Debian host" in done.stdout, done.stdout + done.stderr


def test_the_whole_site_is_checked_once() -> None:
    """The first playbook holds all roles' variables against their specs; those after it tell their roles that it has."""
    first, *others = yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    assert first["ansible.builtin.import_playbook"] == "validate.yml" and "vars" not in first
    assert len(others) >= 6
    assert [play for play in others if play["vars"] != {"role_check_done": True}] == []
