# SPDX-License-Identifier: MIT
"""Kernel settings as lines of a sysctl.d file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

KEY = re.compile(r"^[a-z0-9_-]+(\.([A-Za-z0-9_-]+|\*))+$")


def hardening_sysctl_lines(settings: Mapping[str, Any]) -> list[str]:
    """Lines ``key = value``. A ``*`` in a key stands for every link, those to come and the common setting.

    All three are written out: the kernel joins the common value and a link's own with "or" for some settings and with
    "and" for others, and a pattern of ours would yield to a plain key in another file.
    """
    lines = []
    for key, value in settings.items():
        if not KEY.match(key):
            raise ValueError(f"hardening_sysctl: {key!r} is no name of a kernel setting")
        if isinstance(value, bool) or not isinstance(value, (int, str)) or "\n" in str(value):
            raise ValueError(f"hardening_sysctl: {key} is {value!r}: write a number or a string of one line")
        for scope in ("all", "default", "*") if ".*." in key else ("",):
            lines.append(f"{key.replace('*', scope) if scope else key} = {value}")
    return lines


class FilterModule:
    """Filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"hardening_sysctl_lines": hardening_sysctl_lines}
