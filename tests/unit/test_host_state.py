"""What a host has: dpkg's list, users and groups, and what of them is not as wanted."""

from __future__ import annotations

from typing import Any

from ansible_collections.widgets.mail.plugins.filter.smmsp import smmsp_joining, smmsp_taken, smmsp_to_mend
from ansible_collections.widgets.mail.plugins.modules import host_state

WANTED = [{"name": "smmta", "group": "smmsp", "shell": "/usr/sbin/nologin", "password": "*"}]
HAVE = {"group": "smmsp", "shell": "/usr/sbin/nologin", "password": "!", "comment": "whatever"}


def test_what_is_installed_is_told_from_what_is_left_of_others() -> None:
    listing = "installed nftables\nconfig-files procmail\nnot-installed exim4\nhalf-configured ulogd2\ninstalled libc6\n"
    assert host_state.sort_out(listing) == (["libc6", "nftables"], ["procmail", "ulogd2"])


def test_a_package_of_two_architectures_is_installed_where_one_of_them_is() -> None:
    assert host_state.sort_out("installed libc6\nconfig-files libc6\n") == (["libc6"], [])


def test_no_hash_of_a_password_leaves_the_host() -> None:
    shadow = (
        "root:$y$j9T$abc$def:19000:0:::::\nold:aVeryOldHash1:1::::::\nsmmta:*:1::::::\nopen::1::::::\nlocked:!$6$x$y:1::::::\n"
    )
    assert host_state.passwords(shadow) == {"root": "hash", "old": "hash", "smmta": "*", "open": "", "locked": "hash"}


def test_an_account_that_is_as_wanted_needs_nothing() -> None:
    assert smmsp_to_mend(WANTED, {"smmta": HAVE}) == []


def test_an_account_that_is_missing_or_differs_is_gone_through() -> None:
    assert smmsp_to_mend(WANTED, {}) == WANTED
    for key, value in {"group": "mail", "shell": "/bin/bash", "password": "hash"}.items():
        assert smmsp_to_mend(WANTED, {"smmta": {**HAVE, key: value}}) == WANTED
    assert smmsp_to_mend(WANTED, {"smmta": {**HAVE, "password": ""}}) == WANTED


def test_a_number_that_is_left_to_the_system_is_any_number() -> None:
    have = {"smmsp": {"gid": 104, "members": []}}
    assert smmsp_to_mend([{"name": "smmsp", "gid": None}], have) == []
    assert smmsp_to_mend([{"name": "smmsp", "gid": 104}], have) == []
    assert smmsp_to_mend([{"name": "smmsp", "gid": 25}], have) == [{"name": "smmsp", "gid": 25}]


def test_a_member_that_is_missing_is_seen_and_one_more_is_none_of_ours() -> None:
    wheel = {"name": "wheel", "gid": None, "variable": "smmsp_wheel_gid", "members": ["root"]}
    assert smmsp_to_mend([wheel], {"wheel": {"gid": 999, "members": ["root", "ada"]}}) == []
    assert smmsp_to_mend([wheel], {"wheel": {"gid": 999, "members": []}}) == [wheel]


def test_who_is_not_in_a_group_is_put_in_whether_it_is_there_or_yet_to_be_made() -> None:
    wanted: list[dict[str, Any]] = [{"name": "smmsp", "gid": None}, {"name": "wheel", "gid": None, "members": ["root", "ada"]}]
    root, ada = ({"group": "wheel", "member": name} for name in ("root", "ada"))
    assert smmsp_joining(wanted, {}) == [root, ada]
    assert smmsp_joining(wanted, {"smmsp": {"members": []}, "wheel": {"members": ["ada", "eve"]}}) == [root]
    assert smmsp_joining(wanted, {"wheel": {"members": ["ada", "root"]}}) == []


def test_a_number_that_another_group_holds_is_refused_with_its_variable() -> None:
    wanted: list[dict[str, Any]] = [
        {"name": "smmsp", "gid": 110, "variable": "smmsp_gid"},
        {"name": "wheel", "gid": None, "variable": "smmsp_wheel_gid"},
    ]
    assert smmsp_taken(wanted, {"bind": {"gid": 111}, "smmsp": {"gid": 110}}) == []
    (said,) = smmsp_taken(wanted, {"bind": {"gid": 110}, "smmsp": {"gid": 104}})
    assert said.startswith("smmsp_gid is 110, but the group bind holds that number")
