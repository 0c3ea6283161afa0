"""Certificates of an ACME authority: a site's `site_acme`, resolved for each host. Pure functions.

What the world is shown is signed by the authority; among themselves the site's servers go on with what `site_tls` has.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.widgets.mail.plugins.filter.policy import Site, open_zone, policy_sources, policy_targets
from ansible_collections.widgets.mail.plugins.filter.tls import CERTIFICATE, KEY

Entry = dict[str, Any]

KEYS = {"directory", "contact", "terms_agreed", "authority", "renew_days", "hosts"}
MAILBOX = re.compile(r"^[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+\Z")
NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}\Z")
HTTP = 80
HTTPS = 443


def acme_hosts(acme: Any, gateways: list[str]) -> list[str]:
    """The hosts that have a certificate of the authority: the gateways, unless the inventory names others."""
    if not isinstance(acme, dict) or not acme:
        return []
    hosts = acme.get("hosts")
    return list(gateways if hosts is None else hosts)


def acme_certificates(certificates: list[Entry]) -> list[Entry]:
    """Entries of C(acme_certificates) with all that they may leave out."""
    return [
        {
            "name": entry["name"],
            "names": [name.lower() for name in entry["names"]],
            "path": entry["path"],
            "owner": entry.get("owner") or "root",
            "reload": list(entry.get("reload") or []),
            "intermediates": entry.get("intermediates") or "",
        }
        for entry in certificates
    ]


def acme_needed_by(certificates: list[Entry], readers: dict[str, str]) -> list[dict[str, str]]:
    """What says that a role still reads one of the certificates: the path of each, in the role's own file."""
    return [{"role": role, "path": path, "holds": entry["path"]} for role, path in readers.items() for entry in certificates]


def acme_entry_errors(certificates: list[Entry]) -> list[str]:
    """What is wrong with C(acme_certificates), one sentence each."""
    if not certificates:
        return ["acme_certificates is empty: name at least one {name, names, path}."]
    errors = []
    seen: dict[tuple[str, Any], int] = {}
    for number, entry in enumerate(certificates):
        where = f"acme_certificates[{number}]"
        if not NAME.match(str(entry["name"])):
            errors.append(f"{where}.name is {entry['name']!r}: it must be small letters, digits and hyphens.")
        if not entry["names"]:
            errors.append(f"{where}.names is empty: give at least one name.")
        firsts = entry["names"][:1]
        for key, value in (
            ("name", entry["name"]),
            ("path", entry["path"]),
            *(("first name", name.lower()) for name in firsts),
        ):
            if (key, value) in seen:
                errors.append(f"{where}: the {key} {value} is that of acme_certificates[{seen[key, value]}]: they must differ.")
            seen.setdefault((key, value), number)
    return errors


def _ways(site: Site, hosts: list[str], port: int) -> list[str]:
    """Flows that are missing: to port 80 of each host, and from it to the authority."""
    errors = []
    outer = open_zone(site)
    for host in hosts:
        inward = [name for name, service in site["services"].items() if HTTP in service.get("tcp", [])]
        if not any(policy_sources(site, host, name) for name in inward):
            errors.append(
                f"site_acme: no flow leads to TCP port {HTTP} of {host}, where the authority looks who it is: add one, such as "
                f"{{id: acme, from: any, to: {host}, services: [http]}}."
            )
        outward = [name for name, service in site["services"].items() if port in service.get("tcp", [])]
        open_flows = [
            flow
            for flow in site["flows"]
            if set(outward) & set(flow["services"])
            and host in (flow["from"] if isinstance(flow["from"], list) else [flow["from"]])
        ]
        if not open_flows and not any(policy_targets(site, host, name) for name in outward):
            errors.append(
                f"site_acme: no flow leads from {host} to TCP port {port} of the authority: add one, such as "
                f"{{id: acme-out, from: {host}, to: {outer}, services: [https]}}."
            )
    return errors


def acme_errors(acme: Any, site: Site, gateways: list[str], stores: list[str], tls: Any) -> list[str]:
    """What is wrong with an inventory's `site_acme`, one sentence each. Empty where all is well, or where there is none."""
    if not isinstance(acme, dict):
        return [f"site_acme is {str(acme)[:60]!r}: it must be a dictionary."]
    if not acme:
        return []
    errors = [f"site_acme: unknown key {key}; allowed are {', '.join(sorted(KEYS))}." for key in sorted(set(acme) - KEYS)]
    directory = acme.get("directory")
    parts = urlsplit(str(directory or ""))
    if directory is not None and (parts.scheme != "https" or not parts.hostname):
        errors.append(f"site_acme.directory is {directory!r}: it must be the https URL of the authority's directory.")
    if not MAILBOX.match(str(acme.get("contact") or "")):
        errors.append(
            f"site_acme.contact is {acme.get('contact')!r}: it must be a mail address, to which the authority writes."
        )
    if acme.get("terms_agreed") is not True:
        errors.append("site_acme.terms_agreed must be true: read the authority's terms of service first.")
    authority = acme.get("authority") or ""
    if authority and not CERTIFICATE.search(str(authority)):
        errors.append(
            "site_acme.authority must be the text of certificates (PEM), by which the authority's own server is known."
        )
    if KEY.search(str(authority)):
        errors.append("site_acme.authority holds a private key: an authority's key has no business on any host.")
    days = acme.get("renew_days", 30)
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 365:
        errors.append(f"site_acme.renew_days is {days!r}: allowed is 1 to 365.")
    hosts = acme.get("hosts")
    servers = [*gateways, *stores]
    if hosts is not None and not isinstance(hosts, list):
        return [*errors, f"site_acme.hosts is {hosts!r}: it must be a list of gateways and stores."]
    named = acme_hosts(acme, gateways)
    errors += [f"site_acme.hosts holds {host!r}: allowed are {', '.join(servers)}." for host in named if host not in servers]
    if named and not tls:
        errors.append(
            "site_acme needs site_tls: among themselves the mail servers show what the site's own authority has signed, since public "
            "ones sign nothing for clients."
        )
    return errors + (_ways(site, [host for host in named if host in servers], parts.port or HTTPS) if not errors else [])


class FilterModule:
    """Filters that resolve site_acme."""

    def filters(self) -> dict[str, Any]:
        return {
            "acme_certificates": acme_certificates,
            "acme_errors": acme_errors,
            "acme_hosts": acme_hosts,
            "acme_needed_by": acme_needed_by,
        }
