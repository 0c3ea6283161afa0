"""Certificates as the lab's authority would sign them, and as it would not: for tests of what is believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.site import lab

PLACE = lab.ROOT / ".lab/certificates"


def authority() -> str:
    """The certificate that the lab's mail servers believe in."""
    return (PLACE / "authority.pem").read_text(encoding="utf-8")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(name: str, days: int = 30, stranger: bool = False, by: str = "authority") -> str:
    """A new key and a certificate of that name, in one text; by another authority of the same name where a stranger signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    if stranger:
        signer = ec.generate_private_key(ec.SECP256R1())
    else:
        loaded = serialization.load_pem_private_key((PLACE / f"{by}.key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    now = datetime.now(UTC)
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(x509.load_pem_x509_certificate((PLACE / f"{by}.pem").read_bytes()).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        # Python of Debian 13 takes none without.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .sign(signer, hashes.SHA256())
    )
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode() + made.public_bytes(serialization.Encoding.PEM).decode()


def of(both: str) -> str:
    """The certificate out of a text that holds its key as well."""
    return both[both.index("-----BEGIN CERTIFICATE-----") :]
