"""Each role's variables, stated in defaults, argument_specs and README, agree; docs/ shows the inventory as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.inventory import ROOT
from tools import topology

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
# Empty values that argument_specs leaves out.
NOTHING: tuple[Any, ...] = (None, "", [], {})


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


@pytest.mark.parametrize("role", ROLES)
def test_specs_and_defaults_name_the_same_variables(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults/main.yml")
    options = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    required = {name for name, option in options.items() if option.get("required")}
    assert set(defaults) == set(options) - required
    for name, option in options.items():
        if name in defaults and "default" in option:
            assert option["default"] == defaults[name], name
        elif name in defaults and option["type"] not in ("list", "dict"):
            assert defaults[name] in NOTHING, f"{name}: its default is missing in argument_specs"


@pytest.mark.parametrize("role", ROLES)
def test_variables_and_tags_carry_the_roles_name(role: str) -> None:
    names = load(ROOT / "roles" / role / "defaults/main.yml")
    assert [name for name in names if not name.startswith(f"{role}_")] == []
    path = ROOT / "roles" / role / "vars/main.yml"
    internals = load(path) if path.is_file() else {}
    assert [name for name in internals if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_part_of_a_role_is_run_by_the_roles_tag(role: str) -> None:
    """What a tag leaves out without a word is worse than no tag."""
    parts = yaml.safe_load((ROOT / "roles" / role / "tasks/main.yml").read_text(encoding="utf-8"))
    assert [part["name"] for part in parts if role not in part.get("tags", [])] == []


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_tells_of_every_variable(role: str) -> None:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    options = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert [name for name in options if f"`{name}`" not in text] == []


def test_the_picture_is_of_the_inventory() -> None:
    drawn = topology.draw(topology.site_of(ROOT / "inventories/lab"))
    assert (ROOT / "docs/topology.svg").read_text(encoding="utf-8") == drawn, "run tools/topology.py (its docstring tells how)"
