# SPDX-License-Identifier: MIT
"""DKIM keys out of a directory on the machine with Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
name: dkim_keys
short_description: DKIM keys out of a directory on the machine with Ansible
description:
  - Gives the keys of mail domains that lie in a directory, as C(site_dkim_keys) has them, each with its private half. What each one
    is for stands in C(keys.json) there; M(widgets.mail.dkim_rotation) changes it.
  - A domain that has no key there gets one, as P(ansible.builtin.password#lookup) makes passwords; in check mode as well.
  - Tasks that get a private half say C(no_log).
options:
  _terms:
    description: The directory. Nobody but its owner can read what is in it.
    required: true
  domains:
    description: Mail domains, with A-labels.
    type: list
    elements: str
    required: true
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Show which selectors there are
  ansible.builtin.debug:
    msg: "{{ query('widgets.mail.dkim_keys', 'secrets/dkim', domains=['widgets.example']) | map(attribute='selector') }}"
"""

RETURN = r"""
_list:
  description: Entries of C(domain), C(selector), C(state) and, but for withdrawn ones, C(key).
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.widgets.mail.plugins.module_utils import dkim_store


class LookupModule(LookupBase):
    """The lookup itself."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        domains = [str(name) for name in self.get_option("domains")]
        out = []
        for directory in self._flatten(terms):
            try:
                rows = dkim_store.ensure(str(directory), domains)
                out += dkim_store.entries(str(directory), rows, domains)
            except (OSError, ValueError, KeyError) as problem:
                raise AnsibleLookupError(f"DKIM keys in {directory}: {problem}") from problem
        return out
