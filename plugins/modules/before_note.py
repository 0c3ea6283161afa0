#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Note how a host is before a role changes it for the first time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: before_note
short_description: Note how a host is, once, so that roles can be taken away again
version_added: 0.1.0
description:
  - Writes /var/lib/widgets-mail/before.tar.gz where it is missing; /etc, /root and /usr/local as they are, owner and mode of
    everything else, packages, units, overrides and settings of the kernel. It is root's alone.
  - C(role_check), the first task of each role, and C(host_state) with O(widgets.mail.host_state#module:note) do the same.
author: The widgets.mail developers (@widgets)
attributes:
  check_mode:
    support: full
    description: Tells whether there is none yet.
  diff_mode:
    support: none
    description: It changes nothing of the host but for its own record.
"""

EXAMPLES = r"""
- name: Note how the host is
  widgets.mail.before_note:
"""

RETURN = r"""
path:
  description: The record.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import before


def main() -> None:
    """Once."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    missing = not before.taken()
    if missing and not module.check_mode:
        before.take(module.run_command)
    # The record is ours, and nothing of the host: several roles of one run would all foretell it.
    module.exit_json(changed=False, path=before.RECORD)


if __name__ == "__main__":
    main()
