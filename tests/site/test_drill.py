"""What was answered with 250 arrives, whatever breaks: the drill's faults as tests of the running lab.

Each takes a minute or several, so they run where they are asked for: `make drill`, which prints a table, or

    pytest tests/site/test_drill.py -m drill
"""

from __future__ import annotations

import pytest

from tests.site import drill
from tests.site.faults import FAULTS

pytestmark = pytest.mark.drill


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.requirement("SM-13", side="positive")
@pytest.mark.parametrize(
    "fault", [pytest.param(fault, id=fault.name, marks=[pytest.mark.short] if fault.short else []) for fault in FAULTS]
)
def test_nothing_is_lost_while(fault: drill.Fault) -> None:
    row = drill.hold(fault)
    assert row.good, row.verdict
