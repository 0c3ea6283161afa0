#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""The steps of a rotation of DKIM keys, written down on the machine with Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dkim_rotation
short_description: Take a rotation of DKIM keys one step further, or write down that all hosts know the last one
version_added: 0.1.0
description:
  - Works on the directory that P(widgets.mail.dkim_keys#lookup) reads, so it is run on the machine with Ansible.
  - A rotation is C(begin) (a new key, published but not signing), C(switch) (the new one signs, the old one stays published) and
    C(withdraw) (the old one is gone). A step is taken when the hosts have known the one before for long enough, and none while they
    do not know it yet.
author: The widgets.mail developers (@widgets)
options:
  directory:
    description: The directory.
    type: path
    required: true
  domains:
    description: Mail domains, with A-labels.
    type: list
    elements: str
    required: true
  known:
    description: Write down that all hosts know what is written down, instead of taking a step.
    type: bool
    default: false
  wait_begin:
    description: Seconds that a key signs before a new one is made, at least.
    type: int
    default: 0
  wait_switch:
    description: Seconds that a new key has been published before it signs.
    type: int
    default: 7200
  wait_withdraw:
    description: Seconds that the old key stays published, which no longer signs.
    type: int
    default: 691200
attributes:
  check_mode:
    support: full
    description: Tells which step would be taken.
  diff_mode:
    support: full
    description: States of selectors; never a key.
"""

EXAMPLES = r"""
- name: Go on with the rotation
  widgets.mail.dkim_rotation:
    directory: "{{ inventory_dir }}/secrets/dkim"
    domains: [widgets.example]
  delegate_to: localhost
"""

RETURN = r"""
steps:
  description: Steps that were taken, or would be, each with its domain.
  returned: always
  type: list
  elements: str
waits:
  description: What comes next for each domain, and when at the earliest.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import dkim_store, key_rotation


def shown(rows: list[dict[str, Any]]) -> str:
    """The states as a text."""
    return "".join(f"{row['domain']} {row['selector']} {row['state']} {row['since'] or 'not known yet'}\n" for row in rows)


def main() -> None:
    """Take the steps that are due."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "domains": {"type": "list", "elements": "str", "required": True},
            "known": {"type": "bool", "default": False},
            "wait_begin": {"type": "int", "default": 0},
            "wait_switch": {"type": "int", "default": 7200},
            "wait_withdraw": {"type": "int", "default": 691200},
        },
        supports_check_mode=True,
    )
    directory, domains = module.params["directory"], module.params["domains"]
    limits = {step: module.params[f"wait_{step}"] for step in (key_rotation.BEGIN, key_rotation.SWITCH, key_rotation.WITHDRAW)}
    time = key_rotation.now()
    try:
        with key_rotation.locked(directory):
            before = dkim_store.read(directory)
            rows, steps, waits = key_rotation.advanced(
                before,
                domains,
                lambda rows, domain: dkim_store.due(rows, domain, time, limits),
                lambda rows, domain, step: dkim_store.stepped(rows, domain, step, time),
                time,
                module.params["known"],
            )
            if rows != before and not module.check_mode:
                dkim_store.write(directory, rows)
    except (OSError, ValueError, KeyError) as problem:
        module.fail_json(msg=f"DKIM keys in {directory}: {problem}")
    module.exit_json(changed=rows != before, steps=steps, waits=waits, diff={"before": shown(before), "after": shown(rows)})


if __name__ == "__main__":
    main()
