"""Quotas: mail for a full mailbox is refused while its sender is there, for a while, and none is lost where nobody could be asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.widgets.mail.plugins.filter import pop3

from tests.site import away, lab, mailflow

USER, OTHER = lab.users()[:2]
OURS = mailflow.ours(USER)
FULL = "452 4.2.2 "
GOOD = "250 2.1.5 "
LIST = "/etc/dovecot/mailboxes"
UNIT = "sendmail-quota"


@pytest.fixture
def room(store: lab.Machine) -> Iterator[None]:
    """The user may keep one message more than there are in his mailbox."""
    held = store.sh(f"find /var/mail/{USER} -path '*/new/*' -o -path '*/cur/*' | wc -l")
    version = "2.4" if store.run("dovecot", "--version").stdout.startswith("2.4") else "2.3"
    limits = {"quota_storage": 0, "quota_messages": int(held) + 1}
    own = pop3.pop3_fields({"name": USER, **limits}, "", {"quota_storage": 1, "quota_messages": 1}, version)
    more = "".join(f" userdb_{key}={value}" for key, value in own.items() if key.startswith("quota"))
    store.run("cp", "-p", LIST, f"{LIST}.kept")
    store.sh(f"sed -i -e '/^{USER}:/s/ userdb_quota[^ ]*//g' -e '/^{USER}:/s/$/{more}/' {LIST}")
    yield
    store.run("mv", f"{LIST}.kept", LIST)
    mailflow.pushed(store)


def at_the_door(*recipients: str) -> list[str]:
    """What the gateway says to a stranger's recipients."""
    commands = ["EHLO probe.example", f"MAIL FROM:<{mailflow.FOREIGNER}>", *(f"RCPT TO:<{one}>" for one in recipients), "QUIT"]
    replies: list[str] = lab.Machine(lab.STRANGER).call(
        away.smtp, address=lab.public(lab.GATEWAY), port=lab.port("smtp"), commands=commands
    )
    return replies[3:-1]


def filled() -> str:
    """The mailbox is full of one more message, and the gateway knows; the message's word."""
    word = lab.token()
    mailflow.from_the_world([OURS], word)
    lab.until(lambda: at_the_door(OURS)[0].startswith(FULL), "452 for a full mailbox")
    return word


@pytest.mark.requirement("SM-13", side="negative")
@pytest.mark.usefixtures("room")
def test_the_next_sender_to_a_full_mailbox_is_refused_at_the_gateway_until_there_is_room(desk: lab.Machine) -> None:
    assert at_the_door(OURS)[0].startswith(GOOD)
    word = filled()
    replies = at_the_door(OURS, mailflow.ours(f"{USER}+detail"), OURS.upper(), mailflow.ours(OTHER))
    assert [reply[:10] for reply in replies] == [FULL, FULL, FULL, GOOD]
    inside = ["EHLO probe.example", f"MAIL FROM:<{mailflow.ours(OTHER)}>", f"RCPT TO:<{OURS}>", "QUIT"]
    replies = desk.call(away.smtp, address=mailflow.STORE, port=lab.port("smtp"), commands=inside)
    assert replies[-2].startswith(FULL)
    log_in = mailflow.auth(OTHER, lab.password(OTHER))
    for service in ("submission", "submissions"):
        assert mailflow.submit(desk, service, [log_in, *inside[1:]])[-2].startswith(FULL)
    assert mailflow.fetched(USER, word) is not None
    lab.until(lambda: at_the_door(OURS)[0].startswith(GOOD), "room for mail")


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("silent", [[lab.GATEWAY], [lab.GATEWAY, lab.STORE]], ids=["gateway", "both"])
def test_mail_for_a_full_mailbox_waits_where_nobody_could_be_asked(silent: list[str]) -> None:
    word, late = filled(), lab.token()
    machines = [lab.Machine(host) for host in silent]
    for machine in machines:
        machine.run("systemctl", "stop", UNIT)
    try:
        mailflow.from_the_world([OURS], late)
        holder = machines[-1]  # it is accepted there, and not handed on
        lab.until(lambda: OURS in holder.run("mailq", "-Am").stdout, "the message in the queue")
        assert mailflow.fetched(USER, late, deadline=0) is None
        assert mailflow.fetched(USER, word) is not None
    finally:
        for machine in machines:
            machine.run("systemctl", "start", UNIT)
    lab.until(lambda: at_the_door(OURS)[0].startswith(GOOD), "room for mail")
    mailflow.pushed(holder)
    assert mailflow.fetched(USER, late) is not None
