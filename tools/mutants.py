#!/usr/bin/env python3
"""Tests that can fail: breaks the running lab in one place at a time and reports which test noticed.

    python3 tools/mutants.py [--only NAME,...]     # in the project's environment; `make mutants` sees to that

The changes are tests/mutants.yml. The tests that should notice one are those of tests/site that are marked with the
requirements which it attacks. They are run on the sound lab first: a test that fails there proves nothing. Then each change is
made on its host, its tests are run up to the first that fails, and the host is put back, which is checked: the test that noticed
has to pass again. At the end site.yml has nothing to change. A run of all changes is written down in docs/mutants.md.
Ends with 1 where a change goes unnoticed or something cannot be put back.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from tests import results
from tests.site import lab, recap
from tools import conformance
from tools.conformance import Test

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests/mutants.yml"
REPORT = ROOT / "docs/mutants.md"
STATE = ROOT / ".lab/mutants"
# What is applied now: left behind by a run that was killed, and put right by the next one.
APPLIED = STATE / "applied"
# Where a host keeps what was changed. It is gone when the host restarts: then site.yml mends.
KEPT = "/run/mutant"
AWAY = (ROOT / "tools/kept_files.py").read_text(encoding="utf-8")
MEND = "`ansible-playbook site.yml` mends what is left."
SUITE = "tests/site/"
# Seconds that a program may take to come up, and tests to end: a machine may have much else to do.
COMING_UP, TESTING = 60.0, 3600.0
# How often a test may be tried until it passes again.
RECOVERING = 3


class MutantError(Exception):
    """Something that stops the run; the text says what and where."""


# -- the list --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """How a program of a host takes up what was changed, and how one sees that it has."""

    restart: str
    ready: str = "true"


@dataclass(frozen=True)
class Mutant:
    """One change: what it is, where it is made and how, how it is undone, and whose tests should notice."""

    name: str
    what: str = ""
    group: str = ""
    requirements: tuple[str, ...] = ()
    edit: Mapping[str, str] | None = None
    run: str = ""
    play: Mapping[str, Any] | None = None
    keep: tuple[str, ...] = ()
    state: str = ""
    undo: str = ""
    restart: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()

    @property
    def ways(self) -> list[str]:
        """The ways in which it is said to be made: one, if the entry is right."""
        return [way for way in ("edit", "run", "play") if getattr(self, way)]

    @property
    def paths(self) -> list[str]:
        """The files that it changes."""
        return [*([self.edit["path"]] if self.edit else []), *self.keep]


@dataclass
class Listing:
    """The whole list, and what is wrong with it as it is written."""

    programs: dict[str, Program]
    mutants: list[Mutant]
    errors: list[str]


KEYS = set(Mutant.__dataclass_fields__)
LISTS = {"requirements", "keep", "restart", "tests"}
INSIDE = {"edit": {"path", "from", "to"}, "play": {"playbook", "tags", "vars"}}


def load(text: str) -> Listing:
    """The list from its text; an entry that cannot be read as one is left out and told."""
    data = yaml.safe_load(text)
    listing = Listing({name: Program(**how) for name, how in data.get("programs", {}).items()}, [], [])
    for number, entry in enumerate(data.get("mutants", []), 1):
        name = str(entry.get("name") or f"number {number}")
        wrong = [f"has the unknown key {key}" for key in sorted(set(entry) - KEYS)]
        wrong += [f"has the key {key}, which is no list" for key in sorted(LISTS & set(entry)) if type(entry[key]) is not list]
        for key, inside in INSIDE.items():
            if key in entry and set(entry[key] or {}) != inside:
                wrong.append(f"has the key {key}, which wants {', '.join(sorted(inside))}")
        listing.errors += [f"{name} {what}" for what in wrong]
        if not wrong:
            fields: dict[str, Any] = {key: tuple(map(str, value)) if key in LISTS else value for key, value in entry.items()}
            listing.mutants.append(Mutant(**{**fields, "name": name}))
    return listing


def selected(tests: Iterable[Test], mutant: Mutant) -> list[Test]:
    """The tests that should notice: those that show a requirement, or such of them as the entry narrows them to."""
    shown = [test for test in tests if any(identity in mutant.requirements for identity, _side in test.shows)]
    return [test for test in shown if not mutant.tests or any(within(test, place) for place in mutant.tests)]


def within(test: Test, place: str) -> bool:
    """Whether a test is at a place: a file, a function, or one set of a function's parameters."""
    return test.nodeid == place or test.nodeid.startswith((f"{place}::", f"{place}["))


