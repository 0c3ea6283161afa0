#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""One task for a whole table of owners, groups and modes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_modes
short_description: Hold a table of paths to their owners, groups and modes
version_added: 0.1.0
description:
  - Compares each path of a table with what it should be, in one task, and puts right what differs.
  - Everything is looked at before anything is changed. A table with a mistake changes nothing.
  - Symbolic links are refused, never followed.
author: The widgets.mail developers (@widgets)
options:
  entries:
    description: The table. A path may stand in it once.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      owner:
        description: Name of the owning user. Left alone when not given.
        type: str
      group:
        description: Name of the owning group. Left alone when not given.
        type: str
      mode:
        description:
          - Octal digits with a leading zero, exact, the set-id and sticky bits included (V("0755") clears them on
            directories too), or bits to take away, such as V(o-rwx) or V(ug-s,go-w), which leaves stricter modes alone.
          - Left alone when not given.
        type: str
      state:
        description:
          - What the path must be. A missing V(directory) is made, unless O(entries[].missing_ok), where its parent exists.
          - V(any) takes files, directories, devices, sockets.
        type: str
        choices: [file, directory, any]
        default: any
      missing_ok:
        description: Whether the path may be missing.
        type: bool
        default: false
      statoverride:
        description:
          - Record owner, group and mode with C(dpkg-statoverride) too, so that they last when a package is upgraded.
            An override that differs is replaced. It is recorded even where the path is missing and may be.
          - Needs O(entries[].owner), O(entries[].group) and an octal O(entries[].mode).
        type: bool
        default: false
attributes:
  check_mode:
    support: full
    description: Users, groups and paths that do not exist yet are taken as if an earlier task had made them.
  diff_mode:
    support: full
    description: One line for each path or override that changes.
"""

EXAMPLES = r"""
- name: Hold the mail queues to their modes, over package upgrades as well
  widgets.mail.file_modes:
    entries:
      - {path: /var/spool/clientmqueue, owner: smmsp, group: smmsp, mode: "0770", state: directory, statoverride: true}
      - {path: /etc/mail, owner: root, group: root, mode: "0755", state: directory}
      - {path: /var/log/mail.log, mode: o-rwx, state: file, missing_ok: true}
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: The path, or C(statoverride) and the path.
      type: str
    before:
      description: Owner, group and mode before, null where there was none.
      type: str
    after:
      description: Owner, group and mode wanted.
      type: str
  sample: [{what: /etc/mail, before: "smmta:smmsp 2755", after: "root:root 0755"}]
missing:
  description: Paths that are not there and need not be, or are not there yet in check mode.
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import stat
from collections.abc import Collection
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import statoverride
from ansible_collections.widgets.mail.plugins.module_utils.modes import OCTAL, row_errors
from ansible_collections.widgets.mail.plugins.module_utils.owners import group_name, user_name
from ansible_collections.widgets.mail.plugins.module_utils.statoverride import Override

BITS = {
    "u": {"r": 0o400, "w": 0o200, "x": 0o100, "s": 0o4000},
    "g": {"r": 0o040, "w": 0o020, "x": 0o010, "s": 0o2000},
    "o": {"r": 0o004, "w": 0o002, "x": 0o001, "s": 0},
}
KINDS = {"file": stat.S_ISREG, "directory": stat.S_ISDIR}


class Change(NamedTuple):
    """One path to put right: ids of -1 and no mode mean "leave it"."""

    path: str
    before: Override | None
    after: Override
    uid: int
    gid: int
    make: bool


def check_table(entries: list[dict[str, Any]]) -> list[str]:
    """Mistakes of a table that show without looking at the host."""
    errors = []
    seen: set[str] = set()
    for entry in entries:
        path = entry["path"]
        errors += [f"{path}: {said.rstrip('.')}" for said in row_errors(entry)]
        if path in seen:
            errors.append(f"{path}: the path is there twice")
        seen.add(path)
    return errors


def user_id(name: str | None) -> int | None:
    """Number of a user: -1 for "leave it", None where there is no such user."""
    if name is None:
        return -1
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def group_id(name: str | None) -> int | None:
    """Number of a group: -1 for "leave it", None where there is no such group."""
    if name is None:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def wanted_mode(mode: str | None, current: os.stat_result | None) -> int:
    """The mode a path should get: octal as it stands, else what it has (a new directory: 0755) less what is taken."""
    if mode is not None and OCTAL.match(mode):
        return int(mode, 8)
    bits = 0o755 if current is None else stat.S_IMODE(current.st_mode)
    for clause in mode.split(",") if mode else []:
        who, what = clause.split("-")
        for one in who:
            for bit in what:
                bits &= ~BITS[one][bit]
    return bits


