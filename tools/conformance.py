#!/usr/bin/env python3
"""The paper's requirements, one row each: where each is implemented, which tests show both of its sides, and what became of them.

    python3 tools/conformance.py       # in the project's environment; `make conformance` sees to that

It joins docs/requirements.yml, the ids in square brackets in the tree, the tests' marks, and the latest results in
.lab/results. Ends with 1 where a requirement is not met or where these contradict each other.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import results

ROOT = Path(__file__).resolve().parents[1]
# The suites whose tests are marked with requirements; those of other inventories read their own and cannot be collected beside them.
SUITES = ["site", "unit"]

LIST = ROOT / "docs/requirements.yml"
PAGE = ROOT / ".lab/conformance.html"
SIDES = ("positive", "negative")

ID = r"[A-Z]{1,4}-[0-9]{1,3}"
TAG = re.compile(rf"\[({ID}(?:(?:, | to ){ID})*)\]")
# Where a tag says "implemented here", and where it only has to be right.
IMPLEMENTED = (
    "roles/*/defaults",
    "roles/*/handlers",
    "roles/*/meta",
    "roles/*/tasks",
    "roles/*/templates",
    "roles/*/vars",
    "plugins",
    "playbooks",
    "inventories",
    "site.yml",
    "docs/runbook*.md",
)
MENTIONED = ("roles/*/README.md", "README.md", "CONTRIBUTING.md")
# What a result depends on.
TESTED = ("roles", "plugins", "playbooks", "inventories", "site.yml")


# -- the list --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Requirement:
    """An entry of docs/requirements.yml."""

    id: str
    title: str
    negative: str = ""
    missing: str = ""

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides that tests have to show."""
        return SIDES[:1] if self.negative else SIDES


@dataclass
class Paper:
    """The whole list, and what is wrong with it."""

    requirements: dict[str, Requirement] = field(default_factory=dict)
    errata: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def ids(self) -> set[str]:
        """Everything that a tag may name."""
        return {*self.requirements, *self.errata}


def load(text: str) -> Paper:
    """The list from its text."""
    data = yaml.safe_load(text)
    paper = Paper()
    for entry in data["requirements"]:
        identity = str(entry.get("id"))
        if unknown := sorted(set(entry) - {"id", "title", "negative", "missing"}):
            paper.errors.append(f"requirements.yml: {identity} has the unknown key {unknown[0]}")
        if identity in paper.requirements:
            paper.errors.append(f"requirements.yml: {identity} stands there twice")
        texts = {key: str(entry.get(key) or "") for key in ("title", "negative", "missing")}
        if not texts["title"]:
            paper.errors.append(f"requirements.yml: {identity} has no title")
        paper.requirements[identity] = Requirement(identity, **texts)
    known = [f"{series}-{number}" for series, last in data["series"].items() for number in range(1, last + 1)]
    paper.errors += [f"requirements.yml: {identity} is missing" for identity in known if identity not in paper.requirements]
    stale = [identity for identity in paper.requirements if identity not in known]
    paper.errors += [f"requirements.yml: {identity} is stale: the paper's series have no such id" for identity in stale]
    paper.errata = {str(entry["id"]): str(entry["title"]) for entry in data.get("errata", [])}
    return paper


# -- the tree --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Place:
    """A line that names an id."""

    path: str
    line: int

    @property
    def part(self) -> str:
        """The part of the project that it belongs to, in short: a role's name, an inventory, a file."""
        pieces = self.path.split("/")
        if pieces[0] == "roles":
            return pieces[1]
        return f"inventory {pieces[1]}" if pieces[0] == "inventories" else Path(self.path).stem


def expand(tag: str) -> list[str]:
    """The ids of a tag's inside; GW-1 to GW-5 are five."""
    out: list[str] = []
    for piece in tag.split(", "):
        first, _, last = piece.partition(" to ")
        series, start = first.rsplit("-", 1)
        end_series, end = (last or first).rsplit("-", 1)
        if series == end_series:
            out += [f"{series}-{number}" for number in range(int(start), int(end) + 1)]
        else:
            out += [first, last]
    return out


def tags(path: str, text: str) -> list[tuple[str, Place]]:
    """Every id that a text names in square brackets, and where."""
    return [
        (identity, Place(path, number))
        for number, line in enumerate(text.splitlines(), 1)
        for match in TAG.finditer(line)
        for identity in expand(match[1])
    ]


def files(patterns: Iterable[str], root: Path = ROOT) -> list[Path]:
    """The files at or below paths, in order."""
    found: set[Path] = set()
    for pattern in patterns:
        for path in root.glob(pattern):
            found |= {path} if path.is_file() else {below for below in path.rglob("*") if below.is_file()}
    return sorted(path for path in found if "__pycache__" not in path.parts)


