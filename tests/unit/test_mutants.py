"""Mutants: how the list is read and refused, which tests are chosen, what is written down, and that files come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import results
from tests.site import lab
from tools import conformance, kept_files, mutants
from tools.conformance import Test
from tools.mutants import Listing, Mutant, MutantError, Outcome, Program

FAST = Test("tests/site/test_a.py::test_fast", (("SM-1", "positive"),), 3)
SLOW = Test("tests/site/test_b.py::test_slow[x]", (("SM-1", "negative"), ("SM-2", "negative")), 9)
FREE = Test("tests/site/test_b.py::test_slower", (("SM-2", "negative"),), 9)
TESTS = [SLOW, FAST, FREE]
GROUPS = {"gateways": ["smtp1"], "empty": []}
GOOD: dict[str, Any] = {
    "name": "loose",
    "what": "a mode is loosened",
    "group": "gateways",
    "requirements": ["SM-1"],
    "run": "chmod 0666 /etc/x",
    "keep": ["/etc/x"],
}


def listing(*entries: dict[str, Any]) -> Listing:
    text = yaml.safe_dump({"programs": {"named": {"restart": "systemctl restart named"}}, "mutants": list(entries)})
    return mutants.load(text)


def wrong(*entries: dict[str, Any]) -> list[str]:
    return mutants.errors(listing(*entries), GROUPS, ["SM-1", "SM-2", "SM-3"], TESTS)


def mutant(**more: Any) -> Mutant:
    (out,) = listing({**GOOD, **more}).mutants
    return out


def result(outcome: str) -> results.Result:
    return {"outcome": outcome, "ended": 1.0, "seconds": 0.1, "shows": []}


# -- the list --------------------------------------------------------------------------------------------------------


def test_the_projects_own_list_is_sound() -> None:
    own = mutants.load(mutants.LIST.read_text(encoding="utf-8"))
    paper = conformance.load(conformance.LIST.read_text(encoding="utf-8"))
    groups = {name: lab.group(name) for name in lab.inventory() if name != "_meta"}
    # Which tests there are is known to a run of pytest; here every requirement has one, in every file.
    places = sorted({place for mutant in own.mutants for place in mutant.tests})
    tests = [Test(f"{place}::test_any", tuple((name, "negative") for name in paper.ids)) for place in [*places, "any.py"]]
    assert mutants.errors(own, groups, paper.requirements, tests) == []
    for place in places:
        path, _, function = place.partition("::")
        assert f"def {function}" in (mutants.ROOT / path).read_text(encoding="utf-8"), place
    assert len(own.mutants) >= 30


def test_every_kind_of_host_is_attacked() -> None:
    own = mutants.load(mutants.LIST.read_text(encoding="utf-8"))
    assert {mutant.group for mutant in own.mutants} == set(lab.inventory()["site"]["children"])


def test_a_sound_entry_is_read() -> None:
    assert wrong(GOOD) == []
    assert mutant().keep == ("/etc/x",) and mutant().ways == ["run"] and mutant().paths == ["/etc/x"]
    assert listing(GOOD).programs == {"named": Program("systemctl restart named", "true")}
    assert mutant(run="", edit={"path": "/etc/y", "from": "a", "to": "b"}).paths == ["/etc/y", "/etc/x"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"group": "gateway"}, "loose names the group 'gateway', in which the inventory has no host"),
        ({"group": "empty"}, "loose names the group 'empty', in which the inventory has no host"),
        ({"requirements": ["SM-1", "SM-9"]}, "loose names the unknown requirement SM-9"),
        ({"requirements": ["SM-3"]}, "loose attacks SM-3, of which no test is selected"),
        ({"requirements": []}, "loose attacks no requirement"),
        (
            {"tests": ["tests/site/test_a.py", "tests/site/test_c.py"]},
            "loose narrows its tests to tests/site/test_c.py, where none",
        ),
        ({"restart": ["httpd"]}, "loose restarts the unknown program httpd"),
        ({"run": ""}, "loose is made in 0 ways"),
        ({"edit": {"path": "/etc/x", "from": "a", "to": "b"}}, "loose is made in 2 ways"),
        ({"keep": []}, "loose keeps no file, so it needs state"),
        ({"keep": [], "state": "date"}, "loose keeps no file, so it needs state"),
        ({"keep": ["etc/x"]}, "loose has the path etc/x, which is not absolute"),
        ({"what": ""}, "loose does not say what it changes"),
        ({"host": "smtp1"}, "loose has the unknown key host"),
        ({"keep": "/etc/x"}, "loose has the key keep, which is no list"),
        ({"run": "", "edit": {"path": "/etc/x", "from": "a"}}, "loose has the key edit, which wants from, path, to"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    (error,) = wrong({**GOOD, **change})
    assert error.startswith(words)


def test_a_name_that_stands_there_twice_is_told_once() -> None:
    assert wrong(GOOD, GOOD) == ["loose stands there 2 times"]


def test_some_are_picked_by_name_and_star_and_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    every = listing(GOOD, {**GOOD, "name": "lost"}, {**GOOD, "name": "other"}).mutants
    assert [one.name for one in mutants.picked(every, "")] == ["loose", "lost", "other"]
    assert [one.name for one in mutants.picked(every, "other,lo*,loose")] == ["other", "loose", "lost"]
    with pytest.raises(MutantError, match=r"No mutant is named gone\. There are: loose, lost, other"):
        mutants.picked(every, "gone")


# -- choosing tests --------------------------------------------------------------------------------------------------


def test_the_tests_of_a_requirement_should_notice_and_may_be_narrowed() -> None:
    assert mutants.selected(TESTS, mutant()) == [SLOW, FAST]
    assert mutants.selected(TESTS, mutant(requirements=["SM-1", "SM-2"])) == TESTS
    assert mutants.selected(TESTS, mutant(requirements=["SM-2"], tests=["tests/site/test_b.py::test_slow"])) == [SLOW]
    assert mutants.selected(TESTS, mutant(requirements=["SM-2"], tests=["tests/site/test_b.py"])) == [SLOW, FREE]


def test_quick_tests_come_first_and_those_of_a_file_stay_together() -> None:
    seconds = {SLOW.nodeid: 9.0, FREE.nodeid: 0.0, FAST.nodeid: 2.0}
    assert mutants.ordered(TESTS, seconds) == [FAST.nodeid, FREE.nodeid, SLOW.nodeid]


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    edit = {"path": "/etc/x", "from": "^a=(.*)$", "to": r"b=\1"}
    assert mutants.edited("x=1\na=2\n", edit) == "x=1\nb=2\n"
    with pytest.raises(MutantError, match="fits nothing in /etc/x"):
        mutants.edited("x=1\n", edit)


# -- what came of it -------------------------------------------------------------------------------------------------


def test_the_test_that_failed_has_noticed_and_others_do_not_count() -> None:
    asked = [FAST.nodeid, SLOW.nodeid]
    assert mutants.noticed({FAST.nodeid: result("passed"), SLOW.nodeid: result("failed")}, asked) == SLOW.nodeid
    assert mutants.noticed({FAST.nodeid: result("passed"), SLOW.nodeid: result("skipped")}, asked) == ""
    assert mutants.noticed({FREE.nodeid: result("failed")}, asked) == ""


def test_on_the_sound_lab_a_test_that_was_not_run_has_not_passed() -> None:
    got = {FAST.nodeid: result("failed"), SLOW.nodeid: result("skipped")}
    assert mutants.failed(got, [FAST.nodeid, SLOW.nodeid, FREE.nodeid]) == [FAST.nodeid, FREE.nodeid]


CAUGHT = Outcome(mutant(), "smtp1", SLOW.nodeid, 12.3)
SURVIVED = Outcome(mutant(name="lost"), "smtp1", "", 30.0)
BROKEN = Outcome(mutant(name="odd"), "smtp1", SLOW.nodeid, 3.0, "smtp1: the change changes nothing")


def test_only_what_a_test_noticed_without_trouble_is_caught() -> None:
    assert [one.good for one in (CAUGHT, SURVIVED, BROKEN)] == [True, False, False]
    assert CAUGHT.word == "caught by test_b.py::test_slow[x]"
    assert "SURVIVED" in SURVIVED.word and BROKEN.word == "smtp1: the change changes nothing"
    assert mutants.verdict([CAUGHT]) == "1 of 1 mutants are caught, each by a test that passes before and after."
    assert mutants.verdict([CAUGHT, SURVIVED, BROKEN]).endswith("Not caught: lost, odd.")


def test_the_page_has_the_facts_and_a_row_for_each() -> None:
    page = mutants.report([CAUGHT, SURVIVED], {"date": "today"}, 600)
    assert "- date: today\n" in page and "took 10 minutes" in page
    assert "| loose | a mode is loosened | smtp1 | SM-1 | `test_b.py::test_slow[x]` | 12 |\n" in page
    assert "| lost | a mode is loosened | smtp1 | SM-1 | **SURVIVED: no test failed** | 30 |\n" in page


# -- files -----------------------------------------------------------------------------------------------------------


def test_files_come_back_in_place_with_content_mode_and_time(tmp_path: Path) -> None:
    file, gone, folder, new = (tmp_path / name for name in ("file", "gone", "folder", "folder/new"))
    file.write_text("before")
    gone.write_text("still here")
    folder.mkdir(mode=0o750)
    for path in (file, folder):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    paths = [str(path) for path in (file, gone, folder, new)]
    before, inode = kept_files.look(paths), file.stat().st_ino
    kept_files.keep(paths, str(tmp_path / "kept"))
    assert kept_files.kept(str(tmp_path / "kept"))

    file.write_text("after")
    file.chmod(0o666)
    gone.unlink()
    new.mkdir()
    (new / "more").write_text("x")
    folder.chmod(0o777)
    changed = kept_files.look(paths)
    assert [path for path in paths if changed[path] == before[path]] == []

    kept_files.put_back(str(tmp_path / "kept"))
    assert kept_files.look(paths) == before
    assert (file.stat().st_ino, file.stat().st_mtime, folder.stat().st_mtime) == (inode, 1_000_000_000, 1_000_000_000)
    assert not kept_files.kept(str(tmp_path / "kept"))


def test_what_is_kept_is_not_kept_over(tmp_path: Path) -> None:
    kept_files.keep([], str(tmp_path / "kept"))
    with pytest.raises(FileExistsError):
        kept_files.keep([], str(tmp_path / "kept"))


def test_a_copy_that_was_never_finished_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/0").write_text("half")
    kept_files.put_back(str(tmp_path / "kept"))
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_refused_rather_than_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(SystemExit, match="neither a file nor a directory"):
        kept_files.look([str(tmp_path / "link")])


def test_what_runs_on_hosts_needs_nothing_but_itself(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-c", mutants.AWAY, "look"]
    done = subprocess.run(argv, input=json.dumps({"paths": [str(tmp_path / "no")]}), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {str(tmp_path / "no"): {"kind": "nothing"}}
