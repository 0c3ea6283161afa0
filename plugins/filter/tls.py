"""Who shows whom what certificate: a site's `site_tls`, resolved for each host. Pure functions."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import Site, policy_addresses

KEYS = {"authority", "certificates", "between", "policy", "next", "tlsa"}
LEVELS = ("none", "opportunistic", "encrypted", "verified")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s[^-]+-----END CERTIFICATE-----")
KEY = re.compile(r"-----BEGIN ((EC|RSA) )?PRIVATE KEY-----\s[^-]+-----END ((EC|RSA) )?PRIVATE KEY-----")


def is_path(value: Any) -> bool:
    """Whether a certificate is given as the path of a file that something else keeps on the host, an ACME client, say."""
    return isinstance(value, str) and value.startswith("/")


def tls_path(value: Any, default: str) -> str:
    """Where a host has a certificate: the path that the inventory gives, else where a role writes it."""
    return str(value) if is_path(value) else default


def tls_text(value: Any) -> str:
    """The text of a certificate that a role has to write; empty where it is the path of a file, or nothing."""
    return f"{value.strip()}\n" if isinstance(value, str) and value.strip() and not is_path(value) else ""


def tls_policy(tls: dict[str, Any], site: Site, host: str, gateways: list[str], stores: list[str]) -> list[dict[str, str]]:
    """What TLS must be with whom: with the site's own mail servers that a host exchanges mail with, and what the inventory adds.

    A gateway hands mail to stores and takes it from them, and so do stores among each other.
    """
    certificates = tls.get("certificates") or {}
    if host not in certificates:
        return []
    level = tls.get("between") or "verified"
    others = [name for name in [*(gateways if host in stores else []), *stores] if name != host and name in certificates]
    own = [
        {"peer": address, "direction": "both", "level": level}
        | ({"name": f"{other}.{site['domain']}"} if level == "verified" else {})
        for other in others
        for address in policy_addresses(site, [other])
    ]
    return own + list(tls.get("policy") or [] if host in gateways else [])


def tls_errors(tls: Any, gateways: list[str], stores: list[str]) -> list[str]:
    """What is wrong with an inventory's `site_tls`, one sentence each. Empty where all is well, or where there is none."""
    if not isinstance(tls, dict):
        return [f"site_tls is {str(tls)[:60]!r}: it must be a dictionary."]
    if not tls:
        return []
    errors = [f"site_tls: unknown key {key}; allowed are {', '.join(sorted(KEYS))}." for key in sorted(set(tls) - KEYS)]
    certificates = tls.get("certificates")
    servers = [*gateways, *stores]
    if not isinstance(certificates, dict) or not certificates:
        return [*errors, f"site_tls.certificates must have a certificate for each of {', '.join(servers)}."]
    errors += [
        f"site_tls.certificates lacks {host}: all gateways and stores have a certificate, or none has."
        for host in servers
        if host not in certificates
    ]
    for host, value in certificates.items():
        where = f"site_tls.certificates.{host}"
        if host not in servers:
            errors.append(f"{where}: allowed are the gateways and stores: {', '.join(servers)}.")
        if not is_path(value) and not (CERTIFICATE.search(str(value)) and KEY.search(str(value))):
            errors.append(f"{where} must be the text of a key and its certificate (PEM), or the path of a file on {host}.")
    if not is_path(tls.get("authority")) and not CERTIFICATE.search(str(tls.get("authority"))):
        errors.append(
            "site_tls.authority must be the text of the authorities' certificates (PEM), or the path of a file on the hosts."
        )
    elif KEY.search(str(tls["authority"])):
        errors.append("site_tls.authority holds a private key: an authority's key has no business on any host.")
    if tls.get("between") not in (None, *LEVELS):
        errors.append(f"site_tls.between is {tls['between']!r}: allowed are {', '.join(LEVELS)}.")
    return errors


class FilterModule:
    """Filters that resolve site_tls."""

    def filters(self) -> dict[str, Any]:
        return {
            "tls_path": tls_path,
            "tls_text": tls_text,
            "tls_policy": tls_policy,
            "tls_errors": tls_errors,
        }
