"""Submission: users hand in mail at ports of their own, with a password under TLS, and under their own addresses alone."""

from __future__ import annotations

import time

import pytest

from tests.site import away, lab, mailflow

USER, OTHER = lab.users()[:2]
HELLO = "EHLO probe.example"
PORTS = ("submission", "submissions")
NOT_OWN = "553 5.7.1 "
# Names that lead to USER alone, and one that leads to others as well.
OWN_ALIAS = next(name for name in lab.people() if lab.behind(name) == {USER})
LIST = next(name for name in lab.people() if len(lab.behind(name)) > 1)
STARTS = [lab.DESK, *lab.TRAVELLERS[:1]]


def log_in(user: str = USER, meant: str = "") -> str:
    """The command of a user who has his password."""
    return mailflow.auth(user, lab.password(user), meant)


def envelope(sender: str, *recipients: str) -> list[str]:
    """The first commands of a message."""
    return [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)]


def header(*lines: str) -> str:
    """The reply to a message of the user's with some lines above the text."""
    message = "".join(f"{line}\r\n" for line in lines) + f"Subject: {lab.token()}\r\n\r\ntext\r\n."
    commands = [log_in(), *envelope(mailflow.ours(USER), mailflow.ours(USER)), "DATA", message, "QUIT"]
    return mailflow.submit(lab.Machine(lab.DESK), "submissions", commands)[-2]


@pytest.mark.requirement("MS-1", side="positive")
@pytest.mark.parametrize("service", PORTS)
@pytest.mark.parametrize("start", STARTS)
def test_a_user_hands_in_mail_for_everywhere_and_nobody_learns_from_where(start: str, service: str) -> None:
    client, word = lab.Machine(start), lab.token()
    commands = [log_in(), *lab.letter(mailflow.ours(USER), [mailflow.FOREIGNER, mailflow.ours(OTHER)], word)[1:]]
    replies = mailflow.submit(client, service, commands)
    assert replies[0].startswith("235 2.0.0 ") and lab.queue_id(replies[-2])
    abroad, inside = mailflow.arrived_abroad(word), mailflow.fetched(OTHER, word)
    assert inside is not None
    for text in (abroad, inside):
        assert [told for told in (lab.seen(start, lab.STORE), "probe.example", "authenticated") if told in text.lower()] == []


@pytest.mark.requirement("SM-14", side="negative")
@pytest.mark.parametrize("service", PORTS)
def test_who_has_not_logged_in_hands_in_nothing(service: str, desk: lab.Machine) -> None:
    replies = mailflow.submit(desk, service, [*envelope(mailflow.ours(USER), mailflow.ours(USER)), "QUIT"])
    assert [reply[:10] for reply in replies[:-1]] == ["530 5.7.0 ", "503 5.0.0 "], replies


@pytest.mark.requirement("MS-3", side="negative")
def test_no_password_is_taken_in_the_clear(desk: lab.Machine) -> None:
    place = {"address": mailflow.STORE, "port": lab.port("submission")}
    _greeting, hello, answer, mail, _bye = desk.call(
        away.smtp, **place, commands=[HELLO, log_in(), *envelope(mailflow.ours(USER)), "QUIT"]
    )
    assert "STARTTLS" in hello and "AUTH" not in hello
    assert answer[:1] == "5" and mail.startswith("530 5.7.0 "), (answer, mail)


@pytest.mark.requirement("SM-14", side="negative")
@pytest.mark.parametrize(("server", "start"), [(lab.STORE, lab.DESK), (lab.GATEWAY, lab.STRANGER)])
def test_the_port_of_mail_servers_asks_nobody_for_a_password(server: str, start: str) -> None:
    place = {"address": lab.reach(server, start), "port": lab.port("smtp")}
    replies = lab.Machine(start).call(away.smtp, **place, commands=[HELLO, "STARTTLS", HELLO, log_in(), "QUIT"])
    assert "AUTH" not in replies[1] + replies[3] and replies[4][:2] == "50", replies


@pytest.mark.requirement("MS-3", side="negative")
def test_a_wrong_password_is_refused_and_makes_nobody_else_wait(desk: lab.Machine) -> None:
    """Dovecot would make an address wait that has failed, and here it sees that of its own host only."""

    def taken() -> float:
        """Seconds that a login takes."""
        begun = time.monotonic()
        assert mailflow.submit(desk, "submissions", [log_in(), "QUIT"])[0].startswith("235 ")
        return time.monotonic() - begun

    before = taken()
    wrong = [mailflow.auth(OTHER, lab.token()), mailflow.auth("root", lab.token())]
    assert [reply[:10] for reply in mailflow.submit(desk, "submissions", [*wrong, "QUIT"])[:-1]] == ["535 5.7.0 "] * 2
    # Dovecot's first step would be two seconds, its second four.
    assert taken() < before + 1.9


@pytest.mark.requirement("SM-14", side="negative")
@pytest.mark.parametrize(
    "sender",
    [mailflow.ours(OTHER), mailflow.ours(LIST), mailflow.FOREIGNER, f"{USER}@{lab.foreign_domain()}", USER],
    ids=["another user", "a list", "a stranger", "himself elsewhere", "no domain"],
)
def test_a_user_sends_under_no_address_that_is_not_his(sender: str, desk: lab.Machine) -> None:
    for recipient in (mailflow.ours(OTHER), mailflow.FOREIGNER):
        replies = mailflow.submit(desk, "submissions", [log_in(), *envelope(sender, recipient), "QUIT"])
        assert replies[-2].startswith(NOT_OWN), replies


