# SPDX-License-Identifier: MIT
"""dpkg's list of overridden owners and modes: what lasts when a package is upgraded.

Shared by the modules `file_modes` and `setid_files`. The functions that shape data are pure; those that run dpkg take
AnsibleModule.run_command as `run`, so that tests need no dpkg.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

Run = Callable[..., tuple[int, str, str]]
# What it is about (such as a path), what it has or None, what it should have.
Row = tuple[str, Any, Any]


class Override(NamedTuple):
    """Owner, group and mode that dpkg gives a path whenever it unpacks it."""

    owner: str
    group: str
    mode: int

    def __str__(self) -> str:
        return f"{self.owner}:{self.group} {self.mode:04o}"


def parse(text: str) -> dict[str, Override]:
    """The lines ``owner group mode path`` of ``dpkg-statoverride --list``, by path (which may hold blanks)."""
    found = {}
    for line in text.splitlines():
        fields = line.split(" ", 3)
        if len(fields) == 4:
            owner, group, mode, path = fields
            found[path] = Override(owner, group, int(mode, 8))
    return found


def aliases(path: str, links: Iterable[str]) -> list[str]:
    """Both names of a file under a merged /usr, the /usr one first; just the path where it has one name.

    `links` are the directories of the root that lead into /usr, such as ``/sbin``. dpkg compares names, not files, so
    an override has to name the path that the package uses.
    """
    for link in links:
        if path.startswith(f"/usr{link}/"):
            return [path, path[len("/usr") :]]
        if path.startswith(f"{link}/"):
            return [f"/usr{path}", path]
    return [path]


def parse_owned(text: str) -> dict[str, list[str]]:
    """Packages by path, from the lines ``package, package: path`` of ``dpkg-query --search``."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        packages, separator, path = line.partition(": ")
        if separator and not line.startswith("diversion by"):
            found[path] = [name.split(":")[0] for name in packages.split(", ")]
    return found


def merged_links(names: Iterable[str] = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")) -> list[str]:
    """Directories of the root that are links into /usr on this host."""
    return [name for name in names if os.path.islink(name)]


def listed(run: Run) -> dict[str, Override]:
    """The overrides of this host."""
    _rc, out, _err = run(["dpkg-statoverride", "--list"])  # 1 means none
    return parse(out)


def owned(run: Run, paths: Iterable[str]) -> dict[str, list[str]]:
    """Which packages bring each path, by the very name that dpkg knows it by; others are left out."""
    names = list(paths)
    if not names:
        return {}
    _rc, out, _err = run(["dpkg-query", "--search", *names])  # 1 means that some belong to no package
    return parse_owned(out)


def names_to_override(run: Run, paths: Iterable[str]) -> dict[str, list[str]]:
    """For each path the names that an override must be recorded under on this host.

    The /usr name always, since packages move there; the short one too where a package still uses it (Debian 12).
    """
    links = merged_links()
    both = {path: aliases(path, links) for path in paths}
    short = [names[1] for names in both.values() if len(names) == 2]
    known = owned(run, short)
    return {path: [names[0], *(name for name in names[1:] if name in known)] for path, names in both.items()}


def add(run: Run, path: str, want: Override) -> str | None:
    """Record one override, in place of an older one; the reason where dpkg refuses."""
    command = ["dpkg-statoverride", "--force-statoverride-add", "--quiet"]
    rc, _out, err = run([*command, "--add", want.owner, want.group, f"{want.mode:04o}", path])
    return (err.strip() or f"dpkg-statoverride failed with {rc}") if rc else None


def missing(have: Mapping[str, Override], want: Mapping[str, Override]) -> list[Row]:
    """Overrides to record, by path."""
    return [(path, have.get(path), new) for path, new in want.items() if have.get(path) != new]


def record(module: Any, overrides: Iterable[Row]) -> None:
    """Record overrides; ends the task where dpkg refuses one.

    They come before the files themselves: a run that is cut off between the two leaves what the next one will still see.
    """
    for path, _before, after in overrides:
        wrong = add(module.run_command, path, after)
        if wrong:
            module.fail_json(msg=f"{path}: {wrong}")


def told(files: Iterable[Row], overrides: Iterable[Row]) -> dict[str, Any]:
    """A module's result: what of files and what of overrides was changed, or would be, with a line each side of Ansible's diff."""
    rows = [*files, *((f"statoverride {path}", before, after) for path, before, after in overrides)]
    return {
        "changed": bool(rows),
        "changes": [
            {"what": what, "before": str(before) if before else None, "after": str(after)} for what, before, after in rows
        ],
        "diff": {
            "before": "".join(f"{what} {before if before is not None else '(absent)'}\n" for what, before, _after in rows),
            "after": "".join(f"{what} {after}\n" for what, _before, after in rows),
        },
    }
