"""Runs playbooks and reads what they say about themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import environment
from shell import ROOT, VENV, LabError, answer, last_lines, run

TASK = re.compile(r"^(?:TASK|RUNNING HANDLER|PLAY) \[(.*)\] \**$")
FAILURE = re.compile(r"^(?:fatal|failed): \[([^\]]+)\].*? => (\{.*)$")
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


class Recap(NamedTuple):
    """Sums over the hosts of one run."""

    hosts: int
    tasks: int  # executed on the host with the most
    changed: int

    def __str__(self) -> str:
        changed = f"{self.changed} changed" if self.changed else "nothing changed"
        return f"{self.hosts} hosts, up to {self.tasks} tasks each, {changed}"


def recap(output: str) -> Recap:
    """Read the lines under PLAY RECAP."""
    rows = [match for match in map(RECAP.match, output.splitlines()) if match]
    return Recap(len(rows), max((int(row[2]) for row in rows), default=0), sum(int(row[3]) for row in rows))


def task_of(line: str) -> str | None:
    """The name of the task or play that a line announces."""
    match = TASK.match(line)
    return match[1] if match else None


def failures(lines: list[str]) -> list[str]:
    """What went wrong on which host; the recap that ends a run would hide it."""
    found = []
    task = ""
    for number, line in enumerate(lines):
        task = task_of(line) or task
        match = FAILURE.match(line)
        if not match:
            continue
        # The result is on one line, or on many up to a brace of its own.
        rest = lines[number + 1 :]
        text = match[2] if match[2] != "{" else "\n".join(["{", *rest[: rest.index("}") + 1 if "}" in rest else 0]])
        try:
            result = json.loads(text)
        except ValueError:
            result = {"msg": text}
        details = [str(result[key]).strip() for key in ("msg", "stderr") if result.get(key)]
        found.append(f"{match[1]}, {task}: {' '.join(details)}")
    return found or last_lines(lines)


def play(path: str, log: str, doing: str, note: Callable[[str], None]) -> Recap:
    """Run a playbook of this project on the lab."""
    output = run(
        [str(VENV / "bin/ansible-playbook"), path],
        log,
        doing=doing,
        on_line=lambda line: note(task_of(line) or "") if task_of(line) else None,
        env=environment.environment(),
        advice="What was done so far stays, and running this again goes on from there.",
        telling=failures,
    )
    return recap(output)


def inventory() -> dict[str, Any]:
    """The lab's inventory: variables of each host, and the groups."""
    output = answer([str(VENV / "bin/ansible-inventory"), "--inventory", str(ROOT / "inventories/lab"), "--list"], timeout=60)
    if output is None:
        raise LabError(
            "The inventory inventories/lab cannot be read: `.venv/bin/ansible-inventory -i inventories/lab --list` tells why."
        )
    data: dict[str, Any] = json.loads(output)
    return data
