"""What a role of this collection says of a release of Debian, read from its vars."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_release
short_description: What a role of this collection says of a release
version_added: 0.1.0
description:
  - Reads C(__ROLE_release) from C(vars/main.yml) of a role that lies beside this plugin, so that whoever wires roles together need not
    say again what one of them knows of a release.
options:
  _terms:
    description: Names of roles.
    required: true
  release:
    description: Major version of the distribution, such as V(12).
    type: str
    required: true
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Show whether sendmail looks at TLSA records
  ansible.builtin.debug:
    msg: "{{ lookup('widgets.mail.role_release', 'sendmail', release='12').dane }}"
"""

RETURN = r"""
_list:
  description: What each role says of the release; an empty dictionary where it says nothing.
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.widgets.mail.plugins.plugin_utils.role_files import ROLES, load


def role_release(role: str, release: str, directory: Path = ROLES) -> dict[str, Any]:
    """What a role says of a release."""
    path = directory / role / "vars" / "main.yml"
    name = f"__{role}_release"
    variables = load(path) if path.is_file() else {}
    if name not in variables:
        raise ValueError(f"there is no {name} in {path}")
    return dict(variables[name].get(release, {}))


class LookupModule(LookupBase):
    """The lookup itself."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [role_release(str(role), str(self.get_option("release"))) for role in self._flatten(terms)]
        except ValueError as problem:
            raise AnsibleLookupError(str(problem)) from problem
