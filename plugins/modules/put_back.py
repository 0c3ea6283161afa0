#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""A host as it was before a role came, of all that the role brought."""

from __future__ import annotations

DOCUMENTATION = r"""
module: put_back
short_description: Take away what a role brought, and bring back what it replaced
version_added: 0.1.0
description:
  - Goes by the note that was made of the host before the role changed anything (M(widgets.mail.before_note)).
  - What was there then is as it was then; what was not is gone. What the lists do not name is left alone, and so is what the note
    does not know of.
  - It refuses before anything changes where a spool holds something, where another role still needs what would go, and where the
    connection would go.
  - Where a role has not come to the host, or has gone already, nothing is done.
  - The action plugin of this name fills in O(role), O(packages_of), O(keep_packages), O(going), O(look), O(way) and the paths of
    O(needed_by).
author: The widgets.mail developers (@widgets)
options:
  role:
    description: The role that goes; the one that the task is in.
    type: str
    required: true
  keep_packages:
    description: Packages that stay all the same; the variable C(put_back_keep).
    type: list
    elements: str
    default: []
  packages_of:
    description: The packages of every role of the collection; those of roles that are on the host stay.
    type: dict
    default: {}
  going:
    description: Roles that go in the same run, and before this one where it is needed by them; the variable C(put_back_going).
    type: list
    elements: str
    default: []
  look:
    description: Whether only to refuse what has to be refused; the variable C(put_back_look).
    type: bool
    default: false
  way:
    description: The connection, as Ansible names it.
    type: str
    default: ssh
  spools:
    description: Directories below which no file may lie.
    type: list
    elements: str
    default: []
  spool_parts:
    description: Names of the directories in them that count, all of them where it is empty.
    type: list
    elements: str
    default: []
  needed_by:
    description: What of another role says that it still needs this one.
    type: list
    elements: dict
    default: []
    suboptions:
      role:
        description: That role.
        type: str
        required: true
      path:
        description: >-
          A file of it. The action plugin fills in the configuration that the role names in its variables (C(__ROLE_configuration)).
        type: str
        required: true
      holds:
        description: What the file has to hold; it is enough that it is there where this is not given.
        type: str
  units:
    description: systemd's units, with their suffix. Those that did not run are stopped, those that did are restarted.
    type: list
    elements: str
    default: []
  packages:
    description: Packages to purge, with what came along for them alone, unless they were there before or others need them.
    type: list
    elements: str
    default: []
  packages_back:
    description: Packages to install again where they were there before.
    type: list
    elements: str
    default: []
  paths:
    description: Files and directories, a star standing for anything but a slash.
    type: list
    elements: str
    default: []
  modes:
    description: Files and directories whose owner and mode are as they were; their overrides in dpkg's list, too.
    type: list
    elements: str
    default: []
  overrides:
    description: Files whose overrides in dpkg's list go in any case, since a package takes the users along that they name.
    type: list
    elements: str
    default: []
  setid:
    description: Whether the set-id bits of all files are as they were.
    type: bool
    default: false
  tables:
    description: Tables of nftables, as C(inet firewall), that go unless they were there before.
    type: list
    elements: str
    default: []
  users:
    description: Users that go unless they were there before.
    type: list
    elements: str
    default: []
  groups:
    description: Groups that go unless they were there before, or somebody else is in them by now.
    type: list
    elements: str
    default: []
  members:
    description: Users that the role has put into those groups.
    type: list
    elements: str
    default: []
  kernel:
    description: Settings of the kernel, as below /proc/sys, a star standing for anything.
    type: list
    elements: str
    default: []
  check:
    description: Commands that read the files that have come back, each a list of words. Where one fails no unit is touched.
    type: list
    elements: list
    default: []
  commands:
    description: Commands that make the rest of the host notice, each a list of words; run last, and only where something was done.
    type: list
    elements: list
    default: []
  rollback:
    description: >-
      Puts the files back that go, unless a new connection can be made without them, over which it is confirmed. For roles that the
      connection goes by.
    type: dict
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      seconds:
        description: How long it waits; 0 for none.
        type: int
        required: true
      unit:
        description: It is needed only where this unit ran before the role came.
        type: str
        required: true
      commands:
        description: What makes the host notice that its files are back.
        type: list
        elements: list
        required: true
  confirm:
    description: The name of a rollback that is to be confirmed, instead of all else. The task does so itself.
    type: str
attributes:
  check_mode:
    support: full
    description: Tells what would be done.
  diff_mode:
    support: full
    description: A line for each thing that goes or comes back.
"""

