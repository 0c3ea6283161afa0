"""The gateway under abuse from the Internet: each kind gets its answer, and a normal sender notices nothing.

All rows of tests/site/abuse.py are tried in one go from addresses of their own, while the gateway's processes are watched and somebody
else sends ordinary mail. Bounded in number and time, and to hosts of the lab only.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.site import abuse, away, lab, mailflow, network
from tests.site.abuse import Abuse

SERVER = {"address": lab.public(lab.GATEWAY), "port": lab.port("smtp")}
READER = lab.users()[0]
CAP_NET_BIND_SERVICE = 1 << 10
PATIENCE = 60  # seconds: a busy machine and a limit of the rate make replies late
AT_ONCE = 40  # conversations
CROWD = 20  # addresses beside the stranger's own
NORMAL = 8  # ordinary messages meanwhile
WORD = lab.token()
ROWS = abuse.rows(WORD)


@dataclass(frozen=True, repr=False)
class Onslaught:
    """What came of each conversation, of the ordinary mail, and of the gateway."""

    said: dict[str, dict[str, Any]]
    normal: list[float]
    words: list[str]
    states: list[dict[str, Any]]
    pid: tuple[str, str]


@pytest.fixture(scope="module")
def addresses(stranger: lab.Machine) -> Iterator[Sequence[str]]:
    """More addresses for the stranger, so that the limits of one kind of abuse are not those of another."""
    more = [str(address) for address in list(ipaddress.ip_network(lab.variables()["lab_crowd"]).hosts())[:CROWD]]
    with network.more_addresses(stranger, lab.address(lab.STRANGER), more):
        yield more


def main_pid(gateway: lab.Machine) -> str:
    """The daemon's process, and how often systemd had to start it again."""
    return gateway.sh("systemctl show -P MainPID -P NRestarts sendmail")


@pytest.fixture(scope="module")
def onslaught(addresses: Sequence[str], stranger: lab.Machine, gateway: lab.Machine) -> Onslaught:
    """All of it at once."""
    *ordinary, slow, flood = addresses
    rows = ROWS
    by = {row.name: ordinary[number % len(ordinary)] for number, row in enumerate(rows)}
    by |= {row.name: slow for row in rows if row.gap is not None} | {
        row.name: flood for row in rows if row.name.startswith("flood")
    }
    talks = [{"source": by[row.name], "turns": row.script()} for row in rows]
    before = main_pid(gateway)
    words, seconds = [], []
    with ExitStack() as stack:
        watch = stack.enter_context(
            gateway.talk(away.watch_session, units=["sendmail.service"], programs=["sendmail"], seconds=180)
        )
        assert watch.read() == "ready"
        attack = stack.enter_context(
            stranger.talk(away.conversations_session, **SERVER, talks=talks, patience=PATIENCE, at_once=AT_ONCE)
        )
        assert attack.read() == "begun"
        for _ in range(NORMAL):
            words.append(lab.token())
            begin = time.monotonic()
            mailflow.from_the_world([mailflow.ours(READER)], words[-1])
            seconds.append(time.monotonic() - begin)
        said = attack.read()
        states = watch.ask("enough")["states"]
    return Onslaught(
        {row.name: found for row, found in zip(rows, said, strict=True)}, seconds, words, states, (before, main_pid(gateway))
    )


def wrong(row: Abuse, found: dict[str, Any]) -> str:
    """Where a conversation did not go as it must."""
    heard = [*found["heard"], *([abuse.GONE] if found["closed"] and not found["rest"] else [])]
    for number, pattern in enumerate(row.wanted()):
        reply = heard[number] if number < len(heard) else "(nothing)"
        if (pattern is None) != (reply is None) or (pattern and not re.match(pattern, reply)):
            return f"{row.name}: reply {number}: expected {pattern or 'a hang-up'}, got {reply!r} {found['rest'][:200]!r}"
    return ""


def report(found: list[str]) -> None:
    """Fail with a line for each finding."""
    lines = [line for line in found if line]
    if lines:
        pytest.fail(f"{len(lines)} of {len(found)} wrong:\n" + "\n".join(lines), pytrace=False)


def judge(onslaught: Onslaught, *kinds: str) -> None:
    """Fail with a line for each conversation of some kinds that went wrong."""
    rows = [row for row in ROWS if row.kind in kinds]
    assert {row.kind for row in rows} == set(kinds)
    found = [wrong(row, onslaught.said[row.name]) for row in rows]
    report(found)


@pytest.mark.requirement("GW-1", side="negative")
@pytest.mark.requirement("SM-14", side="negative")
def test_no_way_to_write_an_address_makes_the_gateway_relay(onslaught: Onslaught) -> None:
    judge(onslaught, "relay")


@pytest.mark.requirement("SM-15", side="negative")
def test_no_command_tells_about_users_and_queues_or_switches_anything_on(onslaught: Onslaught) -> None:
    judge(onslaught, "command")


