"""SMTP as a client library would not speak it: line by line, or octet by octet."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import re
import select
import socket
import ssl
import sys
import time
from typing import Any

from tests.site.away.common import PATIENCE, family_of, main, say, trusting

# A whole reply of SMTP: lines with a hyphen, and one without.
REPLY = re.compile(rb"(?:\d{3}-[^\n]*\n)*\d{3}(?!-)[^\n]*\n")
STARTING = 3.0  # seconds that a server may need to listen


def _connected(address: str, port: int, source: str) -> socket.socket:
    """A connection. A daemon that was started or reloaded a moment ago does not listen yet: a client would come again."""
    end = time.monotonic() + STARTING
    while True:
        try:
            return socket.create_connection((address, port), PATIENCE, (source, 0) if source else None)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class Dialogue:
    """One SMTP connection, line by line: nothing is tidied on the way out, as a client library would.

    A STARTTLS that is answered with 220 starts TLS, with the certificate of a file and its key where one is named; what others show
    is not looked at. `wrapped`: TLS is there from the start.
    """

    def __init__(self, address: str, port: int, source: str = "", certificate: str = "", wrapped: bool = False) -> None:
        self.sock = _connected(address, port, source)
        self.certificate = certificate
        if wrapped:
            self.encrypt()
        self.stream = self.sock.makefile("rb")

    def encrypt(self) -> None:
        """Speak TLS from here on."""
        self.sock = trusting(self.certificate).wrap_socket(self.sock)

    def reply(self) -> str:
        """One reply with all its lines, or nothing where the server has gone."""
        lines = []
        while True:
            line = self.stream.readline().decode("latin-1").rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, command: str) -> str:
        """Send a command (or a message with its final dot) and give the reply."""
        self.sock.sendall(command.encode("latin-1") + b"\r\n")
        reply = self.reply()
        if command.upper() == "STARTTLS" and reply.startswith("220"):
            self.encrypt()
            self.stream = self.sock.makefile("rb")
        return reply

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
        self.sock.close()


def smtp(
    address: str, port: int, commands: list[str], source: str = "", certificate: str = "", wrapped: bool = False
) -> list[str]:
    """The greeting and the reply to each command; replies end where the server hangs up. source: one of several own addresses.

    certificate: a file on that host, to be shown after STARTTLS; wrapped: TLS from the start.
    """
    dialogue = Dialogue(address, port, source, certificate, wrapped)
    replies = [dialogue.reply()]
    for command in commands:
        if not replies[-1]:
            break
        try:
            replies.append(dialogue.ask(command))
        except (ConnectionError, ssl.SSLError):
            replies.append("")
    dialogue.close()
    return replies


def smtp_session(address: str, port: int, certificate: str = "") -> None:
    """A connection that stays open: the greeting, then a reply for each command on standard input."""
    dialogue = Dialogue(address, port, certificate=certificate)
    say(dialogue.reply())
    for line in sys.stdin:
        try:
            say(dialogue.ask(json.loads(line)))
        except ConnectionError:
            say("")
    dialogue.close()


def _converse(conversation: dict[str, Any], address: str, port: int, patience: float) -> dict[str, Any]:
    """One of `conversations`."""
    heard: list[str] = []
    pending = b""
    closed = cut = False
    begin = time.monotonic()
    with socket.socket(family_of(address)[0], socket.SOCK_STREAM) as sock:
        sock.settimeout(patience)
        try:
            sock.bind((conversation.get("source", ""), 0))
            sock.connect((address, port))
            for turn in conversation["turns"]:
                said = turn["say"].encode("latin-1")
                # A slow sender's bytes leave one by one; whatever the server says meanwhile ends it.
                for at in range(0, len(said), 1 if "gap" in turn else len(said) or 1):
                    if "gap" in turn and select.select([sock], [], [], turn["gap"])[0]:
                        break
                    sock.sendall(said[at : at + 1] if "gap" in turn else said)
                for _ in range(turn.get("hear", 1)):
                    while not (found := REPLY.match(pending)):
                        more = sock.recv(65536)
                        if not more:
                            raise ConnectionError
                        pending += more
                    heard.append(found[0].decode("latin-1").replace("\r\n", "\n").rstrip("\n"))
                    pending = pending[found.end() :]
        except TimeoutError:
            heard.append("(silence)")
        except OSError:
            closed = cut = True
        # What the server says unasked, and before it hangs up, is evidence too: a message more than was sent would show here.
        sock.settimeout(0.3)
        with contextlib.suppress(OSError):
            while more := sock.recv(65536):
                pending += more
            closed = True
    # What was said to somebody who was still talking is an answer all the same.
    while cut and (found := REPLY.match(pending)):
        heard.append(found[0].decode("latin-1").replace("\r\n", "\n").rstrip("\n"))
        pending = pending[found.end() :]
    return {
        "heard": heard,
        "rest": pending.decode("latin-1"),
        "closed": closed,
        "seconds": round(time.monotonic() - begin, 2),
    }


def conversations(
    address: str, port: int, talks: list[dict[str, Any]], patience: float = PATIENCE, at_once: int = 8
) -> list[dict[str, Any]]:
    """Raw conversations with a server, several at once: the greeting is the first turn's reply, if that says nothing.

    A conversation has a `source` address and `turns`, each with what to `say` (octets as latin-1), how many replies to `hear`
    and a `gap` between single octets (seconds). `heard`: the replies; `closed`: whether the server hung up; `rest`: what else it
    said.
    """
    with concurrent.futures.ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(lambda talk: _converse(talk, address, port, patience), talks))


def conversations_session(
    address: str, port: int, talks: list[dict[str, Any]], patience: float = PATIENCE, at_once: int = 64
) -> None:
    """The same, and the results when all have ended: for a test that looks at something else meanwhile."""
    say("begun")
    say(conversations(address, port, talks, patience, at_once))


if __name__ == "__main__":
    main(globals())
