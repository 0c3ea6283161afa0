"""Accounts of the POP store: from a list of users to what the module `pop3_accounts` takes."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Any

User = dict[str, Any]

# What useradd takes, without the final dollar sign and with dots; no name can be a path or a pattern.
NAME = re.compile(r"^[a-z_][a-z0-9._-]{0,30}\Z")
HASH = re.compile(r"^\$(6|y|gy|7|2b|5)\$[!-9;-~]{20,}\Z")
# Of a rule for mail: a header, its value, and the folder for what has both.
HEADER = re.compile(r"^[A-Za-z][A-Za-z0-9-]{0,62}\Z")
VALUE = re.compile(r"^[!-~]([ -~]{0,198}[!-~])?\Z")
FOLDER = re.compile(
    r"^(?=.{1,60}\Z)[A-Za-z0-9_-]([A-Za-z0-9 _-]*[A-Za-z0-9_-])?(\.[A-Za-z0-9_-]([A-Za-z0-9 _-]*[A-Za-z0-9_-])?)*\Z"
)
ADDRESS = re.compile(r"^[a-z0-9._+-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
SALT_LETTERS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SALT_LENGTH = 16
# Named always, so that every library writes it into the hash, and the same password gives the same text everywhere.
ROUNDS = 20000


def pop3_salt(seed: str, name: str) -> str:
    """A salt that is the same in each run. It need not be secret, only differ between users and sites."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return "".join(SALT_LETTERS[octet % 64] for octet in digest[:SALT_LENGTH])


def pop3_fields(user: User, domain: str, usual: dict[str, int], version: str) -> dict[str, str]:
    """What Dovecot is to know of a user besides: his address, and his quota where it is not everybody's."""
    fields = {"sieve_user_email": user.get("email") or f"{user['name']}@{domain}"}
    own = {key: int(default if user.get(key) is None else user[key]) for key, default in usual.items()}
    if own != {key: int(value) for key, value in usual.items()}:
        storage, messages = own["quota_storage"], own["quota_messages"]
        if version == "2.3":  # 0 is no bound
            fields["quota_rule"] = f"*:storage={storage}M:messages={messages}"
        else:
            fields["quota_storage_size"] = f"{storage}M" if storage else "unlimited"
            fields["quota_message_count"] = str(messages or "unlimited")
    return fields


def pop3_accounts(users: list[User], seed: str, domain: str, usual: dict[str, int], version: str) -> list[User]:
    """Users with a hash where they had a password, and what Dovecot is to know of them.

    `domain` is that of their addresses, `usual` the quota of those who have none of their own, `version` Dovecot's.
    """
    # Imported here: the functions above and below need no Ansible.
    from ansible.plugins.filter.core import get_encrypted_password

    out = []
    for user in users:
        account = {key: user[key] for key in ("name", "uid") if user.get(key) is not None}
        account["state"] = user.get("state") or "present"
        account["fields"] = pop3_fields(user, domain, usual, version)
        if account["state"] == "present":
            account["password"] = user.get("password_hash") or get_encrypted_password(
                user["password"], "sha512", salt=pop3_salt(seed, user["name"]), rounds=ROUNDS
            )
        out.append(account)
    return out


def quoted(text: str) -> str:
    """A text as a Sieve script has it [RFC 5228 2.4.2]."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def pop3_sieve_script(rules: list[dict[str, str]]) -> str:
    """The script of users who have none: what has a header of a value goes into a folder, which is made where it is missing."""
    tests = "".join(
        f"if header :is {quoted(rule['header'])} {quoted(rule['value'])} {{\n  fileinto :create {quoted(rule['folder'])};\n  stop;\n}}\n"
        for rule in rules
    )
    return f'require ["fileinto", "mailbox"];\n{tests}' if rules else "keep;\n"


def pop3_sieve_errors(rules: list[dict[str, str]], imap: str) -> list[str]:
    """What is wrong with `pop3_sieve_rules`, one sentence each. Empty where all is well."""
    errors = []
    for number, rule in enumerate(rules, 1):
        where = f"pop3_sieve_rules, entry {number}"
        if not HEADER.match(rule["header"]):
            errors.append(f"{where}: header is {rule['header']!r}; give a header's name without the colon, such as X-Spam.")
        if not VALUE.match(rule["value"]):
            errors.append(f"{where}: value is {rule['value']!r}; give the header's whole value, printable ASCII, at most 200.")
        if not FOLDER.match(rule["folder"]):
            errors.append(
                f"{where}: folder is {rule['folder']!r}; give letters, digits, blanks, _ and -, with dots between a folder and one in it."
            )
    if rules and imap != "clients":
        errors.append(
            f"pop3_sieve_rules is not empty, but pop3_imap is {imap}: who reads by POP alone would never see mail in a folder."
        )
    return errors


def pop3_errors(users: list[User], clients: list[str]) -> list[str]:
    """What is wrong with `pop3_users` and `pop3_allowed_clients`, one sentence each. No sentence holds a secret."""
    errors = []
    seen: set[str] = set()
    for user in users:
        name = user["name"]
        where = f"pop3_users: {name!r}"
        if not NAME.match(name):
            errors.append(f"{where}: not a user name (small letters, digits, . _ -, at most 31, no digit first)")
        if name in seen:
            errors.append(f"{where}: given twice")
        seen.add(name)
        if user.get("email") and not ADDRESS.match(user["email"]):
            errors.append(f"{where}: email is {user['email']!r}; give a mail address")
        if (user.get("state") or "present") != "present":
            continue
        secret, crypted = user.get("password"), user.get("password_hash")
        if bool(secret) == bool(crypted):
            errors.append(f"{where}: needs one of password and password_hash")
        if crypted and not HASH.match(crypted):
            errors.append(f"{where}: password_hash is none that crypt(5) knows")
    for client in clients:
        try:
            ipaddress.ip_network(client)
        except ValueError as error:
            errors.append(f"pop3_allowed_clients: {error}")
    return errors


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name -> function."""
        return {
            "pop3_accounts": pop3_accounts,
            "pop3_sieve_script": pop3_sieve_script,
        }
