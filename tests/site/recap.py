"""What a run of ansible-playbook says that it changed, or in check mode that it would: by host and task, with what the diffs show."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.site import lab

TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<name>.+)\] \**$")
CHANGED = re.compile(r"^changed: \[(?P<host>[^\] ]+)")
# A role's task, as Ansible names it.
OF_ROLE = re.compile(r"^(?:[a-z_]+\.[a-z_]+\.)?(?P<role>[a-z0-9_]+) : ")
# What a difference is of that a module words by itself: apt's list of packages.
PREPARED = "(packages)"
# What modules put behind a path.
WORDS = re.compile(r" \((content|file attributes)\)$")
# Results as data, in one line of standard output.
AS_DATA = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_JSON_INDENT": "0"}


def changed(output: str) -> set[tuple[str, str]]:
    """Host and task of every change in the output of a run; a handler is a task like others."""
    out = set()
    task = ""
    for line in output.splitlines():
        if found := TASK.match(line):
            task = found["name"]
        elif found := CHANGED.match(line):
            out.add((found["host"], task))
    return out


class Part(NamedTuple):
    """One difference that a task shows: of what (a path, where it has one), and the texts before and after."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Run:
    """One run: the parts of each change by host and task, and what failed."""

    parts: dict[tuple[str, str], list[Part]]
    failed: list[str]

    @property
    def changes(self) -> set[tuple[str, str]]:
        """Host and task of every change."""
        return set(self.parts)


def role_of(task: str) -> str:
    """The role that a task belongs to, or a word for those that belong to none."""
    found = OF_ROLE.match(task)
    return found["role"] if found else "(playbook)"


def text_of(value: Any) -> str:
    """One side of a diff; modules give data as well as text."""
    return value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True) + "\n"


def parts_of(result: Mapping[str, Any]) -> Iterator[Part]:
    """The differences in a task's result on one host, those of a loop's items included."""
    for item in result.get("results", []):
        if isinstance(item, dict) and item.get("changed"):
            yield from parts_of(item)
    diffs = result.get("diff") or []
    for diff in diffs if isinstance(diffs, list) else [diffs]:
        if "prepared" in diff:
            yield Part(PREPARED, "", diff["prepared"])
        elif "before" in diff or "after" in diff:
            after = diff.get("after", "")
            header = str(
                diff.get("before_header")
                or diff.get("after_header")
                or (after.get("path", "") if isinstance(after, dict) else "")
            )
            yield Part(WORDS.sub("", header), text_of(diff.get("before", "")), text_of(after))


def read(output: str) -> Run:
    """A run out of what the callback `ansible.posix.json` prints."""
    parts: dict[tuple[str, str], list[Part]] = {}
    failed = []
    line = next(line for line in output.splitlines() if line.startswith("{"))
    for play in json.loads(line)["plays"]:
        for task in play["tasks"]:
            name = task["task"]["name"]
            for host, result in task["hosts"].items():
                if (result.get("failed") and not result.get("ignore_errors")) or result.get("unreachable"):
                    failed.append(f"{host}: {name}: {result.get('msg', result)}")
                if result.get("changed"):
                    parts.setdefault((host, name), []).extend(parts_of(result))
    return Run(parts, failed)


def play(book: str, *more: str, inventory: Path = lab.INVENTORY, tree: Path = lab.ROOT) -> Run:
    """Run a playbook to its end, and fail where it fails."""
    done = lab.ansible("ansible-playbook", "-i", str(inventory), book, *more, settings=AS_DATA, tree=tree, check=False)
    assert "\n{" in f"\n{done.stdout}", f"ansible-playbook {book} {' '.join(more)}: {done.stdout}{done.stderr}"
    run = read(done.stdout)
    assert done.returncode == 0, "\n".join([f"ansible-playbook {book} {' '.join(more)}: {done.stderr}", *run.failed])
    return run


def summary(changes: Iterable[tuple[str, str]]) -> str:
    """How many tasks changed something, by role and host: a table for a terminal."""
    count = Counter((role_of(task), host) for host, task in changes)
    roles, hosts = sorted({role for role, _host in count}), sorted({host for _role, host in count})
    rows = [["role", *hosts, "all"]]
    rows += [
        [role, *(str(count[role, host] or "-") for host in hosts), str(sum(count[role, h] for h in hosts))] for role in roles
    ]
    rows += [["all", *(str(sum(count[role, host] for role in roles)) for host in hosts), str(count.total())]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
