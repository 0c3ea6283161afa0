"""What the gateway does when somebody asks for too much: it says no to that one, goes on with the others, and recovers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.site import away, lab, mailflow

SMTP = lab.port("smtp")
READER = lab.users()[0]
SERVER = {"address": lab.public(lab.GATEWAY), "port": SMTP}
# As the gateway's neighbour reaches it, a client with no exemption from the limits.
NEAR = {"address": lab.reach(lab.GATEWAY, lab.NAMESERVER), "port": SMTP}
# Speaks SMTP with a sendmail of its own, a reply for a command: it refuses to be told several at once.
ON_A_FULL_DISK = """
import subprocess, sys
argv = ["/usr/sbin/sendmail", "-Am", "-O", "MinFreeBlocks=1000000000", "-bs"]
smtp = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(smtp.stdout.readline().strip())
for line in sys.stdin:
    smtp.stdin.write(line)
    smtp.stdin.flush()
    print(smtp.stdout.readline().strip())
"""
PATIENCE = 60  # seconds: connections beyond the rate are served one a second


def ask(client: lab.Machine, *commands: str) -> list[str]:
    """Replies to commands after EHLO."""
    replies: list[str] = client.call(away.smtp, **SERVER, commands=["EHLO probe.example", *commands])
    return replies[2:]


@pytest.mark.requirement("SM-13", side="positive")
def test_recipients_beyond_the_limit_are_to_come_back_later(stranger: lab.Machine) -> None:
    limit = lab.limit_of("sendmail_max_recipients")
    recipient = f"RCPT TO:<{mailflow.ours(READER)}>"
    replies = ask(stranger, f"MAIL FROM:<{mailflow.FOREIGNER}>", *[recipient] * (limit + 2), "RSET", "NOOP")
    assert {reply[:3] for reply in replies[1 : limit + 1]} == {"250"}
    assert [reply[:9] for reply in replies[limit + 1 : limit + 3]] == ["452 4.5.3"] * 2
    assert replies[-1].startswith("250")


@pytest.mark.requirement("SM-13", side="positive")
def test_a_message_that_says_it_is_too_large_is_refused_before_it_is_sent(stranger: lab.Machine) -> None:
    limit = lab.limit_of("sendmail_max_message_size")
    command = f"MAIL FROM:<{mailflow.FOREIGNER}> SIZE="
    large, _reset, small = ask(stranger, f"{command}{limit + 1}", "RSET", f"{command}{limit}")
    assert large.startswith("552 5.2.3 ") and small.startswith("250 ")


@pytest.mark.requirement("SM-13", side="positive")
def test_headers_beyond_the_limit_are_refused(stranger: lab.Machine) -> None:
    line = "X-Filler: " + "x" * 900 + "\r\n"
    headers = line * (lab.limit_of("sendmail_max_headers") // len(line) + 2)
    text = headers + lab.message(mailflow.FOREIGNER, mailflow.ours(READER), lab.token())
    envelope = [f"MAIL FROM:<{mailflow.FOREIGNER}>", f"RCPT TO:<{mailflow.ours(READER)}>", "DATA"]
    *_transaction, reply = ask(stranger, *envelope, text)
    assert reply.startswith("552 5.6.0 ")


@pytest.mark.requirement("SM-13", side="positive")
def test_on_a_full_disk_mail_is_to_come_back_later(gateway: lab.Machine) -> None:
    """Full in sendmail's eyes: it is told to keep more free than there is."""
    own = f"O MinFreeBlocks={lab.limit_of('sendmail_min_free_blocks')}"
    assert own in gateway.sh("cat /etc/mail/sendmail.cf").splitlines()
    said = gateway.run("python3", "-c", ON_A_FULL_DISK, text=f"HELO localhost\nMAIL FROM:<{mailflow.FOREIGNER}>\nQUIT\n").stdout
    assert "\n452 4.4.5 " in said


@pytest.fixture
def crowd(nameserver: lab.Machine) -> Iterator[ExitStack]:
    """As many connections from one address as are allowed at once, all of them silent."""
    with ExitStack() as stack:
        for _ in range(lab.limit_of("sendmail_client_connections")):
            assert stack.enter_context(nameserver.talk(away.smtp_session, **NEAR)).read().startswith("220 ")
        yield stack


@pytest.mark.requirement("SM-13", side="positive")
@pytest.mark.requirement("SM-13", side="negative")
def test_one_address_cannot_take_all_connections_and_is_served_again_once_it_lets_go(
    crowd: ExitStack, gateway: lab.Machine, nameserver: lab.Machine
) -> None:
    pid = gateway.sh("systemctl show -P MainPID sendmail")
    greeting = nameserver.call(away.smtp, **NEAR, commands=[])[0]
    assert greeting.startswith("421 ")
    # Others notice nothing.
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(READER)], word)
    assert mailflow.fetched(READER, word) is not None
    crowd.close()
    lab.until(
        lambda: nameserver.call(away.smtp, **NEAR, commands=["QUIT"])[0].startswith("220 "),
        "service for the same address",
        PATIENCE,
    )
    assert gateway.sh("systemctl show -P MainPID sendmail") == pid
