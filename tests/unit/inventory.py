"""The lab's inventory as unit tests see it: the plain data of group_vars, no Ansible needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


@cache
def lab_variables() -> dict[str, Any]:
    """All group variables of the lab, unrendered."""
    out: dict[str, Any] = {}
    for path in sorted((ROOT / "inventories/lab/group_vars/all").glob("*.yml")):
        out.update(yaml.safe_load(path.read_text()))
    return out


def lab_site() -> dict[str, Any]:
    """The site dict that playbooks/vars/site.yml builds."""
    keys = ("zones", "hosts", "services", "flows", "pat", "domain", "domains")
    return {key: lab_variables()[f"site_{key}"] for key in keys}
