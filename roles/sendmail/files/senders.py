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
GONE = "451", "4.7.1", "Nobody knows who has logged in"
# Longer ones sendmail cuts or splits when it hands them on (MAXNAME, 256, less the quotation marks that it may add): what would be
# delivered is not what was looked at.
LONGEST = 200
FOLDED = re.compile(r"\r?\n(?=[ \t])")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
WORD = r"[^\s<>@,:;()\"\\\[\]]+"
# One address, bare or behind a name. What was between quotation marks is one of them.
AUTHOR = re.compile(rf"\s*(?:[^<>@,:;()\\]*<\s*({WORD}@{WORD})\s*>|({WORD}@{WORD}))\s*")
# Whose address has to be the user's, and of which there may be one.
FIELDS = {"from": True, "sender": True, "resent-from": False, "resent-sender": False}


def plain(value: str) -> str:
    """A header without its comments, each quoted text a quotation mark; nothing where either has no end [RFC 5322 3.2]."""
    out, depth, quoted, escaped = [], 0, False, False
    for char in value:
        if escaped:
            escaped = False
        elif char == "\\" and (quoted or depth):
            escaped = True
        elif quoted:
            quoted = char != '"'
        elif depth or char == "(":
            depth += {"(": 1, ")": -1}.get(char, 0)
            out.append(" ")
        else:
            quoted = char == '"'
            out.append(char)
    return "" if quoted or depth or escaped else "".join(out)


def author(value: str) -> str:
    """The one address of a header, in small letters; nothing where there are several, or where readers might not agree on it."""
    text = FOLDED.sub("", value)
    if len(text) > LONGEST or CONTROL.search(text):
        return ""
    found = AUTHOR.fullmatch(plain(text))
    return (found[1] or found[2]).lower() if found else ""


def owner(user: str) -> str:
    """Whose name a user logged in by: what stands behind an @ says nothing."""
    return user.partition("@")[0].lower()


def bare(address: str) -> str:
    """An address without what stands behind a plus sign before the @."""
    local, _at, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def sound(headers: Iterable[tuple[str, str]], user: str, sender: str, lines: Iterable[str]) -> bool:
    """Whether a message with these headers may come from a user: From at most once, Sender too, all with addresses of his.

    A message without From gets the sender of its envelope; without one, that of the mail system itself.
    """
    own = {line.split("\t")[0] for line in lines}
    seen: set[str] = set()
    for name, value in headers:
        field = name.strip().lower()
        if field not in FIELDS:
            continue
        address = author(value)
        if (FIELDS[field] and field in seen) or not {f"{owner(user)}:{address}", f"{owner(user)}:{bare(address)}"} & own:
            return False
        seen.add(field)
    return "from" in seen or sender.strip() not in ("", "<>")


def main() -> None:
    """Answer sendmail until the end."""
    # Debian's python3-milter; what is above needs nothing of it.
    import Milter

    place, table = sys.argv[1:]

    class Message(Milter.Base):  # type: ignore[misc]
        """One connection, and the message that it is at."""

        def envfrom(self, sender: str, *_: object) -> int:
            """A message begins."""
            self.user, self.sender = self.getsymval("{auth_authen}") or "", sender
            self.headers: list[tuple[str, str]] = []
            return int(Milter.CONTINUE)

        def header(self, name: str, value: str) -> int:
            """One of its headers."""
            self.headers.append((name, value))
            return int(Milter.CONTINUE)

        def eoh(self) -> int:
            """All of them: nobody needs to see the rest."""
            if not self.user:
                self.setreply(*GONE)
                return int(Milter.TEMPFAIL)
            if sound(self.headers, self.user, self.sender, Path(table).read_text(encoding="utf-8").splitlines()):
                return int(Milter.ACCEPT)
            self.setreply(*REFUSED)
            return int(Milter.REJECT)

    Milter.factory = Message
    # No time limit of ours: sendmail asks for the headers when it has all of a message, which may take its client an hour.
    Milter.runmilter("senders", f"local:{place}")


if __name__ == "__main__":
    main()
