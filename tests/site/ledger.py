"""What a drill says: the ledgers of those who sent, joined with what lay in the mailboxes. Pure functions and their data."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Message:
    """One message as its sender knows it."""

    name: str
    size: int
    sha256: str
    begun: float = 0.0  # the first attempt
    taken: float = 0.0  # the reply that took it
    code: int = 0  # the last attempt's
    reply: str = ""
    deferred: int = 0  # attempts that were put off or cut


def entries(lines: Iterable[str]) -> list[dict[str, Any]]:
    """What a ledger says. A last line that is not whole was never followed by anything."""
    return [json.loads(line) for line in lines if line.endswith("\n")]


def messages(lines: Iterable[str]) -> dict[str, Message]:
    """The messages of a ledger, by name."""
    out: dict[str, Message] = {}
    for entry in entries(lines):
        if entry["event"] == "new":
            out[entry["name"]] = Message(entry["name"], entry["size"], entry["sha256"])
            continue
        message = out[entry["name"]]
        message.begun = message.begun or entry["begin"]
        message.code, message.reply = entry["code"], entry["text"]
        if entry["code"] == 250:
            message.taken = entry["at"]
        elif entry["code"] < 500:
            message.deferred += 1
    return out


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all does not exceed; 0 where there are none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


@dataclass
class Row:
    """What came of one fault."""

    fault: str
    sent: int = 0
    refused: int = 0
    deferred: int = 0
    delivered: int = 0
    duplicated: int = 0
    lost: int = 0
    altered: int = 0
    open: int = 0  # neither taken nor refused in the end
    latencies: list[float] = field(default_factory=list)
    drained: float | None = None  # seconds from the end of the fault until all was delivered; None: never
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what is no fault, and worth a word

    @property
    def good(self) -> bool:
        """Whether the promise was kept: all that was taken arrived unaltered, nobody honest was refused, nothing is left over."""
        return (
            not self.findings
            and self.drained is not None
            and self.sent == self.delivered > 0
            and not (self.lost or self.altered or self.refused or self.open)
        )

    @property
    def verdict(self) -> str:
        """In a word, or in several."""
        return "; ".join(["good", *self.notes]) if self.good else "BAD: " + "; ".join(self.troubles())

    def troubles(self) -> list[str]:
        """What is wrong."""
        counts = {"lost": self.lost, "altered": self.altered, "refused": self.refused, "not taken": self.open}
        out = [f"{count} {what}" for what, count in counts.items() if count]
        out += ["not drained"] if self.drained is None else []
        out += ["nothing was sent"] if not self.sent else []
        return out + self.findings


def latencies(
    ledgers: Iterable[Mapping[str, Message]], arrivals: Sequence[Mapping[str, Any]], since: float = 0.0, until: float = math.inf
) -> list[float]:
    """How long messages took that were begun in a span of time; one that has not arrived took forever."""
    first: dict[str, float] = {}
    for entry in arrivals:
        if "name" in entry:
            first[entry["name"]] = min(first.get(entry["name"], math.inf), entry["at"])
    begun = {name: message.begun for ledger in ledgers for name, message in ledger.items() if since <= message.begun <= until}
    return [first.get(name, math.inf) - at for name, at in begun.items()]


def row(fault: str, ledgers: Iterable[Mapping[str, Message]], arrivals: Sequence[Mapping[str, Any]]) -> Row:
    """Join what was sent with what arrived. A message whose sender heard no 250 may have been taken all the same."""
    sent = {name: message for ledger in ledgers for name, message in ledger.items()}
    copies = Counter(str(entry["name"]) for entry in arrivals if "name" in entry)
    first: dict[str, float] = {}
    altered = set()
    for entry in arrivals:
        if "name" in entry and entry["name"] in sent:
            name = str(entry["name"])
            first[name] = min(first.get(name, math.inf), entry["at"])
            if (entry["size"], entry["sha256"]) != (sent[name].size, sent[name].sha256):
                altered.add(name)
    out = Row(
        fault,
        sent=len(sent),
        refused=sum(message.code >= 500 for message in sent.values()),
        deferred=sum(message.deferred for message in sent.values()),
        delivered=len(first),
        duplicated=sum(copies[name] - 1 for name in first),
        lost=sum(bool(message.taken) and name not in first for name, message in sent.items()),
        altered=len(altered),
        open=sum(not message.taken and message.code < 500 and name not in first for name, message in sent.items()),
        latencies=[first[name] - sent[name].begun for name in first],
    )
    out.findings += [f"{name} arrived and was never sent" for name in sorted(copies.keys() - sent.keys())]
    reports = Counter(str(entry["report"]) for entry in arrivals if "report" in entry)
    out.findings += [f"{count} of `{subject}`" for subject, count in reports.items()]
    return out


HEADS = ("fault", "sent", "refused", "deferred", "delivered", "duplicated", "lost", "p50", "p95", "max", "drained", "verdict")


def cells(entry: Row) -> list[str]:
    """A row's cells: seconds with one place."""
    times = [f"{quantile(entry.latencies, share):.1f}" for share in (0.5, 0.95, 1.0)]
    counts = [entry.sent, entry.refused, entry.deferred, entry.delivered, entry.duplicated, entry.lost]
    drained = "never" if entry.drained is None else f"{entry.drained:.0f}"
    return [entry.fault, *map(str, counts), *times, drained, entry.verdict]


def text_table(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = [list(HEADS), *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, len(HEADS) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def page_table(rows: Sequence[Row]) -> str:
    """The table for a page. A finding may quote a command, with bars that are none of the table's."""
    quoted = [[cell.replace("|", "\\|") for cell in cells(entry)] for entry in rows]
    lines = [list(HEADS), ["---"] + ["---:"] * (len(HEADS) - 2) + ["---"], *quoted]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
