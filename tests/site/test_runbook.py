"""The runbook works as written: each of its commands, on the host that it names, prints what the page says."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from tests.site import lab

PAGE = (lab.ROOT / "docs/runbook.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```sh\n# on (?P<host>\S+)\n(?P<script>(?:(?!```).*\n)+)```\n\n(?P<says>(?:    .*\n)+)", re.MULTILINE)


class Step(NamedTuple):
    """One command of the page."""

    host: str
    script: str
    says: list[str]


def steps() -> list[Step]:
    """All commands of the page, in order."""
    return [
        Step(block["host"], block["script"], [line[4:] for line in block["says"].splitlines()])
        for block in BLOCK.finditer(PAGE)
    ]


def pattern(line: str) -> str:
    """A line of the page as a regular expression: `...` is anything, white space is any."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.split("...")]
    return r"[^\n]*".join(parts)


def test_no_command_of_the_page_is_left_out() -> None:
    assert len(steps()) == PAGE.count("```sh\n") > 10


@pytest.mark.requirement("OPS-6", side="positive")
@pytest.mark.parametrize("step", steps(), ids=lambda step: f"{step.host}: {step.script.strip()[:50]}")
def test_a_command_of_the_runbook_says_what_the_page_says(step: Step) -> None:
    said = lab.Machine(step.host).run("bash", "-c", f"{{ {step.script} }} 2>&1").stdout
    assert [line for line in step.says if not re.search(pattern(line), said)] == [], said
