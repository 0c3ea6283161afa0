# SPDX-License-Identifier: MIT
"""A directory of DKIM keys on the machine with Ansible: the keys, what each one is for, and the steps of a rotation.

`DIRECTORY/keys.json` says of each key what it is for (states: plugins/filter/dkim.py) and since when the site's hosts know; the
private halves lie beside it, `DOMAIN.SELECTOR.pem`, and are removed when a key is withdrawn.

A rotation is three steps, each of them written down before any host is told, and each begun only when the hosts have known the
one before for long enough. So one that was broken off anywhere is run again: it tells the hosts what is written down, and goes on.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Row = dict[str, Any]

NEXT, SIGNING, PREVIOUS, WITHDRAWN = "next", "signing", "previous", "withdrawn"
STATE = "keys.json"
BITS = 2048  # what all receivers take, and what fits into one answer over UDP (RFC 8301, 3.2)
FORMAT = "%Y-%m-%dT%H:%M:%SZ"
# What a step makes of the states of a domain's keys.
STEPS: dict[str, dict[str, str]] = {
    "switch": {NEXT: SIGNING, SIGNING: PREVIOUS},
    "withdraw": {PREVIOUS: WITHDRAWN},
}


def now() -> datetime.datetime:
    """The time, in UTC and whole seconds."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def written(time: datetime.datetime) -> str:
    """A time as the state has it."""
    return time.strftime(FORMAT)


def moment(text: str) -> datetime.datetime:
    """A time out of the state."""
    return datetime.datetime.strptime(text, FORMAT).replace(tzinfo=datetime.UTC)


# -- steps: pure ---------------------------------------------------------------------------------------------------------


def due(rows: list[Row], domain: str, time: datetime.datetime, waits: dict[str, int]) -> tuple[str, datetime.datetime | None]:
    """The step that comes next for a domain, and when; None where the hosts have yet to be told of the one before.

    waits: seconds that the hosts must have known a step before the next: ``begin`` (how long a key signs), ``switch`` and
    ``withdraw``.
    """
    own = {row["state"]: row for row in rows if row["domain"] == domain and row["state"] != WITHDRAWN}
    step, after = "begin", own.get(SIGNING)
    if NEXT in own:
        step, after = "switch", own[NEXT]
    elif PREVIOUS in own:
        step, after = "withdraw", own[PREVIOUS]
    if after is None:
        return step, time
    if any(row["since"] is None for row in own.values()):
        return step, None
    return step, moment(after["since"]) + datetime.timedelta(seconds=waits[step])


def stepped(rows: list[Row], domain: str, step: str, time: datetime.datetime) -> list[Row]:
    """The rows after a step of one domain. Who has changed waits to be known to the hosts."""
    if step == "begin":
        own = [row for row in rows if row["domain"] == domain]
        state = NEXT if any(row["state"] == SIGNING for row in own) else SIGNING
        new = {"domain": domain, "selector": selector({row["selector"] for row in own}, time), "state": state, "since": None}
        return [*rows, new]
    changes = STEPS[step]
    return [
        {**row, "state": changes[row["state"]], "since": None} if row["domain"] == domain and row["state"] in changes else row
        for row in rows
    ]


def known(rows: list[Row], time: datetime.datetime) -> list[Row]:
    """The rows once all hosts know them."""
    return [row if row["since"] else {**row, "since": written(time)} for row in rows]


def selector(taken: Iterable[str], time: datetime.datetime) -> str:
    """A selector that the domain has never had: the day, and a letter where that is taken. Its age is for everybody to see."""
    day = time.strftime("k%Y%m%d")
    used = set(taken)
    names = [day, *(f"{day}-{number}" for number in range(2, len(used) + 3))]
    return next(name for name in names if name not in used)


# -- files ---------------------------------------------------------------------------------------------------------------


@contextmanager
def locked(directory: str) -> Iterator[None]:
    """The directory, made where it is missing, for one process at a time."""
    os.makedirs(directory, 0o700, exist_ok=True)
    handle = os.open(os.path.join(directory, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read(directory: str) -> list[Row]:
    """What is written down; nothing where there is no such file yet."""
    try:
        with open(os.path.join(directory, STATE), encoding="utf-8") as file:
            rows: list[Row] = json.load(file)["keys"]
            return rows
    except FileNotFoundError:
        return []


def put(path: str, text: str) -> None:
    """Write a file that nobody else may read, as a whole."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


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
            put(key_path(directory, row), make_key())
    put(os.path.join(directory, STATE), json.dumps({"keys": rows}, indent=1) + "\n")
    for row in rows:
        if row["state"] == WITHDRAWN and os.path.exists(key_path(directory, row)):
            os.unlink(key_path(directory, row))


def ensure(directory: str, domains: Iterable[str]) -> list[Row]:
    """What is written down, after a first key was made for each domain that has none."""
    with locked(directory):
        rows = read(directory)
        lacking = [name for name in domains if not any(row["domain"] == name for row in rows)]
        if lacking:
            for name in lacking:
                rows = stepped(rows, name, "begin", now())
            # There is nothing that a first key would have to wait for.
            rows = known(rows, now())
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
