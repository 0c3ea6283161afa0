"""TLS between mail servers and towards their clients: who gets it, how good it is, and what is not sent without it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.site import authority, away, lab, mailflow

SMTP = lab.port("smtp")
READER = lab.users()[0]
SERVER = {"address": lab.public(lab.GATEWAY), "port": SMTP}
# What a client may want, as OpenSSL has it: all of TLS 1.2 that Mozilla's intermediate profile does not have.
OLD_CIPHERS = (
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-CCM8",
)
PARTNER = f"carol@secure.{lab.foreign_domain()}"


@pytest.fixture(scope="module", params=[lab.GATEWAY, lab.STORE])
def server(request: pytest.FixtureRequest) -> tuple[lab.Machine, dict[str, Any], str]:
    """A mail server, with somebody who may speak to it, and its name."""
    client = lab.Machine(lab.STRANGER if request.param == lab.GATEWAY else lab.DESK)
    return client, {"address": lab.reach(request.param, client.name), "port": SMTP}, lab.fqdn(request.param)


@pytest.mark.requirement("SM-15", side="positive")
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_server_offers_tls_under_its_own_name(version: str, server: tuple[lab.Machine, dict[str, Any], str]) -> None:
    client, place, name = server
    found = client.call(
        away.tls_probe, **place, starttls="smtp", versions=[version], authority=authority.authority(), name=name
    )
    assert found["version"] == version.replace("_", "."), found


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_an_old_protocol_is_refused(version: str, server: tuple[lab.Machine, dict[str, Any], str]) -> None:
    client, place, _name = server
    found = client.call(away.tls_probe, **place, starttls="smtp", versions=[version])
    assert found["version"] == "" and "alert" in found["why"], found


@pytest.mark.requirement("SM-15", side="negative")
def test_an_old_cipher_is_refused(server: tuple[lab.Machine, dict[str, Any], str]) -> None:
    client, place, _name = server
    ask = {**place, "starttls": "smtp", "versions": ["TLSv1_2"]}
    assert client.call(away.tls_probe, **ask, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")["version"] == "TLSv1.2"
    found = {cipher: client.call(away.tls_probe, **ask, ciphers=cipher) for cipher in OLD_CIPHERS}
    assert {cipher: seen["version"] for cipher, seen in found.items()} == dict.fromkeys(OLD_CIPHERS, "")
    assert all("alert" in seen["why"] for seen in found.values()), found


def taken_in(text: str) -> str:
    """How the gateway took a message, in the words of its Received line."""
    unfolded = re.sub(r"\r?\n[ \t]+", " ", text)
    return unfolded[re.search(rf"\bby {re.escape(lab.fqdn(lab.GATEWAY))} with ", unfolded).end() :]  # type: ignore[union-attr]


@pytest.mark.requirement("GW-1", side="positive")
def test_who_has_no_tls_still_sends_from_the_internet(stranger: lab.Machine) -> None:
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(READER)], word)
    text = mailflow.fetched(READER, word)
    assert text and taken_in(text).startswith("ESMTP id ")


@pytest.mark.requirement("SM-14", side="negative")
def test_what_is_said_in_the_clear_is_not_taken_for_encrypted(server: tuple[lab.Machine, dict[str, Any], str]) -> None:
    """A command behind STARTTLS in the same packet, as somebody on the line would put it there: it is never answered."""
    client, place, _name = server
    found = client.call(away.starttls_injection, **place, injected="RSET")
    assert found["after"] == [] and found["quit"].startswith("221 "), found


@pytest.mark.requirement("SM-15", side="negative")
def test_keys_are_agreed_on_the_curves_of_the_profile_alone(server: tuple[lab.Machine, dict[str, Any], str]) -> None:
    client, place, _name = server
    ask = {**place, "starttls": "smtp", "versions": ["TLSv1_3"]}
    assert client.call(away.tls_probe, **ask, curve="secp384r1")["version"] == "TLSv1.3"
    found = client.call(away.tls_probe, **ask, curve="secp521r1")
    assert found["version"] == "" and "alert" in found["why"], found


# -- between gateway and store ---------------------------------------------------------------------------------------


@contextmanager
def seen_in_the_clear(word: str) -> Iterator[Callable[[], int]]:
    """A witness on the firewall: how many packets of SMTP held the word, once nothing more is to come."""
    with lab.Machine(lab.FIREWALL).talk(away.wire_session, port=SMTP, word=word) as talk:
        assert talk.read() == "ready"
        yield lambda: int(talk.ask("enough"))


@pytest.mark.requirement("GW-2", side="positive")
@pytest.mark.requirement("GW-2", side="negative")
def test_mail_is_in_the_clear_on_no_network_between_gateway_and_store_either_way(
    gateway: lab.Machine, store: lab.Machine
) -> None:
    inward, outward = lab.token(), lab.token()
    with seen_in_the_clear(inward) as clear:
        # Over TLS from the start, so that a packet with the word could only be of our own servers.
        commands = ["EHLO probe.example", "STARTTLS", *lab.letter(mailflow.FOREIGNER, [mailflow.ours(READER)], inward)]
        replies = lab.Machine(lab.STRANGER).call(away.smtp, **SERVER, commands=commands)
        assert lab.queue_id(replies[-2])
        text = mailflow.fetched(READER, inward)
        # Who is not to be verified was not asked for a certificate: that is NOT; NO is for who has none to show.
        assert text and re.match(r"ESMTPS \(version=TLSv1\.3 cipher=\S+ verify=NOT\) id ", taken_in(text)), text
        assert clear() == 0
    with seen_in_the_clear(outward) as clear:
        mailflow.from_the_desk([PARTNER], outward, mailflow.ours(READER))
        mailflow.arrived_abroad(outward)
        assert clear() == 0
    relay = f"relay={lab.fqdn(lab.GATEWAY)} [{lab.address(lab.GATEWAY)}]"
    assert "verify=OK" in store.sh(f"grep -F 'STARTTLS=server, {relay}' /var/log/mail.log | tail -1")
    relay = f"relay={lab.fqdn(lab.STORE)} [{lab.address(lab.STORE)}]"
    assert "verify=OK" in gateway.sh(f"grep -F 'STARTTLS=server, {relay}' /var/log/mail.log | tail -1")


def test_the_witness_sees_what_is_in_the_clear() -> None:
    word = lab.token()
    with seen_in_the_clear(word) as clear:
        mailflow.from_the_world([mailflow.ours(READER)], word)
        assert clear() > 0
    assert mailflow.fetched(READER, word) is not None


@pytest.mark.requirement("GW-2", side="negative")
@pytest.mark.requirement("MS-1", side="negative")
@pytest.mark.parametrize(("start", "end"), [(lab.GATEWAY, lab.STORE), (lab.STORE, lab.GATEWAY)])
def test_a_program_on_one_of_ours_that_has_no_certificate_is_not_taken_for_its_mail_server(start: str, end: str) -> None:
    place = {"address": lab.address(end), "port": SMTP}
    client = lab.Machine(start)
    greet = ["EHLO probe.example", "STARTTLS", "EHLO probe.example"]
    envelope = [f"MAIL FROM:<{mailflow.FOREIGNER}>", f"RCPT TO:<{mailflow.ours(READER)}>", "QUIT"]
    clear = client.call(away.smtp, **place, commands=[greet[0], *envelope])
    bare = client.call(away.smtp, **place, commands=[*greet, *envelope])
    shown = client.call(away.smtp, **place, commands=[*greet, *envelope], certificate=mailflow.CERTIFICATE)
    assert clear[-2].startswith("403 4.7.0 ") and bare[-2].startswith("403 4.7.0 "), (clear, bare)
    assert shown[-2].startswith("250 2.1.5 "), shown


def shows(machine: lab.Machine) -> str:
    """The certificate that a mail server shows a client; empty where it offers no TLS."""
    client = lab.Machine(lab.STRANGER if machine.name == lab.GATEWAY else lab.DESK)
    place = {"address": lab.reach(machine.name, client.name), "port": SMTP}
    return str(client.call(away.tls_probe, **place, starttls="smtp").get("pem", ""))


@contextmanager
def shown_by(machine: lab.Machine, both: str | None) -> Iterator[None]:
    """A mail server with another certificate, or with none; as before afterwards."""
    before = shows(machine)
    machine.sh(f"cp -p {mailflow.CERTIFICATE} /run/kept.pem && cp -p /etc/mail/sendmail.cf /run/kept.cf")
    try:
        if both:
            machine.run("tee", mailflow.CERTIFICATE, text=both)
        else:
            machine.sh("sed -i 's/^O ServerCertFile=/#&/' /etc/mail/sendmail.cf")
        machine.run("systemctl", "reload", "sendmail")
        lab.until(lambda: shows(machine) == (authority.of(both) if both else ""), "the other certificate")
        yield
    finally:
        machine.sh(f"cp -p /run/kept.pem {mailflow.CERTIFICATE} && cp -p /run/kept.cf /etc/mail/sendmail.cf && rm /run/kept.*")
        machine.run("systemctl", "reload", "sendmail")
        lab.until(lambda: shows(machine) == before, "the certificate from before")


@pytest.mark.requirement("GW-2", side="negative")
@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.parametrize(
    "made",
    [
        lambda name: authority.certificate(name, stranger=True),
        lambda name: authority.certificate(name.replace(lab.STORE, lab.GATEWAY)),
        lambda name: authority.certificate(name, days=-1),
        None,
    ],
    ids=["another authority's", "another name's", "an old one", "none"],
)
def test_mail_waits_at_the_gateway_while_the_store_cannot_show_that_it_is_the_store(
    made: Callable[[str], str] | None, gateway: lab.Machine, store: lab.Machine
) -> None:
    both = made(lab.fqdn(lab.STORE)) if made else None
    word = lab.token()
    with shown_by(store, both), seen_in_the_clear(word) as clear:
        commands = ["EHLO probe.example", "STARTTLS", *lab.letter(mailflow.FOREIGNER, [mailflow.ours(READER)], word)]
        replies = lab.Machine(lab.STRANGER).call(away.smtp, **SERVER, commands=commands)
        number = lab.queue_id(replies[-2])
        said = lab.until(
            lambda: gateway.sh(f"grep -E '{number}: to=.*stat=(Deferred|Service unavailable)' /var/log/mail.log || true"),
            "an attempt",
        )
        assert "dsn=4.7.0" in said, said
        assert clear() == 0
    mailflow.pushed(gateway)
    assert mailflow.fetched(READER, word) is not None


@pytest.fixture
def partner_in_the_clear() -> Iterator[None]:
    """The foreign mail server without TLS; as before at the latest after the test."""
    mailflow.partner_has_tls(False)
    yield
    mailflow.partner_has_tls(True)


@pytest.mark.requirement("GW-5", side="positive")
@pytest.mark.requirement("GW-5", side="negative")
@pytest.mark.usefixtures("partner_in_the_clear")
def test_a_domain_that_must_be_verified_gets_nothing_else_and_others_get_what_is_possible(gateway: lab.Machine) -> None:
    held, anyhow = lab.token(), lab.token()
    with seen_in_the_clear(held) as clear:
        mailflow.from_the_desk([PARTNER], held, mailflow.ours(READER))
        mailflow.from_the_desk([mailflow.FOREIGNER], anyhow, mailflow.ours(READER))
        mailflow.arrived_abroad(anyhow)
        number = lab.until(
            lambda: gateway.sh(f"cd /var/spool/mqueue && grep -l {held} df* 2>/dev/null | cut -c3- || true").strip(), "its data"
        )
        # Tried, and refused by ourselves.
        lab.until(lambda: gateway.sh(f"grep -E '{number}: ruleset=tls_rcpt, .* reject=403' /var/log/mail.log || true"), "a try")
        assert clear() == 0
    mailflow.partner_has_tls(True)
    mailflow.pushed(gateway)
    assert "TLSv1" in mailflow.arrived_abroad(held)


# -- renewal ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SM-6", side="positive")
@pytest.mark.requirement("SM-6", side="negative")
def test_a_renewed_certificate_is_shown_to_the_next_client_and_drops_no_session(
    gateway: lab.Machine, stranger: lab.Machine
) -> None:
    pid = gateway.sh("systemctl show -P MainPID sendmail")
    both = authority.certificate(lab.fqdn(lab.GATEWAY))

    word = lab.token()
    *transaction, _quit = lab.letter(mailflow.FOREIGNER, [mailflow.ours(READER)], word)[1:]
    with stranger.talk(away.smtp_session, **SERVER) as session:
        session.read()
        for command in ("EHLO probe.example", "STARTTLS", "EHLO probe.example"):
            assert session.ask(command)[:1] == "2"
        half = [session.ask(command) for command in transaction[:-1]]
        assert half[-1].startswith("354 ")
        with shown_by(gateway, both):
            # In the midst of a message all the while.
            assert lab.queue_id(session.ask(transaction[-1]))
            # The store believes in it as well.
            assert mailflow.fetched(READER, word) is not None
            assert gateway.sh("systemctl show -P MainPID sendmail") == pid


# -- the store's users -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("MS-3", side="positive")
@pytest.mark.parametrize(("service", "starttls"), [("pop3", "pop3"), ("pop3s", "")])
def test_a_desk_knows_the_store_by_its_certificate(service: str, starttls: str, desk: lab.Machine) -> None:
    place = {"address": mailflow.STORE, "port": lab.port(service)}
    found = desk.call(away.tls_probe, **place, starttls=starttls, authority=authority.authority(), name=lab.fqdn(lab.STORE))
    assert found["version"] == "TLSv1.3", found
    other = desk.call(away.tls_probe, **place, starttls=starttls, authority=authority.authority(), name=lab.fqdn(lab.GATEWAY))
    assert other["version"] == "" and "match" in other["why"], other
