"""What a site asks of those who send it mail (MTA-STS, RFC 8461): its policy, the records that point to it, and what is wrong with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.dns import fqdn
from ansible_collections.widgets.mail.plugins.filter.policy import Site, leads_out, open_zone, policy_sources
from ansible_collections.widgets.mail.plugins.filter.tls import CERTIFICATE, KEY, foreign_issuers, is_path

KEYS = {"mode", "max_age", "reports", "host", "certificate"}
MODES = ("testing", "enforce", "none")
MAILBOX = re.compile(r"^[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+\Z")
DAY = 86400
LONGEST = 31557600  # seconds (RFC 8461 3.2)
HTTPS = 443
LABEL = "mta-sts"


def mta_sts_host(sts: Any, gateways: list[str]) -> str:
    """The host that the policy is fetched from: the first gateway, unless the inventory names another; empty without a policy."""
    return str((sts or {}).get("host") or (gateways[0] if gateways else "")) if sts else ""


def mta_sts_policy(mx: Iterable[str], mode: str, max_age: int) -> str:
    """The policy's text: who takes mail, and for how many seconds it may be remembered."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {name}" for name in mx), f"max_age: {max_age}"]
    return "".join(f"{line}\n" for line in lines)


def mta_sts_records(sts: dict[str, Any], site: Site, domains: Iterable[str], gateways: list[str]) -> list[dict[str, str]]:
    """DNS records of each mail domain: where the policy is, an id that changes with it, and who is told of failures (RFC 8460)."""
    if not sts:
        return []
    names = [fqdn(gateway, site["domain"]).rstrip(".") for gateway in gateways]
    text = mta_sts_policy(names, sts["mode"], sts.get("max_age", DAY))
    number = hashlib.sha256(text.encode()).hexdigest()[:20]
    values = [
        ("_mta-sts", "TXT", f"v=STSv1; id={number};"),
        (LABEL, "CNAME", fqdn(mta_sts_host(sts, gateways), site["domain"])),
    ]
    if sts.get("reports"):
        values.append(("_smtp._tls", "TXT", "v=TLSRPTv1; rua=" + ",".join(f"mailto:{to}" for to in sts["reports"])))
    return [{"zone": domain, "name": name, "type": kind, "value": value} for domain in domains for name, kind, value in values]


def mta_sts_names(domains: Iterable[str]) -> list[str]:
    """The names that the policy's server is asked by."""
    return [f"{LABEL}.{domain}" for domain in domains]


def mta_sts_errors(sts: Any, site: Site, gateways: list[str], tls: Any, acme: list[str]) -> list[str]:
    """What is wrong with an inventory's `site_mta_sts`, one sentence each. Empty where all is well, or where there is none.

    acme are the hosts that have certificates of an ACME authority.
    """
    if not isinstance(sts, dict):
        return [f"site_mta_sts is {str(sts)[:60]!r}: it must be a dictionary."]
    if not sts:
        return []
    errors = [f"site_mta_sts: unknown key {key}; allowed are {', '.join(sorted(KEYS))}." for key in sorted(set(sts) - KEYS)]
    if sts.get("mode") not in MODES:
        errors.append(f"site_mta_sts.mode is {sts.get('mode')!r}; allowed are {', '.join(MODES)}.")
    age = sts.get("max_age", DAY)
    if not isinstance(age, int) or isinstance(age, bool) or not DAY <= age <= LONGEST:
        errors.append(f"site_mta_sts.max_age is {age!r}: it must be seconds, {DAY} to {LONGEST}.")
    reports = sts.get("reports", [])
    if not isinstance(reports, list):
        errors.append(f"site_mta_sts.reports is {reports!r}: it must be a list of mail addresses.")
    else:
        errors += [
            f"site_mta_sts.reports holds {to!r}: it must be a mail address." for to in reports if not MAILBOX.match(str(to))
        ]
    certificates = tls.get("certificates") or {} if isinstance(tls, dict) else {}
    if sts.get("mode") == "enforce" and not set(gateways) <= set(certificates):
        errors.append(
            "site_mta_sts.mode is 'enforce', but the gateways have no TLS: who keeps to the policy could send nothing; set site_tls first."
        )
    host = mta_sts_host(sts, gateways)
    if host not in site["hosts"] or not site["hosts"][host].get("public"):
        errors.append(
            f"site_mta_sts.host is {host!r}: it must be a host of site_hosts with a public address, which others reach."
        )
        return errors
    certificate = sts.get("certificate")
    if certificate is None and host not in acme:
        errors.append(
            f"site_mta_sts.certificate is needed: {host} has no certificate of site_acme for the names of the policy's server."
        )
    elif (
        certificate is not None
        and not is_path(certificate)
        and not (CERTIFICATE.search(str(certificate)) and KEY.search(str(certificate)))
    ):
        errors.append(
            f"site_mta_sts.certificate must be the text of a key and its certificate (PEM), or the path of a file on {host}."
        )
    served = [name for name, service in site["services"].items() if HTTPS in service.get("tcp", [])]
    if not any(policy_sources(site, host, name) for name in served):
        errors.append(
            f"site_mta_sts: no flow leads to TCP port {HTTPS} of {host}, where the policy is fetched: add one, such as "
            f"{{id: mta-sts, from: any, to: {host}, services: [https]}}."
        )
    return errors


def mta_sts_outward_errors(outward: Any, site: Site, gateways: list[str], tls: Any) -> list[str]:
    """What stands against keeping to others' policies, an inventory's `site_mta_sts_outward`. Empty where all is well, or where it is off."""
    if not isinstance(outward, bool):
        return [f"site_mta_sts_outward is {outward!r}: it must be true or false."]
    if not outward:
        return []
    errors = []
    # What is no dictionary tls_errors tells of.
    if isinstance(tls, dict) and not set(gateways) <= set(tls.get("certificates") or {}):
        errors.append(
            "site_mta_sts_outward is true, but the gateways have no TLS: whoever asks for it would get no mail; set site_tls first."
        )
    # Where public authorities are known as well, own hosts know each other by who has signed their certificates.
    errors += [
        f"site_mta_sts_outward: site_tls.certificates.{host} was signed by {issuer}, whose certificate site_tls.authority must have beside "
        "the root's: own hosts would not know this one."
        for host, issuer in (foreign_issuers(tls) if isinstance(tls, dict) else {}).items()
    ]
    for host in gateways:
        if not leads_out(site, host, HTTPS):
            errors.append(
                f"site_mta_sts_outward: no flow leads from {host} to TCP port {HTTPS} of the world, where others' policies are: add one, such "
                f"as {{id: mta-sts-out, from: {host}, to: {open_zone(site)}, services: [https]}}."
            )
    return errors


class FilterModule:
    """Filters that make a policy of site_mta_sts."""

    def filters(self) -> dict[str, Any]:
        return {
            "mta_sts_errors": mta_sts_errors,
            "mta_sts_host": mta_sts_host,
            "mta_sts_names": mta_sts_names,
            "mta_sts_outward_errors": mta_sts_outward_errors,
            "mta_sts_policy": mta_sts_policy,
            "mta_sts_records": mta_sts_records,
        }