@pytest.mark.requirement("SM-14", side="negative")
def test_who_talks_out_of_turn_is_refused(onslaught: Onslaught) -> None:
    judge(onslaught, "impatient")


@pytest.mark.requirement("SM-13", side="negative")
def test_too_much_of_anything_is_refused_and_the_insistent_are_hung_up_on(onslaught: Onslaught) -> None:
    judge(onslaught, "excess")


@pytest.mark.requirement("SM-14", side="negative")
def test_no_wrong_end_of_a_text_is_taken_for_one(onslaught: Onslaught) -> None:
    judge(onslaught, "smuggling")
    taken = {row.name: str(onslaught.said[row.name]).count("Message accepted") for row in ROWS if row.kind == "smuggling"}
    assert {name: count for name, count in taken.items() if count > 1} == {}


@pytest.mark.requirement("SM-14", side="negative")
@pytest.mark.usefixtures("onslaught")
def test_no_server_of_the_way_inward_made_two_messages_of_one(gateway: lab.Machine, store: lab.Machine) -> None:
    """The store reads what the gateway lets by with eyes of its own. A later message has arrived, so all of these have."""
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(abuse.OTHER)], word)
    assert mailflow.fetched(abuse.OTHER, word) is not None
    for machine in (gateway, store):
        assert machine.run("grep", "-c", "outer\\|from=<", "/var/log/mail.log").stdout != "0\n"
        assert machine.run("grep", f"from=<{abuse.EVIL}-{WORD}", "/var/log/mail.log", check=False).stdout == ""


@pytest.mark.requirement("SM-14", side="negative")
def test_no_user_makes_two_messages_of_one_for_the_world(desk: lab.Machine, stranger: lab.Machine) -> None:
    """From a desk through store and gateway: none of them, nor the foreign server behind them, sees the inner message."""
    word = lab.token()
    evil = f"{abuse.EVIL}-{word}@{abuse.THIRD}"
    rows = [abuse.smuggled(abuse.OURS, mailflow.FOREIGNER, evil, way) for way in abuse.ENDS]
    talks = [{"turns": row.script()} for row in rows]
    server = {"address": mailflow.STORE, "port": lab.port("smtp")}
    said = desk.call(away.conversations, **server, talks=talks, patience=PATIENCE)
    report([wrong(row, entry) for row, entry in zip(rows, said, strict=True)])
    later = lab.token()
    mailflow.from_the_desk([mailflow.FOREIGNER], later, abuse.OURS)
    mailflow.arrived_abroad(later)
    for machine in (lab.Machine(lab.STORE), lab.Machine(lab.GATEWAY), stranger):
        assert machine.sh("cat /var/log/mail.log; journalctl --no-pager -o cat -n 3000").count(evil) == 0, machine.name


@pytest.mark.requirement("SM-13", side="negative")
def test_a_flood_from_one_address_gets_as_many_connections_as_one_address_may_have(onslaught: Onslaught) -> None:
    judge(onslaught, "flood", "slow")
    said = [onslaught.said[row.name]["heard"][0][:3] for row in ROWS if row.kind == "flood"]
    assert "421" in said and "220" in said, said


@pytest.mark.requirement("SM-13", side="positive")
def test_an_ordinary_sender_is_served_all_the_while(onslaught: Onslaught) -> None:
    assert len(onslaught.normal) == NORMAL and max(onslaught.normal) < PATIENCE, onslaught.normal
    assert [word for word in onslaught.words if mailflow.fetched(READER, word, deadline=40) is None] == []


@pytest.mark.requirement("SM-13", side="negative")
@pytest.mark.requirement("SM-7", side="negative")
def test_the_daemon_outlives_it_and_gains_no_privilege(onslaught: Onslaught) -> None:
    before, after = onslaught.pid
    assert before == after and before.split()[0] != "0"
    assert [state for state in onslaught.states if 0 in state["uids"]] == []
    capabilities = [value for state in onslaught.states for value in state["capabilities"].values()]
    assert capabilities and [value for value in capabilities if value & ~CAP_NET_BIND_SERVICE] == []
    assert any(state["child"] for state in onslaught.states)


@pytest.mark.requirement("SM-15", side="negative")
def test_nobody_is_asked_for_a_password_in_the_clear_or_encrypted(stranger: lab.Machine) -> None:
    commands = ["EHLO probe.example", "AUTH PLAIN AGEAYg==", "STARTTLS", "EHLO probe.example", "AUTH PLAIN AGEAYg=="]
    _greeting, clear, refused, ready, encrypted, still = stranger.call(away.smtp, **SERVER, commands=commands)
    assert "STARTTLS" in clear and ready.startswith("220 ") and "STARTTLS" not in encrypted
    assert "AUTH" not in clear + encrypted
    assert refused[:1] == still[:1] == "5"
