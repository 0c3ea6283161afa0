"""Draws what `make bench` measured as SVG: for each kind of load a bar for each system, in relation to Postfix's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

BASE = "postfix"
LEFT, WIDTH, BAR, GAP, TOP = 230, 560, 13, 14, 56
# The scale ends here; a longer bar is cut, its number says how long it is.
MOST = 1.6
# Colours tell themselves apart by how light they are, too.
COLOURS = {"ours": "#1a7f37", "mailbox": "#8fd19e", "postfix": "#444", "tuned": "#999", "stock": "#f2a65a"}


def draw(rates: Mapping[str, Mapping[str, float]], titles: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """The picture, from rates by load and system."""
    shown = {cell: of for cell, of in rates.items() if of.get(BASE)}
    height = TOP + sum(len(of) * BAR + GAP for of in shown.values()) + 10
    scale = WIDTH / MOST
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 110} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{LEFT + WIDTH + 110}" height="{height}" fill="#fff"/>',
        '<text x="8" y="18" font-size="13">Messages a second until all have arrived, as a share of Postfix with its package\'s defaults</text>',
    ]
    x = 8
    for name, title in titles.items():
        out.append(
            f'<rect x="{x}" y="28" width="10" height="10" fill="{COLOURS[name]}"/><text x="{x + 14}" y="37">{escape(title)}</text>'
        )
        x += 30 + 6 * len(title)
    for tick in (0.0, 0.5, 1.0, 1.5):
        at = LEFT + tick * scale
        out.append(
            f'<path d="M{at:.0f} {TOP - 4}V{height - 8}" stroke="#ddd"/><text x="{at + 2:.0f}" y="{TOP - 6}" fill="#888">{tick:.1f} x</text>'
        )
    y = TOP
    for cell, of in shown.items():
        out.append(f'<text x="8" y="{y + 11}">{escape(labels.get(cell, cell))}</text>')
        for name in titles:
            if name not in of:
                continue
            share = of[name] / of[BASE]
            long = min(share, MOST) * scale
            out.append(f'<rect x="{LEFT}" y="{y}" width="{long:.1f}" height="{BAR - 2}" fill="{COLOURS[name]}"/>')
            out.append(f'<text x="{LEFT + long + 4:.1f}" y="{y + 10}">{share:.2f} x ({of[name]:.0f}/s)</text>')
            y += BAR
        y += GAP
    return "\n".join([*out, "</svg>", ""])
