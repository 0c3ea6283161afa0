"""What signs a domain's mail, and the DNS records that tell the world so. Pure functions.

A *key entry* is what `site_dkim_keys` has: ``domain``, ``selector``, ``key`` (the private half, PEM) and ``state``:

- ``next``: published in the DNS, signs nothing yet;
- ``signing``: published, signs; one for each domain;
- ``previous``: published for what is still on its way, signs nothing any more;
- ``withdrawn``: nowhere any more; its private half is not needed.

Sources: RFC 6376 (DKIM), RFC 8301 (keys no shorter than 1024 bits, better 2048), RFC 7489 (DMARC).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

try:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    HAS_CRYPTOGRAPHY = True
except ImportError:  # ansible-core brings it; what only imports this file may lack it
    HAS_CRYPTOGRAPHY = False

try:
    from ansible.errors import AnsibleFilterError
except ImportError:  # the functions also serve programs that run without Ansible
    AnsibleFilterError = ValueError

Entry = dict[str, Any]

NEXT = "next"
SIGNING = "signing"
PREVIOUS = "previous"
WITHDRAWN = "withdrawn"
STATES = (NEXT, SIGNING, PREVIOUS, WITHDRAWN)
KEYS = {"domain", "selector", "key", "state"}
DMARC_KEYS = {"policy", "reports"}
POLICIES = ("none", "quarantine", "reject")
FEWEST_BITS = 2048
SELECTOR = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
MAILBOX = re.compile(r"^[A-Za-z0-9._+-]+@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?\Z")


@cache
def private_key(text: Any) -> Any:
    """The private key of a PEM text; an error that does not show it where there is none."""
    if not HAS_CRYPTOGRAPHY:
        raise ValueError("Python's cryptography, which ansible-core needs as well, is missing")
    try:
        key = serialization.load_pem_private_key(str(text).encode(), password=None)
    except (ValueError, TypeError) as problem:
        raise ValueError("it is no private key in PEM without a passphrase") from problem
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("it is no RSA key, and not all receivers know others")
    if key.key_size < FEWEST_BITS:
        raise ValueError(f"it has {key.key_size} bits, fewer than {FEWEST_BITS}")
    return key


def dkim_public(key: str) -> str:
    """The public half of a private key (PEM), as a DKIM record has it."""
    try:
        public = private_key(key).public_key()
    except ValueError as problem:
        raise AnsibleFilterError(f"dkim_public: {problem}") from problem
    octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(octets).decode("ascii")


def dkim_key_errors(dkim_keys: Any, domains: Iterable[str]) -> list[str]:
    """What is wrong with key dkim_keys, one sentence each; a key itself is never shown."""
    if not isinstance(dkim_keys, list) or not all(isinstance(entry, dict) for entry in dkim_keys):
        return ["site_dkim_keys must be a list of {domain, selector, key, state}."]
    known, errors = list(domains), []
    seen: set[tuple[Any, Any]] = set()
    signing: dict[Any, Any] = {}
    for number, entry in enumerate(dkim_keys):
        where = f"site_dkim_keys[{number}] ({entry.get('domain')}, {entry.get('selector')})"
        state = entry.get("state", SIGNING)
        if unknown := sorted(set(entry) - KEYS):
            errors.append(f"{where}: unknown key {', '.join(unknown)}; allowed are {', '.join(sorted(KEYS))}.")
        if entry.get("domain") not in known:
            errors.append(f"{where}: allowed are the domains of site_domains, {', '.join(known)}.")
        if not SELECTOR.match(str(entry.get("selector"))):
            errors.append(f"{where}: a selector is lower-case letters, digits and hyphens.")
        if state not in STATES:
            errors.append(f"{where}: state is {state!r}; allowed are {', '.join(STATES)}.")
        elif state != WITHDRAWN:
            try:
                private_key(entry.get("key"))
            except ValueError as problem:
                errors.append(f"{where}: key: {problem}.")
        name = (entry.get("domain"), entry.get("selector"))
        if name in seen:
            errors.append(f"{where} is there twice: selectors of a domain must differ, withdrawn ones included.")
        seen.add(name)
        if state == SIGNING and entry.get("domain") in signing:
            errors.append(f"{where}: {signing[entry['domain']]} signs already; one key of a domain does.")
        if state == SIGNING:
            signing[entry.get("domain")] = entry.get("selector")
    return errors


def dmarc_errors(dmarc: Any) -> list[str]:
    """What is wrong with `site_dmarc`, one sentence each."""
    if not isinstance(dmarc, dict):
        return ["site_dmarc must be a dictionary with policy, and optionally reports."]
    errors: list[str] = []
    if not dmarc:
        return errors
    if unknown := sorted(set(dmarc) - DMARC_KEYS):
        errors.append(f"site_dmarc: unknown key {', '.join(unknown)}; allowed are {', '.join(sorted(DMARC_KEYS))}.")
    if dmarc.get("policy") not in POLICIES:
        errors.append(f"site_dmarc.policy is {dmarc.get('policy')!r}; allowed are {', '.join(POLICIES)}.")
    reports = dmarc.get("reports", [])
    if not isinstance(reports, list):
        return [*errors, f"site_dmarc.reports is {reports!r}: it must be a list of mail addresses."]
    return errors + [
        f"site_dmarc.reports holds {to!r}: it must be a mail address." for to in reports if not MAILBOX.match(str(to))
    ]


def _record(zone: str, name: str, value: str) -> dict[str, str]:
    return {"zone": zone, "name": name, "type": "TXT", "value": value}


def dkim_records(dkim_keys: list[Entry]) -> list[dict[str, str]]:
    """DNS records of all keys that somebody may need, as `dns_zones` takes further records."""
    return [
        _record(entry["domain"], f"{entry['selector']}._domainkey", f"v=DKIM1; k=rsa; p={dkim_public(entry['key'])}")
        for entry in dkim_keys
        if entry.get("state", SIGNING) != WITHDRAWN
    ]


def dmarc_records(dmarc: dict[str, Any], domains: Iterable[str]) -> list[dict[str, str]]:
    """DNS records that say what is to be done with mail that only claims to be a domain's; none without a policy."""
    if not dmarc:
        return []
    value = f"v=DMARC1; p={dmarc['policy']}"
    if dmarc.get("reports"):
        value += "; rua=" + ",".join(f"mailto:{to}" for to in dmarc["reports"])
    return [_record(domain, "_dmarc", value) for domain in domains]


def dkim_signers(dkim_keys: list[Entry]) -> list[Entry]:
    """Key entries as the role content_filter takes them: what signs, what is there already or still, what is to be taken away."""
    states = {NEXT: "ready", SIGNING: "signing", PREVIOUS: "ready", WITHDRAWN: "absent"}
    return [
        {
            "domain": entry["domain"],
            "selector": entry["selector"],
            "state": states[entry.get("state", SIGNING)],
            **({"key": entry["key"]} if entry.get("key") and entry.get("state") != WITHDRAWN else {}),
        }
        for entry in dkim_keys
    ]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name -> function."""
        return {
            "dkim_key_errors": dkim_key_errors,
            "dkim_public": dkim_public,
            "dkim_records": dkim_records,
            "dkim_signers": dkim_signers,
            "dmarc_errors": dmarc_errors,
            "dmarc_records": dmarc_records,
        }
