#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Tripwire's keys, signed configuration, signed policy and baseline, in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tripwire_database
short_description: Keep Tripwire's keys, configuration, policy and baseline
version_added: 0.1.0
description:
  - Makes the two keys where they are missing, signs the configuration and the policy where their text changed, and takes
    the baseline where there is none. Each file is complete before it gets its name, so a run that was interrupted is
    simply run again.
  - A changed policy is applied with C(tripwire --update-policy) in high security mode. It fails where watched files differ
    from the baseline, because those differences would be blessed by it. They have to be accepted first.
  - Paths that do not exist are left out of the policy, until they appear; a warning names those that a run adds. A path that
    is in the policy stays there when it vanishes, so that its absence is reported; it leaves the policy when its removal is accepted.
  - Passphrases go to Tripwire through a pseudo-terminal, never through an argument, the environment or a file. Through a
    plain pipe Tripwire would take the end of input for an empty passphrase.
author: The widgets.mail developers (@widgets)
options:
  state:
    description:
      - C(present) as described. C(accepted) first takes what a check finds into the baseline.
    type: str
    choices: [present, accepted]
    default: present
  site_passphrase:
    description: Opens the key that signs configuration and policy. At least 12 printable ASCII characters.
    type: str
    required: true
  local_passphrase:
    description: Opens the key that signs the baseline. At least 12 printable ASCII characters.
    type: str
    required: true
  config:
    description: Text of the configuration. Its file names must be those under O(directory) and O(data).
    type: str
    required: true
  rules:
    description: What to watch.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name in reports.
        type: str
        required: true
      severity:
        description: Severity in reports.
        type: int
        required: true
      mask:
        description: Property mask.
        type: str
        required: true
      recurse:
        description: Whether what is below the paths is watched as well.
        type: bool
        default: true
      paths:
        description: Absolute paths.
        type: list
        elements: str
        required: true
  exclude:
    description: Paths that are not watched, with all below them.
    type: list
    elements: str
    default: []
  accept_within:
    description: With O(state=accepted), fail where anything changed that is neither one of these paths nor below one. Empty is no limit.
    type: list
    elements: str
    default: []
  directory:
    description: Where keys, configuration and policy are.
    type: path
    default: /etc/tripwire
  data:
    description: Where the baseline is.
    type: path
    default: /var/lib/tripwire
attributes:
  check_mode:
    support: full
    description: Tells what would be signed or accepted; the passphrases are not tried.
  diff_mode:
    support: full
    description: The configuration, the policy, or the accepted changes.
"""

EXAMPLES = r"""
- name: Keep a baseline of the programs
  widgets.mail.tripwire_database:
    site_passphrase: "{{ vault_site }}"
    local_passphrase: "{{ vault_local }}"
    config: "{{ lookup('ansible.builtin.template', 'tw.cfg.j2') }}"
    rules:
      - {name: Programs, severity: 100, mask: +pugtSM, paths: [/usr/bin, /usr/sbin]}
"""

RETURN = r"""
actions:
  description: What was done, in order.
  returned: always
  type: list
  elements: str
changes:
  description: What differed from the baseline and was (in check mode would be) accepted.
  returned: with state accepted
  type: list
  elements: dict
  sample: [{change: modified, path: /etc/passwd}]
"""

import json
import os
import pty
import re
import select
import shutil
import tempfile
import termios
import time
from subprocess import Popen

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils.tripwire import (
    outside,
    policy_errors,
    policy_paths,
    policy_text,
    report_changes,
    seal,
)

PROMPT = re.compile(r"(?:Enter the|Verify the|Please enter your) (site|local) (?:keyfile )?passphrase:\s*$")
WRONG = re.compile(r"Incorrect (site|local) passphrase")
PASSPHRASE = re.compile(r"^[ -~]{12,}$")
SECONDS = 3600


class WrongPassphrase(Exception):
    """A passphrase that does not open its key; the argument is the key's kind."""


