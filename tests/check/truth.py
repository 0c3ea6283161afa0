"""What check mode foretold, held against what the run then did: task by task, host by host, path by path."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping

from tests.site.recap import PREPARED, Part, Run

# What a bare host's run will write is known but for this: keys that it makes, what programs yet to be installed compile, the list
# of paths that Tripwire finds to watch, and what packages bring along: apt resolves without the stand-in that spares them a mail server.
UNKNOWN = {
    PREPARED,
    "/root/.ssh/authorized_keys",
    "/etc/ssh/ssh_known_hosts",
    "/etc/mail/sendmail.cf",
    "/etc/mail/submit.cf",
    "signed configuration and policy",
    # Who may use its socket: a user that another role makes in the same run.
    "/etc/dovecot/dovecot.conf",
}
# A zone's serial is the time of the run that writes it.
SERIAL = re.compile(r"(?m)^(\s*)\d{1,10}(\s*;\s*serial)")


def lines_of(parts: Iterable[Part]) -> set[tuple[str, str]]:
    """What a change makes of what: a file's text by its path; of modes, overrides and units a line each."""
    out = set()
    for part in parts:
        if part.before == part.after:
            continue
        if part.what:
            out.add((part.what, SERIAL.sub(r"\1now\2", part.after)))
        else:
            out |= {(line.removeprefix("statoverride ").split(" ")[0].rstrip(":"), line) for line in part.after.splitlines()}
    return out


# An owner, a group and a mode of a path, as our modules show them.
MODES = re.compile(r"(statoverride )?/\S* \S+:\S+ 0[0-7]{3,4}\n?")
# For a shell: the packages of a host, and those that brought a path to it, by whichever of its names they know it.
PACKAGES = "dpkg-query -W -f '${binary:Package}\\n'"
OWNERS = "dpkg-query --search {0} $(echo {0} | sed 's,^/usr,,') 2>/dev/null | sed 's/: .*//; s/, /\\n/g'; true"


def bringer(shell: Callable[[str, str], str], before: Mapping[str, set[str]]) -> Callable[[str, str], bool]:
    """For `brought`: asks a host, whose packages from before the run are known. `shell` runs a script on a host."""
    return lambda host, path: bool(set(shell(host, OWNERS.format(shlex.quote(path))).split()) - before[host])


def untrue(
    foretold: Run, made: Run, unknown: Iterable[str] = (), brought: Callable[[str, str], bool] = lambda host, path: False
) -> list[str]:
    """Where the two differ, a line each.

    unknown: for bare hosts, what check mode knows that it changes, but not what it will hold. There an earlier task of the run may have
    made what a later one is foretold to make, and a package may bring a file with the right mode, of which only the content changes.
    brought: whether a package that this run installed brought a path to a host: nobody sees into a package that is not there yet.
    """
    vague = set(unknown)
    bare = bool(vague)
    touched: dict[str, set[str]] = {}
    for (host, _task), parts in made.parts.items():
        touched.setdefault(host, set()).update(what for what, _text in lines_of(parts))
    out = [f"{host}: {task}: foretold, and not done" for host, task in sorted(foretold.changes - made.changes)]
    out += [f"{host}: {task}: done, and not foretold" for host, task in sorted(made.changes - foretold.changes)]
    for host, task in sorted(foretold.changes & made.changes):
        said, done = (lines_of(run.parts[host, task]) for run in (foretold, made))
        said, done = ({(what, "" if what in vague else text) for what, text in lines} for lines in (said, done))
        elsewhere = touched[host] - {what for what, _text in done} if bare else set()
        ready = touched[host] if bare else set()
        out += [
            f"{host}: {task}: foretold, and not done: {what}: {text!r:.300}"
            for what, text in sorted(said - done)
            if what not in elsewhere and not (what in ready and MODES.fullmatch(text))
        ]
        out += [
            f"{host}: {task}: done, and not foretold: {what}: {text!r:.300}"
            for what, text in sorted(done - said)
            if not brought(host, what)
        ]
    return out
