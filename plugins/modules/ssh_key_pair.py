#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""A user's SSH key pair, made on the host and foretold truly before there is a program to make it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_key_pair
short_description: Make the SSH key pair of a user, once, and tell its public half
version_added: 0.1.0
description:
  - Makes C(.ssh/id_ed25519) in the user's home where it is missing, or its public half where only that is. The private half never leaves the host.
  - The key has no passphrase, since programs use it; whoever is root there holds it anyway.
  - M(ansible.builtin.user) makes such keys too, but fails in check mode on a host that has no C(ssh-keygen) yet.
author: The widgets.mail developers (@widgets)
options:
  user:
    description: Name of the user, who exists.
    type: str
    required: true
  comment:
    description: What stands behind the key.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Tells that a key would be made; its public half is empty then.
  diff_mode:
    support: full
    description: The path of a key that is made.
"""

EXAMPLES = r"""
- name: Make the key pair, once
  widgets.mail.ssh_key_pair:
    user: root
    comment: root@mgmt
"""

RETURN = r"""
public_key:
  description: The line for C(authorized_keys).
  returned: always
  type: str
"""

import contextlib
import os
import pwd

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Make the pair where it is missing."""
    module = AnsibleModule(
        argument_spec={"user": {"type": "str", "required": True}, "comment": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    try:
        entry = pwd.getpwnam(module.params["user"])
    except KeyError:
        module.fail_json(msg=f"user is {module.params['user']!r}: there is no such user on this host")
    directory = os.path.join(entry.pw_dir, ".ssh")
    private = os.path.join(directory, "id_ed25519")
    halves = [private, f"{private}.pub"]
    missing = [path for path in halves if not os.path.exists(path)]
    if missing and not module.check_mode:
        if not os.path.isdir(directory):
            os.mkdir(directory, 0o700)
            os.chown(directory, entry.pw_uid, entry.pw_gid)
        if private in missing:
            # A public half alone is of no use: it goes, or ssh-keygen would ask.
            for path in set(halves) - set(missing):
                os.unlink(path)
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", module.params["comment"], "-f", private]
            module.run_command(argv, check_rc=True)
        else:
            _rc, said, _err = module.run_command(["ssh-keygen", "-y", "-f", private], check_rc=True)
            with open(halves[1], "w", encoding="utf-8") as file:
                file.write(said)
        for path in halves:
            os.chown(path, entry.pw_uid, entry.pw_gid)
    public = ""
    if private not in missing or not module.check_mode:
        with contextlib.suppress(FileNotFoundError), open(halves[1], encoding="utf-8") as file:
            public = file.read().strip()
    diff = {"before": "", "after": "".join(f"{path}: new\n" for path in missing)}
    module.exit_json(changed=bool(missing), public_key=public, diff=diff if missing else {})


if __name__ == "__main__":
    main()
