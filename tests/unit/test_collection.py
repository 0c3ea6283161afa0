"""The collection as it is built: installed into an empty directory, its playbooks are found and read, with the lab's inventory beside."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.unit.inventory import ROOT, made_by_the_lab
from tools import sanity

PLAYBOOK = "widgets.mail.site"
INVENTORY = "inventories/lab"
HERE = "ansible_collections/widgets/mail"


def ansible(where: Path, *argv: str, code: int = 0) -> str:
    """Run one of this environment's Ansible programs in a directory, as somebody without this clone would, to end with this code."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    own = {"ANSIBLE_COLLECTIONS_PATH": str(where), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(where / "home")}
    program = str(Path(sys.executable).with_name(argv[0]))
    done = subprocess.run(
        [program, *argv[1:]],
        cwd=where,
        env={**settings, **own},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory, and then the collection in it and an inventory beside."""
    where = tmp_path_factory.mktemp("elsewhere")
    ansible(where, "ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(where))
    (tarball,) = where.glob("*.tar.gz")
    ansible(where, "ansible-galaxy", "collection", "install", "--offline", "-p", str(where), str(tarball))
    shutil.copytree(ROOT / "inventories/lab", where / INVENTORY)
    made_by_the_lab(where)
    return where


def test_what_is_built_is_what_somebody_needs_and_nothing_of_the_workshop(place: Path) -> None:
    (tarball,) = place.glob("*.tar.gz")
    with tarfile.open(tarball) as file:
        names = {name.removeprefix("./") for name in file.getnames()}
    for kept in ("README.md", "meta/runtime.yml", "playbooks/site.yml", "inventories/lab/hosts.yml", "docs/reference.md"):
        assert kept in names
    assert {f"roles/{role.name}" for role in (ROOT / "roles").iterdir()} <= names
    parts = {name.split("/")[0] for name in names}
    assert (
        parts
        & {"lab", "molecule", "tests", "tools", "collections", "Makefile", "ansible.cfg", "site.yml", ".venv", ".lab", ".ci"}
        == set()
    )


def test_the_installed_collection_does_the_same_as_the_clone(place: Path) -> None:
    assert f"{HERE}/playbooks/site.yml" in ansible(place, "ansible-playbook", PLAYBOOK, "-i", INVENTORY, "--syntax-check")
    theirs = ansible(place, "ansible-playbook", PLAYBOOK, "-i", INVENTORY, "--list-tasks")
    ours = ansible(place, "ansible-playbook", str(ROOT / "site.yml"), "-i", INVENTORY, "--list-tasks")
    tasks = [line for line in theirs.splitlines() if "TAGS:" in line]
    assert len(tasks) > 50
    assert tasks == [line for line in ours.splitlines() if "TAGS:" in line]


def test_the_wiring_of_roles_and_inventory_is_found_where_the_collection_is_installed(place: Path) -> None:
    """Without it no variable that validate.yml speaks of is there."""
    assert "failed=0" in ansible(place, "ansible-playbook", "widgets.mail.validate", "-i", INVENTORY)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_every_playbook_of_the_collection_is_found_by_its_name(place: Path, name: str) -> None:
    ansible(place, "ansible-playbook", f"widgets.mail.{name}", "-i", INVENTORY, "--syntax-check")


def test_what_is_written_is_read_though_a_later_task_fails() -> None:
    """The collection comes without the clone's ansible.cfg, and the next run would find the files as they should be."""
    plays = [
        play for path in (ROOT / "playbooks").rglob("[!.]*.yml") for play in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
    with_roles = [play for play in plays if re.search(r"\b(import|include)_role\b|'handlers'", str(play))]
    assert len(with_roles) > 10
    assert [play["name"] for play in with_roles if play.get("force_handlers") is not True] == []


@pytest.mark.parametrize("kind", ["module", "filter", "lookup", "callback"])
def test_every_plugin_has_documentation(place: Path, kind: str) -> None:
    listed = ansible(place, "ansible-doc", "-t", kind, "--list", "widgets.mail").splitlines()
    names = [line.split()[0] for line in listed if line.startswith("widgets.mail.")]
    assert names
    ansible(place, "ansible-doc", "-t", kind, *names)
    assert [line for line in listed if "UNDOCUMENTED" in line] == []


def test_whoever_takes_the_labs_inventory_reads_at_once_all_that_still_needs_its_lab_yml(place: Path) -> None:
    """As the README has it: something else in the place of lab.yml."""
    mine = place / "inventories/mine"
    shutil.copytree(ROOT / "inventories/lab", mine, ignore=shutil.ignore_patterns("lab.yml"))
    said = ansible(place, "ansible-playbook", "widgets.mail.validate", "-i", "inventories/mine", code=2)
    texts = "".join((mine / f"group_vars/all/{name}.yml").read_text(encoding="utf-8") for name in ("site", "users"))
    wanted = set(re.findall(r"\blab_\w+", texts))
    assert len(wanted) > 3
    assert {name for name in wanted if f"needs {name}, which is not defined." not in said} == set()


def test_the_versions_agree() -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    assert version in yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text(encoding="utf-8"))["releases"]
    assert f"widgets-mail-{version}.tar.gz" in (ROOT / "execution-environment.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("core", sanity.CORES)
def test_what_ansible_test_is_to_pass_over_is_there_and_has_a_reason(core: str) -> None:
    lines = (ROOT / f"tests/sanity/ignore-{core}.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not (ROOT / line.split()[0]).is_file()] == []
    assert [line for line in lines if " # " not in line] == []


@pytest.mark.parametrize("core", sanity.CORES)
def test_ansible_test_is_told_of_each_plugin_that_it_has_another_licence(core: str) -> None:
    """Else the next plugin fails `make sanity`, which few run."""
    plugins = ROOT / "plugins"
    documented = [path for path in plugins.glob("*/*.py") if "\nDOCUMENTATION = " in path.read_text(encoding="utf-8")]
    told = (ROOT / f"tests/sanity/ignore-{core}.txt").read_text(encoding="utf-8")
    names = {str(path.relative_to(ROOT)) for path in documented}
    assert names == {line.split()[0] for line in told.splitlines() if "missing-gplv3-license" in line}


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*/*.py")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_ansible_test_finds_no_fault_with_the_names_in_a_plugin(path: Path) -> None:
    """What `make sanity` said most often, in a moment: ansible-doc warns of names that are set together, pylint refuses the name _."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = path.parent.name not in {"module_utils", "plugin_utils", "action"}
    together = [node.lineno for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)]
    nameless = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "_"]
    assert (together if documented else [], nameless) == ([], [])
