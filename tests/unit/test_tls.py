"""Who shows whom what certificate, and what the access map makes of a policy of TLS."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import sendmail, tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.unit.inventory import BOTH, CERTIFICATE, ROOT, lab_site
from tests.unit.test_contracts import load

SOUND: dict[str, Any] = {"authority": CERTIFICATE, "certificates": {"smtp1": BOTH, "mail": "/etc/acme/mail.pem"}}


def rows(*policy: dict[str, Any]) -> list[str]:
    """What a policy adds to the access map."""
    plain = sendmail.sendmail_access([], tls=[]).splitlines()
    return [row for row in sendmail.sendmail_access([], tls=list(policy)).splitlines() if row not in plain]


def test_without_tls_the_access_map_says_nothing_of_it() -> None:
    assert "TLS" not in sendmail.sendmail_access(["10.1.0.25"])
    assert "Srv_Features:127.0.0.1\tS" in sendmail.sendmail_access([], tls=[]).splitlines()
    assert "Srv_Features:IPv6:0:0:0:0:0:0:0:1\tS" in sendmail.sendmail_access([], tls=[], ipv6=True).splitlines()


def test_who_comes_in_by_the_policy_is_shown_the_certificate_that_own_hosts_know() -> None:
    own = "/etc/mail/certificates/mta.pem"
    policy = [
        {"peer": "10.1.0.25", "level": "verified", "name": "mail.a.example", "direction": "both"},
        {"peer": "b.example", "level": "encrypted"},
        {"peer": "10.1.0.26", "level": "none", "direction": "in"},
    ]
    shown = [
        row
        for row in sendmail.sendmail_access([], tls=policy, own_certificate=own).splitlines()
        if row.startswith("TLS_Srv_Features")
    ]
    assert shown == [f"TLS_Srv_Features:10.1.0.25\tCertFile={own};KeyFile={own}"]
    assert "TLS_Srv_Features" not in sendmail.sendmail_access([], tls=policy)


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"peer": "10.1.0.25", "level": "none"}, ["Try_TLS:10.1.0.25\tNO"]),
        ({"peer": "10.1.0.0/24", "level": "none", "direction": "both"}, ["Try_TLS:10.1.0\tNO", "Srv_Features:10.1.0\tS"]),
        ({"peer": "Mx.B.example", "level": "opportunistic"}, ["TLS_Srv:mx.b.example\tOK"]),
        ({"peer": "b.example", "level": "encrypted"}, ["TLS_Srv:b.example\tTEMP+ENCR:128"]),
        ({"peer": "b.example", "level": "verified"}, ["TLS_Srv:b.example\tTEMP+VERIFY:128+CN"]),
        (
            {"peer": "10.1.0.25", "level": "verified", "name": "mail.a.example", "direction": "both"},
            [
                "TLS_Srv:10.1.0.25\tTEMP+VERIFY:128+CN:mail.a.example",
                "Srv_Features:10.1.0.25\tv",
                "TLS_Clt:10.1.0.25\tTEMP+VERIFY:128+CN:mail.a.example",
            ],
        ),
        (
            {"peer": "2001:db8::1", "level": "encrypted", "direction": "in"},
            ["Srv_Features:IPv6:2001:db8:0:0:0:0:0:1\tV", "TLS_Clt:IPv6:2001:db8:0:0:0:0:0:1\tTEMP+ENCR:128"],
        ),
        ({"domain": "B.example", "level": "encrypted"}, ["TLS_Rcpt:b.example\tTEMP+ENCR:128"]),
        (
            {"domain": "b.example", "level": "verified", "name": "mx.c.example"},
            ["TLS_Rcpt:b.example\tTEMP+VERIFY:128+CN:mx.c.example"],
        ),
    ],
)
def test_each_entry_of_the_policy_is_in_the_access_map(entry: dict[str, Any], wanted: list[str]) -> None:
    assert rows(entry) == wanted
    assert sendmail.sendmail_tls_errors([entry]) == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ([{"level": "none"}], "give one of peer and domain"),
        ([{"level": "none", "peer": "b.example", "domain": "b.example"}], "give one of peer and domain"),
        ([{"level": "none", "peer": "b"}], "peer is 'b'; give an address, a network or a name with a dot"),
        ([{"level": "encrypted", "domain": "10.1.0.25"}], "a domain is a recipient's"),
        ([{"level": "none", "domain": "b.example"}], "a domain is a recipient's"),
        ([{"level": "encrypted", "domain": "b.example", "direction": "in"}], "a domain is a recipient's"),
        ([{"level": "encrypted", "peer": "10.0.0.0/7"}], ""),
        ([{"level": "encrypted", "peer": "2001:c00::/23"}], "too wide"),
        ([{"level": "verified", "peer": "10.1.0.25"}], "an address cannot be verified by itself"),
        ([{"level": "verified", "peer": "b.example", "direction": "in"}], "an address cannot be verified by itself"),
        ([{"level": "encrypted", "peer": "b.example", "name": "mx.b.example"}], "only where level is verified"),
        ([{"level": "verified", "peer": "b.example", "name": "CN:x++y"}], "give a full name"),
        (
            [{"level": "none", "peer": "b.example", "direction": "both"}, {"level": "encrypted", "peer": "B.example"}],
            "has an entry for this direction already",
        ),
    ],
)
def test_an_entry_that_could_not_hold_is_refused(policy: list[dict[str, Any]], said: str) -> None:
    errors = sendmail.sendmail_tls_errors(policy)
    assert [said in error for error in errors] == [True] * bool(said), errors


def test_gateway_and_store_verify_each_other_and_nobody_else() -> None:
    site = lab_site()
    assert tls.tls_policy(SOUND, site, "smtp1", ["smtp1"], ["mail"]) == [
        {"peer": peer, "direction": "both", "level": "verified", "name": "mail.widgets.example"}
        for peer in ("10.1.0.25", "2001:db8:a1:100::25")
    ]
    assert tls.tls_policy(SOUND, site, "mail", ["smtp1"], ["mail"]) == [
        {"peer": peer, "direction": "both", "level": "verified", "name": "smtp1.widgets.example"}
        for peer in ("10.1.1.11", "2001:db8:a1:50::11")
    ]
    assert (
        tls.tls_policy(SOUND, site, "dns1", ["smtp1"], ["mail"]) == tls.tls_policy({}, site, "mail", ["smtp1"], ["mail"]) == []
    )


def test_how_good_it_is_among_ours_is_the_inventorys_and_only_gateways_have_others() -> None:
    added = {"domain": "b.example", "level": "encrypted"}
    own = {**SOUND, "between": "none", "policy": [added]}
    assert tls.tls_policy(own, lab_site(), "mail", ["smtp1"], ["mail"]) == [
        {"peer": peer, "direction": "both", "level": "none"} for peer in ("10.1.1.11", "2001:db8:a1:50::11")
    ]
    assert tls.tls_policy(own, lab_site(), "smtp1", ["smtp1"], ["mail"])[2:] == [added]


def test_two_stores_are_peers_of_each_other_by_all_their_addresses() -> None:
    site: dict[str, Any] = {
        "zones": {"a": {"network": "10.0.0.0/24", "network6": "2001:db8::/64", "level": 100}},
        "hosts": {
            name: {"interfaces": {"a": {"address": f"10.0.0.{number}", "address6": f"2001:db8::{number}"}}}
            for number, name in enumerate(("m1", "m2"), 1)
        },
        "domain": "a.example",
    }
    found = tls.tls_policy({"certificates": {"m1": BOTH, "m2": BOTH}}, site, "m1", [], ["m1", "m2"])
    assert [(row["peer"], row["name"]) for row in found] == [("10.0.0.2", "m2.a.example"), ("2001:db8::2", "m2.a.example")]


def test_a_certificate_is_a_text_or_a_path() -> None:
    assert tls.tls_path(BOTH, "/x.pem") == tls.tls_path("", "/x.pem") == "/x.pem"
    assert tls.tls_path("/etc/acme/mail.pem", "/x.pem") == "/etc/acme/mail.pem"
    assert tls.tls_text(f"\n{BOTH}\n") == BOTH
    assert tls.tls_text("/etc/acme/mail.pem") == tls.tls_text("") == tls.tls_text(None) == ""


def test_sound_certificates_are_not_refused_and_none_are_none() -> None:
    assert tls.tls_errors(SOUND, ["smtp1"], ["mail"]) == tls.tls_errors({}, ["smtp1"], ["mail"]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"authorities": CERTIFICATE}, "unknown key authorities"),
        ({"certificates": {}}, "must have a certificate for each of smtp1, mail"),
        ({"certificates": {"smtp1": BOTH}}, "lacks mail"),
        ({"certificates": {**SOUND["certificates"], "dns1": BOTH}}, "site_tls.certificates.dns1: allowed are"),
        ({"certificates": {**SOUND["certificates"], "smtp1": CERTIFICATE}}, "must be the text of a key and its certificate"),
        ({"authority": ""}, "site_tls.authority must be the text"),
        ({"authority": BOTH}, "holds a private key"),
        ({"between": "often"}, "site_tls.between is 'often'"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    (error,) = tls.tls_errors({**SOUND, **change}, ["smtp1"], ["mail"])
    assert said in error


def test_all_programs_take_the_same_ciphers() -> None:
    """Each role is by itself, so the list is in all of them."""
    roles = {name: load(ROOT / f"roles/{name}/vars/main.yml")[f"__{name}_ciphers"] for name in ("mta_sts", "pop3", "sendmail")}
    assert roles["mta_sts"] == roles["pop3"] == roles["sendmail"]


# -- authorities by name ----------------------------------------------------------------------------------------------


def authority(*parts: tuple[x509.ObjectIdentifier, str]) -> str:
    """The certificate of an authority of that name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=900)
    )
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


