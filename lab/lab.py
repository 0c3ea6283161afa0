#!/usr/bin/env python3
"""The lab: the whole site in containers. The Makefile calls this; `lab.py --help` lists the commands.

Only the standard library is used here: the first step makes the environment that has everything else.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, NoReturn

import engine
import environment
import images
import kernel
import mail
import pace
import playbook
import scanners
from report import Steps, seconds
from shell import ROOT, STATE, VENV, LabError, run

Command = list[str]
# A name and its commands.
Part = tuple[str, list[Command]]

USER = "alice"
RELEASE = re.compile(r"^lab_release:.*default='(\d+)'", re.MULTILINE)


def release() -> str:
    """The Debian release that was asked for, or else the inventory's."""
    if os.environ.get("LAB_RELEASE"):
        return os.environ["LAB_RELEASE"]
    match = RELEASE.search((ROOT / "inventories/lab/group_vars/all/lab.yml").read_text(encoding="utf-8"))
    if not match:
        raise LabError("inventories/lab/group_vars/all/lab.yml has no line `lab_release` with a default.")
    return match[1]


def other_release() -> str:
    """The release that was not asked for."""
    return next(known for known in sorted(images.CODENAMES) if known != release())


def ensure_environment(steps: Steps) -> None:
    """What all commands need."""
    with steps.step("environment") as (note, result):
        result.append(environment.ensure(note))


def prepare(steps: Steps, *releases: str) -> None:
    """What needs hosts needs besides: environment, engine, images of some releases."""
    ensure_environment(steps)
    with steps.step("engine") as (note, result):
        result.append(engine.ensure(note))
    kernel.ensure(containers())
    with steps.step("images") as (note, result):
        result.append("; ".join(images.ensure(wanted, note) for wanted in releases))


def containers() -> list[str]:
    """The names of the lab's containers."""
    hosts = playbook.inventory()["_meta"]["hostvars"]
    return [f"{of['lab_prefix']}-{name}" for name, of in hosts.items()]


def hosts(steps: Steps) -> None:
    """Containers and props."""
    with steps.step("hosts") as (note, result):
        playbook.play("playbooks/lab/create.yml", "create", "Making networks and containers", note)
        playbook.play("playbooks/lab/prepare.yml", "prepare", "Setting up the hosts around the site", note)
        result.append(" ".join(sorted(playbook.inventory()["_meta"]["hostvars"])))


def site(arguments: argparse.Namespace) -> int:
    """The whole site, and mail through it."""
    steps = Steps(8)
    prepare(steps, release())
    hosts(steps)
    with steps.step("site.yml") as (note, result):
        result.append(str(playbook.play("site.yml", "site", "site.yml", note)))
    with steps.step("tunnels") as (note, result):
        result.append(str(playbook.play("playbooks/lab/tunnels.yml", "tunnels", "Setting up tunnels to the site", note)))
    with steps.step("delegations") as (note, result):
        result.append(
            str(playbook.play("playbooks/lab/delegations.yml", "delegations", "Handing in the keys of the zones", note))
        )
    with steps.step("mail") as (note, result):
        lab = mail.Lab(playbook.inventory())
        note("in")
        result.append(mail.deliver_in(lab, USER))
        note("out")
        result.append(mail.deliver_out(lab, USER))
    steps.table("Where the time went (tasks of site.yml: the end of .lab/log/site.log)")
    return 0


def up(arguments: argparse.Namespace) -> int:
    """The hosts, bare."""
    steps = Steps(4)
    prepare(steps, release())
    hosts(steps)
    return 0


def image(arguments: argparse.Namespace) -> int:
    """The image alone; molecule asks for it before it makes hosts, with a word from nobody else."""
    environment.ensure(lambda _: None)
    engine.ensure(lambda _: None)
    kernel.ensure(containers())
    print(images.ensure(release(), lambda _: None))
    return 0


