"""TLSA records of the gateways (RFC 6698, RFC 7672), and which of two certificates a gateway shows while its key changes. Pure functions.

A record `3 1 1` names the SHA-256 of a certificate's public key: who sends to the gateway needs no authority, and a certificate that is
renewed with the same key needs no new record.

A *key entry* is what the lookup `tlsa_keys` gives: ``host``, ``key`` and ``state`` (plugins/module_utils/tlsa_store.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.acme import acme_hosts
from ansible_collections.widgets.mail.plugins.filter.tls import CERTIFICATE, is_path
from ansible_collections.widgets.mail.plugins.module_utils.tlsa_store import SERVING

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    HAS_CRYPTOGRAPHY = True
except ImportError:  # ansible-core brings it; what only imports this file may lack it
    HAS_CRYPTOGRAPHY = False

Entry = dict[str, Any]

NAME = "_25._tcp"  # where the records of a mail server stand
FORM = "3 1 1"  # the server's own certificate, its public key, SHA-256
DIGEST = re.compile(r"^[0-9a-f]{64}\Z")


@cache
def tlsa_key(certificate: str) -> str:
    """The SHA-256 of the public key of a text's first certificate; empty where there is none that can be read."""
    found = CERTIFICATE.search(certificate)
    if not HAS_CRYPTOGRAPHY or not found:
        return ""
    try:
        public = x509.load_pem_x509_certificate(found[0].encode()).public_key()
    except ValueError:
        return ""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def tlsa_pairs(tls: Any, gateways: Iterable[str], acme: Any = None) -> dict[str, dict[str, str]]:
    """Of each gateway whose certificate the inventory has as text: its key, and the one that is to be its next.

    Gateways that show the world a certificate of an ACME authority are left out: its key is made there, and not in the DNS.
    """
    if not isinstance(tls, dict):
        return {}  # tls_errors tells
    certificates, coming = tls.get("certificates") or {}, tls.get("next") or {}
    names = list(gateways)
    elsewhere = acme_hosts(acme, names)
    out = {}
    for host in (name for name in names if name not in elsewhere):
        text = certificates.get(host)
        if text and not is_path(text) and tlsa_key(str(text)):
            out[host] = {"current": tlsa_key(str(text)), "next": tlsa_key(str(coming.get(host) or ""))}
    return out


def tlsa_serving(tls: Any, tlsa_keys: list[Entry]) -> Any:
    """A site's `site_tls` with the certificates that gateways show by now: the next ones where their keys' time has come."""
    if not isinstance(tls, dict):
        return tls  # tls_errors tells
    serving = {entry["host"]: entry["key"] for entry in tlsa_keys if entry["state"] == SERVING}
    coming = tls.get("next") or {}
    changed = {
        host: coming[host]
        for host, own in tlsa_pairs(tls, serving).items()
        if own["next"] and serving[host] == own["next"] != own["current"]
    }
    return {**tls, "certificates": {**tls["certificates"], **changed}} if changed else tls


def tlsa_records(tlsa_keys: list[Entry], tls: dict[str, Any], domain: str) -> list[dict[str, str]]:
    """DNS records of all keys that a gateway shows, will show or has shown, as `dns_zones` takes further records."""
    pairs = [(entry["host"], entry["key"]) for entry in tlsa_keys]
    pairs += [(host, key) for host, keys in (tls.get("tlsa") or {}).items() for key in keys]
    return [
        {"zone": domain, "name": f"{NAME}.{host}", "type": "TLSA", "value": f"{FORM} {key}"} for host, key in sorted(set(pairs))
    ]


def tlsa_errors(tlsa_keys: list[Entry], tls: dict[str, Any], gateways: list[str], directory: str, dnssec: Any) -> list[str]:
    """What is wrong with keys of TLSA records, one sentence each. directory: where they are written down, empty for nowhere."""
    if not isinstance(tls, dict):
        return []  # tls_errors tells
    errors = []
    certificates = tls.get("certificates") or {}
    for key in ("next", "tlsa"):
        value = tls.get(key) or {}
        if not isinstance(value, dict):
            return [f"site_tls.{key} must be a dictionary with the names of gateways: {', '.join(gateways)}."]
        for host in sorted(set(value) - set(gateways)):
            errors.append(f"site_tls.{key}.{host}: allowed are the gateways: {', '.join(gateways)}.")
    if (directory or tls.get("tlsa")) and dnssec is not True:
        what = "site_tlsa_directory is set" if directory else "site_tls.tlsa is there"
        errors.append(f"{what}, and site_dnssec is not true: nobody believes a TLSA record of a zone that is not signed.")
    for host, text in (tls.get("next") or {}).items():
        where = f"site_tls.next.{host}"
        if text and not directory:
            errors.append(f"{where} is there, and site_tlsa_directory is not: nothing would say when it is shown.")
        if text and (is_path(text) or not tlsa_key(str(text))):
            errors.append(f"{where} must be the text of a key and its certificate (PEM), as in site_tls.certificates.")
    for host, keys in (tls.get("tlsa") or {}).items():
        where = f"site_tls.tlsa.{host}"
        if not is_path(certificates.get(host)):
            errors.append(f"{where} is for a certificate that is the path of a file on {host}; of others the keys are known.")
        if not isinstance(keys, list) or not all(DIGEST.match(str(key)) for key in keys):
            errors.append(f"{where} is {str(keys)[:80]!r}: it must be a list of SHA-256 in 64 hexadecimal digits, lower case.")
    serving = {entry["host"]: entry["key"] for entry in tlsa_keys if entry["state"] == SERVING}
    for host, own in tlsa_pairs(tls, serving).items():
        if serving[host] not in (own["current"], own["next"]):
            errors.append(
                f"site_tls.certificates.{host} has the key {own['current'][:8]}..., and the world knows that of {serving[host][:8]}...: "
                f"it would take no mail from those who look at TLSA records. Give it as site_tls.next.{host} beside the old one and run "
                "playbooks/tlsa_rotate.yml (docs/howto/dane.md), or renew the certificate with the old key."
            )
    return errors


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name -> function."""
        return {
            "tlsa_errors": tlsa_errors,
            "tlsa_key": tlsa_key,
            "tlsa_pairs": tlsa_pairs,
            "tlsa_records": tlsa_records,
            "tlsa_serving": tlsa_serving,
        }
