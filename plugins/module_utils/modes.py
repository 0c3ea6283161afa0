# SPDX-License-Identifier: MIT
"""What may stand in a row of owners and modes: one answer for the first check of an inventory and for the module that sets them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

OCTAL = re.compile(r"^0[0-7]{3,4}\Z")
TAKEN = re.compile(r"^[ugo]+-[rwxs]+(,[ugo]+-[rwxs]+)*\Z")
ALLOWED = (
    'octal digits with a leading zero in quotes, such as "0640" or "01777", or what is taken from user, group and others '
    '(letters r, w, x and s), such as "go-w"'
)


def row_errors(row: Mapping[str, Any]) -> list[str]:
    """What is wrong with a row by itself, a sentence each that begins with the key."""
    errors = []
    path, mode = row["path"], row.get("mode")
    octal = mode is not None and bool(OCTAL.match(str(mode)))
    if not path.startswith("/") or os.path.normpath(path) != path:
        errors.append(f"path is {path!r}: it must be absolute, without '..' and without a slash at its end.")
    if mode is not None and not octal and not TAKEN.match(str(mode)):
        errors.append(f"mode is {mode!r}: it must be {ALLOWED}.")
    elif row.get("statoverride") and not (row.get("owner") and row.get("group") and octal):
        errors.append("statoverride is true: it needs owner, group and a mode of octal digits.")
    return errors
