# SPDX-License-Identifier: MIT
"""Which users and groups are not what they should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

# The mark of an account that no password opens, as useradd and ansible.builtin.user leave it: locked or never set.
CLOSED = {"*", "!", "!!", "!*"}

# What an account is called, and where that is said, is nothing to compare.
WORDS = {"name", "variable"}


def same(key: str, want: Any, have: Any) -> bool:
    """Whether one property is as wanted; None asks for nothing."""
    if want is None:
        return True
    if key == "password" and want in CLOSED:
        return have in CLOSED
    if key == "members":
        return set(want) <= set(have or [])
    return str(have) == str(want)


def smmsp_to_mend(wanted: Sequence[Mapping[str, Any]], have: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those of the wanted accounts (each with its C(name)) that a host has not, or not like this.

    C(have) is what M(widgets.mail.host_state) says of users or of groups; where it is empty, all are to be looked at.
    """
    return [
        dict(account)
        for account in wanted
        if account["name"] not in have
        or not all(same(key, value, have[account["name"]].get(key)) for key, value in account.items() if key not in WORDS)
    ]


def smmsp_joining(wanted: Sequence[Mapping[str, Any]], have: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Who has yet to be put into which group: rows of C(group) and C(member).

    C(wanted) are groups, each with its C(name) and perhaps C(members); C(have) is what M(widgets.mail.host_state) says of groups.
    """
    return [
        {"group": group["name"], "member": member}
        for group in wanted
        for member in group.get("members", [])
        if member not in have.get(group["name"], {}).get("members", [])
    ]


def smmsp_taken(wanted: Sequence[Mapping[str, Any]], have: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Messages about numbers that were asked for and that other groups of the host hold.

    C(wanted) are groups, each with its C(name), its C(gid) and the C(variable) that sets it; C(have) is what M(widgets.mail.host_state) says of groups.
    """
    return [
        f"{group['variable']} is {group['gid']}, but the group {holder} holds that number on this host: choose a gid that is free, or "
        "leave the variable null and let the system choose."
        for group in wanted
        if group["gid"] is not None
        for holder, state in have.items()
        if holder != group["name"] and int(state["gid"]) == int(group["gid"])
    ]


class FilterModule:
    """Filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"smmsp_joining": smmsp_joining, "smmsp_taken": smmsp_taken, "smmsp_to_mend": smmsp_to_mend}
