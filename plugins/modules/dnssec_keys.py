#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""What the zones above have to be told of the keys that BIND signs with, and what BIND has to be told of the zones above."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dnssec_keys
short_description: DS records of the zones that BIND signs, and the state of their keys
version_added: 0.1.0
description:
  - Reads the directory that BIND keeps its keys in. Private halves are not looked at, and none is ever returned.
  - BIND has to know whether the zones above have the DS records; with O(parent) it is told.
author: The widgets.mail developers (@widgets)
options:
  directory:
    description: The directory.
    type: path
    required: true
  views:
    description: Signed zones, each with the views that have it.
    type: dict
    required: true
  parent:
    description: Tell BIND that the zones above have published the DS records, or that they have withdrawn them.
    type: str
    choices: [published, withdrawn]
attributes:
  check_mode:
    support: full
    description: BIND is told nothing.
  diff_mode:
    support: none
    description: States are told instead.
"""

EXAMPLES = r"""
- name: Show what the registrar has to be given
  widgets.mail.dnssec_keys:
    directory: /var/lib/bind/site/keys
    views: {example.org: [external]}
"""

RETURN = r"""
records:
  description: The DS records, with SHA-256.
  returned: success
  type: list
  elements: str
states:
  description: What BIND believes of each key and its DS record, a line each.
  returned: success
  type: list
  elements: str
"""

import glob
import os
import re

from ansible.module_utils.basic import AnsibleModule

MARKS = {"published": "DSPublish", "withdrawn": "DSRemoved"}


def state_of(path: str) -> dict[str, str]:
    """What BIND has written down of a key."""
    with open(path, encoding="ascii") as stream:
        return dict(re.findall(r"^(\w+): (\S+)", stream.read(), re.MULTILINE))


def parent_has(state: dict[str, str]) -> str:
    """What BIND has been told of a key's DS record: published, withdrawn, or nothing yet."""
    published, withdrawn = state.get("DSPublish", ""), state.get("DSRemoved", "")
    if not published and not withdrawn:
        return ""
    return "published" if published > withdrawn else "withdrawn"


def states_of(directory: str, zone: str) -> dict[str, dict[str, str]]:
    """The keys of a zone, by the names of their files."""
    return {path: state_of(path) for path in sorted(glob.glob(f"{glob.escape(directory)}/K{glob.escape(zone)}.+*.state"))}


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "views": {"type": "dict", "required": True},
            "parent": {"type": "str", "choices": sorted(MARKS)},
        },
        supports_check_mode=True,
    )
    directory, wanted = module.params["directory"], module.params["parent"]
    records, states, changed = [], [], False
    for zone, views in module.params["views"].items():
        keys = states_of(directory, zone)
        if not keys:
            module.fail_json(msg=f"The zone {zone} has no key in {directory}: does this name server sign it, and does it run?")
        if wanted and any(parent_has(state) != wanted for state in keys.values()):
            changed = True
            for view in views if not module.check_mode else []:
                module.run_command(["rndc", "dnssec", "-checkds", wanted, zone, "IN", view], check_rc=True)
        for path, state in (keys if module.check_mode else states_of(directory, zone)).items():
            _code, out, _err = module.run_command(
                ["dnssec-dsfromkey", "-2", path.removesuffix(".state") + ".key"], check_rc=True
            )
            records += out.split("\n")[:-1]
            told = f"{parent_has(state)} as it was told" if parent_has(state) else "of which it was told nothing"
            states.append(f"{zone}: key {os.path.basename(path).split('+')[-1].removesuffix('.state')}, DS record {told}")
    module.exit_json(changed=changed, records=sorted(records), states=states)


if __name__ == "__main__":
    main()
