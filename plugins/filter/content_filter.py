"""Texts of ClamAV's signature files, and what is wrong with a content filter's settings. Pure functions.

Sources: the manual's chapters on body-based and hash-based signatures (https://docs.clamav.net/manual/Signatures.html).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.dkim import private_key

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
HEX = re.compile(r"^([0-9A-Fa-f]{2}){4,}\Z")
SHA256 = re.compile(r"^[0-9A-Fa-f]{64}\Z")
EXTENSION = re.compile(r"^[A-Za-z0-9]{1,16}\Z")
HEAD = "# Signatures of the site's own (content_filter_signatures).\n"
ANY_TARGET = 0
FILE_START = 0
HASH_LEVEL = 73  # the first functionality level of ClamAV that takes a hash without a type, as the manual has it

Signature = dict[str, Any]


def content_filter_ndb(signatures: list[Signature]) -> str:
    """Text of a .ndb file: octets at the beginning of a file of any type."""
    rows = [f"{row['name']}:{ANY_TARGET}:{FILE_START}:{row['hex'].lower()}\n" for row in signatures if row.get("hex")]
    return HEAD + "".join(rows)


def content_filter_hsb(signatures: list[Signature]) -> str:
    """Text of a .hsb file: the SHA-256 and the size of a whole file."""
    rows = [f"{row['sha256'].lower()}:{row['size']}:{row['name']}:{HASH_LEVEL}\n" for row in signatures if row.get("sha256")]
    return HEAD + "".join(rows)


def _signature_errors(number: int, row: Signature) -> list[str]:
    """What is wrong with one signature."""
    where = f"content_filter_signatures, entry {number} ({row.get('name')})"
    errors = []
    if not NAME.match(str(row.get("name"))):
        errors.append(f"{where}: a name is letters, digits, dots, hyphens and underscores, no more than 64.")
    if bool(row.get("hex")) == bool(row.get("sha256")):
        errors.append(f"{where}: give either hex or sha256 with size.")
    elif row.get("hex") and not HEX.match(str(row["hex"])):
        errors.append(f"{where}: hex is {row['hex']!r}; give at least 4 octets, two hexadecimal digits each.")
    elif row.get("sha256") and not SHA256.match(str(row["sha256"])):
        errors.append(f"{where}: sha256 is {row['sha256']!r}; give 64 hexadecimal digits.")
    elif row.get("sha256") and int(row.get("size") or 0) < 1:
        errors.append(f"{where}: size is {row.get('size')!r}; give the octets of the file that has this sha256.")
    return errors


def content_filter_errors(
    signatures: list[Signature], extensions: list[str], refuse: float, mark: float, fetched: bool
) -> list[str]:
    """What is wrong with a content filter's settings, one sentence each. Empty where all is well."""
    errors = []
    names = [row.get("name") for row in signatures]
    for number, row in enumerate(signatures, 1):
        errors += _signature_errors(number, row)
        if row.get("name") in names[: number - 1]:
            errors.append(f"content_filter_signatures, entry {number}: the name {row['name']} is taken; names must differ.")
    if not any(row.get("hex") for row in signatures) and not fetched:
        errors.append(
            "content_filter_signatures has no entry with hex and content_filter_freshclam is off: clamd does not start "
            "without a signature. The defaults have EICAR's."
        )
    errors += [
        f"content_filter_refused_extensions has {name!r}: give letters and digits, without the dot, such as exe."
        for name in extensions
        if not EXTENSION.match(str(name))
    ]
    if not extensions:
        errors.append("content_filter_refused_extensions is empty: name at least one extension, such as exe.")
    if not 0 < mark <= refuse:
        errors.append(
            f"content_filter_mark_score is {mark} and content_filter_refuse_score {refuse}: "
            "the first must be above 0 and not above the second."
        )
    return errors


def content_filter_greylist_errors(
    score: float, mark: float, known_networks: list[str], known_domains: list[str], authentication: bool
) -> list[str]:
    """What is wrong with a greylist's settings, one sentence each. Empty where all is well."""
    errors = []
    if not 0 < score < mark:
        errors.append(
            f"content_filter_greylist_score is {score} and content_filter_mark_score {mark}: "
            "the first must be above 0 and below the second."
        )
    errors += [
        f"content_filter_greylist_known_networks holds {network!r}: it must not be the whole world, or nobody would be put off."
        for network in known_networks
        if ipaddress.ip_network(network).prefixlen == 0
    ]
    if known_domains and not authentication:
        errors.append(
            f"content_filter_greylist_known_domains holds {known_domains[0]!r}, but content_filter_authentication is false: it must be "
            "true, or nobody could tell whether mail is theirs."
        )
    return errors


def content_filter_keys(dkim_keys: list[dict[str, Any]], directory: str) -> dict[str, list[Any]]:
    """What becomes of DKIM keys on a host.

    ``files`` are entries for the module text_files, keys included; ``absent`` the paths of those that are to go; ``signing`` the
    domain, selector and path of each one that signs.
    """
    out: dict[str, list[Any]] = {"files": [], "absent": [], "signing": []}
    for entry in dkim_keys:
        path = f"{directory}/{entry['domain']}.{entry['selector']}.pem"
        state = entry.get("state", "signing")
        if state == "absent":
            out["absent"].append(path)
            continue
        out["files"].append({"path": path, "content": entry["key"], "owner": "_rspamd", "mode": "0400"})
        if state == "signing":
            out["signing"].append({"domain": entry["domain"], "selector": entry["selector"], "path": path})
    return out


def content_filter_key_errors(dkim_keys: list[dict[str, Any]], own_clients: list[str]) -> list[str]:
    """What is wrong with DKIM keys and with whose mail they sign, one sentence each; a key itself is never shown."""
    errors = []
    seen: set[tuple[str, str]] = set()
    signing: dict[str, str] = {}
    for number, entry in enumerate(dkim_keys):
        where = f"content_filter_dkim_keys[{number}] ({entry['domain']}, {entry['selector']})"
        state, name = entry.get("state", "signing"), (entry["domain"], entry["selector"])
        if state != "absent":
            try:
                private_key(entry.get("key"))
            except ValueError as problem:
                errors.append(f"{where}: key: {problem}.")
        if name in seen:
            errors.append(f"{where} is there twice: selectors of a domain must differ.")
        seen.add(name)
        if state == "signing" and entry["domain"] in signing:
            errors.append(
                f"{where}: {signing[entry['domain']]} signs for the domain already; let the other be ready or absent."
            )
        signing.update({entry["domain"]: entry["selector"]} if state == "signing" else {})
    if signing and not own_clients:
        errors.append("content_filter_own_clients is empty, but there are keys that sign: name the hosts whose mail they sign.")
    errors += [
        f"content_filter_own_clients holds {network!r}: it must not be the whole world, whose mail would be signed as the site's own."
        for network in own_clients
        if ipaddress.ip_network(network).prefixlen == 0
    ]
    return errors


class FilterModule:
    """Filters of the role content_filter."""

    def filters(self) -> dict[str, Any]:
        return {
            "content_filter_ndb": content_filter_ndb,
            "content_filter_hsb": content_filter_hsb,
            "content_filter_keys": content_filter_keys,
        }
