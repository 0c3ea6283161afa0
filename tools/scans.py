"""What scanners print, as findings and scores, and what the data file makes of them. Nothing here runs anything.

A finding is a name and a text. lab/audit.yml says which of them are left out of a score and which stay, each with its reason;
what it says of nothing that was found is stale.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RULE = "xccdf_org.ssgproject.content_rule_"
FAILED = {"fail", "error", "unknown"}
SCANNERS = ("lynis", "openscap", "ssh-audit", "tls", "nmap")


class ScanError(Exception):
    """A scanner's result that is none."""


# -- the data file ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """What kind of host it is: all that an entry may go by."""

    container: bool
    groups: frozenset[str] = frozenset()
    release: str = ""


@dataclass(frozen=True)
class Entry:
    """What the data file says about some findings of one scanner."""

    scanner: str
    names: tuple[str, ...]
    reason: str
    where: str = "any"  # or container: on a machine of its own it says nothing
    groups: tuple[str, ...] = ()  # only on hosts of these groups; none: on all
    release: str = ""  # only on hosts of this release; none: on all
    counts: bool = False  # left in the score

    def applies(self, host: Kind) -> bool:
        """Whether it speaks about a host."""
        return (
            (host.container or self.where == "any")
            and (not self.groups or bool(host.groups.intersection(self.groups)))
            and self.release in ("", host.release)
        )


def entries(data: Mapping[str, Any]) -> tuple[list[Entry], list[str]]:
    """The entries of the data file, and what is wrong with them."""
    found: list[Entry] = []
    wrong: list[str] = []
    for counts, key in ((False, "excluded"), (True, "accepted")):
        for scanner, rows in (data.get(key) or {}).items():
            if scanner not in SCANNERS:
                wrong.append(f"{key}: the scanner {scanner} is unknown; there are {', '.join(SCANNERS)}")
            for row in rows or []:
                names = tuple(str(name) for name in row.get("names") or ())
                label = f"{key}, {scanner}, {names[0] if names else 'an entry without names'}"
                if unknown := sorted(set(row) - {"names", "reason", "where", "groups", "release"}):
                    wrong.append(f"{label}: the key {unknown[0]} is unknown")
                if not names:
                    wrong.append(f"{label}: it names nothing")
                if not str(row.get("reason") or "").strip():
                    wrong.append(f"{label}: it has no reason")
                if row.get("where", "any") not in ("any", "container"):
                    wrong.append(f"{label}: where is {row['where']}; it is any or container")
                entry = Entry(
                    scanner,
                    names,
                    str(row.get("reason") or "").strip(),
                    str(row.get("where", "any")),
                    tuple(row.get("groups") or ()),
                    str(row.get("release") or ""),
                    counts,
                )
                twice = {
                    name for other in found if other.scanner == scanner and not (entry.groups or other.groups) for name in names
                }
                seen = {name for other in found if other.scanner == scanner for name in other.names}
                wrong += [f"{label}: {name} stands there twice" for name in sorted(twice & seen)]
                found.append(entry)
    return found, wrong


# -- results ---------------------------------------------------------------------------------------------------------


@dataclass
class Scan:
    """What one scanner found on one host."""

    scanner: str
    host: str
    findings: dict[str, str] = field(default_factory=dict)
    # Points got and points to be had, by name: a score is made of them. Empty where a scanner gives none.
    points: dict[str, tuple[int, int]] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)  # those that were looked at, where it is about ports


def score(points: Mapping[str, tuple[int, int]], without: Iterable[str] = ()) -> float:
    """Per cent of the points to be had, those of some names left out. With nothing to be had it is no score."""
    left = [pair for name, pair in points.items() if name not in set(without)]
    total = sum(most for _, most in left)
    if not total:
        raise ScanError("nothing was measured")
    return 100 * sum(got for got, _ in left) / total


@dataclass
class Judged:
    """A scan, after the data file has spoken."""

    scan: Scan
    excluded: dict[str, Entry]
    accepted: dict[str, Entry]
    open: dict[str, str]

    @property
    def bare(self) -> float:
        """The score as the scanner gives it."""
        return score(self.scan.points)

    @property
    def score(self) -> float:
        """The score without what is left out."""
        return score(self.scan.points, self.excluded)


def judge(scan: Scan, listed: Sequence[Entry], host: Kind) -> Judged:
    """Sort the findings of a scan: left out, left in with a reason, and neither."""
    mine = [entry for entry in listed if entry.scanner == scan.scanner and entry.applies(host)]
    by_name = {name: entry for entry in mine for name in entry.names}
    out = Judged(scan, {}, {}, {})
    for name, text in scan.findings.items():
        entry = by_name.get(name)
        if entry is None:
            out.open[name] = text
        elif entry.counts:
            out.accepted[name] = entry
        else:
            out.excluded[name] = entry
    return out


