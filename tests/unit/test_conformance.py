"""The table of requirements: how the list, tags, marks and results are joined, and what each contradiction is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import results
from tools import conformance
from tools.conformance import ROOT, Paper, Place, Requirement, Row, Test

PLACE = Place("roles/dns/tasks/main.yml", 2)
GOOD = Test("tests/site/test_a.py::test_good", (("SM-1", "positive"),), 3)
BAD = Test("tests/site/test_a.py::test_bad[x]", (("SM-1", "negative"),), 9)


def paper(**more: Any) -> Paper:
    return Paper(requirements={"SM-1": Requirement("SM-1", "A title", **more)}, errata={"E-1": "An erratum"})


def result(outcome: str = "passed", ended: float = 100.0) -> results.Result:
    return {"outcome": outcome, "ended": ended, "seconds": 0.1, "shows": []}


def row(listed: Paper, tests: list[Test], got: dict[str, results.Result], places: list[Place] | None = None) -> Row:
    implemented = [("SM-1", place) for place in ([PLACE] if places is None else places)]
    (out,) = conformance.join(listed, implemented, tests, got)
    return out


BOTH = {GOOD.nodeid: result(), BAD.nodeid: result()}


# -- the list --------------------------------------------------------------------------------------------------------


def test_the_projects_own_list_is_sound_and_every_tag_and_flow_names_an_entry() -> None:
    listed = conformance.load(conformance.LIST.read_text(encoding="utf-8"))
    assert listed.errors == []
    named = conformance.scan((*conformance.IMPLEMENTED, *conformance.MENTIONED))
    assert conformance.contradictions(listed, named, []) == []


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ("[{id: SM-1, title: a}]", "SM-2 is missing"),
        ("[{id: SM-1, title: a}, {id: SM-2, title: b}, {id: SM-3, title: c}]", "SM-3 is stale"),
        ("[{id: SM-1, title: a}, {id: SM-1, title: a}, {id: SM-2, title: b}]", "SM-1 stands there twice"),
        ("[{id: SM-1, title: a, open: later}, {id: SM-2, title: b}]", "SM-1 has the unknown key open"),
        ("[{id: SM-1}, {id: SM-2, title: b}]", "SM-1 has no title"),
    ],
)
def test_a_list_that_is_not_whole_is_told(entries: str, words: str) -> None:
    (error,) = conformance.load(f"series: {{SM: 2}}\nrequirements: {entries}\n").errors
    assert words in error


# -- tags ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("# the queue [SM-1]", ["SM-1"]),
        ("paper: [SM-1, NET-10]", ["SM-1", "NET-10"]),
        ("[GW-1 to GW-3, E-8]", ["GW-1", "GW-2", "GW-3", "E-8"]),
        ("[a-z], [A-Z0-9-], [IPC], [127.0.0.1], list[0], (SM-1), SM-1", []),
        ("[SM-1] and [SM-2]", ["SM-1", "SM-2"]),
    ],
)
def test_ids_in_square_brackets_are_tags_and_nothing_else_is(text: str, ids: list[str]) -> None:
    assert [identity for identity, _place in conformance.tags("x", text)] == ids


def test_a_tag_is_known_by_its_line() -> None:
    assert conformance.tags("a/b", "\n\n[SM-1]\n") == [("SM-1", Place("a/b", 3))]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("roles/dns/tasks/main.yml", "dns"),
        ("inventories/lab/group_vars/all/site.yml", "inventory lab"),
        ("plugins/filter/policy.py", "policy"),
        ("site.yml", "site"),
    ],
)
def test_places_are_told_by_the_part_that_they_belong_to(path: str, part: str) -> None:
    assert Place(path, 1).part == part


def test_a_readme_implements_nothing(tmp_path: Path) -> None:
    for name, text in (("README.md", "[SM-1]"), ("tasks/main.yml", "# [SM-2]"), ("tasks/__pycache__/x", "[SM-3]")):
        path = tmp_path / "roles/one" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert conformance.scan(conformance.IMPLEMENTED, tmp_path) == [("SM-2", Place("roles/one/tasks/main.yml", 1))]
    assert [identity for identity, _ in conformance.scan(conformance.MENTIONED, tmp_path)] == ["SM-1"]


# -- the join --------------------------------------------------------------------------------------------------------


def test_a_requirement_with_both_sides_passed_is_met() -> None:
    found = row(paper(), [GOOD, BAD], BOTH)
    assert found.met and found.word() == "passed" and found.parts == ["dns"] and found.last == 100


@pytest.mark.parametrize(
    ("tests", "got", "problems"),
    [
        ([GOOD], BOTH, ["no negative test"]),
        ([BAD], BOTH, ["no positive test"]),
        ([GOOD, BAD], {GOOD.nodeid: result()}, ["no negative test has passed (1 there)"]),
        ([GOOD, BAD], {**BOTH, BAD.nodeid: result("skipped")}, ["no negative test has passed (1 there)"]),
        (
            [GOOD, BAD],
            {**BOTH, BAD.nodeid: result("failed")},
            ["no negative test has passed (1 there)", "failed: tests/site/test_a.py::test_bad"],
        ),
    ],
)
def test_a_side_that_no_test_has_shown_is_a_problem(
    tests: list[Test], got: dict[str, results.Result], problems: list[str]
) -> None:
    assert row(paper(), tests, got).problems == problems


def test_one_failure_is_enough_even_where_others_have_passed() -> None:
    other = Test("tests/site/test_a.py::test_other", GOOD.shows)
    found = row(paper(), [GOOD, other, BAD], {**BOTH, other.nodeid: result("failed")})
    assert found.problems == ["failed: tests/site/test_a.py::test_other"] and found.word() == "failed"


def test_a_requirement_without_a_negative_side_says_why_and_needs_no_test_of_it() -> None:
    assert row(paper(negative="a choice"), [GOOD], BOTH).met


def test_the_reason_is_stale_once_there_is_such_a_test() -> None:
    (problem,) = row(paper(negative="a choice"), [GOOD, BAD], BOTH).problems
    assert problem.startswith("stale")


def test_what_is_not_built_is_not_met_whatever_tests_say() -> None:
    assert row(paper(missing="the other half"), [GOOD, BAD], BOTH).problems == ["not built yet: the other half"]


def test_a_requirement_that_nothing_implements_is_not_met() -> None:
    assert row(paper(), [GOOD, BAD], BOTH, places=[]).problems == ["implemented nowhere: no tag in the tree names it"]


def test_a_result_of_a_test_that_is_gone_counts_for_nothing() -> None:
    found = row(paper(), [GOOD], {**BOTH, "tests/site/test_a.py::test_gone": result("failed")})
    assert found.problems == ["no negative test"] and found.word() == "passed"


@pytest.mark.parametrize(
    ("shows", "words"),
    [
        (("SM-9", "positive"), "the mark names the unknown id SM-9"),
        (("E-1", "positive"), "the mark names the unknown id E-1"),
        (("SM-1", "sideways"), "the mark's side is sideways"),
        (("SM-1", None), "the mark's side is None"),
    ],
)
def test_a_mark_with_an_unknown_id_or_side_is_told_once(shows: tuple[Any, Any], words: str) -> None:
    tests = [Test(f"tests/site/test_a.py::test_wrong[{number}]", (shows,)) for number in range(2)]
    (line,) = conformance.contradictions(paper(), [], tests)
    assert line.startswith("tests/site/test_a.py::test_wrong: ") and words in line


def test_a_tag_with_an_unknown_id_is_told_with_its_line() -> None:
    (line,) = conformance.contradictions(paper(), [("SM-1", PLACE), ("E-1", PLACE), ("SM-2", PLACE)], [])
    assert line == "roles/dns/tasks/main.yml:2: the tag [SM-2] names an unknown id"


# -- age -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "changed", "words"),
    [
        (BOTH, 50, "newer than the newest change"),
        (BOTH, 150, "2 of 2 results are older than the newest change (site.yml, "),
        ({GOOD.nodeid: result()}, 50, "1 of 2 tests have no result"),
    ],
)
def test_results_that_are_old_or_missing_are_told(got: dict[str, results.Result], changed: float, words: str) -> None:
    assert words in conformance.age([GOOD, BAD], got, lambda suite: (changed, "site.yml"))


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_the_table_has_a_line_a_requirement_and_the_reasons_below() -> None:
    found = row(paper(), [GOOD], BOTH)
    _head, line, problem = conformance.table([found], 150, conformance.plain)
    assert line.startswith("✗ SM-1   A title dns") and "1/1" in line and "0/0" in line and "passed" in line
    assert problem.strip() == "no negative test"
    assert "\033" not in line and "\033" in conformance.table([found], 150, conformance.paint)[1]


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    listed = Paper(requirements={"SM-1": Requirement("SM-1", "<b> & c", negative="a <reason>")})
    text = conformance.page([row(listed, [GOOD], BOTH)], ["x < y"], {}, "note", 0)
    assert "&lt;b&gt; &amp; c" in text and "a &lt;reason&gt;" in text and "x &lt; y" in text
    assert "<script" not in text and "http" not in text
    assert "1 of 1 requirements are met" in text


# -- what runs leave -------------------------------------------------------------------------------------------------


def test_a_run_of_one_test_forgets_nothing_of_the_others(tmp_path: Path) -> None:
    results.merge(tmp_path, {GOOD.nodeid: result(), "tests/unit/test_b.py::test_b": result()})
    results.merge(tmp_path, {GOOD.nodeid: result("failed"), BAD.nodeid: result()})
    assert {nodeid: entry["outcome"] for nodeid, entry in results.read_all(tmp_path).items()} == {
        GOOD.nodeid: "failed",
        BAD.nodeid: "passed",
        "tests/unit/test_b.py::test_b": "passed",
    }
    assert set(json.loads((tmp_path / "site.json").read_text())) == {GOOD.nodeid, BAD.nodeid}


RUN = """
import pytest

