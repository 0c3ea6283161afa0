"""Certificates of an ACME authority: who has them, when they are due, and what is believed of what comes back."""

from __future__ import annotations

import getpass
import importlib.util
import json
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.plugins.filter import core
from ansible_collections.widgets.mail.plugins.filter import acme
from ansible_collections.widgets.mail.plugins.modules import acme_keys
from ansible_collections.widgets.mail.plugins.plugin_utils import role_checks
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.unit.inventory import BOTH, CERTIFICATE, ROOT, lab_site

NOW = datetime.now(UTC).replace(microsecond=0)
NAME = "smtp1.widgets.example"
ENTRY: dict[str, Any] = {"name": "mta", "names": [NAME], "path": "/etc/mail/certificates/acme.pem", "owner": "smmta"}
SOUND: dict[str, Any] = {"contact": "hostmaster@widgets.example", "terms_agreed": True}


def load(name: str) -> ModuleType:
    """A program of the role as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"roles/acme/files/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RENEW, INSTALL = load("renew"), load("install")


# -- the inventory ---------------------------------------------------------------------------------------------------


def errors(**changes: Any) -> str:
    """What is said of a site whose gateway has such a certificate, but for something else."""
    return " ".join(acme.acme_errors({**SOUND, **changes}, lab_site(), ["smtp1"], ["mail"], {"authority": CERTIFICATE}))


def test_gateways_have_certificates_where_there_is_an_authority_and_nobody_else_is_named() -> None:
    assert acme.acme_hosts({}, ["smtp1"]) == []
    assert acme.acme_hosts(SOUND, ["smtp1"]) == ["smtp1"]
    assert acme.acme_hosts({**SOUND, "hosts": []}, ["smtp1"]) == []
    assert acme.acme_hosts({**SOUND, "hosts": ["mail"]}, ["smtp1"]) == ["mail"]
    assert errors() == "" and acme.acme_errors({}, lab_site(), ["smtp1"], [], {}) == []


def test_a_host_that_the_authority_cannot_reach_or_that_cannot_reach_it_is_told_so() -> None:
    assert "no flow leads to TCP port 80 of mail," in errors(hosts=["mail"])
    assert "no flow leads from mail to TCP port 443 of the authority" in errors(hosts=["mail"])
    assert "no flow leads from smtp1 to TCP port 14000 of" in errors(directory="https://ca.example:14000/dir")
    assert errors(directory="https://ca.example/dir") == ""


def test_what_is_shown_to_the_world_needs_something_for_own_hosts() -> None:
    assert "site_acme needs site_tls" in " ".join(acme.acme_errors(SOUND, lab_site(), ["smtp1"], ["mail"], {}))


def test_an_authority_with_its_key_is_refused() -> None:
    assert "site_acme.authority holds a private key" in errors(authority=BOTH)
    assert errors(authority=CERTIFICATE) == ""


def test_certificates_of_one_host_differ() -> None:
    assert acme.acme_entry_errors([ENTRY]) == []
    said = " ".join(acme.acme_entry_errors([ENTRY, {**ENTRY, "names": [NAME.upper()]}]))
    assert "the name mta is" in said and "the path /etc" in said and f"the first name {NAME} is" in said
    assert "empty" in " ".join(acme.acme_entry_errors([{**ENTRY, "names": []}])) and acme.acme_entry_errors([])
    assert "small letters" in " ".join(acme.acme_entry_errors([{**ENTRY, "name": "../x"}]))


def test_a_role_without_an_agreement_asks_nobody() -> None:
    values = {"acme_certificates": [ENTRY], "acme_directory": "https://ca.example/dir", "acme_contact": "a@b.example"}
    assert role_checks.CHECKS["acme"]({**values, "acme_terms_agreed": True}) == []
    assert "acme_terms_agreed" in " ".join(role_checks.CHECKS["acme"]({**values, "acme_terms_agreed": False}))
    wrong = {**values, "acme_terms_agreed": True, "acme_directory": "http://ca.example", "acme_contact": "me"}
    assert len(role_checks.CHECKS["acme"](wrong)) == 2


# -- when ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lasts", "left", "is_due"),
    [(90, 31, False), (90, 29, True), (90, -1, True), (6, 5, False), (6, 4, False), (6, 2, True), (400, 31, False)],
)
def test_a_certificate_is_due_thirty_days_before_its_end_but_not_in_the_first_half_of_its_life(
    lasts: int, left: int, is_due: bool
) -> None:
    end = NOW + timedelta(days=left)
    assert RENEW.due(end - timedelta(days=lasts), end, NOW, 30) is is_due


KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A key as text."""
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode()


