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
    """Nothing without a lab."""
    lab.required("make test-acme")
