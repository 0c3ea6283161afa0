"""Mailboxes by POP, by IMAP and as a file, and the scripts of ManageSieve (RFC 5804)."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import os
import pathlib
import poplib
import re
import select
import socket
import time
from typing import Any

from tests.site.away.common import PATIENCE, main, trusting


def _pop(address: str, ports: dict[str, int], security: str) -> poplib.POP3:
    """A POP connection: `security` is stls, tls or none. Certificates of the lab vouch for nobody and are not checked."""
    context = trusting()
    if security == "tls":
        return poplib.POP3_SSL(address, ports["tls"], timeout=PATIENCE, context=context)
    pop = poplib.POP3(address, ports["plain"], timeout=PATIENCE)
    if security == "stls":
        pop.stls(context)
    return pop


def pop_login(address: str, ports: dict[str, int], security: str, user: str, password: str) -> str:
    """Log in and say how it went: the server's +OK, or its refusal."""
    pop = _pop(address, ports, security)
    try:
        pop.user(user)
        return pop.pass_(password).decode("latin-1")
    except poplib.error_proto as refusal:
        answer = refusal.args[0]
        return answer.decode("latin-1") if isinstance(answer, bytes) else str(answer)
    finally:
        with contextlib.suppress(OSError, poplib.error_proto):
            pop.quit()


def pop_fetch(address: str, ports: dict[str, int], user: str, password: str, token: str, deadline: float) -> str | None:
    """The message that holds the token, taken out of the mailbox; None where it has not come by the deadline (seconds)."""
    end = time.monotonic() + deadline
    while True:
        pop = _pop(address, ports, "stls" if "plain" in ports else "tls")
        try:
            pop.user(user)
            pop.pass_(password)
            for number in range(1, len(pop.list()[1]) + 1):
                text = b"\n".join(pop.retr(number)[1]).decode("latin-1")
                if token in text:
                    pop.dele(number)
                    return text
        finally:
            pop.quit()
        if time.monotonic() > end:
            return None
        select.select([], [], [], 0.2)


def mbox_body(path: str, word: str, deadline: float) -> list[str] | None:
    """The lines below the headers of the message in an mbox that has a word as its subject; None where none has come (seconds)."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        text = pathlib.Path(path).read_text(encoding="latin-1") if os.path.exists(path) else ""
        for message in re.split(r"(?m)^From \S+ .*\n", text):
            if f"\nSubject: {word}\n" in message:
                # Lines that look like the next message's first have a mark before them, and a blank line is behind each message.
                body = message.split("\n\n", 1)[1].removesuffix("\n")
                return [re.sub(r"^>(>*From )", r"\1", line) for line in body.removesuffix("\n").split("\n")]
        time.sleep(0.2)
    return None


def imap_search(address: str, port: int, user: str, password: str, word: str, deadline: float, folder: str = "INBOX") -> int:
    """How many messages of a folder have the word as their subject, over TLS; looked at again until one has, or the deadline (seconds)."""
    end = time.monotonic() + deadline
    with imaplib.IMAP4_SSL(address, port, ssl_context=trusting(), timeout=PATIENCE) as imap:
        imap.login(user, password)
        while True:
            there = imap.select(f'"{folder}"', readonly=True)[0] == "OK"
            found = len(imap.search(None, "SUBJECT", word)[1][0].split()) if there else 0
            if found or time.monotonic() > end:
                return found
            select.select([], [], [], 0.2)


def imap_fetch(address: str, port: int, user: str, password: str, token: str, deadline: float, folder: str) -> str | None:
    """The message of a folder that holds the token, taken away; None where it has not come by the deadline (seconds)."""
    end = time.monotonic() + deadline
    with imaplib.IMAP4_SSL(address, port, ssl_context=trusting(), timeout=PATIENCE) as imap:
        imap.login(user, password)
        while True:
            if imap.select(f'"{folder}"')[0] == "OK":
                for number in imap.search(None, "TEXT", token)[1][0].split():
                    found: Any = imap.fetch(number, "(RFC822)")[1][0]
                    imap.store(number, "+FLAGS", "\\Deleted")
                    imap.expunge()
                    return str(found[1].decode("latin-1")).replace("\r\n", "\n")
            if time.monotonic() > end:
                return None
            select.select([], [], [], 0.2)


def sieve(address: str, port: int, user: str, password: str, commands: list[str], tls: bool = True) -> list[str]:
    """The answers to commands of somebody who has logged in, TLS first: the greeting, STARTTLS, the log-in, then one a command.

    An answer ends with a line that begins with OK, NO or BYE; a literal within it stays as it is.
    """
    out = []
    with socket.create_connection((address, port), PATIENCE) as sock:

        def answer(stream: Any) -> str:
            lines = []
            while True:
                line = stream.readline().decode("utf-8", "replace")
                lines.append(line)
                if not line or line.split(" ")[0].strip() in ("OK", "NO", "BYE"):
                    if line.rstrip().endswith("}"):  # what is wrong, in so many octets
                        lines.append(stream.read(int(line.rstrip()[:-1].rpartition("{")[2])).decode("utf-8", "replace"))
                        stream.readline()
                    return "".join(lines)

        stream = sock.makefile("rwb")
        out.append(answer(stream))
        if tls:
            stream.write(b"STARTTLS\r\n")
            stream.flush()
            out.append(answer(stream))
            stream = trusting().wrap_socket(sock).makefile("rwb")
            answer(stream)  # what it can do, told again
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        for command in [f'AUTHENTICATE "PLAIN" "{secret}"', *commands]:
            stream.write(command.encode() + b"\r\n")
            stream.flush()
            out.append(answer(stream))
        with contextlib.suppress(OSError, ValueError):
            stream.close()
    return out


if __name__ == "__main__":
    main(globals())
