"""Files that are read and replaced as a whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.widgets.mail.plugins.module_utils import files


def test_what_is_not_there_is_none_and_what_is_no_text_comes_back_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert files.read(str(path)) is None
    path.write_bytes(b"caf\xe9\n")
    files.replace(str(tmp_path / "b"), files.read(str(path)) or "")
    assert (tmp_path / "b").read_bytes() == b"caf\xe9\n"


def test_a_file_is_its_owners_alone_unless_a_mode_is_given(tmp_path: Path) -> None:
    for path, more, mode in ((tmp_path / "key", {}, 0o600), (tmp_path / "new/list", {"mode": 0o644}, 0o644)):
        files.replace(str(path), "a\r\nb\n", **more)
        assert path.read_bytes() == b"a\r\nb\n" and stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o755


def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full(_handle: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        files.replace(str(path), "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"] and path.read_text() == "old"
