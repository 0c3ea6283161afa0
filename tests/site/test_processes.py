"""What the processes of the mail system may do, looked at again and again while mail passes all of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.site import away, lab, mailflow

OF_STORES = [
    "sendmail.service",
    "sendmail-msp.service",
    "sendmail-auth.service",
    "sendmail-senders.service",
    "sendmail-quota.service",
    "dovecot.service",
]
UNITS = {
    **{host: ["sendmail.service", "sendmail-msp.service", "sendmail-quota.service"] for host in lab.group("gateways")},
    **{host: OF_STORES for host in lab.group("stores")},
    **{host: ["sendmail-msp.service", "named.service"] for host in lab.group("nameservers")},
}
# All of them, but for the client queue's runner of a gateway.
MUST_RUN = {host: set(units) for host, units in UNITS.items()} | {
    host: {"sendmail.service", "sendmail-quota.service"} for host in lab.group("gateways")
}
PROGRAMS = [
    "sendmail",
    "smrsh",
    "named",
    "dovecot",
    "lmtp",
    "pop3",
    "pop3-login",
    "imap",
    "imap-login",
    "managesieve",
    "managesieve-login",
    "saslauthd",
]
CAP_NET_BIND_SERVICE = 1 << 10
MESSAGES = 12  # of each kind


@dataclass(frozen=True)
class Watched:
    """What was seen on a host."""

    host: str
    rounds: int
    processes: int
    states: list[dict[str, Any]]

    def of(self, *units: str) -> list[dict[str, Any]]:
        """The states of some units' processes. It is a mistake of the test to have seen none."""
        found = [state for state in self.states if state["unit"] in units]
        assert found, f"nothing of {units} seen on {self.host}"
        return found


def burst() -> None:
    """Mail in and out, an alias to a program, submission by an ordinary account, names asked for, a mailbox emptied."""
    store, stranger = lab.Machine(lab.STORE), lab.Machine(lab.STRANGER)
    words = [lab.token() for _ in range(MESSAGES)]
    reader, other = lab.users()[:2]
    pipes = sorted(set(lab.aliases()) - set(lab.people()))
    inward = []
    for word in words:
        inward += lab.letter(mailflow.FOREIGNER, [mailflow.ours(reader)], word)[1:-1]
    stranger.call(
        away.smtp, address=lab.public(lab.GATEWAY), port=lab.port("smtp"), commands=["EHLO probe.example", *inward, "QUIT"]
    )
    outward = [*lab.letter(mailflow.ours(other), [mailflow.FOREIGNER], words[0])[:-1]]
    for name in pipes:
        outward += lab.letter(mailflow.ours(other), [mailflow.ours(name)], words[0])[1:-1]
    lab.Machine(lab.DESK).call(away.smtp, address=mailflow.STORE, port=lab.port("smtp"), commands=[*outward, "QUIT"])
    log_in = mailflow.auth(other, lab.password(other))
    for _ in range(3):
        mailflow.submit(lab.Machine(lab.DESK), "submissions", [log_in, "QUIT"])
    # What asks for a password logs in by IMAP for some milliseconds: too short to be seen for certain. This session stays for a second.
    account = {"user": other, "password": lab.password(other)}
    lab.Machine(lab.DESK).call(
        away.imap_search, address=mailflow.STORE, port=lab.port("imaps"), **account, word=lab.token(), deadline=1
    )
    lab.Machine(lab.DESK).call(
        away.sieve, address=mailflow.STORE, port=lab.port("sieve"), **account, commands=["LISTSCRIPTS"] * 200
    )
    text = f"To: {mailflow.ours(reader)}\nSubject: {words[0]}\n\n{words[0]}\n"
    for _ in range(3):
        store.run("/usr/sbin/sendmail", "-t", user=lab.NOBODY, text=text)
    questions = [[lab.domain(), "MX"]] * 20
    for tcp in (False, True):
        stranger.call(away.dns, server=lab.public(lab.NAMESERVER), port=lab.port("dns"), questions=questions, tcp=tcp)
    for word in words:
        assert mailflow.fetched(reader, word, deadline=40) is not None


