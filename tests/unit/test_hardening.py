"""Kernel settings, set-id files, units, small files: what the hardening role's plugins make of what they see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.widgets.mail.plugins.filter import hardening
from ansible_collections.widgets.mail.plugins.module_utils import owners
from ansible_collections.widgets.mail.plugins.module_utils.statoverride import Override
from ansible_collections.widgets.mail.plugins.module_utils.unit_states import misnamed
from ansible_collections.widgets.mail.plugins.modules import file_modes, setid_files, text_files, units_off

ROOT = Path(__file__).parents[2]

MOUNTINFO = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /proc rw,nosuid,nodev - proc proc rw
23 21 0:21 / /run rw,nosuid - tmpfs tmpfs rw
24 21 0:22 / /data rw - nfs4 server:/data rw
25 21 8:2 / /srv/with\\040blank rw - ext4 /dev/sda2 rw
26 21 8:2 / /again rw - ext4 /dev/sda2 rw
27 21 0:30 / /mnt rw - fuse.sshfs x rw
28 21 0:31 / /opt rw - tmpfs tmpfs rw
"""


def test_a_setting_for_links_covers_all_present_and_future_ones() -> None:
    assert hardening.hardening_sysctl_lines({"net.ipv4.conf.*.rp_filter": 1, "net.ipv4.tcp_syncookies": 1}) == [
        "net.ipv4.conf.all.rp_filter = 1",
        "net.ipv4.conf.default.rp_filter = 1",
        "net.ipv4.conf.*.rp_filter = 1",
        "net.ipv4.tcp_syncookies = 1",
    ]


@pytest.mark.parametrize("settings", [{"net.ipv4.x": True}, {"net.ipv4.x": None}, {"x y": 1}, {"net.ipv4.x": "1\n2"}])
def test_what_is_no_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="hardening_sysctl: "):
        hardening.hardening_sysctl_lines(settings)


def test_the_defaults_never_touch_forwarding_and_keep_the_kernels_own_settings_apart() -> None:
    defaults = yaml.safe_load((ROOT / "roles/hardening/defaults/main.yml").read_text())
    network = {
        **defaults["hardening_sysctl"],
        **defaults["hardening_sysctl_ipv6_on"],
        **defaults["hardening_sysctl_ipv6_off"],
    }
    assert all(key.startswith(("net.ipv4.", "net.ipv6.")) for key in network)
    assert not [key for key in {**network, **defaults["hardening_kernel_sysctl"]} if "forward" in key]
    assert file_modes.check_table([{"statoverride": False, **e} for e in defaults["hardening_file_modes"]]) == []
    assert misnamed(defaults["hardening_services_disabled"]) == ""


def test_only_local_file_systems_where_a_bit_counts_are_searched() -> None:
    assert setid_files.searched_mounts(MOUNTINFO) == ["/", "/opt", "/srv/with blank"]


def test_what_find_prints_is_read_with_blanks_and_nameless_owners() -> None:
    text = "root shadow 2755 /usr/sbin/unix_chkpwd\x00120 root 4755 /opt/my tool\x00"
    assert setid_files.parse_found(text) == {
        "/usr/sbin/unix_chkpwd": Override("root", "shadow", 0o2755),
        "/opt/my tool": Override("#120", "root", 0o4755),
    }


def test_files_without_a_reason_lose_both_bits_and_nothing_else() -> None:
    found = {
        "/usr/bin/su": Override("root", "root", 0o4755),
        "/usr/bin/x": Override("root", "tty", 0o6751),
        "/usr/bin/y": Override("root", "shadow", 0o2755),
    }
    kept, lose = setid_files.divide(found, {"/usr/bin/y": "needed", "/usr/bin/absent": "elsewhere"})
    assert kept == {"/usr/bin/y": "needed"}
    assert {path: after.mode for path, (_before, after) in lose.items()} == {"/usr/bin/su": 0o755, "/usr/bin/x": 0o751}


def test_sudo_is_not_cut_off_from_under_the_one_who_used_it() -> None:
    assert setid_files.cut_branch({"SUDO_USER": "ops"}, ["/usr/bin/sudo"]) == "/usr/bin/sudo"
    assert setid_files.cut_branch({"SUDO_USER": "ops"}, ["/usr/bin/su"]) is None
    assert setid_files.cut_branch({}, ["/usr/bin/sudo"]) is None


def test_a_bit_is_taken_and_a_file_that_changed_is_left(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch()
    program.chmod(0o4755)
    with pytest.raises(OSError, match="has changed during the scan"):
        setid_files.strip(str(program), Override("root", "root", 0o4711))
    setid_files.strip(str(program), Override("root", "root", 0o4755))
    assert program.stat().st_mode & 0o7777 == 0o755


def test_units_are_sorted_out_in_the_order_asked() -> None:
    text = """LoadState=loaded
ActiveState=active
UnitFileState=enabled

LoadState=not-found
ActiveState=inactive
UnitFileState=

LoadState=masked
ActiveState=inactive
UnitFileState=masked

LoadState=masked
ActiveState=active
UnitFileState=masked

LoadState=loaded
ActiveState=inactive
UnitFileState=static
"""
    names = ["on.service", "none.service", "off.service", "stubborn.service", "static.socket"]
    todo, absent = units_off.sort_out(names, units_off.parse_show(text))
    assert todo == {
        "on.service": "enabled, active",
        "stubborn.service": "masked, active",
        "static.socket": "static, inactive",
    }
    assert absent == ["none.service"]


def test_small_files_are_written_whole_and_once(capsys: Any, tmp_path: Path) -> None:
    state = tmp_path.stat()
    me = {"owner": owners.user_name(state.st_uid), "group": owners.group_name(state.st_gid)}
    (tmp_path / "issue").write_text("Debian\n")
    files = [
        {"path": str(tmp_path / "issue"), "content": "Keep out.\n", **me},
        {"path": str(tmp_path / "new.d/x"), "content": "a\r\n", "mode": "0600", **me},
    ]

    def run(check: bool) -> dict[str, Any]:
        with patch_module_args({"files": files, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            text_files.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    assert run(check=True)["changes"] == [entry["path"] for entry in files]
    assert (tmp_path / "issue").read_text() == "Debian\n"
    assert run(check=False)["changed"] is True
    assert (tmp_path / "new.d/x").read_bytes() == b"a\r\n"
    assert (tmp_path / "new.d/x").stat().st_mode & 0o7777 == 0o600
    assert run(check=False)["changed"] is False
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["issue", "new.d", "x"]


def test_a_small_files_owner_may_not_exist_yet_in_check_mode_only(capsys: Any, tmp_path: Path) -> None:
    files = [{"path": str(tmp_path / "x"), "content": "a", "owner": "nosuchuser"}]
    for check in (True, False):
        with patch_module_args({"files": files, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            text_files.main()
        answer = json.loads(capsys.readouterr().out)
        assert answer.get("failed", False) is not check
        assert not (tmp_path / "x").exists()
