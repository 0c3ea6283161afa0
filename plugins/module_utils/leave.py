# SPDX-License-Identifier: MIT
"""The leave of a role: what the module `put_back` does."""

from __future__ import annotations

import fnmatch
import glob
import grp
import os
import pwd
import re
import shutil
import stat
import tarfile
from collections.abc import Iterator
from typing import Any

from ansible_collections.widgets.mail.plugins.module_utils import before, record, rollback, statoverride

ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}
# Never purged, whoever brought it: a way to become root.
STAY = {"sudo"}
# Tools that somebody else may use by now.
SHARED = {"openssl", "logrotate", "ca-certificates"}
SYSCTL = ("/etc/sysctl.conf", "/etc/sysctl.d/*.conf", "/run/sysctl.d/*.conf", "/usr/lib/sysctl.d/*.conf")


def held(spools: list[str], parts: list[str]) -> list[str]:
    """The files that lie in spools: all of them, or those in directories of some names."""
    out = []
    for spool in spools:
        for directory, _directories, files in os.walk(spool):
            if not parts or os.path.basename(directory) in parts:
                out += [os.path.join(directory, name) for name in files]
    return sorted(out)


def marked(path: str) -> bool:
    """Whether a file says that a role wrote it."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    with open(path, "rb") as file:
        return before.MARK.search(file.read(4096)) is not None


def simulated(said: str) -> set[str]:
    """The packages that apt-get -s would remove."""
    return {line.split()[1] for line in said.splitlines() if re.match(r"(Remv|Purg) ", line)}


class Leave:
    """One role's leave."""

    def __init__(self, module: Any, was: record.Record, interrupted: bool = False) -> None:
        self.module, self.was, self.ask = module, was, module.params
        self.changes: list[str] = []
        self.stopped: list[str] = []
        self.begun = self.to_confirm = False
        if interrupted:
            self.did("the rest of a leave that was interrupted")

    # -- in general --------------------------------------------------------------------------------------------------

    def did(self, what: str) -> bool:
        """Note something; whether it is to be done as well."""
        if not self.module.check_mode and not self.begun:
            before.leaving(self.ask["role"])
            self.begun = True
        self.changes.append(what)
        return not self.module.check_mode

    def fail(self, text: str) -> None:
        """End, and tell what was done by then."""
        self.module.fail_json(msg=text, changes=self.changes)

    def run(self, *argv: str, must: bool = True) -> str:
        """Run a command; one that may fail may be missing as well."""
        if not must and not shutil.which(argv[0]):
            return ""
        status, out, err = self.module.run_command(list(argv), environ_update=ENVIRONMENT)
        if status and must:
            self.fail(f"{' '.join(argv)}: {(err or out).strip()}")
        return str(out)

    def refuse(self) -> None:
        """Say what stands against it, before anything changes."""
        role, going = self.ask["role"], set(self.ask["going"])
        for need in self.ask["needed_by"]:
            if need["role"] in going or self.was.existed(need["path"]) or not os.path.exists(need["path"]):
                continue
            with open(need["path"], encoding="utf-8", errors="replace") as file:
                if not need.get("holds") or need["holds"] in file.read():
                    self.fail(f"The role {need['role']} still needs the role {role} ({need['path']}). Nothing was changed.")
        # What sends mail on its way goes in this run, before what it needs: it has its own spools looked at then.
        if found := held(self.ask["spools"], self.ask["spool_parts"]):
            self.fail(f"There still is {', '.join(found[:5])}. Nothing was changed. Let it run empty, and run this again.")
        self.refuse_packages()
        own = "openssh-server" in set(self.ask["packages"]) - set(self.was.state["packages"])
        if own and self.ask["way"].split(".")[-1] in ("ssh", "paramiko", "paramiko_ssh"):
            self.fail("sshd came with the role, and this connection goes by it. Nothing was changed.")

    def refuse_packages(self) -> None:
        """Say which packages somebody else has that would go along with those of the role."""
        others = {name for role in self.ask["going"] for name in self.ask["packages_of"].get(role, [])}
        names = self.leaving()
        for name, along in self.foreign(names).items():
            if name not in SHARED and (found := along - others):
                self.fail(f"{' '.join(sorted(found))} would go along with {name}, and is not the role's. Nothing was changed.")

    def go(self) -> None:
        """Everything, in the order in which one thing stands on another."""
        ask = self.ask
        modes = [*ask["modes"], *(self.was.setid() if ask["setid"] else [])]
        self.arm()
        self.boot(ask["units"])
        self.stop(ask["units"])
        self.tables(ask["tables"])
        # Before the packages: dpkg stops at an override for a user that a package has taken along.
        self.overrides(modes)
        self.overrides(ask["overrides"], always=True)
        self.purge()
        self.install(ask["packages_back"])
        self.files(ask["paths"])
        self.modes(modes)
        self.accounts(ask["users"], ask["groups"], ask["members"])
        self.kernel(ask["kernel"])
        if self.module.check_mode:
            return
        if self.changes:
            for command in ask["check"]:
                self.run(*map(str, command))
            self.run("systemctl", "daemon-reload")
            self.start(ask["units"])
            for command in ask["commands"]:
                self.run(*map(str, command))
        else:
            for name in self.stopped:
                self.run("systemctl", "start", name)
        if not self.to_confirm:
            before.forget(ask["role"])

    # -- rollback ----------------------------------------------------------------------------------------------------

    def armed(self) -> bool:
        """Whether somebody has to get in again first."""
        back = self.ask["rollback"]
        return bool(back and back["seconds"] > 0 and back["unit"] in self.was.state["active"])

    def arm(self) -> None:
        """Have the files that would change put back, should nobody get in again."""
        paths = [name for _what, name, _entry in self.planned(self.ask["paths"]) if not os.path.isdir(name)]
        back = self.ask["rollback"]
        # What a run that was broken off has put back, and nobody has confirmed, would be undone under this one.
        pending = rollback.unconfirmed(self.module.run_command, back["name"]) if back else []
        if self.module.check_mode or not (pending or (self.armed() and paths)):
            return
        if why := rollback.arm(self.module.run_command, back["name"], back["seconds"], paths, back["commands"]):
            self.fail(f"No rollback can be had: {why}. Nothing was changed.")
        self.to_confirm = True

    # -- units -------------------------------------------------------------------------------------------------------

    def at_boot(self, name: str, have: dict[str, str]) -> str | None:
        """What is to happen to a unit at boot; of one made of a template systemd's list says nothing."""
        if "@" in name and name not in have:
            return self.run("systemctl", "is-enabled", name, must=False).strip() or None
        return have.get(name)

    def boot(self, names: list[str]) -> None:
        """What is to happen at boot is what was to happen."""
        have = before.units(self.module.run_command)
        for name in names:
            was, now = self.was.state["units"].get(name, ""), self.at_boot(name, have)
            if now in ("enabled", "masked") and now != was and self.did(f"unit {name} no longer {now}"):
                # A mask leaves the links of the boot where they are.
                self.run("systemctl", "unmask" if now == "masked" else "mask" if was == "masked" else "disable", name)

    def stop(self, names: list[str]) -> None:
        """Stop what did not run before; and all of it where a spool has to stay as it is."""
        running = set(before.active(self.module.run_command))
        for name in [name for name in names if name in running]:
            if name not in self.was.state["active"]:
                if self.did(f"unit {name} stopped"):
                    self.run("systemctl", "stop", name)
                    self.stopped.append(name)
            elif self.ask["spools"] and not self.module.check_mode:
                self.run("systemctl", "stop", name)
                self.stopped.append(name)
        self.look_again()

    def look_again(self) -> None:
        """What has come between the look and the stop is not to be lost."""
        if self.module.check_mode or not (found := held(self.ask["spools"], self.ask["spool_parts"])):
            return
        for name in self.stopped:
            self.run("systemctl", "start", name, must=False)
        self.fail(
            f"{', '.join(found[:5])} came while units were stopped; they run again. Let it run empty, and run this again."
        )

    def start(self, names: list[str]) -> None:
        """Start what did run before, by its own settings, and put it into the boot again."""
        have = before.units(self.module.run_command)
        for name in [name for name in names if name in have]:
            was = self.was.state["units"].get(name, "")
            if was in ("enabled", "masked") and have[name] != was:
                self.run("systemctl", "enable" if was == "enabled" else "mask", name)
            if name in self.was.state["active"]:
                self.run("systemctl", "restart", name)

    def tables(self, names: list[str]) -> None:
        """Rules that were not there go."""
        there = self.run("nft", "list", "tables", must=False).splitlines()
        for name in names:
            line = f"table {name}"
            if line in there and line not in self.was.state["tables"] and self.did(f"{line} gone"):
                self.run("nft", "delete", *line.split())

    # -- packages ----------------------------------------------------------------------------------------------------

    def apt(self, *argv: str) -> set[str]:
        """What apt-get would remove."""
        return simulated(self.run("apt-get", "-s", *argv))

    def kept(self) -> set[str]:
        """What stays, of all that is installed."""
        noted = set(before.notes() or {}) - {self.ask["role"]}
        needed = {name for role in noted for name in self.ask["packages_of"].get(role, [])}
        return {*self.was.state["packages"], *self.ask["keep_packages"], *needed, *STAY}

    def leaving(self) -> set[str]:
        """The role's packages that have to go."""
        installed = before.packages(self.module.run_command)
        return (set(self.ask["packages"]) & set(installed)) - self.kept()

    def foreign(self, names: set[str]) -> dict[str, set[str]]:
        """What would go along with each package, unless the role has brought it as well."""
        own = names | self.needs(names)
        return {name: along for name in sorted(names) if (along := self.apt("purge", name) - own)}

    def purge(self) -> None:
        """Purge packages and what came along for them; none that somebody else needs."""
        rest = set(self.ask["packages"]) & set(before.packages(self.module.run_command, "config-files")) - self.kept()
        going = self.leaving()
        going -= {name for name in self.foreign(going) if name in SHARED}
        if not going | rest:
            return
        weak = [f"-oAPT::AutoRemove::{kind}Important=false" for kind in ("Recommends", "Suggests")]
        along = self.apt(*weak, "--purge", "autoremove", *(f"{name}-" for name in sorted(going)))
        along -= self.apt(*weak, "--purge", "autoremove") | going | self.kept()
        along |= self.alternatives(going | along)
        if not self.did(f"packages {' '.join(sorted(going | rest | along))} purged"):
            return
        if self.ask["spools"] and going:
            self.run("apt-get", "-y", "remove", *sorted(going))
            # Nothing can be submitted any longer.
            self.look_again()
        self.run("apt-get", "-y", "purge", *sorted(going | rest | along))

    def alternatives(self, going: set[str]) -> set[str]:
        """What came along, and is not superfluous to apt only since something older would do with it as well as with what it has."""
        if not going:
            return set()
        by_itself = set(self.run("apt-mark", "showauto").split())
        left = (self.needs(going) & by_itself) - going - self.kept() - SHARED
        out: set[str] = set()
        more = True
        # What one of them needs can go only once that one does.
        while more:
            more = False
            for name in sorted(left - out):
                if self.apt("purge", *sorted(going | out), name) <= going | out | {name}:
                    out.add(name)
                    more = True
        return out

    def needs(self, names: set[str]) -> set[str]:
        """What packages depend on, and what that depends on."""
        if not names:
            return set()
        said = self.run(
            *("apt-cache", "depends", "--recurse", "--installed", "--no-suggests", "--no-conflicts", "--no-breaks"),
            *("--no-replaces", "--no-enhances", *sorted(names)),
        )
        return {line.strip() for line in said.splitlines() if line and not line.startswith(" ")}

    def install(self, names: list[str]) -> None:
        """Install what was there and is gone."""
        gone = sorted(set(names) & set(self.was.state["packages"]) - set(before.packages(self.module.run_command)))
        if gone and self.did(f"packages {' '.join(gone)} installed again"):
            self.run("apt-get", "-y", "--no-install-recommends", "install", *gone)

    # -- files -------------------------------------------------------------------------------------------------------

    def planned(self, patterns: list[str]) -> Iterator[tuple[str, str, tarfile.TarInfo | None]]:
        """What is to be done for some patterns: each file or tree that goes, then each file that comes back."""
        paths = {path for pattern in patterns for path in [*glob.glob(pattern), *self.was.matching(pattern)]}
        for path in sorted(paths):
            if os.path.lexists(path) and self.was.existed(path) is False:
                yield "removed", path, None
                continue
            for name in self.present(path):
                if self.was.existed(name) is False and marked(name):
                    yield "removed", name, None
            for name in self.was.below(path):
                entry = self.was.entry(name)
                if entry and not self.same(name, entry):
                    yield "as it was", name, entry

    def files(self, patterns: list[str]) -> None:
        """Bring files back, or take them away."""
        for what, name, entry in list(self.planned(patterns)):
            if self.did(f"{name} {what}"):
                if entry:
                    self.restore(name, entry)
                else:
                    self.remove(name)
                    self.empty(os.path.dirname(name))

    def empty(self, directory: str) -> None:
        """Directories that came with a file go with it, unless somebody has put something else there."""
        while self.was.existed(directory) is False and os.path.isdir(directory) and not os.listdir(directory):
            os.rmdir(directory)
            directory = os.path.dirname(directory)

    @staticmethod
    def present(path: str) -> list[str]:
        """The files below a directory."""
        if os.path.islink(path) or not os.path.isdir(path):
            return []
        return [os.path.join(top, name) for top, _directories, files in os.walk(path) for name in files]

    @staticmethod
    def remove(name: str) -> None:
        """Take a file or a tree away."""
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        else:
            os.unlink(name)

    def same(self, name: str, entry: tarfile.TarInfo) -> bool:
        """Whether a file is as it was."""
        try:
            found = os.lstat(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if entry.issym():
            return stat.S_ISLNK(found.st_mode) and os.readlink(name) == entry.linkname
        kind = stat.S_ISDIR if entry.isdir() else stat.S_ISREG
        if not kind(found.st_mode) or record.Stat(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != self.was.stat(
            name
        ):
            return False
        if entry.isdir():
            return True
        with open(name, "rb") as file:
            return file.read() == self.was.content(name)

    def restore(self, name: str, entry: tarfile.TarInfo) -> None:
        """Make a file what it was, in one step."""
        if entry.isdir():
            if os.path.islink(name) or not os.path.isdir(name):
                if os.path.lexists(name):
                    self.remove(name)
                os.makedirs(name)
            self.own(name, record.Stat(entry.uid, entry.gid, entry.mode))
            return
        os.makedirs(os.path.dirname(name), exist_ok=True)
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        new = f"{name}.put-back"
        if os.path.lexists(new):
            os.unlink(new)
        if entry.issym():
            os.symlink(entry.linkname, new)
            os.lchown(new, entry.uid, entry.gid)
        else:
            with open(new, "wb", opener=lambda path, flags: os.open(path, flags | os.O_EXCL, 0o600)) as file:
                file.write(self.was.content(name))
            self.own(new, record.Stat(entry.uid, entry.gid, entry.mode))
        try:
            os.replace(new, name)
        except OSError:
            # A file that a container engine has mounted can only be written.
            shutil.copyfile(new, name)
            os.unlink(new)

    @staticmethod
    def own(name: str, wanted: record.Stat) -> None:
        """Owner and mode of what the name stands for now, whatever somebody makes of it meanwhile; not of a link."""
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW)
        try:
            if not stat.S_ISLNK(os.fstat(handle).st_mode):
                os.chown(f"/proc/self/fd/{handle}", wanted.uid, wanted.gid)
                os.chmod(f"/proc/self/fd/{handle}", wanted.mode)
        finally:
            os.close(handle)

    def overrides(self, paths: list[str], always: bool = False) -> None:
        """Take out of dpkg's list what was not in it, or all of it."""
        listed = statoverride.listed(self.module.run_command)
        was = statoverride.parse("\n".join(self.was.state["overrides"]))
        links = statoverride.merged_links()
        for name in [name for path in paths for name in statoverride.aliases(path, links) if name in listed]:
            if name not in was or always:
                if self.did(f"{name} no longer overridden"):
                    self.run("dpkg-statoverride", "--remove", name)
            elif listed[name] != was[name] and self.did(f"{name} overridden as it was"):
                self.run("dpkg-statoverride", "--force-all", "--add", *was[name][:2], f"{was[name].mode:o}", name)

    def modes(self, paths: list[str]) -> None:
        """Owners and modes as they were."""
        for path in paths:
            found, wanted = (os.lstat(path) if os.path.lexists(path) else None), self.was.stat(path)
            if not found or not wanted or stat.S_ISLNK(found.st_mode):
                continue
            now = record.Stat(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
            if now != wanted and self.did(f"{path} {wanted.mode:04o} again"):
                self.own(path, wanted)

    # -- accounts and the kernel --------------------------------------------------------------------------------------

    def accounts(self, users: list[str], groups: list[str], members: list[str]) -> None:
        """Users and groups that were not there go; the groups that were there lose the members that the role brought."""
        had_users, had_groups = self.was.names("/etc/passwd"), self.was.names("/etc/group")
        now = {entry.gr_name: set(entry.gr_mem) for entry in grp.getgrall()}
        gone = [name for name in users if name not in had_users and name in {entry.pw_name for entry in pwd.getpwall()}]
        for name in gone:
            if self.did(f"user {name} gone"):
                self.run("userdel", name)
        for name in [name for name in groups if name in now]:
            if name in had_groups:
                for member in sorted((now[name] & set(members)) - self.was.members(name)):
                    if self.did(f"{member} no longer in {name}"):
                        self.run("gpasswd", "--delete", member, name)
            elif others := now[name] - set(members) - set(gone):
                self.module.warn(f"The group {name} stays: {', '.join(sorted(others))} is in it.")
            elif name in gone or self.did(f"group {name} gone"):
                # A user's own group goes with the user; it may have been gone with a package as well.
                self.run("groupdel", name, must=name not in gone and name in {entry.gr_name for entry in grp.getgrall()})

    def set_by_files(self) -> list[str]:
        """Settings of the kernel that files which stay have: patterns."""
        going = {name for what, name, _entry in self.planned(self.ask["paths"]) if what == "removed"}
        out = []
        for path in sorted({path for pattern in SYSCTL for path in glob.glob(pattern)} - going):
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file]
            keys = [line.split("=")[0].strip().lstrip("-") for line in lines if "=" in line and line[0] not in "#;"]
            out += [key if "/" in key else key.replace(".", "/") for key in keys]
        return out

    def kernel(self, patterns: list[str]) -> None:
        """The kernel's settings as they were, but for those that somebody else's files have."""
        if not patterns:
            return
        now, others = before.kernel_settings(), self.set_by_files()
        for key, value in self.was.state["kernel"].items():
            if now.get(key) in (None, value) or not any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns):
                continue
            if any(fnmatch.fnmatchcase(key, pattern) for pattern in others) or not self.did(f"kernel {key} {value} again"):
                continue
            try:
                with open(f"{before.KERNEL}/{key}", "w", encoding="latin-1") as file:
                    file.write(value)
            except OSError as error:
                self.module.warn(f"kernel.{key} is {value} again after the next boot: {error.strerror}.")
