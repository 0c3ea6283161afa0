"""The files of a host's links: what the role writes is what it finds again when a link is no longer there."""

from __future__ import annotations

import fnmatch
from typing import Any

import yaml
from ansible.plugins.filter import core
from ansible_collections.widgets.mail.plugins.filter import policy
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.nativetypes import NativeEnvironment

from tests.unit.inventory import ROOT, lab_site

ROLE = ROOT / "roles/network"
VARIABLES: dict[str, Any] = {
    "network_ipv6": True,
    "network_quick_ack": False,
    "ansible_managed": "Ansible managed",
    **yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8")),
}


def written(links: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The files that the role writes for some links."""
    environment = Environment(loader=FileSystemLoader(ROLE / "templates"), undefined=StrictUndefined, trim_blocks=True)
    # Jinja's own where both have one: Ansible's know its own values alone.
    environment.filters = {**core.FilterModule().filters(), **environment.filters}
    found: list[dict[str, str]] = yaml.safe_load(
        environment.get_template("links.yml.j2").render(**VARIABLES, network_links=links)
    )
    return found


def sets(links: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The sets of files of which only those stay that it writes."""
    task = yaml.safe_load((ROLE / "tasks/settings.yml").read_text(encoding="utf-8"))[0]["widgets.mail.text_files"]
    rows: Any = NativeEnvironment().from_string(task["only"]).render(**VARIABLES, network_links=links)
    return [{key: Environment().from_string(value).render(**VARIABLES) for key, value in row.items()} for row in rows]


def test_each_file_of_a_link_is_found_again_by_its_name_and_mark() -> None:
    links = policy.policy_links(lab_site(), "fw")
    files = written(links)
    assert len(files) == len(links) > 1
    (found,) = sets(links)
    assert [file for file in files if not fnmatch.fnmatchcase(file["path"], found["glob"])] == []
    assert [file for file in files if found["mark"] not in file["content"].splitlines()[0]] == []


def test_without_links_of_its_own_the_role_leaves_all_files_alone() -> None:
    """Whoever has the links then may go by what a former run wrote, and so may the connection."""
    assert written([]) == [] and sets([]) == []