def stale(listed: Sequence[Entry], scans: Sequence[Scan], hosts: Mapping[str, Kind]) -> list[str]:
    """Names in the data file that nothing was found for on any host that they speak about.

    An entry that speaks about none of these hosts (for containers, on machines; for another release) cannot be told to be stale
    here, and neither can one for a scanner that has not run.
    """
    out = []
    ran = {scan.scanner for scan in scans}
    for entry in listed:
        about = {host for host, kind in hosts.items() if entry.applies(kind)}
        if entry.scanner not in ran or not about:
            continue
        found = {name for scan in scans if scan.scanner == entry.scanner and scan.host in about for name in scan.findings}
        out += [f"{entry.scanner}: {name} is stale: nothing was found for it" for name in entry.names if name not in found]
    return out


# -- Lynis -----------------------------------------------------------------------------------------------------------

TEST = re.compile(r"Performing test ID (\S+)")
POINTS = re.compile(
    r"Hardening: assigned (?:partial number of hardening points \((\d+) of (\d+)\)|maximum number .*? \((\d+)\))"
)
KEY = re.compile(r"Result: sysctl key (\S+) (?:has a different|contains equal)")
SUMMED = "KRNL-6000"  # one test with many results; each has a name of its own here, as Lynis' own skip-test has it


def lynis(host: str, report: str, log: str) -> Scan:
    """The report names what could be better; points stand in the log only, each after the test that gave it."""
    scan = Scan("lynis", host)
    test = ""
    name = ""
    lost: dict[str, str] = {}
    for line in log.splitlines():
        if found := TEST.search(line):
            test = name = found[1]
        elif (found := KEY.search(line)) and test == SUMMED:
            name = f"{SUMMED}:{found[1]}"
        elif found := POINTS.search(line):
            got, most = (int(found[1]), int(found[2])) if found[2] else (int(found[3]), int(found[3]))
            had = scan.points.get(name, (0, 0))
            scan.points[name] = (had[0] + got, had[1] + most)
    for name, (got, most) in scan.points.items():
        if got < most:
            lost[name] = f"{got} of {most} points"
    index = re.search(r"^hardening_index=(\d+)$", report, re.MULTILINE)
    if not index:
        raise ScanError("Lynis' report has no hardening index: the scan did not end")
    if int(score(scan.points)) != int(index[1]):
        raise ScanError(f"Lynis says {index[1]}, its log adds up to {score(scan.points):.1f}: this log is read wrongly")
    said: dict[str, list[str]] = {}
    for found in re.finditer(r"^(?:suggestion|warning)\[\]=([^|]+)\|([^|]*)\|([^|]*)", report, re.MULTILINE):
        text = found[2] if found[3] in ("", "-") else f"{found[2]} ({found[3]})"
        said.setdefault(found[1], []).append(text.strip())
    if any(name.startswith(f"{SUMMED}:") for name in lost):
        said.pop(SUMMED, None)
    for name in {**lost, **said}:
        scan.findings[name] = "; ".join([*said.get(name, []), *([lost[name]] if name in lost else [])])
    return scan


# -- OpenSCAP --------------------------------------------------------------------------------------------------------


def openscap(host: str, text: str) -> Scan:
    """One point for a rule that holds. Rules that were not selected, do not apply or cannot be checked give none."""
    scan = Scan("openscap", host)
    root = ElementTree.fromstring(text)
    titles = {
        element.get("id", ""): "".join(title.itertext())
        for element in root.iter()
        if element.tag.endswith("}Rule") and (title := element.find("{*}title")) is not None
    }
    for element in root.iter():
        if not element.tag.endswith("}rule-result"):
            continue
        identity = element.get("idref", "")
        result = element.findtext("{*}result", "")
        if result == "pass" or result in FAILED:
            name = identity.removeprefix(RULE)
            scan.points[name] = (int(result == "pass"), 1)
            if result in FAILED:
                scan.findings[name] = titles.get(identity, identity) + ("" if result == "fail" else f" ({result})")
    if not scan.points:
        raise ScanError("OpenSCAP's results hold no rule that was checked")
    return scan


# -- SSH -------------------------------------------------------------------------------------------------------------


def ssh_audit(host: str, text: str) -> Scan:
    """Fails and warnings of each algorithm, and where the server leaves the hardened policy."""
    scan = Scan("ssh-audit", host)
    data = json.loads(text)
    audit, policy = data["audit"], data["policy"]
    offered = 0
    for kind in ("kex", "key", "enc", "mac"):
        for entry in audit[kind]:
            offered += 1
            for level in ("fail", "warn"):
                for note in entry.get("notes", {}).get(level, []):
                    name = f"{level}:{entry['algorithm']}"
                    scan.findings[name] = f"{scan.findings[name]}; {note}" if name in scan.findings else note
    if not offered:
        raise ScanError("ssh-audit saw no algorithm: it did not reach the server")
    for cve in audit.get("cves", []):
        scan.findings[f"fail:{cve['name']}"] = str(cve.get("description", ""))
    for error in policy["errors"]:
        field_name = error["mismatched_field"]
        scan.findings[f"policy:{field_name}"] = (
            f"{', '.join(error['actual'])} instead of {', '.join(error['expected_required'])}"
        )
    if not policy["passed"] and not policy["errors"]:
        raise ScanError("ssh-audit says that the policy is not passed, and not why")
    return scan


