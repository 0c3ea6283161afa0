"""The suites of inventories/acme use what those of the lab use, for this inventory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# tests.site.lab reads it when it is imported.
os.environ.setdefault("SITE_INVENTORY", str(Path(__file__).parents[2] / "inventories/acme"))

from tests.site import lab


@pytest.fixture(scope="session", autouse=True)
def running_lab() -> None:
    """Stop at once where a host of the lab is missing: a hundred failures would say less."""
    if missing := lab.missing():
        pytest.exit(f"The lab does not run: {', '.join(missing)} missing. `make test-acme` makes it.", 1)
