# SPDX-License-Identifier: MIT
"""A record that a note has made of a host, read."""

from __future__ import annotations

import fnmatch
import json
import os
import stat
import tarfile
from typing import Any, NamedTuple

from ansible_collections.widgets.mail.plugins.module_utils import before


class Stat(NamedTuple):
    """Whose a file is, and what may be done with it."""

    uid: int
    gid: int
    mode: int


class Record:
    """How a host was."""

    def __init__(self, path: str) -> None:
        self._tar = tarfile.open(path)  # noqa: SIM115
        self._entries = {f"/{entry.name.strip('/')}": entry for entry in self._tar.getmembers()}
        self.state: dict[str, Any] = json.loads(self._member(f"/{before.STATE}"))
        self._closed = set(self.state["closed"])
        self._stats: dict[str, tuple[int, int, int]] = {
            name: (uid, gid, mode) for name, uid, gid, mode in json.loads(self._member(f"/{before.STATS}"))
        }

    def _member(self, name: str) -> bytes:
        file = self._tar.extractfile(self._entries[name])
        return file.read() if file else b""

    def existed(self, path: str) -> bool | None:
        """Whether something was there; None where nobody looked."""
        if path in self._stats or path == "/":
            return True
        parent = os.path.dirname(path)
        there = self.existed(parent)
        if there:
            return None if parent in self._closed else False
        return there

    def entry(self, path: str) -> tarfile.TarInfo | None:
        """A file or directory as it was; None where there was none, or where its content was not kept."""
        return self._entries.get(path) if path in self._stats else None

    def content(self, path: str) -> bytes:
        """What a file held."""
        return self._member(path)

    def below(self, path: str) -> list[str]:
        """What is kept of a directory, it included."""
        return sorted(name for name in self._entries if name == path or name.startswith(f"{path}/"))

    def matching(self, pattern: str) -> list[str]:
        """What is kept of a pattern; a star stands for no slash."""
        parts = pattern.count("/")
        return [name for name in self._entries if name.count("/") == parts and fnmatch.fnmatchcase(name, pattern)]

    def stat(self, path: str) -> Stat | None:
        """Whose something was, and its mode; None for a link as well."""
        if path not in self._stats or stat.S_ISLNK(self._stats[path][2]):
            return None
        uid, gid, mode = self._stats[path]
        return Stat(uid, gid, stat.S_IMODE(mode))

    def setid(self) -> list[str]:
        """The files that lent somebody's rights."""
        lent = stat.S_ISUID | stat.S_ISGID
        return [path for path, (_uid, _gid, mode) in self._stats.items() if stat.S_ISREG(mode) and mode & lent]

    def names(self, path: str) -> set[str]:
        """The first fields of a file such as /etc/passwd."""
        return {line.split(":")[0] for line in self.content(path).decode("utf-8").splitlines()}

    def members(self, group: str) -> set[str]:
        """Who was in a group."""
        rows = [line.split(":") for line in self.content("/etc/group").decode("utf-8").splitlines()]
        return {name for row in rows if row[0] == group for name in row[3].split(",") if name}
