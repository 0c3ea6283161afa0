#!/usr/bin/python
"""System accounts that only own a mailbox, any number of them in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pop3_accounts
short_description: Keep system accounts for mailboxes, and the list of them that Dovecot reads
description:
  - Makes accounts that can do nothing but own mail, each with a group of its own, no login shell and a mailbox
    directory that nobody else may enter.
  - One task for all accounts, which costs what one account costs. Hashes are handed on by a pipe, never as an argument.
  - An account that exists already is taken over only if its uid is one of an ordinary user and it has no login shell.
options:
  accounts:
    description: The accounts. Those on the host that are not named here are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the user and of the group.
        type: str
        required: true
      password:
        description: Hash of the password, for C(present).
        type: str
      uid:
        description: Number of the user, for one that does not exist yet. Without it the next free one.
        type: int
      state:
        description:
          - C(suspended) locks the account and leaves it on the list, so that its mail goes on arriving.
          - C(absent) locks the account and takes it off the list; uid and mailbox stay.
        type: str
        choices: [present, suspended, absent]
        default: present
      fields:
        description: What Dovecot is to know of the account besides, by the names of its settings; no value holds a blank.
        type: dict
        default: {}
  spool:
    description: Directory that holds the mailbox directories. It becomes root's, and is made with those above it where it is missing.
    type: path
    required: true
  shell:
    description: Shell of the accounts.
    type: path
    default: /usr/sbin/nologin
  list:
    description: File to write, a line in the form of passwd(5) for each account that is not absent.
    type: path
    required: true
  first_uid:
    description: Smallest uid of an ordinary user.
    type: int
    default: 1000
  known:
    description: Names of users to look for; see RV(known).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: What would become of which account is told.
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Make the accounts
  widgets.mail.pop3_accounts:
    accounts:
      - name: alice
        password: "{{ alice_hash }}"
      - name: bob
        state: suspended
      - name: carol
        state: absent
    spool: /var/mail
    list: /etc/dovecot/mailboxes
  no_log: true
"""

RETURN = r"""
changes:
  description: What was done, or would be, in words without secrets.
  type: list
  elements: str
  returned: success
known:
  description: Those of O(known) that exist.
  type: list
  elements: str
  returned: success
"""

import os
import pwd
import stat
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import files

LOCKED_SINCE = "1"  # day of expiry, 1970-01-02: PAM refuses the account even where no password is asked for
SPOOL_MODE = 0o1755  # without the sticky bit, Debian's sendmail package makes /var/mail writable by everybody (3777)
# Where Dovecot keeps what is no mail, such as a user's scripts: in the mailbox's own directory it would take some for folders.
HOME_PART = "home"
SHADOW = "/etc/shadow"
NO_LOGIN = {"/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false"}


class Shadow(NamedTuple):
    """What shadow(5) says of a user."""

    password: str
    expires: str


class Found(NamedTuple):
    """What passwd(5) says of a user."""

    uid: int
    gid: int
    home: str
    shell: str


def parse_shadow(text: str) -> dict[str, Shadow]:
    """User -> hash and day of expiry."""
    out = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 9:
            out[fields[0]] = Shadow(fields[1], fields[7])
    return out


def steps(
    account: dict[str, Any], found: Found | None, shadow: Shadow | None, home: str, shell: str
) -> list[tuple[str, list[str]]]:
    """What is to be done for one account, in order: words, and the command (empty for the password, set by a pipe)."""
    name, state = account["name"], account["state"]
    out: list[tuple[str, list[str]]] = []
    if found is None:
        if state == "absent":
            return out
        uid = ["--uid", str(account["uid"])] if account.get("uid") is not None else []
        options = ["--user-group", "--no-create-home", "--home-dir", home, "--shell", shell]
        out.append((f"{name}: make the account", ["useradd", *uid, *options, name]))
    elif state != "absent":
        if found.home != home:
            out.append((f"{name}: home {home}", ["usermod", "--home", home, name]))
        if found.shell != shell:
            out.append((f"{name}: shell {shell}", ["usermod", "--shell", shell, name]))
    if state == "present":
        if shadow and shadow.expires:
            out.append((f"{name}: open again", ["usermod", "--expiredate", "", name]))
        if shadow is None or shadow.password != account["password"]:
            out.append((f"{name}: password", []))
        return out
    # A new account has no password that fits, so there is nothing to lock.
    if shadow and not shadow.password.startswith("!"):
        out.append((f"{name}: lock", ["usermod", "--lock", name]))
    if shadow is None or shadow.expires != LOCKED_SINCE:
        out.append((f"{name}: expire", ["usermod", "--expiredate", LOCKED_SINCE, name]))
    return out