def scan(patterns: Iterable[str], root: Path = ROOT) -> list[tuple[str, Place]]:
    """Every id that files name."""
    return [
        entry for path in files(patterns, root) for entry in tags(str(path.relative_to(root)), path.read_text(encoding="utf-8"))
    ]


# -- the tests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Test:
    """A test that carries marks, once for each set of its parameters."""

    __test__ = False

    nodeid: str
    shows: tuple[tuple[Any, Any], ...]
    line: int = 0

    @property
    def function(self) -> str:
        """Its name without parameters."""
        return self.nodeid.split("[", maxsplit=1)[0]


class Collector:
    """Takes down what pytest collects."""

    def __init__(self) -> None:
        self.tests: list[Test] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """All tests that carry the mark."""
        for item in session.items:
            if shown := results.shows(item):
                pairs = tuple((entry["id"], entry["side"]) for entry in shown)
                self.tests.append(Test(item.nodeid, pairs, (item.location[1] or 0) + 1))


def collect() -> list[Test]:
    """All marked tests as they are now."""
    collector = Collector()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        suites = [str(ROOT / "tests" / name) for name in SUITES]
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *suites], plugins=[collector])
    if status != pytest.ExitCode.OK:
        raise SystemExit(f"{said.getvalue()}\nThe tests cannot be collected; nothing is known about them.")
    return collector.tests


# -- the join --------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """A requirement with all that is known of it."""

    requirement: Requirement
    places: list[Place]
    tests: dict[str, list[Test]]
    got: dict[str, results.Result]
    problems: list[str] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether it is met."""
        return not self.problems

    @property
    def parts(self) -> list[str]:
        """The parts of the project that implement it."""
        return sorted({place.part for place in self.places})

    @property
    def run(self) -> list[results.Result]:
        """The results of its tests, those that were run."""
        every = {test.nodeid for side in SIDES for test in self.tests[side]}
        return [self.got[nodeid] for nodeid in sorted(every) if nodeid in self.got]

    @property
    def last(self) -> float:
        """When the last of its tests ended; 0 where none was run."""
        return max((float(result["ended"]) for result in self.run), default=0)

    def outcome(self, test: Test) -> str:
        """What became of a test."""
        return str(self.got[test.nodeid]["outcome"]) if test.nodeid in self.got else "not run"

    def passed(self, side: str) -> int:
        """How many tests of a side passed."""
        return sum(self.outcome(test) == "passed" for test in self.tests[side])

    def word(self) -> str:
        """The last result in a word."""
        outcomes = {str(result["outcome"]) for result in self.run}
        return next((word for word in ("failed", "passed", "skipped") if word in outcomes), "not run")


def problems(row: Row) -> list[str]:
    """Why a requirement is not met."""
    out = [f"not built yet: {row.requirement.missing}"] if row.requirement.missing else []
    if not row.places:
        out.append("implemented nowhere: no tag in the tree names it")
    for side in row.requirement.sides:
        tests = row.tests[side]
        if not tests:
            out.append(f"no {side} test")
        elif not row.passed(side):
            out.append(f"no {side} test has passed ({len(tests)} there)")
    if row.requirement.negative and row.tests["negative"]:
        out.append("stale: the list says that there is no negative side, a test shows one")
    failed = sorted({test.function for side in SIDES for test in row.tests[side] if row.outcome(test) == "failed"})
    return out + [f"failed: {name}" for name in failed]


def join(paper: Paper, implemented: Sequence[tuple[str, Place]], tests: Sequence[Test], got: dict[str, Any]) -> list[Row]:
    """One row a requirement, in the list's order. A result of a test that is no longer there counts for nothing."""
    rows = []
    for requirement in paper.requirements.values():
        places = sorted({place for identity, place in implemented if identity == requirement.id})
        shown = {side: [test for test in tests if (requirement.id, side) in test.shows] for side in SIDES}
        row = Row(requirement, places, shown, got)
        row.problems = problems(row)
        rows.append(row)
    return rows


def contradictions(paper: Paper, named: Sequence[tuple[str, Place]], tests: Sequence[Test]) -> list[str]:
    """What is wrong with the list, the tags and the marks themselves."""
    out = list(paper.errors)
    out += [f"{at.path}:{at.line}: the tag [{name}] names an unknown id" for name, at in named if name not in paper.ids]
    for function, shows in sorted({(test.function, shows) for test in tests for shows in test.shows}, key=str):
        identity, side = shows
        if identity not in paper.requirements:
            out.append(f"{function}: the mark names the unknown id {identity}")
        if side not in SIDES:
            out.append(f"{function}: the mark's side is {side}; it is positive or negative")
    return out


