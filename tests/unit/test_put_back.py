"""The record of how a host was, and files that come back by it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.module_utils import before
from ansible_collections.widgets.mail.plugins.modules.put_back import PutBack


class Module:
    """What of AnsibleModule is needed for files."""

    def __init__(self, check_mode: bool = False) -> None:
        self.check_mode = check_mode


def ran(argv: list[str], **_: Any) -> tuple[int, str, str]:
    """A host's answers."""
    said = {
        "dpkg-query": "installed bash\nconfig-files exim4\n",
        "dpkg-statoverride": "root smmsp 2555 /usr/bin/x\n",
        "list-unit-files": "ssh.service enabled enabled\n",
        "list-units": "ssh.service loaded active running x\n",
    }
    return 0, next((text for name, text in said.items() if name in argv), ""), ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host in a directory, as a role finds it."""
    etc = tmp_path / "etc"
    (etc / "bind").mkdir(parents=True)
    (etc / "bind/named.conf").write_text("old\n")
    (etc / "link").symlink_to("bind")
    (etc / "passwd").write_text("root:x:0:0:::\n")
    monkeypatch.setattr(before, "PLACE", str(tmp_path / "place"))
    monkeypatch.setattr(before, "RECORD", str(tmp_path / "place/before.tar.gz"))
    monkeypatch.setattr(before, "TREES", (str(etc),))
    monkeypatch.setattr(before, "PASSED_OVER", ())
    monkeypatch.setattr(before, "walk", lambda: iter([(str(tmp_path), os.lstat(tmp_path))]))
    before.take(ran)
    return etc


def put_back(patterns: list[str], check: bool = False) -> list[str]:
    """What is done for some patterns."""
    work = PutBack(Module(check), before.Record(before.RECORD))
    work.files(patterns)
    return list(work.changes)


def test_the_record_is_roots_alone_and_knows_what_there_was(host: Path) -> None:
    assert stat.S_IMODE(os.lstat(before.RECORD).st_mode) == 0o600
    record = before.Record(before.RECORD)
    assert record.state["packages"] == ["bash"] and record.state["active"] == ["ssh.service"]
    assert record.state["units"] == {"ssh.service": "enabled"}
    assert record.content(f"{host}/bind/named.conf") == b"old\n"
    assert record.matching(f"{host}/b*") == [f"{host}/bind"]
    assert list(record.lines(f"{host}/passwd")) == ["root"]
    assert record.stat(str(host.parent)) == before.Stat(os.getuid(), os.getgid(), 0o700)


def test_what_was_there_is_as_it_was_and_what_was_not_is_gone(host: Path) -> None:
    (host / "bind/named.conf").write_text("new\n")
    (host / "bind/zones").mkdir()
    (host / "bind/zones/a").write_text("x")
    (host / "link").unlink()
    (host / "link").write_text("no link")
    patterns = [f"{host}/bind", f"{host}/li*"]
    foretold = put_back(patterns, check=True)
    assert (host / "bind/zones/a").exists()
    assert put_back(patterns) == foretold
    assert (host / "bind/named.conf").read_text() == "old\n" and not (host / "bind/zones").exists()
    assert os.readlink(host / "link") == "bind"
    assert put_back(patterns) == []


def test_what_is_gone_comes_back_with_its_mode(host: Path) -> None:
    (host / "bind/named.conf").unlink()
    (host / "bind").rmdir()
    assert put_back([f"{host}/bind"]) == [f"{host}/bind as it was", f"{host}/bind/named.conf as it was"]
    (host / "bind/named.conf").chmod(0o600)
    assert put_back([f"{host}/bind"]) == [f"{host}/bind/named.conf as it was"]
    assert stat.S_IMODE((host / "bind/named.conf").stat().st_mode) == 0o644


def test_what_nobody_names_is_left_alone(host: Path) -> None:
    (host / "other").write_text("x")
    assert put_back([f"{host}/bind"]) == []
    assert (host / "other").exists()
