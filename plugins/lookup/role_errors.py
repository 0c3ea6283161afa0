"""What roles of this collection would refuse of a host's variables, before any of them runs."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_errors
short_description: What roles of this collection would refuse of a host's variables
description:
  - Reads the entry point C(main) of C(meta/argument_specs.yml) of roles that lie beside this plugin, and holds the variables of
    the host against them with Ansible's own checker. So one task refuses bad input of all roles before the first one changes
    anything.
  - What types cannot say comes after that. Numbers have to lie in the ranges that the descriptions tell, addresses, names and paths
    have to be some, and settings must not contradict each other, defaults included.
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
author: The widgets.mail developers (@widgets)
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
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template
from ansible_collections.widgets.mail.plugins.lookup.undefined import lacking
from ansible_collections.widgets.mail.plugins.plugin_utils.role_checks import wrong
from ansible_collections.widgets.mail.plugins.plugin_utils.role_files import ROLES, load

# How much alike two names must be for one to be a slip of the other: one or two letters of a name of usual length.
ALIKE = 0.9
# What roles leave behind for others, whose names are like those of variables.
LEFT = {"base_host"}


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
    for name in sorted(name for name in names if name.startswith(prefixes) and name not in specs and name not in LEFT):
        near = difflib.get_close_matches(name, specs, n=1, cutoff=ALIKE)
        if near:
            found.append(f"{name} is no variable of a role: is {near[0]} meant?")
    return found


def refused(specs: Mapping[str, Any], values: Mapping[str, Any], roles: Iterable[str] = ()) -> list[str]:
    """What Ansible's checker says of the values, and, where it is content, what is wrong with them all the same."""
    result = ArgumentSpecValidator(dict(specs)).validate(dict(values))
    return [plain(message) for message in result.error_messages] or wrong(specs, given(result.validated_parameters), roles)


def plain(message: str) -> str:
    """A message of Ansible's checker in the words of the others."""
    message = re.sub(r"<class '[^']*'> cannot", "it cannot", message)
    message = re.sub(r"The value (.*) is not a valid boolean.*", "it must be true or false", message, flags=re.DOTALL)
    message = re.sub(r"^(\S+)\. Supported parameters include: ", r"\1 is an unknown key: allowed are ", message)
    return f"{message.rstrip('.')}."


def given(value: Any) -> Any:
    """A value without the keys that the checker put there for what nobody has set."""
    if isinstance(value, list):
        return [given(item) for item in value]
    return {key: given(item) for key, item in value.items() if item is not None} if isinstance(value, dict) else value


def trusted(value: Any) -> Any:
    """A default from a role's own files, whose expressions may be evaluated as they would be in the role."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return {key: trusted(item) for key, item in value.items()} if isinstance(value, dict) else value


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
        defaults = {
            name: trusted(option["default"]) for name, option in specs.items() if "default" in option and name not in variables
        }
        templar = self._templar.copy_with_new_env(available_variables={**variables, **defaults})
        named = {name: variables[name] for name in specs if name in variables}
        unset = [message for name, value in named.items() for message in lacking(name, value, templar.template)]
        if unset:
            return unset
        values = {name: templar.template(value) for name, value in named.items()}
        late = []
        for name, default in defaults.items():
            try:
                values[name] = templar.template(default)
            except AnsibleError:  # it needs facts that nobody has asked for yet
                late.append(name)
        known = {name: {**option, "default": None} if name in late else option for name, option in specs.items()}
        return refused(known, values, roles) + slips(variables, roles, specs)
