"""A mail site's self-check: what was seen, judged against what the inventory says. Pure functions.

A *row* is one line of the report: ``check``, ``subject``, ``verdict``, ``found`` and ``wanted``. Verdicts:

- ``good``: as it should be;
- ``bad``: not as it should be;
- ``absent``: not published or not set up, which is bad unless the check is one that the site has not got yet (`not_yet`);
- ``unknown``: nobody could look; as bad as bad.

What others may remember of a row from one run to the next is `found`; where that changes all the time (an age), only the verdict is
compared (``moves``).
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.dkim import dkim_public
from ansible_collections.widgets.mail.plugins.filter.policy import host_address6
from ansible_collections.widgets.mail.plugins.module_utils.dkim_store import WITHDRAWN

Row = dict[str, Any]

GOOD = "good"
BAD = "bad"
ABSENT = "absent"
UNKNOWN = "unknown"
NOT_PUBLISHED = "not published"
NOT_SET_UP = "not set up"
REFUSAL = re.compile(r"^[45]\d\d ")
ACCEPTED = re.compile(r"^25[01] ")
WIDTHS = (10, 30, 8)


def row(check: str, subject: str, verdict: str, found: Any, wanted: str = "", moves: bool = False) -> Row:
    """One line of the report."""
    text = ", ".join(map(str, found)) if isinstance(found, (list, tuple)) else str(found)
    return {"check": check, "subject": subject, "verdict": verdict, "found": text, "wanted": wanted, "moves": moves}


def answer(seen: Mapping[str, Any], name: str, kind: str) -> tuple[list[str], str]:
    """The values of a record, and why there are none where that was not the answer."""
    said = seen["records"].get(f"{name} {kind}", {"values": [], "error": "was not asked"})
    return list(said["values"]), str(said["error"])


def tags(text: str) -> dict[str, str]:
    """The parts of a DKIM, DMARC or MTA-STS record."""
    parts = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip().lower(): re.sub(r"\s+", "", value) for name, _equals, value in parts}


def _same(check: str, subject: str, said: tuple[list[str], str], wanted: list[str]) -> Row:
    """A record whose values are known."""
    values, error = said
    if error:
        return row(check, subject, UNKNOWN, error, ", ".join(wanted))
    verdict = GOOD if sorted(values) == sorted(wanted) else BAD
    return row(check, subject, verdict, values or NOT_PUBLISHED, ", ".join(wanted))


def _one(check: str, subject: str, said: tuple[list[str], str], begins: str) -> tuple[str, Row | None]:
    """The one record of a kind among the texts of a name; or the row that says why there is none."""
    values, error = said
    mine = [value for value in values if value.lower().startswith(begins)]
    if error:
        return "", row(check, subject, UNKNOWN, error)
    if not mine:
        return "", row(check, subject, ABSENT, NOT_PUBLISHED)
    if len(mine) > 1:
        return "", row(check, subject, BAD, mine, "one record")
    return mine[0], None


def _domain(seen: Mapping[str, Any], domain: Mapping[str, Any], site: Mapping[str, Any]) -> list[Row]:
    """What is published for one mail domain."""
    name = domain["name"]
    mx, error = answer(seen, name, "MX")
    hosts = [value.split()[-1].rstrip(".").lower() for value in mx]
    out = [_same("MX", name, (hosts, error), [gateway["name"] for gateway in site["gateways"]])]

    spf, trouble = _one("SPF", name, answer(seen, name, "TXT"), "v=spf1")
    if trouble is None:
        addresses = {
            f"ip{6 if ':' in address else 4}:{address}" for gateway in site["gateways"] for address in gateway["addresses"]
        }
        words = spf.split()[1:]
        sound = addresses <= set(words) and words[-1:] == ["-all"]
        trouble = row("SPF", name, GOOD if sound else BAD, spf, " ".join(["v=spf1", *sorted(addresses), "-all"]))
    out.append(trouble)

    for key in domain.get("keys", []):
        subject = f"{key['selector']}._domainkey.{name}"
        text, trouble = _one("DKIM", subject, answer(seen, subject, "TXT"), "v=dkim1")
        if trouble is None:
            same = tags(text).get("p") == key["public"]
            trouble = row(
                "DKIM",
                subject,
                GOOD if same else BAD,
                "the site's key" if same else f"another key: {text[:40]}",
                "the site's key",
            )
        elif trouble["verdict"] == ABSENT:
            trouble["verdict"] = BAD
        out.append(trouble)
    if not domain.get("keys"):
        out.append(row("DKIM", name, ABSENT, NOT_SET_UP))

    text, trouble = _one("DMARC", f"_dmarc.{name}", answer(seen, f"_dmarc.{name}", "TXT"), "v=dmarc1")
    if trouble is None:
        policy = tags(text).get("p", "")
        wanted = site.get("dmarc", {}).get("policy", policy)
        trouble = row("DMARC", f"_dmarc.{name}", GOOD if policy == wanted else BAD, text, f"p={wanted}")
    elif trouble["verdict"] == ABSENT and site.get("dmarc"):
        trouble["verdict"] = BAD
    out.append(trouble)
    out.append(_mta_sts(seen, name, [gateway["name"] for gateway in site["gateways"]], site.get("mta_sts") or {}))
    return out


def _mta_sts(seen: Mapping[str, Any], name: str, gateways: list[str], wanted: Mapping[str, Any]) -> Row:
    """The policy that senders are to encrypt (RFC 8461), as they fetch it."""
    text, trouble = _one("MTA-STS", name, answer(seen, f"_mta-sts.{name}", "TXT"), "v=stsv1")
    if trouble is not None:
        if wanted and trouble["verdict"] == ABSENT:
            trouble["verdict"] = BAD
        return trouble
    said = seen["policies"].get(name, {"text": "", "error": "was not fetched"})
    if said["error"]:
        return row("MTA-STS", name, BAD, f"{text}, but the policy: {said['error']}", "a policy by HTTPS")
    lines = [line.partition(":") for line in said["text"].splitlines()]
    mode = "".join(value.strip() for key, _colon, value in lines if key.strip() == "mode")
    patterns = [value.strip().lower() for key, _colon, value in lines if key.strip() == "mx"]
    left_out = [host for host in gateways if host not in patterns and f"*.{host.partition('.')[2]}" not in patterns]
    modes = [wanted["mode"]] if wanted else ["enforce", "testing"]
    verdict = GOOD if mode in modes and not left_out else BAD
    return row(
        "MTA-STS",
        name,
        verdict,
        f"mode {mode or '(no)'}, mx {', '.join(patterns)}",
        f"mode {modes[0]}, mx {', '.join(gateways)}",
    )


def _gateway(
    seen: Mapping[str, Any], gateway: Mapping[str, Any], now: datetime.datetime, limits: Mapping[str, Any]
) -> list[Row]:
    """One gateway: its names, and how it answers a stranger."""
    name = gateway["name"]
    out = []
    for kind, version in (("A", 4), ("AAAA", 6)):
        wanted = [address for address in gateway["addresses"] if (":" in address) == (version == 6)]
        if wanted or answer(seen, name, kind)[0]:
            out.append(_same(kind, name, answer(seen, name, kind), wanted))
    for address in gateway["addresses"]:
        pointers, error = answer(seen, gateway["reverse"][address], "PTR")
        out.append(_same("PTR", address, ([value.rstrip(".").lower() for value in pointers], error), [name]))
        door = _door(seen["smtp"].get(address), name, address, answer(seen, f"_25._tcp.{name}", "TLSA"), now, limits)
        # What is of the name and not of an address is told once.
        out += [line for line in door if line not in out]
    return out


def _door(
    said: Mapping[str, Any] | None,
    name: str,
    address: str,
    tlsa: tuple[list[str], str],
    now: datetime.datetime,
    limits: Mapping[str, Any],
) -> list[Row]:
    """One address of a gateway, as a stranger finds it."""
    if said is None:
        return [row("relay", address, UNKNOWN, "nobody looked")]
    replies = [
        (sender, way, reply) for sender, all_ in said["relay"].items() for way, reply in zip(said["ways"], all_, strict=True)
    ]
    open_ways = [f"{way} from <{sender}>" for sender, way, reply in replies if ACCEPTED.match(reply)]
    silent = [reply for _sender, _way, reply in replies if not REFUSAL.match(reply) and not ACCEPTED.match(reply)]
    if open_ways:
        out = [row("relay", address, BAD, f"takes {', '.join(open_ways)}", "refused")]
    elif silent:
        out = [row("relay", address, UNKNOWN, silent[0], "refused")]
    else:
        out = [row("relay", address, GOOD, "refused", "refused")]
    shut = [f"{to}: {reply}" for to, reply in said["friends"].items() if not ACCEPTED.match(reply)]
    out.append(row("postmaster", address, BAD if shut else GOOD, shut or "taken", "postmaster and abuse are taken"))
    return out + _tls(said["tls"], name, address, tlsa, now, limits)


def _tls(
    tls: Mapping[str, Any],
    name: str,
    address: str,
    tlsa: tuple[list[str], str],
    now: datetime.datetime,
    limits: Mapping[str, Any],
) -> list[Row]:
    """Encryption to a gateway: the grade, the certificate's end, and whether TLSA records fit it."""
    if not tls["offered"]:
        out = [row("TLS", address, ABSENT, "STARTTLS is not offered", "A")]
    elif tls.get("error"):
        out = [row("TLS", address, BAD, tls["error"], "A")]
    else:
        grade = "A" if tls["version"] == "TLSv1.3" else "B" if tls["version"] == "TLSv1.2" else "F"
        how = "trusted" if tls["trusted"] else "by DANE" if _dane(tls, tlsa[0]) else "not to be verified"
        grade = "C" if how == "not to be verified" and grade in "AB" else grade
        out = [row("TLS", address, GOOD if grade in "AB" else BAD, f"{grade}: {tls['version']}, certificate {how}", "A or B")]
        out.append(_ends("certificate", address, tls.get("ends", ""), now, limits["certificate_days"]))
    values, error = tlsa
    if error:
        out.append(row("TLSA", name, UNKNOWN, error))
    elif not values:
        out.append(row("TLSA", name, ABSENT, NOT_PUBLISHED))
    else:
        fits = _dane(tls, values)
        out.append(row("TLSA", name, GOOD if fits else BAD, "fits" if fits else "fits no certificate that is shown", "fits"))
    return out


