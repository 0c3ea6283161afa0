"""The drill's list of faults, which of them somebody asks for, and the page that is kept."""

from __future__ import annotations

import subprocess
from functools import partial

import pytest

from tests.site import drill as harness
from tests.site import faults, lab
from tests.site.faults import FAULTS
from tests.site.ledger import Row
from tools import drill


def test_each_fault_has_a_name_of_its_own_and_says_what_it_is() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert all(fault.what and " " not in fault.name for fault in FAULTS)


def test_what_another_includes_is_part_of_a_fault_that_there_is_and_of_the_short_drill() -> None:
    """Else nobody would ever hold it."""
    whole = {fault.name for fault in FAULTS if not fault.part_of}
    assert [fault.name for fault in FAULTS if fault.part_of and (fault.part_of not in whole or not fault.short)] == []


def test_what_is_prepared_is_put_back() -> None:
    assert [fault.name for fault in FAULTS if fault.prepare and not fault.restore] == []


def test_what_holds_for_a_while_is_undone_or_undoes_itself() -> None:
    undone_by_itself = {"gateway-killed", "quota-wedged", "crowd"}
    assert {fault.name for fault in FAULTS if fault.holds and not fault.undo} == undone_by_itself


@pytest.mark.parametrize(
    ("short", "only", "names"),
    [
        (False, "cut", ["cut"]),
        (False, "dns-*,cut", ["dns-refuses", "dns-silent", "cut"]),
        (True, "cut,gateway-killed", ["gateway-killed"]),
        (False, "no-such", []),
        (False, "", [fault.name for fault in FAULTS if not fault.part_of]),
        (False, "disk-*", ["disk-fills", "disk-full"]),
        (True, "", [fault.name for fault in FAULTS if fault.short]),
    ],
)
def test_faults_are_picked_by_name(short: bool, only: str, names: list[str]) -> None:
    assert [fault.name for fault in drill.picked(FAULTS, short, only)] == names


def test_a_fault_that_breaks_off_has_a_row_that_says_why_and_the_next_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(fault: harness.Fault, prepared: bool, keep: bool) -> Row:
        if fault is FAULTS[0]:
            raise harness.DrillError(f"mail:\n{fault.name} cannot be made")
        return Row(fault.name)

    monkeypatch.setattr(harness, "hold", hold)
    first, second = harness.series(FAULTS[:2])
    assert not first.good and second.fault == FAULTS[1].name
    assert first.findings == [f"the drill broke off: DrillError: mail: {FAULTS[0].name} cannot be made"]


def test_another_way_of_delivery_is_played_before_and_put_back_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, ...]] = []

    def ansible(*argv: str, check: bool) -> subprocess.CompletedProcess[str]:
        played.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(lab, "ansible", ansible)
    with harness.delivering(""):
        assert played == []
    with pytest.raises(harness.DrillError), harness.delivering("interactive"):
        # What a fault plays meanwhile leaves it so.
        harness.play("site.yml")()
        raise harness.DrillError
    assert ['{"sendmail_delivery": "interactive"}' in argv for argv in played] == [True, True, False]
    assert drill.place("").name == "drill.md" and drill.place("interactive").name == "drill-interactive.md"


@pytest.mark.parametrize("broken", ["", "two"])
def test_faults_in_a_row_share_what_they_prepare_unless_one_breaks_off(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def step() -> None:
        """What they share."""

    named = partial(harness.Fault, what="", make=step)
    several = [named("one"), named("two", prepare=step), named("three", prepare=step), named("four", prepare=lambda: None)]
    held: list[tuple[str, bool, bool]] = []

    def hold(fault: harness.Fault, prepared: bool, keep: bool) -> Row:
        held.append((fault.name, prepared, keep))
        if fault.name == broken:
            raise harness.DrillError
        return Row(fault.name)

    monkeypatch.setattr(harness, "hold", hold)
    list(harness.series(several))
    assert held == [("one", False, False), ("two", False, True), ("three", not broken, False), ("four", False, False)]


def test_what_comes_twice_is_a_finding_where_the_fault_gives_no_reason() -> None:
    fault = partial(harness.Fault, name="one", what="", make=lambda: None)
    assert harness.twice(fault(), Row("one", duplicated=1))
    assert not harness.twice(fault(), Row("one"))
    assert not harness.twice(fault(repeats="a 250 is lost"), Row("one", duplicated=1))


def test_what_is_left_is_said_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = {"smtp1": {"qf1", "qf2"}, "store": set[str]()}
    monkeypatch.setattr(harness, "queued", lambda: queues)
    flow = harness.Flow("w", {}, [], mbox=None, before={"smtp1": {"qf1"}, "store": set()})  # type: ignore[arg-type]
    flow.taken, flow.open = {f"w-{number}" for number in range(8)}, 1
    flow.arrivals = [{"name": "w-0"}]
    assert flow.left() == [
        "w-1, w-2, w-3, w-4, w-5 ... was taken and has not arrived",
        "qf2 in the queue of smtp1",
        "1 neither taken nor refused",
    ]
    flow.taken, flow.open, flow.before = {"w-0"}, 0, queues
    assert flow.left() == []


def test_bounds_follow_from_what_sendmail_and_the_senders_are_set_to() -> None:
    """A reply is waited for as long as RFC 5321 asks for MAIL and RCPT, and the next turn is a pause away."""
    assert faults.REPLY == 300 and faults.FORGOTTEN == 300 + 120 + 2 * 60
    assert [fault.name for fault in FAULTS if fault.drained != harness.DRAINED] == ["firewall-crashed"]
    (crowd,) = [fault for fault in FAULTS if fault.name == "crowd"]
    assert faults.TURNS == 2 and crowd.within == faults.PATIENT == 2 * 32.5 + 15 + 15
    assert harness.bounds(crowd) == "95 of 100 that begin meanwhile within 95 s; all within 300 s of its end"


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