NAMES = [
    [(NameOID.COMMON_NAME, "Lab authority")],
    [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "  Acmé   GmbH (Test) + Söhne"),
        (NameOID.COMMON_NAME, "Root CA <1>"),
    ],
    [(NameOID.ORGANIZATION_NAME, "A/B"), (NameOID.LOCALITY_NAME, "\u8a8d")],
    [
        (NameOID.DOMAIN_COMPONENT, "example"),
        (NameOID.EMAIL_ADDRESS, "CA@widgets.example"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60),
    ],
]


def openssl(option: str, pem: str) -> str:
    """What OpenSSL itself says of a certificate."""
    argv = ["openssl", "x509", "-noout", *option.split()]
    return subprocess.run(argv, input=pem, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("parts", NAMES)
def test_an_authority_is_named_and_found_as_openssl_does_it(parts: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    pem = authority(*parts)
    said = openssl("-subject -nameopt compat", pem).removeprefix("subject=").lstrip()
    assert tls.tls_subjects(pem) == [said]
    assert [row["path"] for row in tls.tls_hashed(pem, "/d")] == [f"/d/{openssl('-subject_hash', pem)}.0"]


def test_authorities_of_one_name_are_numbered_and_what_is_no_certificate_is_passed_over() -> None:
    both = authority(*NAMES[0]) + CERTIFICATE + authority(*NAMES[0])
    first, second = tls.tls_hashed(both, "/d")
    assert (first["path"][:-1], first["path"][-1], second["path"][-1]) == (second["path"][:-1], "0", "1")
    assert first["content"] != second["content"] and tls.tls_subjects(both) == ["/CN=Lab authority"] * 2
    assert tls.tls_hashed("", "/d") == [] and tls.tls_subjects("") == []


def test_where_others_policies_are_kept_to_no_public_authority_vouches_for_who_is_to_be_verified() -> None:
    policy = [
        {"peer": "10.1.0.25", "level": "verified", "name": "mail.a.example", "direction": "both"},
        {"domain": "B.example", "level": "verified"},
    ]
    text = sendmail.sendmail_access([], tls=policy, issuers=['/O=Acme (Test) + "Co"/CN=Root <1>\\xC3']).splitlines()
    assert [row for row in text if row.startswith(("TLS_", "Authority"))] == [
        # A name with a * ends sendmail's reading of what stands behind it: so the issuer stands before it.
        "TLS_Srv:10.1.0.25\tTEMP+VERIFY:128+CITag:Authority++CN:mail.a.example",
        "TLS_Clt:10.1.0.25\tTEMP+VERIFY:128+CITag:Authority++CN:mail.a.example",
        "TLS_Rcpt:b.example\tTEMP+VERIFY:128+CITag:Authority++CN",
        "Authority:/O=Acme+20+28Test+29+20+2B+20+22Co+22/CN=Root+20+3C1+3E+5CxC3\tOK",
    ]


def test_nobody_is_asked_about_own_domains_and_those_that_the_site_has_a_word_for() -> None:
    policy = [{"domain": "Partner.example", "level": "encrypted"}, {"peer": "10.1.0.25", "level": "none"}]
    assert sendmail.sendmail_sts(["widgets.example"], policy) == "widgets.example\tnone\npartner.example\tnone\n"
