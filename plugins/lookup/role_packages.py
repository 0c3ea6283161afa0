"""Packages that roles of this collection install, read from their vars."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_packages
short_description: Packages that roles of this collection install
description:
  - Reads C(__ROLE_packages) from C(vars/main.yml) of roles that lie beside this plugin, so that one transaction can install
    the packages of all roles of a host.
  - The variable is a list, or lists by major version of the distribution. What only a part of a role needs is in
    C(__ROLE_packages_PART).
options:
  _terms:
    description: Names of roles, and of their parts such as V(pop3:imap).
    required: true
  release:
    description: Major version of the distribution, such as V(12).
    type: str
    required: true
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Show what the name server needs
  ansible.builtin.debug:
    msg: "{{ lookup('widgets.mail.role_packages', 'base', 'dns', release='12') }}"
"""

RETURN = r"""
_list:
  description: Names of packages, sorted, each once.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.widgets.mail.plugins.plugin_utils.role_files import ROLES, load


def packages_of(variables: dict[str, Any], role: str, release: str, part: str = "") -> list[str]:
    """The packages of a role, or of a part of it, out of its variables; an error where the release is not among them."""
    name = f"__{role}_packages_{part}" if part else f"__{role}_packages"
    if part and name not in variables:
        raise ValueError(f"role {role} has no part {part} with packages of its own ({name})")
    value = variables.get(name, [])
    if isinstance(value, dict):
        if release not in value:
            raise ValueError(f"role {role} has packages for the releases {', '.join(sorted(value))}, not for {release}")
        value = value[release]
    return list(value)


def role_packages(roles: list[str], release: str, directory: Path = ROLES) -> list[str]:
    """The packages of several roles, or parts of roles, sorted, each once."""
    found: set[str] = set()
    for term in roles:
        role, _colon, part = term.partition(":")
        if not (directory / role).is_dir():
            raise ValueError(f"there is no role {role} in {directory}")
        path = directory / role / "vars" / "main.yml"
        if path.is_file():
            found.update(packages_of(load(path), role, release, part))
    return sorted(found)


def of_every_role(release: str, directory: Path = ROLES) -> dict[str, list[str]]:
    """The packages of each role, those of all its parts included."""
    out = {}
    for path in sorted(directory.glob("*/vars/main.yml")):
        role = path.parents[1].name
        parts = [name.removeprefix(f"__{role}_packages_") for name in load(path) if name.startswith(f"__{role}_packages_")]
        out[role] = role_packages([role, *(f"{role}:{part}" for part in parts)], release, directory)
    return out


class LookupModule(LookupBase):
    """The lookup itself."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[list[str]]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [role_packages(list(self._flatten(terms)), str(self.get_option("release")))]
        except ValueError as problem:
            raise AnsibleLookupError(str(problem)) from problem
