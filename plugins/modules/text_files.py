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
      validate_needs:
        description:
          - Absolute path of what the command of O(files[].validate) needs besides itself to know the file, such as a module of another
            package.
          - In check mode the check is passed over while it is missing, as it is while the command is, since its package would have come
            before. A run always checks.
        type: path
  directories:
    description: Directories that are made or mended before the files are checked, their parents being there. Links are refused.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
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
        default: "0755"
  absent:
    description: Absolute paths of files that are not to be there; removed after the others were written. Directories are refused.
    type: list
    elements: path
    default: []
  only:
    description:
      - Sets of files of which those in O(files) are all that is to be there, such as a file for each link of a host. Files of a set
        that are none of these are removed as those in O(absent) are.
      - What others have put beside them is left alone, since it lacks the mark; so are links and directories.
    type: list
    elements: dict
    default: []
    suboptions:
      glob:
        description: Absolute path in which V(*), V(?) and V([]) stand for any characters, as in a shell.
        type: path
        required: true
      mark:
        description: Text by which the files of a set are told from those of others, since all of them hold it, those of former runs as well.
        type: str
        required: true
  rollback:
    description:
      - For files that could shut the operator out. Before any is replaced, the present ones are kept and a timer is started that puts
        them back, unless M(widgets.mail.rollback_confirm) ends it in time.
      - What a run that was broken off has replaced is put back as well. Where the next run comes before that, those files count as
        changed once more, so that the service reads them and they are confirmed.
    type: dict
    suboptions:
      name:
        description: What the rollback is called; lower-case letters, digits, hyphens.
        type: str
        required: true
      seconds:
        description: How long to wait for the confirmation. V(0) arms nothing.
        type: int
        required: true
      commands:
        description: Commands that make the service read the former files again, each a list of words. No shell runs them.
        type: list
        elements: list
        required: true
  units:
    description:
      - systemd's units that these files are for, with their suffix. They are only looked at; RV(units) says what is left to do for
        them, so that a task of M(widgets.mail.units) can be passed over where all is well.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: >-
      Tells what would be written; users and groups may not exist yet, nor the command of O(files[].validate) and what it needs.
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

- name: Describe each link, and none that is no longer there
  widgets.mail.text_files:
    files:
      - {path: /etc/systemd/network/50-inside.network, content: "{{ lookup('widgets.mail.template', 'inside.network.j2') }}"}
    only:
      - {glob: /etc/systemd/network/50-*.network, mark: by the role network}

- name: Configure the log
  widgets.mail.text_files:
    files:
      - {path: /etc/rsyslog.conf, content: "{{ lookup('widgets.mail.template', 'rsyslog.conf.j2') }}"}
    units: [rsyslog.service]
  register: __written
- name: Keep it running
  widgets.mail.units:
    names: "{{ __written.units }}"
  when: __written.units | length > 0
"""

RETURN = r"""
changes:
  description: Paths that were made, mended, written or removed, or would be.
  returned: always
  type: list
  elements: str
units:
  description: Units of the list that are not both enabled and running; all of them where anything was changed, or would be.
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import stat
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import files, modes, owners, rollback, unit_states


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
    return text, owners.described(path)


def describe_directory(module: AnsibleModule, path: str) -> str:
    """Owner, group and mode of a directory, or that it is absent."""
    try:
        state = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    if not stat.S_ISDIR(state.st_mode):
        module.fail_json(msg=f"{path}: is no directory")
    return owners.described(path)


def numbers(module: AnsibleModule, want: dict[str, Any]) -> tuple[int, int]:
    """The numbers of the user and group that something is to belong to."""
    if not modes.OCTAL.match(want["mode"]):
        module.fail_json(msg=f"{want['path']}: mode {want['mode']!r} is no quoted octal number with a leading zero")
    try:
        return pwd.getpwnam(want["owner"]).pw_uid, grp.getgrnam(want["group"]).gr_gid
    except KeyError as error:
        if not module.check_mode:
            module.fail_json(msg=f"{want['path']}: {error.args[0]}")
        return -1, -1  # an earlier task would have made them


def unwanted(module: AnsibleModule) -> list[str]:
    """The files of all sets that are not among those that are to be there."""
    found: list[str] = []
    for family in module.params["only"]:
        if not os.path.isabs(family["glob"]):
            module.fail_json(msg=f"only: the glob {family['glob']!r} is no absolute path")
        if not family["mark"].strip():
            module.fail_json(msg=f"only: {family['glob']} has no mark: files of others would go")
        found += files.unwanted(family["glob"], family["mark"], [want["path"] for want in module.params["files"]])
    return found


