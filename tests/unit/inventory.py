"""The inventories as unit tests see them: the plain data of group_vars, no Ansible needed."""

from __future__ import annotations

import copy
import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[2]
KEYS = ("B0VqhZpJED5HJQeVFzzwpTiFDgvYAp+GkLx7fG1z9XE=", "fcEIAFx233zMDE7nZ8fCTc2MOH3N8kvHkYC4vkNfLUk=")
# Certificates as far as the checks of an inventory look at them.
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
ANCHOR = f". IN DS 20326 8 2 {'E06D44B8' * 8}\n"
BOTH = f"-----BEGIN PRIVATE KEY-----\nTUlH\n-----END PRIVATE KEY-----\n{CERTIFICATE}"


AUTHORITY = "Lab authority"


@cache
def certificate(name: str) -> str:
    """A key and its certificate by the lab's authority, as far as it says, made on the spot, the same whenever it is asked for by that name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY)])
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    lasting = made.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=3650))
    signed = lasting.sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + signed.public_bytes(Encoding.PEM)).decode("ascii")


def authority() -> str:
    """The certificate of an authority that has a name."""
    text = certificate(AUTHORITY)
    return text[text.index("-----BEGIN CERTIFICATE-----") :]


@cache
def variables(inventory: str) -> dict[str, Any]:
    """All group variables of an inventory, unrendered."""
    out: dict[str, Any] = {}
    for path in sorted((ROOT / "inventories" / inventory / "group_vars/all").glob("*.yml")):
        out.update(yaml.safe_load(path.read_text()))
    return out


def site_of(inventory: str) -> dict[str, Any]:
    """The site dict that playbooks/group_vars/site.yml builds."""
    keys = ("zones", "hosts", "services", "flows", "pat", "domain", "domains")
    return {key: variables(inventory).get(f"site_{key}", {}) for key in keys}


def made_by_the_lab(place: Path) -> None:
    """Stand-ins, below a copy of the tree, for the keys and certificates that the lab makes before its hosts."""
    certificates = {"authority": authority(), "smtp1.both": certificate("smtp1"), "mail.both": BOTH, "mta-sts.both": BOTH}
    for name, text in [
        *((f"certificates/{name}.pem", text) for name, text in certificates.items()),
        ("keys/root.ds", ANCHOR),
        *((f"keys/{name}.pub", key) for name, key in zip(("roamer", "branch"), KEYS, strict=True)),
    ]:
        path = place / ".lab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def lab_variables() -> dict[str, Any]:
    """All group variables of the lab, unrendered."""
    return variables("lab")


def lab_site() -> dict[str, Any]:
    """The lab's site dict."""
    return site_of("lab")


def lab_site4() -> dict[str, Any]:
    """The same of a site that has no IPv6."""
    site = copy.deepcopy(lab_site())
    for zone in site["zones"].values():
        zone.pop("network6", None)
    for host in site["hosts"].values():
        for link in host["interfaces"].values():
            link.pop("address6", None)
    return site
