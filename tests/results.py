"""What becomes of the tests that show a requirement: every run leaves their outcomes in .lab/results, for `make conformance`.

Each suite (tests/site, tests/unit) has a file of its own, into which a run merges the tests that it ran: a run of one test
forgets nothing of the others. Beside them lies, for each suite, what took longest in its last run, marked or not (lab/pace.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A run whose outcomes are no news of the project (a lab broken on purpose: tools/mutants.py) leaves them elsewhere.
RESULTS = Path(os.environ.get("TEST_RESULTS", ROOT / ".lab/results"))
MARK = "requirement"
# Where the slowest tests of each suite's last run are written down, below RESULTS, and how many.
SLOWEST = "slowest"
SLOWEST_OF = 5
# The worst of a test's phases (setup, call, teardown) is its outcome.
WORSE = {"passed": 0, "skipped": 1, "failed": 2}

Result = dict[str, Any]


def shows(item: pytest.Item) -> list[dict[str, Any]]:
    """The requirements and sides that a test is marked with, as they are written, right or wrong."""
    out = []
    for mark in item.iter_markers(MARK):
        given = dict(zip(("id", "side"), mark.args, strict=False))
        entry = {"id": mark.kwargs.get("id", given.get("id")), "side": mark.kwargs.get("side", given.get("side"))}
        if entry not in out:
            out.append(entry)
    return sorted(out, key=str)


def suite(nodeid: str) -> str:
    """The suite of a test: the directory below tests."""
    parts = nodeid.split("::", maxsplit=1)[0].split("/")
    return parts[1] if len(parts) > 2 else parts[0]


def worse(one: str, other: str) -> str:
    """The worse of two outcomes."""
    return max(one, other, key=WORSE.__getitem__)


def merge(directory: Path, results: dict[str, Result]) -> None:
    """Put results into their suites' files; two runs at once take turns."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in sorted({suite(nodeid) for nodeid in results}):
            path = directory / f"{name}.json"
            both = {**read(path), **{nodeid: result for nodeid, result in results.items() if suite(nodeid) == name}}
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(both, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            os.replace(fresh, path)


def read(path: Path) -> dict[str, Result]:
    """The results in one file; none where there is no file."""
    try:
        out: dict[str, Result] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return out


def read_all(directory: Path = RESULTS) -> dict[str, Result]:
    """The latest result of every test of every suite."""
    out: dict[str, Result] = {}
    for path in sorted(directory.glob("*.json")):
        out |= read(path)
    return out


class Recorder:
    """Collects outcomes during a run, writes them at its end."""

    def __init__(self, directory: Path = RESULTS) -> None:
        self.directory = directory
        self.results: dict[str, Result] = {}
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note a phase of a test that is marked."""
        report = yield
        self.seconds[item.nodeid] = self.seconds.get(item.nodeid, 0.0) + report.duration
        shown = shows(item)
        if shown:
            # An expected failure shows nothing, and neither does a test that was skipped.
            outcome = "skipped" if hasattr(report, "wasxfail") else report.outcome
            before = self.results.get(item.nodeid, {"outcome": "passed", "seconds": 0.0})
            self.results[item.nodeid] = {
                "shows": shown,
                "outcome": worse(before["outcome"], outcome),
                "seconds": round(before["seconds"] + report.duration, 3),
                "ended": round(time.time(), 1),
            }
        return report

    def pytest_sessionfinish(self) -> None:
        """Write what was run; a run that was interrupted has shown what it has shown."""
        if self.results:
            merge(self.directory, self.results)
        for name in {suite(nodeid) for nodeid in self.seconds}:
            mine = [(taken, nodeid) for nodeid, taken in self.seconds.items() if suite(nodeid) == name]
            slowest = {nodeid: round(taken, 1) for taken, nodeid in sorted(mine, reverse=True)[:SLOWEST_OF]}
            (self.directory / SLOWEST).mkdir(parents=True, exist_ok=True)
            (self.directory / SLOWEST / f"{name}.json").write_text(json.dumps(slowest, indent=1) + "\n", encoding="utf-8")
