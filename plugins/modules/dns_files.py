#!/usr/bin/python
"""The configuration of BIND as one set of files: staged, checked as a whole, then put in place."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_files
short_description: Write named.conf and all zone files as one checked set
description:
  - A named.conf and its zone files only mean something together. This module writes all of them into a private
    directory first, has them checked there, and puts them in place only if the check passes.
  - C(@ROOT@) in a file stands for the directory that the files are in, so that the check reads the staged set.
  - C(@WORK@) stands for the directory that the program itself writes to, where O(work) names one.
  - C(@SERIAL@) in a file stands for a serial number. A file that is otherwise the same keeps the number it has; one
    that differs gets the present time in seconds since 1970, or one more than its old number where that is larger.
options:
  dest:
    description: Directory of the files. It must exist.
    type: path
    required: true
  files:
    description: Path below O(dest) to the whole content.
    type: dict
    required: true
  owned:
    description: Directories below O(dest) in which nothing else may be. Other files there are removed.
    type: list
    elements: str
    default: []
  work:
    required: true
    description: >-
      Directory that the program may write to, for what it makes of files: for each of O(worked_on) a link to the file stands there,
      below the same path. It is made where it is missing and where there is such a file. Who is in the group may add files there, but
      not replace what is root's.
    type: path
  worked_on:
    description: >-
      Zones that the program signs. That one is no longer among them is refused where it has a key in O(keys), until the program
      was told that the zone above has withdrawn its DS record.
    type: list
    elements: str
    default: []
  keys:
    description: A directory below O(work) in which the program keeps keys.
    type: str
    default: keys
  group:
    description: Group that may read the files. Their owner is root, their mode 0640, that of owned directories 0750.
    type: str
    required: true
  validate:
    description: Command and arguments that check the staged set. C(%s) stands for the directory it is in.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
    description: The files are staged and checked, and what differs is told.
  diff_mode:
    support: full
    description: Every file that would be written is shown.
author: The widgets.mail developers (@widgets)
"""

EXAMPLES = r"""
- name: Write the zones
  widgets.mail.dns_files:
    dest: /etc/bind
    files:
      named.conf: 'zone "example" { type primary; file "@ROOT@/zones/example"; };'
      zones/example: "@ IN SOA ns.example. postmaster.example. ( @SERIAL@ 7200 900 1209600 3600 )\n"
    owned: [zones]
    work: /var/lib/bind/site
    group: bind
    validate: [named-checkconf, -z, "%s/named.conf"]
"""

RETURN = r"""
paths:
  description: Files that were written or removed, below O(dest).
  type: list
  elements: str
  returned: success
"""

import glob
import grp
import os
import re
import shutil
import stat
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import owners
from ansible_collections.widgets.mail.plugins.module_utils.files import read

ROOT = "@ROOT@"
WORK = "@WORK@"
SERIAL = "@SERIAL@"
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750
WORK_MODE = 0o1770
# What BIND puts beside a zone's file that it signs.
MADE = (".jbk", ".jnl", ".signed", ".signed.jnl")


def with_serial(text: str, old: str | None, now: int) -> str:
    """The text with its serial: the old file's where nothing else differs, else one that is larger."""
    if SERIAL not in text:
        return text
    head, tail = text.split(SERIAL, 1)
    if old is None:
        return f"{head}{now}{tail}"
    kept = old[len(head) : len(old) - len(tail)]
    if old == f"{head}{kept}{tail}" and re.fullmatch(r"[0-9]{1,10}", kept):
        return old
    found = re.search(r"^\s*([0-9]{1,10})\s*;\s*serial", old, re.MULTILINE)
    return f"{head}{max(now, int(found.group(1)) + 1 if found else 0)}{tail}"


def strangers(dest: str, owned: list[str], files: dict[str, str]) -> list[str]:
    """Files in owned directories that nobody asked for."""
    out = []
    for directory in owned:
        for base, _directories, names in os.walk(os.path.join(dest, directory)):
            out += [os.path.relpath(os.path.join(base, name), dest) for name in names]
    return sorted(path for path in out if path not in files)


