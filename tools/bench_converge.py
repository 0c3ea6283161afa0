#!/usr/bin/env python3
"""What a converge costs: more gateways beside the running lab's, and a bare shell script that does the same to one of them.

    python3 tools/bench_converge.py [--gateways 1,2,4,8]    # `make bench-converge` sees to the environment

For each number that many bare hosts are added to a copy of the lab's inventory, as docs/howto/gateway.md has it, and made as containers
of the lab. site.yml, limited to them, is run three times: first, unchanged, and with one setting changed. Then one of them is made anew,
and a script installs the packages and copies the files that the converge had put there, and starts the services. For the controller
alone the variables of a hundred gateways are checked, which no host sees. The added hosts are removed at the end; a run of all numbers
is written down in docs/bench-converge.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import pages
from tests.site import lab, recap
from tools import bench

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/bench-converge.md"
STATE = ROOT / ".lab/bench-converge"
NUMBERS = [1, 2, 4, 8]
CONTROLLER = 100
# Addresses of the added hosts begin here; the lab's own are below.
FIRST = 100
CHANGE = json.dumps({"sendmail_max_recipients": 99})
# Files that a converge makes and a script would copy: settings, and what the roles place beside them.
COPIED = ("/etc/", "/usr/local/", "/var/spool/", "/root/.ssh/")
# What the engine writes itself, and what dpkg and ld make anew when packages are installed.
NOT_COPIED = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/ld.so.cache", "/etc/mtab")


class BenchError(Exception):
    """Something that stops the run; the text says what and where."""


def names(number: int) -> list[str]:
    """The names of so many gateways, beside the lab's own."""
    return [f"{lab.GATEWAY.rstrip('0123456789')}{FIRST + count}" for count in range(number)]


def edits(hosts: Sequence[str], zone: str, network: str, public: str) -> list[pages.Edit]:
    """What an inventory needs for more gateways in a zone; `network` and `public` are the first three octets of their addresses."""
    addresses, flows = [], []
    for number, host in enumerate(hosts, FIRST):
        mac = ":".join(f"{int(part):02x}" for part in ["2", "0", *network.split("."), str(number)])
        addresses.append(
            f"  {host}:\n    public: {public}.{number}\n    interfaces:\n"
            f'      {zone}: {{address: {network}.{number}, mac: "{mac}"}}\n'
        )
        flows += [
            f"  - {{id: in-{host}, from: any, to: {host}, services: [smtp]}}\n",
            f"  - {{id: out-{host}, from: {host}, to: outside, services: [smtp, dns]}}\n",
            f"  - {{id: store-{host}, from: {host}, to: {lab.STORE}, services: [smtp]}}\n",
            f"  - {{id: log-{host}, from: {host}, to: {lab.COLLECTOR}, services: [syslog]}}\n",
            f"  - {{id: admin-{host}, from: {lab.COLLECTOR}, to: {host}, services: [ssh]}}\n",
        ]
    members = "".join(f"            {host}:\n" for host in hosts)
    site = "group_vars/all/site.yml"
    return [
        pages.Edit("hosts.yml", f"{lab.GATEWAY}:", members),
        pages.Edit(site, "site_hosts:", "".join(addresses)),
        pages.Edit(site, "site_flows:", "".join(flows)),
    ]


def inventory(number: int) -> Path:
    """A copy of the lab's inventory with so many gateways more."""
    place = STATE / str(number)
    place.mkdir(parents=True, exist_ok=True)
    # The copy finds the lab's secrets where the original does.
    if not (place / ".lab").is_symlink():
        (place / ".lab").symlink_to(ROOT / ".lab")
    zone = lab.zone(lab.GATEWAY)
    network = lab.address(lab.GATEWAY).rsplit(".", 1)[0]
    # Nobody out there asks for them: documentation's addresses (RFC 5737) that the lab does not use.
    return pages.copy_of(lab.INVENTORY, place, edits(names(number), zone, network, "203.0.113"))


