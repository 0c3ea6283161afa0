"""The lookup that roles write their files with, and the callback that reads what it needs for all workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.inventory import ROOT

TEXT = (
    "{% for one in table.rows %}\n{{ one }} of {{ count }}\n{% endfor %}\n{% set rows = [] %}\n"
    "{{ ansible_managed }} {{ far }}{{ near }}\n"
)
# The variables hold a value that says when it is copied. What each lookup says, whether it copied, and the variables afterwards.
SCRIPT = """
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, lookup_loader
from ansible.template import Templar, trust_as_template

class Single:
    copied = 0
    def __deepcopy__(self, memo):
        Single.copied += 1
        return self

init_plugin_loader()
loader = DataLoader()
out = {}
for name in ("widgets.mail.template", "ansible.builtin.template"):
    Single.copied = 0
    variables = {
        "table": {"rows": ["a", "b"]}, "count": 2, "far": trust_as_template("{{ table.rows | length }}"), "near": "-",
        "single": Single(),
    }
    plugin = lookup_loader.get(name, loader=loader, templar=Templar(loader=loader, variables=variables))
    said = plugin.run([sys.argv[1]], variables, template_vars={"near": "!"})
    out[name] = {"said": said, "copied": Single.copied, "names": sorted(variables), "near": variables["near"]}
print(json.dumps(out))
"""


def printed(script: str, *argv: str) -> str:
    """What a script prints in an interpreter of its own, where Ansible finds its plugins as it does in a run."""
    return subprocess.run([sys.executable, "-c", script, *argv], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_lookup_says_what_ansibles_own_says_and_copies_no_value(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text(TEXT, encoding="utf-8")
    found = json.loads(printed(SCRIPT, str(tmp_path / "x.j2")))
    ours, theirs = found["widgets.mail.template"], found["ansible.builtin.template"]
    assert ours["said"] == theirs["said"]
    assert ours["said"][0].startswith("a of 2\nb of 2\n") and ours["said"][0].endswith(" 2!\n")
    assert (ours["copied"], theirs["copied"]) == (0, 1)
    assert (ours["near"], ours["names"]) == ("-", ["count", "far", "near", "single", "table"])


def test_files_are_written_by_it_alone() -> None:
    """One that is written by Ansible's own lookup costs a tenth of a second for each host, and no test is slow enough to see it."""
    sources = [path for place in ("roles", "playbooks") for path in (ROOT / place).rglob("*.yml")]
    found = [str(path.relative_to(ROOT)) for path in sources if "builtin.template'" in path.read_text(encoding="utf-8")]
    assert len(sources) > 50
    assert found == []


def test_what_was_preloaded_is_there_before_the_first_worker() -> None:
    script = """
import sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
from ansible_collections.widgets.mail.plugins.callback import preload
loaded = lambda: sorted(name.rpartition(".")[2] for name in sys.modules if name.startswith("ansible_collections.widgets.mail.plugins.filter."))
before = loaded()
preload.CallbackModule().v2_playbook_on_start(None)
print(before, *loaded())
"""
    found = printed(script).split()
    assert found[0] == "[]"
    assert found[1:] == sorted(path.stem for path in (ROOT / "plugins/filter").glob("*.py"))


def test_the_project_uses_it() -> None:
    settings = (ROOT / "ansible.cfg").read_text(encoding="utf-8")
    assert [line for line in settings.splitlines() if line.startswith("callbacks_enabled") and "widgets.mail.preload" in line]
