"""What `make bench` makes of what it measured."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tools import bench, bench_picture

TAKEN = """\
strace: Process 1 attached
[pid 7] connect(9, {sa_family=AF_INET, sin_port=htons(25)}, 16) = 0
[pid 7] read(9, "250 2.0.0 Ok: queued as 1\\r\\n", 4096) = 27
[pid 7] write(6, "250 2.0.0 6AO9nPcA012172 Message accepted for delivery\\r\\n", 55) = 55
"""
QUEUED = """\
[pid 7] connect(9, {sa_family=AF_INET}, 16) = -1 ECONNREFUSED (Connection refused)
[pid 7] fsync(8) = 0
[pid 7] fsync(7) = 0
[pid 7] write(6, "250 2.0.0 6AO9nPcA012172 Message accepted for delivery\\r\\n", 55) = 55
"""


def test_a_trace_tells_in_order_what_mattered() -> None:
    assert bench.events(TAKEN) == ["the next hop's 250 is read", "our 250 is written"]
    assert bench.events(QUEUED) == ["the next hop refuses", "fsync", "fsync", "our 250 is written"]
    assert bench.shown(bench.events(QUEUED)) == "the next hop refuses, fsync (2 times), our 250 is written"


@pytest.mark.parametrize(
    ("found", "safe"),
    [
        (["the next hop's 250 is read", "our 250 is written"], True),
        (["fsync", "fsync", "our 250 is written"], True),
        (["fsync", "our 250 is written", "fsync"], False),
        (["our 250 is written", "the next hop's 250 is read"], False),
        (["fsync", "fsync"], False),
    ],
)
def test_a_250_is_durable_only_after_the_disk_or_the_next_hop_has_the_message(found: list[str], safe: bool) -> None:
    assert bench.durable(found) is safe


def test_a_measurement_is_as_long_as_it_should_be_and_gives_each_sender_something_to_do() -> None:
    cell = bench.Cell(4096, 50)
    assert bench.guess(100, cell) == 100 * bench.TAKES
    assert bench.guess(1, cell) == 100
    assert bench.guess(1e6, cell) == bench.MOST


def test_the_table_has_medians_and_shares_of_postfix_in_the_same_run() -> None:
    rates = {"4k-1": {"ours": [30.0, 10.0, 20.0], "postfix": [40.0], "stock": []}}
    systems = [system for system in bench.SYSTEMS if system.name in ("ours", "postfix", "stock")]
    row = bench.table(bench.medians(rates), systems)[-1]
    assert row == "| 4 KB, 1 sender | 20/s (0.50 x) | 40/s (1.00 x) | - |"


def test_what_people_wrote_around_the_measured_part_stays() -> None:
    old = f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n"
    new = f"{bench.BEGIN}\nnew\n{bench.END}"
    assert bench.written(old, new) == f"before\n{new}\nafter\n"
    assert bench.BEGIN in bench.REPORT.read_text(encoding="utf-8")


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    assert bench.chosen("", {"a": 1, "b": 2}, "--cells") == [1, 2]
    assert bench.chosen("b", {"a": 1, "b": 2}, "--cells") == [2]
    with pytest.raises(bench.BenchError, match="--cells: c is not known here; there are a, b"):
        bench.chosen("b,c", {"a": 1, "b": 2}, "--cells")


def test_the_picture_has_a_bar_for_each_system_as_long_as_its_share() -> None:
    rates = {"4k-1": {"ours": 50.0, "postfix": 100.0}, "unmeasured": {"ours": 1.0}}
    text = bench_picture.draw(rates, {"ours": "our & gateway", "postfix": "Postfix"}, {"4k-1": "4 KB"})
    tree = ElementTree.fromstring(text)
    bars = [node for node in tree.iter("{http://www.w3.org/2000/svg}rect") if node.get("x") == str(bench_picture.LEFT)]
    assert [float(str(bar.get("width"))) for bar in bars] == [0.5 * bench_picture.WIDTH / bench_picture.MOST, 350.0]
    assert "0.50 x (50/s)" in text


def test_every_system_has_a_colour() -> None:
    assert {system.name for system in bench.SYSTEMS} == set(bench_picture.COLOURS)


def test_the_cost_of_the_filters_is_a_share_of_what_was_measured_in_turn_with_them() -> None:
    results = bench.Results(rates={"4k-10": {"ours": [900.0]}}, whole={"4k-10": {"mailbox": [50.0]}})
    for reached in ([180.0, 220.0], [200.0]):
        bench.merge(results.bare, {"4k-10": {"ours": [rate * 1.5 for rate in reached]}})
        bench.merge(results.unfiltered, {"4k-10": {"ours": reached}})
        bench.merge(results.filtered, {"4k-10": {"ours": [rate / 2 for rate in reached]}})
    (row,) = bench.of_itself(results)[2:]
    assert row == "| 4 KB, 10 senders | 300/s (1.50 x) | 200/s (1.00 x) | 100/s (0.50 x) | 50/s (0.25 x) |"


def test_filters_are_measured_anew_only_beside_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "STATE", tmp_path)
    with pytest.raises(bench.BenchError, match="make bench"):
        bench.again()
    (tmp_path / "results.json").write_text('{"facts": "postfix 3.7", "took": 5.0}', encoding="utf-8")
    assert bench.again() == bench.Results(facts="postfix 3.7", took=5.0)
