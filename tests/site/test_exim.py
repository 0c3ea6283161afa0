"""Exim as a peer: a second foreign mail system, of another make than the stranger's Postfix, with a domain of its own.

How it took and sent a message stands in its log: X= the version of TLS, L commands in one packet (PIPELINING), K a message in chunks
(BDAT), which it offers and sendmail does not know; C= what the other side said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.site import away, lab, mailflow
from tests.site.test_authentication import header
from tests.site.test_shapes import SHAPES, body_of, posted

READER = lab.users()[0]
PEER = lab.Machine("branch")
DOMAIN = str(lab.variables()["lab_exim_domain"]).replace("{{ lab_foreign_domain }}", lab.foreign_domain())
USER = str(lab.variables()["lab_exim_user"])
MAILBOX, ADDRESS = f"/var/mail/{USER}", f"{USER}@{DOMAIN}"
LOG = "/var/log/exim4/mainlog"

SIZE = lab.limit_of("sendmail_max_message_size") // 74 - 200
LARGE = [f"{number:08} {'x' * 63}" for number in range(SIZE)]


@pytest.fixture(scope="module", autouse=True)
def room() -> Iterator[None]:
    """Its mailbox empty, before and afterwards: large messages are in it meanwhile."""
    PEER.run("rm", "-f", MAILBOX)
    yield
    PEER.run("rm", "-f", MAILBOX)


def sent(recipient: str, word: str, shape: tuple[list[str], list[str]] | None = None, sender: str = ADDRESS) -> list[str]:
    """A user there sends a message; what the log says of it, once a first attempt was made."""
    headers, body = shape or ([], [word])
    top = [
        f"From: <{ADDRESS}>",
        f"To: <{recipient}>",
        f"Subject: {word}",
        "MIME-Version: 1.0",
    ]
    text = "\n".join([*top, *headers, "", *body, ""]).encode("latin-1").decode()
    PEER.run("exim4", "-odi", "-i", "-f", sender or "<>", recipient, text=text)
    return told(word)


def told(word: str) -> list[str]:
    """The lines of its log about the message with a subject."""
    script = f'id=$(grep -m1 -F \'T="{word}"\' {LOG} | cut -d\' \' -f3); test -z "$id" || grep -F " $id " {LOG}'
    return PEER.sh(script).splitlines()


def over(word: str) -> bool:
    """Whether the message with a subject has come, and nothing more is to be done about it."""
    return any(line.endswith(" Completed") for line in told(word))


def brought(word: str) -> bool:
    """The same after what its daemon does every ten seconds: a run through the queue, which tries what is due again."""
    PEER.run("exim4", "-q")
    return over(word)


def kept(word: str) -> str:
    """The message with a word out of its user's mailbox, once it is there."""
    text = lab.until(lambda: PEER.run("grep", "-h", "-B60", "-A60", word, MAILBOX, check=False).stdout, f"{word} in {MAILBOX}")
    return [part for part in re.split(r"(?m)^From ", text) if word in part][-1]


def test_exim_offers_the_gateway_what_sendmail_does_not_know(gateway: lab.Machine) -> None:
    """So that its absence in what came (K, SMTPUTF8) is the client's choice, and no message is lost over an offer."""
    said = gateway.call(
        away.smtp, address=lab.address(PEER.name), port=lab.port("smtp"), commands=["EHLO probe.example", "QUIT"]
    )[1]
    offered = {line[4:].split()[0] for line in said.splitlines()}
    assert {"CHUNKING", "PIPELINING", "8BITMIME", "SIZE", "STARTTLS"} <= offered, said