def errors(
    listing: Listing, groups: Mapping[str, Sequence[str]], requirements: Iterable[str], tests: Sequence[Test]
) -> list[str]:
    """What is wrong with the list, against the inventory's groups, the paper's requirements and the tests that there are."""
    known = set(requirements)
    out = list(listing.errors)
    names = [mutant.name for mutant in listing.mutants]
    out += [f"{name} stands there {names.count(name)} times" for name in sorted(set(names)) if names.count(name) > 1]
    for mutant in listing.mutants:
        wrong = []
        if not mutant.what:
            wrong.append("does not say what it changes")
        if not groups.get(mutant.group):
            wrong.append(f"names the group {mutant.group!r}, in which the inventory has no host")
        if len(mutant.ways) != 1:
            wrong.append(f"is made in {len(mutant.ways)} ways; one of edit, run and play is needed")
        if not mutant.paths and not (mutant.state and mutant.undo):
            wrong.append("keeps no file, so it needs state (what shows the change) and undo")
        wrong += [f"restarts the unknown program {name}" for name in mutant.restart if name not in listing.programs]
        wrong += [f"names the unknown requirement {name}" for name in mutant.requirements if name not in known]
        wrong += [f"has the path {path}, which is not absolute" for path in mutant.paths if not path.startswith("/")]
        if not mutant.requirements:
            wrong.append("attacks no requirement")
        elif not selected(tests, mutant):
            wrong.append(f"attacks {', '.join(mutant.requirements)}, of which no test is selected")
        for place in mutant.tests:
            if not any(within(test, place) for test in selected(tests, mutant)):
                wrong.append(f"narrows its tests to {place}, where none shows {' or '.join(mutant.requirements)}")
        out += [f"{mutant.name} {what}" for what in wrong]
    return out


def picked(mutants: Sequence[Mutant], only: str) -> list[Mutant]:
    """The entries that somebody asked for: all, or those of some names, in which a star stands for anything."""
    if not only:
        return list(mutants)
    out = []
    for pattern in only.replace(",", " ").split():
        found = [mutant for mutant in mutants if fnmatch.fnmatchcase(mutant.name, pattern)]
        if not found:
            raise MutantError(f"No mutant is named {pattern}. There are: {', '.join(mutant.name for mutant in mutants)}.")
        out += [mutant for mutant in found if mutant not in out]
    return out


def ordered(tests: Sequence[Test], seconds: Mapping[str, float]) -> list[str]:
    """Tests so that quick ones come first. Those of a file stay together, quick files first: they share what is set up once."""
    took = {test.nodeid: seconds.get(test.nodeid, 0) for test in tests}
    whole: dict[str, float] = {}
    for nodeid, time_taken in took.items():
        whole[file_of(nodeid)] = whole.get(file_of(nodeid), 0) + time_taken
    return sorted(took, key=lambda nodeid: (whole[file_of(nodeid)], file_of(nodeid), took[nodeid]))


def file_of(nodeid: str) -> str:
    """The file of a test."""
    return nodeid.split("::", maxsplit=1)[0]


