#!/usr/bin/python
"""Compile, check and install a sendmail configuration as one whole."""

# Copyright: the widgets.mail developers
# MIT License (see LICENSE)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sendmail_config
short_description: Compile, check and install a sendmail configuration as one whole
description:
  - Takes the sources of a sendmail configuration (m4 files, maps, aliases), makes everything that sendmail reads out of them
    in a staging directory, has sendmail itself check it, and only then puts what differs in place, each file by a rename.
  - Where any check fails, nothing of the live configuration has been touched.
  - Compiled files and databases are compared too, so that a hand edit of C(sendmail.cf) or of a map is undone.
  - m4 exits 0 on errors, and sendmail ignores what it does not know. So m4 must print nothing on standard error, and O(expect)
    names lines that the compiled file must hold.
options:
  directory:
    description: The live directory. Created as root:root 0755 where it is missing.
    type: path
    default: /etc/mail
  group:
    description: Group that may read maps and aliases; the group that sendmail runs as.
    type: str
    default: smmsp
  sources:
    description: m4 sources by file name (C(NAME.mc)); each is compiled to C(NAME.cf). Installed as root:root 0444.
    type: dict
    required: true
  maps:
    description: Texts of hash maps by file name; each is built to C(NAME.db). Installed as root:group 0640.
    type: dict
    default: {}
  aliases:
    description: Text of the file C(aliases), built by sendmail itself to C(aliases.db). None where nothing is delivered.
    type: str
  files:
    description: Other texts by file name, such as C(helpfile). Installed as root:root 0444.
    type: dict
    default: {}
  settings:
    description:
      - Lines C(NAME=value) by the name of a file that others write too, such as Debian's C(sendmail.conf). Each replaces the line
        that sets the same name, or is added at the end; the rest of the file stays. Installed as root:root 0644.
    type: dict
    default: {}
  allowed_programs:
    description:
      - The programs that smrsh runs for aliases, name to absolute path. They become the whole content of C(smrsh) in
        O(directory), as symbolic links. Not given, that directory is left alone.
      - Each must be an executable file that root owns and nobody else can write.
    type: dict
  certificates:
    description:
      - Files of TLS that the configuration names. Each must be there and be sound before anything is replaced, as sendmail says
        nothing but a line in the log where it cannot use one, and then offers no TLS.
    type: list
    elements: dict
    default: []
    suboptions:
      certificate:
        description: Absolute path of certificates, PEM.
        type: path
        required: true
      key:
        description: Absolute path of the first one's key, PEM; it may be the same file. Left out for authorities.
        type: path
      content:
        description: What the file is to hold, the key included where there is one. Empty where somebody else keeps it.
        type: str
      made:
        description: Whether another task before this one makes the file, so that check mode counts on it.
        type: bool
        default: false
  certificate_owner:
    description: The user that sendmail runs as; it takes keys from files of this user's alone.
    type: str
    default: smmta
  absent:
    description: File names that must not be in the directory.
    type: list
    elements: str
    default: []
  expect:
    description: Lines that a compiled file must hold, by file name (C(sendmail.cf)).
    type: dict
    default: {}
  programs:
    description: Directory of sendmail and makemap.
    type: path
    default: /usr/libexec/sendmail
attributes:
  check_mode:
    support: full
    description: Everything is compiled and checked, nothing is installed.
  diff_mode:
    support: full
    description: Shows the texts that would change, compiled ones included.
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Install the configuration of a client
  widgets.mail.sendmail_config:
    sources:
      submit.mc: "{{ lookup('ansible.builtin.template', 'submit.mc.j2') }}"
    expect:
      submit.cf:
        - O RunAsUser=smmsp:smmsp
"""

RETURN = r"""
files:
  description: Names of the files that were (or, in check mode, would be) replaced or removed.
  returned: success
  type: list
  elements: str
