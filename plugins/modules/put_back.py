#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""A host as it was before a role came, of all that the role brought."""

from __future__ import annotations

DOCUMENTATION = r"""
module: put_back
short_description: Take away what a role brought, and bring back what it replaced
version_added: 0.1.0
description:
  - Goes by the record that the first role of this collection made of the host before it changed anything (/var/lib/widgets-mail).
  - What was there then is as it was then; what was not is gone. What the list does not name is left alone.
  - Nothing is done where a spool still holds something.
author: The widgets.mail developers (@widgets)
options:
  units:
    description: systemd's units, with their suffix. Those that did not run are stopped, those that did are restarted.
    type: list
    elements: str
    default: []
  packages:
    description: Packages to purge, with what came along for them alone, unless they were there before.
    type: list
    elements: str
    default: []
  keep_packages:
    description: Packages that stay all the same, since another role needs them.
    type: list
    elements: str
    default: []
  paths:
    description: Files and directories, a star standing for anything but a slash.
    type: list
    elements: str
    default: []
  modes:
    description: Files and directories whose owner and mode are as they were; their overrides in dpkg's list, too.
    type: list
    elements: str
    default: []
  users:
    description: Users that go unless they were there before.
    type: list
    elements: str
    default: []
  groups:
    description: Groups that go unless they were there before.
    type: list
    elements: str
    default: []
  kernel:
    description: Settings of the kernel, as below /proc/sys, a star standing for anything.
    type: list
    elements: str
    default: []
  packages_back:
    description: Packages to install again where they were there before.
    type: list
    elements: str
    default: []
  setid:
    description: Whether the set-id bits of all files are as they were.
    type: bool
    default: false
  spools:
    description: Patterns of which no file may be there.
    type: list
    elements: str
    default: []
  first:
    description: Commands that come before all else, each a list of words; whether they fail is not looked at.
    type: list
    elements: list
    default: []
  commands:
    description: Commands that make the rest of the host notice, each a list of words; run last, and only where something was done.
    type: list
    elements: list
    default: []
attributes:
  check_mode:
    support: full
    description: Tells what would be done.
  diff_mode:
    support: full
    description: A line for each thing that goes or comes back.
"""

EXAMPLES = r"""
- name: Take the name server away
  widgets.mail.put_back:
    units: [named.service]
    packages: [bind9]
    paths: [/etc/bind, /etc/systemd/system/named.service.d]
"""

RETURN = r"""
changes:
  description: What was done, or would be, a line each.
  returned: always
  type: list
  elements: str
"""

import fnmatch
import glob
import grp
import os
import pwd
import re
import shutil
import stat
import tarfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import before, statoverride

ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "SUDO_FORCE_REMOVE": "yes"}


