"""Each role by itself on a plain host: the minimal playbook of its README, run as it stands there.

The hosts are containers like the lab's, made by the lab's own playbook from an inventory that is derived here: one host a role,
with nothing on it. They have one network to themselves.
"""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import pages
from tests.check import truth
from tests.roles import whole
from tests.site import lab, recap

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.parent.name for path in (ROOT / "roles").glob("*/README.md"))
PREFIX = "alone"
# Nobody's network (RFC 2544), with a link for each host.
NETWORK = ipaddress.ip_network("198.19.0.0/24")
# What the playbooks leave to the reader's vault.
VAULT = {
    "vault_alice": "a long word for alice",
    "vault_bob_hash": "$6$rounds=20000$saltsaltsalt$F8yyMd94PN6HKXdFXhM8Rrg4pnh0XdlEd7mHNKwPEaVRsLMVVbUjdmtG7uCGnOQ1hVSzKGtI2GJW1nhvYZyc40",
    "vault_tripwire_site": "a word for the site",
    "vault_tripwire_local": "a word for this host",
}
# How the lab's containers are made and reached.
LAB = {
    name: value
    for name, value in yaml.safe_load((ROOT / "inventories/lab/group_vars/all/lab.yml").read_text(encoding="utf-8")).items()
    if name in ("lab_release", "lab_image", "ansible_connection", "ansible_host")
}


@dataclass(frozen=True)
class Example:
    """What a README shows: a playbook, the host to look at, what to type there, and what it says."""

    role: str
    playbook: str
    host: str
    script: str
    says: list[str]

    @property
    def group(self) -> str:
        """The group that the playbook names."""
        plays: list[dict[str, str]] = yaml.safe_load(self.playbook)
        return plays[0]["hosts"]


def example(role: str, text: str) -> Example:
    """The first playbook under the heading "Minimal playbook", and the commands that follow it."""
    section = text.split("## Minimal playbook\n", 1)[1]
    playbook = section.split("```yaml\n", 1)[1].split("```", 1)[0]
    block = pages.BLOCK.search(section)
    assert block, f"roles/{role}/README.md shows no command under its minimal playbook"
    script = block["script"]
    for name, value in VAULT.items():
        script = script.replace(f"{{{{ {name} }}}}", value)
    return Example(role, playbook, block["where"], script, [line[4:] for line in block["says"].splitlines()])


