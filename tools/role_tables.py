#!/usr/bin/env python3
"""Write what argument_specs say of the roles' variables where people read it: the tables of the READMEs, and docs/reference.md.

    python3 tools/role_tables.py     # in the project's environment; `make docs` sees to that

A README's table stands between two comments, which stay; what is between them is replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs/reference.md"
BEGIN = "<!-- Variables: made by `make docs` from meta/argument_specs.yml. -->"
END = "<!-- End of the variables. -->"
BETWEEN = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
# Characters of a default that stands in a table; longer ones are to be looked up.
LONGEST = 48

Options = Mapping[str, Mapping[str, Any]]


def specs(role: str) -> dict[str, dict[str, Any]]:
    """The entry points of a role, the one that is meant without a name first."""
    text = (ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)["argument_specs"]
    return dict(sorted(entries.items(), key=lambda entry: entry[0] != "main"))


def roles() -> list[str]:
    """Names of all roles."""
    return sorted(path.parent.parent.name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))


def sentences(option: Mapping[str, Any]) -> str:
    """A description as Markdown, in one line."""
    text = option.get("description", "")
    text = text if isinstance(text, str) else " ".join(text)
    return re.sub(r"[CVOM]\(([^)]*)\)", r"`\1`", text)


def kind(option: Mapping[str, Any]) -> str:
    """The type of a value in words."""
    return f"list of {option['elements']}" if option.get("elements") else str(option["type"])


def default(option: Mapping[str, Any], where: str) -> str:
    """What a variable is where nobody sets it."""
    if option.get("required"):
        return "required"
    if option.get("default") is None:
        return "unset"
    value = option["default"]
    # Text without quotes where YAML would read it as the same text.
    bare = isinstance(value, str) and bool(re.match(r"(\{\{|[A-Za-z/])", value)) and value not in ("no", "yes", "on", "off")
    shown = str(value) if bare else json.dumps(value)
    if "\n" in shown or len(shown) > LONGEST:
        return f"[its defaults]({where})"
    return f"`{shown}`"


def rows(options: Options, where: str, inside: str = "") -> Iterator[str]:
    """Rows of a table: a variable, then what is in it."""
    for name, option in options.items():
        place = f"{inside}{name}"
        meaning = sentences(option)
        if option.get("choices"):
            meaning += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        cells = [f"`{place}`", kind(option), default(option, where), meaning]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
        if "options" in option:
            yield from rows(option["options"], where, f"{place}[]." if option["type"] == "list" else f"{place}.")


def table(options: Options, where: str) -> str:
    """The whole table."""
    return "| variable | type | default | meaning |\n|---|---|---|---|\n" + "".join(rows(options, where))


def readme(role: str) -> str:
    """A role's README with its table as it should be."""
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    made = table(specs(role)["main"]["options"], "defaults/main.yml")
    return BETWEEN.sub(lambda _: made, text)


def reference() -> str:
    """The page of all roles."""
    out = [
        "# Reference: every variable of every role\n\n",
        "Made by `make docs` from the roles' `meta/argument_specs.yml`, which Ansible holds values against before anything changes;\n",
        "ids in square brackets are the paper's requirements (requirements.yml). How the inventory's `site_*` variables become these\n",
        "is in `playbooks/group_vars/site.yml`; what each `site_*` variable means is in `inventories/lab/group_vars/all`.\n",
        "\nWhere site.yml makes a variable of `site_*` variables, an inventory's `group_vars` do not change it, for those of a playbook come\n",
        "after them; a host's `host_vars` do. A role that is used by itself takes all of its variables from anywhere.\n",
    ]
    for role in roles():
        for name, entry in specs(role).items():
            title = role if name == "main" else f"{role}, `tasks_from: {name}`"
            out.append(f"\n## {title}\n\n{entry['short_description']}.")
            out.append(f" More in [its README](../roles/{role}/README.md).\n" if name == "main" else "\n")
            if entry == specs(role)["main"] and name != "main":
                out.append("\nThe variables are those of the role itself.\n")
            elif entry.get("options"):
                out.append("\n" + table(entry["options"], f"../roles/{role}/defaults/main.yml"))
    return "".join(out)


@cache
def pages() -> dict[Path, str]:
    """Every page that is made here, whole or in part, as it should be."""
    return {REFERENCE: reference(), **{ROOT / "roles" / role / "README.md": readme(role) for role in roles()}}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
