# SPDX-License-Identifier: MIT
"""Which users and groups are not what they should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

# The mark of an account that no password opens, as useradd and ansible.builtin.user leave it: locked or never set.
CLOSED = {"*", "!", "!!", "!*"}


def same(key: str, want: Any, have: Any) -> bool:
    """Whether one property is as wanted; None asks for nothing."""
    if want is None:
        return True
    if key == "password" and want in CLOSED:
        return have in CLOSED
    return str(have) == str(want)


def smmsp_to_mend(wanted: Sequence[Mapping[str, Any]], have: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those of the wanted accounts (each with its C(name)) that a host has not, or not like this.

    C(have) is what M(widgets.mail.host_state) says of users or of groups; where it is empty, all are to be looked at.
    """
    return [
        dict(account)
        for account in wanted
        if account["name"] not in have
        or not all(same(key, value, have[account["name"]].get(key)) for key, value in account.items() if key != "name")
    ]


class FilterModule:
    """Filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"smmsp_to_mend": smmsp_to_mend}
