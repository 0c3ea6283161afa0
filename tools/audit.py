#!/usr/bin/env python3
"""Runs scanners that others wrote against every host of the running lab, and says what they found.

    python3 tools/audit.py [HOST...]   # in the project's environment, with the scanners' image; `make audit` sees to both

Prints tables and writes docs/audit.md. Ends with 1 where a threshold of lab/audit.yml does not hold, where something was found
that it does not speak of, and where it speaks of something that is no longer found. Nothing is left on a host (lab/audit/host.sh).
"""

from __future__ import annotations

import io
import ipaddress
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.widgets.mail.plugins.filter import policy
from report import GREEN, GREY, RED, Steps, seconds

from tests.site import lab
from tools import scans

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "lab/audit.yml"
PAGE = ROOT / "docs/audit.md"
HOST_SCRIPT = ROOT / "lab/audit/host.sh"
RESULTS = ROOT / ".lab/audit"
IMAGE = f"{lab.variables()['lab_prefix']}/audit"
PYTHON = "/opt/audit/python/bin/python"
WORKERS = os.cpu_count() or 1
ACCESS = "/etc/mail/access"
ACCESS_KEPT = "/run/access.audit"
# makemap gives what it builds to sendmail's trusted user; the role has it root's.
MAKE_ACCESS = f"makemap hash {ACCESS} < {ACCESS} && chown root {ACCESS}.db"
TIMEOUT = 1200  # of one scan, in seconds: hosts share a machine that has other work


class AuditError(Exception):
    """A scanner that could not do its work."""


def engine(*argv: str, stdin: Any = subprocess.DEVNULL, text: str | None = None) -> bytes:
    """Run a command of the container engine and give what it prints."""
    done = subprocess.run(
        ["docker", *argv],
        **({"input": text.encode()} if text is not None else {"stdin": stdin}),
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise AuditError((done.stderr.decode(errors="replace") or done.stdout.decode(errors="replace")).strip()[-2000:])
    return bytes(done.stdout)


def scanner(beside: str, *argv: str) -> str:
    """Run a scanner in its image, in the network of a host: it stands where that host stands."""
    return engine("run", "--rm", "--network", f"container:{lab.Machine(beside).container}", IMAGE, *argv).decode()


# -- who is scanned, and from where ----------------------------------------------------------------------------------


def groups(host: str) -> frozenset[str]:
    """The inventory's groups that a host is in."""
    return frozenset(name for name in lab.inventory() if name != "_meta" and host in lab.group(name))


def clients(host: str, service: str) -> list[str]:
    """The hosts that may connect to a service of a host: first those that a flow names, then those that are nobody's servers.

    Behind a translation hosts look alike to the one that they connect to, so that an address alone does not tell who may.
    """
    site = lab.site()
    named = {name for flow in site["flows"] if service in flow["services"] for name in policy.as_list(flow["from"])}
    everyone = sorted(
        set(lab.group("all")) - {host} - set(lab.TRAVELLERS),
        key=lambda name: (name not in named, name not in lab.group("props"), name),
    )
    sources = policy.policy_sources(site, host, service)
    if sources == [policy.ANY]:
        return [name for name in everyone if lab.zone(name) == policy.open_zone(site)]
    networks = [ipaddress.ip_network(source) for source in sources]
    return [name for name in everyone if any(ipaddress.ip_address(lab.seen(name, host)) in network for network in networks)]


def served(host: str, services: Iterable[str]) -> dict[str, tuple[str, int]]:
    """The services of a list that flows lead to: whom to ask from, and at which port."""
    out = {}
    for service in services:
        if service in lab.site()["services"] and (asking := clients(host, service)):
            out[service] = (asking[0], lab.port(service))
    return out


# -- the scans -------------------------------------------------------------------------------------------------------


@dataclass
class Host:
    """What is known of a host after its scans."""

    name: str
    kind: scans.Kind
    scans: list[scans.Scan] = field(default_factory=list)
    units: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)  # those with TLS


def look(name: str) -> Host:
    """What a host says of itself."""
    machine = lab.Machine(name)
    release = machine.sh(". /etc/os-release; echo $VERSION_ID").strip()
    container = machine.run("systemd-detect-virt", "--container", "--quiet", check=False).returncode == 0
    return Host(name, scans.Kind(container, groups(name), release))


def keep(host: str, name: str, content: str) -> str:
    """Keep what a scanner printed, for those who want to read all of it."""
    directory = RESULTS / host
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(content, encoding="utf-8")
    return content