def play(copy: Path, book: str, *more: str) -> tuple[float, str]:
    """Run a playbook: its seconds and its words."""
    begun = time.monotonic()
    done = lab.ansible("ansible-playbook", "-i", str(copy), book, *more, check=False)
    if done.returncode != 0:
        raise BenchError(f"{book}: {done.stdout[-2000:]}{done.stderr[-500:]}")
    return time.monotonic() - begun, done.stdout


def docker(*argv: str, check: bool = True) -> str:
    """A command of the engine's."""
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise BenchError(f"docker {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def remove(number: int) -> None:
    """The added hosts' containers, gone."""
    there = set(docker("ps", "--all", "--format", "{{.Names}}").split())
    if mine := [lab.Machine(name).container for name in names(number) if lab.Machine(name).container in there]:
        docker("rm", "--force", "--volumes", *mine)


def bare(copy: Path, number: int) -> None:
    """So many bare hosts."""
    remove(max(NUMBERS))
    play(copy, "playbooks/lab/create.yml")
    if gone := [name for name in names(number) if lab.Machine(name).run("true", check=False).returncode]:
        raise BenchError(f"not made: {', '.join(gone)}")


def converges(number: int) -> dict[str, float]:
    """Seconds of the three runs on so many hosts."""
    copy, hosts = inventory(number), names(number)
    bare(copy, number)
    limit = ["--limit", ",".join(hosts)]
    first, _ = play(copy, "site.yml", *limit)
    unchanged, said = play(copy, "site.yml", *limit)
    if recap.changed(said):
        raise BenchError(f"the second run changed {recap.changed(said)}")
    change, said = play(copy, "site.yml", *limit, "--extra-vars", CHANGE)
    if {host for host, _task in recap.changed(said)} != set(hosts):
        raise BenchError("the change of a setting did not reach every host")
    return {"first": first, "unchanged": unchanged, "change": change}


# -- the script ------------------------------------------------------------------------------------------------------

INSTALLED = "dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' | sed -n 's/^ii *//p'"
RUNNING = "systemctl list-units --type=service,timer --state=active --plain --no-legend --no-pager | cut -d' ' -f1"


def copied(diff: str) -> list[str]:
    """The paths that a script would copy, of what the engine says a converge changed and added."""
    found = [line.split(" ", 1)[1] for line in diff.splitlines() if line[:1] in "AC"]
    return sorted(path for path in found if path.startswith(COPIED) and path not in NOT_COPIED)


def script(packages: Sequence[str], gone: Sequence[str], units: Sequence[str]) -> str:
    """What an administrator would write by hand: packages, files, services."""
    return "\n".join(
        [
            "set -e",
            "export DEBIAN_FRONTEND=noninteractive",
            "apt-get -qq update",
            f"apt-get -qq -y --no-install-recommends -o Dpkg::Options::=--force-confold install {' '.join(packages)} >/dev/null",
            *([f"apt-get -qq -y purge {' '.join(gone)} >/dev/null"] if gone else []),
            "tar -C / -xf /root/files.tar",
            "newaliases -C /etc/mail/sendmail.cf >/dev/null 2>&1 || true",
            "systemctl daemon-reload",
            f"systemctl restart {' '.join(units)}" if units else ":",
            "",
        ]
    )


def by_script(copy: Path) -> tuple[float, dict[str, int]]:
    """Seconds that the script takes on a bare host, and what it does; the host before it is one that was converged."""
    machine = lab.Machine(names(1)[0])
    packages, units = (set(machine.sh(command).split()) for command in (INSTALLED, RUNNING))
    files = [path for path in copied(docker("diff", machine.container)) if path]
    STATE.mkdir(parents=True, exist_ok=True)
    archive = STATE / "files.tar"
    listing = "\0".join(path.lstrip("/") for path in files)
    with archive.open("wb") as out:
        subprocess.run(
            ["docker", "exec", "-i", machine.container, "tar", "-C", "/", "--null", "--no-recursion", "-cf", "-", "-T", "-"],
            input=listing.encode(),
            stdout=out,
            check=True,
        )
    bare(copy, 1)
    had, ran = (set(machine.sh(command).split()) for command in (INSTALLED, RUNNING))
    docker("cp", str(archive), f"{machine.container}:/root/files.tar")
    new = sorted(unit for unit in units - ran if not unit.startswith(("systemd-", "user", "getty")) and "@" not in unit)
    begun = time.monotonic()
    machine.run("sh", "-s", text=script(sorted(packages - had), sorted(had - packages), new), timeout=600)
    return time.monotonic() - begun, {"packages": len(packages - had), "files": len(files), "services": len(new)}


def checked() -> float:
    """Seconds in which the controller alone checks the variables of many hosts."""
    hosts = names(CONTROLLER)
    return play(inventory(CONTROLLER), "playbooks/validate.yml", "--limit", ",".join(hosts))[0]


# -- the report ------------------------------------------------------------------------------------------------------


def rows(found: Mapping[int, Mapping[str, float]]) -> list[str]:
    """The table: seconds, and what that is for each host."""
    out = ["| gateways | first | unchanged | one setting changed | unchanged, a host |", "|---:|---:|---:|---:|---:|"]
    for number, took in sorted(found.items()):
        each = took["unchanged"] / number
        out.append(f"| {number} | {took['first']:.0f} s | {took['unchanged']:.1f} s | {took['change']:.1f} s | {each:.1f} s |")
    return out


def page(found: Mapping[int, Mapping[str, float]], bare_script: tuple[float, Mapping[str, int]], controller: float) -> str:
    """What is kept."""
    day = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d")
    seconds, did = bare_script
    lines = [
        "# What a converge costs",
        "",
        f"Written by `make bench-converge`, {day}, on {bench.machine()}. Not edited by hand.",
        "",
        "So many bare gateways beside the running lab, and `site.yml` limited to them: first, again, and with one setting changed.",
        "",
        *rows(found),
        "",
        f"A bare shell script that installs the same {did['packages']} packages on one such host, copies the same {did['files']} files and"
        f" directories and starts the same {did['services']} services takes {seconds:.0f} s: the first converge of one host is"
        f" {found[min(found)]['first'] / seconds:.2f} of that. The script neither checks what it is given nor what it writes, makes no baseline for"
        " Tripwire, and cannot be run again.",
        "",
        f"The controller alone checks the variables of {CONTROLLER} gateways (`playbooks/validate.yml`) in {controller:.0f} s.",
    ]
    return "\n".join(lines) + "\n"


def run(numbers: Sequence[int]) -> int:
    """Measure, tell, write down."""
    found: dict[int, dict[str, float]] = {}
    try:
        for number in numbers:
            bench.say(f"{number} gateways ...")
            found[number] = converges(number)
            bench.say("  " + ", ".join(f"{name} {took:.1f} s" for name, took in found[number].items()))
            if number == min(numbers):
                bench.say("One by a shell script ...")
                bare_script = by_script(inventory(number))
                bench.say(f"  {bare_script[0]:.1f} s, {bare_script[1]}")
        bench.say(f"The controller alone, {CONTROLLER} gateways ...")
        controller = checked()
        bench.say(f"  {controller:.1f} s")
    finally:
        bench.say("Removing the added hosts ...")
        remove(max(NUMBERS))
    bench.say("\n" + "\n".join(rows(found)))
    if list(numbers) == NUMBERS:
        PAGE.write_text(page(found, bare_script, controller), encoding="utf-8")
        bench.say(f"Written down in {PAGE.relative_to(ROOT)}.")
    return 0


def main() -> int:
    """Read the command line; turn what goes wrong into words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--gateways", default="", metavar="N,...", help="only these numbers; docs/bench-converge.md stays as it is"
    )
    arguments = parser.parse_args()
    if missing := lab.missing():
        print(f"The lab does not run: {', '.join(missing)} missing. `make site` makes it.", file=sys.stderr)
        return 1
    try:
        return run([int(number) for number in arguments.gateways.split(",") if number] or NUMBERS)
    except (BenchError, AssertionError) as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
