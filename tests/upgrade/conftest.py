"""Where there is no lab, a plain word instead of a hundred failures."""

from __future__ import annotations

import pytest

from tests.site import lab


@pytest.fixture(scope="session", autouse=True)
def running_lab() -> None:
    """Nothing without a lab."""
    lab.required("make test-upgrade")