def scan_files(host: Host, data: Mapping[str, Any], tree: Path) -> None:
    """Lynis and OpenSCAP, on the host; and how exposed its units are."""
    machine = lab.Machine(host.name)
    script = HOST_SCRIPT.read_text(encoding="utf-8")
    with tree.open("rb") as stream:
        argv = ["exec", "-i", machine.container, "unshare", "--mount", "sh", "-c", script, "host.sh", data["profile"]["id"]]
        printed = engine(*argv, stdin=stream)
    with tarfile.open(fileobj=io.BytesIO(printed)) as archive:
        got = {
            Path(member.name).name: archive.extractfile(member).read().decode(errors="replace")  # type: ignore[union-attr]
            for member in archive
            if member.isfile()
        }
    for name, content in got.items():
        keep(host.name, name, content)
    host.scans.append(scans.lynis(host.name, got["lynis.dat"], got["lynis.log"]))
    host.scans.append(scans.openscap(host.name, got["oscap.xml"]))
    host.units = scans.exposures(machine.sh(scans.MEASURE))


def scan_ssh(host: Host, data: Mapping[str, Any], tree: Path) -> None:
    """The SSH server, from a host that may log in."""
    for beside, port in served(host.name, ["ssh"]).values():
        text = scanner(
            beside, PYTHON, "/opt/audit/ssh.py", lab.reach(host.name, beside), str(port), f"Hardened Debian {host.kind.release}"
        )
        host.scans.append(scans.ssh_audit(host.name, keep(host.name, "ssh.json", text)))


def scan_tls(host: Host, data: Mapping[str, Any], tree: Path) -> None:
    """Every port that speaks TLS, at once or after STARTTLS."""
    targets: dict[str, list[str]] = {}
    for service, (beside, port) in served(host.name, [*data["tls"]["services"], *data["tls"]["starttls"]]).items():
        start = data["tls"]["starttls"].get(service)
        targets.setdefault(beside, []).append(f"{lab.reach(host.name, beside)}:{port}" + (f":{start}" if start else ""))
    for beside, names in targets.items():
        text = scanner(beside, PYTHON, "-W", "ignore", "/opt/audit/tls.py", *names)
        scan = scans.tls(host.name, keep(host.name, f"tls-{beside}.json", text))
        host.ports += scan.ports
        if scan.ports:
            host.scans.append(scan)


def scan_smtp(host: Host, data: Mapping[str, Any], tree: Path) -> None:
    """A gateway's SMTP server, as a stranger sees it."""
    for beside, port in served(host.name, ["smtp"] if "gateways" in host.kind.groups else []).values():
        scripts = f"smtp-* and not ({' or '.join(data['nmap']['left_out'])})"
        argv = ["nmap", "-Pn", "-n", "-p", str(port), "--script", scripts, "-oX", "-", lab.reach(host.name, beside)]
        text = keep(host.name, "nmap.xml", scanner(beside, *argv))
        host.scans.append(scans.nmap(host.name, text, data["nmap"]["expected"]))


SCANS: dict[str, Callable[[Host, Mapping[str, Any], Path], None]] = {
    "Lynis, OpenSCAP": scan_files,
    "ssh-audit": scan_ssh,
    "TLS": scan_tls,
    "SMTP": scan_smtp,
}


@contextmanager
def let_in(hosts: Sequence[Host]) -> Iterator[None]:
    """The gateways count no connections of the scanners meanwhile: the limits stop a scanner like anybody who opens so many."""
    with ExitStack() as after:
        for host in hosts:
            for beside, _ in served(host.name, ["smtp"] if "gateways" in host.kind.groups else []).values():
                machine, scanners_address = lab.Machine(host.name), lab.seen(beside, host.name)
                machine.sh(f"cp -a {ACCESS} {ACCESS_KEPT}")
                after.callback(machine.sh, f"cat {ACCESS_KEPT} > {ACCESS} && {MAKE_ACCESS} && rm {ACCESS_KEPT}")
                rows = "".join(f"{limit}:{scanners_address}\\t0\\n" for limit in ("ClientRate", "ClientConn"))
                machine.sh(f"printf '{rows}' >> {ACCESS} && {MAKE_ACCESS}")
        yield


