"""The inventories as unit tests see them: the plain data of group_vars, no Ansible needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


@cache
def variables(inventory: str) -> dict[str, Any]:
    """All group variables of an inventory, unrendered."""
    out: dict[str, Any] = {}
    for path in sorted((ROOT / "inventories" / inventory / "group_vars/all").glob("*.yml")):
        out.update(yaml.safe_load(path.read_text()))
    return out


def site_of(inventory: str) -> dict[str, Any]:
    """The site dict that playbooks/group_vars/site.yml builds."""
    keys = ("zones", "hosts", "services", "flows", "pat", "domain", "domains")
    return {key: variables(inventory).get(f"site_{key}", {}) for key in keys}


def lab_variables() -> dict[str, Any]:
    """All group variables of the lab, unrendered."""
    return variables("lab")


def lab_site() -> dict[str, Any]:
    """The lab's site dict."""
    return site_of("lab")
