"""Sieve: users sort their mail, send it on and answer it by scripts of their own, which they look after by ManageSieve."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.site import away, lab, mailflow

USER, OTHER = lab.users()[:2]
PLACE = {"address": mailflow.STORE, "port": lab.port("sieve")}
OURS = mailflow.ours(USER)
ABROAD = mailflow.FOREIGNER


def managed(start: str, user: str, *commands: str) -> list[str]:
    """What ManageSieve answers to a user's commands, from his log-in on."""
    answers: list[str] = lab.Machine(start).call(
        away.sieve, **PLACE, user=user, password=lab.password(user), commands=list(commands)
    )
    return answers[2:]


def put(user: str, *lines: str, start: str = lab.DESK) -> str:
    """A script of a user's becomes the one that counts; what the store says to it."""
    script = "".join(f"{line}\r\n" for line in lines)
    answers = managed(start, user, f'PUTSCRIPT "mine" {{{len(script.encode())}+}}\r\n{script}', 'SETACTIVE "mine"')
    return answers[1]


def found(folder: str, word: str, deadline: float = 20, user: str = USER) -> int:
    """How many messages with a word as subject a folder of a user holds, seen by IMAP from a desk."""
    place = {"address": mailflow.STORE, "port": lab.port("imaps"), "user": user, "password": lab.password(user)}
    count: int = lab.Machine(lab.DESK).call(away.imap_search, **place, word=word, deadline=deadline, folder=folder)
    return count


