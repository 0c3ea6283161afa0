"""Several files in one task: all sound, or none touched."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.widgets.mail.plugins.module_utils import owners, rollback, unit_states
from ansible_collections.widgets.mail.plugins.module_utils.unit_states import State
from ansible_collections.widgets.mail.plugins.modules import text_files
from jinja2 import Environment

from tests.unit.inventory import ROOT


@pytest.fixture
def row(tmp_path: Path) -> dict[str, str]:
    """A file that whoever runs the tests may own."""
    made = tmp_path.stat()
    return {"owner": owners.user_name(made.st_uid), "group": owners.group_name(made.st_gid)}


def run(capsys: Any, files: list[dict[str, Any]], check: bool = False, **more: Any) -> dict[str, Any]:
    """The module's answer."""
    with patch_module_args({"files": files, "_ansible_check_mode": check, **more}), pytest.raises(SystemExit):
        text_files.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_what_is_predicted_is_what_is_then_done_once(capsys: Any, tmp_path: Path, row: dict[str, str]) -> None:
    new, old = tmp_path / "deep" / "new", tmp_path / "old"
    old.touch()
    files = [{"path": str(new), "content": "a\n", "mode": "0640", **row}]
    predicted = run(capsys, files, check=True, absent=[str(old)])
    assert predicted["changes"] == [str(new), str(old)] and old.exists() and not new.exists()
    done = run(capsys, files, absent=[str(old)])
    assert done == predicted | {"invocation": done["invocation"]}
    assert new.read_text() == "a\n" and stat.S_IMODE(new.stat().st_mode) == 0o640 and not old.exists()
    again = run(capsys, files, absent=[str(old)])
    assert again["changed"] is False and again["diff"] == []


