"""Unsolicited mail and viruses: what the gateway refuses while a stranger is still there, what passes, and who does the looking."""

from __future__ import annotations

import binascii
import io
import re
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
import yaml

from tests.site import away, lab, mailflow

READER = lab.users()[0]
SENDER = mailflow.FOREIGNER
PORT = lab.port("smtp")
GATEWAY = lab.public(lab.GATEWAY)
SETTINGS: dict[str, Any] = lab.inventory()["_meta"]["hostvars"][lab.GATEWAY]
DEFAULTS: dict[str, Any] = yaml.safe_load((lab.ROOT / "roles/content_filter/defaults/main.yml").read_text())
# Not in the clear: whoever keeps this repository has a virus scanner too.
EICAR = bytes.fromhex(DEFAULTS["content_filter_signatures"][0]["hex"])
# The test message of spam filters (GTUBE), in halves for the same reason.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
MILTER_SOCKET, SCANNER_SOCKET = DEFAULTS["content_filter_socket"], "/run/content-filter/clamd.sock"
UNITS = {"rspamd": "rspamd.service", "clamd": "clamav-daemon.service"}
DAEMONS = {**UNITS, "redis-server": "redis-server.service"}
MOST_EXPOSURE = 2.5

positive = pytest.mark.requirement("SM-14", side="positive")
negative = pytest.mark.requirement("SM-14", side="negative")


# -- messages --------------------------------------------------------------------------------------------------------


def letter(
    word: str, headers: dict[str, str] | None = None, body: str = "see there", files: dict[str, bytes] | None = None
) -> str:
    """A message with a word in its subject and its text, further headers (one of the same name is replaced) and attachments."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"<{SENDER}>", f"<{mailflow.ours(READER)}>", word
    message["Date"], message["Message-ID"] = "Tue, 24 Nov 2026 12:00:00 +0000", f"<{word}@{lab.foreign_domain()}>"
    message.set_content(f"{body}\n{word}\n")
    for name, data in (files or {}).items():
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    text = message.as_string()
    for name, value in (headers or {}).items():
        text = re.sub(rf"(?m)^{name}: .*\n", "", text)
        text = f"{name}: {value}\n{text}"
    return text.replace("\n", "\r\n") + "\r\n."


def archive(name: str, data: bytes) -> bytes:
    """A zip with one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, data)
    return out.getvalue()


def uuencoded(data: bytes) -> str:
    """The lines of a file as they stood in a text before there was MIME."""
    return "".join(binascii.b2a_uu(data[start : start + 45]).decode() for start in range(0, len(data), 45))


def offer(text: str, recipient: str = mailflow.ours(READER), source: str = "", sender: str = SENDER) -> list[str]:
    """A stranger offers a message to the gateway: replies to RCPT and to the message."""
    commands = ["EHLO probe.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA", text, "QUIT"]
    replies = lab.Machine(lab.STRANGER).call(away.smtp, address=GATEWAY, port=PORT, commands=commands, source=source)
    return [replies[3], replies[5]]


def verdict(text: str) -> str:
    """The reply to a message whose recipient is known."""
    rcpt, data = offer(text)
    assert rcpt.startswith("250 2.1.5 "), rcpt
    return data


# -- block lists -----------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(stranger: lab.Machine) -> Iterator[str]:
    """An address of the stranger's that the lab's block list has."""
    address = str(SETTINGS["lab_block_list"]["listed"][0])
    link = stranger.sh(
        f"ip -o route get {lab.address(lab.ROUTER, lab.zone(lab.STRANGER))} | sed 's/.* dev \\([^ ]*\\).*/\\1/'"
    ).strip()
    stranger.run("ip", "address", "add", f"{address}/24", "dev", link)
    yield address
    stranger.run("ip", "address", "del", f"{address}/24", "dev", link)


@positive
def test_a_listed_client_is_refused_and_its_neighbour_is_not(listed: str) -> None:
    word = lab.token()
    rcpt, _ = offer(letter(word), source=listed)
    zone = f"{SETTINGS['lab_block_list']['name']}.{lab.foreign_domain()}"
    assert rcpt.startswith("550 5.7.1 ") and zone in rcpt and listed in rcpt
    # The same person from the address that is not on the list.
    assert verdict(letter(word)).startswith("250 ")
    assert mailflow.fetched(READER, word) is not None


@positive
def test_whoever_is_listed_by_mistake_can_tell_the_postmaster(listed: str) -> None:
    word = lab.token()
    rcpt, data = offer(letter(word), mailflow.ours("postmaster"), source=listed)
    assert (rcpt[:4], data[:4]) == ("250 ", "250 ")
    (reader,) = lab.behind("postmaster")
    assert mailflow.fetched(reader, word) is not None


