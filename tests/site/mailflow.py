"""Sending and receiving mail as people of the lab do, for the suites that need a message to have arrived."""

from __future__ import annotations

import base64
import ipaddress
import re

from tests.site import away, lab

STORE = lab.address(lab.STORE)
POP_PORTS = {"plain": lab.port("pop3"), "tls": lab.port("pop3s")}
# Key and certificate of a gateway and of a store, as the role has them where the inventory does not say otherwise.
CERTIFICATE = "/etc/mail/certificates/mta.pem"
FOREIGNER = f"carol@{lab.foreign_domain()}"


def ours(user: str) -> str:
    """A user's address."""
    return f"{user}@{lab.domain()}"


def send(start: lab.Machine, hop: str, sender: str, recipients: list[str], word: str) -> str:
    """Hand a message that holds a word to an SMTP server at once; its queue id there. Fails on any reply that refuses."""
    replies = start.call(away.smtp, address=hop, port=lab.port("smtp"), commands=lab.letter(sender, recipients, word))
    assert all(reply[:1] in {"2", "3"} for reply in replies), replies
    return lab.queue_id(replies[-2])


def from_the_world(recipients: list[str], word: str, sender: str = FOREIGNER) -> str:
    """A stranger sends to the site's public address; the queue id at the gateway."""
    return send(lab.Machine(lab.STRANGER), lab.public(lab.GATEWAY), sender, recipients, word)


def from_the_desk(recipients: list[str], word: str, sender: str) -> str:
    """Somebody inside sends by the store; the queue id there."""
    return send(lab.Machine(lab.DESK), STORE, sender, recipients, word)


def auth(user: str, password: str, meant: str = "") -> str:
    """The command of somebody who logs in to an SMTP server (RFC 4616); meant: as whom he wants to act, where that is another."""
    return "AUTH PLAIN " + base64.b64encode(f"{meant}\0{user}\0{password}".encode()).decode()


def submit(start: lab.Machine, service: str, commands: list[str]) -> list[str]:
    """The store's replies to commands at one of the ports for submission, once TLS is there."""
    wrapped = service == "submissions"
    hello = ["EHLO probe.example"] if wrapped else ["EHLO probe.example", "STARTTLS", "EHLO probe.example"]
    replies: list[str] = start.call(
        away.smtp, address=STORE, port=lab.port(service), commands=[*hello, *commands], wrapped=wrapped
    )
    return replies[1 + len(hello) :]


def fetched(user: str, word: str, deadline: float = 20) -> str | None:
    """The message with the word, fetched by POP from somebody's desk and taken away; None where it does not come."""
    found: str | None = lab.Machine(lab.DESK).call(
        away.pop_fetch,
        address=STORE,
        ports=POP_PORTS,
        user=user,
        password=lab.password(user),
        token=word,
        deadline=deadline,
    )
    return found


def mailbox(user: str) -> str:
    """The directory of somebody's mailbox on the store, as Dovecot says."""
    said = lab.Machine(lab.STORE).sh(f"doveadm user {user}")
    (where,) = re.findall(r"(?m)^mail(?:_path)?\s+(?:maildir:)?(/\S+)$", said)
    return str(where)


def filed(user: str, folder: str, word: str, deadline: float = 20) -> str | None:
    """The message with the word out of one of somebody's folders, by IMAP, and taken away; None where it does not come."""
    place = {"address": STORE, "port": lab.port("imaps"), "user": user, "password": lab.password(user)}
    found: str | None = lab.Machine(lab.DESK).call(away.imap_fetch, **place, token=word, deadline=deadline, folder=folder)
    return found


def spam_folder() -> str:
    """Where mail is that the gateway's filter has marked (pop3_sieve_rules)."""
    rules = lab.inventory()["_meta"]["hostvars"][lab.STORE]["pop3_sieve_rules"]
    return str(next(rule["folder"] for rule in rules if rule["header"] == "X-Spam"))


def pushed(machine: lab.Machine) -> None:
    """A server's MTA tries its whole queue now, also what it has tried a moment ago and would leave for a while."""
    machine.run("sendmail", "-Am", "-qf", "-OMinQueueAge=0", "-OMaxQueueAge=0")


def partner_has_tls(offered: bool) -> None:
    """The foreign mail server with TLS or without, once it is so."""
    stranger = lab.Machine(lab.STRANGER)
    stranger.sh(f"postconf smtpd_tls_security_level={'may' if offered else 'none'} && postfix reload")
    place = {"address": lab.address(lab.STRANGER), "port": lab.port("smtp"), "starttls": "smtp"}
    lab.until(lambda: ("pem" in stranger.call(away.tls_probe, **place)) == offered, "the other setting in force")


def arrived_abroad(word: str) -> str:
    """The message with the word out of the foreign mailbox, once it is there."""
    name = FOREIGNER.split("@")[0]
    path = f"/var/mail/{name}"
    stranger = lab.Machine(lab.STRANGER)
    text = lab.until(lambda: stranger.run("grep", "-h", "-B40", "-A5", word, path, check=False).stdout, f"{word} in {path}")
    return [part for part in re.split(r"(?m)^From ", text) if word in part][-1]


def came_from(text: str) -> str:
    """The address that the last server in a message's path was handed it from, as that server wrote it down."""
    unfolded = re.sub(r"\r?\n[ \t]+", " ", text)
    found = re.search(r"(?m)^Received: from [^\[]*\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]", unfolded)
    assert found, text
    return str(ipaddress.ip_address(found[1]))


def hops(text: str) -> list[tuple[str, str]]:
    """Of each Received line, newest first: who took the message, under which queue id."""
    unfolded = re.sub(r"\r?\n[ \t]+", " ", text)
    return re.findall(r"(?m)^Received: .*?\bby (\S+) .*?\bid ([^\s;]+)", unfolded)
