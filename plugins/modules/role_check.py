#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Documentation of the action plugin of this name, which is all there is: hosts run the module before_note."""

from __future__ import annotations

DOCUMENTATION = r"""
module: role_check
short_description: Refuse variables of this role that make no sense
version_added: 0.1.0
description:
  - To be the first task of a role of this collection. It says of the role's variables what the types in C(meta/argument_specs.yml)
    cannot, by the lookup C(widgets.mail.role_errors), before the role changes anything.
  - Then it notes how the host is, where the role has no note yet (M(widgets.mail.before_note)).
  - Where the variable C(role_check_done) is true it is skipped. A playbook sets it that has had all roles checked in one task before
    the first of them ran, as C(widgets.mail.site) has.
author: The widgets.mail developers (@widgets)
attributes:
  check_mode:
    support: full
    description: Reads variables, and tells whether a note would be made.
  diff_mode:
    support: none
    description: Changes nothing but for the note.
"""

EXAMPLES = r"""
- name: Refuse zones that make no sense
  widgets.mail.role_check:
"""

RETURN = r"""
msg:
  description: What is wrong, one sentence for each variable.
  returned: on failure
  type: str
"""
