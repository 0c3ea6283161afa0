"""A wrong inventory stops the run before any host is touched, with words that name the entry, its value and what is allowed.

tests/unit/data/wrong_inputs.yml has the wrong inputs. Each one is laid over the lab's inventory and given to the real
playbooks/validate.yml; what a person would read is compared with what the table says.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.site import faults
from tests.unit.inventory import BOTH, CERTIFICATE, KEYS, ROOT, authority, lab_variables
from tools import bench, bench_converge

TABLE = ROOT / "tests/unit/data/wrong_inputs.yml"
CASES: list[dict[str, Any]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
INVENTORY = "inventories/lab"
# What the lab makes when its hosts are made, and this goes without.
MADE = {"site_vpn_peers", "site_tls", "site_acme", "site_mta_sts"}
# What our own tools tell the gateway, which nobody reads before they do.
TOLD = {
    "bench": bench.UNLIMITED,
    "bench-bare": bench.BARE,
    "bench-unfiltered": bench.UNFILTERED,
    "bench-converge": json.loads(bench_converge.CHANGE),
    "drill": json.loads(faults.CHANGED[-1]),
}
UNTOUCHED = "no-such-container"
SAID = re.compile(r"(?P<whose>.+) needs? (?P<count>\d+) correction\(s\)\. Nothing was changed\. (?P<words>.*)", re.DOTALL)
# One for each processor, up to as many as a small machine has.
SERVERS = min(4, len(os.sched_getaffinity(0)))


def sound() -> dict[str, Any]:
    """The lab's variables, with peers that have keys, and servers that have certificates."""
    variables = copy.deepcopy(lab_variables())
    for peer, key in zip(variables["site_vpn_peers"], KEYS, strict=True):
        peer["public_key"] = key
    tls = variables["site_tls"]
    tls["authority"], tls["certificates"] = authority(), dict.fromkeys(tls["certificates"], BOTH)
    variables["site_acme"]["authority"], variables["site_mta_sts"]["certificate"] = CERTIFICATE, BOTH
    return variables


def follow(variables: dict[str, Any], path: str) -> tuple[Any, Any]:
    """The container that the last part of a path such as site_flows/0/from stands in, and that part; + is a new entry."""
    *steps, last = path.split("/")
    here: Any = variables
    for step in steps:
        here = here[int(step) if isinstance(here, list) else step]
    if isinstance(here, list):
        if last == "+":
            here.append(None)
        return here, len(here) - 1 if last == "+" else int(last)
    return here, last


def spoilt(case: dict[str, Any]) -> dict[str, Any]:
    """Those variables of the inventory that a case changes, changed."""
    variables = sound()
    for path in case.get("unset", []):
        place, last = follow(variables, path)
        del place[last]
    for path, value in case.get("set", {}).items():
        place, last = follow(variables, path)
        place[last] = value
    roots = {path.split("/")[0] for path in [*case.get("unset", []), *case.get("set", {})]}
    return {name: variables[name] for name in roots | MADE}


def arguments(case: dict[str, Any], scratch: Path) -> list[str]:
    """The command line: hosts are made unreachable, so that to touch one would fail otherwise."""
    extra = {"ansible_host": UNTOUCHED, "lab_secrets": str(scratch / "secrets"), **spoilt(case)}
    # One host is enough for what is said of all, and quicker.
    limit = case.get("host", "router")
    return ["-i", INVENTORY, "playbooks/validate.yml", "--limit", limit, "-e", json.dumps(extra)]


@contextmanager
def server() -> Iterator[subprocess.Popen[str]]:
    """A process that runs ansible-playbook again and again."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/unit/ansible_server.py"), INVENTORY],
        cwd=ROOT,
        env={**settings, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        assert process.stdin
        process.stdin.close()


def run_all(cases: list[dict[str, Any]], scratch: Path) -> dict[str, tuple[int, str]]:
    """Return code and output of each case, by its name."""

    def share(number: int) -> dict[str, tuple[int, str]]:
        out = {}
        with server() as process:
            assert process.stdin and process.stdout
            for case in cases[number::SERVERS]:
                print(json.dumps(arguments(case, scratch)), file=process.stdin, flush=True)
                code, said = json.loads(process.stdout.readline())
                out[case["name"]] = (code, said)
        return out

    with ThreadPoolExecutor(SERVERS) as pool:
        parts = list(pool.map(share, range(SERVERS)))
    return {name: result for part in parts for name, result in part.items()}


def message(said: str) -> str:
    """What the failed task tells, as it tells it."""
    found = re.search(r"^fatal: \[[^]]+\]: FAILED! => (\{.*\})$", said, re.MULTILINE)
    assert found, said
    return str(json.loads(found[1])["msg"])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """All cases, the inventory as it stands, and what the project's own tools make of it."""
    ours: list[dict[str, Any]] = [{"name": name, "host": "smtp1", "set": told} for name, told in TOLD.items()]
    return run_all([{"name": ""}, *ours, *CASES], tmp_path_factory.mktemp("wrong"))


def test_the_inventory_as_it_stands_is_not_refused(results: dict[str, tuple[int, str]]) -> None:
    code, said = results[""]
    assert code == 0, said


@pytest.mark.parametrize("tool", TOLD)
def test_what_a_tool_of_ours_tells_the_gateway_is_not_refused(tool: str, results: dict[str, tuple[int, str]]) -> None:
    code, said = results[tool]
    assert code == 0, said


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_wrong_input_is_refused_in_the_words_of_the_table(case: dict[str, Any], results: dict[str, tuple[int, str]]) -> None:
    code, said = results[case["name"]]
    assert code != 0, f"not refused: {said}"
    assert "UNREACHABLE" not in said
    found = SAID.fullmatch(message(said))
    assert found, message(said)
    assert found["words"] == case["says"].strip()
    assert int(found["count"]) == case.get("corrections", 1)


def test_every_case_has_its_own_name_and_its_own_message() -> None:
    assert len(CASES) >= 40
    assert len({case["name"] for case in CASES}) == len({case["says"] for case in CASES}) == len(CASES)
