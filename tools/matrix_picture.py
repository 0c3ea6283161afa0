#!/usr/bin/env python3
"""Draw the reachability matrix of an inventory as SVG: who reaches which port of whom by its flow table, and who does not.

    PYTHONPATH=.:collections python3 tools/matrix_picture.py inventories/yours > matrix.svg

A row for each host that tries, a column for each address that it tries, and in every box the ports. tests/site/test_matrix.py
draws the same of the running lab, with a cross over each port where something else came than the policy says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import matrix
from tests.site.matrix import Cell, Expected
from tools import topology

# A port's square, squares in a row, and the gap between boxes.
WIDTH, HEIGHT, ACROSS, GAP = 30, 17, 4, 8
LEFT, TOP = 104, 96

# Colours tell themselves apart by how light they are, too.
LOOK = {
    Expected.ANSWERS: ("#1a7f37", "#fff", "a flow lists it: answers"),
    Expected.PASSES: ("#8fd19e", "#222", "a flow lists it, nobody has the service there"),
    Expected.DROPPED: ("#f4f4f4", "#bbb", "dropped by the firewall, and logged"),
    Expected.TURNED_AWAY: ("#f2a65a", "#222", "neighbours: the daemon turns this client away"),
    Expected.CLOSED: ("#fbe3c8", "#999", "neighbours: nothing listens"),
    Expected.ECHO: ("#9cc4e8", "#222", "neighbours: echo is answered, no policy is about it"),
    Expected.FREE: ("#fff", "#bbb", "outside the site: not ours to refuse"),
}
KINDS = list(LOOK)


def label(cell: Cell) -> str:
    """What is written in a port's square."""
    return "echo" if cell.protocol == "icmp" else f"{cell.port}{'u' if cell.protocol == 'udp' else ''}"


def place(number: int) -> tuple[int, int]:
    """Where the square of a box's port is."""
    return number % ACROSS * WIDTH, number // ACROSS * HEIGHT


def columns(cells: Iterable[Cell]) -> list[tuple[str, str]]:
    """The addresses that are tried, each with its host: those that are to be used, then the private ones from outside."""
    known = dict.fromkeys((cell.target, "") for cell in cells if not cell.private)
    return [*known, *dict.fromkeys((cell.target, cell.address) for cell in cells if cell.private)]


def _shapes(ports: int) -> list[str]:
    """What is drawn again and again: a square of each kind, and a cross."""
    out = ["<defs>"]
    for number, kind in enumerate(KINDS):
        fill = LOOK[kind][0]
        out.append(f'<rect id="k{number}" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="2" fill="{fill}" stroke="#ddd"/>')
    out.append(f'<path id="w" d="M1 1L{WIDTH - 2} {HEIGHT - 2}M{WIDTH - 2} 1L1 {HEIGHT - 2}" stroke="#c00" stroke-width="3"/>')
    height = -(-ports // ACROSS) * HEIGHT
    out.append(f'<rect id="b" x="-2" y="-2" width="{ACROSS * WIDTH + 3}" height="{height + 3}" fill="none" stroke="#888"/>')
    out.append("</defs>")
    return out


def _square(x: int, y: int, cell: Cell, wrong: bool) -> str:
    colour = LOOK[cell.expected][1]
    # The default of the whole picture, dropped, needs no colour of its own.
    tone = "" if cell.expected is Expected.DROPPED else f' fill="{colour}"'
    parts = [f'<use href="#k{KINDS.index(cell.expected)}" x="{x}" y="{y}"/>']
    parts.append(f'<text x="{x + WIDTH // 2}" y="{y + 12}"{tone}>{label(cell)}</text>')
    if wrong:
        parts.append(f'<use href="#w" x="{x}" y="{y}"/>')
    return "".join(parts)


def draw(site: policy.Site, cells: list[Cell], wrong: Iterable[Cell] = (), words: str = "") -> str:
    """The picture of a matrix."""
    wrong = set(wrong)
    sources = list(dict.fromkeys(cell.source for cell in cells))
    heads = columns(cells)
    ports = len(next(iter(matrix.rows(cells).values())))
    step_x, step_y = ACROSS * WIDTH + GAP, -(-ports // ACROSS) * HEIGHT + GAP
    width, bottom = LEFT + len(heads) * step_x + GAP, TOP + len(sources) * step_y
    height = bottom + 20 + 20 * -(-len(KINDS) // 3)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" '
        f'fill="#222">',
        *_shapes(ports),
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        '<text x="10" y="24" font-size="17" font-weight="bold">Who reaches which port of whom</text>',
        f'<text x="10" y="44" fill="#555">{escape(words or f"{len(cells)} attempts, as the flow table has them")}; '
        "numbers are TCP ports, u marks UDP</text>",
    ]
    for number, (host, private) in enumerate(heads):
        x = LEFT + number * step_x + (step_x - GAP) // 2
        below = f"{private}, from outside" if private else str(policy.host_zone(site, host))
        out.append(
            f'<g text-anchor="middle"><text x="{x}" y="{TOP - 22}" font-weight="bold">{escape(host)}</text>'
            f'<text x="{x}" y="{TOP - 8}" font-size="11" fill="#555">{escape(below)}</text></g>'
        )
    for number, host in enumerate(sources):
        y = TOP + number * step_y + (step_y - GAP) // 2
        out.append(
            f'<text x="10" y="{y - 2}" font-weight="bold">{escape(host)}</text>'
            f'<text x="10" y="{y + 13}" font-size="11" fill="#555">{escape(policy.host_zone(site, host))}</text>'
        )
    for (source, target, address), row in matrix.rows(cells).items():
        head = (target, address if row[0].private else "")
        left, top = LEFT + heads.index(head) * step_x, TOP + sources.index(source) * step_y
        out.append(
            f'<g transform="translate({left} {top})" font-size="10" text-anchor="middle" fill="{LOOK[Expected.DROPPED][1]}">'
            f"<title>{escape(title(row))}</title>"
        )
        out += [_square(*place(number), cell, cell in wrong) for number, cell in enumerate(row)]
        out.append('<use href="#b"/></g>')
    for number, kind in enumerate(KINDS):
        x, y = 10 + number % 3 * 400, bottom + 12 + 20 * (number // 3)
        out.append(f'<use href="#k{number}" x="{x}" y="{y}"/><text x="{x + 38}" y="{y + 13}">{escape(LOOK[kind][2])}</text>')
    return "\n".join([*out, "</svg>", ""])


def title(row: list[Cell]) -> str:
    """What a box says when one points at it: the two hosts, and the flows between them."""
    first = row[0]
    flows = [f"{cell.service} ({cell.flow})" for cell in row if cell.flow]
    return f"{first.source} to {first.target} at {first.address}: {', '.join(flows) or 'nothing is listed'}"


def props_of(inventory: Path) -> list[str]:
    """The hosts that are none of the site's, by the inventory's file of hosts."""
    hosts: dict[str, Any] = yaml.safe_load((inventory / "hosts.yml").read_text(encoding="utf-8"))
    return list(hosts["all"]["children"].get("props", {}).get("hosts", {}))


if __name__ == "__main__":
    where = Path(sys.argv[1])
    the_site = topology.site_of(where)
    sys.stdout.write(draw(the_site, matrix.expected(the_site, props_of(where))))
