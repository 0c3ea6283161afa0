"""The drill's list of faults, which of them somebody asks for, and the page that is kept."""

from __future__ import annotations

import pytest

from tests.site import drill as harness
from tests.site import faults
from tests.site.faults import FAULTS
from tests.site.ledger import Row
from tools import drill


def test_each_fault_has_a_name_of_its_own_and_says_what_it_is() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert all(fault.what and " " not in fault.name for fault in FAULTS)


def test_what_is_prepared_is_put_back() -> None:
    assert [fault.name for fault in FAULTS if fault.prepare and not fault.restore] == []


def test_what_holds_for_a_while_is_undone_or_undoes_itself() -> None:
    undone_by_itself = {"gateway-killed", "crowd"}
    assert {fault.name for fault in FAULTS if fault.holds and not fault.undo} == undone_by_itself


@pytest.mark.parametrize(
    ("short", "only", "names"),
    [
        (False, "cut", ["cut"]),
        (False, "dns-*,cut", ["dns-refuses", "dns-silent", "cut"]),
        (True, "cut,gateway-killed", ["gateway-killed"]),
        (False, "no-such", []),
        (False, "", [fault.name for fault in FAULTS]),
        (True, "", [fault.name for fault in FAULTS if fault.short]),
    ],
)
def test_faults_are_picked_by_name(short: bool, only: str, names: list[str]) -> None:
    assert [fault.name for fault in drill.picked(FAULTS, short, only)] == names


def test_a_fault_that_breaks_off_has_a_row_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(fault: harness.Fault) -> Row:
        raise harness.DrillError(f"mail:\n{fault.name} | cannot be made")

    monkeypatch.setattr(harness, "hold", hold)
    row = harness.tried(FAULTS[0])
    assert not row.good
    assert row.findings == [f"the drill broke off: DrillError: mail: {FAULTS[0].name} | cannot be made"]


def test_a_link_that_is_down_is_found_again_though_it_has_no_address() -> None:
    """systemd-networkd takes the addresses away from a link without carrier."""
    assert "address" in faults.LINK_DOWN and "address" not in faults.LINK_UP


def test_the_page_has_a_row_a_fault_and_says_how_many_were_good() -> None:
    rows = [
        Row("cut", sent=2, delivered=2, latencies=[1.0, 2.0], drained=3.0),
        Row("crowd", sent=2, delivered=1, lost=1, drained=3.0),
    ]
    text = drill.page(rows, {"cut": "packets are lost | 100 s", "crowd": "too many | 50 s"}, {"date": "2026-01-01"}, 120)
    assert "1 of 2 faults" in text and "took 2 minutes" in text and "- date: 2026-01-01" in text
    assert "| cut | 2 |" in text and "| cut | packets are lost | 100 s |" in text and "BAD: 1 lost" in text
