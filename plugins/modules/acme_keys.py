#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Keys, first certificates and requests, for certificates that somebody else is to sign."""

from __future__ import annotations

DOCUMENTATION = r"""
module: acme_keys
short_description: Make keys with a first certificate each, and requests for better ones
version_added: 0.1.0
description:
  - Makes a key (ECDSA, P-256) where a file has none, and a certificate signed by that key itself, so that what reads the file can start.
  - Keeps a request for the certificate that an authority is to sign beside it, with the names that are wanted now.
  - A key that is there stays, and so does its certificate, whoever has signed it. Owner and mode are mended. A file that holds something
    else is refused.
author: The widgets.mail developers (@widgets)
options:
  certificates:
    description: What is wanted.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What its request is called.
        type: str
        required: true
      names:
        description: Names that it is for.
        type: list
        elements: str
        required: true
      path:
        description: File of the key and its certificates, PEM. Missing directories above it are made, root's and 0755.
        type: path
        required: true
      owner:
        description: The user whom it belongs to, 0400.
        type: str
        default: root
      reload:
        description: Units that read it, for others.
        type: list
        elements: str
        default: []
      intermediates:
        description: Directory of what signs it, for others.
        type: str
        default: ""
  requests:
    description: Directory of the requests, C(NAME.csr), which everybody may read; what else is called so there goes.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Tells what would be made; users may not exist yet.
  diff_mode:
    support: full
    description: A line for each file, without keys.
"""

EXAMPLES = r"""
- name: Have a key and something to begin with
  widgets.mail.acme_keys:
    requests: /etc/acme/requests
    certificates:
      - {name: mta, names: [mx.example.org], path: /etc/mail/certificates/acme.pem, owner: smmta}
"""

RETURN = r"""
changes:
  description: Paths that were made, mended or removed, or would be.
  returned: always
  type: list
  elements: str
"""

import os
import pwd
import re
import stat
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import files, owners

DAYS = "365"  # that a first certificate lasts
KEY_MODE = 0o400
REQUEST_MODE = 0o644
SAN = re.compile(r"DNS:([^,\s]+)")


def sans(names: list[str]) -> str:
    """Names as OpenSSL takes them."""
    return "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)


class Keys:
    """All certificates of a host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.changes: list[str] = []
        self.diffs: list[dict[str, str]] = []

    def openssl(self, *argv: str, check: bool = True) -> str | None:
        """What OpenSSL says; None where it is missing or fails and that is no error."""
        program = self.module.get_bin_path("openssl")
        if program is None:
            if self.module.check_mode or not check:
                return None  # its package would have been installed
            self.module.fail_json(msg="openssl is not there: no key can be made")
        status, out, err = self.module.run_command([program, *argv])
        if status != 0:
            if check:
                self.module.fail_json(msg=f"openssl {argv[0]} ended with status {status} and said: {err.strip()}")
            return None
        return str(out)

    def tell(self, path: str, before: str, after: str) -> None:
        """Note a change."""
        if path not in self.changes:
            self.changes.append(path)
        self.diffs.append({"before": before, "after": after, "before_header": path, "after_header": path})

    def request(self, pem: str, names: list[str]) -> str:
        """A request for the names, by the key of a file."""
        return self.openssl("req", "-new", "-key", pem, "-subj", f"/CN={names[0]}", "-addext", sans(names)) or ""

    def asks(self, request: str, pem: str, names: list[str]) -> bool:
        """Whether a request is for the key of a file, and for these names."""
        if not os.path.isfile(request):
            return False
        key = self.openssl("pkey", "-in", pem, "-pubout", check=False)
        same = self.openssl("req", "-in", request, "-noout", "-pubkey", check=False) == key and key is not None
        said = self.openssl("req", "-in", request, "-noout", "-text", check=False) or ""
        return same and sorted(SAN.findall(said)) == sorted(names)

    def hold(self, want: dict[str, Any]) -> None:
        """One certificate: its file, its owner, its request."""
        path, names = want["path"], want["names"]
        request = os.path.join(self.module.params["requests"], f"{want['name']}.csr")
        try:
            uid = pwd.getpwnam(want["owner"]).pw_uid
        except KeyError:
            if not self.module.check_mode:
                self.module.fail_json(msg=f"{path}: there is no user {want['owner']!r} on this host")
            uid = -1
        wanted = owners.words(want["owner"], "root", KEY_MODE)
        if os.path.lexists(path) and not os.path.isfile(path):
            self.module.fail_json(msg=f"{path}: is no plain file")
        fresh = not os.path.exists(path) or os.path.getsize(path) == 0
        if (
            not fresh
            and self.module.get_bin_path("openssl")
            and self.openssl("pkey", "-in", path, "-noout", check=False) is None
        ):
            self.module.fail_json(
                msg=f"{path}: holds no key that OpenSSL can read, and stays as it is. Move it away to have a new one."
            )
        if fresh:
            self.tell(path, "", f"a new key, and a certificate signed by it for {', '.join(names)}\n")
            self.diffs.append(owners.difference(path, wanted))
            if not self.module.check_mode:
                self.make(path, names, uid)
        elif owners.described(path) != wanted:
            self.tell(path, f"{path} {owners.described(path)}\n", f"{path} {wanted}\n")
            if not self.module.check_mode:
                os.chown(path, uid, 0)
                os.chmod(path, KEY_MODE)
        if fresh or not self.asks(request, path, names):
            self.tell(request, "", f"a request for {', '.join(names)}\n")
            if not self.module.check_mode:
                files.replace(request, self.request(path, names), REQUEST_MODE, 0, 0)
        elif stat.S_IMODE(os.stat(request).st_mode) != REQUEST_MODE or os.stat(request).st_uid != 0:
            self.diffs.append(owners.difference(request, owners.words("root", "root", REQUEST_MODE)))
            self.changes.append(request)
            if not self.module.check_mode:
                os.chown(request, 0, 0)
                os.chmod(request, REQUEST_MODE)

    def make(self, path: str, names: list[str], uid: int) -> None:
        """A key and a certificate signed by it."""
        key = self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256") or ""
        handle, temporary = tempfile.mkstemp(dir=self.module.tmpdir)
        try:
            with open(handle, "w", encoding="ascii") as file:
                file.write(key)
            argv = ["req", "-x509", "-key", temporary, "-days", DAYS, "-subj", f"/CN={names[0]}", "-addext", sans(names)]
            certificate = self.openssl(*argv) or ""
        finally:
            os.unlink(temporary)
        files.replace(path, key + certificate, KEY_MODE, uid, 0)

    def drop(self) -> None:
        """Requests that nobody wants any more."""
        directory = self.module.params["requests"]
        wanted = {f"{want['name']}.csr" for want in self.module.params["certificates"]}
        for name in sorted(os.listdir(directory) if os.path.isdir(directory) else []):
            if name.endswith(".csr") and name not in wanted:
                self.tell(os.path.join(directory, name), f"{name}\n", "")
                if not self.module.check_mode:
                    os.unlink(os.path.join(directory, name))


def main() -> None:
    """Hold each, then tell."""
    row = {
        "name": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "reload": {"type": "list", "elements": "str", "default": []},
        "intermediates": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "certificates": {"type": "list", "elements": "dict", "required": True, "options": row},
            "requests": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    keys = Keys(module)
    for want in module.params["certificates"]:
        keys.hold(want)
    keys.drop()
    module.exit_json(changed=bool(keys.changes), changes=keys.changes, diff=keys.diffs)


if __name__ == "__main__":
    main()