@pytest.mark.requirement("SM-14", side="positive")
@pytest.mark.parametrize("sender", [mailflow.ours(USER).upper(), mailflow.ours(OWN_ALIAS), mailflow.ours(f"{USER}+shop"), ""])
def test_a_user_sends_under_each_address_of_his_and_under_none_for_a_receipt(sender: str, desk: lab.Machine) -> None:
    replies = mailflow.submit(desk, "submissions", [log_in(), *envelope(sender, mailflow.FOREIGNER), "QUIT"])
    assert replies[-2].startswith("250 2.1.5 "), replies


@pytest.mark.requirement("SM-14", side="negative")
def test_nobody_gets_another_user_s_addresses_by_asking_to_be_him(desk: lab.Machine) -> None:
    replies = mailflow.submit(
        desk, "submissions", [log_in(meant=OTHER), *envelope(mailflow.ours(OTHER), mailflow.FOREIGNER), "QUIT"]
    )
    # The name that counts is the one of the password.
    assert replies[0].startswith("235 ") and replies[-2].startswith(NOT_OWN), replies


@pytest.mark.requirement("SM-14", side="negative")
@pytest.mark.parametrize(
    "lines",
    [
        [f"From: {mailflow.ours(OTHER)}"],
        [f"From: {mailflow.ours(USER)} <{mailflow.FOREIGNER}>"],
        [f"From: <{mailflow.ours(USER)}> <{mailflow.ours(OTHER)}>"],
        [f"From: {mailflow.ours(USER)}, {mailflow.ours(OTHER)}"],
        [f"From: us: {mailflow.ours(USER)};"],
        [f"From: {mailflow.ours(USER)}", f"From: {mailflow.ours(OTHER)}"],
        [f"From: {mailflow.ours(USER)}", f"Sender: {mailflow.ours(OTHER)}"],
        [f"From: ({mailflow.ours(USER)}) {mailflow.ours(OTHER)}"],
        [f"From: {mailflow.ours(USER)} <>"],
        [f"From: {'x' * 2000} <{mailflow.ours(USER)}>"],
        [f'From: (") {mailflow.ours(OTHER)} ((" ) <{mailflow.ours(USER)}> (")")'],
        [f"From: {mailflow.ours(USER)}", f"Resent-From: {mailflow.ours(OTHER)}"],
    ],
    ids=[
        "another",
        "his as a name",
        "two in brackets",
        "a list",
        "a group",
        "two lines",
        "sender",
        "his as a comment",
        "empty brackets",
        "long",
        "quotes in comments",
        "sent again",
    ],
)
def test_a_user_s_name_is_the_only_one_that_readers_see(lines: list[str]) -> None:
    assert header(*lines).startswith(NOT_OWN), lines


@pytest.mark.requirement("SM-14", side="positive")
@pytest.mark.parametrize(
    "line",
    [
        f"From: {mailflow.ours(USER)}",
        f"from: <{mailflow.ours(USER)}>",
        f'From: "Doe, Jane" <{mailflow.ours(USER)}>',
        f"From: =?utf-8?q?J=C3=A9r=C3=B4me?= <{mailflow.ours(USER)}> (at work)",
        "To: nobody in particular:;",
    ],
)
def test_a_user_s_own_name_may_look_as_he_likes(line: str) -> None:
    assert lab.queue_id(header(line))


@pytest.mark.requirement("SM-14", side="negative")
def test_nobody_writes_as_the_mail_system() -> None:
    """Which a message without a sender and without From would come from."""
    commands = [log_in(), *envelope("", mailflow.ours(USER)), "DATA", f"Full-Name: {OTHER}\r\n\r\ntext\r\n.", "QUIT"]
    assert mailflow.submit(lab.Machine(lab.DESK), "submissions", commands)[-2].startswith(NOT_OWN)


@pytest.mark.requirement("SM-14", side="negative")
@pytest.mark.parametrize(
    ("unit", "reply"),
    [("sendmail-senders", "503 5.3.3 "), ("sendmail-auth", "535 5.7.0 ")],
    ids=["who looks at From", "who asks for passwords"],
)
def test_while_what_judges_is_away_nothing_is_taken(unit: str, reply: str, store: lab.Machine) -> None:
    message = f"From: {mailflow.ours(USER)}\r\n\r\ntext\r\n."
    commands = [log_in(), *envelope(mailflow.ours(USER), mailflow.ours(USER)), "DATA", message, "QUIT"]
    store.sh(f"systemctl stop {unit}")
    try:
        replies = mailflow.submit(lab.Machine(lab.DESK), "submission", commands)
    finally:
        store.sh(f"systemctl start {unit}")
    assert replies[0].startswith(reply) and "Message accepted" not in "".join(replies), replies
    # Both are asked anew by each connection.
    assert lab.queue_id(mailflow.submit(lab.Machine(lab.DESK), "submission", commands)[-2])


@pytest.mark.requirement("MS-3", side="positive")
@pytest.mark.parametrize("start", STARTS)
def test_a_user_reads_by_imap_as_by_pop(start: str) -> None:
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(USER)], word)
    place = {"address": mailflow.STORE, "port": lab.port("imaps")}
    found = lab.Machine(start).call(away.imap_search, **place, user=USER, password=lab.password(USER), word=word, deadline=20)
    assert found == 1
    assert mailflow.fetched(USER, word) is not None
