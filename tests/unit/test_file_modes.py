"""The module file_modes, run on real files: what it plans, what it refuses, what it changes."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.widgets.mail.plugins.module_utils import owners, statoverride
from ansible_collections.widgets.mail.plugins.modules import file_modes
from ansible_collections.widgets.mail.plugins.plugin_utils import role_checks

from tools import role_tables


def run(capsys: Any, entries: list[dict[str, Any]], check: bool = False) -> dict[str, Any]:
    """The module's answer."""
    with patch_module_args({"entries": entries, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        file_modes.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def me(tmp_path: Path) -> dict[str, str]:
    """Names of the user and group that run the tests."""
    made = tmp_path.stat()
    return {"owner": owners.user_name(made.st_uid), "group": owners.group_name(made.st_gid)}


def test_what_differs_is_put_right_and_then_nothing_is_left_to_do(capsys: Any, tmp_path: Path, me: dict[str, str]) -> None:
    (tmp_path / "wide").touch(0o666)
    (tmp_path / "right").touch(0o600)
    (tmp_path / "wide").chmod(0o666)
    table = [
        {"path": str(tmp_path / "wide"), "mode": "0640", **me},
        {"path": str(tmp_path / "right"), "mode": "0600", **me},
    ]
    predicted = run(capsys, table, check=True)
    assert predicted["changed"] and mode(tmp_path / "wide") == 0o666
    done = run(capsys, table)
    assert done["diff"] == predicted["diff"]
    assert done["changes"] == [
        {
            "what": str(tmp_path / "wide"),
            "before": f"{me['owner']}:{me['group']} 0666",
            "after": f"{me['owner']}:{me['group']} 0640",
        }
    ]
    assert mode(tmp_path / "wide") == 0o640
    assert run(capsys, table)["changed"] is False


def test_set_group_id_of_a_directory_is_exact(capsys: Any, tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    queue.mkdir()
    queue.chmod(0o2770)
    run(capsys, [{"path": str(queue), "mode": "0700"}])
    assert mode(queue) == 0o700
    run(capsys, [{"path": str(queue), "mode": "02750"}])
    assert mode(queue) == 0o2750


def test_bits_are_taken_away_and_a_stricter_mode_stays(capsys: Any, tmp_path: Path) -> None:
    for name, bits in (("loose", 0o6755), ("strict", 0o600)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(bits)
    answer = run(capsys, [{"path": str(tmp_path / name), "mode": "ug-s,o-rwx,g-w"} for name in ("loose", "strict")])
    assert len(answer["changes"]) == 1
    assert mode(tmp_path / "loose") == 0o750
    assert mode(tmp_path / "strict") == 0o600


def test_directories_are_made_parents_in_the_same_table_first(capsys: Any, tmp_path: Path) -> None:
    table: list[dict[str, Any]] = [
        {"path": str(tmp_path / "a"), "mode": "0750", "state": "directory"},
        {"path": str(tmp_path / "a/b"), "mode": "0700", "state": "directory"},
        {"path": str(tmp_path / "c"), "mode": "0700", "state": "directory", "missing_ok": True},
    ]
    for entry in table:
        entry |= {"owner": owners.user_name(tmp_path.stat().st_uid)}
        entry |= {"group": owners.group_name(tmp_path.stat().st_gid)}
    answer = run(capsys, table)
    assert [change["before"] for change in answer["changes"]] == [None, None]
    assert (mode(tmp_path / "a"), mode(tmp_path / "a/b")) == (0o750, 0o700)
    assert answer["missing"] == [str(tmp_path / "c")]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"mode": "0600", "path": "{tmp}/gone"}, "does not exist"),
        ({"mode": "0600", "path": "{tmp}/link"}, "is a symbolic link to /etc/passwd"),
        ({"mode": "0600", "path": "{tmp}/file", "state": "directory"}, "is no directory"),
        ({"owner": "nosuchuser", "path": "{tmp}/file"}, "there is no user 'nosuchuser'"),
        ({"group": "nosuchgroup", "path": "{tmp}/file"}, "there is no group 'nosuchgroup'"),
        ({"mode": "416", "path": "{tmp}/file"}, "mode is '416': it must be octal digits with a leading zero"),
        ({"mode": "u+s", "path": "{tmp}/file"}, "mode is 'u+s': it must be octal digits with a leading zero"),
        ({"mode": "0644\n", "path": "{tmp}/file"}, "it must be octal digits with a leading zero"),
        ({"mode": "0600", "path": "{tmp}/../file"}, "it must be absolute, without '..'"),
        ({"mode": "0600", "path": "{tmp}/first"}, "is there twice"),
        ({"mode": "0600", "path": "{tmp}/file", "statoverride": True}, "statoverride is true: it needs owner, group"),
        ({"path": "{tmp}/a/b", "state": "directory"}, "its parent directory does not exist"),
    ],
)
def test_a_mistake_changes_nothing(capsys: Any, tmp_path: Path, entry: dict[str, Any], says: str) -> None:
    for name in ("first", "file"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o666)
    (tmp_path / "link").symlink_to("/etc/passwd")
    entry = {**entry, "path": entry["path"].replace("{tmp}", str(tmp_path))}
    answer = run(capsys, [{"path": str(tmp_path / "first"), "mode": "0600"}, entry])
    assert answer["failed"] and says in answer["msg"]
    assert mode(tmp_path / "first") == 0o666


