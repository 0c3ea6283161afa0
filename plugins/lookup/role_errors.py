"""What roles of this collection would refuse of a host's variables, before any of them runs."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_errors
short_description: What roles of this collection would refuse of a host's variables
description:
  - Reads the entry point C(main) of C(meta/argument_specs.yml) of roles that lie beside this plugin, and holds the variables of
    the host against them with Ansible's own checker. So one task refuses bad input of all roles before the first one changes
    anything.
  - A variable that no role has, but whose name is nearly that of one that a role has, is taken for a slip and named too.
options:
  _terms:
    description: Names of roles.
    required: true
  skip:
    description: Names of variables that are not looked at.
    type: list
    elements: str
    default: []
author:
  - The widgets.mail developers
"""

EXAMPLES = r"""
- name: Refuse variables that a role would refuse
  ansible.builtin.assert:
    that: __errors | length == 0
    fail_msg: "{{ __errors | join(' ') }}"
  vars:
    __errors: "{{ query('widgets.mail.role_errors', 'base', 'dns') }}"
"""

RETURN = r"""
_list:
  description: Messages, each with the name of its variable.
  type: list
  elements: str
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.lookup import LookupBase
from ansible_collections.widgets.mail.plugins.plugin_utils.role_files import ROLES, load

# How much alike two names must be for one to be a slip of the other: one or two letters of a name of usual length.
ALIKE = 0.9


def role_specs(roles: Iterable[str], directory: Path = ROLES) -> dict[str, Any]:
    """The options of several roles, by the names of their variables."""
    options: dict[str, Any] = {}
    for role in roles:
        path = directory / role / "meta" / "argument_specs.yml"
        if not path.is_file():
            raise ValueError(f"there is no role {role} with an argument spec in {directory}")
        options.update(load(path)["argument_specs"]["main"].get("options", {}))
    return options


def slips(names: Iterable[str], roles: Iterable[str], specs: Mapping[str, Any]) -> list[str]:
    """Messages about names that are nearly, but not quite, those of variables of a role."""
    prefixes = tuple(f"{role}_" for role in roles)
    found = []
    for name in sorted(name for name in names if name.startswith(prefixes) and name not in specs):
        near = difflib.get_close_matches(name, specs, n=1, cutoff=ALIKE)
        if near:
            found.append(f"{name} is no variable of a role: is {near[0]} meant?")
    return found


def refused(specs: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """What Ansible's checker says of the values."""
    return [f"{message.rstrip('.')}." for message in ArgumentSpecValidator(dict(specs)).validate(dict(values)).error_messages]


class LookupModule(LookupBase):
    """The lookup itself."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        roles = list(self._flatten(terms))
        try:
            specs = role_specs(roles)
        except ValueError as problem:
            raise AnsibleLookupError(str(problem)) from problem
        for name in self.get_option("skip"):
            specs.pop(name, None)
        values = {name: self._templar.template(variables[name]) for name in specs if name in variables}
        return refused(specs, values) + slips(variables, roles, specs)