# The parts of `make test`.
PARTS = ["lint", "unit", "molecule"]
# Only where asked for: more scenarios of molecule (the release that was not asked for, through converge, idempotence, mail and the
# short drill; another inventory's lab; what check mode foretells; from an earlier commit to this tree), and each role by itself on a
# plain host.
SCENARIOS = ["other", "acme", "check", "upgrade"]
MORE_PARTS = [*SCENARIOS, "roles"]
NEED_LAB = {"molecule", *SCENARIOS, "roles"}
# What is run by this takes only what of the processors is left over.
AFTER_OTHERS = ["nice", "-n", "15"]
# The lab's tests make this when they begin: they are told of it by an environment variable of this name.
TESTS_BEGUN = STATE / "tests-begun"
TELL = {"LAB_TESTS_BEGUN": str(TESTS_BEGUN)}


def checks(wanted: list[str]) -> list[Part]:
    """Names and commands of some of these parts."""
    python = ["lab", "plugins", "roles", "tests", "tools"]
    every = {
        "lint": [
            ["ansible-lint", "--offline", "--profile", "production"],
            ["yamllint", "--strict", "."],
            ["ruff", "check", *python],
            ["ruff", "format", "--check", *python],
            ["mypy"],
        ],
        "unit": [["pytest", "-q", "tests/unit"]],
        "molecule": [["molecule", "test", "--no-command-borders"]],
        **{name: [["molecule", "test", "--no-command-borders", "--scenario-name", name]] for name in SCENARIOS},
        "roles": [["pytest", "-v", "--durations=15", "tests/roles"]],
    }
    return [(name, every[name]) for name in wanted]


def test(arguments: argparse.Namespace) -> int:
    """Lint, unit tests, molecule: all of it is run, a failure is remembered."""
    parts = checks(arguments.parts or PARTS)
    # What needs no lab goes beside the first part that needs one, whose tests wait more than they work.
    alone, in_lab = ([part for part in parts if (part[0] in NEED_LAB) == needed] for needed in (False, True))
    groups = [[*alone, *in_lab[:1]], *([part] for part in in_lab[1:])]
    steps = Steps(len(groups) + (3 if in_lab else 1))
    if in_lab:
        prepare(steps, *sorted({other_release() if name == "other" else release() for name, _ in in_lab}))
    else:
        ensure_environment(steps)
    failed = False
    grown: list[str] = []
    for group in groups:
        with steps.step(", ".join(name for name, _ in group)) as (note, result):
            begun, before = time.time(), pace.unit()
            lines = at_once(group, note)
            after = pace.unit()
            for name, _, taken in lines:
                grown += pace.lines(name, taken, (before, after), begun)
            failed = failed or any(bad for _, bad, _ in lines)
            result += [told(*line) if len(group) > 1 else verdict(line[1]) for line in lines]
    steps.table("Where the time went")
    for line in grown:
        print(f"  {line}", flush=True)
    return 1 if failed else 0


def conformance(arguments: argparse.Namespace) -> int:
    """What the paper asks for, and whether it is met by the latest results."""
    ensure_environment(Steps(1))
    return 0 if tool("conformance") else 1


def docs(arguments: argparse.Namespace) -> int:
    """What of the documentation is made from specs and inventories."""
    ensure_environment(Steps(1))
    made = [tool(name) for name in ("role_tables", "filter_docs", "architecture", "features")]
    return 0 if all(made) else 1


def sanity(arguments: argparse.Namespace) -> int:
    """What the tools of others say of the collection as it is built."""
    ensure_environment(Steps(1))
    return 0 if tool("sanity", *arguments.parts) else 1


def mutants(arguments: argparse.Namespace) -> int:
    """Whether the tests notice what is broken on purpose."""
    ensure_environment(Steps(1))
    become_tool("mutants", *given(arguments, "only"))


def drill(arguments: argparse.Namespace) -> int:
    """Whether mail outlives what breaks."""
    ensure_environment(Steps(1))
    return 0 if tool("drill", *(["--short"] if arguments.short else []), *given(arguments, "only", "delivery")) else 1


def audit(arguments: argparse.Namespace) -> int:
    """What scanners that others wrote say about the running lab."""
    steps = Steps(3)
    ensure_environment(steps)
    with steps.step("engine") as (note, result):
        result.append(engine.ensure(note))
    with steps.step("scanners") as (note, result):
        result.append(scanners.ensure(note))
    return 0 if tool("audit", *arguments.hosts) else 1