mark = pytest.mark.requirement


@mark("SM-1", side="positive")
@mark("SM-2", side="negative")
@pytest.mark.parametrize("value", [1, 2])
def test_value(value):
    assert value == 1


@mark("SM-1", side="positive")
def test_skipped():
    pytest.skip("not here")


@mark("SM-1", side="positive")
@pytest.mark.xfail
def test_expected():
    assert False


@pytest.fixture
def broken():
    yield
    raise OSError


@mark("SM-1", side="negative")
def test_teardown(broken):
    pass


def test_unmarked():
    pass
"""


def test_the_recorder_keeps_the_worst_phase_of_each_marked_test(tmp_path: Path) -> None:
    (tmp_path / "test_run.py").write_text(RUN)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = requirement\n")
    kept = tmp_path / "kept"
    pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", str(tmp_path)], plugins=[results.Recorder(kept)])
    found = results.read_all(kept)
    assert {nodeid.split("::")[1]: entry["outcome"] for nodeid, entry in found.items()} == {
        "test_value[1]": "passed",
        "test_value[2]": "failed",
        "test_skipped": "skipped",
        "test_expected": "skipped",
        "test_teardown": "failed",
    }
    shows = [{"id": "SM-1", "side": "positive"}, {"id": "SM-2", "side": "negative"}]
    assert found["test_run.py::test_value[1]"]["shows"] == shows


def test_the_suites_can_be_collected_in_one_go() -> None:
    """Suites of other inventories choose theirs when they are imported, which would break those of the lab."""
    code = "from tools import conformance; print(len(conformance.collect()))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'collections'}{os.pathsep}{ROOT / 'lab'}"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and int(done.stdout) > 500, done.stdout + done.stderr
