"""Which way mail may take: what the gateway passes on and what not, what becomes of its own mail, and where mail is kept."""

from __future__ import annotations

import pytest

from tests.site import away, lab, mailflow
from tests.site.test_input import validate

SMTP = lab.port("smtp")
USERS = lab.users()
SMRSH = "/usr/libexec/sendmail/smrsh"


def verdicts(client: lab.Machine, server: str, recipients: list[str]) -> dict[str, str]:
    """A server's reply to each recipient, each in a transaction of its own."""
    commands = ["EHLO probe.example"]
    for recipient in recipients:
        commands += [f"MAIL FROM:<{mailflow.FOREIGNER}>", f"RCPT TO:{recipient}", "RSET"]
    replies = client.call(away.smtp, address=server, port=SMTP, commands=commands)
    return dict(zip(recipients, replies[3::3], strict=True))


@pytest.mark.requirement("GW-2", side="negative")
def test_the_gateway_passes_nothing_to_inside_hosts_by_name_or_address_or_to_other_domains(
    gateway: lab.Machine, stranger: lab.Machine
) -> None:
    user = USERS[0]
    inside = [lab.STORE, lab.COLLECTOR, lab.DESK]
    forms = [f"<{user}@{lab.fqdn(host)}>" for host in inside] + [f"<{user}@[{lab.address(host)}]>" for host in inside]
    forms.append(f"<{user}@other.{lab.domain()}>")
    found = verdicts(stranger, lab.public(lab.GATEWAY), forms)
    assert {form: reply for form, reply in found.items() if not reply.startswith("55")} == {}
    # Nor could it: the store is the only host inside that it reaches by SMTP.
    targets = [[lab.address(host), SMTP] for host in inside]
    tried = [entry["result"] for entry in gateway.call(away.probe, targets=targets)]
    assert dict(zip(inside, tried, strict=True)) == {lab.STORE: "open", lab.COLLECTOR: "silent", lab.DESK: "silent"}


@pytest.mark.requirement("GW-3", side="positive")
def test_mail_for_the_gateways_own_postmaster_is_forwarded_to_the_domains(gateway: lab.Machine) -> None:
    word = lab.token()
    mailflow.from_the_world([f"postmaster@{lab.fqdn(lab.GATEWAY)}"], word)
    readers = lab.behind("postmaster")
    assert {user for user in readers if mailflow.fetched(user, word) is None} == set()
    assert gateway.run("grep", "-rl", word, "/var/mail", "/root", check=False).stdout == ""


@pytest.mark.requirement("GW-4", side="positive")
def test_what_root_of_the_gateway_has_to_say_arrives_without_any_set_id_bit(gateway: lab.Machine) -> None:
    """What cron and Tripwire write. Root needs no group's help to submit."""
    assert gateway.run("find", "/usr", "-name", "sendmail*", "-type", "f", "-perm", "/6000").stdout == ""
    word = lab.token()
    gateway.run("/usr/sbin/sendmail", "-t", text=f"To: root\nSubject: {word}\n\n{word}\n")
    assert {user for user in lab.behind("root") if mailflow.fetched(user, word) is None} == set()


@pytest.mark.requirement("GW-5", side="negative")
@pytest.mark.parametrize("start", [lab.DESK, lab.COLLECTOR, lab.NAMESERVER, lab.STRANGER])
def test_the_gateway_relays_outward_for_the_internal_server_alone(start: str) -> None:
    (reply,) = verdicts(lab.Machine(start), lab.reach(lab.GATEWAY, start), [f"<{mailflow.FOREIGNER}>"]).values()
    assert reply.startswith("550 5.7.1 ")


@pytest.mark.requirement("SM-15", side="positive")
def test_the_gateway_greets_with_its_public_name_and_mail_that_leaves_carries_the_domain(
    store: lab.Machine, stranger: lab.Machine
) -> None:
    server = {"address": lab.public(lab.GATEWAY), "port": SMTP}
    greeting, ehlo, guide, _end = stranger.call(away.smtp, **server, commands=["EHLO probe.example", "HELP", "QUIT"])
    assert greeting.split()[:2] == ["220", lab.fqdn(lab.GATEWAY)]
    assert ehlo.startswith(f"250-{lab.fqdn(lab.GATEWAY)} ") and guide.startswith("214")
    word = lab.token()
    store.run("/usr/sbin/sendmail", "-t", user=lab.NOBODY, text=f"To: {mailflow.FOREIGNER}\nSubject: {word}\n\n{word}\n")
    text = mailflow.arrived_abroad(word)
    assert f"{lab.NOBODY}@{lab.domain()}" in text.split("\nFrom:")[1].split("\n")[0]


@pytest.fixture
def kept(store: lab.Machine) -> tuple[str, str]:
    """A word of a message that has been delivered and not been fetched, and the file that holds it."""
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(USERS[0])], word)
    path = lab.until(lambda: store.sh(f"grep -rl {word} /var/mail/*/new || true").strip(), "the message")
    return word, path


@pytest.mark.requirement("MS-5", side="positive")
def test_a_message_is_delivered_as_its_readers_own_file(kept: tuple[str, str], store: lab.Machine) -> None:
    word, path = kept
    assert store.run("stat", "-c", "%U %a", path).stdout.split() == [USERS[0], "600"]
    assert mailflow.fetched(USERS[0], word) is not None


@pytest.mark.requirement("MS-2", side="negative")
def test_a_message_is_on_the_stores_own_disk_and_on_no_other_host(kept: tuple[str, str], store: lab.Machine) -> None:
    word, path = kept
    assert store.run("stat", "-f", "-c", "%T", path).stdout.strip() not in {"nfs", "smb2", "cifs", "fuseblk", "tmpfs"}
    for name in lab.group("site"):
        if name != lab.STORE:
            places = "/var/mail /var/spool /var/lib /root /home /tmp"
            found = lab.Machine(name).sh(f"grep -rlsF -e {word} {places} || true").split()
            # A log on its way to the collector may name the message; it holds none of its text.
            assert found == [], name
    assert mailflow.fetched(USERS[0], word) is not None


@pytest.mark.requirement("SM-9", side="negative")
@pytest.mark.parametrize("program", ["uudecode", "procmail", "vacation"])
def test_an_alias_to_a_program_is_refused_at_converge_and_at_delivery(
    program: str, desk: lab.Machine, store: lab.Machine
) -> None:
    target = f"|/usr/bin/{program}"
    done = validate(site_aliases={**lab.aliases(), "decode": [target]})
    assert done.returncode != 0 and "Nothing was changed" in done.stdout
    assert "site_aliases.decode" in done.stdout and target in done.stdout
    refused = store.run(SMRSH, "-c", program, user=lab.NOBODY, check=False)
    assert refused.returncode != 0 and "not available for sendmail programs" in refused.stdout + refused.stderr
    (reply,) = verdicts(desk, mailflow.STORE, [f'<"{target}"@{lab.domain()}>']).values()
    assert reply.startswith("55")
