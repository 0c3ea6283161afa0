"""A wrong inventory stops the play before any host is touched, as the program itself shows it.

What else is refused, and in which words, is in tests/unit/data/wrong_inputs.yml.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import lab

UNTOUCHED = "no-such-container"


def validate(**changes: Any) -> subprocess.CompletedProcess[str]:
    """Check the inventory with some variables changed. Its hosts are made unreachable: to touch one would fail otherwise."""
    extra = json.dumps({"ansible_host": UNTOUCHED, **changes})
    return lab.ansible("ansible-playbook", "-i", str(lab.INVENTORY), "playbooks/validate.yml", "-e", extra, check=False)


@pytest.mark.requirement("NET-1", side="positive")
def test_the_inventory_as_it_stands_passes_the_check_without_a_host() -> None:
    done = validate()
    assert done.returncode == 0, done.stdout


@pytest.mark.requirement("NET-1", side="negative")
def test_a_flow_that_opens_the_store_to_strangers_stops_the_run_and_is_named() -> None:
    flow = {"id": "pop-abroad", "from": policy.open_zone(lab.site()), "to": lab.STORE, "services": ["pop3s"]}
    done = validate(site_flows=[*lab.site()["flows"], flow])
    assert done.returncode != 0 and "UNREACHABLE" not in done.stdout
    words = ("pop-abroad", "opens a store", "through a gateway", "Nothing was changed")
    assert [word for word in words if word not in done.stdout] == []


def test_an_inventory_without_its_tables_is_told_which_are_missing(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(f"[site]\n{UNTOUCHED}\n")
    done = lab.ansible("ansible-playbook", "-i", str(tmp_path / "hosts"), "playbooks/validate.yml", check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert [
        name for name in ("site_zones", "site_flows", "site_users", "group_vars/all", "Nothing was changed") if name not in said
    ] == []
