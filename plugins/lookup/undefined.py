"""Which variables need another one that nobody has defined."""

from __future__ import annotations

DOCUMENTATION = r"""
name: undefined
short_description: Which variables need another one that nobody has defined
description:
  - Evaluates variables of the host, entry by entry, and tells which entries cannot be, since they name a variable that is not defined.
    So whoever has taken an inventory from somewhere else reads at once all that still belongs to the place where it came from.
options:
  _terms:
    description: Names of variables.
    required: true
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Refuse an inventory that is not complete
  ansible.builtin.assert:
    that: __errors | length == 0
    fail_msg: "{{ __errors | join(' ') }}"
  vars:
    __errors: "{{ query('widgets.mail.undefined', 'site_users', 'site_hosts') }}"
"""

RETURN = r"""
_list:
  description: Messages, each with an entry and what it needs.
  type: list
  elements: str
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ansible.errors import AnsibleUndefinedVariable
from ansible.plugins.lookup import LookupBase


def leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a value, with the way to it: site_users[0].password."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(f"{name}.{key}", item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(f"{name}[{number}]", item)
    elif isinstance(value, str):
        yield name, value


def lacking(name: str, value: Any, evaluate: Callable[[str], object]) -> list[str]:
    """Messages about the texts in a value that cannot be evaluated."""
    found = []
    for place, text in leaves(name, value):
        try:
            evaluate(text)
        except AnsibleUndefinedVariable as problem:
            missing = re.findall(r"'(\w+)' is undefined", str(problem))
            found.append(
                f"{place} needs {missing[-1]}, which is not defined." if missing else f"{place} is {text!r}: {problem}."
            )
    return found


class LookupModule(LookupBase):
    """The lookup itself."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        names = [name for name in self._flatten(terms) if name in variables]
        return [message for name in names for message in lacking(name, variables[name], self._templar.template)]
