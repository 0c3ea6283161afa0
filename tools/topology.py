#!/usr/bin/env python3
"""Draw the topology of an inventory as SVG: zones with their hosts, the hosts that join zones, and the flows of mail.

    python3 tools/topology.py inventories/yours > topology.svg

`make docs` writes that of the lab (tools/architecture.py).

Everything in the picture comes from the inventory's site_zones, site_hosts and site_flows.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import Any

import yaml

WIDTH, LEFT, TOP = 1040, 30, 40
ZONE_HEIGHT, GAP, BOX_WIDTH, BOX_HEIGHT = 100, 82, 142, 66
JOIN_WIDTH, JOIN_STEP, SINGLE_STEP = 128, 134, 150
COLOURS = ("#fbe3df", "#fdf0d5", "#e3eefb", "#e2f3e4")


def site_of(inventory: Path) -> dict[str, Any]:
    """The variables of an inventory that describe its site, unrendered."""
    out: dict[str, Any] = {}
    for path in sorted((inventory / "group_vars" / "all").glob("*.yml")):
        out.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return {key.removeprefix("site_"): value for key, value in out.items() if key.startswith("site_")}


def text(x: float, y: float, words: str, size: int = 13, weight: str = "normal", colour: str = "#222") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="middle">{escape(words)}</text>'
    )


def box(x: float, y: float, title: str, lines: list[str], fill: str = "#fff", width: int = BOX_WIDTH) -> str:
    out = [
        f'<rect x="{x - width / 2:.0f}" y="{y:.0f}" width="{width}" height="{BOX_HEIGHT}" rx="6" fill="{fill}" stroke="#555"/>',
        text(x, y + 19, title, weight="bold"),
    ]
    out += [text(x, y + 34 + 13 * i, line, size=11, colour="#444") for i, line in enumerate(lines)]
    return "\n".join(out)


def short(address: str, zone: dict[str, Any]) -> str:
    """What an IPv6 address has of its own in its zone's network, where the picture has room for no more."""
    return str(address).replace(str(zone["network6"]).split("::")[0], "", 1)


def draw(site: dict[str, Any]) -> str:
    """The picture: one band a zone from outside to inside, joining hosts on the lines between bands; tunnels at their end."""
    tunnels = {name: zone["tunnel"] for name, zone in site["zones"].items() if zone.get("tunnel")}
    zones = sorted(
        (name for name in site["zones"] if name not in tunnels), key=lambda name: site["zones"][name].get("level", -1)
    )
    middle = {name: TOP + i * (ZONE_HEIGHT + GAP) + ZONE_HEIGHT / 2 for i, name in enumerate(zones)}
    height = TOP + len(zones) * (ZONE_HEIGHT + GAP) - GAP + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for i, name in enumerate(zones):
        zone = site["zones"][name]
        level = f", level {zone['level']}" if "level" in zone else ""
        y = middle[name] - ZONE_HEIGHT / 2
        out.append(
            f'<rect x="{LEFT}" y="{y:.0f}" width="{WIDTH - 2 * LEFT}" height="{ZONE_HEIGHT}" rx="10" '
            f'fill="{COLOURS[i % len(COLOURS)]}" stroke="#bbb"/>'
        )
        out.append(
            f'<text x="{LEFT + 12}" y="{y + 18:.0f}" font-size="13" font-weight="bold" fill="#333">{escape(name)}</text>'
        )
        words = [zone["network"] + level, *([zone["network6"]] if zone.get("network6") else [])]
        out += [
            f'<text x="{LEFT + 12}" y="{y + 34 + 14 * line:.0f}" font-size="11" fill="#555">{escape(said)}</text>'
            for line, said in enumerate(words)
        ]
    joins = [name for name, host in site["hosts"].items() if len(host["interfaces"]) > 1]
    for i, name in enumerate(joins):
        x = 130 + JOIN_WIDTH // 2 + JOIN_STEP * i
        feet = sorted(site["hosts"][name]["interfaces"], key=lambda zone: middle[zone])
        top, bottom = middle[feet[0]], middle[feet[-1]]
        # In the gap above the second foot, where no zone is.
        y = middle[feet[1]] - (ZONE_HEIGHT + GAP + BOX_HEIGHT) / 2
        out.append(f'<line x1="{x}" y1="{top:.0f}" x2="{x}" y2="{bottom:.0f}" stroke="#555" stroke-width="3"/>')
        for zone in feet:
            link = site["hosts"][name]["interfaces"][zone]
            out.append(f'<circle cx="{x}" cy="{middle[zone]:.0f}" r="5" fill="#555"/>')
            known = [link["address"], *([short(link["address6"], site["zones"][zone])] if link.get("address6") else [])]
            out += [text(x + 45, middle[zone] + 4 + 14 * line, said, size=11) for line, said in enumerate(known)]
        far = ", ".join(zone for zone, end in tunnels.items() if end == name)
        lines = [" - ".join(feet), *([f"to {far}"] if far else [])]
        out.append(box(x, y, name, lines, fill="#ddd", width=JOIN_WIDTH))
    for zone in zones:
        single = [(name, host) for name, host in site["hosts"].items() if list(host["interfaces"]) == [zone]]
        for i, (name, host) in enumerate(single):
            link = host["interfaces"][zone]
            lines = [link["address"], *([link["address6"]] if link.get("address6") else [])]
            if "public" in host:
                lines.append(f"seen as {host['public']}")
            x = WIDTH - LEFT - 95 - (len(single) - 1 - i) * SINGLE_STEP
            out.append(box(x, middle[zone] - BOX_HEIGHT / 2, name, lines))
    out.append(text(WIDTH / 2, height - 14, f"{len(site['flows'])} flows are permitted; all else is refused and logged", 12))
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    sys.stdout.write(draw(site_of(Path(sys.argv[1]))))