def plan_entry(entry: dict[str, Any], check_mode: bool, made: Collection[str] = ()) -> tuple[Change | None, str | None, bool]:
    """What one row asks for: the change or None, what is wrong with it or None, whether its path is missing.

    `made` are the directories that rows above it make.
    """
    path = entry["path"]
    try:
        current: os.stat_result | None = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        current = None
    uid, gid = user_id(entry.get("owner")), group_id(entry.get("group"))
    if not check_mode:
        if uid is None:
            return None, f"{path}: there is no user {entry['owner']!r}", current is None
        if gid is None:
            return None, f"{path}: there is no group {entry['group']!r}", current is None

    before = None
    make = False
    if current is None:
        make = entry["state"] == "directory" and not entry["missing_ok"]
        if not make:
            wrong = None if entry["missing_ok"] or check_mode else f"{path}: does not exist"
            return None, wrong, True
        parent = os.path.dirname(path)
        if not check_mode and not os.path.isdir(parent) and parent not in made:
            return None, f"{path}: its parent directory does not exist", True
    else:
        if stat.S_ISLNK(current.st_mode):
            return None, f"{path}: is a symbolic link to {os.readlink(path)}: name the file itself", False
        fits = KINDS.get(entry["state"])
        if fits and not fits(current.st_mode):
            return None, f"{path}: is no {entry['state']}", False
        before = Override(user_name(current.st_uid), group_name(current.st_gid), stat.S_IMODE(current.st_mode))
    after = Override(
        entry.get("owner") or (before.owner if before else "root"),
        entry.get("group") or (before.group if before else "root"),
        wanted_mode(entry.get("mode"), current),
    )
    # Two names can share a number: numbers decide where they are known.
    same = (
        current is not None
        and before is not None
        and uid in (-1, current.st_uid)
        and gid in (-1, current.st_gid)
        and before.mode == after.mode
    )
    if same:
        return None, None, False
    return Change(path, before, after, -1 if uid is None else uid, -1 if gid is None else gid, make), None, False


def apply(change: Change) -> None:
    """Put one path right, without following a link that somebody has put there since."""
    if change.make:
        os.mkdir(change.path, 0o700)
    handle = os.open(change.path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if stat.S_ISLNK(os.fstat(handle).st_mode):
            raise OSError(f"{change.path} has become a symbolic link")
        inode = f"/proc/self/fd/{handle}"
        os.chown(inode, change.uid, change.gid)
        os.chmod(inode, change.after.mode)  # after chown, which clears set-id bits
    finally:
        os.close(handle)


def main() -> None:
    """Look at everything, then change what differs."""
    row = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str"},
        "state": {"type": "str", "choices": ["file", "directory", "any"], "default": "any"},
        "missing_ok": {"type": "bool", "default": False},
        "statoverride": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={"entries": {"type": "list", "elements": "dict", "required": True, "options": row}},
        supports_check_mode=True,
    )
    entries: list[dict[str, Any]] = module.params["entries"]
    errors = check_table(entries)
    if errors:
        module.fail_json(msg="; ".join(errors))

    changes: list[Change] = []
    missing: list[str] = []
    for entry in entries:
        change, wrong, absent = plan_entry(entry, module.check_mode, [c.path for c in changes if c.make])
        if change:
            changes.append(change)
        elif absent:
            missing.append(entry["path"])
        if wrong:
            errors.append(wrong)
    if errors:
        module.fail_json(msg="; ".join(errors), missing=missing)

    lasting = {e["path"]: Override(e["owner"], e["group"], int(e["mode"], 8)) for e in entries if e["statoverride"]}
    overrides: list[statoverride.Row] = []
    if lasting:
        names = statoverride.names_to_override(module.run_command, lasting)
        want = {name: lasting[path] for path, all_names in names.items() for name in all_names}
        overrides = statoverride.missing(statoverride.listed(module.run_command), want)

    if not module.check_mode:
        statoverride.record(module, overrides)
        for change in changes:
            try:
                apply(change)
            except OSError as error:
                module.fail_json(msg=f"{change.path}: {error}")
    module.exit_json(missing=missing, **statoverride.told([(c.path, c.before, c.after) for c in changes], overrides))


if __name__ == "__main__":
    main()