def echoes(terminal: int) -> bool:
    """Whether a terminal shows what is typed, as it does until the program is ready to take a passphrase."""
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def converse(argv: list[str], passphrases: dict[str, str]) -> tuple[int, str]:
    """Run a program on a pseudo-terminal, answer its prompts, and return its status and output."""
    ours, theirs = pty.openpty()
    # run_command types on no terminal, and from nothing else does the program take a passphrase.
    process = Popen(  # pylint: disable=ansible-bad-function
        argv,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
    )
    os.close(theirs)
    output, answered, deadline = "", 0, time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            prompt = PROMPT.search(output, answered)
            if prompt and not echoes(ours):
                answered = len(output)
                os.write(ours, passphrases[prompt.group(1)].encode() + b"\n")
            if not select.select([ours], [], [], 0.02 if prompt else 0.5)[0]:
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # Linux says EIO where the other end is closed.
                break
            if not data:
                break
            output += data.decode(errors="replace").replace("\r\n", "\n")
            wrong = WRONG.search(output)
            if wrong:
                raise WrongPassphrase(wrong.group(1))
        else:
            raise TimeoutError(f"{argv[0]} did not end within {SECONDS} seconds")
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
        os.close(ours)
    return process.returncode, output


class Tripwire:
    """One host's Tripwire, and what is wanted of it."""

    def __init__(self, module: AnsibleModule, scratch: str) -> None:
        self.module = module
        self.params = module.params
        self.scratch = scratch
        etc, data = self.params["directory"], self.params["data"]
        self.site_key, self.local_key = f"{etc}/site.key", f"{etc}/local.key"
        self.cfg, self.pol = f"{etc}/tw.cfg", f"{etc}/tw.pol"
        self.database, self.state = f"{data}/tripwire.twd", f"{data}/sealed.json"
        self.signed = [self.site_key, self.local_key, self.cfg, self.pol]
        self.actions: list[str] = []

    def fail(self, message: str, **more: object) -> None:
        self.module.fail_json(msg=message, actions=self.actions, changed=bool(self.actions), **more)

    def run(self, argv: list[str], ok: tuple[int, ...] = (0,)) -> str:
        """Run a program that asks nothing."""
        status, out, err = self.module.run_command(argv, environ_update={"LC_ALL": "C"})
        if status not in ok:
            self.fail(f"{' '.join(argv)}: exit status {status}: {(out + err).strip()}")
        return str(out)

    def ask(self, argv: list[str]) -> tuple[int, str]:
        """Run a program that asks for passphrases."""
        passphrases = {kind: self.params[f"{kind}_passphrase"] for kind in ("site", "local")}
        try:
            return converse(argv, passphrases)
        except WrongPassphrase as wrong:
            kind = str(wrong)
            self.fail(
                f"The {kind} passphrase does not open {self.params['directory']}/{kind}.key. Either it was changed in the"
                f" inventory only (put the old one back, or change the key's with twadmin --change-passphrases --{kind}-keyfile),"
                " or somebody has replaced the key."
            )
            raise
        except TimeoutError as error:
            self.fail(str(error))
            raise

    def must(self, argv: list[str]) -> None:
        status, output = self.ask(argv)
        if status:
            self.fail(f"{' '.join(argv)}: exit status {status}: {output.strip()}")

    def scratch_file(self, name: str, text: str = "") -> str:
        path = f"{self.scratch}/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def put(self, new: str, path: str, done: str) -> None:
        """Give a complete file its name. /etc and /var may be two file systems, so it moves beside its place first."""
        near = f"{path}.new"
        with open(new, "rb") as source, open(near, "wb") as target:
            os.fchmod(target.fileno(), 0o600)
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        os.replace(near, path)
        self.actions.append(done)

    def printed(self, mode: str, path: str) -> str | None:
        """The text inside a signed file, None where there is none."""
        if not os.path.exists(path):
            return None
        option = "-c" if mode == "f" else "-p"
        more = [] if mode == "f" else ["-c", self.cfg, "-S", self.site_key]
        status, out, _err = self.module.run_command(["twadmin", "-m", mode, option, path, *more])
        return out.strip() + "\n" if status == 0 else None

    def policy(self, known: list[str]) -> str:
        paths = {path for rule in self.params["rules"] for path in rule["paths"]}
        present = {path for path in paths if os.path.lexists(path)} | set(known)
        return policy_text(self.params["rules"], self.params["exclude"], present)

    def sealed(self, policy: str) -> str | None:
        """The seal of what is there, None where something is missing."""
        parts = [self.params["config"].encode(), policy.encode()]
        try:
            for path in self.signed:
                with open(path, "rb") as file:
                    parts.append(file.read())
        except FileNotFoundError:
            return None
        return seal(self.params["site_passphrase"], self.params["local_passphrase"], parts)

    def as_sealed(self, forget: bool) -> bool:
        """Whether everything is as the last run left it."""
        try:
            with open(self.state, encoding="utf-8") as file:
                state = json.load(file)
            policy = self.policy([] if forget else state["paths"])
            return os.path.exists(self.database) and bool(state["seal"]) and state["seal"] == self.sealed(policy)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False

    def present(self, forget: bool = False) -> dict[str, str]:
        """Bring everything about; returns the diff. With `forget`, vanished paths leave the policy."""
        if self.as_sealed(forget):
            return {}
        for key, dependent in ((self.site_key, self.cfg), (self.local_key, self.database)):
            if os.path.exists(dependent) and not os.path.exists(key):
                self.fail(
                    f"{key} is gone, but {dependent}, signed with it, is there. If you know why, remove the latter and run again:"
                    " a new key is made. If you do not, somebody has tampered with this host."
                )
        config = self.params["config"].strip() + "\n"
        had_config, had_policy = self.printed("f", self.cfg), self.printed("p", self.pol)
        policy = self.policy([] if forget else policy_paths(had_policy or ""))
        diff = {
            "before_header": "signed configuration and policy",
            "after_header": "signed configuration and policy",
            "before": (had_config or "") + (had_policy or ""),
            "after": config + policy,
        }
        if self.module.check_mode:
            self.actions.append("would sign configuration and policy, or take a baseline")
            return diff
        appeared = sorted(set(policy_paths(policy)) - set(policy_paths(had_policy or policy)))
        if appeared:
            self.module.warn(f"Watched from now on, and taken into the baseline as they are: {', '.join(appeared)}")
        self.keys()
        self.sign_config(config, had_config)
        if not os.path.exists(self.database):
            self.baseline(policy, had_policy)
        elif had_policy != policy:
            self.update_policy(policy)
        else:
            self.try_local()
        paths = policy_paths(policy)
        text = json.dumps({"paths": paths, "seal": self.sealed(policy)}) + "\n"
        self.put(self.scratch_file("sealed.json", text), self.state, "sealed what was signed")
        return diff

    def keys(self) -> None:
        for kind, option, path in (("site", "-S", self.site_key), ("local", "-L", self.local_key)):
            if not os.path.exists(path):
                new = f"{self.scratch}/{kind}.key"
                self.must(["twadmin", "-m", "G", option, new, "-K", "2048"])
                self.put(new, path, f"made the {kind} key")

    def sign_config(self, config: str, had: str | None) -> None:
        """Sign the configuration. It is signed even where it is the same: that proves the site passphrase."""
        new = f"{self.scratch}/tw.cfg"
        self.must(["twadmin", "-m", "F", "-c", new, "-S", self.site_key, self.scratch_file("twcfg.txt", config)])
        if had != config:
            self.put(new, self.cfg, "signed the configuration")

    def baseline(self, policy: str, had: str | None) -> None:
        if had != policy:
            new, text = f"{self.scratch}/tw.pol", self.scratch_file("twpol.txt", policy)
            self.must(["twadmin", "-m", "P", "-c", self.cfg, "-p", new, "-S", self.site_key, text])
            self.put(new, self.pol, "signed the policy")
        new = f"{self.scratch}/tripwire.twd"
        self.must(["tripwire", "-m", "i", "-c", self.cfg, "-p", self.pol, "-d", new, "-s"])
        self.put(new, self.database, "took the baseline")

    def update_policy(self, policy: str) -> None:
        text = self.scratch_file("twpol.txt", policy)
        status, output = self.ask(["tripwire", "-m", "p", "-Z", "high", "-c", self.cfg, text])
        if status:
            names = re.findall(r"^### Object name:\s+(?:Conflicting properties for object )?(.*)$", output, re.MULTILINE)
            self.fail(
                "The policy changed, and so did files that it watches; updating the policy would bless them unseen. Look at them"
                " (systemctl start tripwire-check, journalctl -t tripwire), accept them (playbooks/tripwire_accept.yml), run again."
                f" They are: {', '.join(names) or output.strip()}",
                paths=names,
            )
        self.actions.append("updated the policy")

    def try_local(self) -> None:
        """Prove the local passphrase with a baseline of one file that nobody keeps."""
        pol, text = f"{self.scratch}/one.pol", self.scratch_file("one.txt", '"/etc/os-release" -> +pug ;\n')
        self.run(["twadmin", "-m", "P", "-e", "-c", self.cfg, "-p", pol, text])
        self.must(["tripwire", "-m", "i", "-s", "-c", self.cfg, "-p", pol, "-d", f"{self.scratch}/one.twd"])

    def accept(self) -> tuple[list[dict[str, str]], dict[str, str]]:
        """Take what a check finds into the baseline; returns the changes and the diff."""
        if not os.path.exists(self.database):
            self.fail(f"There is no baseline ({self.database}) that changes could be accepted into: run the role first.")
        report = f"{self.scratch}/report.twr"
        self.run(["tripwire", "-m", "c", "-s", "-n", "-c", self.cfg, "-r", report], ok=tuple(range(8)))
        changes = report_changes(self.run(["twprint", "-m", "r", "-t", "1", "-c", self.cfg, "-r", report]))
        if not changes:
            return [], {}
        stray = outside(changes, self.params["accept_within"])
        if stray:
            self.fail(f"Nothing is accepted, because these changed as well: {', '.join(stray)}", changes=changes)
        if not self.module.check_mode:
            self.must(["tripwire", "-m", "u", "-a", "-s", "-Z", "high", "-c", self.cfg, "-r", report])
        self.actions.append(f"accepted {len(changes)} changes")
        text = "".join(f"{change['change']} {change['path']}\n" for change in changes)
        return changes, {"before_header": "baseline", "after_header": "accepted", "before": "", "after": text}