# -- age -------------------------------------------------------------------------------------------------------------


def newest(suite: str) -> tuple[float, str]:
    """When something that the results of a suite depend on was changed last, and what."""
    tested = [*TESTED, f"tests/{suite}"]
    paths = files(tested)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *tested]
        listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        paths = [ROOT / name for name in listed if (ROOT / name).is_file()]
    return max(((path.stat().st_mtime, str(path.relative_to(ROOT))) for path in paths), default=(0.0, ""))


def age(tests: Iterable[Test], got: dict[str, results.Result], changed: Callable[[str], tuple[float, str]]) -> str:
    """A sentence on how far results can be relied on; `changed` tells of a suite when what it tests was changed last."""
    every = {test.nodeid for test in tests}
    last = {suite: changed(suite) for suite in {results.suite(nodeid) for nodeid in every}}
    absent = every - set(got)
    old = [nodeid for nodeid in every - absent if got[nodeid]["ended"] < last[results.suite(nodeid)][0]]
    said = []
    if absent:
        said.append(f"{len(absent)} of {len(every)} tests have no result.")
    if old:
        when, what = max(last[results.suite(nodeid)] for nodeid in old)
        said.append(f"{len(old)} of {len(every)} results are older than the newest change ({what}, {moment(when)}).")
    return " ".join([*said, "`make test` renews them."] if said else ["All results are newer than the newest change."])


def moment(when: float) -> str:
    """A time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) if when else "never"


# -- the terminal ----------------------------------------------------------------------------------------------------

Paint = Callable[[str, str], str]
COLOURS = {"red": "\033[31m", "green": "\033[32m", "grey": "\033[90m", "bold": "\033[1m"}


def paint(colour: str, text: str) -> str:
    """A text in colour."""
    return f"{COLOURS[colour]}{text}\033[0m"


def plain(colour: str, text: str) -> str:
    """A text as it is."""
    return text


def shortened(text: str, width: int) -> str:
    """A text that fits."""
    return text if len(text) <= width else text[: width - 1] + "…"


def counted(row: Row, side: str) -> str:
    """How many tests of a side passed, of how many."""
    if side not in row.requirement.sides and not row.tests[side]:
        return "none"
    return f"{row.passed(side)}/{len(row.tests[side])}"


def table(rows: Sequence[Row], width: int, colour: Paint) -> list[str]:
    """The rows as lines: fixed columns, and below an unmet one the reasons."""
    fixed = 7 + 9 + 9 + 24 + 4
    title = min(max(len(row.requirement.title) for row in rows), max(20, (width - fixed) * 3 // 5))
    parts = max(12, min(width - fixed - title, 60))
    head = f"  {'id':<7}{'title':<{title}} {'implemented in':<{parts}}{'positive':>9}{'negative':>9}  last result"
    out = [colour("bold", head)]
    for row in rows:
        where = shortened(", ".join(row.parts) or "-", parts - 1)
        line = f"{row.requirement.id:<7}{shortened(row.requirement.title, title):<{title}} {where:<{parts}}"
        line += f"{counted(row, 'positive'):>9}{counted(row, 'negative'):>9}  {row.word()}"
        line += f" {moment(row.last)}" if row.last else ""
        out.append(colour("green" if row.met else "red", "✓ " if row.met else "✗ ") + line.rstrip())
        out += [colour("red", f"         {problem}") for problem in row.problems]
    return out


# -- the page --------------------------------------------------------------------------------------------------------

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1c1c1c; background: #fff }
h1 { font-size: 1.5rem; margin: 0 0 .2rem } h2 { font-size: 1.1rem; margin-top: 2rem }
p.note { color: #555; margin: .2rem 0 }
nav { display: flex; flex-wrap: wrap; gap: .3rem; margin: 1.2rem 0 }
nav a { padding: .25rem .5rem; border-radius: .3rem; color: #fff; text-decoration: none; font-size: .85rem; min-width: 3.6rem;
  text-align: center }
.met { background: #1d7a3d } .unmet { background: #b3261e }
table { border-collapse: collapse; width: 100% } th { text-align: left; border-bottom: 2px solid #888 }
th, td { padding: .35rem .5rem; vertical-align: top } tr + tr td { border-top: 1px solid #ddd }
td.id { white-space: nowrap; font-weight: 600; border-left: .4rem solid } tr.good td.id { border-color: #1d7a3d }
tr.bad td.id { border-color: #b3261e } td.when { white-space: nowrap } tr:target { background: #fff6d6 }
ul { margin: .2rem 0; padding-left: 1.1rem } li { overflow-wrap: anywhere } summary { cursor: pointer }
.problem { color: #b3261e } .reason { color: #555 } code { font-size: .85em }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #e6e6e6 } p.note, .reason { color: #aaa }
  a { color: #8ab4f8 } nav a { color: #fff } tr + tr td { border-color: #333 } tr:target { background: #3a3413 }
  .problem { color: #ff8a80 } }
"""