def run_all(hosts: Sequence[Host], data: Mapping[str, Any], note: Callable[[str], None], live: bool) -> None:
    """All scans of all hosts, as many at once as there are processors."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as tree, ThreadPoolExecutor(WORKERS) as pool:
        tree.write(engine("run", "--rm", "--network", "none", IMAGE, "tar", "-c", "-C", "/", "carried"))
        tree.flush()
        begun = time.monotonic()
        waiting = {
            pool.submit(scan, host, data, Path(tree.name)): (host, name) for name, scan in SCANS.items() for host in hosts
        }
        total = len(waiting)
        for number, done in enumerate(as_completed(waiting), 1):
            host, name = waiting[done]
            if problem := done.exception():
                host.errors.append(f"{name}: {problem}")
            said = f"{number}/{total}  {host.name}: {name} {'failed' if done.exception() else 'done'}"
            note(said)
            if not live:
                print(f"      {said}, {seconds(time.monotonic() - begun)}", flush=True)


# -- what to make of it ----------------------------------------------------------------------------------------------


@dataclass
class Report:
    """Everything that is printed and written."""

    hosts: list[Host]
    judged: dict[tuple[str, str], scans.Judged]
    problems: list[str]
    listed: list[scans.Entry]
    limits: list[scans.Limit]


def aim(data: Mapping[str, Any], scanner_name: str, host: Host) -> float:
    """The score that a host has to have: that of the first of its groups that has one of its own."""
    row = data["thresholds"][scanner_name]
    return float(next((value for group, value in row.items() if group in host.kind.groups), row["all"]))


def report(hosts: list[Host], data: Mapping[str, Any], whole: bool) -> Report:
    """Judge all that was found."""
    listed, problems = scans.entries(data)
    limits, wrong = scans.limits(data["exposure"])
    problems += wrong
    judged = {}
    for host in hosts:
        problems += [f"{host.name}: {error}" for error in host.errors]
        for scan in host.scans:
            one = scans.judge(scan, listed, host.kind)
            judged[host.name, scan.scanner] = one
            problems += [f"{host.name}: {scan.scanner}: {name}: {text}" for name, text in one.open.items()]
            if scan.scanner in data["thresholds"] and one.score < aim(data, scan.scanner, host):
                problems.append(
                    f"{host.name}: {scan.scanner}: {one.score:.1f}, at least {aim(data, scan.scanner, host):g} is wanted"
                )
    found = scans.exposed(
        limits, {host.name: host.units for host in hosts if host.units}, {host.kind.release for host in hosts}
    )
    # Part of the hosts says nothing about what is found nowhere.
    problems += found if whole else [line for line in found if "is stale" not in line]
    if whole:
        problems += scans.stale(
            listed, [scan for host in hosts for scan in host.scans], {host.name: host.kind for host in hosts}
        )
    return Report(hosts, judged, problems, listed, limits)


def cells(host: Host, judged: Mapping[tuple[str, str], scans.Judged], limits: Sequence[scans.Limit]) -> list[str]:
    """A host's row of the table."""
    out = [host.name, host.kind.release]
    for name in ("lynis", "openscap"):
        one = judged.get((host.name, name))
        out.append(f"{one.score:.1f} ({one.bare:.1f})" if one else "-")
    one = judged.get((host.name, "ssh-audit"))
    if one:
        left = {**one.open, **dict.fromkeys(one.accepted, "")}
        fails, warnings = (sum(name.startswith(level) for name in left) for level in ("fail:", "warn:"))
        out += [f"{fails} fails, {warnings} warnings", "no" if any(name.startswith("policy:") for name in left) else "passed"]
    else:
        out += ["-", "-"]
    tls = judged.get((host.name, "tls"))
    but = sorted({name.split(":", 1)[1] for name in tls.accepted}) if tls else []
    said = "no" if tls and tls.open else f"compliant but for {', '.join(but)}" if but else "compliant"
    out.append(f"{' '.join(map(str, host.ports))} {said}" if tls else "no port")
    smtp = judged.get((host.name, "nmap"))
    out.append("-" if not smtp else "no" if smtp.open else "as expected")
    bounded = {entry.unit for entry in limits if entry.limit is not None}
    worst = max(((number, unit) for unit, number in host.units.items() if unit in bounded), default=None)
    out.append(f"{worst[0]} {worst[1].removesuffix('.service')}" if worst else "-")
    return out


