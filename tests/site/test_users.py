"""A user who comes, is suspended, and goes: who may log in, whose mail is taken, and that the mailbox stays."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.site import away, lab, mailflow

USERS = lab.users()
LODGER = "lodger"
PASSWORD = lab.token()


def converge(*more: dict[str, str]) -> None:
    """The site's users, and some more."""
    users = [*({"name": name, "password": lab.password(name)} for name in USERS), *more]
    extra = json.dumps({"site_users": users})
    argv = ["ansible-playbook", "site.yml", "--limit", f"{lab.STORE},{lab.GATEWAY}", "--tags", "pop3,sendmail", "-e", extra]
    lab.ansible(*argv)


@pytest.fixture
def lodger(store: lab.Machine) -> Iterator[dict[str, str]]:
    """One more user, of whom nothing is left afterwards."""
    entry = {"name": LODGER, "password": PASSWORD}
    converge(entry)
    yield entry
    converge()
    # By force: Dovecot's quota-status is whose mailbox it was last asked about, until it is asked about another one.
    store.sh(f"userdel --force {LODGER} && rm -r /var/mail/{LODGER}")


def asked_at_the_door(stranger: lab.Machine) -> str:
    """What the gateway says of mail for the lodger."""
    commands = lab.letter(mailflow.FOREIGNER, [mailflow.ours(LODGER)], lab.token())[:3]
    replies: list[str] = stranger.call(
        away.smtp, address=lab.public(lab.GATEWAY), port=lab.port("smtp"), commands=[*commands, "QUIT"]
    )
    return replies[-2]


def logged_in(start: lab.Machine) -> str:
    """What the store says to the lodger's password."""
    login = {"address": mailflow.STORE, "ports": mailflow.POP_PORTS, "security": "tls"}
    said: str = start.call(away.pop_login, **login, user=LODGER, password=PASSWORD)
    return said


def let_in_to_submit(start: lab.Machine) -> bool:
    """Whether the lodger may hand in mail."""
    return mailflow.submit(start, "submissions", [mailflow.auth(LODGER, PASSWORD), "QUIT"])[0].startswith("235 ")


def kept(word: str, store: lab.Machine) -> str:
    """The file in the lodger's mailbox that holds a word."""
    return store.run("grep", "-rl", word, f"/var/mail/{LODGER}", check=False).stdout


def test_a_user_s_mail_outlasts_suspension_and_leave(
    lodger: dict[str, str], store: lab.Machine, stranger: lab.Machine, desk: lab.Machine, collector: lab.Machine
) -> None:
    """Logins that must fail come from another host than those that must not: the server lets an address wait that has failed."""
    early, late = lab.token(), lab.token()
    mailflow.from_the_world([mailflow.ours(LODGER)], early)
    lab.until(lambda: kept(early, store), "the first message in the mailbox")
    assert logged_in(desk).startswith("+OK") and let_in_to_submit(desk)

    converge({**lodger, "state": "suspended"})
    assert logged_in(collector).startswith("-ERR") and not let_in_to_submit(collector)
    mailflow.from_the_world([mailflow.ours(LODGER)], late)
    lab.until(lambda: kept(late, store), "mail for somebody suspended in the mailbox")

    converge({"name": LODGER, "state": "absent"})
    assert asked_at_the_door(stranger).startswith("550 5.1.1 ")
    assert logged_in(collector).startswith("-ERR")
    assert kept(early, store) and kept(late, store)


def test_mail_to_a_name_with_a_detail_arrives_with_the_name_s_owner() -> None:
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(f"{USERS[0]}+anything")], word)
    message = mailflow.fetched(USERS[0], word)
    assert message is not None and word in message