def sent(recipient: str, word: str, *headers: str, sender: str = ABROAD, author: str = ABROAD) -> None:
    """A stranger's message with some headers."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    lines = [
        f"From: {author}",
        f"To: {recipient}",
        f"Subject: {word}",
        f"Date: {date}",
        f"Message-ID: <{word}@{lab.foreign_domain()}>",
    ]
    message = "".join(f"{line}\r\n" for line in (*headers, *lines, "", word))
    commands = ["EHLO probe.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA", f"{message}.", "QUIT"]
    replies = lab.Machine(lab.STRANGER).call(
        away.smtp, address=lab.public(lab.GATEWAY), port=lab.port("smtp"), commands=commands
    )
    assert replies[-2].startswith("250 "), replies


@pytest.fixture(autouse=True)
def no_script_afterwards(store: lab.Machine) -> Iterator[None]:
    """The users have no scripts and no folders again."""
    yield
    for user in (USER, OTHER):
        managed(lab.DESK, user, 'SETACTIVE ""', 'DELETESCRIPT "mine"')
        store.sh(
            f"find /var/mail/{user} -mindepth 1 -maxdepth 1 -type d -name '.*' -exec rm -r {{}} +; rm -f /var/mail/{user}/subscriptions"
        )


@pytest.mark.requirement("MS-2", side="positive")
@pytest.mark.parametrize("start", [lab.DESK, *lab.TRAVELLERS[:1]])
def test_a_user_s_script_sorts_his_mail_by_what_stands_behind_the_plus_sign(start: str) -> None:
    lines = [
        'require ["envelope", "fileinto", "mailbox", "subaddress"];',
        'if envelope :detail "to" "shop" { fileinto :create "Shopping"; }',
    ]
    assert put(USER, *lines, start=start).startswith("OK")
    word, plain = lab.token(), lab.token()
    sent(mailflow.ours(f"{USER}+shop"), word)
    sent(OURS, plain)
    assert (found("Shopping", word), found("INBOX", plain)) == (1, 1)
    assert found("INBOX", word, deadline=0) == found("Shopping", plain, deadline=0) == 0


@pytest.mark.requirement("SM-9", side="positive")
def test_an_alias_with_a_detail_still_leads_where_it_leads() -> None:
    word = lab.token()
    alias = next(name for name in lab.people() if lab.behind(name) == {USER})
    mailflow.from_the_world([mailflow.ours(f"{alias}+detail")], word)
    assert mailflow.fetched(USER, word) is not None


@pytest.mark.requirement("SM-14", side="positive")
def test_what_is_marked_as_spam_is_in_a_folder_until_a_user_wants_it_otherwise() -> None:
    doubtful = next(name for name, policy in lab.variables()["lab_strict_domains"].items() if policy == "quarantine")
    marked = f"x@{doubtful}.{lab.foreign_domain()}"
    folder = mailflow.spam_folder()
    spam, own, included = lab.token(), lab.token(), lab.token()
    sent(OURS, spam, author=marked)
    assert (found(folder, spam), found("INBOX", spam, deadline=0)) == (1, 0)
    assert put(USER, "keep;").startswith("OK")
    sent(OURS, own, author=marked)
    assert found("INBOX", own) == 1
    assert put(USER, 'require "include";', 'include :global "site";').startswith("OK")
    sent(OURS, included, author=marked)
    assert found(folder, included) == 1


@pytest.mark.requirement("SM-15", side="negative")
def test_mail_sent_on_comes_from_the_user_and_tells_of_no_host_inside() -> None:
    word = lab.token()
    assert put(USER, f'redirect "{ABROAD}";').startswith("OK")
    mailflow.from_the_desk([OURS], word, mailflow.ours(OTHER))
    text = mailflow.arrived_abroad(word)
    assert f"Return-Path: <{OURS}>" in text
    assert lab.fqdn(lab.STORE) not in text and mailflow.STORE not in text
    assert mailflow.fetched(USER, word, deadline=0) is None


@pytest.mark.requirement("SM-12", side="positive")
def test_mail_to_be_sent_on_waits_while_the_store_takes_none_from_scripts(store: lab.Machine) -> None:
    """The MTA that has the message cannot hand it on to itself: it stays in the queue, and goes when that works again."""
    word = lab.token()
    assert put(USER, f'redirect "{ABROAD}";').startswith("OK")
    settings = "/etc/dovecot/dovecot.conf"
    store.sh(
        f"cp -p {settings} {settings}.kept && sed -i '/^submission_host/s/:25$/:1/' {settings} && systemctl reload dovecot"
    )
    try:
        mailflow.from_the_desk([OURS], word, mailflow.ours(OTHER))
        lab.until(lambda: OURS in store.run("mailq", "-Am").stdout, "the message in the queue")
    finally:
        store.sh(f"mv {settings}.kept {settings} && systemctl reload dovecot")
    mailflow.pushed(store)
    assert word in mailflow.arrived_abroad(word)


@pytest.mark.requirement("SM-12", side="positive")
def test_mail_sent_on_in_a_circle_is_kept() -> None:
    word = lab.token()
    assert put(USER, f'redirect "{mailflow.ours(OTHER)}";').startswith("OK")
    assert put(OTHER, f'redirect "{OURS}";').startswith("OK")
    sent(OURS, word)
    assert mailflow.fetched(USER, word) is not None


@pytest.mark.requirement("SM-12", side="positive")
def test_a_report_is_not_sent_on_to_where_nothing_could_be_delivered() -> None:
    word = lab.token()
    assert put(USER, f'redirect "{ABROAD}";').startswith("OK")
    sent(OURS, word, 'Content-Type: multipart/report; report-type=delivery-status; boundary="x"', sender="")
    assert mailflow.fetched(USER, word) is not None


def test_who_is_away_answers_once_and_only_people() -> None:
    word, again, listed = lab.token(), lab.token(), lab.token()
    assert put(USER, 'require "vacation";', f'vacation :subject "away {word}" "gone";').startswith("OK")
    sent(OURS, word)
    sent(OURS, again)
    sent(OURS, listed, "List-Id: <a.list.example>")
    text = mailflow.arrived_abroad(f"away {word}")
    assert f"From: <{OURS}>" in text and "Auto-Submitted: auto-replied" in text
    for one in (word, again, listed):
        assert mailflow.fetched(USER, one) is not None
    box = lab.Machine(lab.STRANGER).run("grep", "-c", f"^Subject: away {word}", f"/var/mail/{ABROAD.split('@')[0]}").stdout
    assert int(box) == 1


@pytest.mark.requirement("MS-5", side="negative")
@pytest.mark.parametrize(
    "script",
    [
        'require "vnd.dovecot.execute"; execute "touch";',
        'require "vnd.dovecot.pipe"; pipe "touch";',
        'require "vnd.dovecot.filter"; filter "touch";',
        'require "enotify"; notify "mailto:x@elsewhere.example";',
        "keep",
    ],
)
def test_a_script_runs_no_program_sends_no_notices_and_is_whole(script: str) -> None:
    assert put(USER, script).startswith("NO"), script


@pytest.mark.requirement("SM-13", side="negative")
def test_a_script_with_more_redirects_than_allowed_sends_nothing_on_and_the_mail_is_kept() -> None:
    word = lab.token()
    put(USER, f'redirect "{ABROAD}";', f'redirect "x{ABROAD}";', f'redirect "y{ABROAD}";')
    sent(OURS, word)
    assert mailflow.fetched(USER, word) is not None
    later = lab.token()
    sent(mailflow.ours(OTHER), later)
    assert mailflow.fetched(OTHER, later) is not None
    box = f"/var/mail/{ABROAD.split('@')[0]}"
    assert lab.Machine(lab.STRANGER).run("grep", "-c", f"^Subject: {word}", box, check=False).stdout.strip() in ("", "0")


@pytest.mark.requirement("MS-3", side="negative")
def test_no_password_is_taken_in_the_clear_and_no_wrong_one(collector: lab.Machine, desk: lab.Machine) -> None:
    clear = desk.call(away.sieve, **PLACE, user=USER, password=lab.password(USER), commands=[], tls=False)
    assert "SASL" not in clear[0] or '"SASL" ""' in clear[0]
    assert clear[-1].startswith("NO")
    wrong = collector.call(away.sieve, **PLACE, user=USER, password=lab.token(), commands=[])
    assert wrong[-1].startswith("NO")