def _dane(tls: Mapping[str, Any], records: Iterable[str]) -> bool:
    """Whether a TLSA record names the certificate or its key (RFC 7672, 3.1: usage 3)."""
    held = {"0": tls.get("certificate_sha256"), "1": tls.get("key_sha256")}
    for record in records:
        usage, selector, matching, *octets = record.split()
        if (usage, matching) == ("3", "1") and held.get(selector) == "".join(octets).lower():
            return True
    return False


def _ends(check: str, subject: str, ends: str, now: datetime.datetime, days: int) -> Row:
    """A certificate's last day."""
    try:
        end = datetime.datetime.fromisoformat(ends.replace("Z", "+00:00"))
    except ValueError:
        return row(check, subject, UNKNOWN, f"its end cannot be read: {ends!r}")
    left = (end - now).days
    return row(check, subject, GOOD if left >= days else BAD, f"ends {end:%Y-%m-%d}", f"{days} days at least")


def _hosts(hosts: Mapping[str, Any], now: datetime.datetime, limits: Mapping[str, Any]) -> list[Row]:
    """What the site's own hosts say of themselves: how long mail has waited, when certificates end."""
    out = []
    for name, host in hosts.items():
        if host.get("queue") is None:
            out.append(row("queue", name, UNKNOWN, "the host was not reached"))
        else:
            oldest = max((now.timestamp() - float(mtime) for mtime in host["queue"]), default=0.0) / 3600
            found = f"{len(host['queue'])} waiting, the oldest for {oldest:.0f} hours" if host["queue"] else "empty"
            good = oldest <= float(limits["queue_hours"])
            out.append(row("queue", name, GOOD if good else BAD, found, f"{limits['queue_hours']} hours at most", moves=True))
        for path, ends in host.get("certificates", {}).items():
            out.append(_ends("certificate", f"{name}:{path}", ends, now, limits["certificate_days"]))
    return out


