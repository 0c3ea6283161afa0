# SPDX-License-Identifier: MIT
"""Owner, group and mode in words. By name: what check mode foretells of a user that is yet to be made is then what comes true."""

from __future__ import annotations

import grp
import os
import pwd
import stat


def user_name(uid: int) -> str:
    """Name of a user, or its number as dpkg writes it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def group_name(gid: int) -> str:
    """Name of a group, or its number as dpkg writes it."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"#{gid}"


def words(owner: str, group: str, mode: int) -> str:
    """One line for all three."""
    return f"{owner}:{group} {mode:04o}"


def described(path: str) -> str:
    """What a path has, links not followed; a word where it is missing."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    return words(user_name(found.st_uid), group_name(found.st_gid), stat.S_IMODE(found.st_mode))


def difference(path: str, wanted: str) -> dict[str, str]:
    """What a path has and what it should have, as Ansible's diff."""
    return {
        "before": f"{path} {described(path)}\n",
        "after": f"{path} {wanted}\n",
        "before_header": path,
        "after_header": path,
    }
