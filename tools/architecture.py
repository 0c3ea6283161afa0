#!/usr/bin/env python3
"""Write the made parts of docs/architecture.md and the pictures in docs/, all from inventories/lab and from the playbooks.

    PYTHONPATH=.:collections python3 tools/architecture.py

The pictures: the topology (tools/topology.py), the reachability matrix (tools/matrix_picture.py) and the wiring, which says what of
the inventory each role is told. The tables: who is reached at what by whom, and which role runs where in which order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import matrix
from tools import matrix_picture, topology

ROOT = Path(__file__).parents[1]
INVENTORY = ROOT / "inventories/lab"
PAGE = ROOT / "docs/architecture.md"
PICTURES = {name: ROOT / "docs" / f"{name}.svg" for name in ("topology", "matrix", "wiring")}
PART = re.compile(r"(<!-- made by `make docs`: (?P<name>\w+) -->\n).*?(?=<!-- to here -->)", re.DOTALL)

# What of the inventory is drawn as one: the flow table with what its words mean.
TABLE = "zones, hosts, services, flows"
GROUPS = "groups (hosts.yml)"
IN_TABLE = {"zones", "hosts", "services", "flows", "pat"}
NAME = re.compile(r"__site\.\w+|\b[a-z_]\w*")
WIDTH, LEFT, RIGHT, STEP, TOP, BOX = 900, 250, 690, 34, 44, 26
COLOURS = ("#b3261e", "#1a6fb3", "#1a7f37", "#8a5a00", "#6a3fb3", "#00707a", "#9b2c6f", "#555555")


def load(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def said(value: Any) -> Iterator[str]:
    """Every text within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from said(part)
    elif isinstance(value, list):
        for part in value:
            yield from said(part)


def sources(name: str, variables: dict[str, Any], seen: tuple[str, ...] = ()) -> list[str]:
    """What of the inventory a name in the wiring stands for, through all that lies between."""
    if name in ("groups", "group_names"):
        return [GROUPS]
    if name.startswith("__site."):
        key = name.removeprefix("__site.")
        return [TABLE] if key in IN_TABLE else [f"site_{key}"]
    if name == "__site":
        return [TABLE]
    if name in variables and name not in seen:
        return in_text(variables[name], variables, (*seen, name))
    if name.startswith("site_"):
        return [TABLE if name.removeprefix("site_") in IN_TABLE else name]
    return []


def in_text(value: Any, variables: dict[str, Any], seen: tuple[str, ...] = ()) -> list[str]:
    """The same of a value that names several."""
    out: dict[str, None] = {}
    for text in said(value):
        for found in NAME.findall(text):
            out.update(dict.fromkeys(sources(found, variables, seen)))
    return list(out)


def wiring() -> dict[str, list[str]]:
    """Each role, with what of the inventory it is told; those that are told nothing are left out."""
    variables = load(ROOT / "playbooks/group_vars/site.yml")
    out: dict[str, dict[str, None]] = {}
    for name, value in variables.items():
        # The longest name that fits: one role's may begin with another's.
        role = max(
            (path.name for path in (ROOT / "roles").iterdir() if name.startswith(f"{path.name}_")), key=len, default=None
        )
        if role:
            out.setdefault(role, {}).update(dict.fromkeys(in_text(value, variables)))
    return {role: list(names) for role, names in out.items() if names}


def draw_wiring(roles: dict[str, list[str]]) -> str:
    """What the inventory has on the left, roles on the right, a line for each that is told."""
    left = list(dict.fromkeys([TABLE, GROUPS, *sorted({name for names in roles.values() for name in names})]))
    rows = max(len(left), len(roles))
    height = TOP + rows * STEP + 10
    place = {name: TOP + STEP * (i + (rows - len(left)) / 2) for i, name in enumerate(left)}
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" text-anchor="end" font-weight="bold">the inventory says</text>',
        f'<text x="{RIGHT}" y="24" font-weight="bold">the role is told</text>',
    ]
    ends = []
    for i, (role, names) in enumerate(roles.items()):
        y = TOP + STEP * (i + (rows - len(roles)) / 2)
        ends.append(
            f'<rect x="{RIGHT}" y="{y:.0f}" width="150" height="{BOX}" rx="5" fill="#eee" stroke="#555"/>'
            f'<text x="{RIGHT + 75}" y="{y + 18:.0f}" text-anchor="middle">{escape(role)}</text>'
        )
        for name in names:
            start, end = place[name] + BOX / 2, y + BOX / 2
            out.append(
                f'<path d="M{LEFT} {start:.0f} C{LEFT + 170} {start:.0f} {RIGHT - 170} {end:.0f} {RIGHT} {end:.0f}" fill="none" '
                f'stroke="{COLOURS[left.index(name) % len(COLOURS)]}" stroke-width="1.4"/>'
            )
    for i, (name, y) in enumerate(place.items()):
        colour = COLOURS[i % len(COLOURS)]
        ends.append(
            f'<rect x="20" y="{y:.0f}" width="{LEFT - 20}" height="{BOX}" rx="5" fill="#fff" stroke="{colour}" stroke-width="1.6"/>'
            f'<text x="{(LEFT + 20) / 2:.0f}" y="{y + 18:.0f}" text-anchor="middle">{escape(name)}</text>'
        )
    return "\n".join([*out, *ends, "</svg>", ""])


