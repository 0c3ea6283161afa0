# SPDX-License-Identifier: MIT
"""What all rotations of keys have in common: rows in a file on the machine with Ansible, and steps that wait for each other.

A row says what a key is for (``state``) and since when the site's hosts know (``since``, None while they do not). Each step is written
down before any host is told, and begun only when the hosts have known the one before for long enough. So one that was broken off
anywhere is run again: it tells the hosts what is written down, and goes on.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.widgets.mail.plugins.module_utils import files

Row = dict[str, Any]
# A step's name, and the time before which it is not due; None where the hosts have yet to be told of the step before.
Due = tuple[str, "datetime.datetime | None"]

BEGIN, SWITCH, WITHDRAW, NOTHING = "begin", "switch", "withdraw", ""
FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def now() -> datetime.datetime:
    """The time, in UTC and whole seconds."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def written(time: datetime.datetime) -> str:
    """A time as a row has it."""
    return time.strftime(FORMAT)


def moment(text: str) -> datetime.datetime:
    """A time out of a row."""
    return datetime.datetime.strptime(text, FORMAT).replace(tzinfo=datetime.UTC)


# -- steps: pure ---------------------------------------------------------------------------------------------------------


def after(step: str, before: Row, own: Iterable[Row], waits: Mapping[str, int]) -> Due:
    """A step that waits for so many seconds in which all hosts have known a row; None while they do not know all of the own rows."""
    if any(row["since"] is None for row in own):
        return step, None
    return step, moment(before["since"]) + datetime.timedelta(seconds=waits[step])


def moved(rows: list[Row], of: Mapping[str, str], changes: Mapping[str, str]) -> list[Row]:
    """The rows, those of somebody (such as a domain) in their new states. What has changed waits to be known to the hosts."""
    return [
        {**row, "state": changes[row["state"]], "since": None} if row["state"] in changes and of.items() <= row.items() else row
        for row in rows
    ]


def known(rows: list[Row], time: datetime.datetime) -> list[Row]:
    """The rows once all hosts know them."""
    return [row if row["since"] else {**row, "since": written(time)} for row in rows]


def advanced(
    rows: list[Row],
    names: Iterable[str],
    due: Callable[[list[Row], str], Due],
    stepped: Callable[[list[Row], str, str], list[Row]],
    time: datetime.datetime,
    told: bool,
) -> tuple[list[Row], list[str], list[str]]:
    """The rows after each step that is due by now; these steps, and what comes later, a line for each name.

    due: the next step of a name; stepped: the rows after a step of a name; told: the hosts know the rows, and no step is taken.
    """
    steps, waits = [], []
    if told:
        rows = known(rows, time)
    for name in names:
        step, when = due(rows, name)
        if step == NOTHING:
            waits.append(f"{name}: there is nothing to do")
        elif when is None:
            waits.append(f"{name}: {step} comes after the hosts know the step before")
        elif when > time or told:
            waits.append(f"{name}: {step} not before {written(max(when, time))}")
        else:
            rows = stepped(rows, name, step)
            steps.append(f"{name}: {step}")
    return rows, steps, waits


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


def read(path: str) -> list[Row]:
    """The rows that are written down; none where there is no such file yet."""
    text = files.read(path)
    rows: list[Row] = json.loads(text)["keys"] if text is not None else []
    return rows


def write(path: str, rows: list[Row]) -> None:
    """Write the rows down."""
    files.replace(path, json.dumps({"keys": rows}, indent=1) + "\n")
