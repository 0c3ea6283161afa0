# SPDX-License-Identifier: MIT
"""Keys that the gateways' TLSA records name, out of a directory on the machine with Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
name: tlsa_keys
short_description: Keys that the gateways' TLSA records name
description:
  - Gives the keys that are written down in C(tlsa.json) of a directory; M(widgets.mail.tlsa_rotation) changes them.
  - Of a gateway that is not there yet the present key is written down, in check mode as well.
options:
  _terms:
    description: The directory. Nobody but its owner can read what is in it.
    required: true
  pairs:
    description: Gateways with their keys, as P(widgets.mail.tlsa_pairs#filter) has them.
    type: dict
    required: true
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Show which keys are published
  ansible.builtin.debug:
    msg: "{{ query('widgets.mail.tlsa_keys', 'secrets/tlsa', pairs=site_tls | widgets.mail.tlsa_pairs(['smtp1'])) }}"
"""

RETURN = r"""
_list:
  description: Entries of C(host), C(key) and C(state).
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.widgets.mail.plugins.module_utils import key_rotation, tlsa_store


class LookupModule(LookupBase):
    """The lookup itself."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        pairs = self.get_option("pairs")
        out = []
        for directory in self._flatten(terms):
            try:
                rows = tlsa_store.ensure(str(directory), pairs, key_rotation.now())
            except (OSError, ValueError, KeyError) as problem:
                raise AnsibleLookupError(f"Keys of TLSA records in {directory}: {problem}") from problem
            out += [{name: row[name] for name in ("host", "key", "state")} for row in rows]
        return out