# -- TLS -------------------------------------------------------------------------------------------------------------


def tls(host: str, text: str) -> Scan:
    """Where ports leave Mozilla's intermediate profile. A port that could not be scanned is a finding, too; one that does not
    offer TLS is none of these ports."""
    scan = Scan("tls", host)
    for port, result in json.loads(text).items():
        if not result["speaks_tls"]:
            continue
        number = port.rsplit(":", 1)[1]
        scan.ports.append(int(number))
        for name, said in result["issues"].items():
            scan.findings[f"{number}:{name}"] = said
        if result["error"]:
            scan.findings[f"{number}:not scanned"] = result["error"]
    return scan


# -- nmap ------------------------------------------------------------------------------------------------------------


def nmap(host: str, text: str, expected: Mapping[str, str]) -> Scan:
    """Scripts that said something else than is expected of them (a pattern for each), or nothing."""
    scan = Scan("nmap", host)
    root = ElementTree.fromstring(text)
    if not [state for state in root.iter("state") if state.get("state") == "open"]:
        raise ScanError("nmap found no open port")
    said = {script.get("id", ""): " ".join(script.get("output", "").split()) for script in root.iter("script")}
    for name, output in said.items():
        if name not in expected:
            scan.findings[name] = f"lab/audit.yml does not say what is expected of it: {output}"
        elif not re.search(expected[name], output):
            scan.findings[name] = output
    scan.findings |= {name: "it said nothing" for name in expected if name not in said}
    return scan


# -- units -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """How exposed a unit may be, by systemd-analyze security."""

    unit: str
    limit: float | None  # none: not started by us, or as it comes
    reason: str = ""
    release: str = ""  # the one that has the unit, where others do not
    rebooted: bool = False  # only a host that has booted again has it, so that it may be missing


def limits(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Limit], list[str]]:
    """The limits of the data file, and what is wrong with them. A limit above what was asked for needs a reason."""
    out: list[Limit] = []
    wrong: list[str] = []
    for row in rows:
        limit = row.get("limit")
        number = None if limit is None else float(limit)
        entry = Limit(
            str(row["unit"]),
            number,
            str(row.get("reason") or "").strip(),
            str(row.get("release") or ""),
            bool(row.get("rebooted")),
        )
        if (limit is None or float(limit) > float(row.get("aim", limit))) and not entry.reason:
            wrong.append(f"exposure, {entry.unit}: no limit, or one above the aim, and no reason")
        if entry.unit in {other.unit for other in out}:
            wrong.append(f"exposure, {entry.unit}: it stands there twice")
        out.append(entry)
    return out, wrong


# Prints "unit number" for every unit that runs or has run to its end, whoever started it, and for those that wait for a timer and
# are ours; but not for those of the lab's images.
MEASURE = r"""
{
    systemctl list-units --type=service --all --plain --no-legend --state=active | cut -d ' ' -f 1
    find /etc/systemd/system -maxdepth 1 -type f -name '*.service' ! -name '*@.service' -printf '%f\n'
} | grep -v '^lab-' | sort -u | while read -r unit; do
    echo "$unit $(systemd-analyze security --no-pager "$unit" | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')"
done
"""


def exposures(text: str) -> dict[str, float]:
    """How exposed each unit of a host is, from what MEASURE prints there."""
    out = {}
    for line in text.splitlines():
        unit, _, number = line.partition(" ")
        try:
            out[unit] = float(number)
        except ValueError:
            raise ScanError(f"{unit} was not measured") from None
    if not out:
        raise ScanError("no unit was measured")
    return out


def exposed(listed: Sequence[Limit], found: Mapping[str, Mapping[str, float]], releases: Collection[str]) -> list[str]:
    """What is wrong: a unit above its limit, one that nobody speaks of, and an entry for a unit that no host of these releases has."""
    by_unit = {entry.unit: entry for entry in listed}
    out = []
    for host, units in found.items():
        for unit, number in sorted(units.items()):
            if unit not in by_unit:
                out.append(f"{host}: {unit} ({number}) is not in lab/audit.yml")
            elif (limit := by_unit[unit].limit) is not None and number > limit:
                out.append(f"{host}: {unit} is exposed by {number}, at most {limit} is allowed")
    here = {unit for units in found.values() for unit in units}
    expected = [entry.unit for entry in listed if (not entry.release or entry.release in releases) and not entry.rebooted]
    return out + [f"exposure: {unit} is stale: it runs on no host" for unit in expected if unit not in here]


# -- the page --------------------------------------------------------------------------------------------------------


def merged(intro: str, old: str, new: str, why: str) -> str:
    """The page with the section of some releases renewed; sections of others stay, the reasons stand at its end."""
    title = new.splitlines()[0]
    parts = [part.rstrip() for part in re.split(r"(?m)^(?=## )", old)[1:]]
    kept = [part for part in parts if part.startswith("## Debian ") and part.splitlines()[0] != title]
    return "\n\n".join([intro.rstrip(), *sorted([*kept, new.rstrip()]), why.rstrip()]) + "\n"