def main() -> None:
    """Entry point."""
    rule = {
        "name": {"type": "str", "required": True},
        "severity": {"type": "int", "required": True},
        "mask": {"type": "str", "required": True},
        "recurse": {"type": "bool", "default": True},
        "paths": {"type": "list", "elements": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "accepted"], "default": "present"},
            "site_passphrase": {"type": "str", "required": True, "no_log": True},
            "local_passphrase": {"type": "str", "required": True, "no_log": True},
            "config": {"type": "str", "required": True},
            "rules": {"type": "list", "elements": "dict", "required": True, "options": rule},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "accept_within": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "path", "default": "/etc/tripwire"},
            "data": {"type": "path", "default": "/var/lib/tripwire"},
        },
        supports_check_mode=True,
    )
    errors = policy_errors(module.params["rules"], module.params["exclude"])
    for kind in ("site", "local"):
        if not PASSPHRASE.match(module.params[f"{kind}_passphrase"]):
            errors.append(f"{kind}_passphrase: at least 12 printable ASCII characters")
    if errors:
        module.fail_json(msg="; ".join(errors))
    os.umask(0o077)
    scratch = tempfile.mkdtemp(prefix="tripwire-")
    tripwire = Tripwire(module, scratch)
    result: dict[str, object] = {}
    try:
        diffs = []
        accepted = module.params["state"] == "accepted"
        if accepted:
            result["changes"], diff = tripwire.accept()
            diffs.append(diff)
        diffs.append(tripwire.present(forget=accepted))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result["diff"] = [diff for diff in diffs if diff]
    # A new seal alone (a passphrase changed on the host and in the inventory) is a change as well.
    module.exit_json(changed=bool(tripwire.actions), actions=tripwire.actions, **result)


if __name__ == "__main__":
    main()