def hold_directory(want: dict[str, Any], uid: int, gid: int) -> None:
    """Make or mend one directory; nobody else gets into it in between."""
    if not os.path.isdir(want["path"]):
        os.mkdir(want["path"], 0o700)
    handle = os.open(want["path"], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchown(handle, uid, gid)
        os.fchmod(handle, int(want["mode"], 8))
    finally:
        os.close(handle)


def main() -> None:
    """Compare all, check what differs, then write it."""
    place: dict[str, Any] = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
    }
    row = {
        **place,
        "content": {"type": "str", "required": True},
        "mode": {"type": "str", "default": "0644"},
        "validate": {"type": "str"},
        "validate_needs": {"type": "path"},
    }
    directory = {**place, "mode": {"type": "str", "default": "0755"}}
    of_a_set = {"glob": {"type": "path", "required": True}, "mark": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": row},
            "directories": {"type": "list", "elements": "dict", "default": [], "options": directory},
            "absent": {"type": "list", "elements": "path", "default": []},
            "only": {"type": "list", "elements": "dict", "default": [], "options": of_a_set},
            "units": {"type": "list", "elements": "str", "default": []},
            "rollback": {
                "type": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "seconds": {"type": "int", "required": True},
                    "commands": {"type": "list", "elements": "list", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    units = module.params["units"]
    wrong = unit_states.misnamed(units)
    if wrong:
        module.fail_json(msg=f"units: {wrong}")
    pending = hold_on(module)
    todo: list[tuple[dict[str, Any], int, int]] = []
    held: list[tuple[dict[str, Any], int, int]] = []
    diffs = []
    for want in module.params["directories"]:
        uid, gid = numbers(module, want)
        have, wanted = (
            describe_directory(module, want["path"]),
            owners.words(want["owner"], want["group"], int(want["mode"], 8)),
        )
        if have != wanted:
            held.append((want, uid, gid))
            diffs.append(owners.difference(want["path"], wanted))
    for want in module.params["files"]:
        path = want["path"]
        if os.path.isdir(path):
            module.fail_json(msg=f"{path}: is a directory")
        uid, gid = numbers(module, want)
        text, have = describe(path)
        wanted = owners.words(want["owner"], want["group"], int(want["mode"], 8))
        if text == want["content"] and have == wanted:
            continue
        todo.append((want, uid, gid))
        if text != want["content"]:
            diffs.append({"before": text or "", "after": want["content"], "before_header": path, "after_header": path})
        if have != wanted:
            diffs.append(owners.difference(path, wanted))
    for path in sorted(set(pending).difference(want["path"] for want, _uid, _gid in todo)):
        before, after = rollback.former(module.params["rollback"]["name"], path), describe(path)[0] or ""
        diffs.append({"before": before, "after": after, "before_header": f"{path} (not confirmed yet)", "after_header": path})
    gone = [path for path in module.params["absent"] if os.path.lexists(path)]
    gone = list(dict.fromkeys(gone + unwanted(module)))
    for path in gone:
        if os.path.isdir(path) and not os.path.islink(path):
            module.fail_json(msg=f"{path}: is a directory, only files are removed")
        diffs.append(
            {"before": describe(path)[0] or f"{path}\n", "after": "", "before_header": path, "after_header": "(absent)"}
        )
    if not module.check_mode:
        for want, uid, gid in held:
            try:
                hold_directory(want, uid, gid)
            except OSError as error:
                module.fail_json(msg=f"{want['path']}: {error.strerror}")
    for want, _uid, _gid in todo:
        validate(module, want)
    if not module.check_mode:
        if held or todo or gone:
            arm(module, [want["path"] for want, _uid, _gid in todo] + gone)
        for want, uid, gid in todo:
            write(module, want, uid, gid)
        for path in gone:
            os.unlink(path)
    changes = list(dict.fromkeys([want["path"] for want, _uid, _gid in held + todo] + gone + pending))
    states = {name: unit_states.state(module.run_command, name) for name in units}
    wanting = [name for name, state in states.items() if changes or not (state.enabled and state.active)]
    module.exit_json(changed=bool(changes), changes=changes, units=wanting, diff=diffs)


def hold_on(module: AnsibleModule) -> list[str]:
    """The paths that an earlier run has replaced and nobody has confirmed; they stay for as long again.

    To whoever reads them they are changes of this run, which has them read and confirmed: else it would find nothing to do, and then
    the former files would be put back.
    """
    want = module.params["rollback"]
    pending = rollback.unconfirmed(module.run_command, want["name"]) if want else []
    if pending and not module.check_mode:
        if want["seconds"]:
            arm(module, [])
        else:
            rollback.confirm(module.run_command, want["name"])
    return pending


def arm(module: AnsibleModule, paths: list[str]) -> None:
    """Have a way back before the first file is replaced."""
    want = module.params["rollback"]
    if not want or not want["seconds"]:
        return
    if not rollback.NAME.match(want["name"]):
        module.fail_json(msg=f"rollback.name is {want['name']!r}: lower-case letters, digits and hyphens, a letter first")
    wrong = rollback.arm(module.run_command, want["name"], want["seconds"], paths, want["commands"])
    if wrong:
        module.fail_json(msg=f"No file was replaced, because they could not be put back in time: {wrong}")


def validate(module: AnsibleModule, want: dict[str, Any]) -> None:
    """Have the program that reads a file check a private copy of it."""
    if not want["validate"]:
        return
    if "%s" not in want["validate"]:
        module.fail_json(msg=f"{want['path']}: validate is {want['validate']!r}: it must hold %s, the file to check")
    if module.check_mode and not module.get_bin_path(want["validate"].split()[0]):
        return  # its package would have been installed
    if module.check_mode and want["validate_needs"] and not os.path.exists(want["validate_needs"]):
        return  # the program alone is there yet, and would refuse what it learns by that
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
    try:
        files.replace(want["path"], want["content"], int(want["mode"], 8), uid, gid)
    except OSError as error:
        module.fail_json(msg=f"{want['path']}: {error}")


if __name__ == "__main__":
    main()