def certificate(
    key: ec.EllipticCurvePrivateKey = KEY, name: str = NAME, days: int = 60, begins: int = -1, issuer: str = "authority"
) -> str:
    """A certificate, as somebody else would sign it."""
    who, signer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, word)]) for word in ("authority", issuer))
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(signer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=begins))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(OTHER, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_one_asks_for_what_is_missing_due_or_of_another_request(tmp_path: Path) -> None:
    request, ready = tmp_path / "mta.csr", tmp_path / "ready/mta.pem"
    ready.parent.mkdir()
    request.write_text("names")
    assert RENEW.wanted(request, ready, 30, NOW)
    ready.write_text(certificate(days=60))
    assert RENEW.wanted(request, ready, 30, NOW)
    ready.with_suffix(".csr").write_text("names")
    assert not RENEW.wanted(request, ready, 30, NOW)
    request.write_text("other names")
    assert RENEW.wanted(request, ready, 30, NOW)
    request.write_text("names")
    ready.write_text(certificate(days=5, begins=-80))
    assert RENEW.wanted(request, ready, 30, NOW)


# -- what is believed ------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A file with a key and its first certificate, and where new ones are ready."""
    monkeypatch.setattr(INSTALL, "PENDING", tmp_path / "pending")
    target, ready = tmp_path / "acme.pem", tmp_path / "ready.pem"
    target.write_text(pem(KEY) + certificate(days=1))
    entry = {"name": "mta", "names": [NAME], "path": str(target), "owner": getpass.getuser(), "reload": ["sendmail.service"]}
    entry["intermediates"] = str(tmp_path / "intermediates")
    return SimpleNamespace(target=target, ready=ready, entry=entry)


def test_a_new_certificate_of_the_key_replaces_the_old_one_once_and_its_readers_are_noted(place: SimpleNamespace) -> None:
    place.ready.write_text("a word\n" + certificate(days=60) + pem(OTHER))
    assert INSTALL.install(place.entry, place.ready)
    text = place.target.read_text()
    assert text.startswith(pem(KEY)) and pem(OTHER) not in text and "a word" not in text
    assert stat.S_IMODE(place.target.stat().st_mode) == 0o400
    assert INSTALL.pending() == ["sendmail.service"]
    assert list((place.target.parent / "intermediates").iterdir()) == []
    assert not INSTALL.install(place.entry, place.ready)


def test_what_signed_it_is_laid_down_by_its_hash_but_no_root_is(place: SimpleNamespace) -> None:
    place.ready.write_text(certificate() + certificate(OTHER, issuer="root") + certificate(OTHER))
    assert INSTALL.install(place.entry, place.ready)
    laid = sorted((place.target.parent / "intermediates").iterdir())
    assert len(laid) == 1 and laid[0].name.endswith(".0") and stat.S_IMODE(laid[0].stat().st_mode) == 0o444
    assert "issuer=CN = root" in INSTALL.openssl("-issuer", "-in", str(laid[0])).replace("CN=root", "CN = root")


def writable(certificates: list[dict[str, Any]]) -> list[str]:
    """What the unit that installs certificates may write to."""
    environment = Environment(loader=FileSystemLoader(ROOT / "roles/acme/templates"), undefined=StrictUndefined)
    environment.filters |= core.FilterModule().filters()
    text = environment.get_template("acme-install.service.j2").render(
        **yaml.safe_load((ROOT / "roles/acme/vars/main.yml").read_text(encoding="utf-8")),
        acme_certificates=certificates,
        ansible_managed="Ansible managed",
    )
    (line,) = [line for line in text.splitlines() if line.startswith("ReadWritePaths=")]
    return line.removeprefix("ReadWritePaths=").split()


def test_the_unit_may_write_what_signed_a_certificate_wherever_it_goes() -> None:
    """The directory itself may be missing: it is made in the one above it."""
    assert writable([ENTRY]) == ["-/etc/mail/certificates"]
    beside = {**ENTRY, "intermediates": "/etc/mail/certificates/authorities"}
    elsewhere = {**ENTRY, "path": "/etc/ssl/mta/mta.pem", "intermediates": "/etc/mail/intermediates"}
    assert writable([beside]) == ["-/etc/mail/certificates"]
    assert writable([elsewhere]) == ["-/etc/ssl/mta", "-/etc/mail"]
    assert writable([{**elsewhere, "intermediates": "/etc/mail/intermediates/"}]) == ["-/etc/ssl/mta", "-/etc/mail"]
    assert writable([{**ENTRY, "intermediates": none} for none in ("", None)]) == ["-/etc/mail/certificates"]
    assert writable([beside, elsewhere]) == ["-/etc/mail/certificates", "-/etc/ssl/mta", "-/etc/mail"]


def test_what_signed_it_may_lie_elsewhere_in_a_directory_that_is_yet_to_be_made(place: SimpleNamespace, tmp_path: Path) -> None:
    place.ready.write_text(certificate() + certificate(OTHER, issuer="root"))
    (tmp_path / "mail").mkdir()
    assert INSTALL.install({**place.entry, "intermediates": str(tmp_path / "mail/intermediates")}, place.ready)
    assert stat.S_IMODE((tmp_path / "mail/intermediates").stat().st_mode) == 0o755
    assert [path.suffix for path in (tmp_path / "mail/intermediates").iterdir()] == [".0"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (certificate(OTHER), "no certificate of the key"),
        (certificate(name="other.example"), "is not for smtp1"),
        (certificate(days=-1, begins=-9), "has ended"),
        ("nothing", "no certificate of the key"),
        ("x" * 70000, "no file that could be"),
    ],
    ids=["another key's", "another name's", "an old one", "none", "too large"],
)
def test_what_is_not_sound_is_not_taken(content: str, words: str, place: SimpleNamespace) -> None:
    before = place.target.read_text()
    place.ready.write_text(content)
    with pytest.raises(INSTALL.Unsound, match=words):
        INSTALL.install(place.entry, place.ready)
    assert place.target.read_text() == before and INSTALL.pending() == []
    assert sorted(path.name for path in place.target.parent.iterdir()) == ["acme.pem", "ready.pem"]