"""

import grp
import hashlib
import os
import pwd
import shutil
import ssl
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import files, owners
from ansible_collections.widgets.mail.plugins.module_utils.files import read

SOURCE_MODE = 0o444
MAP_MODE = 0o640
SHARED_MODE = 0o644
KEY_MODE = 0o400
KEY_WORDS = "PRIVATE KEY-----"


# m4's notes on when and where it was run: without them the same source always gives the same file.
VOLATILE = ("##### built by ", "##### in ", "##### using ")


class CheckFailed(Exception):
    """A staged file is not sound; the message says which and why."""


def missing_lines(text: str, expected: list[str]) -> list[str]:
    """The expected lines that a compiled file does not hold."""
    lines = {line.rstrip() for line in text.splitlines()}
    return [line for line in expected if line.rstrip() not in lines]


def reproducible(compiled: str) -> str:
    """A compiled file without the lines that differ from one compilation to the next."""
    return "".join(line for line in compiled.splitlines(True) if not line.startswith(VOLATILE))


def redirected(text: str, live: str, staging: str) -> str:
    """A compiled file that reads its maps from the staging directory instead of the live one."""
    return text.replace(live.rstrip("/") + "/", staging.rstrip("/") + "/")


def with_settings(text: str, settings: list[str]) -> str:
    """A text in which each setting C(NAME=value) stands once: where the name was set last, or at the end."""
    lines = text.splitlines()
    for setting in settings:
        name = setting.split("=", 1)[0]
        found = [number for number, line in enumerate(lines) if line.lstrip().startswith(name + "=")]
        if not found:
            lines.append(setting)
        else:
            lines[found[-1]] = setting
            lines = [line for number, line in enumerate(lines) if number not in found[:-1]]
    return "".join(line + "\n" for line in lines)


def fingerprint(text: str | None) -> str:
    """What may be shown of a file with a key in it."""
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}\n" if text is not None else ""


class Configuration:
    """One configuration: staged, checked, compared, installed."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.live: str = module.params["directory"]
        self.sources: dict[str, str] = module.params["sources"]
        self.maps: dict[str, str] = module.params["maps"]
        self.aliases: str | None = module.params["aliases"]
        self.files: dict[str, str] = module.params["files"]
        self.settings: dict[str, list[str]] = module.params["settings"]
        self.absent: list[str] = module.params["absent"]
        self.allowed: dict[str, str] | None = module.params["allowed_programs"]
        self.certificates: list[dict[str, Any]] = module.params["certificates"]
        self.staging = ""
        self.gid = -1
        # Check mode on a host whose packages are only foretold: nothing can be compiled, but what would be installed is known.
        tools = [os.path.exists(self.program("sendmail")), self.module.get_bin_path("m4")]
        self.bare = module.check_mode and not all(tools)

    def program(self, name: str) -> str:
        return os.path.join(self.module.params["programs"], name)

    def run(self, what: str, argv: list[str], silent: bool = True) -> str:
        """Run a program that must succeed and, where silent, say nothing on standard error."""
        status, out, err = self.module.run_command(argv, cwd=self.staging)
        if status != 0 or (silent and err.strip()):
            said = (err.strip() or out.strip() or "(nothing)").replace(self.staging, self.live)
            raise CheckFailed(f"{what}: {os.path.basename(argv[0])} ended with status {status} and said: {said}")
        return str(out)

    # -- staging

    def stage(self) -> None:
        """Make the staging directory: under /run, so that an unchanged run leaves no trace in the live one, and since
        sendmail, which has dropped root by then, trusts and can read that path."""
        self.staging = tempfile.mkdtemp(prefix="sendmail-config-", dir="/run")
        os.chown(self.staging, 0, self.gid)
        os.chmod(self.staging, 0o750)

    def write(self, name: str, text: str, mode: int, gid: int) -> str:
        path = os.path.join(self.staging, name)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(text if text.endswith("\n") or not text else text + "\n")
        os.chown(path, 0, gid)
        os.chmod(path, mode)
        return path

    def build(self) -> None:
        """Everything that sendmail reads, in the staging directory."""
        for name, text in self.files.items():
            self.write(name, text, SOURCE_MODE, 0)
        for name, lines in self.settings.items():
            self.write(name, with_settings(read(os.path.join(self.live, name)) or "", lines), SHARED_MODE, 0)
        for name, text in self.sources.items():
            source = self.write(name, text, SOURCE_MODE, 0)
            if self.bare:
                continue
            compiled = reproducible(self.run(name, ["m4", source]))
            target = name.removesuffix(".mc") + ".cf"
            self.write(target, compiled, SOURCE_MODE, 0)
            self.write(f"check-{target}", redirected(compiled, self.live, self.staging), SOURCE_MODE, 0)
            missing = missing_lines(compiled, self.module.params["expect"].get(target, []))
            if missing:
                raise CheckFailed(
                    f"{name}: the compiled {target} lacks {'; '.join(repr(line) for line in missing)}: "
                    "a define() in the source is misspelt or came too late"
                )
        texts = self.maps | ({"aliases": self.aliases} if self.aliases is not None else {})
        if self.bare:
            for name, text in texts.items():
                self.write(name, text, MAP_MODE, self.gid)
            return
        checker = os.path.join(self.staging, "check-" + sorted(self.compiled())[0])
        for name, text in self.maps.items():
            self.build_map(name, text, checker)
        if self.aliases is not None:
            self.build_aliases(self.aliases)

    def compiled(self) -> list[str]:
        return [name.removesuffix(".mc") + ".cf" for name in self.sources]

    def build_map(self, name: str, text: str, checker: str) -> None:
        source = self.write(name, text, MAP_MODE, self.gid)
        database = source + ".db"
        status, out, err = self.module.run_command(
            [self.program("makemap"), "-C", checker, "hash", database], data=read(source), cwd=self.staging
        )
        if status != 0 or err.strip():
            raise CheckFailed(f"{name}: makemap ended with status {status} and said: {err.strip() or out.strip()}")
        os.chown(database, 0, self.gid)
        os.chmod(database, MAP_MODE)

    def build_aliases(self, text: str) -> None:
        """Built as root: with RunAsUser in force sendmail could not write beside a root-owned file, which is as it should be."""
        self.write("aliases", text, MAP_MODE, self.gid)
        checked = read(os.path.join(self.staging, "check-sendmail.cf")) or ""
        as_root = "".join(line for line in checked.splitlines(True) if not line.startswith("O RunAsUser="))
        checker = self.write("build-sendmail.cf", as_root, SOURCE_MODE, 0)
        self.run("aliases", [self.program("sendmail"), "-C", checker, "-bi"], silent=False)
        database = os.path.join(self.staging, "aliases.db")
        os.chown(database, 0, self.gid)
        os.chmod(database, MAP_MODE)

    def check(self) -> None:
        """Have sendmail resolve an address with each compiled file: it fails on unknown rule sets, mailers and maps."""
        for name in self.compiled():
            checker = os.path.join(self.staging, "check-" + name)
            self.run(name, [self.program("sendmail"), "-C", checker, "-bv", "postmaster"], silent=False)

    def check_programs(self) -> None:
        """Nobody but root may have a hand in what smrsh runs."""
        for name, path in (self.allowed or {}).items():
            try:
                found = os.stat(path)
            except OSError as problem:
                raise CheckFailed(f"the program {name} ({path}) cannot be had: {problem.strerror}") from problem
            sound = stat.S_ISREG(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022 and found.st_mode & 0o111
            if not sound or not os.path.isabs(path) or "/" in name:
                raise CheckFailed(f"the program {name} ({path}) is no executable file that only root can write")

    # -- certificates

    def owner_of(self, text: str) -> tuple[int, int, int]:
        """Owner, group and mode of a file: sendmail wants a key for itself; certificates are for everybody."""
        if KEY_WORDS not in text:
            return 0, 0, SOURCE_MODE
        return pwd.getpwnam(self.module.params["certificate_owner"]).pw_uid, 0, KEY_MODE

    def own_certificates(self) -> dict[str, str]:
        """The files that come with the configuration: path and text."""
        return {row["certificate"]: row["content"] for row in self.certificates if row["content"]}

    def stale_certificates(self) -> dict[str, str]:
        """Those of them that do not hold what they are to hold, or that others may read."""
        stale = {}
        for path, text in self.own_certificates().items():
            try:
                found = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                stale[path] = text
                continue
            same = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == self.owner_of(text)
            if not stat.S_ISREG(found.st_mode) or not same or read(path) != text:
                stale[path] = text
        return stale

    def check_certificates(self) -> None:
        """Those that come with the configuration and those that are there: a certificate that sendmail could not use stops the run."""
        # Private copies of what comes with the configuration.
        copies = {
            path: self.write(f"certificate-{number}", text, 0o600, 0)
            for number, (path, text) in enumerate(self.own_certificates().items())
        }
        for row in self.certificates:
            if self.module.check_mode and row.get("made") and not os.path.exists(row["certificate"]):
                continue
            certificate, key = (copies.get(path, path) for path in (row["certificate"], row["key"]))
            for path in (certificate, key):
                if path and not os.path.isfile(path):
                    raise CheckFailed(f"{path} is not there: TLS would be missing without a word")
            try:
                if key:
                    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
                else:
                    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
            except (OSError, ValueError) as problem:
                what = "a certificate and its own key" if key else "certificates"
                raise CheckFailed(f"{row['certificate']} does not hold {what} ({problem})") from problem
            if not key:
                continue
            if key == row["key"]:
                owner, found = pwd.getpwnam(self.module.params["certificate_owner"]), os.stat(key)
                if found.st_uid != owner.pw_uid or stat.S_IMODE(found.st_mode) & 0o077:
                    raise CheckFailed(
                        f"{key} must belong to {owner.pw_name}, and nobody else may read it: sendmail takes no other"
                    )
            status, _out, _err = self.module.run_command(
                ["openssl", "x509", "-noout", "-checkend", "0", "-in", certificate], cwd=self.staging
            )
            if status != 0:
                raise CheckFailed(f"the certificate in {row['certificate']} has expired")

    def install_certificates(self, stale: dict[str, str]) -> None:
        """Each file as a whole, by a rename: who looks meanwhile finds the old key with the old certificate, or the new ones."""
        for path, text in stale.items():
            uid, gid, mode = self.owner_of(text)
            files.replace(path, text, mode, uid, gid)

    # -- comparison

    def links(self) -> tuple[dict[str, str], list[str]]:
        """Links that are missing or lead elsewhere, and names that must go from smrsh's directory."""
        if self.allowed is None:
            return {}, []
        directory = os.path.join(self.live, "smrsh")
        have = {name: os.path.join(directory, name) for name in (os.listdir(directory) if os.path.isdir(directory) else [])}
        wrong = {
            name: path
            for name, path in self.allowed.items()
            if name not in have or not os.path.islink(have[name]) or os.readlink(have[name]) != path
        }
        return wrong, [name for name in have if name not in self.allowed]

    def link(self, wrong: dict[str, str], surplus: list[str]) -> None:
        """Make smrsh's directory hold the allowed programs and nothing else."""
        directory = os.path.join(self.live, "smrsh")
        os.makedirs(directory, mode=0o755, exist_ok=True)
        for name in surplus:
            os.unlink(os.path.join(directory, name))
        for name, path in wrong.items():
            new = os.path.join(directory, f".{name}.new")
            if os.path.lexists(new):
                os.unlink(new)
            os.symlink(path, new)
            os.rename(new, os.path.join(directory, name))

    def wanted(self) -> Iterator[tuple[str, int, int]]:
        """Name, mode and group of each file, in the order of installation: compiled files after all that they read."""
        for name in self.files:
            yield name, SOURCE_MODE, 0
        for name in self.settings:
            yield name, SHARED_MODE, 0
        for name in [*self.maps, *(["aliases"] if self.aliases is not None else [])]:
            yield name, MAP_MODE, self.gid
            yield name + ".db", MAP_MODE, self.gid
        for name in self.sources:
            yield name, SOURCE_MODE, 0
        for name in self.compiled():
            yield name, SOURCE_MODE, 0

    def database_dump(self, path: str) -> list[str] | None:
        """The sorted entries of a hash map; None where it is missing or no map."""
        if not os.path.exists(path):
            return None
        checker = os.path.join(self.staging, "check-" + sorted(self.compiled())[0])
        status, out, _err = self.module.run_command([self.program("makemap"), "-C", checker, "-u", "hash", path])
        return sorted(out.splitlines()) if status == 0 else None

    def differs(self, name: str, mode: int, gid: int) -> bool:
        live, staged = os.path.join(self.live, name), os.path.join(self.staging, name)
        try:
            found = os.lstat(live)
        except FileNotFoundError:
            return True
        if not stat.S_ISREG(found.st_mode) or (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (mode, 0, gid):
            return True
        if self.bare and not os.path.exists(staged):
            source = self.source_of(name)
            return self.differs(source, *next(rest for known, *rest in self.wanted() if known == source))
        if name.endswith(".db"):
            return self.database_dump(live) != self.database_dump(staged)
        return read(live) != read(staged)

    @staticmethod
    def source_of(name: str) -> str:
        """What a compiled file or a database is made of."""
        return name.removesuffix(".db") if name.endswith(".db") else name.removesuffix(".cf") + ".mc"

    def shown(self, name: str) -> str:
        """What a file will hold, for the diff."""
        text = read(os.path.join(self.staging, name))
        return f"(compiled from {self.source_of(name)})\n" if text is None else text

    # -- installation

    def install(self, names: list[tuple[str, int, int]]) -> None:
        """Copy each file beside its place, all of them, and only then rename them into it."""
        for name, mode, gid in names:
            target = os.path.join(self.live, f".{name}.new")
            with open(os.path.join(self.staging, name), "rb") as source, open(target, "wb") as stream:
                os.chmod(target, 0o600)
                shutil.copyfileobj(source, stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.chown(target, 0, gid)
            os.chmod(target, mode)
        for name, _mode, _gid in names:
            os.rename(os.path.join(self.live, f".{name}.new"), os.path.join(self.live, name))
        directory = os.open(self.live, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def apply(self) -> None:
        params = self.module.params
        try:
            self.gid = grp.getgrnam(params["group"]).gr_gid
        except KeyError:
            if not self.module.check_mode:
                self.module.fail_json(msg=f"group is {params['group']!r}: there is no such group; the role smmsp makes it.")
        make_directory = not os.path.isdir(self.live)
        if make_directory and not self.module.check_mode:
            os.makedirs(self.live, mode=0o755)
        self.stage()
        try:
            self.build()
            if not self.bare:
                self.check()
                self.check_programs()
                self.check_certificates()
            stale = self.stale_certificates()
            wrong, surplus = self.links()
            replaced = [entry for entry in self.wanted() if self.differs(*entry)]
            changed = [name for name, _mode, _gid in replaced]
            removed = [name for name in self.absent if os.path.lexists(os.path.join(self.live, name))]
            diff = [
                {
                    "before_header": os.path.join(self.live, name),
                    "after_header": os.path.join(self.live, name),
                    "before": read(os.path.join(self.live, name)) or "",
                    "after": self.shown(name),
                }
                for name in changed
                if not name.endswith(".db")
            ] + [{"before_header": name, "after_header": "(absent)", "before": name + "\n", "after": ""} for name in removed]
            diff += [
                {"before_header": "smrsh", "after_header": "smrsh", "before": "".join(f"{name}\n" for name in surplus)}
                | {"after": "".join(f"{name} -> {path}\n" for name, path in wrong.items())}
            ] * bool(wrong or surplus)
            diff += [
                {"before_header": path, "after_header": path, "before": fingerprint(read(path)), "after": fingerprint(text)}
                for path, text in stale.items()
            ]
            for name, mode, gid in replaced:
                path, wanted = os.path.join(self.live, name), owners.words("root", params["group"] if gid else "root", mode)
                if name.endswith(".db"):
                    diff.append(owners.difference(path, f"{wanted}, built from {self.source_of(name)}"))
                elif owners.described(path) != wanted:
                    diff.append(owners.difference(path, wanted))
            if not self.module.check_mode:
                self.install_certificates(stale)
                if wrong or surplus:
                    self.link(wrong, surplus)
                if replaced:
                    self.install(replaced)
                for name in removed:
                    os.unlink(os.path.join(self.live, name))
        except CheckFailed as problem:
            self.module.fail_json(msg=f"{problem}. The configuration in {self.live} was left as it is.")
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)
        self.module.exit_json(
            changed=bool(changed or removed or make_directory or wrong or surplus or stale),
            files=changed + removed + sorted(stale),
            diff=diff,
        )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/mail"},
            "group": {"type": "str", "default": "smmsp"},
            "sources": {"type": "dict", "required": True},
            "maps": {"type": "dict", "default": {}},
            "aliases": {"type": "str"},
            "files": {"type": "dict", "default": {}},
            "settings": {"type": "dict", "default": {}},
            "allowed_programs": {"type": "dict"},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "certificate": {"type": "path", "required": True},
                    "key": {"type": "path", "no_log": False},
                    "content": {"type": "str", "no_log": True},
                    "made": {"type": "bool", "default": False},
                },
            },
            "certificate_owner": {"type": "str", "default": "smmta"},
            "absent": {"type": "list", "elements": "str", "default": []},
            "expect": {"type": "dict", "default": {}},
            "programs": {"type": "path", "default": "/usr/libexec/sendmail"},
        },
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="sendmail_config must run as root: sendmail trusts no other owner of its configuration.")
    Configuration(module).apply()


if __name__ == "__main__":
    main()