@pytest.fixture
def list_away(stranger: lab.Machine, nameserver: lab.Machine) -> Iterator[None]:
    """The block list's name server stopped, and what the resolver remembers of it forgotten."""
    stranger.run("systemctl", "stop", "named")
    nameserver.run("rndc", "flush")
    yield
    stranger.run("systemctl", "start", "named")

    def found() -> bool:
        nameserver.run("rndc", "flush")
        question = {"server": lab.address(lab.NAMESERVER), "port": lab.port("dns"), "questions": [[lab.foreign_domain(), "MX"]]}
        (answer,) = lab.Machine(lab.GATEWAY).call(away.dns, **question)
        return bool(answer["answer"])

    # It says that it runs before all of its zones are there, and who asked too early would remember for a while that nobody answers.
    lab.until(found, "the names of the world outside", deadline=60)


@positive
@pytest.mark.usefixtures("list_away")
def test_a_list_that_does_not_answer_stops_nobody(listed: str) -> None:
    # The null sender: the domain of any other would not be found either.
    rcpt, _ = offer(letter(lab.token()), source=listed, sender="")
    assert rcpt.startswith("250 2.1.5 "), rcpt


# -- headers ---------------------------------------------------------------------------------------------------------

# For each check of the inventory: values that it is for, and one that only looks like it.
SAMPLES = {
    "Subject": (["Make money fast", "FREE  MONEY\n FAST today"], "how to make money fast"),
    "X-Mailer": (["BulkMailer 2.0", 'bulk mailer (v1) "<x@y>"'], "The Bat! (v1.5) no bulk mailer"),
}


@positive
@pytest.mark.parametrize("check", SETTINGS["sendmail_header_checks"], ids=lambda check: str(check["header"]))
def test_a_forbidden_header_is_refused_folded_and_in_capitals_and_a_like_one_is_not(check: dict[str, Any]) -> None:
    forbidden, harmless = SAMPLES[check["header"]]
    for value in forbidden:
        reply = verdict(letter(lab.token(), {check["header"]: value}))
        assert reply.startswith("550 5.7.1 ") and check.get("reply", check["header"]) in reply, (value, reply)
    word = lab.token()
    assert verdict(letter(word, {check["header"]: harmless})).startswith("250 ")
    text = mailflow.fetched(READER, word)
    assert text is not None and harmless in text


# -- contents --------------------------------------------------------------------------------------------------------

REFUSED: dict[str, dict[str, Any]] = {
    "virus as text": {"body": EICAR.decode()},
    "virus attached": {"files": {"test.txt": EICAR}},
    "virus in an archive": {"files": {"a.zip": archive("test.txt", EICAR)}},
    "virus in an archive in an archive": {"files": {"a.zip": archive("b.zip", archive("test.txt", EICAR))}},
    "program": {"files": {"setup.exe": b"hello"}},
    "program in capitals with two extensions": {"files": {"invoice.pdf.EXE": b"hello"}},
    "script in an archive": {"files": {"a.zip": archive("invoice.Js", b"hello")}},
    "spam": {"body": GTUBE},
}


@positive
def test_a_file_in_the_midst_of_a_text_is_refused_also_where_hardly_anything_says_that_it_is_mail() -> None:
    """The first header is none that clamd knows, and there is no MIME: it takes the whole for a text (its issue 1205)."""
    word = lab.token()
    headers = ["X-Mailer: none", f"From: <{SENDER}>", f"Message-ID: <{word}@{lab.foreign_domain()}>", f"Subject: {word}"]
    body = ["see there", "", "begin 644 test.txt", *uuencoded(EICAR).splitlines(), "`", "end", "."]
    reply = verdict("\r\n".join([*headers, "", *body]))
    assert re.match(r"554 5\.7\.1 .*uuencode", reply), reply
    assert mailflow.fetched(READER, word, deadline=1) is None


@negative
def test_a_text_that_only_speaks_of_beginning_arrives() -> None:
    word = lab.token()
    assert verdict(letter(word, body="begin 644 times more\nHello, this is no file\nend")).startswith("250 ")
    assert mailflow.fetched(READER, word) is not None


@positive
@pytest.mark.parametrize("what", REFUSED)
def test_what_may_not_come_in_is_refused_to_the_senders_face_and_nobody_gets_anything(
    what: str, gateway: lab.Machine, stranger: lab.Machine
) -> None:
    word = lab.token()
    before = gateway.sh("ls /var/spool/mqueue")
    reply = verdict(letter(word, **REFUSED[what]))
    assert re.match(r"554 5\.7\.1 ", reply), reply
    # It is not kept, so no bounce can come of it, and no reader sees it.
    assert gateway.sh("ls /var/spool/mqueue") == before
    assert mailflow.fetched(READER, word, deadline=1) is None
    assert word not in stranger.sh(f"cat /var/mail/{SENDER.split('@')[0]} 2>/dev/null || true")


