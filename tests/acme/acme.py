"""Mail of inventories/acme: who sends, who reads, and where it should be. Derived from the inventory, not from the filters."""

from __future__ import annotations

import re
from typing import Any

from tests.site import away, lab

GATEWAYS = lab.group("gateways")
STORES = lab.group("stores")
FAMILIES = (4, 6)
FOREIGNER = f"carol@{lab.foreign_domain()}"
DOMAINS = [entry["name"] for entry in lab.site()["domains"]]
U_LABEL = next(entry["name"] for entry in lab.variables()["site_domains"] if not entry["name"].isascii())
A_LABEL = DOMAINS[[entry["name"] for entry in lab.variables()["site_domains"]].index(U_LABEL)]
# Whose mailbox is where, as a reader of the inventory understands it.
HOMES = {"anna": "store1", "ben": "store2", "chloe": "store2", "dan": "store2"}
ADDRESSES = {
    "anna": f"anna@{A_LABEL}",
    "ben": f"ben@{DOMAINS[0]}",
    "chloe": f"chloe@{A_LABEL}",
    "dan": "dan@acme-parts.example",
}


def address(host: str, family: int, start: str = lab.STRANGER) -> str:
    """The address of a family that one names at `start` to reach a host."""
    if family == 4:
        return lab.reach(host, start)
    feet = lab.site()["hosts"][host]["interfaces"]
    return str(feet[lab.zone(host)]["address6"])


def replies(start: str, hop: str, commands: list[str]) -> list[str]:
    """What a server says to these commands."""
    found: list[str] = lab.Machine(start).call(away.smtp, address=hop, port=lab.port("smtp"), commands=commands)
    return found


def send(start: str, hop: str, sender: str, recipient: str, word: str) -> None:
    """Hand a message to a server; fails on any reply that refuses."""
    said = replies(start, hop, lab.letter(sender, [recipient], word))
    assert all(reply[:1] in {"2", "3"} for reply in said), said


def fetched(user: str, word: str, family: int = 4, store: str = "", deadline: float = 30) -> str | None:
    """The message with the word out of a user's mailbox, fetched from the desk; None where it does not come."""
    found: str | None = lab.Machine(lab.DESK).call(
        away.pop_fetch,
        address=address(store or HOMES[user], family, lab.DESK),
        ports={"tls": lab.port("pop3s")},
        user=user,
        password=lab.password(user),
        token=word,
        deadline=deadline,
    )
    return found


def abroad(word: str) -> str:
    """The message with the word out of the foreign mailbox, once it is there."""
    stranger, path = lab.Machine(lab.STRANGER), f"/var/mail/{FOREIGNER.split('@')[0]}"
    text = lab.until(
        lambda: stranger.run("grep", "-h", "-B40", "-A5", word, path, check=False).stdout, f"{word} in {path}", deadline=60
    )
    return [part for part in re.split(r"(?m)^From ", text) if word in part][-1]


def permits(flow: dict[str, Any], start: str, target: str) -> bool:
    """Whether a flow lets one host open a connection to another of another zone: the table as one reads it."""

    def named(value: Any, host: str) -> bool:
        words = value if isinstance(value, list) else [value]
        return bool({"any", host, lab.zone(host)} & set(words))

    return named(flow["from"], start) and named(flow["to"], target)
