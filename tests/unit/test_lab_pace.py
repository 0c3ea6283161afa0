"""A part of `make test` that grows is noticed, whatever machine it runs on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pace
import pytest

from tests import results
from tests.unit.inventory import ROOT

PART = "molecule"


def said(taken: float, units: tuple[float, float], directory: Path = ROOT / "none") -> list[str]:
    """What is said of a part that has just run."""
    return pace.lines(PART, taken, units, time.time() - 60, directory)


def test_the_same_work_is_the_same_on_a_slow_machine() -> None:
    bound = pace.BOUNDS[PART]
    for unit in (0.1, 1.0):
        assert not said(unit * bound * 0.9, (unit, unit))[0].startswith("warning")
        assert said(unit * bound * 1.1, (unit, unit))[0].startswith(f"warning: {PART}: {bound * 1.1:.0f} units")
    # One that had other work to do for half of the time.
    assert not said(bound * 0.14, (0.1, 0.2))[0].startswith("warning")


def test_a_part_without_a_bound_says_nothing() -> None:
    assert pace.lines("lint", 1e6, (0.1, 0.1), 0) == []


def test_a_unit_takes_time_but_not_much() -> None:
    assert 0.001 < pace.unit() < 10


def test_the_slowest_tests_of_this_run_are_named_and_none_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / f"{pace.SUITES[PART]}.json"
    path.write_text(json.dumps({"tests/site/test_x.py::test_y[z]": 14.21, "tests/site/test_x.py::test_b": 2}))
    assert said(1, (1, 1), tmp_path)[1:] == ["slowest: test_x.py::test_y[z] 14 s, test_x.py::test_b 2.0 s"]
    assert len(pace.lines(PART, 1, (1, 1), time.time() + 60, tmp_path)) == 1


def test_a_run_leaves_its_slowest_tests_where_they_are_looked_for(tmp_path: Path) -> None:
    assert ROOT / ".lab/results" / results.SLOWEST == pace.SLOWEST
    suite = tmp_path / "tests/site"
    suite.mkdir(parents=True)
    body = "import time, pytest\n@pytest.mark.parametrize('wait', range(7))\ndef test_wait(wait): time.sleep(wait / 20)\n"
    (suite / "test_waits.py").write_text(body)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    kept = tmp_path / "kept"
    arguments = ["-q", "--no-header", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(suite)]
    pytest.main(arguments, plugins=[results.Recorder(kept)])
    found = json.loads((kept / results.SLOWEST / "site.json").read_text())
    assert list(found) == [f"tests/site/test_waits.py::test_wait[{number}]" for number in (6, 5, 4, 3, 2)]
    assert found["tests/site/test_waits.py::test_wait[6]"] >= 0.3
