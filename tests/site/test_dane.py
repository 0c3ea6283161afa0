"""TLSA records: what the world finds of a gateway's key in the DNS always fits what the gateway shows, while its key changes as well."""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import tlsa

from tests.site import away, lab, mailflow
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


@pytest.mark.lasting
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


# -- outward ---------------------------------------------------------------------------------------------------------

READER = lab.users()[0]
RIGHT, WRONG = (
    f"carol@{name}.{lab.foreign_domain()}"
    for right in (True, False)
    for name, said in lab.variables()["lab_dane_domains"].items()
    if said == right
)


def can(gateway: lab.Machine) -> bool:
    """Whether the release's sendmail is compiled with it, in its own words."""
    return bool(re.search(r"\bDANE\b", gateway.sh("sendmail -d0.13 -bt </dev/null")))


def client_lines(gateway: lab.Machine, recipient: str) -> str:
    """What the log says of TLS with the mail server of a recipient's domain."""
    server = f"mx-{recipient.split('@')[1]}"
    return gateway.sh(f"grep -F 'STARTTLS=client, relay={server}' /var/log/mail.log || true")


@pytest.mark.requirement("SM-15", side="positive")
def test_only_the_release_that_can_looks_at_keys_of_others(gateway: lab.Machine) -> None:
    """Debian 12's sendmail is compiled without DANE: nothing of it may be set up there, and all of it where it can be."""
    option = gateway.sh("grep '^O DANE=' /etc/mail/sendmail.cf || true").strip()
    resolver = gateway.run("systemctl", "is-active", "unbound", check=False).stdout.strip()
    assert (option, resolver == "active") == (("O DANE=true", True) if can(gateway) else ("", False))


@pytest.mark.requirement("SM-15", side="negative")
def test_who_insists_on_it_is_told_where_it_cannot_be_had(gateway: lab.Machine) -> None:
    extra = json.dumps({"sendmail_dane": "always"})
    argv = ["ansible-playbook", "site.yml", "--check", "--limit", lab.GATEWAY, "--tags", "sendmail", "-e", extra]
    done = lab.ansible(*argv, check=False)
    assert ("is compiled without DANE" in done.stdout, done.returncode == 0) == (not can(gateway), can(gateway)), done.stdout


@pytest.mark.requirement("SM-15", side="positive")
def test_mail_goes_out_to_a_server_with_the_key_that_the_dns_names(gateway: lab.Machine) -> None:
    word, before = lab.token(), client_lines(gateway, RIGHT)
    mailflow.from_the_desk([RIGHT], word, mailflow.ours(READER))
    mailflow.arrived_abroad(word)
    lines = lab.until(lambda: client_lines(gateway, RIGHT).removeprefix(before), "a line about TLS").splitlines()
    # Nobody has signed that server's certificate whom the gateway knows under this name: it is the key alone.
    assert ("verify=TRUSTED" in lines[-1]) == can(gateway), lines


@pytest.mark.requirement("SM-15", side="negative")
def test_mail_for_a_server_with_another_key_waits_and_says_why(gateway: lab.Machine) -> None:
    """Where the release can. Where it cannot the message goes there all the same, which is what the page says of Debian 12."""
    word = lab.token()
    mailflow.from_the_desk([WRONG], word, mailflow.ours(READER))
    if not can(gateway):
        assert mailflow.arrived_abroad(word)
        return
    files = lab.until(lambda: gateway.sh(f"grep -lF '{WRONG}' /var/spool/mqueue/qf* || true").split(), "a message in the queue")
    try:
        lab.until(
            lambda: gateway.sh(f"grep -F '{WRONG}' /var/log/mail.log | grep -F 'DANE check failed' || true"), "the reason"
        )
        assert word not in lab.Machine(lab.STRANGER).sh("cat /var/mail/carol 2>/dev/null || true")
    finally:
        for path in files:
            gateway.sh(f"rm -f {path} {path.replace('/qf', '/df')}")


@pytest.mark.requirement("SM-15", side="negative")
def test_the_gateways_resolver_answers_nobody_else_and_believes_nothing_that_does_not_fit(gateway: lab.Machine) -> None:
    """There is none on Debian 12, whose sendmail would not ask it."""
    port, broken = lab.port("dns"), f"broken.{lab.foreign_domain()}"
    (away_from_here,) = lab.Machine(lab.NAMESERVER).call(
        away.dns, server=lab.address(lab.GATEWAY), port=port, questions=[[lab.domain(), "MX"]]
    )
    assert away_from_here["code"] == "SILENT"
    if not can(gateway):
        assert "unbound" not in gateway.sh("ps -eo comm")
        return
    private = ipaddress.ip_address(lab.address(lab.STORE)).reverse_pointer
    own, foreign, wrong, inside = gateway.call(
        away.dns,
        server="127.0.0.1",
        port=port,
        questions=[[lab.domain(), "MX"], [lab.foreign_domain(), "MX"], [broken, "A"], [private, "PTR"]],
    )
    assert own["authentic"] and foreign["authentic"] and (wrong["code"], wrong["answer"]) == ("SERVFAIL", [])
    assert [value for _name, _kind, value in inside["answer"]] == [lab.fqdn(lab.STORE)] and not inside["authentic"]
