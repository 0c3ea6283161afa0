"""The how-to pages as far as no host is needed: their edits fit the lab's inventory, and what is typed here says what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import pages
from tests.unit.inventory import ROOT, made_by_the_lab

PAGES = [pages.read(path) for path in pages.HOWTO]
ARCHITECTURE = pages.read(ROOT / "docs/architecture.md")
# What runs without a host; all else is run on the lab (tests/site/test_runbook.py).
WITHOUT_HOSTS = ("playbooks/validate.yml", "openssl passwd", "ansible -m debug")
CASES = [
    (page, step)
    for page in [*PAGES, ARCHITECTURE]
    for step in page.steps
    if step.host == pages.HERE and any(words in step.script for words in WITHOUT_HOSTS)
]


def names(path: Path) -> set[str]:
    """All hosts of an inventory file."""

    def hosts(group: dict[str, Any]) -> set[str]:
        found = set(group.get("hosts") or {})
        for child in (group.get("children") or {}).values():
            found |= hosts(child)
        return found

    return hosts(yaml.safe_load(path.read_text(encoding="utf-8"))["all"])


def test_there_are_the_pages_that_people_need() -> None:
    wanted = {
        "domain",
        "user",
        "gateway",
        "flow",
        "tripwire",
        "key",
        "certificate",
        "mta_sts",
        "dkim",
        "dnssec",
        "dane",
        "selfcheck",
        "path",
        "lockout",
        "account",
        "remove",
        "ipv6",
    }
    assert {page.path.stem for page in PAGES} == wanted
    index = (ROOT / "docs/howto/README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(wanted) if f"({name}.md)" not in index] == []


def test_no_command_of_the_architecture_is_left_out() -> None:
    found = [step for page, step in CASES if page is ARCHITECTURE]
    assert found == ARCHITECTURE.steps and len(found) == ARCHITECTURE.fences > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.stem)
def test_no_block_of_a_page_is_left_out(page: pages.Page) -> None:
    assert len(page.steps) + len(page.edits) == page.fences > 0
    known = names(ROOT / "inventories/lab/hosts.yml") | {pages.HERE}
    assert [step.host for step in page.steps if step.host not in known] == []


@pytest.mark.parametrize(("page", "step"), CASES, ids=[f"{page.path.stem}: {step.script.strip()[:50]}" for page, step in CASES])
def test_what_needs_no_host_says_what_the_page_says(page: pages.Page, step: pages.Step, tmp_path: Path) -> None:
    copy = pages.copy_of(ROOT / "inventories/lab", tmp_path, page.edits)
    made_by_the_lab(tmp_path)
    settings = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", step.script.replace(pages.YOURS, str(copy))],
        cwd=ROOT,
        env={**settings, "PATH": path, "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and pages.missing(step, done.stdout) == [], done.stdout
