#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""What a host has, read once, so that roles need not ask again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Read which packages, users and groups a host has
version_added: 0.1.0
description:
  - Reads dpkg's list, the users and the groups of a host in one step and changes nothing (but for O(note)).
  - Roles skip what is there already. On an unchanged host this one reading stands for a dozen tasks.
  - Register its result. A fact would do as well, but would outlive the run where facts are cached.
author: The widgets.mail developers (@widgets)
options:
  coming:
    description: Packages that count as installed, whether they are or not; for check mode, which has only foretold them.
    type: list
    elements: str
    default: []
  note:
    description: Roles that are about to come, for which it is noted how the host is (M(widgets.mail.before_note)).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
"""

EXAMPLES = r"""
- name: See what is there
  widgets.mail.host_state:
  register: base_host
- name: Install what is not
  ansible.builtin.apt:
    name: [nftables]
  when: "'nftables' not in base_host.packages"
"""

RETURN = r"""
packages:
  description: Names of the packages that are installed and configured.
  returned: always
  type: list
  elements: str
leftovers:
  description: Names of the packages in any other state, those included of which only configuration files are left.
  returned: always
  type: list
  elements: str
groups:
  description: Groups by name, each with its C(gid) and C(members).
  returned: always
  type: dict
users:
  description: >-
    Users by name, each with C(group), C(comment), C(home), C(shell) and C(password), which is what stands in the shadow file where
    that is no hash (V(*), V(!)), V(hash) where it is one and empty where anybody may log in without.
  returned: always
  type: dict
"""

import grp
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import before

SHADOW = "/etc/shadow"


def sort_out(listing: str) -> tuple[list[str], list[str]]:
    """The installed packages of dpkg-query's lines "status name", and those that are there in part."""
    rows = [line.split() for line in listing.splitlines() if line.strip()]
    installed = {name for status, name in rows if status == "installed"}
    return sorted(installed), sorted({name for status, name in rows if status != "not-installed"} - installed)


def passwords(shadow: str) -> dict[str, str]:
    """The password fields of a shadow file, hashes left out."""
    fields = (line.split(":")[:2] for line in shadow.splitlines() if ":" in line)
    return {name: "hash" if "$" in password or len(password) > 12 else password for name, password in fields}


def users(shadow: dict[str, str]) -> dict[str, dict[str, str]]:
    """The users of this host."""
    groups = {entry.gr_gid: entry.gr_name for entry in grp.getgrall()}
    return {
        entry.pw_name: {
            "group": groups.get(entry.pw_gid, str(entry.pw_gid)),
            "comment": entry.pw_gecos,
            "home": entry.pw_dir,
            "shell": entry.pw_shell,
            "password": shadow.get(entry.pw_name, entry.pw_passwd),
        }
        for entry in pwd.getpwall()
    }


def main() -> None:
    """Read all of it."""
    module = AnsibleModule(
        argument_spec={
            "coming": {"type": "list", "elements": "str", "default": []},
            "note": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if not module.check_mode and before.unnoted(module.params["note"]):
        before.note(module.run_command, module.params["note"])
    _status, listing, _err = module.run_command(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n"], check_rc=True
    )
    packages, leftovers = sort_out(listing)
    packages = sorted({*packages, *module.params["coming"]})
    leftovers = [name for name in leftovers if name not in packages]
    try:
        with open(SHADOW, encoding="utf-8") as file:
            shadow = passwords(file.read())
    except OSError as error:
        module.fail_json(msg=f"{SHADOW}: {error.strerror}: this has to run as root")
    groups: dict[str, Any] = {entry.gr_name: {"gid": entry.gr_gid, "members": list(entry.gr_mem)} for entry in grp.getgrall()}
    module.exit_json(changed=False, packages=packages, leftovers=leftovers, groups=groups, users=users(shadow))


if __name__ == "__main__":
    main()
