"""How long a part of `make test` takes, held against what this machine does in that time: a part that grows is to be noticed.

A bound in seconds would say more of the machine than of the tests. So the unit is a fixed piece of work that the machine does in the
same run, before the part and after it: a slow machine, or one with much else to do, takes longer for both.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from report import seconds
from shell import STATE

# The bound, in units of work, of each part that has one, generously: half as much again as it took when it was last set.
BOUNDS = {"molecule": 16000}
# The suite of tests that a part runs, whose slowest ones are told (tests/results.py writes them down).
SUITES = {"molecule": "site"}
SLOWEST = STATE / "results/slowest"


def unit() -> float:
    """Seconds that the piece of work takes now: the middle one of three times."""

    def once() -> float:
        begun = time.perf_counter()
        value = 0
        for number in range(1_000_000):
            value = (value * 31 + number) % 1_000_003
        return time.perf_counter() - begun

    return sorted(once() for _ in range(3))[1]


def slowest(part: str, since: float, directory: Path = SLOWEST) -> str:
    """The slowest tests of a part that has run since then (seconds of the epoch); nothing where none have."""
    path = directory / f"{SUITES.get(part, '')}.json"
    if not path.is_file() or path.stat().st_mtime < since:
        return ""
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return ", ".join(f"{name.rsplit('/', maxsplit=1)[-1]} {seconds(taken)}" for name, taken in found.items())


def lines(part: str, taken: float, units: tuple[float, float], since: float, directory: Path = SLOWEST) -> list[str]:
    """What is to be said of a part that took so many seconds, with the unit before it and after it; nothing of one without a bound."""
    if part not in BOUNDS:
        return []
    work = taken / (sum(units) / len(units))
    out = [f"{part}: {work:.0f} units of this machine's work, at most {BOUNDS[part]} (lab/pace.py)"]
    if work > BOUNDS[part]:
        out = [f"warning: {out[0]}: it has grown"]
    named = slowest(part, since, directory)
    return [*out, *([f"slowest: {named}"] if named else [])]
