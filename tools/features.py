#!/usr/bin/env python3
"""Write docs/features.md, which says of each feature on which release it works, from docs/features.yml.

python3 tools/features.py     # in the project's environment; `make docs` sees to that
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCE, PAGE = ROOT / "docs/features.yml", ROOT / "docs/features.md"
RELEASES = ("12", "13")

Row = Mapping[str, Any]


def load(text: str) -> list[tuple[str, list[Row]]]:
    """The features, part by part."""
    return [(part["title"], part["rows"]) for part in yaml.safe_load(text)["features"]]


def code(names: Sequence[str]) -> str:
    """Names in a cell."""
    return ", ".join(f"`{name}`" for name in names) or "always"


def line(row: Row) -> str:
    """A feature as a row of a table."""
    tests = ", ".join(f"[{file.removesuffix('.py')}](../tests/site/{file})" for file in dict.fromkeys(files(row)))
    here = [f"not: {row[release]}" if release in row else "yes" for release in RELEASES]
    return "| " + " | ".join([f"[{row['feature']}]({row['page']})", *here, code(row["by"]), tests]) + " |\n"


def files(row: Row) -> list[str]:
    """The files of a feature's tests."""
    return [name.partition("::")[0] for name in row["tests"]]


def page(parts: Sequence[tuple[str, Sequence[Row]]]) -> str:
    """The whole page."""
    out = [
        "# Features, and the releases that have them\n\n",
        "Made by `make docs` from features.yml. What the paper itself asks for is in the table of `make conformance`. Each name leads to where\n",
        "more is said of it. `make test` runs the tests on the inventory's release, `make test DEBIAN=13` on the other one.\n",
    ]
    head = ["feature", *(f"Debian {release}" for release in RELEASES), "set by", "seen by"]
    for title, rows in parts:
        out.append(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
        out += [line(row) for row in rows]
    return "".join(out)


if __name__ == "__main__":
    PAGE.write_text(page(load(SOURCE.read_text(encoding="utf-8"))), encoding="utf-8")
