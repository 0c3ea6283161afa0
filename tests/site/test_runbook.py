"""The runbook and the how-to pages work as written: each command, where the page says it is typed, prints what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import pages
from tests.site import lab

RUNBOOK = pages.read(pages.RUNBOOK)
HOWTO = [pages.read(path) for path in pages.HOWTO]


def steps(read: list[pages.Page]) -> list[object]:
    """All commands of some pages, in order; those that change a host only run where that is asked for."""
    return [
        pytest.param(
            page,
            step,
            id=f"{step.page}: {step.host}: {step.script.strip()[:50]}",
            marks=[pytest.mark.lasting] if step.changes else [],
        )
        for page in read
        for step in page.steps
    ]


def typed_here(page: pages.Page, step: pages.Step) -> str:
    """What a command prints on this machine, with a copy of the lab's inventory that has the page's edits."""
    place = lab.ROOT / ".lab/howto"
    place.mkdir(parents=True, exist_ok=True)
    # The copy finds the lab's secrets where the original does.
    if not (place / ".lab").is_symlink():
        (place / ".lab").symlink_to(lab.ROOT / ".lab")
    copy = pages.copy_of(lab.INVENTORY, place, page.edits)
    settings = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", step.script.replace(pages.YOURS, str(copy))],
        cwd=lab.ROOT,
        env={**settings, "PATH": path, "ANSIBLE_CONFIG": str(lab.ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def said(page: pages.Page, step: pages.Step) -> str:
    """What a command of a page prints."""
    if step.host == pages.HERE:
        return typed_here(page, step)
    return lab.Machine(step.host).run("bash", "-c", f"{{ {step.script} }} 2>&1").stdout


def test_no_command_of_the_runbook_is_left_out() -> None:
    assert len(RUNBOOK.steps) == RUNBOOK.fences > 10


@pytest.mark.requirement("OPS-6", side="positive")
@pytest.mark.parametrize(("page", "step"), steps([RUNBOOK]))
def test_a_command_of_the_runbook_says_what_the_page_says(page: pages.Page, step: pages.Step) -> None:
    output = said(page, step)
    assert pages.missing(step, output) == [], output


@pytest.mark.requirement("OPS-6", side="positive")
@pytest.mark.parametrize(("page", "step"), steps(HOWTO))
def test_a_command_of_a_how_to_page_says_what_the_page_says(page: pages.Page, step: pages.Step) -> None:
    output = said(page, step)
    assert pages.missing(step, output) == [], output
