# SPDX-License-Identifier: MIT
"""Which keys the gateways' TLSA records name, written down on the machine with Ansible, and the steps of changing one.

`DIRECTORY/tlsa.json` has a row for each key: ``host``, ``key`` (SHA-256 of its public half, as the record has it), ``state`` and
``since``, the time at which the hosts knew. States:

- ``next``: its record is published, the gateway does not show it yet;
- ``serving``: published, and what the gateway shows;
- ``previous``: published, and no longer shown.

Whoever sends to a gateway may remember its records for as long as their TTL says. So a new key's record comes first, and long before the
key (RFC 7671, 8.1): each step is written down before any host is told, and begun when the hosts have known the one before for long enough.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.widgets.mail.plugins.module_utils.dkim_store import locked, moment, put, written

Row = dict[str, Any]

NEXT, SERVING, PREVIOUS = "next", "serving", "previous"
STATE = "tlsa.json"
BEGIN, SWITCH, WITHDRAW, NOTHING = "begin", "switch", "withdraw", ""


# -- steps: pure ---------------------------------------------------------------------------------------------------------


def first(rows: list[Row], keys: Mapping[str, Mapping[str, str]], time: datetime.datetime) -> list[Row]:
    """The rows, with one for each gateway that has none yet: what it shows. There is nothing that a first key would have to wait for."""
    known = {row["host"] for row in rows}
    return rows + [
        {"host": host, "key": own["current"], "state": SERVING, "since": written(time)}
        for host, own in keys.items()
        if host not in known and own.get("current")
    ]


def due(
    rows: list[Row], host: str, coming: str, time: datetime.datetime, waits: Mapping[str, int]
) -> tuple[str, datetime.datetime | None]:
    """The step that comes next for a gateway, and when; None where the hosts have yet to be told of the one before.

    coming: the key that is to be the next, empty for none. waits: seconds that the hosts must have known the step before.
    """
    own = {row["state"]: row for row in rows if row["host"] == host}
    if PREVIOUS in own:
        step, after = WITHDRAW, own[PREVIOUS]
    elif NEXT in own and own[NEXT]["key"] == coming:
        step, after = SWITCH, own[NEXT]
    elif SERVING in own and coming and own[SERVING]["key"] != coming:
        return BEGIN, time
    else:
        return NOTHING, None
    if any(row["since"] is None for row in own.values()):
        return step, None
    return step, moment(after["since"]) + datetime.timedelta(seconds=waits[step])


def stepped(rows: list[Row], host: str, step: str, coming: str) -> list[Row]:
    """The rows after a step of one gateway. What has changed waits to be known to the hosts."""
    if step == BEGIN:
        # A next key that was thought better of has never been shown.
        kept = [row for row in rows if (row["host"], row["state"]) != (host, NEXT)]
        return [*kept, {"host": host, "key": coming, "state": NEXT, "since": None}]
    if step == WITHDRAW:
        left = [row for row in rows if (row["host"], row["state"]) != (host, PREVIOUS)]
        return [{**row, "since": None} if row["host"] == host else row for row in left]
    changes = {NEXT: SERVING, SERVING: PREVIOUS}
    return [
        {**row, "state": changes[row["state"]], "since": None} if row["host"] == host and row["state"] in changes else row
        for row in rows
    ]


def known(rows: list[Row], time: datetime.datetime) -> list[Row]:
    """The rows once all hosts know them."""
    return [row if row["since"] else {**row, "since": written(time)} for row in rows]


# -- files ---------------------------------------------------------------------------------------------------------------


def read(directory: str) -> list[Row]:
    """What is written down; nothing where there is no such file yet."""
    try:
        with open(os.path.join(directory, STATE), encoding="utf-8") as file:
            rows: list[Row] = json.load(file)["keys"]
            return rows
    except FileNotFoundError:
        return []


def write(directory: str, rows: list[Row]) -> None:
    """Write all down."""
    put(os.path.join(directory, STATE), json.dumps({"keys": rows}, indent=1) + "\n")


def ensure(directory: str, keys: Mapping[str, Mapping[str, str]], time: datetime.datetime) -> list[Row]:
    """What is written down of these gateways, after the key of each that has none was written down as the one that it shows."""
    rows = read(directory)
    if first(rows, keys, time) != rows:
        with locked(directory):
            rows = first(read(directory), keys, time)
            write(directory, rows)
    return [row for row in rows if row["host"] in keys]
