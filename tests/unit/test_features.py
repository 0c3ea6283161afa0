"""The page of features tells of what there is: variables, pages and tests by these names; and it is the one that `make docs` makes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tools import features, role_tables

ROOT = features.ROOT
PARTS = features.load(features.SOURCE.read_text(encoding="utf-8"))
ROWS = [row for _title, rows in PARTS for row in rows]


def known() -> set[str]:
    """Every variable that an inventory may set: the site's, and the roles'."""
    site: dict[str, Any] = yaml.safe_load((ROOT / "playbooks/group_vars/site.yml").read_text(encoding="utf-8"))
    options = {name for role in role_tables.roles() for name in role_tables.specs(role)["main"].get("options", {})}
    return {*site["__site_required"], *site["__site_optional"], *options}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["feature"])
def test_a_feature_names_what_there_is(row: dict[str, Any]) -> None:
    assert set(row) <= {"feature", "by", "page", "tests", *features.RELEASES}
    assert set(row["by"]) <= known()
    assert (ROOT / "docs" / row["page"]).is_file()
    assert row["tests"], "a feature that nothing looks at"
    for name in row["tests"]:
        file, _, function = name.partition("::")
        assert f"def {function or 'test_'}" in (ROOT / "tests/site" / file).read_text(encoding="utf-8"), name


def test_a_release_without_a_feature_is_told_with_the_reason() -> None:
    row = {"feature": "f", "by": [], "page": "p.md", "tests": ["test_a.py", "test_a.py::test_b"], "12": "too old"}
    assert features.line(row) == "| [f](p.md) | not: too old | yes | always | [test_a](../tests/site/test_a.py) |\n"


def test_the_page_is_made_of_the_list() -> None:
    assert features.PAGE.read_text(encoding="utf-8") == features.page(PARTS), "make docs"