def directories(files: dict[str, str]) -> list[str]:
    """Directories below the root that the files need, parents first."""
    out = set()
    for path in files:
        parent = os.path.dirname(path)
        while parent:
            out.add(parent)
            parent = os.path.dirname(parent)
    return sorted(out)


def as_wanted(path: str, gid: int, mode: int) -> bool:
    """Whether a file or directory has root for its owner, the group and the mode."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, gid, mode)


def write(path: str, text: str, gid: int) -> None:
    """A new file with its owner and mode right from the start."""
    with open(path, "x", encoding="utf-8", errors="surrogateescape") as stream:
        os.fchown(stream.fileno(), 0, gid)
        os.fchmod(stream.fileno(), FILE_MODE)
        stream.write(text)


def linked(work: str) -> dict[str, str]:
    """The links below a working directory, with where they lead."""
    out = {}
    for base, _directories, names in os.walk(work):
        for path in (os.path.join(base, name) for name in names):
            if os.path.islink(path):
                out[os.path.relpath(path, work)] = os.readlink(path)
    return out


def still_signed(text: str) -> bool:
    """Whether the zone above may still have the DS record of a key: until named was told that it has been withdrawn."""
    state = dict(re.findall(r"^(\w+): ([0-9]+)", text, re.MULTILINE))
    removed, published = str(state.get("DSRemoved", "")), str(state.get("DSPublish", ""))
    return removed <= published


def in_force(keys: str, path: str) -> list[str]:
    """The keys of the zone of a file that the zone above may still name."""
    name = glob.escape(os.path.basename(path)).replace("_", "*")
    found = sorted(glob.glob(f"{glob.escape(keys)}/K{name}.+*.state"))
    return [os.path.basename(place) for place in found if still_signed(read(place) or "")]


class Work:
    """The directory that the program writes to: links to what it makes other files of, and what it has made of them."""

    def __init__(self, place: str, worked_on: list[str], keys: str, dest: str) -> None:
        self.place, self.keys = place, os.path.join(place, keys)
        wanted = {path: os.path.join(dest, path) for path in worked_on}
        found = linked(place)
        self.links = {path: target for path, target in wanted.items() if found.get(path) != target}
        self.stale = sorted(path for path in found if path not in wanted)
        self.directories = ["", *sorted({keys, *directories(wanted)})] if wanted else []

    def refusal(self) -> str:
        """Why a file cannot be left alone by the program yet; empty where it can."""
        for path in self.stale:
            if names := in_force(self.keys, path):
                zone = os.path.basename(path)
                return (
                    f"The zone {zone} would be served without signatures, and the zone above it may still say that it has some "
                    f"({', '.join(names)}): nobody who validates would take an answer any more. Nothing was changed. Withdraw the "
                    f"DS record first (docs/howto/dnssec.md)."
                )
        return ""

    def loose(self, gid: int) -> list[str]:
        """Directories whose owner or mode is not as it should be, or that are missing."""
        return [path for path in self.directories if not as_wanted(os.path.join(self.place, path), gid, WORK_MODE)]

    def write(self, gid: int) -> None:
        """Do it."""
        for path in self.directories:
            full = os.path.join(self.place, path)
            os.makedirs(full, exist_ok=True)
            os.chown(full, 0, gid)
            os.chmod(full, WORK_MODE)
        for path in [*self.links, *self.stale]:
            # What was made of another file, or of one that nothing is to be made of.
            for full in (os.path.join(self.place, f"{path}{suffix}") for suffix in ("", *MADE)):
                if os.path.lexists(full):
                    os.unlink(full)
        for path, target in self.links.items():
            os.symlink(target, os.path.join(self.place, path))


def check(module: AnsibleModule, dest: str, files: dict[str, str], now: int) -> None:
    """Stage the files and run the check on them; ends the task where it fails."""
    staging = tempfile.mkdtemp(prefix="dns_files-", dir=module.tmpdir)
    try:
        for directory in directories(files):
            os.mkdir(os.path.join(staging, directory), DIRECTORY_MODE)
        for path, text in files.items():
            write(os.path.join(staging, path), with_serial(text.replace(ROOT, staging).replace(WORK, staging), None, now), 0)
        os.makedirs(os.path.join(staging, module.params["keys"]), exist_ok=True)
        command = [part.replace("%s", staging) for part in module.params["validate"]]
        status, out, err = module.run_command(command)
        if status != 0:
            said = f"{out}{err}".replace(staging, dest)
            module.fail_json(
                msg=f"The new configuration does not pass the check, the old one stays in force: {said}", rc=status
            )
    finally:
        shutil.rmtree(staging)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "owned": {"type": "list", "elements": "str", "default": []},
            "work": {"type": "path", "required": True},
            "worked_on": {"type": "list", "elements": "str", "default": []},
            "keys": {"type": "str", "default": "keys", "no_log": False},
            "group": {"type": "str", "required": True},
            "validate": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    dest, owned = module.params["dest"], module.params["owned"]
    try:
        gid = grp.getgrnam(module.params["group"]).gr_gid
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg=f"There is no group {module.params['group']!r} on this host")
        gid = -1  # its package would have made it

    now = int(time.time())
    old = {path: read(os.path.join(dest, path)) for path in module.params["files"]}
    files = module.params["files"]
    work = Work(module.params["work"], module.params["worked_on"], module.params["keys"], dest)
    if refusal := work.refusal():
        module.fail_json(msg=refusal)
    final = {
        path: with_serial(text.replace(ROOT, dest).replace(WORK, work.place), old[path], now) for path, text in files.items()
    }
    places = directories(files)
    extra = strangers(dest, owned, files)
    differ = [path for path in files if final[path] != old[path]]
    loose = [path for path in files if not as_wanted(os.path.join(dest, path), gid, FILE_MODE)]
    loose += [path for path in places if not as_wanted(os.path.join(dest, path), gid, DIRECTORY_MODE)]
    changed = sorted({*differ, *loose, *extra})
    loose_work = work.loose(gid)
    working = [*loose_work, *work.links, *work.stale]

    diff = [{"before": old[p] or "", "after": final[p], "before_header": p, "after_header": p} for p in differ]
    diff += [
        {"before": read(os.path.join(dest, p)) or "", "after": "", "before_header": p, "after_header": "(removed)"}
        for p in extra
    ]
    for path in (path for path in changed if path in loose):
        wanted = owners.words("root", module.params["group"], DIRECTORY_MODE if path in places else FILE_MODE)
        diff.append(owners.difference(os.path.join(dest, path), wanted))
    for path in loose_work:
        diff.append(
            owners.difference(
                os.path.join(work.place, path).rstrip("/"), owners.words("root", module.params["group"], WORK_MODE)
            )
        )
    diff += [
        {"before": "", "after": f"{to}\n", "before_header": p, "after_header": f"{work.place}/{p}"}
        for p, to in work.links.items()
    ]
    diff += [
        {"before": "a link\n", "after": "", "before_header": f"{work.place}/{p}", "after_header": "(removed)"}
        for p in work.stale
    ]

    checkable = not module.check_mode or module.get_bin_path(module.params["validate"][0])
    if (differ or extra) and checkable:
        # In check mode as well: a plan that will not pass is worth knowing before it is carried out.
        check(module, dest, files, now)
    if changed and not module.check_mode:
        for path in places:
            full = os.path.join(dest, path)
            os.makedirs(full, exist_ok=True)
            os.chown(full, 0, gid)
            os.chmod(full, DIRECTORY_MODE)
        for path in sorted({*differ, *loose} - set(places)):
            full = os.path.join(dest, path)
            fresh = f"{full}.new"
            if os.path.lexists(fresh):
                os.unlink(fresh)
            write(fresh, final[path], gid)
            os.replace(fresh, full)
        for path in extra:
            os.unlink(os.path.join(dest, path))
    if working and not module.check_mode:
        work.write(gid)

    module.exit_json(changed=bool(changed or working), paths=changed, diff=diff)


if __name__ == "__main__":
    main()
