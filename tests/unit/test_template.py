"""The lookup that roles write their files with, and the callback that reads what it needs for all workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, lookup_loader
from ansible.template import Templar, trust_as_template

from tests.unit.inventory import ROOT

TEXT = "{% for one in table.rows %}\n{{ one }} of {{ count }}\n{% endfor %}\n{% set rows = [] %}\n{{ ansible_managed }} {{ far }}{{ near }}\n"


@pytest.fixture
def said(tmp_path: Path) -> Any:
    """What a lookup makes of a template, and the variables afterwards."""
    init_plugin_loader()
    (tmp_path / "x.j2").write_text(TEXT, encoding="utf-8")

    def said(name: str) -> tuple[list[str], dict[str, Any]]:
        variables = {
            "table": {"rows": ["a", "b"]},
            "count": 2,
            "far": trust_as_template("{{ table.rows | length }}"),
            "near": "-",
        }
        loader = DataLoader()
        loader.set_basedir(str(tmp_path))
        plugin = lookup_loader.get(name, loader=loader, templar=Templar(loader=loader, variables=variables))
        return plugin.run([str(tmp_path / "x.j2")], variables, template_vars={"near": "!"}), variables

    return said


def test_the_lookup_says_what_ansibles_own_says(said: Any) -> None:
    ours, variables = said("widgets.mail.template")
    assert ours == said("ansible.builtin.template")[0]
    assert ours[0].startswith("a of 2\nb of 2\n")
    assert ours[0].endswith(" 2!\n")
    assert (variables["count"], variables["near"], sorted(variables)) == (2, "-", ["count", "far", "near", "table"])


def test_values_are_not_copied(tmp_path: Path) -> None:
    class Single:
        def __deepcopy__(self, memo: dict[int, Any]) -> None:
            raise AssertionError("copied")

    (tmp_path / "x.j2").write_text("plain", encoding="utf-8")
    loader = DataLoader()
    variables = {"single": Single()}

    def said(name: str) -> Any:
        plugin = lookup_loader.get(name, loader=loader, templar=Templar(loader=loader, variables=variables))
        return plugin.run([str(tmp_path / "x.j2")], variables)

    with pytest.raises(AssertionError, match="copied"):
        said("ansible.builtin.template")
    assert said("widgets.mail.template") == ["plain"]


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
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "[]"
    assert found[1:] == sorted(path.stem for path in (ROOT / "plugins/filter").glob("*.py"))


def test_the_project_uses_it() -> None:
    settings = (ROOT / "ansible.cfg").read_text(encoding="utf-8")
    assert [line for line in settings.splitlines() if line.startswith("callbacks_enabled") and "widgets.mail.preload" in line]