def bench(arguments: argparse.Namespace) -> int:
    """How fast the running lab is."""
    ensure_environment(Steps(1))
    become_tool("bench", *given(arguments, "cells", "systems"), *(["--filters"] if arguments.filters else []))


def bench_converge(arguments: argparse.Namespace) -> int:
    """What a converge costs."""
    ensure_environment(Steps(1))
    return 0 if tool("bench_converge", *given(arguments, "gateways")) else 1


def given(arguments: argparse.Namespace, *names: str) -> list[str]:
    """Options that a tool takes by the same names, where they were given."""
    return [word for name in names if getattr(arguments, name) for word in (f"--{name}", getattr(arguments, name))]


# Where tools find the tests, the plugins and what this directory has.
TOOLS_PATH = {"PYTHONPATH": os.pathsep.join(str(ROOT / place) for place in (".", "collections", "lab"))}


def tool(name: str, *argv: str) -> bool:
    """Run one of the tools; whether it is content."""
    return streamed(["python", f"tools/{name}.py", *argv], TOOLS_PATH)


def become_tool(name: str, *argv: str) -> NoReturn:
    """Run one in our place: an interruption has to wait until it has put the lab back, and a parent would not let it."""
    os.chdir(ROOT)
    python = str(VENV / "bin/python")
    os.execve(python, [python, f"tools/{name}.py", *argv], check_environment() | TOOLS_PATH)


def streamed(
    command: Command, more: dict[str, str] | None = None, output: IO[str] | None = None, before: Command | None = None
) -> bool:
    """Run one check with its output on the terminal, or in a file; whether it passed. `before` is what it is run by."""
    print(f"$ {' '.join(command)}", flush=True, file=output)
    program = VENV / "bin" / command[0]
    if not program.exists():
        raise LabError(f"{command[0]} is not in .venv; remove .venv and run this again.")
    argv = [*(before or []), str(program), *command[1:]]
    env = {**check_environment(), **(more or {})}
    return subprocess.run(argv, cwd=ROOT, env=env, stdout=output, stderr=output, check=False).returncode == 0


def at_once(parts: list[Part], note: Callable[[str], None]) -> list[tuple[str, list[Command], float]]:
    """Run parts side by side: the name of each, which of its commands failed, and how long it took.

    One that needs the lab is shown as it goes. The others wait until its hosts are made and its tests begin, which wait more than they
    work; all of what they say is shown when they are through.
    """
    TESTS_BEGUN.unlink(missing_ok=True)
    over = threading.Event()
    if not any(name in NEED_LAB for name, _ in parts):
        over.set()

    def in_lab(part: Part) -> tuple[str, list[Command], float]:
        name, commands = part
        begun = time.monotonic()
        more = TELL | ({"LAB_RELEASE": other_release()} if name == "other" else {})
        try:
            return name, [command for command in commands if not streamed(command, more)], time.monotonic() - begun
        finally:
            over.set()

    def beside(part: Part) -> tuple[str, list[Command], float]:
        name, commands = part
        while not TESTS_BEGUN.exists() and not over.wait(1):
            pass
        begun = time.monotonic()
        bad = []
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            for command in commands:
                note(" ".join(command))
                bad += [] if streamed(command, output=output, before=AFTER_OTHERS) else [command]
            output.seek(0)
            print(output.read(), end="", flush=True)
        return name, bad, time.monotonic() - begun

    with ThreadPoolExecutor(len(parts)) as pool:
        return [begun.result() for begun in [pool.submit(in_lab if part[0] in NEED_LAB else beside, part) for part in parts]]


def verdict(bad: list[Command]) -> str:
    """What is said of commands of which some failed, or none."""
    return "failed: " + "; ".join(" ".join(command) for command in bad) if bad else "passed"


def told(name: str, bad: list[Command], taken: float) -> str:
    """The line of one part of several."""
    return f"{name} {verdict(bad)}, {seconds(taken)}"


def check_environment() -> dict[str, str]:
    """The environment we were started with and our own, less what would make pytest or ansible read other settings."""
    drop = {"ANSIBLE_CONFIG", "ANSIBLE_INVENTORY", "PYTEST_ADDOPTS"}
    env = environment.environment()
    if sys.stdout.isatty():
        env.pop("ANSIBLE_FORCE_COLOR")
    return {**{key: value for key, value in os.environ.items() if key not in drop}, **env}


