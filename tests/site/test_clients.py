"""Programs that people use, at a desk: they hand in mail at the ports for submission and read it, over TLS that they verify."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.site import authority, lab, mailflow

USER = lab.users()[0]
STORE = lab.fqdn(lab.STORE)
HOME = "/run/clients"
TRUSTED = f"{HOME}/authority.pem"
SUBMISSION, SUBMISSIONS, POP3S, IMAPS = (lab.port(name) for name in ("submission", "submissions", "pop3s", "imaps"))


@pytest.fixture(scope="module")
def clients() -> Iterator[lab.Machine]:
    """A desk with settings for each program; nothing of them afterwards."""
    desk = lab.Machine(lab.DESK)
    files = {
        "authority.pem": authority.authority(),
        # Of curl: a password on its command line could be seen by others.
        "curl": f'user = "{USER}:{lab.password(USER)}"\ncacert = "{TRUSTED}"\nsilent\nshow-error\n',
        "password": lab.password(USER),
        "msmtp": f"""
defaults
auth plain
tls on
tls_trust_file {TRUSTED}
host {STORE}
user {USER}
passwordeval cat {HOME}/password
from {mailflow.ours(USER)}
account starttls
port {SUBMISSION}
account wrapped
port {SUBMISSIONS}
tls_starttls off
""",
        "fetchmail": f"""
poll {STORE} protocol pop3 port {POP3S} user "{USER}" password "{lab.password(USER)}"
  ssl sslcertck sslcertfile {TRUSTED} keep fetchall mda "cat >>{HOME}/fetched"
""",
        "mutt": f"""
set ssl_ca_certificates_file = "{TRUSTED}"
set certificate_file = "{TRUSTED}"
set ssl_usesystemcerts = no
set from = "{mailflow.ours(USER)}"
set smtp_url = "smtps://{USER}@{STORE}:{SUBMISSIONS}/"
set smtp_pass = "{lab.password(USER)}"
set copy = no
""",
    }
    desk.sh(f"rm -rf {HOME} && install -d -m 0700 {HOME}")
    for name, text in files.items():
        desk.run("sh", "-c", f"umask 0077; cat >{HOME}/{name}", text=text)
    yield desk
    desk.sh(f"rm -rf {HOME}")


def message(word: str) -> str:
    """A small message of the user's to himself and to somebody abroad."""
    return f"From: {mailflow.ours(USER)}\nTo: {mailflow.ours(USER)}, {mailflow.FOREIGNER}\nSubject: {word}\n\n{word}\n"


RECIPIENTS = f"{mailflow.ours(USER)} {mailflow.FOREIGNER}"
CURL = " ".join(f"--mail-rcpt {name}" for name in RECIPIENTS.split())
# Each hands in what it reads.
HAND_IN = {
    "msmtp at 587": f"msmtp --file {HOME}/msmtp --account starttls -- {RECIPIENTS}",
    "msmtp at 465": f"msmtp --file {HOME}/msmtp --account wrapped -- {RECIPIENTS}",
    "curl at 465": f"curl --config {HOME}/curl --mail-from {mailflow.ours(USER)} {CURL} --crlf --upload-file - smtps://{STORE}:{SUBMISSIONS}",
    "curl at 587": f"curl --config {HOME}/curl --ssl-reqd --mail-from {mailflow.ours(USER)} {CURL} --crlf --upload-file - smtp://{STORE}:{SUBMISSION}",
    "swaks at 587": f"swaks --silent 2 --server {STORE} --port {SUBMISSION} --tls --tls-verify --tls-ca-path {TRUSTED} --auth PLAIN"
    f" --auth-user {USER} --auth-password $(cat {HOME}/password) --from {mailflow.ours(USER)} --to {RECIPIENTS.replace(' ', ',')} --data -",
    "mutt at 465": f"HOME={HOME} mutt -F {HOME}/mutt -H -",
}


@pytest.mark.requirement("MS-1", side="positive")
@pytest.mark.parametrize("program", HAND_IN)
def test_a_program_hands_in_mail_for_users_and_for_abroad(program: str, clients: lab.Machine) -> None:
    word = lab.token()
    done = clients.run("sh", "-euc", HAND_IN[program], text=message(word), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert mailflow.fetched(USER, word) is not None
    mailflow.arrived_abroad(word)


READ = {
    "fetchmail over POP": f"umask 0077; fetchmail --silent --fetchmailrc {HOME}/fetchmail --idfile {HOME}/ids --pidfile {HOME}/pid && cat {HOME}/fetched",
    "curl over POP": f"for number in $(curl --config {HOME}/curl pop3s://{STORE}:{POP3S}/ | cut -d' ' -f1);"
    f" do curl --config {HOME}/curl pop3s://{STORE}:{POP3S}/$number; done",
    "curl over IMAP": f"for number in $(curl --config {HOME}/curl --request 'SEARCH ALL' imaps://{STORE}:{IMAPS}/INBOX | tr -dc '0-9 \\n');"
    f' do curl --config {HOME}/curl "imaps://{STORE}:{IMAPS}/INBOX;MAILINDEX=$number"; done',
}


@pytest.mark.requirement("MS-3", side="positive")
@pytest.mark.parametrize("program", READ)
def test_a_program_reads_what_has_arrived(program: str, clients: lab.Machine) -> None:
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(USER)], word)
    box = mailflow.mailbox(USER)
    lab.until(lambda: lab.Machine(lab.STORE).sh(f"grep -rl {word} {box}/new {box}/cur || true"), "the message in the mailbox")
    done = clients.run("sh", "-euc", READ[program], check=False)
    assert word in done.stdout, done.stdout + done.stderr
    assert mailflow.fetched(USER, word) is not None


@pytest.mark.requirement("MS-3", side="negative")
def test_a_program_that_believes_another_authority_hands_in_nothing(clients: lab.Machine) -> None:
    clients.run("sh", "-c", f"cat >{HOME}/other.pem", text=authority.of(authority.certificate("other.example", stranger=True)))
    command = HAND_IN["msmtp at 465"].replace(f"{HOME}/msmtp", f"{HOME}/other")
    clients.sh(f"sed 's,{TRUSTED},{HOME}/other.pem,' {HOME}/msmtp >{HOME}/other && chmod 0600 {HOME}/other")
    done = clients.run("sh", "-euc", command, text=message(lab.token()), check=False)
    assert done.returncode != 0 and "certificate" in done.stderr, done.stderr
