#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Services that nobody needs: stopped and masked, all in one step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units_off
short_description: Stop and mask a list of systemd units, those that exist
version_added: 0.1.0
description:
  - Reads the state of all units in one call, then stops and masks in one call those that exist and are not masked yet.
  - Units that do not exist are left out, so that the list may name what some hosts have and others have not, unless O(unknown).
author: The widgets.mail developers (@widgets)
options:
  names:
    description: Units with their suffix, such as C(rpcbind.socket).
    type: list
    elements: str
    required: true
  unknown:
    description: Mask units that do not exist as well, for a package that may bring them at some time.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Tells what would be stopped and masked.
  diff_mode:
    support: full
    description: One line for each unit that changes.
"""

EXAMPLES = r"""
- name: Run nothing that nobody asked for
  widgets.mail.units_off:
    names: [rpcbind.socket, rpcbind.service, avahi-daemon.service]
"""

RETURN = r"""
changes:
  description: Units that were stopped and masked, or would be.
  returned: always
  type: list
  elements: str
absent:
  description: Units of the list that this host has not.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils.unit_states import misnamed

QUIET = {"inactive", "failed"}


def parse_show(text: str) -> list[dict[str, str]]:
    """The blocks of ``systemctl show``, one for each unit asked for, in order."""
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in text.strip().split("\n\n")
        if block.strip()
    ]


def sort_out(names: list[str], blocks: list[dict[str, str]], unknown: bool = False) -> tuple[dict[str, str], list[str]]:
    """Units to stop and mask with their state, and units that do not exist and may be left alone."""
    todo, absent = {}, []
    for name, state in zip(names, blocks, strict=True):
        load, active, file = (state.get(key, "") for key in ("LoadState", "ActiveState", "UnitFileState"))
        if load == "not-found" and active in QUIET and not unknown:
            absent.append(name)
        elif load != "masked" or active not in QUIET:
            todo[name] = f"{file or load}, {active}"
    return todo, absent


def main() -> None:
    """Read once, act once."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "unknown": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    names = list(dict.fromkeys(module.params["names"]))
    wrong = misnamed(names)
    if wrong:
        module.fail_json(msg=f"names: {wrong}")
    todo: dict[str, str] = {}
    absent: list[str] = []
    if names:
        show = ["systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", "--", *names]
        _rc, out, _err = module.run_command(show, check_rc=True)
        todo, absent = sort_out(names, parse_show(out), module.params["unknown"])
    if todo and not module.check_mode:
        module.run_command(["systemctl", "mask", "--now", "--", *todo], check_rc=True)
    module.exit_json(
        changed=bool(todo),
        changes=list(todo),
        absent=absent,
        diff={
            "before": "".join(f"{name}: {state}\n" for name, state in todo.items()),
            "after": "".join(f"{name}: masked, inactive\n" for name in todo),
        },
    )


if __name__ == "__main__":
    main()
