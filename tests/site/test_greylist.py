"""Mail that is only doubtful is put off until its sender comes back: who waits, how long, who does not, and where it is remembered.

It is sent from a host that the inventory does not name as known (content_filter_greylist_known_networks), as most tests' mail is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.site import away, lab, mailflow
from tests.site.test_authentication import DOUBTFUL, STRICT, signed
from tests.site.test_filters import DEFAULTS, GATEWAY, PORT, SETTINGS, letter

READER = lab.users()[0]
SENDER = lab.Machine(lab.TRAVELLERS[0])
DELAY: int = SETTINGS["content_filter_greylist_delay"]
UNIT = "redis-server.service"
SOCKET = "/run/content-filter-greylist/redis.sock"

positive = pytest.mark.requirement("SM-14", side="positive")
negative = pytest.mark.requirement("SM-14", side="negative")


def doubtful(word: str) -> str:
    """A message as programs write it that know little of mail: it has no date and no id. And no two are alike."""
    return "\r\n".join(line for line in letter(word).split("\r\n") if not line.startswith(("Date: ", "Message-ID: ")))


def stranger() -> str:
    """A sender of whom nobody has heard; his domain says that his mail comes from elsewhere."""
    return f"{lab.token()}@{lab.foreign_domain()}"


def verdict(text: str, sender: str, start: lab.Machine = SENDER) -> str:
    """The reply to a message."""
    commands = ["EHLO probe.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{mailflow.ours(READER)}>", "DATA", text, "QUIT"]
    replies: list[str] = start.call(away.smtp, address=GATEWAY, port=PORT, commands=commands)
    return replies[5]


def put_off(reply: str) -> bool:
    """Whether a sender was told to come back."""
    return reply.startswith("451 4.7.1 ") and "second attempt" in reply


@positive
def test_what_is_doubtful_is_taken_at_a_later_attempt_and_then_at_once_also_after_a_restart(gateway: lab.Machine) -> None:
    sender, first = stranger(), lab.token()
    begun = time.monotonic()
    assert put_off(verdict(doubtful(first), sender))
    early = verdict(doubtful(first), sender)
    assert put_off(early) or time.monotonic() - begun >= DELAY, early
    lab.until(lambda: verdict(doubtful(first), sender).startswith("250 "), "a later attempt")
    assert time.monotonic() - begun >= DELAY - 1  # the list counts whole seconds
    assert mailflow.fetched(READER, first) is not None
    second = lab.token()
    assert verdict(doubtful(second), sender).startswith("250 ")
    gateway.run("systemctl", "restart", UNIT, "rspamd.service")
    third = lab.token()
    assert verdict(doubtful(third), sender).startswith("250 ")
    assert [mailflow.fetched(READER, word) is not None for word in (second, third)] == [True, True]


@positive
def test_nobody_waits_whose_mail_is_not_doubtful_or_who_is_known_by_his_network_or_his_signature() -> None:
    for what, text, sender, start in (
        ("harmless", letter, stranger(), SENDER),
        ("a known network", doubtful, stranger(), lab.Machine(lab.STRANGER)),
        ("a known domain's signature", lambda word: signed(doubtful(word), STRICT), f"{lab.token()}@{STRICT}", SENDER),
    ):
        word = lab.token()
        reply = verdict(text(word), sender, start)
        assert reply.startswith("250 "), (what, reply)
        assert mailflow.fetched(READER, word) is not None
    # The name alone is anybody's, and anybody can sign for himself.
    assert put_off(verdict(doubtful(lab.token()), stranger()))
    assert put_off(verdict(signed(doubtful(lab.token()), DOUBTFUL), f"{lab.token()}@{DOUBTFUL}"))


@pytest.fixture
def forgetful(gateway: lab.Machine) -> Iterator[None]:
    """A gateway whose list of senders is away; there again after the test."""
    gateway.run("systemctl", "stop", UNIT)
    yield
    gateway.run("systemctl", "start", UNIT)


@positive
@pytest.mark.usefixtures("forgetful")
def test_mail_passes_while_the_list_is_away() -> None:
    word = lab.token()
    assert verdict(doubtful(word), stranger()).startswith("250 ")
    assert mailflow.fetched(READER, word) is not None


@negative
def test_the_list_is_the_filters_alone_and_has_no_more_room_than_it_was_given(gateway: lab.Machine) -> None:
    people = ["_rspamd", "smmta", "smmsp", "clamav", lab.NOBODY]
    assert [user for user in people if gateway.call(away.socket_opens, path=SOCKET, user=user)] == ["_rspamd"]
    assert [line for line in gateway.sh("ss -Hlntup").splitlines() if "redis" in line] == []
    readable = gateway.run("ls", "/var/lib/content-filter-greylist", user=lab.NOBODY, check=False)
    assert readable.returncode != 0 and "Permission denied" in readable.stderr
    said = gateway.run("redis-cli", "-s", SOCKET, "CONFIG", "GET", "maxmemory*").stdout.split()
    wanted = DEFAULTS["content_filter_greylist_memory"] * 1024 * 1024
    assert {"maxmemory": str(wanted), "maxmemory-policy": "volatile-ttl"}.items() <= dict(
        zip(said[::2], said[1::2], strict=True)
    ).items()
