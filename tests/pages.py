"""The pages that tell people what to type, read as tests: commands with what they say, and edits of the inventory."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
RUNBOOK = ROOT / "docs/runbook.md"
HOWTO = sorted(path for path in (ROOT / "docs/howto").glob("*.md") if path.name != "README.md")
# Where a command is typed, in the words of a page: the machine with Ansible.
HERE = "here"
# The inventory that pages speak of; a test puts the path of its copy in its place.
YOURS = "inventories/yours"
BLOCK = re.compile(
    r"^```sh\n# (?:on )?(?P<where>\S+?)(?P<changes>, changes it)?\n(?P<script>(?:(?!```).*\n)+)```\n\n(?P<says>(?:    .*\n)+)",
    re.MULTILINE,
)
EDIT = re.compile(r"^```yaml\n# (?P<file>\S+), below (?P<line>\S+)\n(?P<text>(?:(?!```).*\n)+)```\n", re.MULTILINE)


class Step(NamedTuple):
    """One command of a page."""

    page: str
    host: str
    script: str
    says: list[str]
    changes: bool


class Edit(NamedTuple):
    """Lines that a page puts into a file of the inventory, below a line of it."""

    file: str
    line: str
    text: str


@dataclass
class Page:
    """A page, with what it has in fenced blocks."""

    path: Path
    steps: list[Step] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    fences: int = 0


def read(path: Path) -> Page:
    """All commands and edits of a page, in order."""
    text = path.read_text(encoding="utf-8")
    page = Page(path, fences=len(re.findall(r"^```\w+$", text, re.MULTILINE)))
    for block in BLOCK.finditer(text):
        says = [line[4:] for line in block["says"].splitlines()]
        page.steps.append(Step(path.stem, block["where"], block["script"], says, bool(block["changes"])))
    page.edits = [Edit(edit["file"], edit["line"], edit["text"]) for edit in EDIT.finditer(text)]
    return page


def pattern(line: str) -> str:
    """A line of a page as a regular expression: `...` is anything, white space is any."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.split("...")]
    return r"[^\n]*".join(parts)


def missing(step: Step, said: str) -> list[str]:
    """What the page says and the command did not."""
    return [line for line in step.says if not re.search(pattern(line), said)]


def copy_of(inventory: Path, place: Path, edits: list[Edit]) -> Path:
    """A copy of an inventory, as deep below `place` as the original is below the root, with the edits of a page."""
    copy = place / YOURS
    if copy.exists():
        shutil.rmtree(copy)
    shutil.copytree(inventory, copy)
    for edit in edits:
        path = copy / edit.file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (found,) = [number for number, line in enumerate(lines) if line.split("#")[0].strip() == edit.line]
        lines.insert(found + 1, edit.text)
        path.write_text("".join(lines), encoding="utf-8")
    return copy
