# SPDX-License-Identifier: MIT
"""Files of the roles that lie beside this plugin, for the lookups that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[2] / "roles"
# libyaml where PyYAML has it: each host of a run has these files read.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path) -> dict[str, Any]:
    """A YAML file of a role."""
    return yaml.load(path.read_text(encoding="utf-8"), LOADER) or {}
