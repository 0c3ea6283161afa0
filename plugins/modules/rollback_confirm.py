#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""The operator still gets in: what was changed may stay."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback_confirm
short_description: Confirm files that would otherwise be put back
version_added: 0.1.0
description:
  - Ends the timed rollback that M(widgets.mail.text_files) armed with its option O(widgets.mail.text_files#module:rollback).
  - It leaves the connection and makes another one first, which proves that new files let somebody in. Where that takes longer than the
    rollback allows, the files have been put back, and the module fails.
author: The widgets.mail developers (@widgets)
options:
  name:
    description: The name that the rollback was armed by.
    type: str
    required: true
  seconds:
    description: How long the rollback waits; getting in again is tried for a minute longer. With 0 there is none, and the connection is left.
    type: int
    required: true
attributes:
  check_mode:
    support: full
    description: Nothing is armed in check mode, and nothing to confirm.
  diff_mode:
    support: none
    description: There is no content to compare.
"""

EXAMPLES = r"""
- name: Let the new rules stay
  widgets.mail.rollback_confirm:
    name: firewall
    seconds: 120
"""

RETURN = r""" # """

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import rollback


def main() -> None:
    """Confirm, or tell that it is too late."""
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}, "seconds": {"type": "int", "required": True}},
        supports_check_mode=True,
    )
    name = module.params["name"]
    if not module.check_mode:
        if not rollback.armed(module.run_command, name):
            module.fail_json(
                msg=f"The new files of {name} were put back: they shut this connection out, or it was not confirmed in time. "
                "The host is as it was before; `journalctl -t ansible-rollback` on it tells when."
            )
        rollback.confirm(module.run_command, name)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
