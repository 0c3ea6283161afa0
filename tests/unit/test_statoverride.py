"""dpkg's overrides: reading them, naming them under a merged /usr, telling which are missing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.module_utils import statoverride
from ansible_collections.widgets.mail.plugins.module_utils.statoverride import Override

LISTED = """root messagebus 4754 /usr/lib/dbus-1.0/dbus-daemon-launch-helper
#120 crontab 2755 /srv/with a blank
"""


def test_the_list_is_read_with_unnamed_users_and_blanks_in_paths() -> None:
    assert statoverride.parse(LISTED) == {
        "/usr/lib/dbus-1.0/dbus-daemon-launch-helper": Override("root", "messagebus", 0o4754),
        "/srv/with a blank": Override("#120", "crontab", 0o2755),
    }
    assert statoverride.parse("") == {}


def test_both_names_of_a_file_under_a_merged_usr() -> None:
    assert statoverride.aliases("/usr/bin/su", ["/bin", "/sbin"]) == ["/usr/bin/su", "/bin/su"]
    assert statoverride.aliases("/sbin/unix_chkpwd", ["/bin", "/sbin"]) == [
        "/usr/sbin/unix_chkpwd",
        "/sbin/unix_chkpwd",
    ]
    assert statoverride.aliases("/usr/libexec/x", ["/bin", "/lib"]) == ["/usr/libexec/x"]
    assert statoverride.aliases("/usr/bin/su", []) == ["/usr/bin/su"]


def test_the_short_name_is_overridden_only_where_a_package_uses_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(statoverride, "merged_links", lambda: ["/bin", "/sbin"])
    asked: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str, str]:
        asked.append(command)
        return 1, "util-linux: /bin/su\n", "dpkg-query: no path found matching pattern /bin/sudo\n"

    assert statoverride.names_to_override(run, ["/usr/bin/su", "/usr/bin/sudo", "/var/spool/x"]) == {
        "/usr/bin/su": ["/usr/bin/su", "/bin/su"],
        "/usr/bin/sudo": ["/usr/bin/sudo"],
        "/var/spool/x": ["/var/spool/x"],
    }
    assert asked == [["dpkg-query", "--search", "/bin/su", "/bin/sudo"]]


def test_dpkg_is_not_asked_about_nothing(monkeypatch: Any) -> None:
    monkeypatch.setattr(statoverride, "merged_links", lambda: ["/bin"])

    def run(command: list[str]) -> tuple[int, str, str]:
        raise AssertionError(command)

    assert statoverride.names_to_override(run, ["/var/spool/x"]) == {"/var/spool/x": ["/var/spool/x"]}


def test_packages_of_a_path_without_architecture_or_diversions() -> None:
    text = "diversion by dash from: /bin/sh\npasswd:amd64, login: /usr/bin/su\n"
    assert statoverride.parse_owned(text) == {"/usr/bin/su": ["passwd", "login"]}


def test_an_override_that_differs_in_anything_is_replaced() -> None:
    have = {"/a": Override("root", "root", 0o755), "/b": Override("root", "root", 0o755)}
    want = {"/a": have["/a"], "/b": Override("root", "mail", 0o755), "/c": Override("root", "root", 0o700)}
    assert statoverride.missing(have, want) == [("/b", have["/b"], want["/b"]), ("/c", None, want["/c"])]


class Refusing:
    """A module on a host whose dpkg refuses whatever it is asked."""

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        assert command[-5:] == ["--add", "root", "nobodys", "2755", "/x"]
        return 2, "", "dpkg-statoverride: error: group 'nobodys' does not exist\n"

    def fail_json(self, msg: str) -> None:
        raise SystemExit(msg)


def test_a_refusal_of_dpkg_is_told() -> None:
    refused = [("/x", None, Override("root", "nobodys", 0o2755)), ("/y", None, Override("root", "root", 0o755))]
    with pytest.raises(SystemExit, match=r"^/x: dpkg-statoverride: error: group 'nobodys' does not exist$"):
        statoverride.record(Refusing(), refused)


def test_files_and_overrides_are_told_of_together() -> None:
    old, new = Override("root", "root", 0o4755), Override("root", "root", 0o755)
    assert statoverride.told([], []) == {"changed": False, "changes": [], "diff": {"before": "", "after": ""}}
    assert statoverride.told([("/x", old, new)], [("/x", None, new)]) == {
        "changed": True,
        "changes": [
            {"what": "/x", "before": "root:root 4755", "after": "root:root 0755"},
            {"what": "statoverride /x", "before": None, "after": "root:root 0755"},
        ],
        "diff": {
            "before": "/x root:root 4755\nstatoverride /x (absent)\n",
            "after": "/x root:root 0755\nstatoverride /x root:root 0755\n",
        },
    }