def _backups(backups: Iterable[Mapping[str, Any]], now: datetime.datetime) -> list[Row]:
    """When each backup was made last."""
    out = []
    for backup in backups:
        subject, wanted = f"{backup['host']}:{backup['path']}", f"{backup['hours']} hours at most"
        if backup.get("made") is None:
            out.append(row("backup", subject, BAD, "is not there", wanted))
            continue
        age = (now.timestamp() - float(backup["made"])) / 3600
        out.append(row("backup", subject, GOOD if age <= backup["hours"] else BAD, f"{age:.0f} hours old", wanted, moves=True))
    return out or [row("backup", "the site", ABSENT, NOT_SET_UP)]


def selfcheck_site(
    site: dict[str, Any],
    gateways: list[str],
    dkim_keys: list[dict[str, Any]],
    dmarc: dict[str, Any],
    sts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What the world should see of a site: its domains with their keys' public halves, its gateways with their names and addresses."""
    domains = []
    for entry in site["domains"]:
        own = [key for key in dkim_keys if key["domain"] == entry["name"] and key.get("state") != WITHDRAWN]
        keys = [{"selector": key["selector"], "public": dkim_public(key["key"])} for key in own]
        domains.append({"name": entry["name"], "keys": keys, "selectors": [key["selector"] for key in keys]})
    doors = []
    for host in gateways:
        found = [site["hosts"][host].get("public"), host_address6(site, host)]
        addresses = [str(address) for address in found if address]
        reverse = {address: ipaddress.ip_address(address).reverse_pointer for address in addresses}
        doors.append({"name": f"{host}.{site['domain']}", "addresses": addresses, "reverse": reverse})
    return {"domains": domains, "gateways": doors, "dmarc": dmarc, "mta_sts": sts or {}}


def selfcheck_hosts(hostvars: Mapping[str, Any], hosts: list[str]) -> dict[str, Any]:
    """What the site's hosts have said of themselves: times of queue files, or None where a host was not reached, and ends of certificates."""
    out: dict[str, Any] = {}
    for host in hosts:
        looked, ends = (hostvars[host].get(f"__selfcheck_{name}") or {} for name in ("queue", "ends"))
        reached = "files" in looked and not looked.get("unreachable")
        said = {
            line["item"]: str(line.get("stdout", "")).partition("=")[2].replace(" ", "T") for line in ends.get("results", [])
        }
        out[host] = {"queue": [file["mtime"] for file in looked["files"]] if reached else None, "certificates": said}
    return out


def selfcheck_backups(hostvars: Mapping[str, Any], backups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was seen of backups: each one's ``host``, ``path`` and ``hours``, and when it was ``made``; None where it was not found."""
    out = []
    for backup in backups:
        looked = hostvars[backup["host"]].get("__selfcheck_made", {}) if backup["host"] in hostvars else {}
        made = [line.get("stat", {}).get("mtime") for line in looked.get("results", []) if line["item"] == backup]
        out.append({**backup, "made": made[0] if made else None})
    return out


def selfcheck_rows(
    seen: dict[str, Any],
    site: dict[str, Any],
    of_hosts: dict[str, Any],
    backups: list[dict[str, Any]],
    limits: dict[str, Any],
    time: str,
) -> list[Row]:
    """All rows of a report: what the module selfcheck_look has seen, and what hosts and backups say, judged."""
    now = datetime.datetime.fromisoformat(time.replace("Z", "+00:00"))
    out = []
    for domain in site["domains"]:
        out += _domain(seen, domain, site)
    for gateway in site["gateways"]:
        out += _gateway(seen, gateway, now, limits)
    for asked in seen["listed"]:
        subject = f"{asked['address']} {asked['zone']}"
        verdict = UNKNOWN if asked["error"] else BAD if asked["listed"] else GOOD
        out.append(
            row("block list", subject, verdict, asked["error"] or ("listed" if asked["listed"] else "not listed"), "not listed")
        )
    return out + _hosts(of_hosts, now, limits) + _backups(backups, now)


def selfcheck_bad(rows: list[Row], not_yet: list[str]) -> list[Row]:
    """The rows that make a run fail. What is absent counts, unless the site has not got such a thing yet."""
    return [line for line in rows if line["verdict"] != GOOD and not (line["verdict"] == ABSENT and line["check"] in not_yet)]


def selfcheck_table(rows: list[Row], not_yet: list[str]) -> list[str]:
    """The report as people read it."""
    bad = selfcheck_bad(rows, not_yet)
    wide = [
        max([len(str(line[key])) for line in rows] + [least]) for key, least in zip(("check", "subject"), WIDTHS, strict=False)
    ]
    lines = []
    for line in rows:
        words = "BAD" if line in bad else "good" if line["verdict"] == GOOD else "not yet"
        tail = f"; wanted: {line['wanted']}" if line in bad and line["wanted"] else ""
        lines.append(f"{words:<8}{line['check']:<{wide[0]}}  {line['subject']:<{wide[1]}}  {line['found']}{tail}")
    return lines


def selfcheck_changes(rows: list[Row], before: list[Row]) -> list[str]:
    """What differs from an earlier report, a line each."""
    old = {(line["check"], line["subject"]): line for line in before}
    new = {(line["check"], line["subject"]): line for line in rows}
    out = []
    for key, line in new.items():
        was = old.get(key)
        name = f"{key[0]} {key[1]}"
        if was is None:
            out.append(f"{name}: new, {line['verdict']} ({line['found']})")
        elif was["verdict"] != line["verdict"] or (was["found"] != line["found"] and not line["moves"]):
            out.append(f"{name}: {was['verdict']} ({was['found']}) is now {line['verdict']} ({line['found']})")
    return out + [f"{key[0]} {key[1]}: no longer looked at" for key in old if key not in new]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name -> function."""
        return {
            "selfcheck_backups": selfcheck_backups,
            "selfcheck_bad": selfcheck_bad,
            "selfcheck_changes": selfcheck_changes,
            "selfcheck_hosts": selfcheck_hosts,
            "selfcheck_rows": selfcheck_rows,
            "selfcheck_site": selfcheck_site,
            "selfcheck_table": selfcheck_table,
        }