@positive
@pytest.mark.parametrize(
    "files",
    [
        {},
        {"report.pdf": b"%PDF-1.4 hello\n%%EOF\n"},
        {"a.zip": archive("notes.txt", b"hello")},
        {"exe": b"hello", "com.txt": b"hello"},
    ],
    ids=["plain", "document", "archive", "names like extensions"],
)
def test_harmless_mail_arrives_unmarked_with_what_is_attached(files: dict[str, bytes]) -> None:
    word = lab.token()
    assert verdict(letter(word, files=files)).startswith("250 ")
    text = mailflow.fetched(READER, word)
    assert text is not None
    assert [name for name in files if name not in text] == []
    assert "X-Spam" not in text


@positive
def test_a_users_own_mail_is_looked_at_too_before_it_leaves(store: lab.Machine, desk: lab.Machine) -> None:
    """The store gets the refusal and tells its own user; the world gets nothing."""
    word = lab.token()
    text = letter(word, {"From": f"<{mailflow.ours(READER)}>", "To": f"<{SENDER}>"}, files={"test.txt": EICAR})
    envelope = [f"MAIL FROM:<{mailflow.ours(READER)}>", f"RCPT TO:<{SENDER}>", "DATA", text, "QUIT"]
    replies = desk.call(away.smtp, address=lab.address(lab.STORE), port=PORT, commands=["EHLO probe.example", *envelope])
    assert replies[5].startswith("250 "), replies
    report = mailflow.fetched(READER, word)
    assert report is not None and "5.7.1" in report and "Refused" in report


# -- the filter away -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["rspamd", "clamav-daemon"])
def away_unit(request: pytest.FixtureRequest, gateway: lab.Machine) -> Iterator[str]:
    """The filter, or the virus scanner behind it, stopped together with its socket; there again after the test."""
    units = [f"{request.param}.socket", f"{request.param}.service"]
    try:
        gateway.run("systemctl", "stop", *units)
        yield str(request.param)
    finally:
        gateway.run("systemctl", "start", *units)


@positive
def test_without_filter_or_scanner_nothing_comes_in_unseen_and_mail_comes_later(away_unit: str, gateway: lab.Machine) -> None:
    word = lab.token()
    replies = lab.Machine(lab.STRANGER).call(
        away.smtp, address=GATEWAY, port=PORT, commands=lab.letter(SENDER, [mailflow.ours(READER)], word)
    )
    refusal = next((reply for reply in replies[1:] if not reply.startswith(("2", "3"))), "accepted")
    assert refusal.startswith("451 "), replies
    gateway.run("systemctl", "start", f"{away_unit}.service")
    # As a sender would, who tries again until it is taken.
    lab.until(lambda: verdict(letter(word)).startswith("250 "), "the filter's return")
    assert mailflow.fetched(READER, word) is not None


@positive
@pytest.mark.parametrize("program", UNITS)
def test_a_daemon_that_dies_comes_back_by_itself(program: str, gateway: lab.Machine) -> None:
    (main,) = [entry for entry in gateway.call(away.processes, program=program) if entry["parent"] == 1]
    gateway.run("kill", "-KILL", str(main["pid"]))
    word = lab.token()
    # Until then a sender is told to come back, at whichever command it is.
    lab.until(lambda: offer(letter(word))[1].startswith("250 "), f"{program} at work again")
    assert verdict(letter(lab.token(), files={"test.txt": EICAR})).startswith("55")
    assert mailflow.fetched(READER, word) is not None


# -- who does the looking --------------------------------------------------------------------------------------------


@negative
@pytest.mark.parametrize("program", DAEMONS)
def test_what_takes_strangers_files_apart_is_never_root_and_has_no_privilege(program: str, gateway: lab.Machine) -> None:
    found = gateway.call(away.processes, program=program)
    assert found
    for entry in found:
        assert 0 not in entry["uids"] and entry["no_new_privileges"], entry
        assert set(entry["capabilities"].values()) == {0}, entry


@negative
def test_only_the_mail_server_reaches_the_filter_and_only_the_filter_the_scanner(gateway: lab.Machine) -> None:
    people = ["smmta", "smmsp", "_rspamd", "clamav", lab.NOBODY]
    can = {
        path: [user for user in people if gateway.call(away.socket_opens, path=path, user=user)]
        for path in (MILTER_SOCKET, SCANNER_SOCKET)
    }
    assert can == {MILTER_SOCKET: ["smmta"], SCANNER_SOCKET: ["_rspamd"]}


@negative
def test_neither_listens_to_any_network(gateway: lab.Machine) -> None:
    listeners = gateway.sh("ss -Hlntup")
    assert [line for line in listeners.splitlines() if "rspamd" in line or "clam" in line] == []


@negative
@pytest.mark.parametrize("unit", DAEMONS.values())
def test_the_sandbox_leaves_little_exposed(unit: str, gateway: lab.Machine) -> None:
    last = gateway.run("systemd-analyze", "security", "--no-pager", unit, check=False).stdout.strip().splitlines()[-1]
    found = re.search(r"exposure level for \S+: ([0-9.]+)", last)
    assert found and float(found[1]) <= MOST_EXPOSURE, last
