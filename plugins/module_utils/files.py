# SPDX-License-Identifier: MIT
"""Files read, and replaced as a whole: whoever looks meanwhile finds the old one or the new one, and never half of it.

And found again, where whoever wrote them wants them no longer.
"""

from __future__ import annotations

import glob
import os
import stat
import tempfile
from collections.abc import Iterable


def read(path: str) -> str | None:
    """A file's text, None where there is none. What is no text comes back unharmed when it is written again."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None


def replace(path: str, text: str, mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Put a file in place of what is there, if anything; nobody else can read it before it is whose it should be.

    Without a user and a group it is whoever's that runs this. Missing directories are made, 0755.
    """
    directory = os.path.dirname(path)
    os.makedirs(directory, 0o755, exist_ok=True)
    handle, new = tempfile.mkstemp(dir=directory, prefix=".new-")
    try:
        with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise


def unwanted(pattern: str, mark: str, wanted: Iterable[str]) -> list[str]:
    """Files that match and hold the mark of whoever asks, but for those that are wanted, by whatever way these are named.

    Others' files lack the mark. Links are left alone: none of us makes one there.
    """
    kept = {os.path.realpath(path) for path in wanted}
    plain = [path for path in sorted(glob.glob(pattern)) if stat.S_ISREG(os.lstat(path).st_mode)]
    return [path for path in plain if os.path.realpath(path) not in kept and mark in (read(path) or "")]