def edited(text: str, edit: Mapping[str, str]) -> str:
    """A text with a pattern of whole lines (re.MULTILINE) replaced wherever it fits; it has to fit, and to change something."""
    out, count = re.subn(edit["from"], edit["to"], text, flags=re.MULTILINE)
    if not count:
        raise MutantError(f"{edit['from']!r} fits nothing in {edit['path']}")
    return out


# -- what came of it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of one change."""

    mutant: Mutant
    host: str
    caught_by: str
    seconds: float
    trouble: str = ""

    @property
    def good(self) -> bool:
        """Whether a test noticed it and it is undone."""
        return bool(self.caught_by) and not self.trouble

    @property
    def word(self) -> str:
        """What became of it, in short."""
        return self.trouble or (f"caught by {short(self.caught_by)}" if self.caught_by else "SURVIVED: no test failed")


def short(nodeid: str) -> str:
    """A test's id without the directory, which is that of all."""
    return nodeid.removeprefix(SUITE)


def noticed(got: Mapping[str, results.Result], asked: Sequence[str]) -> str:
    """The test that failed, of those asked for; the empty string where all passed."""
    return next((nodeid for nodeid in asked if nodeid in got and got[nodeid]["outcome"] == "failed"), "")


def verdict(outcomes: Sequence[Outcome]) -> str:
    """A sentence on all of them."""
    caught = sum(outcome.good for outcome in outcomes)
    left = ", ".join(outcome.mutant.name for outcome in outcomes if not outcome.good)
    said = f"{caught} of {len(outcomes)} mutants are caught, each by a test that passes before and after."
    return f"{said} Not caught: {left}." if left else said


