"""TLSA records: what the world finds of a gateway's key in the DNS always fits what the gateway shows, while its key changes as well."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import tlsa

from tests.site import away, lab
from tests.site.authority import PLACE

NAME = f"_25._tcp.{lab.fqdn(lab.GATEWAY)}"


def published() -> list[str]:
    """The keys that the world finds, and can prove to be ours."""
    server = {"server": lab.public(lab.NAMESERVER), "port": lab.port("dns")}
    (answer,) = lab.Machine(lab.STRANGER).call(away.dns, **server, questions=[[NAME, "TLSA"]])
    assert answer["code"] == "NOERROR", answer
    values = [value for _name, _kind, value in answer["answer"]]
    assert all(value.startswith("030101") for value in values), values
    return [value.removeprefix("030101") for value in values]


def shown() -> str:
    """The key that the gateway shows a stranger."""
    place = {"address": lab.public(lab.GATEWAY), "port": lab.port("smtp")}
    found = lab.Machine(lab.STRANGER).call(away.tls_probe, **place, starttls="smtp")
    assert ssl.PEM_cert_to_DER_cert(found["pem"])
    return str(tlsa.tlsa_key(found["pem"]))


@pytest.mark.requirement("SM-15", side="positive")
def test_the_record_names_the_key_that_the_gateway_shows() -> None:
    assert published() == [shown()]


def rotate(*arguments: str, **waits: int) -> str:
    extra = json.dumps({f"tlsa_rotate_{name}": seconds for name, seconds in waits.items()})
    return lab.ansible("ansible-playbook", "playbooks/tlsa_rotate.yml", "-e", extra, *arguments).stdout


def states() -> dict[str, Any]:
    """What is written down of the gateway: state -> key."""
    rows = json.loads((PLACE / "tlsa.json").read_text(encoding="utf-8"))["keys"]
    return {row["state"]: row["key"] for row in rows if row["host"] == lab.GATEWAY}


@pytest.mark.requirement("SM-15", side="positive")
@pytest.mark.requirement("SM-15", side="negative")
def test_a_new_key_is_published_first_then_shown_then_the_old_one_goes() -> None:
    old = shown()
    assert set(states()) == {"serving"}, "a change is under way already"
    lab.ansible("ansible-playbook", "playbooks/lab/certificates.yml", "-e", f"lab_certificates_next={lab.GATEWAY}")
    try:
        assert f"{lab.GATEWAY}: begin" in rotate()
        new = states()["next"]
        assert (set(published()), shown()) == ({old, new}, old)
        # Whoever has asked a moment ago still believes in the old one alone.
        early = rotate("--check")
        assert f"{lab.GATEWAY}: switch not before" in early and "changed=0" in early
        assert f"{lab.GATEWAY}: switch" in rotate(published=0)
        assert (set(published()), shown()) == ({old, new}, new)
        assert f"{lab.GATEWAY}: withdraw" in rotate(published=0, kept=0)
        assert (published(), shown()) == ([new], new)
    finally:
        # As the administrator moves it in the inventory.
        if states().get("serving") != old:
            for path in PLACE.glob(f"{lab.GATEWAY}.next.*"):
                path.rename(PLACE / path.name.replace(".next.", "."))
        else:
            for path in PLACE.glob(f"{lab.GATEWAY}.next.*"):
                path.unlink()
    assert f"{lab.GATEWAY}: there is nothing to do" in rotate("--check")


@pytest.mark.requirement("SM-15", side="negative")
def test_a_certificate_with_a_key_that_nobody_was_told_of_is_refused_before_anything_changes() -> None:
    path = PLACE / f"{lab.GATEWAY}.both.pem"
    saved = path.read_text(encoding="utf-8")
    path.write_text((PLACE / f"{lab.STORE}.both.pem").read_text(encoding="utf-8"), encoding="utf-8")
    try:
        done = lab.ansible("ansible-playbook", "playbooks/validate.yml", check=False)
    finally:
        path.write_text(saved, encoding="utf-8")
    assert done.returncode != 0 and f"site_tls.certificates.{lab.GATEWAY} has the key" in done.stdout, done.stdout