def hosts_of(group: dict[str, Any]) -> list[str]:
    """Every host of a group and of the groups in it."""
    found = list(group.get("hosts") or {})
    for child in (group.get("children") or {}).values():
        found += [name for name in hosts_of(child or {}) if name not in found]
    return found


def groups() -> dict[str, list[str]]:
    """The groups that say what a host becomes, with their hosts."""
    top = load(INVENTORY / "hosts.yml")["all"]["children"]
    kinds = {**top["site"]["children"], "mail_clients": top["mail_clients"]}
    return {name: hosts_of(group) for name, group in kinds.items()}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *([*row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def reached(site: dict[str, Any], host: str) -> str:
    """At what a host is reached, and by whom."""
    found: dict[str, list[str]] = {}
    for flow in site["flows"]:
        ends = policy.as_list(flow["to"])
        if host in ends or (policy.host_zone(site, host) in ends and policy.host_zone(site, host) != policy.open_zone(site)):
            for name in flow["services"]:
                found.setdefault(name, []).extend(end for end in policy.as_list(flow["from"]) if end != host)
    ports = {name: " ".join(f"{port}/{kind}" for kind in ("tcp", "udp") for port in service.get(kind, []))
             for name, service in site["services"].items()}  # fmt: skip
    return "<br>".join(f"{name} {ports[name]}: {', '.join(dict.fromkeys(who))}" for name, who in found.items()) or "nothing"


def table_of_hosts() -> str:
    """Each host of the site: what it is, its addresses, and who reaches what there."""
    site, kinds = topology.site_of(INVENTORY), groups()
    rows = []
    for host in dict.fromkeys(name for names in kinds.values() for name in names):
        feet = site["hosts"][host]["interfaces"]
        known = [f"{foot[key]} ({zone})" for zone, foot in feet.items() for key in ("address", "address6") if key in foot]
        public = site["hosts"][host].get("public")
        rows.append([
            f"**{host}**",
            ", ".join(name for name, hosts in kinds.items() if host in hosts),
            "<br>".join([*known, *([f"{public} outside"] if public else [])]),
            reached(site, host),
        ])  # fmt: skip
    return table(["host", "in the groups", "addresses", "what is reached there, and from where"], rows)


def roles_of(task: dict[str, Any]) -> list[dict[str, str]]:
    """The roles of a task: the one that it imports, or those that it goes through in a loop where they are needed."""
    if "ansible.builtin.import_role" in task:
        return [task["ansible.builtin.import_role"]]
    known = [path.name for path in (ROOT / "roles").iterdir()] if "ansible.builtin.include_role" in task else []
    return [{"name": name} for name in re.findall(r"'(\w+)'", str(task.get("loop", ""))) if name in known]


def table_of_order() -> str:
    """Which role runs where, in the order of the whole."""
    rows = []
    for part in load(ROOT / "playbooks/site.yml"):
        path = ROOT / "playbooks" / part["ansible.builtin.import_playbook"]
        for play in load(path):
            tasks = [*play.get("pre_tasks", []), *play.get("tasks", [])]
            imports = [role for task in tasks for role in roles_of(task)]
            names = [
                f"[{role['name'].rpartition('.')[2]}](../roles/{role['name'].rpartition('.')[2]}/README.md)"
                + (f" ({role['tasks_from'].replace('_', ' ')})" if "tasks_from" in role else "")
                for role in imports
            ]
            rows.append([f"[{path.name}](../playbooks/{path.name})", play["hosts"].replace(":", ", "),
                         ", ".join(names) or "no role: holds the inventory against the specs, on the machine with Ansible"])  # fmt: skip
    return table(["playbook", "hosts", "roles, in this order"], rows)


PARTS = {"hosts": table_of_hosts, "order": table_of_order}


def page() -> str:
    """The page with its made parts as they should be."""
    return PART.sub(lambda found: found[1] + PARTS[found["name"]](), PAGE.read_text(encoding="utf-8"))


@cache
def pages() -> dict[Path, str]:
    """All that is made here, as it should be."""
    site = topology.site_of(INVENTORY)
    drawn = {"topology": topology.draw(site), "wiring": draw_wiring(wiring())}
    drawn["matrix"] = matrix_picture.draw(site, matrix.expected(site, matrix_picture.props_of(INVENTORY)))
    return {PAGE: page(), **{PICTURES[name]: text for name, text in drawn.items()}}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
