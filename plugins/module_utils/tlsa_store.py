# SPDX-License-Identifier: MIT
"""Which keys the gateways' TLSA records name, written down on the machine with Ansible, and the steps of changing one.

`DIRECTORY/tlsa.json` has a row for each key: ``host``, ``key`` (SHA-256 of its public half, as the record has it), ``state`` and
``since``, the time at which the hosts knew. States:

- ``next``: its record is published, the gateway does not show it yet;
- ``serving``: published, and what the gateway shows;
- ``previous``: published, and no longer shown.

Whoever sends to a gateway may remember its records for as long as their TTL says. So a new key's record comes first, and long before the
key (RFC 7671, 8.1), by the steps of plugins/module_utils/key_rotation.py.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping

from ansible_collections.widgets.mail.plugins.module_utils import key_rotation
from ansible_collections.widgets.mail.plugins.module_utils.key_rotation import BEGIN, NOTHING, SWITCH, WITHDRAW, Due, Row

NEXT, SERVING, PREVIOUS = "next", "serving", "previous"
STATE = "tlsa.json"


# -- steps: pure ---------------------------------------------------------------------------------------------------------


def first(rows: list[Row], keys: Mapping[str, Mapping[str, str]], time: datetime.datetime) -> list[Row]:
    """The rows, with one for each gateway that has none yet: what it shows. There is nothing that a first key would have to wait for."""
    known = {row["host"] for row in rows}
    return rows + [
        {"host": host, "key": own["current"], "state": SERVING, "since": key_rotation.written(time)}
        for host, own in keys.items()
        if host not in known and own.get("current")
    ]


def due(rows: list[Row], host: str, coming: str, time: datetime.datetime, waits: Mapping[str, int]) -> Due:
    """The step that comes next for a gateway, and when; None where the hosts have yet to be told of the one before.

    coming: the key that is to be the next, empty for none. waits: seconds that the hosts must have known the step before.
    """
    own = {row["state"]: row for row in rows if row["host"] == host}
    if PREVIOUS in own:
        step, before = WITHDRAW, own[PREVIOUS]
    elif NEXT in own and own[NEXT]["key"] == coming:
        step, before = SWITCH, own[NEXT]
    elif SERVING in own and coming and own[SERVING]["key"] != coming:
        return BEGIN, time
    else:
        return NOTHING, None
    return key_rotation.after(step, before, own.values(), waits)


def stepped(rows: list[Row], host: str, step: str, coming: str) -> list[Row]:
    """The rows after a step of one gateway. What has changed waits to be known to the hosts."""
    if step == BEGIN:
        # A next key that was thought better of has never been shown.
        kept = [row for row in rows if (row["host"], row["state"]) != (host, NEXT)]
        return [*kept, {"host": host, "key": coming, "state": NEXT, "since": None}]
    if step == WITHDRAW:
        left = [row for row in rows if (row["host"], row["state"]) != (host, PREVIOUS)]
        return [{**row, "since": None} if row["host"] == host else row for row in left]
    return key_rotation.moved(rows, {"host": host}, {NEXT: SERVING, SERVING: PREVIOUS})


# -- files ---------------------------------------------------------------------------------------------------------------


def read(directory: str) -> list[Row]:
    """What is written down."""
    return key_rotation.read(os.path.join(directory, STATE))


def write(directory: str, rows: list[Row]) -> None:
    """Write all down."""
    key_rotation.write(os.path.join(directory, STATE), rows)


def ensure(directory: str, keys: Mapping[str, Mapping[str, str]], time: datetime.datetime) -> list[Row]:
    """What is written down of these gateways, after the key of each that has none was written down as the one that it shows."""
    rows = read(directory)
    if first(rows, keys, time) != rows:
        with key_rotation.locked(directory):
            rows = first(read(directory), keys, time)
            write(directory, rows)
    return [row for row in rows if row["host"] in keys]