@pytest.fixture(scope="module")
def watched() -> Iterator[dict[str, Watched]]:
    """All three hosts watched through one burst of mail."""
    with ExitStack() as stack:
        talks = {
            host: stack.enter_context(lab.Machine(host).talk(away.watch_session, units=units, programs=PROGRAMS))
            for host, units in UNITS.items()
        }
        for talk in talks.values():
            assert talk.read() == "ready"
        burst()
        with ThreadPoolExecutor() as pool:
            found = dict(zip(talks, pool.map(lambda talk: talk.ask("enough"), talks.values()), strict=True))
        yield {host: Watched(host, **what) for host, what in found.items()}


# Programs of Dovecot's unit that are root, each with the reason; sendmail and the name server have none.
ROOT = {
    "dovecot": "the master: it starts each service under that service's user",
    "config": "reads the key of the certificate, which is root's alone; it hears its own siblings and nobody else",
    "log": "hands on what its siblings have to say; it hears nobody else",
    "auth": "the worker that asks PAM, which reads /etc/shadow for root alone; what talks to clients is another process, not root",
    "unix_chkpwd": "reads /etc/shadow in the worker's place, where PAM is Debian 13's: the worker starts it and nobody else",
    "anvil": "Dovecot 2.4: ends the sessions of users (doveadm kick), by sockets that are root's; it hears its own siblings alone",
    "quota-status": "becomes the owner of each mailbox that it is asked about; only the MTA's user reaches it",
    "lmtp": "becomes the owner of each mailbox in turn: mailboxes belong to different users; only the MTA reaches it",
}
# Started as root, and nobody any more before they hear a client: these have to be seen in that state as well.
STEPS_DOWN = {"pop3-login", "pop3", "imap-login", "imap", "managesieve-login", "managesieve", "tcpwrap"}


def excused(state: dict[str, Any]) -> bool:
    """Whether a process is one that may be root."""
    return state["unit"] == "dovecot.service" and state["program"] in {*ROOT, *STEPS_DOWN}


@pytest.mark.requirement("SM-7", side="negative")
@pytest.mark.requirement("MS-5", side="negative")
@pytest.mark.parametrize("host", UNITS)
def test_no_process_of_mail_or_names_is_ever_root_while_mail_flows(host: str, watched: dict[str, Watched]) -> None:
    states = watched[host].of(*MUST_RUN[host])
    assert {state["unit"] for state in states} == MUST_RUN[host]
    assert [state for state in watched[host].states if 0 in state["uids"] and not excused(state)] == []


@pytest.mark.requirement("SM-7", side="negative")
@pytest.mark.requirement("MS-5", side="negative")
@pytest.mark.parametrize("host", UNITS)
def test_no_process_of_mail_or_names_holds_more_than_the_right_to_bind_its_port(host: str, watched: dict[str, Watched]) -> None:
    states = watched[host].of(*MUST_RUN[host])
    assert [state for state in states if not state["no_new_privileges"]] == []
    for state in states:
        # What a process of Dovecot could be given at most is its unit's; one that is not root has been given nothing of it. What it
        # would inherit counts where a program's file names it, and tests/site/test_hosts.py finds no such file.
        within = {
            key: value
            for key, value in state["capabilities"].items()
            if state["unit"] != "dovecot.service" or key not in ("CapBnd", "CapInh")
        }
        if state["uids"][1] == 0:
            assert excused(state), state
        elif 0 in state["uids"]:
            assert excused(state) and within["CapEff"] == 0, state
        else:
            assert [value for value in within.values() if value & ~CAP_NET_BIND_SERVICE] == [], state


@pytest.mark.requirement("MS-5", side="negative")
def test_what_talks_to_clients_on_the_store_has_left_root_behind(watched: dict[str, Watched]) -> None:
    own = {state["program"] for state in watched[lab.STORE].of("dovecot.service") if 0 not in state["uids"]}
    assert STEPS_DOWN - {"tcpwrap"} <= own, own
    # Who is root writes mail as its owner and not as root.
    assert any(state["program"] == "lmtp" and state["uids"][1] != 0 for state in watched[lab.STORE].states)


def test_the_watch_was_close_enough_to_see_short_lived_children(watched: dict[str, Watched]) -> None:
    """The gateway forks for each connection and each delivery: a watch that missed them would prove nothing."""
    for host, seen in watched.items():
        assert seen.rounds > 20, (host, seen.rounds)
    assert any(state["child"] for state in watched[lab.GATEWAY].of("sendmail.service"))
    assert watched[lab.GATEWAY].processes > MESSAGES
    names = {state["program"] for state in watched[lab.STORE].states}
    assert {"sendmail", "lmtp", "pop3", "pop3-login"} <= names, names
