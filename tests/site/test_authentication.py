"""Whose mail it is: what leaves the site is signed, so that others can tell; what comes in is held against what its domain says.

Signatures are made and verified on the stranger's host by dkimpy, which knows nothing of rspamd.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.site import away, lab, mailflow
from tests.site.test_filters import letter, verdict

READER, OTHER = lab.users()[:2]
STRANGER = lab.Machine(lab.STRANGER)
DOMAIN = lab.domain()
SECRETS = Path(str(lab.variables()["lab_secrets"]).replace("{{ inventory_dir }}", str(lab.INVENTORY)))
KEYS = SECRETS / "dkim"
FOREIGN_KEYS = SECRETS / "foreign-dkim"
STRICT, DOUBTFUL = (
    next(f"{name}.{lab.foreign_domain()}" for name, policy in lab.variables()["lab_strict_domains"].items() if policy == wanted)
    for wanted in ("reject", "quarantine")
)

positive = pytest.mark.requirement("SM-14", side="positive")
negative = pytest.mark.requirement("SM-14", side="negative")


def states(directory: Path = KEYS) -> list[dict[str, Any]]:
    """What is written down of the keys in a directory."""
    rows: list[dict[str, Any]] = json.loads((directory / "keys.json").read_text(encoding="utf-8"))["keys"]
    return rows


def signing(directory: Path = KEYS, domain: str = DOMAIN) -> tuple[str, str]:
    """The selector that signs for a domain, and its private half."""
    (row,) = [row for row in states(directory) if (row["domain"], row["state"]) == (domain, "signing")]
    return row["selector"], (directory / f"{domain}.{row['selector']}.pem").read_text(encoding="ascii")


def from_the_desk(text: str, sender: str, recipient: str = mailflow.FOREIGNER) -> list[str]:
    """Somebody inside hands a message to the store, as it is."""
    commands = ["EHLO probe.example", f"MAIL FROM:<{sender}> BODY=8BITMIME", f"RCPT TO:<{recipient}>", "DATA", text, "QUIT"]
    replies: list[str] = lab.Machine(lab.DESK).call(away.smtp, address=mailflow.STORE, port=lab.port("smtp"), commands=commands)
    return replies


def abroad(word: str, headers: list[str], body: str = "see there", sender: str = mailflow.ours(READER)) -> str:
    """A message from the desk with these headers, as the Internet's host received it."""
    text = "\r\n".join([*headers, f"Subject: {word}", "", body, word, "."])
    replies = from_the_desk(text, sender)
    assert replies[5].startswith("250 "), replies
    return mailflow.arrived_abroad(word)


def verifies(text: str, program: str = "dkimverify") -> bool:
    """Whether a verifier that others wrote finds a message's signature sound, at a stranger's."""
    # A mailbox's first line is no header.
    message = re.sub(r"\A(?![A-Za-z-]+:).*\n", "", text).replace("\r\n", "\n")
    done = STRANGER.run("sh", "-c", f"{program}; true", text=message)
    return "signature ok" in done.stdout or "cv=b'pass'" in done.stdout or "success" in done.stdout


def header(text: str, name: str) -> list[str]:
    """The values of all headers of a name, unfolded."""
    head = re.sub(r"\r?\n[ \t]+", " ", re.split(r"\r?\n\r?\n", text)[0])
    return re.findall(rf"(?mi)^{name}: (.*?)\r?$", head)


# -- outward ---------------------------------------------------------------------------------------------------------

FROM = f"From: Alice <{mailflow.ours(READER)}>"
TO = f"To: <{mailflow.FOREIGNER}>"
SENT = {
    "what is usual": [FROM, TO, "Date: Tue, 24 Nov 2026 12:00:00 +0000", "Message-ID: <{word}@probe.example>"],
    "without a date and an id, which are added on the way": [FROM, TO],
    "with lists as people write them": [
        FROM,
        f'To: {mailflow.FOREIGNER},x@y.example ,  "Z, z" <z@y.example>',
        "Cc: a@y.example",
    ],
    "without an author, who is put in on the way": [TO],
    "with folds, tabs and long lines": [
        FROM,
        TO,
        "X-Long: a\r\n\tb\r\n   c",
        "Reply-To: " + ",\r\n ".join([mailflow.FOREIGNER] * 9),
    ],
}