def refusal(account: dict[str, Any], found: Found | None, first_uid: int) -> str | None:
    """Why an account that exists may not be taken over."""
    name = account["name"]
    if found is None:
        return None
    if not first_uid <= found.uid < 60000:
        return f"pop3_users: {name!r} is a system account (uid {found.uid}), which gets no mailbox"
    if found.shell not in NO_LOGIN:
        return f"pop3_users: {name!r} can log in here (shell {found.shell}), and an account is for mail or for work"
    wanted = account.get("uid")
    if wanted is not None and wanted != found.uid:
        return f"pop3_users: {name!r} has uid {found.uid}, not {wanted}; mail on disk belongs to the number, so it stays"
    return None


def list_line(name: str, found: Found, home: str, fields: dict[str, str]) -> str:
    """The account's line in the list. Whoever is on it is known; whether the password is right is asked of PAM."""
    more = "".join(f" userdb_{key}={value}" for key, value in sorted(fields.items()))
    return f"{name}::{found.uid}:{found.gid}::{home}/{HOME_PART}::noauthenticate=y{more}"


def lookup(name: str) -> Found | None:
    """The account as the host has it."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Found(entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)


def wrong_directory(path: str, uid: int, gid: int, mode: int) -> bool:
    """Whether a directory is missing or not as it must be."""
    try:
        entry = os.lstat(path)
    except FileNotFoundError:
        return True
    return (entry.st_uid, entry.st_gid, stat.S_IMODE(entry.st_mode)) != (uid, gid, mode)


def missing_above(module: AnsibleModule, path: str) -> list[str]:
    """The directories above a path that are not there yet, the uppermost first."""
    out: list[str] = []
    above = os.path.dirname(os.path.normpath(path))
    while not os.path.lexists(above):
        out.insert(0, above)
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        module.fail_json(msg=f"{above} is no directory: move it away")
    return out


def make_directory(module: AnsibleModule, path: str, uid: int, gid: int, mode: int) -> None:
    """Make or mend a directory; what else may be there in its place is left to a person."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            module.fail_json(msg=f"{path} is no directory: move it away")
    os.chown(path, uid, gid)
    os.chmod(path, mode)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "accounts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "no_log": True},
                    "uid": {"type": "int"},
                    "state": {"type": "str", "choices": ["present", "suspended", "absent"], "default": "present"},
                    "fields": {"type": "dict", "default": {}},
                },
                "required_if": [("state", "present", ["password"])],
            },
            "spool": {"type": "path", "required": True},
            "shell": {"type": "path", "default": "/usr/sbin/nologin"},
            "list": {"type": "path", "required": True},
            "first_uid": {"type": "int", "default": 1000},
            "known": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    accounts, spool, shell = module.params["accounts"], module.params["spool"], module.params["shell"]
    home = {account["name"]: os.path.join(spool, account["name"]) for account in accounts}
    before = {account["name"]: lookup(account["name"]) for account in accounts}
    with open(SHADOW, encoding="utf-8") as stream:
        shadow = parse_shadow(stream.read())

    refusals = [refusal(a, before[a["name"]], module.params["first_uid"]) for a in accounts]
    if any(refusals):
        module.fail_json(msg="; ".join(text for text in refusals if text))

    changes, secrets = [], []
    # Everybody who has a mailbox must get through them.
    for above in missing_above(module, spool):
        changes.append(f"{above}: holds the spool")
        if not module.check_mode:
            make_directory(module, above, 0, 0, 0o755)
    # The spool is entered by all and written by none: nobody lays out a mailbox, or a link, where one is to come.
    if wrong_directory(spool, 0, 0, SPOOL_MODE):
        changes.append(f"{spool}: root's alone to write")
        if not module.check_mode:
            make_directory(module, spool, 0, 0, SPOOL_MODE)
    for account in accounts:
        name = account["name"]
        for words, command in steps(account, before[name], shadow.get(name), home[name], shell):
            changes.append(words)
            if not command:
                secrets.append(f"{name}:{account['password']}\n")
            elif not module.check_mode:
                module.run_command(command, check_rc=True)
    if secrets and not module.check_mode:
        module.run_command(["chpasswd", "--encrypted"], data="".join(secrets), binary_data=True, check_rc=True)

    with_mailbox = [account["name"] for account in accounts if account["state"] != "absent"]
    after = {name: lookup(name) for name in with_mailbox}
    for name, found in after.items():
        if found is None or wrong_directory(home[name], found.uid, found.gid, 0o700):
            changes.append(f"{home[name]}: mailbox")
            if found and not module.check_mode:
                make_directory(module, home[name], found.uid, found.gid, 0o700)

    text = "# Managed by Ansible (role pop3): who has a mailbox here.\n"
    fields = {account["name"]: account["fields"] for account in accounts}
    text += "".join(f"{list_line(name, found, home[name], fields[name])}\n" for name, found in sorted(after.items()) if found)
    path = module.params["list"]
    if files.read(path) != text or wrong_directory(path, 0, 0, 0o644):
        changes.append(f"{path}: list of mailboxes")
        if not module.check_mode:
            files.replace(path, text, 0o644, 0, 0)

    known = [name for name in module.params["known"] if lookup(name)]
    module.exit_json(changed=bool(changes), changes=changes, known=known)


if __name__ == "__main__":
    main()