def destroy(arguments: argparse.Namespace) -> int:
    """Containers, networks and images that we made, and the engine if we started it."""
    steps = Steps(3)
    with steps.step("hosts") as (note, result):
        result.append(remove_hosts(note))
    with steps.step("images") as (note, result):
        result.append(f"{images.remove_all(note)} removed" if engine.version() else "no engine, nothing to remove")
    with steps.step("engine") as (note, result):
        result.append(engine.stop())
    return 0


def remove_hosts(note: Callable[[str], None]) -> str:
    """Containers and networks with our label."""
    if not engine.version():
        return "no engine, nothing to remove"
    removed = 0
    for kind, listing, removal in (
        ("container", ["docker", "ps", "--all"], ["docker", "rm", "--force", "--volumes"]),
        ("network", ["docker", "network", "ls"], ["docker", "network", "rm"]),
    ):
        found = run(
            [*listing, "--quiet", "--filter", f"label={images.LABEL}=true"],
            "destroy",
            doing=f"Listing our {kind}s",
            append=True,
        )
        for identity in found.split():
            note(f"removing {kind} {identity}")
            run([*removal, identity], "destroy", doing=f"Removing {kind} {identity}", append=True)
            removed += 1
    return f"{removed} containers and networks removed"


def stop_engine(arguments: argparse.Namespace) -> int:
    """The engine, if we started it."""
    print(f"engine: {engine.stop()}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--debian", choices=sorted(images.CODENAMES), help="release of the hosts; the inventory's lab_release otherwise"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function, text in (
        ("site", site, "build the whole site and send mail through it"),
        ("up", up, "make the hosts, bare"),
        ("image", image, "make the image"),
        ("test", test, "lint, unit tests, molecule"),
        ("conformance", conformance, "the paper's requirements and the tests that show them"),
        ("docs", docs, "write what is made from the roles' specs and the filters' own words"),
        ("sanity", sanity, "ansible-test, galaxy-importer and others on the collection as it is built"),
        ("mutants", mutants, "break the lab in one place at a time, and see which test notices"),
        ("drill", drill, "break the lab while mail flows, and count what is lost"),
        ("audit", audit, "scanners that others wrote, on every host of the running lab"),
        ("bench", bench, "how fast the running lab is, beside other mail servers"),
        ("bench-converge", bench_converge, "what a converge costs, with more and more gateways"),
        ("destroy", destroy, "remove all that was made"),
        ("stop-engine", stop_engine, "stop the engine if it was started here"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(function=function)
        if function is test:
            command.add_argument("parts", nargs="*", choices=[[], *PARTS, *MORE_PARTS], help="only these parts")
        if function is sanity:
            command.add_argument("parts", nargs="*", metavar="PART", help="only these parts (tools/sanity.py lists them)")
        if function is mutants:
            command.add_argument(
                "--only", default="", metavar="NAME,...", help="only these changes; a star stands for anything"
            )
        if function is drill:
            command.add_argument("--short", action="store_true", help="only what takes five minutes together")
            command.add_argument("--only", default="", metavar="NAME,...", help="only these faults; a star stands for anything")
            command.add_argument("--delivery", default="", metavar="MODE", help="how gateway and store deliver meanwhile")
        if function is bench:
            command.add_argument("--cells", default="", metavar="NAME,...", help="only these, such as 4k-10")
            command.add_argument("--systems", default="", metavar="NAME,...", help="only these, such as ours,postfix")
            command.add_argument("--filters", action="store_true", help="only what filters cost")
        if function is bench_converge:
            command.add_argument("--gateways", default="", metavar="N,...", help="only these numbers of gateways")
        if function is audit:
            command.add_argument("hosts", nargs="*", metavar="HOST", help="only these hosts; docs/audit.md stays as it is")
    arguments = parser.parse_args()
    if arguments.debian:
        # From here on every program that we start reads it, the inventory too.
        os.environ["LAB_RELEASE"] = arguments.debian
    try:
        return int(arguments.function(arguments))
    except LabError as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What was done stays; run it again to go on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
