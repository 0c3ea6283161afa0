"""Who shows whom what certificate: a site's `site_tls`, resolved for each host. Pure functions."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import Site, policy_addresses

try:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    HAS_CRYPTOGRAPHY = True
except ImportError:  # ansible-core brings it; what only imports this file may lack it
    HAS_CRYPTOGRAPHY = False

KEYS = {"authority", "certificates", "between", "policy", "next", "tlsa"}
LEVELS = ("none", "opportunistic", "encrypted", "verified")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s[^-]+-----END CERTIFICATE-----")
KEY = re.compile(r"-----BEGIN ((EC|RSA) )?PRIVATE KEY-----\s[^-]+-----END ((EC|RSA) )?PRIVATE KEY-----")


# As OpenSSL calls them where it writes a name on one line; others by their number.
SHORT = (
    {
        NameOID.COMMON_NAME: "CN",
        NameOID.COUNTRY_NAME: "C",
        NameOID.STATE_OR_PROVINCE_NAME: "ST",
        NameOID.LOCALITY_NAME: "L",
        NameOID.ORGANIZATION_NAME: "O",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
        NameOID.DOMAIN_COMPONENT: "DC",
        NameOID.EMAIL_ADDRESS: "emailAddress",
        NameOID.SERIAL_NUMBER: "serialNumber",
    }
    if HAS_CRYPTOGRAPHY
    else {}
)


def is_path(value: Any) -> bool:
    """Whether a certificate is given as the path of a file that something else keeps on the host, an ACME client, say."""
    return isinstance(value, str) and value.startswith("/")


def tls_path(value: Any, default: str) -> str:
    """Where a host has a certificate: the path that the inventory gives, else where a role writes it."""
    return str(value) if is_path(value) else default


def tls_text(value: Any) -> str:
    """The text of a certificate that a role has to write; empty where it is the path of a file, or nothing."""
    return f"{value.strip()}\n" if isinstance(value, str) and value.strip() and not is_path(value) else ""


def _read(pem: str) -> list[tuple[str, Any]]:
    """Each certificate of a text that can be read, as text and as what it says."""
    found = []
    for match in CERTIFICATE.finditer(pem) if HAS_CRYPTOGRAPHY else ():
        try:
            found.append((match[0], x509.load_pem_x509_certificate(match[0].encode())))
        except ValueError:
            continue
    return found


def _line(name: Any) -> str:
    """A name on one line, as ``openssl x509 -noout -subject -nameopt compat`` writes it."""
    return "".join(f"/{'+'.join(_part(part) for part in parts)}" for parts in name.rdns)


def tls_subjects(pem: str) -> list[str]:
    """The names of a text's certificates on one line each, as ``openssl x509 -noout -subject -nameopt compat`` writes them."""
    return [_line(certificate.subject) for _text, certificate in _read(pem)]


def foreign_issuers(tls: dict[str, Any]) -> dict[str, str]:
    """Of each host whose certificate somebody signed whom `site_tls.authority` does not have, as far as they are texts: who that is."""
    known = tls_subjects(str(tls.get("authority") or ""))
    own = {host: _read(str(text)) for host, text in (tls.get("certificates") or {}).items() if not is_path(text)}
    signed = {host: _line(found[0][1].issuer) for host, found in own.items() if found}
    return {host: issuer for host, issuer in signed.items() if known and issuer not in known}


def _part(attribute: Any) -> str:
    """One part of a name, with what OpenSSL does to octets that are not printable ASCII and to those between parts."""
    value = ""
    for octet in str(attribute.value).encode():
        char = chr(octet)
        value += f"\\x{octet:02X}" if not 32 <= octet <= 126 else "\\" + char if char in "/+" else char
    return f"{SHORT.get(attribute.oid, attribute.oid.dotted_string)}={value}"


def _der(tag: int, content: bytes) -> bytes:
    """A value in DER."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(length)]) + length + content


def _name_hash(subject: Any) -> str:
    """OpenSSL's hash of a name, by which it finds an authority in a directory: of values in small letters with single spaces."""
    canonical = b""
    for part in subject.rdns:
        values = []
        for attribute in part:
            numbers = [int(number) for number in attribute.oid.dotted_string.split(".")]
            oid = bytes([40 * numbers[0] + numbers[1]])
            for number in numbers[2:]:
                septets = [number & 127]
                while number := number >> 7:
                    septets.insert(0, 128 | number & 127)
                oid += bytes(septets)
            value = re.sub(r"[ \t\n\v\f\r]+", " ", str(attribute.value).strip()).lower()
            values.append(_der(0x30, _der(0x06, oid) + _der(0x0C, value.encode())))
        canonical += _der(0x31, b"".join(sorted(values)))
    return f"{int.from_bytes(hashlib.sha1(canonical, usedforsecurity=False).digest()[:4], 'little'):08x}"


def tls_hashed(pem: str, directory: str) -> list[dict[str, str]]:
    """Files that OpenSSL finds a text's certificates by in a directory: ``path`` and ``content`` of each."""
    seen: dict[str, int] = {}
    out = []
    for text, certificate in _read(pem):
        name = _name_hash(certificate.subject)
        out.append({"path": f"{directory}/{name}.{seen.get(name, 0)}", "content": f"{text}\n"})
        seen[name] = seen.get(name, 0) + 1
    return out


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
            "tls_hashed": tls_hashed,
            "tls_policy": tls_policy,
            "tls_subjects": tls_subjects,
            "tls_errors": tls_errors,
        }