HEAD = [
    "host",
    "Debian",
    "Lynis (bare)",
    "OpenSCAP (bare)",
    "ssh-audit",
    "SSH policy",
    "TLS ports",
    "SMTP scripts",
    "most exposed unit",
]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, each column as wide as its widest cell."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def unit_rows(found: Report) -> list[list[str]]:
    """A row for each unit that has a limit: the number, where it is worst, and the limit."""
    rows = [["unit", "exposure", "at most", "hosts"]]
    for entry in found.limits:
        here = {host.name: host.units[entry.unit] for host in found.hosts if entry.unit in host.units}
        if entry.limit is None or not here:
            continue
        numbers = sorted(set(here.values()))
        said = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        rows.append([entry.unit.removesuffix(".service"), said, f"{entry.limit:g}", " ".join(here)])
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as a table."""
    out = ["| " + " | ".join(row) + " |" for row in rows]
    return [out[0], "|" + "---|" * len(rows[0]), *out[1:]]


def section(found: Report, versions: str, data: Mapping[str, Any], today: str) -> str:
    """The page's section for these releases."""
    releases = sorted({host.kind.release for host in found.hosts})
    lines = [f"## Debian {' and '.join(releases)}", "", f"{today}, with {versions}."]
    if stands_in := [data["profile"]["stands_in"][release] for release in releases if release in data["profile"]["stands_in"]]:
        lines += ["", *stands_in]
    lines += ["", *markdown([HEAD, *(cells(host, found.judged, found.limits) for host in found.hosts)]), ""]
    lines += [*markdown(unit_rows(found)), ""]
    if found.problems:
        lines += [
            f"{len(found.problems)} things are not as they should be:",
            "",
            *(f"- {problem}" for problem in found.problems),
            "",
        ]
    return "\n".join(lines)


def reasons(found: Report) -> str:
    """What is left out or left as it is, and why: the data file as a reader wants it."""
    lines = ["## What is left out of the scores, and what stays"]
    for scanner_name in scans.SCANNERS:
        for counts, title in ((False, "left out"), (True, "left as it is, and counted")):
            mine = [entry for entry in found.listed if entry.scanner == scanner_name and entry.counts == counts]
            if not mine:
                continue
            lines += ["", f"{scanner_name}, {title}:", ""]
            for entry in mine:
                where = f"on {', '.join(entry.groups)}: " if entry.groups else ""
                where += "in containers only: " if entry.where == "container" else ""
                where += f"on Debian {entry.release}: " if entry.release else ""
                lines.append(f"- {where}{entry.reason} ({', '.join(f'`{name}`' for name in entry.names)})")
    lines += ["", "Units that may be more exposed than was aimed at, or have no limit:", ""]
    lines += [f"- `{entry.unit}`: {entry.reason}" for entry in found.limits if entry.reason]
    return "\n".join(lines) + "\n"


INTRO = """# What independent scanners say

Written by `make audit`: every host of the running lab, looked at by programs that we did not write. Thresholds, exclusions and
their reasons are in `lab/audit.yml`; on a machine of its own, what is left out for containers is not left out. Beside each score,
in brackets, stands the bare one, with nothing left out. The gateways do not count the scanners' connections meanwhile: their limits
would stop the scans.
"""


def main(names: Sequence[str]) -> int:
    """Scan, print, write; 1 where something is not as it should be."""
    data = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    everyone = lab.group("site")
    if unknown := sorted(set(names) - set(everyone)):
        print(f"{unknown[0]} is no host of the site; there are {', '.join(everyone)}.", file=sys.stderr)
        return 2
    running = engine("ps", "--format", "{{.Names}}").decode().split()
    if missing := sorted(set(lab.group("all")) - {name for name in lab.group("all") if lab.Machine(name).container in running}):
        print(f"The lab does not run: {', '.join(missing)} missing. `make site` makes it.", file=sys.stderr)
        return 2
    steps = Steps(1)
    with steps.step("scans") as (note, result):
        hosts = [look(name) for name in (names or everyone)]
        with let_in(hosts):
            run_all(hosts, data, note, steps.live)
        result.append(f"{len(hosts)} hosts; what each scanner printed is in {RESULTS.relative_to(ROOT)}")
    found = report(hosts, data, whole=not names)
    versions = ", ".join(engine("run", "--rm", "--network", "none", IMAGE, "cat", "/carried/versions").decode().splitlines())

    print()
    bad = {problem.split(":")[0] for problem in found.problems}
    head, *rows = columns([HEAD, *(cells(host, found.judged, found.limits) for host in hosts)])
    print(head)
    for host, row in zip(hosts, rows, strict=True):
        print(steps.colour(RED if host.name in bad else GREEN, row))
    print()
    print("\n".join(columns(unit_rows(found))))
    print(steps.colour(GREY, f"\n{versions}"))
    for problem in found.problems:
        print(steps.colour(RED, problem))
    if not names:
        old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        page = scans.merged(INTRO, old, section(found, versions, data, time.strftime("%Y-%m-%d")), reasons(found))
        PAGE.write_text(page, encoding="utf-8")
        print(f"\nThe same as a page, with all reasons: {PAGE.relative_to(ROOT)}")
    print(f"{len(found.problems)} things are not as they should be." if found.problems else "Every threshold holds.")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
