"""The POP and SMTP server inside: who may send and fetch there, what its accounts can do, and how mail is delivered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.site import away, lab, mailflow

USERS = lab.users()
SMTP = lab.port("smtp")
RAN = f"/var/mail/{USERS[0]}/ran"
PROGRAM = f"/usr/bin/touch {RAN}"
UNKNOWN = f"nobody.we.know@{lab.domain()}"


def rcpt(client: lab.Machine, recipient: str) -> str:
    """The store's reply to a recipient. It believes the gateway only what comes under the gateway's certificate."""
    greet = ["EHLO probe.example", "STARTTLS", "EHLO probe.example"]
    commands = [*greet, f"MAIL FROM:<{mailflow.FOREIGNER}>", f"RCPT TO:<{recipient}>", "QUIT"]
    own = mailflow.CERTIFICATE if client.name == lab.GATEWAY else ""
    replies: list[str] = client.call(away.smtp, address=mailflow.STORE, port=SMTP, commands=commands, certificate=own)
    return replies[-2]


@pytest.mark.requirement("MS-1", side="positive")
@pytest.mark.parametrize("start", [lab.GATEWAY, lab.DESK, lab.COLLECTOR])
def test_gateway_and_inside_hosts_send_to_users_by_the_store(start: str) -> None:
    assert rcpt(lab.Machine(start), mailflow.ours(USERS[0])).startswith("250 2.1.5 ")


@pytest.mark.requirement("MS-1", side="negative")
def test_what_the_gateway_brings_for_others_is_refused_since_only_the_store_s_own_side_may_relay(
    gateway: lab.Machine, desk: lab.Machine
) -> None:
    assert rcpt(gateway, mailflow.FOREIGNER).startswith("550 5.7.1 ")
    assert rcpt(desk, mailflow.FOREIGNER).startswith("250 2.1.5 ")


@pytest.mark.requirement("MS-1", side="negative")
def test_an_unknown_recipient_is_refused_at_rcpt(desk: lab.Machine) -> None:
    assert rcpt(desk, UNKNOWN).startswith("550 5.1.1 ")


@pytest.mark.requirement("MS-1", side="negative")
@pytest.mark.requirement("MS-6", side="negative")
@pytest.mark.parametrize("start", [lab.STRANGER, lab.ROUTER, lab.NAMESERVER])
def test_from_outside_and_from_the_rest_of_the_dmz_no_port_of_the_store_answers(start: str) -> None:
    services = lab.site()["services"]
    ports = sorted({port for service in services.values() for port in service.get("tcp", [])})
    found = lab.Machine(start).call(away.probe, targets=[[mailflow.STORE, port] for port in ports])
    assert {port: entry["result"] for port, entry in zip(ports, found, strict=True)} == dict.fromkeys(ports, "silent")


@pytest.mark.requirement("MS-3", side="positive")
@pytest.mark.parametrize("security", ["stls", "tls"])
@pytest.mark.parametrize("user", USERS)
def test_every_user_logs_in_by_pop_over_tls(user: str, security: str, desk: lab.Machine) -> None:
    login = {"address": mailflow.STORE, "ports": mailflow.POP_PORTS, "security": security}
    assert desk.call(away.pop_login, **login, user=user, password=lab.password(user)).startswith("+OK")


@pytest.mark.requirement("MS-3", side="negative")
def test_a_right_password_in_clear_text_is_refused(desk: lab.Machine) -> None:
    login = {"address": mailflow.STORE, "ports": mailflow.POP_PORTS, "security": "none"}
    assert desk.call(away.pop_login, **login, user=USERS[0], password=lab.password(USERS[0])).startswith("-ERR")


@pytest.mark.requirement("MS-3", side="negative")
@pytest.mark.parametrize("user", [USERS[0], "root"])
def test_a_wrong_password_is_refused(user: str, collector: lab.Machine) -> None:
    """Tried from a host where nobody fetches mail: the server lets an address wait that has failed."""
    login = {"address": mailflow.STORE, "ports": mailflow.POP_PORTS, "security": "stls"}
    assert collector.call(away.pop_login, **login, user=user, password=lab.token()).startswith("-ERR")


@pytest.mark.requirement("MS-3", side="negative")
@pytest.mark.parametrize("user", USERS)
def test_a_user_s_account_runs_nothing(user: str, store: lab.Machine) -> None:
    assert store.run("su", "-", user, "-c", "id", check=False).returncode != 0
    assert user not in store.host.user("root").groups


@pytest.mark.requirement("SM-2", side="positive")
@pytest.mark.requirement("SM-5", side="positive")
@pytest.mark.parametrize("start", [lab.STORE, *lab.group("mail_clients")])
def test_an_unprivileged_account_submits_with_sendmail_and_it_arrives(start: str) -> None:
    word = lab.token()
    text = f"To: {mailflow.ours(USERS[0])}\nSubject: {word}\n\n{word}\n"
    lab.Machine(start).run("/usr/sbin/sendmail", "-t", user=lab.NOBODY, text=text)
    assert mailflow.fetched(USERS[0], word) is not None


@pytest.fixture
def forwarding(store: lab.Machine) -> Iterator[None]:
    """A user's own .forward to another user and to a file, for one test."""
    home = store.sh(f"getent passwd {USERS[0]} | cut -d: -f6").strip()
    path = f"{home}/.forward"
    store.run("test", "!", "-e", path)
    store.run(
        "dd", "status=none", f"of={path}", user=USERS[0], text=f'{mailflow.ours(USERS[1])}\n/tmp/forwarded\n"|{PROGRAM}"\n'
    )
    yield
    store.sh(f"rm -f {path} /tmp/forwarded {RAN}")


@pytest.mark.requirement("MS-4", side="negative")
@pytest.mark.usefixtures("forwarding")
def test_a_forward_file_moves_nothing(store: lab.Machine) -> None:
    word, later = lab.token(), lab.token()
    mailflow.from_the_world([mailflow.ours(USERS[0])], word)
    assert mailflow.fetched(USERS[0], word) is not None
    # What would have been forwarded is older than this message, and would have come before it.
    mailflow.from_the_world([mailflow.ours(USERS[1])], later)
    assert mailflow.fetched(USERS[1], later) is not None
    assert mailflow.fetched(USERS[1], word, deadline=0) is None
    store.run("test", "!", "-e", "/tmp/forwarded")
    store.run("test", "!", "-e", RAN)


@pytest.mark.requirement("SM-9", side="positive")
@pytest.mark.parametrize("alias", lab.people())
def test_mail_from_the_world_to_an_alias_reaches_everybody_behind_it(alias: str) -> None:
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(alias)], word)
    readers = lab.behind(alias)
    assert {user for user in readers if mailflow.fetched(user, word) is None} == set()
    assert {user for user in set(USERS) - readers if mailflow.fetched(user, word, deadline=0)} == set()


@pytest.mark.requirement("MS-2", side="positive")
@pytest.mark.requirement("SM-11", side="negative")
def test_no_one_else_reads_a_mailbox(store: lab.Machine) -> None:
    boxes = store.sh(f"getent passwd {' '.join(USERS)} | cut -d: -f6").split()
    assert len(boxes) == len(USERS)
    for account in (lab.NOBODY, USERS[1], "smmta", "smmsp"):
        for box in boxes:
            owner = store.sh(f"stat -c %U {box}").strip()
            done = store.run("ls", box, user=account, check=False)
            assert (done.returncode == 0) == (owner == account), (account, box)