def test_a_link_to_what_others_may_not_read_is_not_followed(place: SimpleNamespace) -> None:
    place.ready.symlink_to(place.target)
    with pytest.raises(OSError, match="symbolic links"):
        INSTALL.install(place.entry, place.ready)


# -- keys and requests -----------------------------------------------------------------------------------------------


class Module:
    """What the module needs of Ansible."""

    def __init__(self, tmp_path: Path, names: list[str], check_mode: bool = False) -> None:
        self.check_mode, self.tmpdir = check_mode, str(tmp_path)
        row = {"name": "mta", "names": names, "path": str(tmp_path / "new/acme.pem"), "owner": getpass.getuser(), "reload": []}
        self.params: dict[str, Any] = {"certificates": [row], "requests": str(tmp_path / "requests")}

    def get_bin_path(self, name: str) -> str:
        return name

    def run_command(self, argv: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def fail_json(self, msg: str) -> None:
        raise AssertionError(msg)


def held(tmp_path: Path, names: list[str], check_mode: bool = False) -> list[str]:
    """What changes, by its name."""
    module = Module(tmp_path, names, check_mode)
    keys = acme_keys.Keys(module)
    keys.hold(module.params["certificates"][0])
    keys.drop()
    assert "PRIVATE" not in json.dumps(keys.diffs)
    return [Path(path).name for path in keys.changes]


def test_a_key_is_made_once_and_a_request_for_each_set_of_names(tmp_path: Path) -> None:
    assert held(tmp_path, [NAME], check_mode=True) == ["acme.pem", "mta.csr"]
    assert not (tmp_path / "new").exists()
    assert held(tmp_path, [NAME]) == ["acme.pem", "mta.csr"]
    assert held(tmp_path, [NAME]) == []
    pem_file, request = tmp_path / "new/acme.pem", tmp_path / "requests/mta.csr"
    before = pem_file.read_text()
    asked = x509.load_pem_x509_csr(request.read_bytes())
    assert asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [
        NAME
    ]
    INSTALL.check(pem_file, [NAME])
    (tmp_path / "requests/stray.csr").write_text("")
    pem_file.chmod(0o444)
    assert held(tmp_path, [NAME, "mx.widgets.example"]) == ["acme.pem", "mta.csr", "stray.csr"]
    assert pem_file.read_text() == before and stat.S_IMODE(pem_file.stat().st_mode) == 0o400
    pem_file.unlink()
    assert held(tmp_path, [NAME, "mx.widgets.example"]) == ["acme.pem", "mta.csr"]
    assert pem_file.read_text() != before


def test_a_file_that_holds_something_else_is_nobodys_to_replace(tmp_path: Path) -> None:
    pem_file = tmp_path / "new/acme.pem"
    pem_file.parent.mkdir()
    pem_file.write_text("somebody's notes\n")
    for check_mode in (True, False):
        with pytest.raises(AssertionError, match=r"acme\.pem: holds no key .* Move it away"):
            held(tmp_path, [NAME], check_mode)
    assert pem_file.read_text() == "somebody's notes\n" and not (tmp_path / "requests").exists()
    pem_file.write_text("")
    assert held(tmp_path, [NAME]) == ["acme.pem", "mta.csr"]
