#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""A WireGuard configuration whose private key is made on the host and stays there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wireguard_config
short_description: Write a configuration for wg-quick with a private key that never leaves the host
version_added: 0.1.0
description:
  - Makes the host's key pair, once, beside the configuration (C(NAME.key) and C(NAME.pub), root's alone), and tells the public
    half.
  - Writes the configuration with the private half in the place of V(@PRIVATE_KEY@), after C(wg-quick strip) has read it. Neither
    the result nor the diff holds the private half.
  - With O(mark), interfaces that the caller has configured before under other names are taken away.
author: The widgets.mail developers (@widgets)
options:
  interface:
    description: Name of the interface; the configuration is C(/etc/wireguard/NAME.conf).
    type: str
    required: true
  content:
    description: The configuration with V(@PRIVATE_KEY@) where the private key goes. Without it only the key pair is made.
    type: str
  mark:
    description:
      - Text that every configuration of the caller's holds, those of former runs as well. Each other interface whose configuration holds
        it is stopped and no longer started at boot, and then its configuration goes. One whose configuration lacks it is another's and
        left alone. Where the connection comes in by way of one that would go, the module fails and changes nothing.
      - The key pair stays, for whoever comes back to the name.
      - Without it, or without O(content), no interface goes.
    type: str
attributes:
  check_mode:
    support: full
    description: Tells what would be written and which interfaces would go; the public key is empty where there is none yet.
  diff_mode:
    support: full
    description: The configuration, with V(@PRIVATE_KEY@) for the key.
"""

EXAMPLES = r"""
- name: Make the key pair, and learn its public half
  widgets.mail.wireguard_config:
    interface: wg0

- name: Write the configuration, and keep no other interface of ours
  widgets.mail.wireguard_config:
    interface: wg0
    content: "{{ lookup('widgets.mail.template', 'wg.conf.j2') }}"
    mark: by the role vpn
"""

RETURN = r"""
public_key:
  description: Public half of the host's key.
  returned: always
  type: str
apply:
  description: >-
    What makes a running tunnel follow: V(reload) where only peers or the port changed, which drops nothing, V(restart) where the
    interface itself did, V(start) where there was no configuration before, V(nothing) where nothing changed.
  returned: always
  type: str
gone:
  description: Names of former interfaces that were taken away, or would be.
  returned: always
  type: list
  elements: str