EXAMPLES = r"""
- name: Take the name server away
  widgets.mail.put_back:
    units: [named.service]
    packages: [bind9]
    paths: [/etc/bind, /etc/systemd/system/named.service.d]
"""

RETURN = r"""
changes:
  description: What was done, or would be, a line each.
  returned: always
  type: list
  elements: str
confirm:
  description: Whether the rollback has to be confirmed.
  returned: when something was done
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import before, leave, record, rollback

TEXTS = (
    *(
        "keep_packages",
        "going",
        "spools",
        "spool_parts",
        "units",
        "packages",
        "packages_back",
        "paths",
        "modes",
        "overrides",
        "tables",
    ),
    *("users", "groups", "members", "kernel"),
)
TABLE = {name: {"type": "str", "required": True} for name in ("role", "path")} | {"holds": {"type": "str"}}
ROLLBACK = {
    "name": {"type": "str", "required": True},
    "seconds": {"type": "int", "required": True},
    "unit": {"type": "str", "required": True},
    "commands": {"type": "list", "elements": "list", "required": True},
}


def confirm(module: AnsibleModule, role: str, name: str) -> None:
    """The operator still gets in: the role has gone."""
    if not rollback.armed(module.run_command, name):
        module.fail_json(
            msg=f"What the role {role} had brought was put back: its going shut this connection out, or it was not confirmed in time. "
            "`journalctl -t ansible-rollback` on the host tells when."
        )
    rollback.confirm(module.run_command, name)
    before.forget(role)
    module.exit_json(changed=False, changes=[])


def go(module: AnsibleModule, note: dict[str, Any]) -> None:
    """The leave itself."""
    going = leave.Leave(module, record.Record(f"{before.PLACE}/{note['record']}"), "leaving" in note)
    going.refuse()
    if not module.params["look"]:
        going.go()
    text = "".join(f"{line}\n" for line in going.changes)
    module.exit_json(
        changed=bool(going.changes), changes=going.changes, confirm=going.to_confirm, diff={"before": "", "after": text}
    )


def main() -> None:
    """Look, then act."""
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "required": True},
            "look": {"type": "bool", "default": False},
            "way": {"type": "str", "default": "ssh"},
            "setid": {"type": "bool", "default": False},
            "confirm": {"type": "str"},
            "needed_by": {"type": "list", "elements": "dict", "default": [], "options": TABLE},
            "packages_of": {"type": "dict", "default": {}},
            "rollback": {"type": "dict", "options": ROLLBACK},
            **{name: {"type": "list", "elements": "str", "default": []} for name in TEXTS},
            **{name: {"type": "list", "elements": "list", "default": []} for name in ("check", "commands")},
        },
        supports_check_mode=True,
    )
    role, notes = module.params["role"], before.notes()
    if module.params["confirm"]:
        confirm(module, role, module.params["confirm"])
    if notes is None:
        module.fail_json(msg=f"{before.NOTES} is not there: nobody has noted how this host was before roles came to it.")
    note = (notes or {}).get(role)
    if note is None:
        module.exit_json(changed=False, changes=[], confirm=False)
    elif note["record"] is None:
        module.fail_json(
            msg=f"The role {role} was on this host before it was noted how the host is: there is nothing to go by. Nothing was changed."
        )
    else:
        go(module, note)


if __name__ == "__main__":
    main()
