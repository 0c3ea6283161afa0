"""Packages of roles: the list that base installs in one transaction."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.widgets.mail.plugins.lookup import role_packages as lookup

from tests.unit.inventory import ROOT


@pytest.mark.parametrize("release", ["12", "13"])
def test_every_role_tells_its_packages_as_plain_data(release: str) -> None:
    roles = [path.name for path in sorted((ROOT / "roles").iterdir()) if (path / "vars/main.yml").is_file()]
    packages = lookup.role_packages(roles, release)
    assert {"bind9", "sendmail-bin", "rsyslog", "nftables"} <= set(packages)
    assert not [name for name in packages if "{" in name]


def test_lists_by_release() -> None:
    variables = {"__x_packages": {"12": ["old"], "13": ["new"]}}
    assert lookup.packages_of(variables, "x", "13") == ["new"]
    with pytest.raises(ValueError, match="releases 12, 13, not for 11"):
        lookup.packages_of(variables, "x", "11")


def test_an_unknown_role_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no role moon"):
        lookup.role_packages(["moon"], "12", tmp_path)
