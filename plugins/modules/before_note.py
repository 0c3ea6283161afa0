#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Note how a host is before a role changes it for the first time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: before_note
short_description: Note how a host is before roles come to it, so that they can be taken away again
version_added: 0.1.0
description:
  - Roles that have no note yet get one; /etc as it is, owner and mode of everything else, packages, units, overrides and settings of
    the kernel. It is below /var/lib/widgets-mail, and root's alone. Files of more than 1 MiB, people's files and mail are not in it.
  - C(role_check), the first task of each role, and M(widgets.mail.host_state) with its option C(note) do the same.
author: The widgets.mail developers (@widgets)
options:
  roles:
    description: The roles that come.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
    description: Notes nothing.
  diff_mode:
    support: none
    description: It changes nothing of the host but for its own notes.
"""

EXAMPLES = r"""
- name: Note how the host is before the name server comes
  widgets.mail.before_note:
    roles: [dns]
"""

RETURN = r"""
path:
  description: Where it is noted which roles have come.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import before


def main() -> None:
    """Once for each role."""
    module = AnsibleModule(
        argument_spec={"roles": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    if not module.check_mode and before.unnoted(module.params["roles"]):
        before.note(module.run_command, module.params["roles"])
    # The note is ours, and nothing of the host: several roles of one run would all foretell it.
    module.exit_json(changed=False, path=before.NOTES)


if __name__ == "__main__":
    main()
