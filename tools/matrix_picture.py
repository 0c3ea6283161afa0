#!/usr/bin/env python3
"""Draw the reachability matrix of an inventory as SVG: who reaches which port of whom by its flow table, and who does not.

    PYTHONPATH=.:collections python3 tools/matrix_picture.py inventories/yours > matrix.svg

A row for each host that tries, a column for each host that it tries and for each private address of one, and in every box the ports.
A port's square is for both address families, and in two halves where they differ. tests/site/test_matrix.py draws the same of the
running lab, with a cross over each port where something else came than the policy says: the left half for IPv4, the right for IPv6.
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
HALF = WIDTH // 2
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
        out.append(f'<rect id="h{number}" width="{HALF - 1}" height="{HEIGHT - 1}" rx="2" fill="{fill}" stroke="#ddd"/>')
    for name, right in (("w", WIDTH - 2), ("v", HALF - 2)):
        out.append(f'<path id="{name}" d="M1 1L{right} {HEIGHT - 2}M{right} 1L1 {HEIGHT - 2}" stroke="#c00" stroke-width="3"/>')
    height = -(-ports // ACROSS) * HEIGHT
    out.append(f'<rect id="b" x="-2" y="-2" width="{ACROSS * WIDTH + 3}" height="{height + 3}" fill="none" stroke="#888"/>')
    out.append("</defs>")
    return out


def _square(x: int, y: int, cells: tuple[Cell, ...], wrong: set[Cell]) -> str:
    """The square of a port: of one family, or of both."""
    kinds = [KINDS.index(cell.expected) for cell in cells]
    bad = [cell in wrong for cell in cells]
    colour = LOOK[cells[0].expected][1]
    # The default of the whole picture, dropped, needs no colour of its own.
    tone = "" if cells[0].expected is Expected.DROPPED else f' fill="{colour}"'
    if len(set(kinds)) == 1:
        parts = [f'<use href="#k{kinds[0]}" x="{x}" y="{y}"/>']
    else:
        parts = [f'<use href="#h{kind}" x="{x + at * HALF}" y="{y}"/>' for at, kind in enumerate(kinds)]
    parts.append(f'<text x="{x + HALF}" y="{y + 12}"{tone}>{label(cells[0])}</text>')
    if all(bad):
        parts.append(f'<use href="#w" x="{x}" y="{y}"/>')
    else:
        parts += [f'<use href="#v" x="{x + at * HALF}" y="{y}"/>' for at, is_bad in enumerate(bad) if is_bad]
    return "".join(parts)


def boxes(cells: Iterable[Cell]) -> dict[tuple[str, tuple[str, str]], list[list[Cell]]]:
    """The rows of a box, by who tries and by its column: one of each family that is tried at the same column."""
    out: dict[tuple[str, tuple[str, str]], list[list[Cell]]] = {}
    for (source, target, address), row in matrix.rows(cells).items():
        out.setdefault((source, (target, address if row[0].private else "")), []).append(row)
    return out


def draw(site: policy.Site, cells: list[Cell], wrong: Iterable[Cell] = (), words: str = "") -> str:
    """The picture of a matrix."""
    wrong = set(wrong)
    sources = list(dict.fromkeys(cell.source for cell in cells))
    heads = columns(cells)
    ports = len(next(iter(matrix.rows(cells).values())))
    step_x, step_y = ACROSS * WIDTH + GAP, -(-ports // ACROSS) * HEIGHT + GAP
    both = (
        "; left halves are IPv4, right ones IPv6, whole squares both alike"
        if any(":" in cell.address for cell in cells)
        else ""
    )
    width, bottom = LEFT + len(heads) * step_x + GAP, TOP + len(sources) * step_y
    height = bottom + 20 + 20 * -(-len(KINDS) // 3)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" '
        f'fill="#222">',
        *_shapes(ports),
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        '<text x="10" y="24" font-size="17" font-weight="bold">Who reaches which port of whom</text>',
        f'<text x="10" y="44" fill="#555">{escape(words or f"{len(cells)} attempts, as the flow table has them")}; '
        f"numbers are TCP ports, u marks UDP{both}</text>",
    ]
    for number, (host, private) in enumerate(heads):
        x = LEFT + number * step_x + (step_x - GAP) // 2
        above, below = (f"{host}, from outside", private) if private else (host, str(policy.host_zone(site, host)))
        out.append(
            f'<g text-anchor="middle"><text x="{x}" y="{TOP - 22}" font-weight="bold">{escape(above)}</text>'
            f'<text x="{x}" y="{TOP - 8}" font-size="11" fill="#555">{escape(below)}</text></g>'
        )
    for number, host in enumerate(sources):
        y = TOP + number * step_y + (step_y - GAP) // 2
        out.append(
            f'<text x="10" y="{y - 2}" font-weight="bold">{escape(host)}</text>'
            f'<text x="10" y="{y + 13}" font-size="11" fill="#555">{escape(policy.host_zone(site, host))}</text>'
        )
    for (source, head), box in boxes(cells).items():
        left, top = LEFT + heads.index(head) * step_x, TOP + sources.index(source) * step_y
        out.append(
            f'<g transform="translate({left} {top})" font-size="10" text-anchor="middle" fill="{LOOK[Expected.DROPPED][1]}">'
            f"<title>{escape('; '.join(map(title, box)))}</title>"
        )
        out += [_square(*place(number), same, wrong) for number, same in enumerate(zip(*box, strict=True))]
        out.append('<use href="#b"/></g>')
    for number, kind in enumerate(KINDS):
        x, y = 10 + number % 3 * 400, bottom + 12 + 20 * (number // 3)
        out.append(f'<use href="#k{number}" x="{x}" y="{y}"/><text x="{x + 38}" y="{y + 13}">{escape(LOOK[kind][2])}</text>')
    return "\n".join([*out, "</svg>", ""])


def title(row: list[Cell]) -> str:
    """What a box says when one points at it: the two hosts and the address, and the flows between them."""
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