@positive
@pytest.mark.parametrize("what", SENT)
def test_what_leaves_verifies_with_the_key_in_the_dns_as_the_internet_receives_it(what: str) -> None:
    word = lab.token()
    text = abroad(
        word,
        [line.replace("{word}", word) for line in SENT[what]],
        body="tr\u00e4nen  \u20ac \t\r\n\r\n..x".encode().decode("latin-1"),
    )
    (signature,) = header(text, "DKIM-Signature")
    assert f"d={DOMAIN};" in signature and f"s={signing()[0]};" in signature
    assert verifies(text)


@positive
def test_a_changed_message_does_not_verify() -> None:
    word = lab.token()
    text = abroad(word, SENT["what is usual"])
    assert verifies(text)
    assert not verifies(text.replace("see there", "see here"))
    assert not verifies(text.replace("From: Alice", "From: Mallory"))


@negative
@pytest.mark.parametrize(
    ("sender", "author"),
    [
        (mailflow.FOREIGNER, mailflow.FOREIGNER),
        # A stranger's message that somebody here has sent on, with one of our names as its author.
        (mailflow.FOREIGNER, mailflow.ours(READER)),
    ],
)
def test_a_strangers_mail_that_is_sent_on_is_not_signed(sender: str, author: str) -> None:
    text = abroad(lab.token(), [f"From: <{author}>", TO], sender=sender)
    assert header(text, "DKIM-Signature") == []


@positive
def test_a_report_to_a_stranger_is_signed_too() -> None:
    """A user of the store has no such mailbox elsewhere: what the store itself writes, with no sender in the envelope."""
    word = lab.token()
    text = abroad(word, [f"From: <MAILER-DAEMON@{DOMAIN}>", TO], sender="")
    assert verifies(text)


# -- inward ----------------------------------------------------------------------------------------------------------


def signed(text: str, domain: str) -> str:
    """A message with the signature of a foreign domain, made by dkimpy."""
    name, key = signing(FOREIGN_KEYS, domain)
    script = 'f=$(mktemp); cat > "$f"; printf %s "$1" > "$f.key"; dkimsign "$2" "$3" "$f.key" < "$f"; rm "$f" "$f.key"'
    message = text.removesuffix("\r\n.").replace("\r\n", "\n")
    done = STRANGER.run("sh", "-c", script, "-", key, name, domain, text=message).stdout
    assert "DKIM-Signature" in done
    return done.replace("\r\n", "\n").replace("\n", "\r\n") + "."


@positive
def test_what_claims_to_be_from_a_strict_domain_is_refused_while_the_sender_is_there() -> None:
    for forged in (f"x@{STRICT}", mailflow.ours(READER)):
        reply = verdict(letter(lab.token(), {"From": f"<{forged}>"}))
        assert reply.startswith("554 5.7.1 ") and "DMARC" in reply, reply


@positive
def test_what_a_strict_domain_has_signed_comes_in_and_says_so() -> None:
    word = lab.token()
    assert verdict(signed(letter(word, {"From": f"<x@{STRICT}>"}), STRICT)).startswith("250 ")
    text = mailflow.fetched(READER, word)
    assert text is not None
    (results,) = header(text, "Authentication-Results")
    assert results.startswith(f"{lab.fqdn(lab.GATEWAY)};"), results
    assert "dkim=pass" in results and f"header.d={STRICT}" in results and "dmarc=pass" in results


@positive
def test_a_signed_message_that_was_changed_is_refused() -> None:
    word = lab.token()
    text = signed(letter(word, {"From": f"<x@{STRICT}>"}), STRICT)
    assert verdict(text.replace("see there", "see here")).startswith("554 5.7.1 ")


@positive
def test_what_a_doubtful_domain_did_not_sign_is_marked() -> None:
    word = lab.token()
    assert verdict(letter(word, {"From": f"<x@{DOUBTFUL}>"})).startswith("250 ")
    text = mailflow.filed(READER, mailflow.spam_folder(), word)
    assert text is not None and header(text, "X-Spam") == ["Yes"]


@positive
def test_results_that_somebody_else_wrote_in_our_name_are_gone() -> None:
    word = lab.token()
    lies = [f"{lab.fqdn(lab.GATEWAY)}; dmarc=pass header.from=bank.example", f"{DOMAIN}; spf=pass", "other.example; dkim=pass"]
    text = "".join(f"Authentication-Results: {lie}\r\n" for lie in lies) + letter(word)
    assert verdict(text).startswith("250 ")
    found = mailflow.fetched(READER, word)
    assert found is not None
    (results,) = header(found, "Authentication-Results")
    assert results.startswith(f"{lab.fqdn(lab.GATEWAY)};") and "spf=pass" in results and "bank.example" not in results


