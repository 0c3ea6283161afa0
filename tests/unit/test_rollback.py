"""The way back from files that could shut the operator out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.widgets.mail.plugins.module_utils import rollback


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A directory of its own, and the commands that would have been run."""
    monkeypatch.setattr(rollback, "DIRECTORY", str(tmp_path / "kept"))
    return []


def arm(said: list[list[str]], paths: list[Path], *commands: list[str]) -> None:
    def record(command: list[str]) -> tuple[int, str, str]:
        said.append(command)
        return 0, "", ""

    assert rollback.arm(record, "probe", 30, map(str, paths), commands) is None


def go_back() -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", f"{rollback.directory('probe')}/script"], capture_output=True, text=True, check=False)


def test_files_are_as_they_were_and_new_ones_are_gone(run: list[list[str]], tmp_path: Path) -> None:
    old, new = tmp_path / "a b%", tmp_path / "new"
    old.write_text("good\n")
    old.chmod(0o640)
    arm(run, [old, new], ["touch", str(tmp_path / "told")])
    old.write_text("bad\n")
    old.chmod(0o600)
    new.write_text("bad\n")
    go_back()
    assert old.read_text() == "good\n" and old.stat().st_mode & 0o777 == 0o640
    assert not new.exists() and (tmp_path / "told").exists()
    assert not Path(rollback.directory("probe")).exists()
    assert run[-1][:1] == ["systemd-run"] and "--on-active=30s" in run[-1]


def test_what_a_broken_off_run_left_unconfirmed_does_not_become_the_way_back(run: list[list[str]], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("good\n")
    second.write_text("good\n")
    arm(run, [first])
    first.write_text("never confirmed\n")
    arm(run, [first, second])
    first.write_text("bad\n")
    second.write_text("bad\n")
    go_back()
    assert (first.read_text(), second.read_text()) == ("good\n", "good\n")


def test_a_timer_that_cannot_be_had_is_told(run: list[list[str]], tmp_path: Path) -> None:
    wrong = rollback.arm(lambda command: (1, "", "no bus") if command[0] == "systemd-run" else (0, "", ""), "probe", 30, [], [])
    assert wrong == "no bus"
