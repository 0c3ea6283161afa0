"""Who asks whom whether a mailbox is full. Pure functions.

Sources: RFC 9208 (quotas), RFC 3463 (4.2.2, mailbox full), RFC 5321 4.2.1 (why a refusal for a while keeps mail with its sender).
"""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import Site, host_address, policy_targets
from ansible_collections.widgets.mail.plugins.filter.sendmail import ADDRESS, mail_home

LIMITS = ("storage", "messages")
HERE = "here"
PLACE = re.compile(r"^(here|[0-9.]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5})\Z")


def mail_quotas(
    users: list[dict[str, Any]], quota: dict[str, Any], domains: list[dict[str, Any]], site: Site, host: str
) -> dict[str, str]:
    """Where to ask about the mailbox of each address whose user has a quota: here, or a store that a flow lets the host ask."""
    port = (site["services"].get("quota") or {}).get("tcp", [0])[0]
    targets = policy_targets(site, host, "quota") if port else []
    out: dict[str, str] = {}
    for user in users:
        if user.get("state") == "absent":
            continue
        limits = [
            user.get(f"quota_{limit}") if user.get(f"quota_{limit}") is not None else quota.get(limit) for limit in LIMITS
        ]
        home = mail_home(user, domains)
        address = host_address(site, home)
        place = HERE if home == host else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        if any(limits) and (home == host or address in targets):
            names = user.get("domains") or [entry["name"] for entry in domains]
            out |= {f"{user['name']}@{name}": place for name in names}
    return out


def mail_quota_errors(users: list[dict[str, Any]], quota: Any) -> list[str]:
    """What is wrong with ``site_quota`` and users' own quotas, one sentence each. Empty where all is well."""
    if not isinstance(quota, dict):
        return [f"site_quota is {quota!r}: it must be a dictionary with storage (MiB) and messages."]
    errors = [f"site_quota: unknown key {key}; allowed are {', '.join(LIMITS)}." for key in quota if key not in LIMITS]
    given = [(f"site_quota.{key}", value) for key, value in quota.items() if key in LIMITS]
    for user in users if isinstance(users, list) else []:
        if isinstance(user, dict):
            given += [(f"site_users, {user.get('name')}: quota_{key}", user.get(f"quota_{key}")) for key in LIMITS]
    return errors + [
        f"{where} is {value!r}; give a whole number, 0 for no bound."
        for where, value in given
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0)
    ]


def sendmail_quotas(places: dict[str, str]) -> str:
    """Text of the table that says where each recipient's mailbox is asked about."""
    return "".join(f"{address.lower()}\t{place}\n" for address, place in sorted(places.items()))


def sendmail_quota_addresses(places: dict[str, str]) -> list[str]:
    """The addresses of other hosts that are asked."""
    return sorted({place.rpartition(":")[0].strip("[]") for place in places.values() if place != HERE})


def sendmail_quota_errors(places: dict[str, Any]) -> list[str]:
    """What is wrong with ``sendmail_quotas``, one sentence each. Empty where all is well."""
    errors = [f"sendmail_quotas holds {one!r}: it must be a mail address." for one in places if not ADDRESS.match(str(one))]
    return errors + [
        f"sendmail_quotas.{address} is {place!r}: it must be here, or an address and a port, such as 10.1.0.25:4191."
        for address, place in places.items()
        if not PLACE.match(str(place))
    ]


class FilterModule:
    """Filters of quotas."""

    def filters(self) -> dict[str, Any]:
        return {
            "mail_quotas": mail_quotas,
            "mail_quota_errors": mail_quota_errors,
            "sendmail_quotas": sendmail_quotas,
            "sendmail_quota_addresses": sendmail_quota_addresses,
        }