@positive
def test_what_came_in_is_sealed_for_those_it_is_forwarded_to() -> None:
    word = lab.token()
    assert verdict(signed(letter(word, {"From": f"<x@{STRICT}>"}), STRICT)).startswith("250 ")
    text = mailflow.fetched(READER, word)
    assert text is not None
    (seal,) = header(text, "ARC-Seal")
    assert f"d={DOMAIN};" in seal and verifies(text, "arcverify")
    assert not verifies(text.replace("see there", "see here"), "arcverify")


PEOPLE = ["smmta", "smmsp", "clamav", lab.NOBODY]


# -- names and keys --------------------------------------------------------------------------------------------------


def ask(name: str) -> list[str]:
    """What the world is told under a name, as text."""
    (answer,) = STRANGER.call(away.dns, server=lab.public(lab.NAMESERVER), port=lab.port("dns"), questions=[[name, "TXT"]])
    return [value for _name, _kind, value in answer["answer"]]


@positive
def test_the_world_learns_what_to_do_with_mail_that_is_not_ours() -> None:
    policy = lab.variables()["site_dmarc"]["policy"]
    (record,) = ask(f"_dmarc.{DOMAIN}")
    assert record.startswith(f"v=DMARC1; p={policy};"), record


@negative
def test_a_key_is_read_by_the_filter_alone_and_is_in_no_output_or_log(gateway: lab.Machine, collector: lab.Machine) -> None:
    selector, key = signing()
    path = f"/etc/content-filter/dkim/{DOMAIN}.{selector}.pem"

    def readers() -> list[str]:
        return [user for user in PEOPLE if gateway.run("cat", path, user=user, check=False).returncode == 0]

    assert readers() == []
    # Laid down once more, by a run that tells all that it does.
    gateway.run("rm", path)
    told = lab.ansible(
        *["ansible-playbook", "playbooks/mail.yml", "--limit", lab.GATEWAY, "--tags", "content_filter", "-vvv", "--diff"]
    ).stdout
    lines = [line for line in key.splitlines() if "KEY" not in line]
    assert f"changed: [{lab.GATEWAY}]" in told and [line for line in lines if line in told] == []
    assert readers() == []
    assert gateway.run("cat", path, user="_rspamd").stdout == key
    for machine in (gateway, collector):
        found = machine.sh(
            f"grep -rlsF -- '{lines[5]}' /etc /run /tmp /var || true; journalctl --no-pager | grep -cF -- '{lines[5]}' || true"
        )
        assert found.split() == ([path, "0"] if machine is gateway else ["0"])
    assert verifies(abroad(lab.token(), SENT["what is usual"]))


# -- rotation --------------------------------------------------------------------------------------------------------


def rotate(*arguments: str) -> str:
    """One run of the playbook, without its waits."""
    waits = '{"dkim_rotate_published": 0, "dkim_rotate_kept": 0}'
    return lab.ansible("ansible-playbook", "playbooks/dkim_rotate.yml", "-e", waits, *arguments).stdout


def published() -> list[str]:
    """The selectors that the world finds, of all that there ever were."""
    return [row["selector"] for row in states() if row["domain"] == DOMAIN and ask(f"{row['selector']}._domainkey.{DOMAIN}")]


@pytest.mark.lasting
@positive
def test_a_rotation_publishes_first_then_signs_then_withdraws_and_mail_always_verifies() -> None:
    old = signing()[0]

    def signer() -> str:
        text = abroad(lab.token(), SENT["what is usual"])
        assert verifies(text)
        (found,) = re.findall(r"s=([^;]+);", header(text, "DKIM-Signature")[0])
        return str(found)

    assert "begin" in rotate("--check") and published() == [old]
    rotate()
    (new,) = set(published()) - {old}
    assert signer() == old
    # Broken off before the gateways have heard of the step: nothing more happens until they have.
    rotate("--limit", lab.NAMESERVER)
    assert [row["since"] for row in states() if (row["domain"], row["state"]) == (DOMAIN, "signing")] == [None]
    assert signer() == old
    rotate()
    assert (signer(), set(published())) == (new, {old, new})
    rotate()
    assert (signer(), published()) == (new, [new])
    assert not (KEYS / f"{DOMAIN}.{old}.pem").exists()
    assert "changed=0" in rotate("--check", "-e", "dkim_rotate_age=1")
