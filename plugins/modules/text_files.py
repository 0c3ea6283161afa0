#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Several small whole files in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: text_files
short_description: Write several small files, whole, in one task
version_added: 0.1.0
description:
  - Compares the content, owner, group and mode of each file with what is wanted and replaces those that differ.
  - All files are checked, each by the program that reads it, before the first is replaced; one that fails leaves all as
    they are.
author: The widgets.mail developers (@widgets)
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path. Missing directories above it are made, root's and 0755.
        type: path
        required: true
      content:
        description: What the file holds.
        type: str
        required: true
      owner:
        description: Name of the owning user.
        type: str
        default: root
      group:
        description: Name of the owning group.
        type: str
        default: root
      mode:
        description: Octal digits with a leading zero.
        type: str
        default: "0644"
      validate:
        description: Command that checks the file before anything is replaced; V(%s) stands for a copy of it. No shell runs it.
        type: str
attributes:
  check_mode:
    support: full
    description: Tells what would be written; users and groups may not exist yet.
  diff_mode:
    support: full
    description: A diff for each file.
"""

EXAMPLES = r"""
- name: Say the same at every login
  widgets.mail.text_files:
    files:
      - {path: /etc/issue, content: "Authorised use only.\n"}
      - {path: /etc/issue.net, content: "Authorised use only.\n"}
"""

RETURN = r"""
changes:
  description: Paths that were written, or would be.
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import re
import stat
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

MODE = re.compile(r"^0[0-7]{3,4}$")


def describe(path: str) -> tuple[str | None, str]:
    """What a file holds, and a line with its owner, group and mode; None where it is missing or no plain file."""
    try:
        state = os.lstat(path)
        if not stat.S_ISREG(state.st_mode):
            return None, "no plain file"
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None, "absent"
    return text, f"{state.st_uid}:{state.st_gid} {stat.S_IMODE(state.st_mode):04o}"


def main() -> None:
    """Compare all, check what differs, then write it."""
    row: dict[str, Any] = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str", "default": "0644"},
        "validate": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": row}},
        supports_check_mode=True,
    )
    todo: list[tuple[dict[str, Any], int, int]] = []
    diffs = []
    for want in module.params["files"]:
        path = want["path"]
        if not MODE.match(want["mode"]):
            module.fail_json(msg=f"{path}: mode {want['mode']!r} is no quoted octal number with a leading zero")
        if os.path.isdir(path):
            module.fail_json(msg=f"{path}: is a directory")
        try:
            uid, gid = pwd.getpwnam(want["owner"]).pw_uid, grp.getgrnam(want["group"]).gr_gid
        except KeyError as error:
            if not module.check_mode:
                module.fail_json(msg=f"{path}: {error.args[0]}")
            uid = gid = -1  # an earlier task would have made them
        text, have = describe(path)
        wanted = f"{uid}:{gid} {int(want['mode'], 8):04o}"
        if text == want["content"] and have == wanted:
            continue
        todo.append((want, uid, gid))
        if text != want["content"]:
            diffs.append({"before": text or "", "after": want["content"], "before_header": path, "after_header": path})
        if have != wanted:
            diffs.append({"before": f"{path} {have}\n", "after": f"{path} {wanted}\n"})
    for want, _uid, _gid in todo:
        validate(module, want)
    if not module.check_mode:
        for want, uid, gid in todo:
            write(module, want, uid, gid)
    module.exit_json(changed=bool(todo), changes=[want["path"] for want, _, _ in todo], diff=diffs)


def validate(module: AnsibleModule, want: dict[str, Any]) -> None:
    """Have the program that reads a file check a private copy of it."""
    if not want["validate"]:
        return
    if "%s" not in want["validate"]:
        module.fail_json(msg=f"{want['path']}: validate is {want['validate']!r}: it must hold %s, the file to check")
    if module.check_mode and not module.get_bin_path(want["validate"].split()[0]):
        return  # its package would have been installed
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(want["content"])
        status, out, err = module.run_command(want["validate"] % temporary)
    finally:
        os.unlink(temporary)
    if status != 0:
        said = (err.strip() or out.strip()).replace(temporary, want["path"])
        module.fail_json(msg=f"{want['path']} is not sound, no file was replaced. {want['validate'].split()[0]} said: {said}")


def write(module: AnsibleModule, want: dict[str, Any], uid: int, gid: int) -> None:
    """Put one file in place as a whole: nobody ever sees half of it."""
    directory = os.path.dirname(want["path"])
    if not os.path.isdir(directory):
        os.makedirs(directory, 0o755)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=".ansible-")
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(want["content"])
            os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), int(want["mode"], 8))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, want["path"])
    except OSError as error:
        os.unlink(temporary)
        module.fail_json(msg=f"{want['path']}: {error}")


if __name__ == "__main__":
    main()
