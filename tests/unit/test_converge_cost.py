"""An unchanged run of site.yml stays cheap: how many tasks a host goes through, executed or passed over."""

from __future__ import annotations

import collections
import re
import subprocess
import sys
from pathlib import Path

from tests.unit.inventory import ROOT

# What fits into a minute for the lab's seven hosts on two cores, with a quarter to spare: 65 take 46 s. Whoever comes near it makes one
# task of several (CONTRIBUTING).
BUDGET = 66


def tasks_of_hosts(listing: str) -> dict[str, int]:
    """For each host the number of tasks in the output of ansible-playbook --list-hosts --list-tasks."""
    count: dict[str, int] = collections.Counter()
    for play in re.split(r"(?m)^  play #", listing)[1:]:
        hosts, tasks = play.split("    tasks:\n")
        for host in re.findall(r"(?m)^      (\S+)$", hosts):
            count[host] += len(re.findall(r"(?m)^      \S", tasks))
    return count


def test_tasks_are_counted_in_each_play_of_a_host() -> None:
    listing = (
        "playbook: site.yml\n\n  play #1 (site): One\tTAGS: []\n    pattern: ['site']\n    hosts (2):\n      a\n      b\n"
        "    tasks:\n      First\tTAGS: []\n      Second\tTAGS: [x]\n\n"
        "  play #2 (b): Two\tTAGS: []\n    pattern: ['b']\n    hosts (1):\n      b\n    tasks:\n      role : Third\tTAGS: []\n"
    )
    assert tasks_of_hosts(listing) == {"a": 2, "b": 3}


def test_no_host_goes_through_more_tasks_than_fit_into_a_minute() -> None:
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "site.yml", "--inventory", "inventories/lab"]
    listing = subprocess.run(
        [*argv, "--list-hosts", "--list-tasks"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    count = tasks_of_hosts(listing)
    assert len(count) >= 7, listing
    assert {host: tasks for host, tasks in count.items() if tasks > BUDGET} == {}


def test_no_play_reads_a_file_of_variables_anew_for_each_task_of_each_host() -> None:
    """As Ansible does with vars_files. group_vars beside the playbooks, and those of the inventory, are read once."""
    names = re.findall(r"import_playbook: (\S+)", (ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    assert len(names) >= 7
    assert [name for name in names if "vars_files" in (ROOT / "playbooks" / name).read_text(encoding="utf-8")] == []
