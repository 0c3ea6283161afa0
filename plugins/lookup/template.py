"""What a template says, as text: Ansible's own lookup without its copy of all variables for each file."""

from __future__ import annotations

DOCUMENTATION = r"""
name: template
short_description: What a template says, as text
version_added: 0.1.0
description:
  - Hands its arguments to P(ansible.builtin.template#lookup), whose options and results it has.
  - That one copies all variables of a host, down to the last level, for each file. With the tables of a whole site in the inventory
    this was a quarter of the time of an unchanged converge. Here the first level is copied, which is all that a template can
    write to.
options:
  _terms:
    description: Names of templates, looked for where P(ansible.builtin.template#lookup) looks.
    required: true
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Show the file of a role
  ansible.builtin.debug:
    msg: "{{ lookup('widgets.mail.template', 'hosts.j2') }}"
"""

RETURN = r"""
_raw:
  description: The text of each template.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase


class FlatlyCopied(dict[str, Any]):
    """Variables of which a deep copy shares the values."""

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return dict(self)


class LookupModule(LookupBase):
    """The lookup itself."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        ansibles_own = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        return list(ansibles_own.run(terms, FlatlyCopied(variables or {}), **kwargs))
