#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""The steps of a change of a gateway's key, written down on the machine with Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tlsa_rotation
short_description: Take a change of gateways' keys one step further, or write down that all hosts know the last one
version_added: 0.1.0
description:
  - Works on the directory that P(widgets.mail.tlsa_keys#lookup) reads, so it is run on the machine with Ansible.
  - A change is C(begin) (the next key's TLSA record is published), C(switch) (the gateway shows the next key) and C(withdraw) (the old
    key's record is gone). A step is taken when the hosts have known the one before for long enough, and none while they do not know
    it yet.
author: The widgets.mail developers (@widgets)
options:
  directory:
    description: The directory.
    type: path
    required: true
  pairs:
    description: Gateways with their keys, as P(widgets.mail.tlsa_pairs#filter) has them.
    type: dict
    required: true
  known:
    description: Write down that all hosts know what is written down, instead of taking a step.
    type: bool
    default: false
  wait_switch:
    description: Seconds that a new key's record has been published before the gateway shows the key.
    type: int
    default: 7200
  wait_withdraw:
    description: Seconds that the old key's record stays after that.
    type: int
    default: 7200
attributes:
  check_mode:
    support: full
    description: Tells which step would be taken.
  diff_mode:
    support: full
    description: States of keys; never a key.
"""

EXAMPLES = r"""
- name: Go on with the change
  widgets.mail.tlsa_rotation:
    directory: "{{ inventory_dir }}/secrets/tlsa"
    pairs: "{{ site_tls | widgets.mail.tlsa_pairs(['smtp1']) }}"
  delegate_to: localhost
"""

RETURN = r"""
steps:
  description: Steps that were taken, or would be, each with its gateway.
  returned: always
  type: list
  elements: str
waits:
  description: What comes next for each gateway, and when at the earliest.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import key_rotation, tlsa_store


def shown(rows: list[dict[str, Any]]) -> str:
    """The states as a text."""
    return "".join(f"{row['host']} {row['key'][:8]} {row['state']} {row['since'] or 'not known yet'}\n" for row in rows)


def main() -> None:
    """Take the steps that are due."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "pairs": {"type": "dict", "required": True},
            "known": {"type": "bool", "default": False},
            "wait_switch": {"type": "int", "default": 7200},
            "wait_withdraw": {"type": "int", "default": 7200},
        },
        supports_check_mode=True,
    )
    directory, pairs = module.params["directory"], module.params["pairs"]
    coming = {host: own.get("next") or "" for host, own in pairs.items()}
    limits = {step: module.params[f"wait_{step}"] for step in (key_rotation.SWITCH, key_rotation.WITHDRAW)}
    time = key_rotation.now()
    try:
        with key_rotation.locked(directory):
            before = tlsa_store.read(directory)
            rows, steps, waits = key_rotation.advanced(
                tlsa_store.first(before, pairs, time),
                pairs,
                lambda rows, host: tlsa_store.due(rows, host, coming[host], time, limits),
                lambda rows, host, step: tlsa_store.stepped(rows, host, step, coming[host]),
                time,
                module.params["known"],
            )
            if rows != before and not module.check_mode:
                tlsa_store.write(directory, rows)
    except (OSError, ValueError, KeyError) as problem:
        module.fail_json(msg=f"Keys of TLSA records in {directory}: {problem}")
    module.exit_json(changed=rows != before, steps=steps, waits=waits, diff={"before": shown(before), "after": shown(rows)})


if __name__ == "__main__":
    main()
