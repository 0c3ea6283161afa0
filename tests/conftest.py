"""What all tests share: the mark that ties a test to the paper's requirements, and the record of what became of it."""

from __future__ import annotations

import pytest

from tests import results


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known and start recording."""
    config.addinivalue_line(
        "markers",
        f"{results.MARK}(id, side): the paper's requirement (docs/requirements.yml) that a test shows, and which side of it:"
        " positive, what must work, or negative, what must be refused",
    )
    config.pluginmanager.register(results.Recorder(), "requirement-results")