def examples() -> dict[str, Example]:
    """All of them."""
    return {role: example(role, (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")) for role in ROLES}


def hosts(wanted: dict[str, Example]) -> dict[str, Any]:
    """An inventory for the lab's own playbook: a zone, and in it a container for each role."""
    addresses = iter(NETWORK.hosts())
    links = {}
    for number, (role, shown) in enumerate(wanted.items()):
        found = re.search(r'mac: "([0-9a-f:]+)"', shown.playbook)
        mac = found[1] if found else f"02:00:c6:13:00:{number:02x}"
        links[role] = {"interfaces": {"plain": {"address": str(next(addresses)), "mac": mac}}}
    return {
        "all": {
            "hosts": {role: {} for role in wanted},
            "vars": {
                **LAB,
                "lab_prefix": PREFIX,
                "site_zones": {"plain": {"network": str(NETWORK)}},
                "site_hosts": links,
            },
            # Where the kernel has no WireGuard, a tunnel needs a device.
            "children": {"concentrators": {"hosts": {role: {} for role in wanted if role == "vpn"}}},
        }
    }


@dataclass(frozen=True)
class Story:
    """What a run changed, where check mode had foretold something else, what the next runs changed, and what the host says then.

    Then the role goes again: what it said and what was there of a message that still lay with it, what check mode foretold of the
    leave, what was done, what a second run did, and how the host differs then from how it was at first.
    """

    made: recap.Run
    untrue: list[str]
    again: recap.Run
    foreseen_again: recap.Run
    says: str
    held: str
    leave: list[recap.Run]
    left: list[str]


def written(shown: Example, place: Path) -> tuple[Path, list[str]]:
    """An inventory for a README's playbook, and the playbook with what its reader's vault would hold, as arguments."""
    inventory = place / "inventory.json"
    reached = {**LAB, "ansible_host": f"{PREFIX}-{shown.role}"}
    inventory.write_text(json.dumps({shown.group: {"hosts": {shown.host: reached}}}))
    playbook = place / "playbook.yml"
    playbook.write_text(shown.playbook)
    vault = place / "vault.json"
    vault.write_text(json.dumps(VAULT))
    return inventory, [str(playbook), "-e", f"@{vault}"]


def run(shown: Example, place: Path, *more: str) -> recap.Run:
    """Run a README's playbook; what changed, or would change."""
    inventory, arguments = written(shown, place)
    return recap.play(*arguments, "--diff", *more, inventory=inventory)


def leave(shown: Example, place: Path, *more: str) -> recap.Run:
    """Have the roles of a README's playbook go again, the last one first; what changed, or would change."""
    plays: list[dict[str, Any]] = yaml.safe_load(shown.playbook)
    (play,) = plays
    roles = [role if isinstance(role, dict) else {"role": role} for role in play.pop("roles")]
    play.setdefault("vars", {})["put_back_going"] = [role["role"].split(".")[-1] for role in roles]
    play["tasks"] = [
        {
            "name": f"Without {role['role']}",
            "ansible.builtin.import_role": {"name": role["role"], "tasks_from": "absent"},
            "vars": role.get("vars", {}),
        }
        for role in reversed(roles)
    ]
    inventory, (_playbook, *arguments) = written(shown, place)
    backwards = place / "absent.yml"
    backwards.write_text(yaml.safe_dump([play], sort_keys=False))
    return recap.play(str(backwards), *arguments, "--diff", *more, inventory=inventory)


# A message that nobody has fetched or sent yet, where a role keeps such.
MAIL = {"pop3": "/var/mail/alice/.Sent/cur/1", "sendmail": "/var/spool/mqueue/df1", "smmsp": "/var/spool/mqueue-client/df1"}


def held(shown: Example, place: Path) -> str:
    """How a leave ends while a message lies with the role, and then what of it is there and which of Dovecot and sendmail run."""
    if shown.role not in MAIL:
        return ""
    path = MAIL[shown.role]
    said(shown, f"mkdir -p {path.rpartition('/')[0]} && echo text >{path}")
    running = "cat " + path + "; systemctl is-active dovecot sendmail"
    before = said(shown, running)
    try:
        leave(shown, place)
        end = "it went"
    except AssertionError as error:
        end = str(error)
    after = said(shown, running)
    said(shown, f"rm {path}; rmdir --ignore-fail-on-non-empty {path.rpartition('/')[0]}")
    return end if after == before else f"{end}: {before} and then {after}"


def told(done: recap.Run) -> set[str]:
    """The lines of a leave, one for each thing that goes or comes back."""
    return {line for parts in done.parts.values() for part in parts for line in part.after.splitlines()}


def refusal(shown: Example, place: Path) -> str:
    """What a run says that must fail."""
    place.mkdir(parents=True)
    inventory, arguments = written(shown, place)
    done = lab.ansible("ansible-playbook", "-i", str(inventory), *arguments, check=False)
    assert done.returncode != 0, done.stdout
    return done.stdout


def said(shown: Example, script: str) -> str:
    """What a script says on the host."""
    argv = ["docker", "exec", f"{PREFIX}-{shown.role}", "bash", "-c", f"exec 2>&1\n{script}"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120).stdout


def look(shown: Example) -> set[str]:
    """The host as a whole."""
    return whole.lines(said(shown, whole.LOOK))


def renamed(first: set[str], named: set[str]) -> set[str]:
    """A host as it was at first, but by the name that it has been given since."""
    naming = re.compile(r"\w+ /etc/host(s|name) ")
    return {line for line in first if not naming.match(line)} | {line for line in named if naming.match(line)}


def name(role: str) -> None:
    """Give a host its full name, as Debian's installer does. A name of a role may have what a host's may not."""
    label = role.replace("_", "-")
    script = (
        f"hostname {label} && echo {label} > /etc/hostname && cp /etc/hosts /run/hosts"
        f' && {{ echo "127.0.1.1 {label}.{PREFIX}.example {label}"; cat /run/hosts; }} > /etc/hosts'
    )
    subprocess.run(["docker", "exec", f"{PREFIX}-{role}", "sh", "-c", script], check=True)


def story(shown: Example, place: Path, before: set[str]) -> Story:
    """A bare host, of which a look was taken: check, run, run again, check, and all of it away again."""
    place.mkdir(parents=True)
    packages = set(said(shown, truth.PACKAGES).split())
    foreseen, made = run(shown, place, "--check"), run(shown, place)
    # As long as its packages are there.
    brought = truth.bringer(lambda _host, script: said(shown, script), {shown.host: packages})
    return Story(
        made=made,
        untrue=truth.untrue(foreseen, made, truth.UNKNOWN, brought),
        again=run(shown, place),
        foreseen_again=run(shown, place, "--check"),
        says=said(shown, shown.script),
        held=held(shown, place),
        leave=[leave(shown, place, "--check"), leave(shown, place), leave(shown, place)],
        left=whole.differences(before, look(shown), shown.role),
    )