"""

import os
import re
import stat
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import files

DIRECTORY = "/etc/wireguard"
LINKS = "/sys/class/net"
MARK = "@PRIVATE_KEY@"
NAME = re.compile(r"^[A-Za-z0-9_=+.-]{1,15}\Z")
PRIVATE = re.compile(r"(?im)^(\s*PrivateKey\s*=\s*)\S+")
# What `wg syncconf` can change of the interface while tunnels are up.
LIVE = ("privatekey", "listenport", "fwmark")


def interface_part(text: str) -> list[str]:
    """What a configuration says of the interface itself and only a restart changes."""
    lines = [line.split("#")[0].strip() for line in re.split(r"(?im)^\s*\[Peer\]", text)[0].splitlines()]
    return [line for line in lines if line and line.split("=")[0].strip().lower() not in LIVE]


def what_follows(old: str | None, new: str) -> str:
    """What makes a running tunnel follow the new text."""
    if old is None:
        return "start"
    if old == new:
        return "nothing"
    return "reload" if interface_part(old) == interface_part(new) else "restart"


def hidden(text: str) -> str:
    """The text without the private key."""
    return PRIVATE.sub(rf"\g<1>{MARK}", text)


def loose(path: str, mode: int) -> bool:
    """Whether a path belongs to another or has another mode; not where it is missing."""
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return False
    return (state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) != (0, 0, mode)


class Config:
    """The key pair and the configuration of one interface."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.base = f"{DIRECTORY}/{module.params['interface']}"
        self.changed = False

    def wg(self, *argv: str, data: str | None = None) -> str:
        """Run a program of WireGuard's; its output never goes into a message, since it may hold the key."""
        code, out, err = self.module.run_command(list(argv), data=data)
        if code:
            self.module.fail_json(msg=f"{argv[0]} {argv[1]} failed, and nothing was replaced: {hidden(err.strip())}")
        return str(out)

    def keys(self) -> tuple[str, str]:
        """Private and public half, made where they are missing; empty in check mode where they would be made."""
        private = (files.read(f"{self.base}.key") or "").strip()
        if not private:
            self.changed = True
            if self.module.check_mode:
                return "", ""
            private = self.wg("wg", "genkey").strip()
            files.replace(f"{self.base}.key", private + "\n")
        if self.module.check_mode and not self.module.get_bin_path("wg"):
            return private, (files.read(f"{self.base}.pub") or "").strip()  # its package would have come back
        public = self.wg("wg", "pubkey", data=private + "\n").strip()
        if files.read(f"{self.base}.pub") != public + "\n":
            self.changed = True
            if not self.module.check_mode:
                files.replace(f"{self.base}.pub", public + "\n")
        return private, public

    def check(self, text: str) -> None:
        """Have wg-quick read the text. It tells the interface by the file's name, so the copy has that too."""
        with tempfile.TemporaryDirectory(dir=DIRECTORY, prefix=".check-") as directory:
            path = f"{directory}/{self.module.params['interface']}.conf"
            files.replace(path, text)
            self.wg("wg-quick", "strip", path)

    def way_in(self) -> str:
        """The interface that answers to whoever is connected by SSH leave by; nothing where nobody is, or sudo does not tell."""
        client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
        if not client:
            return ""
        code, out, _err = self.module.run_command(["ip", "-o", "route", "get", client])
        found = re.search(r"\bdev (\S+)", out)
        return found[1] if code == 0 and found else ""

    def take_away(self, name: str) -> dict[str, str]:
        """Stop an interface of a former run, now and at boot, then remove its configuration, by which it is stopped; the diff."""
        path, unit = f"{DIRECTORY}/{name}.conf", f"wg-quick@{name}.service"
        self.changed = True
        before = hidden(files.read(path) or "")
        if not self.module.check_mode:
            code, _out, err = self.module.run_command(["systemctl", "disable", "--now", "--", unit])
            if code:
                self.module.fail_json(msg=f"{unit} was not stopped, and {path} stays: {err.strip()}")
            if os.path.lexists(f"{LINKS}/{name}"):
                self.wg("wg-quick", "down", name)  # the unit had not brought it up: its peers would still get in
            os.unlink(path)
        return {"before": before, "after": "", "before_header": path, "after_header": "(absent)"}

    def modes(self) -> None:
        """What holds a key is root's alone."""
        for path, mode in [(DIRECTORY, 0o700), *((f"{self.base}.{end}", 0o600) for end in ("key", "pub", "conf"))]:
            if loose(path, mode):
                self.changed = True
                if not self.module.check_mode:
                    os.chown(path, 0, 0)
                    os.chmod(path, mode)


def main() -> None:
    """Make the key, check the text with it, write it."""
    module = AnsibleModule(
        argument_spec={"interface": {"type": "str", "required": True}, "content": {"type": "str"}, "mark": {"type": "str"}},
        supports_check_mode=True,
    )
    if not NAME.match(module.params["interface"]):
        module.fail_json(msg=f"interface {module.params['interface']!r} is no name of at most 15 letters, digits and _=+.-")
    content, mark = module.params["content"], module.params["mark"]
    if mark is not None and not mark.strip():
        module.fail_json(msg="mark is empty: interfaces of others would go")
    if not module.check_mode:
        os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
    config = Config(module)
    former = [] if content is None or mark is None else files.unwanted(f"{DIRECTORY}/*.conf", mark, [f"{config.base}.conf"])
    gone = [os.path.basename(path).removesuffix(".conf") for path in former]
    if (way := config.way_in()) in gone:
        module.fail_json(
            msg=f"interface is {module.params['interface']!r}, and the former one, {way}, would go: this connection comes in by way of it, "
            "and no peer knows the new one's key yet. Come in another way. Nothing was changed."
        )
    private, public = config.keys()
    result: dict[str, Any] = {"public_key": public, "apply": "nothing", "gone": [], "diff": []}
    if content is not None:
        old = files.read(f"{config.base}.conf")
        new = content.replace(MARK, private)
        result["apply"] = what_follows(old, new)
        if old != new:
            config.changed = True
            before = "" if old is None else hidden(old)
            result["diff"].append({"before": before, "after": content, "before_header": f"{config.base}.conf"})
            if not module.check_mode:
                config.check(new)
                files.replace(f"{config.base}.conf", new)
    result["gone"] = gone
    result["diff"] += [config.take_away(name) for name in gone]
    config.modes()
    module.exit_json(changed=config.changed, **result)


if __name__ == "__main__":
    main()
