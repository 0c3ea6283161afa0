"""The text of modules whose functions run on hosts, where there is nothing of ours: each with what it imports of tests/site/away."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

IMPORT = re.compile(r"^from (tests\.site\.away\.\w+) import ", re.MULTILINE)
FIRST = "from __future__ import annotations\n"
# What is imported later is there already. On a host where it has been before (tests/site/agent.py) it is not made again.
MAKE = """
import sys, types
for name, text in needed:
    if name not in sys.modules:
        module = types.ModuleType(name)
        exec(compile(text, name, "exec"), module.__dict__)
        sys.modules[name] = module
"""


def text(module: str) -> str:
    """The text of a module as it stands in its file."""
    return Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8")


def needed(module: str) -> list[str]:
    """What a module needs of ours, in the order in which it can be made."""
    out: list[str] = []
    for name in IMPORT.findall(text(module)):
        out += [other for other in (*needed(name), name) if other not in out]
    return out


@cache
def source(module: str) -> str:
    """A module as it is sent to a host. Its own lines are where they are in its file but for one that stands before them."""
    own, parts = text(module), [(name, text(name)) for name in needed(module)]
    if not parts:
        return own
    assert own.count(FIRST) == 1, f"{module}: {FIRST.strip()} comes first"
    return own.replace(FIRST, f"{FIRST}exec({MAKE!r}, {{'needed': {parts!r}}})\n")
