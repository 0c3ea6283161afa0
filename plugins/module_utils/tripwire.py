# SPDX-License-Identifier: MIT
"""Tripwire's texts: the policy made from data, what a report says, and the seal on what was signed."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

RULE_PATH = re.compile(r'^\s*"(/[^"]*)" ->', re.MULTILINE)
CHANGE = re.compile(r'^(Added|Removed|Modified):\s+"(.*)"$', re.MULTILINE)
MASK = re.compile(r"^([+-][abcdgilmnpstuCHMSr]+)+$")
PATH = re.compile(r'^/[^"\\\x00-\x1f]*$')
NAME = re.compile(r"^[A-Za-z0-9 ,.()_-]+$")


def policy_errors(rules: Iterable[Mapping[str, Any]], exclude: Iterable[str]) -> list[str]:
    """What Tripwire would choke on, one sentence each."""
    errors = []
    seen: set[str] = set()
    for rule in rules:
        name = rule["name"]
        if not NAME.match(name):
            errors.append(f"rule {name!r}: a name is letters, digits, blanks and , . ( ) _ -")
        if not 0 <= rule["severity"] <= 1000000:
            errors.append(f"rule {name!r}: severity {rule['severity']} is not within 0 to 1000000")
        if not MASK.match(rule["mask"]):
            errors.append(f"rule {name!r}: {rule['mask']!r} is no property mask such as +pugtSM")
        for path in rule["paths"]:
            if not PATH.match(path) or (path != "/" and path.endswith("/")):
                errors.append(f"rule {name!r}: {path!r} is not an absolute path without a final slash")
            if path in seen:
                errors.append(f"rule {name!r}: {path!r} is watched twice")
            seen.add(path)
    errors.extend(f"{path!r}, left out, is not an absolute path" for path in exclude if not PATH.match(path))
    return errors


def policy_text(rules: Iterable[Mapping[str, Any]], exclude: Iterable[str], present: Collection[str]) -> str:
    """The policy as Tripwire reads it, without the paths that are not `present`: those would only raise warnings."""
    lines = ["# Made from data (role tripwire) and signed; no copy of this text is read.", "@@section FS"]
    for rule in rules:
        paths = [path for path in rule["paths"] if path in present]
        if not paths:
            continue
        tail = "" if rule.get("recurse", True) else " (recurse = false)"
        lines += [f'(rulename = "{rule["name"]}", severity = {rule["severity"]})', "{"]
        lines += [f'  "{path}" -> {rule["mask"]}{tail} ;' for path in paths]
        lines.append("}")
    lines += [f'!"{path}" ;' for path in exclude]
    return "\n".join(lines) + "\n"


def policy_paths(text: str) -> list[str]:
    """The paths that a policy made by `policy_text` watches."""
    return RULE_PATH.findall(text)


def report_changes(text: str) -> list[dict[str, str]]:
    """The changes of a report printed at level 1."""
    return [{"change": change.lower(), "path": path} for change, path in CHANGE.findall(text)]


def outside(changes: Iterable[Mapping[str, str]], within: Collection[str]) -> list[str]:
    """Changed paths that are neither one of `within` nor below one; none where `within` is empty."""
    tops = [top.rstrip("/") for top in within]
    return [
        change["path"]
        for change in changes
        if tops and not any(change["path"] == top or change["path"].startswith(top + "/") for top in tops)
    ]


def seal(site: str, local: str, parts: Iterable[bytes]) -> str:
    """A keyed digest of what was signed.

    Who does not know both passphrases cannot make one, so a match says in a moment what asking Tripwire takes seconds
    for: keys, configuration and policy are those that this passphrase signed. The key is made slowly (scrypt), because
    the seal could be used to try passphrases.
    """
    secret = f"{len(site)}:{site}{local}".encode()
    key = hashlib.scrypt(secret, salt=b"widgets.mail.tripwire", n=2**14, r=8, p=1)
    digest = hmac.new(key, digestmod="sha256")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
