"""The SMTP gateway, as strangers meet it from outside and as an account on it would find it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from tests.site import away, lab, mailflow

DOMAIN, FOREIGN = lab.domain(), lab.foreign_domain()
PORT = lab.port("smtp")
SENDER = f"carol@{FOREIGN}"
ELSEWHERE = "victim@third.example"  # neither ours nor the sender's
CAP_NET_BIND_SERVICE = 1 << 10
ALICE = lab.users()[0]

Dialogue = Callable[..., list[str]]


@pytest.fixture(scope="module")
def dialogue(stranger: lab.Machine) -> Dialogue:
    """An SMTP session from the Internet with the address that the world knows: replies to commands, after EHLO."""

    def run(commands: Sequence[str]) -> list[str]:
        replies: list[str] = stranger.call(
            away.smtp, address=lab.public(lab.GATEWAY), port=PORT, commands=["EHLO probe.example", *commands]
        )
        assert replies[1].startswith("250"), replies
        return replies[2:]

    return run


def to(recipient: str, sender: str = SENDER) -> list[str]:
    """A transaction up to its recipient, and its end: the reply of interest is the second of three."""
    return [f"MAIL FROM:<{sender}>", f"RCPT TO:{recipient}", "RSET"]


def verdicts(dialogue: Dialogue, recipients: Sequence[str], sender: str = SENDER) -> dict[str, str]:
    """The reply that each recipient gets, each in a transaction of its own."""
    commands = [command for recipient in recipients for command in to(recipient, sender)]
    return dict(zip(recipients, dialogue(commands)[1::3], strict=True))


@pytest.mark.requirement("GW-1", side="negative")
@pytest.mark.requirement("SM-14", side="negative")
@pytest.mark.parametrize("sender", [SENDER, f"{ALICE}@{DOMAIN}", ""], ids=["foreign", "ours", "null"])
def test_a_stranger_cannot_relay_to_others_in_any_disguise_and_under_no_sender(dialogue: Dialogue, sender: str) -> None:
    local, away_from_here = ELSEWHERE.split("@")
    gateway = lab.fqdn(lab.GATEWAY)
    disguises = [
        f"<{ELSEWHERE}>",
        f"<{local}%{away_from_here}@{DOMAIN}>",
        f"<{local}%{away_from_here}@{gateway}>",
        f"<{local}%{away_from_here}>",
        f"<{away_from_here}!{local}>",
        f"<{away_from_here}!{local}@{DOMAIN}>",
        f'<"{ELSEWHERE}">',
        f'<"{ELSEWHERE}"@{DOMAIN}>',
        f"<{ELSEWHERE}@{DOMAIN}>",
        f"<@{DOMAIN}:{ELSEWHERE}>",
        f"<@{gateway}:{ELSEWHERE}>",
        f"<{ELSEWHERE}@[{lab.public(lab.GATEWAY)}]>",
        f"<{local}%{away_from_here}@[{lab.address(lab.GATEWAY)}]>",
        f"<{ALICE}@sub.{DOMAIN}.{away_from_here}>",
    ]
    found = verdicts(dialogue, disguises, sender)
    assert {form: reply for form, reply in found.items() if not reply.startswith("55")} == {}


@pytest.mark.requirement("GW-1", side="negative")
def test_an_unknown_recipient_of_our_own_is_refused_at_rcpt_as_not_there(dialogue: Dialogue) -> None:
    unknown = ["nobody.we.know", "smmta", "daemon", "nobody", "x" * 60]
    found = verdicts(dialogue, [f"<{name}@{DOMAIN}>" for name in unknown])
    assert {form: reply for form, reply in found.items() if not reply.startswith("550 5.1.1 ")} == {}


@pytest.mark.requirement("GW-3", side="negative")
def test_nobody_of_the_gateway_itself_has_mail_and_no_file_or_program_takes_any(dialogue: Dialogue) -> None:
    host = lab.fqdn(lab.GATEWAY)
    forms = [f"<nobody@{host}>", f"<{ALICE}@{host}>", "<nobody>", "</tmp/file>", f"</tmp/file@{host}>", '<"|/bin/sh">']
    found = verdicts(dialogue, forms)
    assert {form: reply for form, reply in found.items() if not reply.startswith("55")} == {}


@pytest.mark.requirement("GW-1", side="positive")
def test_every_user_and_alias_is_known_at_the_gateway_in_any_case(dialogue: Dialogue) -> None:
    names = [*lab.users(), *lab.aliases()]
    forms = [f"<{name}@{DOMAIN}>" for name in names] + [f"<{ALICE.upper()}@{DOMAIN.upper()}>"]
    found = verdicts(dialogue, forms)
    assert {form: reply for form, reply in found.items() if not reply.startswith("250 2.1.5 ")} == {}


@pytest.mark.requirement("GW-1", side="positive")
def test_postmaster_is_known_without_a_domain_and_at_the_gateways_own_name(dialogue: Dialogue) -> None:
    found = verdicts(dialogue, ["<postmaster>", f"<postmaster@{lab.fqdn(lab.GATEWAY)}>"])
    assert {form: reply for form, reply in found.items() if not reply.startswith("250 2.1.5 ")} == {}


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.parametrize(
    "command", [f"VRFY {ALICE}", f"VRFY {ALICE}@{DOMAIN}", "EXPN staff", f"ETRN {DOMAIN}", "VERB", "DEBUG"]
)
def test_questions_about_users_and_queues_are_not_answered(command: str, dialogue: Dialogue) -> None:
    (reply,) = dialogue([command])
    assert ALICE not in reply.lower()
    # VRFY may be answered by 252 (RFC 5321 3.5.3): it will not say.
    assert reply[:3] in {"252", "500", "502", "550"} and reply[0] in ("5" if not command.startswith("VRFY") else "25")


@pytest.mark.requirement("SM-15", side="negative")
def test_neither_greeting_nor_ehlo_nor_help_tells_a_version_or_an_inside_name(
    gateway: lab.Machine, stranger: lab.Machine
) -> None:
    commands = ["EHLO probe.example", "HELP", "HELP EHLO", "HELP MAIL", "NOSUCH", "QUIT"]
    said = "\n".join(stranger.call(away.smtp, address=lab.public(lab.GATEWAY), port=PORT, commands=commands))
    version = gateway.sh("dpkg-query -W -f '${Version}' sendmail-bin")
    upstream = version.split("-")[0]
    hidden = [upstream, upstream.rsplit(".", 1)[0], "sendmail", "debian", lab.fqdn(lab.STORE), lab.address(lab.GATEWAY)]
    # Not within a longer number: 8.18 is in the stranger's own address, which EHLO tells him.
    assert [word for word in hidden if re.search(rf"(?<![\d.]){re.escape(word)}(?!\d)", said.lower())] == []


@pytest.mark.requirement("GW-4", side="negative")
def test_an_unprivileged_user_of_the_gateway_cannot_submit(gateway: lab.Machine) -> None:
    text = f"To: {ALICE}@{DOMAIN}\n\nhello\n"
    before = gateway.sh("ls /var/spool/mqueue /var/spool/mqueue-client")
    done = gateway.run("/usr/sbin/sendmail", "-t", user=lab.NOBODY, text=text, check=False)
    assert done.returncode != 0
    assert gateway.sh("ls /var/spool/mqueue /var/spool/mqueue-client") == before


@pytest.mark.requirement("GW-4", side="negative")
def test_the_gateways_sendmail_lends_nobody_its_group(gateway: lab.Machine) -> None:
    mode = gateway.sh("stat -L -c %a /usr/sbin/sendmail").strip()
    assert mode == "555"


@pytest.mark.requirement("SM-4", side="negative")
def test_the_gateway_runs_no_client_queue(gateway: lab.Machine) -> None:
    assert not gateway.host.service("sendmail-msp").is_running
    # No unit of that name, or one that is off: releases of systemd say it with different words.
    assert gateway.run("systemctl", "is-enabled", "--quiet", "sendmail-msp", check=False).returncode != 0
    runner = int(gateway.sh("id -u smmsp"))
    found = gateway.call(away.processes, program="sendmail")
    assert found, "the MTA at least"
    assert [entry for entry in found if runner in entry["uids"]] == []


@pytest.mark.requirement("SM-4", side="positive")
def test_what_root_hands_in_on_the_gateway_while_the_mta_is_away_is_delivered_once_it_is_back(gateway: lab.Machine) -> None:
    """There is no daemon for it, so a timer looks; here it is not waited for."""
    word = lab.token()
    gateway.sh("systemctl stop sendmail")
    try:
        gateway.run("/usr/sbin/sendmail", f"{ALICE}@{DOMAIN}", text=f"Subject: {word}\n\n{word}\n")
        assert gateway.sh("ls /var/spool/mqueue-client").strip()
    finally:
        gateway.sh("systemctl start sendmail")
    assert gateway.sh("systemctl show -P ActiveState -P UnitFileState sendmail-client-queue.timer").split() == [
        "active",
        "enabled",
    ]
    gateway.sh("systemctl start sendmail-client-queue")
    assert not gateway.sh("ls /var/spool/mqueue-client").strip()
    assert mailflow.fetched(ALICE, word)


@pytest.mark.requirement("SM-7", side="negative")
@pytest.mark.requirement("MS-5", side="negative")
@pytest.mark.parametrize("name", [lab.GATEWAY, lab.STORE])
def test_the_mta_and_its_children_are_never_root_and_can_bind_a_low_port_at_most(
    name: str, desk: lab.Machine, stranger: lab.Machine
) -> None:
    machine = lab.Machine(name)
    client = stranger if name == lab.GATEWAY else desk
    with client.talk(away.smtp_session, address=lab.reach(name, client.name), port=PORT) as session:
        assert session.read().startswith("220 ")
        assert session.ask("EHLO probe.example").startswith("250")
        found = machine.call(away.processes, program="sendmail")
        session.ask("QUIT")
    pids = {entry["pid"] for entry in found}
    assert any(entry["parent"] in pids for entry in found), "no child serves the open session"
    for entry in found:
        assert 0 not in entry["uids"], entry
        # A set-user-ID program, were there one, would lend it nothing.
        assert entry["no_new_privileges"], entry
        assert {key for key, value in entry["capabilities"].items() if value & ~CAP_NET_BIND_SERVICE} == set(), entry


@pytest.mark.requirement("MS-5", side="negative")
@pytest.mark.parametrize("name", [lab.GATEWAY, lab.STORE])
def test_where_the_mta_lives_even_root_could_write_to_its_queue_alone(name: str) -> None:
    """What its unit leaves it of the file system, tried by root from inside: modes keep root from nothing."""
    machine = lab.Machine(name)
    inside = ["nsenter", "--mount", "--target", machine.sh("systemctl show -P MainPID sendmail").strip()]
    queue = "/var/spool/mqueue/probe"
    machine.run(*inside, "touch", queue)
    machine.run("rm", queue)
    for directory in ("/etc", "/etc/mail", "/usr/sbin", "/var/spool", "/var/log"):
        done = machine.run(*inside, "touch", f"{directory}/probe", check=False)
        machine.run("rm", "-f", f"{directory}/probe")
        assert done.returncode != 0 and "Read-only file system" in done.stderr, directory


@pytest.mark.requirement("GW-3", side="negative")
def test_nobody_has_an_account_on_the_gateway(gateway: lab.Machine) -> None:
    """Root, who comes by key from the management host, is the only one with a shell; no one has a password."""
    shells = gateway.sh("getent passwd | awk -F: '$7 !~ /(nologin|false|sync)$/ {print $1}'").split()
    passwords = gateway.sh("getent shadow | awk -F: '$2 !~ /^[!*]/ {print $1}'").split()
    assert (shells, passwords) == (["root"], [])
