#!/usr/bin/python3
"""A milter for the ports where users hand in mail: in From and Sender stands an address that is theirs, or the message is refused.

    senders.py SOCKET MAP

SOCKET is where sendmail asks, MAP the text of its map of senders: lines ``user:address``, read anew for each message. sendmail's own
rules check the envelope; they do not see a header of more than some 1,200 octets. [RFC 6409 8.1]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

REFUSED = "553", "5.7.1", "That is no address of yours"
# What is between quotation marks, or after a backslash there.
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
COMMENT = re.compile(r"\((?:[^()\\]|\\.)*\)", re.DOTALL)
WORD = r"[^\s<>@,:;()\"\\\[\]]+"
# One address, bare or behind a name.
AUTHOR = re.compile(rf"\s*(?:[^<>@,:;()\"\\]*<\s*({WORD}@{WORD})\s*>|({WORD}@{WORD}))\s*")


def author(value: str) -> str:
    """The one address of a header, in small letters; nothing where there are several, or where readers might not agree on it."""
    text = QUOTED.sub("name", value)
    while (shorter := COMMENT.sub(" ", text)) != text:
        text = shorter
    found = AUTHOR.fullmatch(text)
    return (found[1] or found[2]).lower() if found else ""


def owner(user: str) -> str:
    """Whose name a user logged in by: what stands behind an @ says nothing."""
    return user.partition("@")[0].lower()


def bare(address: str) -> str:
    """An address without what stands behind a plus sign before the @."""
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def sound(headers: Iterable[tuple[str, str]], user: str, lines: Iterable[str]) -> bool:
    """Whether a message with these headers may come from a user: From at most once, Sender too, each with an address of his."""
    own = {line.split("\t")[0] for line in lines}
    seen: set[str] = set()
    for name, value in headers:
        field = name.strip().lower()
        if field not in ("from", "sender"):
            continue
        address = author(value)
        if field in seen or not {f"{owner(user)}:{address}", f"{owner(user)}:{bare(address)}"} & own:
            return False
        seen.add(field)
    return True


def main() -> None:
    """Answer sendmail until the end."""
    # Debian's python3-milter; what is above needs nothing of it.
    import Milter

    place, table = sys.argv[1:]

    class Message(Milter.Base):  # type: ignore[misc]
        """One connection, and the message that it is at."""

        def envfrom(self, *_: object) -> int:
            """A message begins."""
            self.user = self.getsymval("{auth_authen}") or ""
            self.headers: list[tuple[str, str]] = []
            return int(Milter.CONTINUE)

        def header(self, name: str, value: str) -> int:
            """One of its headers."""
            self.headers.append((name, value))
            return int(Milter.CONTINUE)

        def eoh(self) -> int:
            """All of them: nobody needs to see the rest."""
            if not self.user or sound(self.headers, self.user, Path(table).read_text(encoding="utf-8").splitlines()):
                return int(Milter.ACCEPT)
            self.setreply(*REFUSED)
            return int(Milter.REJECT)

    Milter.factory = Message
    Milter.runmilter("senders", f"local:{place}", 60)


if __name__ == "__main__":
    main()