def report(outcomes: Sequence[Outcome], facts: Mapping[str, str], seconds: float) -> str:
    """The page that is kept: facts, and a row a change."""
    lines = [
        "# Tests that can fail: the mutants and who caught them",
        "",
        "Written by `make mutants`, which breaks the running lab in one place at a time (`tests/mutants.yml`), runs the tests that",
        "should notice until one fails, and puts the lab back. Not edited by hand.",
        "",
        f"{verdict(outcomes)} The whole run took {seconds / 60:.0f} minutes.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        "| mutant | what is changed | host | attacks | caught by (tests/site) | s |",
        "|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        mutant = outcome.mutant
        by = f"`{short(outcome.caught_by).replace('|', chr(92) + '|')}`" if outcome.good else f"**{outcome.word}**"
        cells = [mutant.name, mutant.what, outcome.host, ", ".join(mutant.requirements), by, f"{outcome.seconds:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# -- the hosts -------------------------------------------------------------------------------------------------------


def away(machine: lab.Machine, function: str, **arguments: Any) -> Any:
    """Run a function of tools/kept_files.py on a host."""
    done = machine.run("python3", "-c", AWAY, function, text=json.dumps(arguments), check=False)
    if done.returncode != 0:
        raise MutantError(f"{machine.name}: {function}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return json.loads(done.stdout)


def shell(machine: lab.Machine, script: str) -> str:
    """Run a script on a host; it stops at the first command that fails."""
    done = machine.run("bash", "-euo", "pipefail", "-c", script, check=False, timeout=120)
    if done.returncode != 0:
        raise MutantError(f"{machine.name}: {script.strip()}: {(done.stdout + done.stderr).strip()}")
    return done.stdout


def seen(machine: lab.Machine, mutant: Mutant) -> dict[str, Any]:
    """All that tells whether a host is changed: the files that it keeps, and what its `state` prints."""
    out: dict[str, Any] = away(machine, "look", paths=mutant.paths)
    if mutant.state:
        out["state"] = shell(machine, mutant.state)
    return out


def take_up(machine: lab.Machine, mutant: Mutant, programs: Mapping[str, Program]) -> None:
    """Have programs take up what was changed, and wait until they have: a test that came too early would fail for nothing."""
    for name in mutant.restart:
        # A change that systemd finds in a unit wants this; to others it does no harm.
        shell(machine, f"systemctl daemon-reload; {programs[name].restart}")
        deadline = time.monotonic() + COMING_UP
        while machine.run("sh", "-c", programs[name].ready, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise MutantError(f"{machine.name}: {name} did not come up within {COMING_UP:.0f} seconds")
            time.sleep(0.1)


def make(machine: lab.Machine, mutant: Mutant, programs: Mapping[str, Program]) -> None:
    """Make the change."""
    if mutant.edit:
        path = mutant.edit["path"]
        text = edited(machine.run("cat", path).stdout, mutant.edit)
        # Into the same file: owner and mode are not what is changed here.
        machine.run("dd", "status=none", f"of={path}", text=text)
    elif mutant.run:
        shell(machine, mutant.run)
    elif mutant.play:
        argv = ["ansible-playbook", str(mutant.play["playbook"]), "--limit", machine.name, "--tags", str(mutant.play["tags"])]
        done = lab.ansible(*argv, "--extra-vars", json.dumps(mutant.play["vars"]), check=False)
        if done.returncode != 0:
            raise MutantError(f"{' '.join(argv)} failed: {done.stdout[-2000:]}{done.stderr}")
    take_up(machine, mutant, programs)


def undo(machine: lab.Machine, mutant: Mutant, programs: Mapping[str, Program]) -> None:
    """Undo the change."""
    if away(machine, "kept", directory=KEPT):
        away(machine, "put_back", directory=KEPT)
    if mutant.undo:
        shell(machine, mutant.undo)
    take_up(machine, mutant, programs)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """What must come to its end: an interruption is ignored."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def changed(machine: lab.Machine, mutant: Mutant, programs: Mapping[str, Program]) -> Iterator[None]:
    """A host with a change made, for a while; whatever happens meanwhile, it is undone and the host is as before."""
    before = seen(machine, mutant)
    with undisturbed():
        away(machine, "keep", paths=mutant.paths, directory=KEPT)
        STATE.mkdir(parents=True, exist_ok=True)
        APPLIED.write_text(mutant.name, encoding="utf-8")
    try:
        make(machine, mutant, programs)
        if seen(machine, mutant) == before:
            raise MutantError(f"{machine.name}: the change changes nothing")
        yield
    finally:
        with undisturbed():
            try:
                undo(machine, mutant, programs)
                after = seen(machine, mutant)
            except MutantError as problem:
                raise Left(f"{mutant.name} could not be undone: {problem}") from problem
            if differs := ", ".join(key for key in before if after[key] != before[key]):
                raise Left(f"{mutant.name} is not undone: {machine.name} is not as before ({differs})")
            APPLIED.unlink()


class Left(MutantError):
    """A change that could not be undone: no test on this lab says anything any more."""


def put_right(mutants: Sequence[Mutant], programs: Mapping[str, Program]) -> str:
    """Undo what a run that was killed has left; its name, or the empty string."""
    if not APPLIED.exists():
        return ""
    name = APPLIED.read_text(encoding="utf-8")
    try:
        for mutant in (mutant for mutant in mutants if mutant.name == name):
            undo(lab.Machine(lab.group(mutant.group)[0]), mutant, programs)
    except MutantError as problem:
        raise MutantError(f"{name} was left by a run that was killed, and could not be undone: {problem}. {MEND}") from problem
    finally:
        # Once is enough: where it cannot be undone, a host may have been made anew since.
        APPLIED.unlink()
    return name


# -- tests -----------------------------------------------------------------------------------------------------------


def pytest_run(nodeids: Sequence[str], log: str, *options: str) -> dict[str, results.Result]:
    """Run tests with what they print in a log of their own; their results, which are none of the project's."""
    where = STATE / "results"
    shutil.rmtree(where, ignore_errors=True)
    (STATE / "log").mkdir(parents=True, exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "TEST_RESULTS": str(where), "PATH": path}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *nodeids]
    # In a session of its own: an interruption at the terminal reaches this program alone, which passes it on and waits until
    # the tests have put away what they had set up.
    with (
        (STATE / "log" / f"{log}.log").open("w", encoding="utf-8") as out,
        subprocess.Popen(
            argv, cwd=ROOT, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
        ) as tests,
    ):
        try:
            status = tests.wait(TESTING)
        except BaseException as reason:
            with undisturbed():
                tests.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    tests.wait(60)
                tests.kill()
            if isinstance(reason, subprocess.TimeoutExpired):
                raise MutantError(
                    f"the tests did not end within {TESTING:.0f} seconds (.lab/mutants/log/{log}.log)"
                ) from reason
            raise
    got = results.read_all(where)
    if status not in (0, 1) or not got or (status == 1 and not any(one["outcome"] == "failed" for one in got.values())):
        raise MutantError(f"pytest ended with {status} and no result that says why (.lab/mutants/log/{log}.log)")
    return got


def failed(got: Mapping[str, results.Result], asked: Iterable[str]) -> list[str]:
    """The tests that did not pass, of those asked for."""
    return sorted(nodeid for nodeid in asked if got.get(nodeid, {"outcome": "not run"})["outcome"] not in ("passed", "skipped"))


def attempt(mutant: Mutant, programs: Mapping[str, Program], asked: Sequence[str]) -> Outcome:
    """Make one change, run its tests until one fails, undo it."""
    machine = lab.Machine(lab.group(mutant.group)[0])
    begun = time.monotonic()
    by, trouble = "", ""
    try:
        with changed(machine, mutant, programs):
            by = noticed(pytest_run(asked, mutant.name, "-x"), asked)
        # Was it the change? Then the same test passes without it, at the latest when peers have tried their connections again.
        if by and all(failed(pytest_run([by], f"{mutant.name}-undone"), [by]) for _ in range(RECOVERING)):
            trouble = f"{short(by)} fails, and still does when all is undone"
    except Left:
        raise
    except MutantError as problem:
        trouble = str(problem)
    return Outcome(mutant, machine.name, by, time.monotonic() - begun, trouble)


# -- facts about the run ---------------------------------------------------------------------------------------------

PACKAGES = ("sendmail-bin", "dovecot-core", "bind9", "nftables", "rsyslog", "tripwire", "openssh-server", "wireguard-tools")


def git(*argv: str) -> str:
    """What git says of this tree; nothing where there is none."""
    done = subprocess.run(["git", *argv], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def facts() -> dict[str, str]:
    """When, of what, and on what a run was made."""
    found: dict[str, str] = {}
    for name in lab.group("site"):
        script = f"dpkg-query -W -f '${{Package}} ${{Version}}\\n' {' '.join(PACKAGES)} 2>/dev/null || true"
        found |= dict(
            line.split(" ") for line in lab.Machine(name).sh(script).splitlines() if line.count(" ") == 1 and line[-1] != " "
        )
    # The page itself is what a run changes.
    dirty = " with changes" if git("status", "--porcelain", "--", ".", f":!{REPORT.relative_to(ROOT)}") else ""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": (git("rev-parse", "--short=12", "HEAD") or "unknown") + dirty,
        "release of the hosts": f"Debian {lab.Machine(lab.GATEWAY).sh('cat /etc/debian_version').strip()}",
        "their packages": ", ".join(f"{name} {version}" for name, version in sorted(found.items()) if version),
        "here": ", ".join(f"{name} {metadata.version(name)}" for name in ("ansible-core", "pytest", "pytest-testinfra")),
    }


# -- the run ---------------------------------------------------------------------------------------------------------


@cache
def colour() -> conformance.Paint:
    """Colours, on a terminal only."""
    return conformance.paint if sys.stdout.isatty() and "NO_COLOR" not in os.environ else conformance.plain


def say(text: str, shade: str = "") -> None:
    """A line, at once."""
    print(colour()(shade, text) if shade else text, flush=True)


def check_lab() -> list[str]:
    """Whether the lab is as before: what site.yml has to change, a line each."""
    done = lab.ansible("ansible-playbook", "site.yml", check=False)
    (STATE / "log/site.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    wrong = [f"site.yml changed {host}: {task}" for host, task in sorted(recap.changed(done.stdout))]
    return wrong if done.returncode == 0 else [*wrong, "site.yml failed (.lab/mutants/log/site.log)"]


def run(only: str) -> int:
    """The whole run; what the program ends with."""
    listing = load(LIST.read_text(encoding="utf-8"))
    tests = [test for test in conformance.collect() if test.nodeid.startswith(SUITE)]
    paper = conformance.load(conformance.LIST.read_text(encoding="utf-8"))
    groups = {name: lab.group(name) for name in lab.inventory() if name != "_meta"}
    if wrong := errors(listing, groups, paper.requirements, tests):
        raise MutantError("\n".join([f"{LIST.relative_to(ROOT)} is wrong; nothing was changed.", *wrong]))
    mutants = picked(listing.mutants, only)
    if missing := lab.missing():
        raise MutantError(f"The lab does not run: {', '.join(missing)} missing. `make site` makes it.")
    begun = time.monotonic()
    if left := put_right(listing.mutants, listing.programs):
        say(f"{left} was left by a run that was killed, and is undone. {MEND}")

    every = sorted({test.nodeid for mutant in mutants for test in selected(tests, mutant)})
    say(f"{len(every)} tests that should notice, on the sound lab ...")
    got = pytest_run(every, "before")
    if bad := failed(got, every):
        raise MutantError(
            "\n".join(["On the sound lab these fail, so they prove nothing (.lab/mutants/log/before.log):", *bad])
        )
    seconds = {nodeid: float(result["seconds"]) for nodeid, result in got.items()}
    say(f"all passed ({time.monotonic() - begun:.0f} s)\n")

    wide = max(len(mutant.name) for mutant in mutants)
    outcomes: list[Outcome] = []
    for number, mutant in enumerate(mutants, 1):
        outcome = attempt(mutant, listing.programs, ordered(selected(tests, mutant), seconds))
        outcomes.append(outcome)
        head = f"[{number}/{len(mutants)}]".rjust(2 * len(str(len(mutants))) + 3)
        line = f"{head} {mutant.name:<{wide}} {outcome.host:<6} {', '.join(mutant.requirements):<14} {outcome.seconds:>4.0f} s"
        say(f"{line}  {outcome.word}", "green" if outcome.good else "red")

    say("\nDoes site.yml find anything to change ...")
    wrong = check_lab()
    for one in wrong:
        say(one, "red")
    took = time.monotonic() - begun
    good = all(outcome.good for outcome in outcomes) and not wrong
    say(
        f"{verdict(outcomes)} {'The lab is as before.' if not wrong else MEND} ({took / 60:.0f} min)",
        "green" if good else "red",
    )
    if good and not only:
        REPORT.write_text(report(outcomes, facts(), took), encoding="utf-8")
        say(f"Written down in {REPORT.relative_to(ROOT)}.")
    return 0 if good else 1


def stop(number: int, frame: object) -> None:
    """Being asked to end is being interrupted."""
    raise KeyboardInterrupt


def main() -> int:
    """Read the command line; turn what goes wrong into words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", metavar="NAME,...", help="only these changes; a star stands for anything")
    signal.signal(signal.SIGTERM, stop)
    try:
        return run(parser.parse_args().only)
    except Left as problem:
        say(f"\n{problem}. {MEND}", "red")
    except MutantError as problem:
        say(f"\n{problem}", "red")
    except KeyboardInterrupt:
        say(f"\nInterrupted; what was changed is undone. Should anything be left: {MEND}", "red")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