@pytest.mark.requirement("GW-5", side="positive")
@pytest.mark.parametrize("shape", [*SHAPES, "25 MB"])
def test_a_message_to_exim_arrives_encrypted_signed_and_as_it_was_sent(
    shape: str, desk: lab.Machine, store: lab.Machine
) -> None:
    word = lab.token()
    posted(desk, mailflow.STORE, mailflow.ours(READER), ADDRESS, word, SHAPES.get(shape, ([], LARGE)))

    def arrived() -> bool:
        # A filter that takes long over a large message may have put it off: its issue 4342 in Debian 12.
        mailflow.pushed(store)
        return over(word)

    lab.until(lambda: over(word) or arrived(), "the message in its mailbox", deadline=120)
    assert PEER.call(away.mbox_body, path=MAILBOX, word=word, deadline=20) == SHAPES.get(shape, ([], LARGE))[1]
    came = next(line for line in told(word) if " <= " in line)
    assert f" H={lab.fqdn(lab.GATEWAY)} " in came and " X=TLS1.3:" in came and " K " not in came, came
    assert f" DKIM={lab.domain()} " in came, came


@pytest.mark.requirement("GW-1", side="positive")
@pytest.mark.parametrize("shape", [*SHAPES, "25 MB"])
def test_a_message_from_exim_arrives_as_it_was_sent_and_is_known_to_be_its_own(shape: str) -> None:
    word = lab.token()
    wanted = SHAPES.get(shape, ([], LARGE))
    sent(mailflow.ours(READER), word, wanted)
    lab.until(lambda: over(word) or brought(word), "the message brought", deadline=120)
    lines = told(word)
    (went,) = [line for line in lines if " => " in line]
    assert " X=TLS1.3:" in went and " L " in went and " K " not in went, went
    text = mailflow.fetched(READER, word, deadline=60)
    assert text is not None and body_of(text) == wanted[1]
    (results,) = header(text, "Authentication-Results")
    # It signs nothing that is very large.
    proofs = {"spf=pass", "dmarc=pass"} | ({"dkim=pass"} if shape in SHAPES else set())
    assert proofs <= set(re.findall(r"\b(?:dkim|spf|dmarc)=\w+", results)), results
    assert re.search(rf"by {re.escape(lab.fqdn(lab.GATEWAY))} with ESMTPS ", re.sub(r"\s+", " ", text)), text


@pytest.mark.requirement("GW-1", side="positive")
def test_a_message_that_is_put_off_is_brought_again_by_exims_queue_runner(gateway: lab.Machine) -> None:
    word = lab.token()
    units = ["rspamd.socket", "rspamd.service"]
    try:
        gateway.run("systemctl", "stop", *units)
        lines = sent(mailflow.ours(READER), word)
    finally:
        gateway.run("systemctl", "start", *units)
    assert [line for line in lines if " == " in line and ": 451 " in line], lines
    lab.until(lambda: brought(word), "the message brought again")
    assert mailflow.fetched(READER, word) is not None


@pytest.mark.requirement("GW-1", side="negative")
def test_exims_user_is_told_of_a_recipient_who_is_not_here() -> None:
    word = lab.token()
    lines = sent(f"nobody.at.all@{lab.domain()}", word)
    assert [line for line in lines if " ** " in line and ": 550 5.1.1 " in line], lines
    report = kept(word)
    assert "multipart/report" in report and re.search(r"(?m)^Status: 5\.", report) and "550 5.1.1" in report, report


@pytest.mark.requirement("GW-5", side="negative")
def test_our_user_is_told_of_a_recipient_whom_exim_does_not_know() -> None:
    word = lab.token()
    mailflow.from_the_desk([f"nobody@{DOMAIN}"], word, mailflow.ours(READER))
    report = mailflow.fetched(READER, word)
    assert report is not None and "multipart/report" in report and re.search(r"(?m)^Status: 5\.", report), report


@pytest.mark.requirement("GW-1", side="positive")
def test_a_report_that_exim_makes_after_it_took_a_message_arrives_though_it_has_no_sender() -> None:
    word = lab.token()
    mailflow.from_the_desk([f"moved@{DOMAIN}"], word, mailflow.ours(READER))
    report = mailflow.fetched(READER, word)
    assert report is not None and "this mailbox has moved" in report
    assert set(header(report, "Return-Path")) == {"<>"} and "dkim=pass" in " ".join(header(report, "Authentication-Results"))