def listed(row: Row, side: str) -> str:
    """The tests of a side, a line a function."""
    if side not in row.requirement.sides and not row.tests[side]:
        return f'<span class="reason">none: {escape(row.requirement.negative)}</span>'
    functions: dict[str, list[Test]] = {}
    for test in row.tests[side]:
        functions.setdefault(test.function, []).append(test)
    lines = []
    for function, tests in functions.items():
        path, _, name = function.partition("::")
        passed = sum(row.outcome(test) == "passed" for test in tests)
        bad = ' class="problem"' if passed < len(tests) else ""
        words = name.removeprefix("test_").replace("_", " ")
        link = f'<a href="../{escape(path)}#L{tests[0].line}">{escape(Path(path).stem)}</a>'
        lines.append(f"<li{bad}>{escape(words)} ({link}, {passed} of {len(tests)})</li>")
    return f"<details><summary>{counted(row, side)} passed</summary><ul>{''.join(lines)}</ul></details>"


def page(rows: Sequence[Row], wrong: Sequence[str], errata: dict[str, str], note: str, now: float) -> str:
    """The page, in one file."""
    met = sum(row.met for row in rows)
    chips = "".join(
        f'<a class="{"met" if row.met else "unmet"}" href="#{row.requirement.id}" title="{escape(row.requirement.title)}">'
        f"{row.requirement.id}</a>"
        for row in rows
    )
    body = []
    for row in rows:
        places: dict[str, list[str]] = {}
        for place in row.places:
            link = f'<a href="../{escape(place.path)}#L{place.line}">{escape(Path(place.path).name)}:{place.line}</a>'
            places.setdefault(place.part, []).append(link)
        lines = "".join(f"<li>{escape(part)}: {', '.join(links)}</li>" for part, links in places.items())
        where = f"<details><summary>{escape(', '.join(row.parts))}</summary><ul>{lines}</ul></details>" if lines else "-"
        reasons = "".join(f'<li class="problem">{escape(problem)}</li>' for problem in row.problems)
        when = f"<br>{moment(row.last)}" if row.last else ""
        body.append(
            f'<tr class="{"good" if row.met else "bad"}" id="{row.requirement.id}"><td class="id">{row.requirement.id}</td>'
            f"<td>{escape(row.requirement.title)}{f'<ul>{reasons}</ul>' if reasons else ''}</td><td>{where}</td>"
            f'<td>{listed(row, "positive")}</td><td>{listed(row, "negative")}</td><td class="when">{row.word()}{when}</td></tr>'
        )
    faults = "".join(f'<li class="problem">{escape(line)}</li>' for line in wrong)
    corrected = "".join(f"<li>{escape(identity)}: {escape(text)}</li>" for identity, text in errata.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Conformance: {met} of {len(rows)}</title><style>{STYLE}</style></head><body>
<h1>{met} of {len(rows)} requirements are met</h1>
<p class="note">A robust e-mail infrastructure with sendmail: what the paper asks for, and the tests that show it.
Written {moment(now)}. {escape(note)}</p>
<nav>{chips}</nav>
{f"<h2>Contradictions</h2><ul>{faults}</ul>" if faults else ""}
<table><thead><tr><th>id</th><th>requirement</th><th>implemented in</th><th>what must work</th><th>what must be refused</th>
<th>last result</th></tr></thead><tbody>
{chr(10).join(body)}
</tbody></table>
<h2>Where the paper contradicts itself</h2><ul>{corrected}</ul>
</body></html>
"""


def main() -> int:
    """Print the table, write the page; 1 where something is not as it should be."""
    paper = load(LIST.read_text(encoding="utf-8"))
    implemented = scan(IMPLEMENTED)
    tests = collect()
    got = results.read_all()
    rows = join(paper, implemented, tests, got)
    wrong = contradictions(paper, implemented + scan(MENTIONED), tests)
    note = age(tests, got, newest)

    colour: Paint = paint if sys.stdout.isatty() and "NO_COLOR" not in os.environ else plain
    print("\n".join(table(rows, shutil.get_terminal_size((150, 40)).columns, colour)))
    for line in wrong:
        print(colour("red", line))
    met = sum(row.met for row in rows)
    print(f"\n{met} of {len(rows)} requirements are met. {note}")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(rows, wrong, paper.errata, note, time.time()), encoding="utf-8")
    print(f"The same as a page: {PAGE.relative_to(ROOT)}")
    return 0 if met == len(rows) and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
