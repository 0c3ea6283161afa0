"""Each role's variables, stated in defaults, argument_specs and README, agree; docs/ shows the inventory as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.widgets.mail.plugins.plugin_utils import role_checks

from tests.unit.inventory import ROOT
from tools import architecture, filter_docs, role_tables

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


@pytest.mark.parametrize("role", ROLES)
def test_specs_and_defaults_say_the_same(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults/main.yml")
    options = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    required = {name for name, option in options.items() if option.get("required")}
    assert set(defaults) == set(options) - required
    assert {name: options[name].get("default") for name in defaults} == defaults


def test_what_the_wiring_takes_for_a_default_is_the_role_s() -> None:
    """It cannot read the defaults of a role that its play does not import."""
    stated: dict[str, Any] = {}
    for role in ROLES:
        stated |= load(ROOT / "roles" / role / "defaults/main.yml")
    wiring = (ROOT / "playbooks/group_vars/site.yml").read_text(encoding="utf-8")
    said = [(name, yaml.safe_load(value)) for name, value in re.findall(r"\b(\w+) \| default\(('[^']+'|\d+)\)", wiring)]
    assert "firewall_log_file" in dict(said)
    assert [(name, value) for name, value in said if name in stated and stated[name] != value] == []


def every_option(options: dict[str, Any], inside: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All options, those in others too, with their names."""
    for name, option in options.items():
        yield f"{inside}{name}", option
        yield from every_option(option.get("options", {}), f"{inside}{name}.")


@pytest.mark.parametrize("role", ROLES)
def test_a_spec_tells_meaning_range_and_requirement(role: str) -> None:
    options = role_tables.specs(role)["main"]["options"]
    known = {entry["id"] for entry in load(ROOT / "docs/requirements.yml")["requirements"]}
    for name, option in every_option(options):
        text = role_checks.description(option)
        assert text.endswith((".", ")")), f"{name}: no sentence describes it"
        if role_checks.is_number(option) and not option.get("choices"):
            assert role_checks.bounds(option), f"{name}: say from where to where, as in '0 to 65535' or 'at least 1'"
        ids = {found for tag in re.findall(r"\[([A-Z, 0-9-]+)\]", text) for found in tag.split(", ")}
        assert ids <= known, name
        if "." not in name:
            assert ids, f"{name}: which requirement does it serve?"


@pytest.mark.parametrize("role", ROLES)
def test_a_default_is_within_its_own_contract(role: str) -> None:
    options = role_tables.specs(role)["main"]["options"]
    values = {name: option["default"] for name, option in options.items() if option.get("default") is not None}
    plain = {name: value for name, value in values.items() if "{{" not in str(value)}
    found = [check(options, plain) for check in (role_checks.value_errors, role_checks.form_errors, role_checks.hidden_errors)]
    assert found == [[], [], []]


def test_every_form_is_of_a_variable_that_is_there() -> None:
    there = {name for role in ROLES for name, _ in every_option(role_tables.specs(role)["main"]["options"])}
    assert set(role_checks.FORMS) | role_checks.TEXTS | set(role_checks.HIDDEN) <= there
    assert set(role_checks.CHECKS) == set(ROLES)


# Where a unit is confined, as far as a path can be lost to it.
UNITS = {
    "acme-install.service": "acme/templates/acme-install.service.j2",
    "dovecot.service": "pop3/templates/sandbox.conf.j2",
    "lighttpd.service": "mta_sts/templates/lighttpd.service.j2",
    "rsyslog.service": "syslog/templates/rsyslog.service.j2",
    "sendmail-quota.service": "sendmail/templates/sendmail-quota.service.j2",
    "sendmail.service": "sendmail/templates/sendmail.service.j2",
    "tripwire-check.service": "tripwire/templates/tripwire-check.service.j2",
}


@pytest.mark.parametrize("unit", sorted({unit for unit, _ in role_checks.HIDDEN.values()}))
def test_what_a_path_must_not_be_below_is_what_the_unit_hides(unit: str) -> None:
    """systemd.exec(5): ProtectHome=yes, PrivateTmp=yes, InaccessiblePaths=. A single file that is hidden is no directory to be below."""
    path = ROOT / "roles" / UNITS[unit]
    text = path.read_text(encoding="utf-8")
    text += "".join(path.with_name(name).read_text(encoding="utf-8") for name in re.findall(r"{% include '([^']+)' %}", text))
    hidden = {name.lstrip("-") for line in re.findall(r"^InaccessiblePaths=(.*)$", text, re.MULTILINE) for name in line.split()}
    hidden |= {"/home", "/root", "/run/user"} if re.search(r"^ProtectHome=yes$", text, re.MULTILINE) else set()
    hidden |= {"/tmp", "/var/tmp"} if re.search(r"^PrivateTmp=yes$", text, re.MULTILINE) else set()
    assert {places for there, places in role_checks.HIDDEN.values() if there == unit} == {
        tuple(sorted(hidden - {"/etc/shadow"}))
    }


@pytest.mark.parametrize("role", ROLES)
def test_variables_and_tags_carry_the_roles_name(role: str) -> None:
    names = load(ROOT / "roles" / role / "defaults/main.yml")
    assert [name for name in names if not name.startswith(f"{role}_")] == []
    path = ROOT / "roles" / role / "vars/main.yml"
    internals = load(path) if path.is_file() else {}
    assert [name for name in internals if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_the_tag_of_a_role_runs_all_of_it(role: str) -> None:
    contents = yaml.safe_load((ROOT / "roles" / role / "tasks/main.yml").read_text(encoding="utf-8"))
    assert [part["name"] for part in contents if part.get("tags") != [role]] == []


@pytest.mark.parametrize("path", role_tables.pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_people_read_of_the_variables_is_made_from_the_specs(path: Path) -> None:
    made = role_tables.pages()[path]
    assert path.read_text(encoding="utf-8") == made, "run `make docs`"
    assert made.count(role_tables.BEGIN) == made.count(role_tables.END) == (path != role_tables.REFERENCE)


@pytest.mark.parametrize("path", filter_docs.pages(), ids=lambda path: path.stem)
def test_the_documentation_of_a_filter_is_what_its_function_says(path: Path) -> None:
    assert path.is_file() and path.read_text(encoding="utf-8") == filter_docs.pages()[path], "run `make docs`"


def test_no_filter_is_documented_that_is_not_there() -> None:
    assert set((ROOT / "plugins/filter").glob("*.yml")) == set(filter_docs.pages())


@pytest.mark.parametrize("path", architecture.pages(), ids=lambda path: path.name)
def test_what_people_see_of_the_whole_is_made_from_inventory_and_playbooks(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == architecture.pages()[path], "run `make docs`"


def test_every_role_is_told_something_and_the_words_between_are_followed() -> None:
    told = architecture.wiring()
    assert set(told) == set(ROLES)
    assert "site_tripwire_passphrases" in told["tripwire"] and "site_users" not in told["tripwire"]
    assert "site_ipv6" in told["firewall"] and "site_users" in told["pop3"]
    assert "site_users" not in told["firewall"]
