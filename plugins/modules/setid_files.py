#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Set-user-ID and set-group-ID programs: one scan, and the bit goes wherever nobody gave a reason for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: setid_files
short_description: Take set-user-ID and set-group-ID bits away from every file without a reason for them
version_added: 0.1.0
description:
  - Scans the local file systems once for files with either bit, takes both from each file that is not on the list.
  - A file that a package brings gets an override too (C(dpkg-statoverride)), so that the next upgrade does not bring
    the bit back. On a release where packages still use names like C(/bin/su), both names are recorded.
  - Mounts with C(nosuid), network and kernel file systems are left out; a bit has no effect there or is another host's.
  - Refuses to take the bit from sudo or doas where the connection itself came through it.
author: The widgets.mail developers (@widgets)
options:
  allowed:
    description: Files that keep their bits. A symbolic link stands for the file it leads to.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path. It need not exist.
        type: path
        required: true
      reason:
        description: Why the bit is needed.
        type: str
        required: true
  exclude:
    description: Directories that are not searched, such as the file systems of containers.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: Tells what would lose its bits.
  diff_mode:
    support: full
    description: One line for each file or override that changes.
"""

EXAMPLES = r"""
- name: Leave no set-id program but the administrators' way to root
  widgets.mail.setid_files:
    allowed:
      - path: /usr/bin/sudo
        reason: administrators have accounts of their own
"""

RETURN = r"""
found:
  description: Every file with a set-id bit.
  returned: always
  type: list
  elements: str
kept:
  description: Files that keep their bits, with the reason given.
  returned: always
  type: list
  elements: dict
  sample: [{path: /usr/bin/sudo, mode: "root:root 4755", reason: administrators have accounts of their own}]
changes:
  description: What was changed, or would be.
  returned: always
  type: list
  elements: dict
  sample: [{what: /usr/bin/su, before: "root:root 4755", after: "root:root 0755"}]
"""

import os
import re
import stat
from collections.abc import Iterable, Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils import statoverride
from ansible_collections.widgets.mail.plugins.module_utils.statoverride import Override

SET_ID = stat.S_ISUID | stat.S_ISGID
# File systems of the kernel, and those whose files another host answers for.
# fmt: off
FOREIGN = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs",
    "sysfs", "tracefs",
    "9p", "afs", "ceph", "cifs", "coda", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs", "virtiofs",
})
# fmt: on
ESCAPE = re.compile(r"\\([0-7]{3})")
WAYS_TO_ROOT = {"SUDO_USER": "/usr/bin/sudo", "DOAS_USER": "/usr/bin/doas"}


def searched_mounts(mountinfo: str) -> list[str]:
    """Mount points worth a search, from the text of /proc/self/mountinfo; one for each file system and root in it."""
    points: dict[tuple[str, str], str] = {}
    for line in mountinfo.splitlines():
        before, _dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        device, root, point, options = fields[2], fields[3], fields[4], fields[5].split(",")
        if kind in FOREIGN or kind.startswith("fuse.") or "nosuid" in options:
            continue
        points.setdefault((device, root), ESCAPE.sub(lambda found: chr(int(found[1], 8)), point))
    return sorted(set(points.values()))


def parse_found(text: str) -> dict[str, Override]:
    """Owner, group and mode by path, from find's records ``owner group mode path`` that end in NUL."""
    found = {}
    for record in text.split("\0"):
        fields = record.split(" ", 3)
        if len(fields) == 4:
            owner, group, mode, path = fields
            # find names by number who has no name; dpkg wants a '#' before it.
            found[path] = Override(_named(owner), _named(group), int(mode, 8))
    return found


def _named(name: str) -> str:
    return f"#{name}" if name.isdigit() else name


def divide(
    found: Mapping[str, Override], allowed: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, tuple[Override, Override]]]:
    """The files that keep their bits with the reason, and the others with what they are and should be."""
    kept = {path: allowed[path] for path in sorted(found) if path in allowed}
    lose = {
        path: (have, have._replace(mode=have.mode & ~SET_ID)) for path, have in sorted(found.items()) if path not in allowed
    }
    return kept, lose


def cut_branch(environment: Mapping[str, str], lose: Iterable[str]) -> str | None:
    """The program without which the administrator who runs this would be locked out, if it is about to lose its bit."""
    lost = set(lose)
    for variable, program in WAYS_TO_ROOT.items():
        if environment.get(variable) and program in lost:
            return program
    return None


def strip(path: str, have: Override) -> None:
    """Take the bits from one file, unless somebody has put another in its place since the scan."""
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        now = os.fstat(handle)
        if not stat.S_ISREG(now.st_mode) or stat.S_IMODE(now.st_mode) & ~SET_ID != have.mode & ~SET_ID:
            raise OSError("has changed during the scan")
        os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(now.st_mode) & ~SET_ID)
    finally:
        os.close(handle)


def main() -> None:
    """Scan, divide, record, strip."""
    reason = {"path": {"type": "path", "required": True}, "reason": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "allowed": {"type": "list", "elements": "dict", "options": reason, "default": []},
            "exclude": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounts = searched_mounts(file.read())
    command = ["find", *mounts, "-xdev"]
    for directory in module.params["exclude"]:
        command += ["-path", directory, "-prune", "-o"]
    command += ["-type", "f", "-perm", "/6000", "-printf", r"%u %g %m %p\0"]
    rc, out, err = module.run_command(command)
    # Files that go away during the scan are no error; find says so and goes on.
    complaints = [line for line in err.splitlines() if "No such file or directory" not in line]
    if rc and complaints:
        module.fail_json(msg=f"the scan failed: {'; '.join(complaints)}")

    allowed = {os.path.realpath(entry["path"]): entry["reason"] for entry in module.params["allowed"]}
    found = parse_found(out)
    kept, lose = divide(found, allowed)
    branch = cut_branch(os.environ, lose)
    if branch:
        module.fail_json(msg=f"{branch} brought this connection to root: allow it, or connect as root")

    overrides: list[statoverride.Row] = []
    if lose:
        names = statoverride.names_to_override(module.run_command, lose)
        packaged = statoverride.owned(module.run_command, [name for both in names.values() for name in both])
        want = {name: lose[path][1] for path, both in names.items() if any(n in packaged for n in both) for name in both}
        overrides = statoverride.missing(statoverride.listed(module.run_command), want)
    if not module.check_mode:
        statoverride.record(module, overrides)
        for path, (have, _after) in lose.items():
            try:
                strip(path, have)
            except OSError as error:
                module.fail_json(msg=f"{path}: {error}")
    module.exit_json(
        found=sorted(found),
        kept=[{"path": path, "mode": str(found[path]), "reason": why} for path, why in kept.items()],
        **statoverride.told([(path, *both) for path, both in lose.items()], overrides),
    )


if __name__ == "__main__":
    main()
