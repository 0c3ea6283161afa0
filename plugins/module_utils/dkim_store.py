# SPDX-License-Identifier: MIT
"""A directory of DKIM keys on the machine with Ansible: the keys, what each one is for, and the steps of a rotation.

`DIRECTORY/keys.json` says of each key what it is for (states: plugins/filter/dkim.py) and since when the site's hosts know; the
private halves lie beside it, `DOMAIN.SELECTOR.pem`, and are removed when a key is withdrawn.

A rotation is three steps (plugins/module_utils/key_rotation.py): a new key, which signs nothing yet; it signs; the old one is gone.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.widgets.mail.plugins.module_utils import files, key_rotation
from ansible_collections.widgets.mail.plugins.module_utils.key_rotation import BEGIN, SWITCH, WITHDRAW, Due, Row

NEXT, SIGNING, PREVIOUS, WITHDRAWN = "next", "signing", "previous", "withdrawn"
STATE = "keys.json"
BITS = 2048  # what all receivers take, and what fits into one answer over UDP (RFC 8301, 3.2)
# What a step makes of the states of a domain's keys.
STEPS: dict[str, dict[str, str]] = {
    SWITCH: {NEXT: SIGNING, SIGNING: PREVIOUS},
    WITHDRAW: {PREVIOUS: WITHDRAWN},
}


# -- steps: pure ---------------------------------------------------------------------------------------------------------


def due(rows: list[Row], domain: str, time: datetime.datetime, waits: Mapping[str, int]) -> Due:
    """The step that comes next for a domain, and when; None where the hosts have yet to be told of the one before.

    waits: seconds that the hosts must have known a step before the next: ``begin`` (how long a key signs), ``switch`` and
    ``withdraw``.
    """
    own = {row["state"]: row for row in rows if row["domain"] == domain and row["state"] != WITHDRAWN}
    step, before = BEGIN, own.get(SIGNING)
    if NEXT in own:
        step, before = SWITCH, own[NEXT]
    elif PREVIOUS in own:
        step, before = WITHDRAW, own[PREVIOUS]
    return key_rotation.after(step, before, own.values(), waits) if before else (step, time)


def stepped(rows: list[Row], domain: str, step: str, time: datetime.datetime) -> list[Row]:
    """The rows after a step of one domain. Who has changed waits to be known to the hosts."""
    if step == BEGIN:
        own = [row for row in rows if row["domain"] == domain]
        state = NEXT if any(row["state"] == SIGNING for row in own) else SIGNING
        new = {"domain": domain, "selector": selector({row["selector"] for row in own}, time), "state": state, "since": None}
        return [*rows, new]
    return key_rotation.moved(rows, {"domain": domain}, STEPS[step])


def selector(taken: Iterable[str], time: datetime.datetime) -> str:
    """A selector that the domain has never had: the day, and a letter where that is taken. Its age is for everybody to see."""
    day = time.strftime("k%Y%m%d")
    used = set(taken)
    names = [day, *(f"{day}-{number}" for number in range(2, len(used) + 3))]
    return next(name for name in names if name not in used)


# -- files ---------------------------------------------------------------------------------------------------------------


def read(directory: str) -> list[Row]:
    """What is written down."""
    return key_rotation.read(os.path.join(directory, STATE))


def key_path(directory: str, row: Row) -> str:
    """Where a private half lies."""
    return os.path.join(directory, f"{row['domain']}.{row['selector']}.pem")


def make_key() -> str:
    """A new private key, PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    octets = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return octets.decode("ascii")


def write(directory: str, rows: list[Row]) -> None:
    """Write all down. Keys come before what names them, and go after it: a name without a key would stop every run."""
    for row in rows:
        if row["state"] != WITHDRAWN and not os.path.exists(key_path(directory, row)):
            files.replace(key_path(directory, row), make_key())
    key_rotation.write(os.path.join(directory, STATE), rows)
    for row in rows:
        if row["state"] == WITHDRAWN and os.path.exists(key_path(directory, row)):
            os.unlink(key_path(directory, row))


def ensure(directory: str, domains: Iterable[str]) -> list[Row]:
    """What is written down, after a first key was made for each domain that has none."""
    with key_rotation.locked(directory):
        rows = read(directory)
        lacking = [name for name in domains if not any(row["domain"] == name for row in rows)]
        if lacking:
            for name in lacking:
                rows = stepped(rows, name, BEGIN, key_rotation.now())
            # There is nothing that a first key would have to wait for.
            rows = key_rotation.known(rows, key_rotation.now())
            write(directory, rows)
        return rows


def entries(directory: str, rows: list[Row], domains: Iterable[str]) -> list[dict[str, Any]]:
    """Key entries of the domains, with their private halves."""
    wanted = set(domains)
    out = []
    for row in rows:
        if row["domain"] not in wanted:
            continue
        entry = {name: row[name] for name in ("domain", "selector", "state")}
        if row["state"] != WITHDRAWN:
            with open(key_path(directory, row), encoding="ascii") as file:
                entry["key"] = file.read()
        out.append(entry)
    return out
