#!/usr/bin/env python3
"""The drill: breaks the running lab in one way after the other while mail flows, and counts what is lost.

    python3 tools/drill.py [--short] [--only NAME,...] [--delivery MODE]     # in the project's environment; `make drill` sees to that

What breaks is tests/site/faults.py, what is counted tests/site/ledger.py. A drill of all faults is written down in docs/drill.md; one with
--delivery, where gateway and store deliver in that way (`sendmail_delivery`) and are put back, in docs/drill-MODE.md.
Ends with 1 unless nothing was lost, nothing altered, and everything arrived by itself.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.site import drill, faults, lab, ledger
from tests.site.drill import Fault

ROOT = Path(__file__).resolve().parents[1]


def picked(every: Sequence[Fault], short: bool, only: str) -> list[Fault]:
    """The faults that somebody asked for; a star stands for anything. Where nobody names any, none that another includes.

    The short drill has all of its own: it does without those that include them.
    """
    patterns = only.replace(",", " ").split()
    if patterns:
        every = [fault for fault in every if any(fnmatch.fnmatchcase(fault.name, pattern) for pattern in patterns)]
    elif not short:
        every = [fault for fault in every if not fault.part_of]
    return [fault for fault in every if fault.short or not short]


def place(delivery: str) -> Path:
    """Where a whole drill is written down."""
    return ROOT / "docs" / f"drill{f'-{delivery}' if delivery else ''}.md"


def page(rows: Sequence[ledger.Row], what: Mapping[str, str], facts: Mapping[str, str], seconds: float) -> str:
    """The page that is kept."""
    good = sum(row.good for row in rows)
    lines = [
        "# What was answered with 250 arrives, whatever breaks",
        "",
        "Written by `make drill`: mail flows through the lab both ways while one thing after the other breaks (`tests/site/faults.py`). Senders",
        "keep a ledger, a line on the disk for each reply; it is joined with what lay in the mailboxes in the end. Nothing but the fault itself",
        "is undone by hand. Not edited by hand.",
        "",
        f"{good} of {len(rows)} faults lost nothing, altered nothing, refused nobody and left nothing behind. The whole drill took"
        f" {seconds / 60:.0f} minutes.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        ledger.page_table(rows),
        "",
        "deferred: attempts that were answered with 4xx, or cut; the sender came back. p50, p95, max: seconds from a message's first",
        "attempt, its sender's pauses included, until it was fetched from the mailbox (looked at twice a second). drained: seconds from the end",
        "of the fault until all had arrived. A message is duplicated where a sender, or a server, did not hear the 250 that it got: SMTP",
        "knows no better (RFC 5321 4.5.3.2.6). Where the table below gives no reason for that, one duplicate is enough to fail.",
        "",
        "A firewall that dies forgets its connections. Whoever waits for a reply in one hears nothing more: the store's sendmail gives up",
        f"after {faults.REPLY:.0f} s (`Timeout.datafinal` and its like), and tries again after {faults.PAUSE:.0f} s (`sendmail_retry_pause_max`). So firewall-crashed",
        "takes longer than the others where it hits a transaction; where it hits none, it is over in seconds.",
        "",
        "| fault | what breaks | for how long | what has to have arrived | why a message may come twice |",
        "|---|---|---|---|---|",
        *(f"| {row.fault} | {what[row.fault]} |" for row in rows),
        "",
        "Not among them:",
        "",
        "- A jump of the whole host's clock: containers share the clock of their machine, which is not ours to set. clock-set-back tells the",
        "  gateway's sendmail another time (libfaketime), and starts by hand what systemd's timer starts where the clock was set.",
        "- What a kernel had not yet written when power was lost: a container's file system is its machine's. power-loss copies the queue while",
        "  all of the MTA's processes stand still, which shows the order in which sendmail does things, not what its disk does.",
    ]
    return "\n".join(lines) + "\n"


def facts() -> dict[str, str]:
    """When, on what, and how what matters is set there."""
    release = drill.GATEWAY.sh(". /etc/os-release; echo $VERSION_ID").strip()
    version = drill.GATEWAY.sh("dpkg-query -W -f '${Version}' sendmail-bin")
    dovecot = drill.STORE.sh("dpkg-query -W -f '${Version}' dovecot-core")
    (mode,) = {
        re.findall(r"(?m)^O DeliveryMode=(\w+)$", machine.sh("cat /etc/mail/sendmail.cf"))[0]
        for machine in (drill.GATEWAY, drill.STORE)
    }
    slower = "".join(f" ({fault.name}: {fault.every:g} s)" for fault in faults.FAULTS if fault.every != drill.EVERY)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "hosts": f"Debian {release}, sendmail {version}, dovecot {dovecot}",
        "delivery": f"`sendmail_delivery: {mode}` on gateway and store",
        "machine": f"{os.cpu_count()} cores, all hosts in containers on it",
        "mail": f"a message from strangers and one from a desk each {drill.EVERY:g} s{slower}, of 1 to 120 KiB",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="the short drill")
    parser.add_argument("--only", default="", metavar="NAME,...", help="only these faults; a star stands for anything")
    parser.add_argument(
        "--delivery",
        default="",
        choices=["", "interactive", "background"],
        help="how gateway and store deliver; as the inventory says",
    )
    arguments = parser.parse_args()
    if missing := lab.missing():
        print(f"The lab does not run: {', '.join(missing)} missing. `make site` makes it.", file=sys.stderr)
        return 1
    wanted = picked(faults.FAULTS, arguments.short, arguments.only)
    if not wanted:
        print(f"No such fault. There are: {', '.join(fault.name for fault in faults.FAULTS)}.", file=sys.stderr)
        return 1
    begun = time.monotonic()
    rows: list[ledger.Row] = []
    with drill.delivering(arguments.delivery):
        known = facts()
        series = drill.series(wanted)
        for number, fault in enumerate(wanted, 1):
            print(f"[{number}/{len(wanted)}] {fault.name}: {fault.what} ...", flush=True)
            at = time.monotonic()
            rows.append(next(series))
            counts = f"{rows[-1].sent} sent, {rows[-1].deferred} deferred, {rows[-1].duplicated} duplicated"
            print(f"        {counts}, {rows[-1].verdict}, {time.monotonic() - at:.0f} s", flush=True)
    seconds = time.monotonic() - begun
    print(f"\n{ledger.text_table(rows)}\n")
    good = all(row.good for row in rows)
    if wanted == picked(faults.FAULTS, short=False, only=""):
        what = {fault.name: f"{fault.what} | {drill.span(fault)} | {drill.bounds(fault)} | {fault.repeats}" for fault in wanted}
        written = place(arguments.delivery)
        written.write_text(page(rows, what, known, seconds), encoding="utf-8")
        print(f"Written to {written.relative_to(ROOT)}.")
    print(f"{'Nothing was lost' if good else 'NOT GOOD'}. {seconds / 60:.0f} minutes.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