class PutBack:
    """One role's leave."""

    def __init__(self, module: AnsibleModule, record: before.Record) -> None:
        self.module, self.record, self.changes = module, record, []  # type: ignore[var-annotated]

    def did(self, what: str) -> bool:
        """Note something; whether it is to be done as well."""
        self.changes.append(what)
        return not self.module.check_mode

    def run(self, *argv: str, must: bool = True) -> str:
        """Run a command; one that may fail may be missing as well."""
        if not must and not shutil.which(argv[0]):
            return ""
        status, out, err = self.module.run_command(list(argv), environ_update=ENVIRONMENT)
        if status and must:
            self.module.fail_json(msg=f"{' '.join(argv)}: {(err or out).strip()}", changes=self.changes)
        return str(out)

    # -- units -------------------------------------------------------------------------------------------------------

    def stop(self, names: list[str]) -> None:
        """Stop what did not run before, and take it out of the boot."""
        have, running = before.units(self.module.run_command), set(before.active(self.module.run_command))
        for name in names:
            was = self.record.state["units"].get(name, "")
            if (
                have.get(name) in ("enabled", "masked")
                and have[name] != was
                and self.did(f"unit {name} no longer {have[name]}")
            ):
                self.run("systemctl", "unmask" if have[name] == "masked" else "disable", name)
            if name in running and name not in self.record.state["active"] and self.did(f"unit {name} stopped"):
                self.run("systemctl", "stop", name)

    def start(self, names: list[str]) -> None:
        """Start what did run before, by its own settings, and put it into the boot again."""
        have = before.units(self.module.run_command)
        for name in names:
            was = self.record.state["units"].get(name, "")
            if was in ("enabled", "masked") and have.get(name) not in (was, None):
                self.run("systemctl", "enable" if was == "enabled" else "mask", name)
            if name in self.record.state["active"]:
                self.run("systemctl", "restart", name)

    # -- packages ----------------------------------------------------------------------------------------------------

    def purge(self, names: list[str], keep: list[str]) -> None:
        """Purge packages, and what they brought along."""
        there, kept = set(before.packages(self.module.run_command)), {*self.record.state["packages"], *keep}
        going = sorted(there & set(names) - kept)
        if not going or not self.did(f"packages {' '.join(going)} purged"):
            return
        self.run("apt-get", "-y", "purge", *going)
        weak = [f"APT::AutoRemove::{kind}Important=false" for kind in ("Recommends", "Suggests")]
        planned = self.run("apt-get", "-s", "-o", weak[0], "-o", weak[1], "--purge", "autoremove")
        along = {line.split()[1] for line in planned.splitlines() if re.match(r"(Remv|Purg) ", line)} - kept
        if along:
            self.run("apt-get", "-y", "purge", *sorted(along))

    def install(self, names: list[str]) -> None:
        """Install what was there and is gone."""
        gone = sorted(set(names) & set(self.record.state["packages"]) - set(before.packages(self.module.run_command)))
        if gone and self.did(f"packages {' '.join(gone)} installed again"):
            self.run("apt-get", "-y", "--no-install-recommends", "install", *gone)

    # -- files -------------------------------------------------------------------------------------------------------

    def files(self, patterns: list[str]) -> None:
        """Bring files back, or take them away."""
        paths = {path for pattern in patterns for path in [*glob.glob(pattern), *self.record.matching(pattern)]}
        for path in sorted(paths):
            names = sorted({*self.record.below(path), *([path] if os.path.lexists(path) else []), *self._present(path)})
            for name in [name for name in reversed(names) if self.record.entry(name) is None]:
                if os.path.lexists(name) and self.did(f"{name} removed"):
                    self._remove(name)
            for name in names:
                entry = self.record.entry(name)
                if entry and not self._same(name, entry) and self.did(f"{name} as it was"):
                    self._restore(name, entry)

    @staticmethod
    def _present(path: str) -> list[str]:
        if os.path.islink(path) or not os.path.isdir(path):
            return []
        return [os.path.join(top, name) for top, directories, files in os.walk(path) for name in [*directories, *files]]

    @staticmethod
    def _remove(name: str) -> None:
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        else:
            os.unlink(name)

    def _same(self, name: str, entry: tarfile.TarInfo) -> bool:
        try:
            found = os.lstat(name)
        except FileNotFoundError:
            return False
        if entry.issym():
            return stat.S_ISLNK(found.st_mode) and os.readlink(name) == entry.linkname
        kind = stat.S_ISDIR if entry.isdir() else stat.S_ISREG
        if not kind(found.st_mode) or (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (
            entry.uid,
            entry.gid,
            entry.mode,
        ):
            return False
        if entry.isdir():
            return True
        with open(name, "rb") as file:
            return file.read() == self.record.content(name)

    def _restore(self, name: str, entry: tarfile.TarInfo) -> None:
        if entry.isdir():
            if os.path.islink(name) or not os.path.isdir(name):
                if os.path.lexists(name):
                    self._remove(name)
                os.makedirs(name)
        else:
            os.makedirs(os.path.dirname(name), exist_ok=True)
            if os.path.isdir(name) and not os.path.islink(name):
                shutil.rmtree(name)
            new = f"{name}.put-back"
            if os.path.lexists(new):
                os.unlink(new)
            if entry.issym():
                os.symlink(entry.linkname, new)
            else:
                with open(new, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                    file.write(self.record.content(name))
            self._own(new, entry.uid, entry.gid, None if entry.issym() else entry.mode)
            try:
                os.replace(new, name)
            except OSError:
                # A file that the container engine has mounted can only be written.
                shutil.copyfile(new, name)
                os.unlink(new)
            return
        self._own(name, entry.uid, entry.gid, entry.mode)

    @staticmethod
    def _own(name: str, uid: int, gid: int, mode: int | None) -> None:
        os.lchown(name, uid, gid)
        if mode is not None:
            os.chmod(name, mode)

    def overrides(self, paths: list[str]) -> None:
        """Take out of dpkg's list what was not in it."""
        listed = statoverride.listed(self.module.run_command)
        was = statoverride.parse("\n".join(self.record.state["overrides"]))
        links = statoverride.merged_links()
        for path in paths:
            for name in statoverride.aliases(path, links):
                if name in listed and name not in was and self.did(f"{name} no longer overridden"):
                    self.run("dpkg-statoverride", "--remove", name)

    def modes(self, paths: list[str]) -> None:
        """Owners and modes as they were."""
        for path in paths:
            found, wanted = (os.lstat(path) if os.path.lexists(path) else None), self.record.stat(path)
            if not found or not wanted or stat.S_ISLNK(found.st_mode):
                continue
            if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != wanted and self.did(
                f"{path} {wanted.mode:04o} again"
            ):
                self._own(path, *wanted)

    # -- accounts and the kernel --------------------------------------------------------------------------------------

    def accounts(self, users: list[str], groups: list[str]) -> None:
        """Users and groups that were not there go; others lose the members that they did not have."""
        had_users, had_groups = self.record.lines("/etc/passwd"), self.record.lines("/etc/group")
        for name in users:
            if (
                name not in had_users
                and any(entry.pw_name == name for entry in pwd.getpwall())
                and self.did(f"user {name} gone")
            ):
                self.run("userdel", name)
        for name in groups:
            try:
                members = grp.getgrnam(name).gr_mem
            except KeyError:
                continue
            if name not in had_groups:
                if self.did(f"group {name} gone"):
                    self.run("groupdel", name)
                continue
            for member in members:
                if member not in had_groups[name][3].split(",") and self.did(f"{member} no longer in {name}"):
                    self.run("gpasswd", "--delete", member, name)

    def kernel(self, patterns: list[str]) -> None:
        """The kernel's settings as they were."""
        now = before.kernel_settings()
        for key, value in self.record.state["kernel"].items():
            if now.get(key) in (None, value) or not any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns):
                continue
            if self.did(f"kernel {key} {value} again"):
                with open(f"{before.KERNEL}/{key}", "w", encoding="latin-1") as file:
                    file.write(value)


def main() -> None:
    """Look, then act."""
    lists = ("units", "packages", "keep_packages", "packages_back", "paths", "modes", "users", "groups", "kernel", "spools")
    module = AnsibleModule(
        argument_spec={
            **{name: {"type": "list", "elements": "str", "default": []} for name in lists},
            **{name: {"type": "list", "elements": "list", "default": []} for name in ("first", "commands")},
            "setid": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if not before.taken():
        module.fail_json(
            msg=f"{before.RECORD} is not there: no role of this collection has noted how this host was before it came."
        )
    ask: dict[str, Any] = module.params
    for spool in ask["spools"]:
        held = sorted(path for path in glob.glob(spool) if not os.path.isdir(path))
        if held:
            module.fail_json(
                msg=f"There still is {', '.join(held[:5])}. Nothing was changed. Let it run empty, and run this again."
            )
    role = PutBack(module, before.Record())
    for command in [] if module.check_mode else ask["first"]:
        role.run(*map(str, command), must=False)
    role.stop(ask["units"])
    modes = [*ask["modes"], *(role.record.setid() if ask["setid"] else [])]
    # Before the packages: dpkg stops at an override for a user that a package has taken along.
    role.overrides(modes)
    role.purge(ask["packages"], ask["keep_packages"])
    role.install(ask["packages_back"])
    role.files(ask["paths"])
    role.modes(modes)
    role.accounts(ask["users"], ask["groups"])
    role.kernel(ask["kernel"])
    if role.changes and not module.check_mode:
        role.run("systemctl", "daemon-reload")
        role.start(ask["units"])
        for command in ask["commands"]:
            role.run(*map(str, command))
    text = "".join(f"{line}\n" for line in role.changes)
    module.exit_json(changed=bool(role.changes), changes=role.changes, diff={"before": "", "after": text})


if __name__ == "__main__":
    main()