def test_one_file_that_is_not_sound_leaves_all_as_they_are(capsys: Any, tmp_path: Path, row: dict[str, str]) -> None:
    stays = tmp_path / "stays"
    stays.touch()
    good = {"path": str(tmp_path / "good"), "content": "a\n", "validate": "grep a %s", **row}
    bad = {"path": str(tmp_path / "bad"), "content": "a\n", "validate": "grep b %s", **row}
    answer = run(capsys, [good, bad], absent=[str(stays)])
    assert answer["failed"] and str(tmp_path / "bad") in answer["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["stays"]


MARK = "by the role probe"


def test_of_a_set_only_the_wanted_files_stay(capsys: Any, tmp_path: Path, row: dict[str, str]) -> None:
    """What others have put beside them lacks the mark, or is not of the set."""
    texts = {"50-old.conf": f"# Managed {MARK}.\n", "50-other.conf": "# by hand\n", "60-old.conf": f"# {MARK}\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "50-link.conf").symlink_to(tmp_path / "50-old.conf")
    (tmp_path / "50-directory.conf").mkdir()
    (tmp_path / "same").symlink_to(tmp_path)
    old, new = tmp_path / "50-old.conf", {"path": str(tmp_path / "50-new.conf"), "content": f"# {MARK}\n", **row}
    by_another_way = {"path": str(tmp_path / "same/50-way.conf"), "content": f"# {MARK}\n", **row}
    only = [{"glob": str(tmp_path / "50-*.conf"), "mark": MARK}]
    predicted = run(capsys, [new, by_another_way], check=True, only=only)
    assert predicted["changes"] == [new["path"], by_another_way["path"], str(old)] and old.exists()
    assert predicted["diff"][-1]["before"] == texts[old.name] and predicted["diff"][-1]["after"] == ""
    done = run(capsys, [new, by_another_way], only=only)
    assert done == predicted | {"invocation": done["invocation"]}
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"50-new.conf", "50-way.conf", "50-other.conf", "60-old.conf", "50-link.conf", "50-directory.conf", "same"}
    again = run(capsys, [new, by_another_way], only=only)
    assert again["changed"] is False and again["diff"] == []


def test_a_file_that_is_unwanted_twice_is_removed_once(capsys: Any, tmp_path: Path) -> None:
    old = tmp_path / "50-old.conf"
    old.write_text(MARK)
    only = [{"glob": str(tmp_path / pattern), "mark": MARK} for pattern in ("*.conf", "50-*")]
    assert run(capsys, [], absent=[str(old)], only=only)["changes"] == [str(old)]
    assert not old.exists()


def test_one_file_that_is_not_sound_leaves_those_of_the_set(capsys: Any, tmp_path: Path, row: dict[str, str]) -> None:
    (tmp_path / "old").write_text(MARK)
    bad = {"path": str(tmp_path / "bad"), "content": "a\n", "validate": "grep b %s", **row}
    assert run(capsys, [bad], only=[{"glob": str(tmp_path / "*"), "mark": MARK}])["failed"]
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_would_be_put_back_holds_the_unwanted_as_well(capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    armed: list[list[str]] = []
    monkeypatch.setattr(rollback, "arm", lambda _run, _name, _seconds, paths, _commands: armed.append([*paths]))
    old = tmp_path / "old"
    old.write_text(MARK)
    back = {"name": "probe", "seconds": 5, "commands": []}
    run(capsys, [], only=[{"glob": str(tmp_path / "o*"), "mark": MARK}], rollback=back)
    assert armed == [[str(old)]] and not old.exists()


@pytest.mark.parametrize(
    ("pattern", "mark", "words"), [("etc/50-*", MARK, "only: the glob 'etc/50-*'"), ("/etc/50-*", " ", "has no mark")]
)
def test_a_set_that_could_be_anything_is_refused(capsys: Any, pattern: str, mark: str, words: str) -> None:
    answer = run(capsys, [], only=[{"glob": pattern, "mark": mark}])
    assert answer["failed"] and words in answer["msg"]


def test_no_directory_is_removed(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    answer = run(capsys, [], absent=[str(tmp_path / "kept")])
    assert answer["failed"] and "is a directory" in answer["msg"] and (tmp_path / "kept").is_dir()


def test_directories_are_made_and_mended_before_their_files(capsys: Any, tmp_path: Path, row: dict[str, str]) -> None:
    (tmp_path / "loose").mkdir(0o755)
    wanted = [{"path": str(tmp_path / name), "mode": "0700", **row} for name in ("loose", "new")]
    files = [{"path": str(tmp_path / "new" / "file"), "content": "a\n", **row}]
    assert run(capsys, files, check=True, directories=wanted)["changes"] == [
        *(item["path"] for item in wanted),
        files[0]["path"],
    ]
    assert not (tmp_path / "new").exists()
    run(capsys, files, directories=wanted)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("loose", "new")] == [0o700, 0o700]
    assert run(capsys, files, directories=wanted)["changed"] is False


def test_a_link_in_the_place_of_a_directory_is_refused(capsys: Any, tmp_path: Path, row: dict[str, str]) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    answer = run(capsys, [], directories=[{"path": str(tmp_path / "link"), **row}])
    assert answer["failed"] and "is no directory" in answer["msg"]


def test_what_is_left_to_do_for_units_is_told(capsys: Any, tmp_path: Path, row: dict[str, str], monkeypatch: Any) -> None:
    """All of them where something changed, since they have to read it; otherwise those that do not run or do not start at boot."""
    states = {"good.service": State(True, False, True, True), "off.service": State(True, False, False, True)}
    monkeypatch.setattr(unit_states, "state", lambda _run, name: states[name])
    files = [{"path": str(tmp_path / "file"), "content": "a\n", **row}]
    assert run(capsys, files, check=True, units=[*states])["units"] == [*states]
    assert run(capsys, files, units=[*states])["units"] == [*states]
    again = run(capsys, files, units=[*states])
    assert again["units"] == ["off.service"] and again["changed"] is False
    assert run(capsys, files)["units"] == []


@pytest.fixture
def timers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemd was asked to do about rollbacks; their timers run once they were started."""
    monkeypatch.setattr(rollback, "DIRECTORY", str(tmp_path / "kept"))
    said: list[str] = []

    def run_command(_module: AnsibleModule, command: list[str]) -> tuple[int, str, str]:
        said.append(" ".join(command[:2]))
        return int(command[1] == "is-active" and not any("systemd-run" in line for line in said)), "", ""

    monkeypatch.setattr(AnsibleModule, "run_command", run_command)
    return said


def test_what_a_run_that_was_broken_off_has_replaced_counts_as_changed_until_it_is_confirmed(
    capsys: Any, tmp_path: Path, row: dict[str, str], timers: list[str]
) -> None:
    """Else the next run says that all is well, confirms nothing, and the host goes back under it."""
    path = tmp_path / "rules"
    path.write_text("old\n")
    files = [{"path": str(path), "content": "new\n", **row}]
    way: dict[str, Any] = {"rollback": {"name": "probe", "seconds": 30, "commands": []}}
    assert run(capsys, files, **way)["changes"] == [str(path)]
    begun = timers.count("systemd-run --quiet")
    predicted = run(capsys, files, check=True, **way)
    assert predicted["changes"] == [str(path)] and timers.count("systemd-run --quiet") == begun
    assert [(entry["before"], entry["after"]) for entry in predicted["diff"]] == [("old\n", "new\n")]
    again = run(capsys, files, **way)
    assert again["changes"] == [str(path)] and again["diff"] == predicted["diff"]
    # For as long again, and to the same files.
    assert timers.count("systemd-run --quiet") == begun + 1
    assert rollback.former("probe", str(path)) == "old\n"
    rollback.confirm(lambda command: (0, "", ""), "probe")
    timers.clear()
    assert run(capsys, files, **way)["changes"] == []


def test_without_a_rollback_what_was_armed_before_is_confirmed(
    capsys: Any, tmp_path: Path, row: dict[str, str], timers: list[str]
) -> None:
    path = tmp_path / "rules"
    files = [{"path": str(path), "content": "new\n", **row}]
    way = {"name": "probe", "seconds": 30, "commands": []}
    run(capsys, files, rollback=way)
    assert run(capsys, files, check=True, rollback=way | {"seconds": 0})["changes"] == [str(path)]
    assert Path(rollback.directory("probe")).exists()
    timers[:] = [line for line in timers if "stop" not in line]
    assert run(capsys, files, rollback=way | {"seconds": 0})["changes"] == [str(path)]
    assert "systemctl stop" in timers and not Path(rollback.directory("probe")).exists()


def test_a_unit_without_its_suffix_is_refused_before_a_file_is_written(
    capsys: Any, tmp_path: Path, row: dict[str, str]
) -> None:
    answer = run(capsys, [{"path": str(tmp_path / "file"), "content": "a\n", **row}], units=["named"])
    assert answer["failed"] and "named" in answer["msg"] and [*tmp_path.iterdir()] == []


def test_a_check_that_needs_what_a_package_is_to_bring_is_passed_over_in_check_mode_alone(
    capsys: Any, tmp_path: Path, row: dict[str, str]
) -> None:
    """The program is there, and would refuse a word that it learns by another package."""
    needed = tmp_path / "module"
    text = {"path": str(tmp_path / "file"), "content": "a\n", "validate": "grep b %s", "validate_needs": str(needed), **row}
    foretold = run(capsys, [text], check=True)
    assert foretold["changes"] == [text["path"]] and foretold["diff"][0]["after"] == "a\n"
    assert run(capsys, [text])["failed"] and not (tmp_path / "file").exists()
    needed.touch()
    assert run(capsys, [text], check=True)["failed"]


def test_dovecot_does_not_check_sieve_before_its_package_is_there() -> None:
    """doveconf, which is of dovecot-core, knows no protocol sieve: dovecot-managesieved tells it."""
    tasks = yaml.safe_load((ROOT / "roles/pop3/tasks/configure.yml").read_text(encoding="utf-8"))
    (text,) = [item for item in tasks[0]["vars"]["__pop3_texts"] if "doveconf" in item.get("validate", "")]
    facts = yaml.safe_load((ROOT / "roles/pop3/vars/main.yml").read_text(encoding="utf-8"))
    for on, needs in ((True, "/usr/lib/dovecot/managesieve"), (False, "/")):
        assert Environment().from_string(text["validate_needs"]).render(**facts, pop3_sieve=on) == needs
