"""What waits on a host of the lab to start programs for the tests, and functions of modules that are sent there.

This file is sent to a host and run there (`tests.site.lab.Machine.run` and `.call`), so it imports nothing but the standard library
and keeps to what Python 3.11 knows. The container engine takes a tenth of a second to start a program in a container, a process
that is there already takes some milliseconds, and a module that it has seen need not be compiled again.

Requests and answers are lines of JSON. A request is {argv, text, user} for a program (root's without a user), or {source, argv, text}
for a Python module that is run as a program. It is answered twice: "taken" before anything is begun, so that who hears nothing may ask again elsewhere; then
{code, out, err}. The code is what the engine would have said: 127 for a program that is not there, 128 and the signal's number for
one that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import subprocess
import sys
import traceback
import types
from typing import Any

NOT_THERE = 127
KILLED = 128
CHUNK = 1 << 16

compiled: dict[str, types.CodeType] = {}


def say(value: Any) -> None:
    """One line of JSON to whoever asked."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def module(source: str) -> types.CodeType:
    """A module's code. What it imports is imported here once, for all children; what is wrong with it, a child will say."""
    if source not in compiled:
        compiled[source] = compile(source, "<sent>", "exec")
        with contextlib.suppress(Exception):
            exec(compiled[source], {"__name__": "sent"})
    return compiled[source]


def become(code: types.CodeType, argv: list[str], ends: tuple[int, int, int]) -> None:
    """In a child: run a module as a program, with these ends of pipes as its input, output and errors. Does not come back."""
    status = 1
    try:
        os.setsid()
        for number, end in enumerate(ends):
            os.dup2(end, number)
        os.closerange(3, max(ends) + 8)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate(("r", "w", "w")))
        sys.argv = ["-c", *argv]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(code, main.__dict__)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def owned(user: str) -> dict[str, Any]:
    """Whose a program is, as Popen takes it: with a user's groups and nothing of root's."""
    entry = pwd.getpwnam(user)
    if entry.pw_uid == os.getuid():
        return {}
    return {
        "user": entry.pw_uid,
        "group": entry.pw_gid,
        "extra_groups": os.getgrouplist(user, entry.pw_gid),
        "env": {**os.environ, "HOME": entry.pw_dir},
    }


def begun(request: dict[str, Any]) -> tuple[int, int, int, int]:
    """Start what a request asks for: its process, and our ends of its input, output and errors."""
    (in_, to), (from_, out), (errors, err) = (os.pipe() for _ in range(3))
    theirs = (in_, out, err)
    try:
        if "source" in request:
            code = module(request["source"])
            pid = os.fork()
            if pid == 0:
                become(code, request["argv"], theirs)
        else:
            # Not waited for by its object, which is thrown away: `outcome` does that.
            person = owned(request.get("user", "root"))
            process = subprocess.Popen(request["argv"], stdin=in_, stdout=out, stderr=err, start_new_session=True, **person)
            pid, process.returncode = process.pid, 0
    except BaseException:
        for end in (to, from_, errors):
            os.close(end)
        raise
    finally:
        for end in theirs:
            os.close(end)
    return pid, to, from_, errors


def drained(end: int, said: dict[int, bytes]) -> bool:
    """Take what there is; whether nothing more can come."""
    while True:
        try:
            chunk = os.read(end, CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            return True
        said[end] += chunk


def outcome(pid: int, to: int, from_: int, errors: int, text: bytes) -> dict[str, Any]:
    """Give a process its input and take what it says, until it ends: what it started may go on, and is not waited for."""
    said = {from_: b"", errors: b""}
    for end in (to, *said):
        os.set_blocking(end, False)
    ended = os.pidfd_open(pid)
    reading, writing = set(said), {to}
    over = False
    while not over:
        ready, writable, _ = select.select(reading | {ended}, writing, [])
        over = ended in ready
        if writable:
            try:
                text = text[os.write(to, text[:CHUNK]) :] if text else text
            except BrokenPipeError:
                text = b""
            if not text:
                writing.clear()
                os.close(to)
        reading -= {end for end in reading if (over or end in ready) and drained(end, said)}
    _, status = os.waitpid(pid, 0)
    for end in (*said, ended, *writing):
        os.close(end)
    code = os.waitstatus_to_exitcode(status)
    out, err = (said[end].decode("utf-8", "replace") for end in (from_, errors))
    return {"code": code if code >= 0 else KILLED - code, "out": out, "err": err}


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        say("taken")
        request = json.loads(line)
        try:
            started = begun(request)
        except (OSError, KeyError) as error:
            say({"code": NOT_THERE, "out": "", "err": str(error)})
            continue
        say(outcome(*started, request["text"].encode()))


if __name__ == "__main__":
    main()
