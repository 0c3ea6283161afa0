"""What a run of ansible-playbook says that it changed."""

from __future__ import annotations

import re

TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<name>.+)\] \**$")
CHANGED = re.compile(r"^changed: \[(?P<host>[^\] ]+)")


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