def test_check_mode_takes_users_and_paths_for_granted(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    table = [
        {"path": str(tmp_path / "file"), "owner": "nosuchuser", "group": "nosuchgroup", "mode": "0600"},
        {"path": str(tmp_path / "gone"), "owner": "nosuchuser", "mode": "0600", "state": "file"},
        {"path": str(tmp_path / "a/b"), "owner": "nosuchuser", "mode": "0700", "state": "directory"},
    ]
    answer = run(capsys, table, check=True)
    assert [change["after"] for change in answer["changes"]] == [
        "nosuchuser:nosuchgroup 0600",
        "nosuchuser:root 0700",
    ]
    assert answer["missing"] == [str(tmp_path / "gone")]


def test_overrides_are_recorded_even_for_what_is_not_there_yet(
    capsys: Any, tmp_path: Path, me: dict[str, str], monkeypatch: Any
) -> None:
    path = str(tmp_path / "program")
    listed = f"root root 4755 {path}\n"
    calls: list[list[str]] = []

    def dpkg(_module: Any, command: list[str]) -> tuple[int, str, str]:
        calls.append(command)
        return 0, listed, ""

    monkeypatch.setattr(basic.AnsibleModule, "run_command", dpkg)
    monkeypatch.setattr(statoverride, "merged_links", list)
    table = [{"path": path, "mode": "0755", "missing_ok": True, "statoverride": True, **me}]
    assert run(capsys, table, check=True)["changes"] == [
        {"what": f"statoverride {path}", "before": "root:root 4755", "after": f"{me['owner']}:{me['group']} 0755"}
    ]
    assert calls == [["dpkg-statoverride", "--list"]]
    run(capsys, table)
    assert calls[-1][-5:] == ["--add", me["owner"], me["group"], "0755", path]
    listed = f"{me['owner']} {me['group']} 755 {path}\n"
    assert run(capsys, table)["changed"] is False


def test_what_the_first_check_of_an_inventory_refuses_the_module_refuses_as_well_and_nothing_else() -> None:
    """A table that passed, and was refused when all else had been changed, would be one fact in two places."""
    specs = role_tables.specs("hardening")["main"]["options"]
    values = {name: option["default"] for name, option in specs.items() if "default" in option}
    for mode in ("0755", "01777", "755", "1777", "4755", "go-w", "ug-s,o-rwx", "a-w", "o-t", "go-", "0644\n"):
        row = {"path": "/srv/x", "mode": mode, "statoverride": False}
        first = role_checks.CHECKS["hardening"](
            {**values, "hardening_kernel_sysctl_reason": "x", "hardening_file_modes_extra": [row]}
        )
        assert bool(first) == bool(file_modes.check_table([row])), mode
