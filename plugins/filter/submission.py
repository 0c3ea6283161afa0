"""Who hands in mail with a password, where, and under which addresses. Pure functions.

Sources: RFC 6409 (submission; 8.1 on senders), RFC 8314 (TLS from the start, port 465), cf/README of the sendmail distribution.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import Site, policy_sources
from ansible_collections.widgets.mail.plugins.filter.sendmail import ADDRESS, LOCAL_PART, mail_home

Users = list[dict[str, Any]]
Senders = dict[str, list[str]]


def submission_port(site: Site, host: str, service: str) -> int:
    """The port of a service of submission at a host that a flow leads to; 0 where no flow does."""
    found = site["services"].get(service)
    return int(found["tcp"][0]) if found and policy_sources(site, host, service) else 0


def leads_to(name: str, aliases: dict[str, Any]) -> set[str]:
    """Where mail for a name ends: users, addresses elsewhere and programs."""
    if name not in aliases:
        return {name}
    return set().union(*(leads_to(target, aliases) for target in aliases[name]))


def mail_senders(users: Users, aliases: dict[str, Any], domains: list[dict[str, Any]], host: str) -> Senders:
    """The addresses that each user of a store may write as: those that are theirs, in each domain where they have one.

    An alias that leads to nobody else is theirs, too; others are where a user's ``senders`` has them. Users who may not log in have none.
    """
    out = {}
    for user in users:
        if user.get("state") in ("suspended", "absent") or mail_home(user, domains) != host:
            continue
        name = user["name"]
        own = [name, *(alias for alias in aliases if leads_to(alias, aliases) == {name})]
        places = user.get("domains") or [entry["name"] for entry in domains]
        found = [f"{part}@{domain}" for domain in places for part in own] + list(user.get("senders") or [])
        out[name] = list(dict.fromkeys(found))
    return out


def mail_sender_errors(users: Users, domains: list[str]) -> list[str]:
    """What is wrong with users' ``senders``, one sentence each: they must be addresses of the site. Empty where all is well."""
    errors = []
    for user in users if isinstance(users, list) else []:
        senders = user.get("senders") or [] if isinstance(user, dict) else []
        if not isinstance(senders, list):
            errors.append(
                f"site_users, {user['name']}: senders is {senders!r}; give a list of addresses in {', '.join(domains)}."
            )
            continue
        errors += [
            f"site_users, {user['name']}: senders holds {address!r}; give addresses in {', '.join(domains)}."
            for address in senders
            if not ADDRESS.match(str(address)) or str(address).rpartition("@")[2] not in domains
        ]
    return errors


def sendmail_senders(senders: Senders) -> str:
    """Text of the map of senders: a line for each user and address of theirs, ``user:address``."""
    return "".join(f"{user}:{address.lower()}\tOK\n" for user, addresses in senders.items() for address in addresses)


def sendmail_sender_errors(senders: dict[str, Any]) -> list[str]:
    """What is wrong with ``sendmail_senders``, one sentence each. Empty where all is well."""
    errors = []
    for user, addresses in senders.items():
        where = f"sendmail_senders.{user}"
        if not LOCAL_PART.match(str(user)):
            errors.append(f"{where}: a user's name is lower-case letters, digits, dots, hyphens and underscores.")
        if not isinstance(addresses, list) or not addresses:
            errors.append(f"{where} is {addresses!r}: it must be a list of at least one address.")
            continue
        errors += [f"{where} holds {one!r}: it must be a mail address." for one in addresses if not ADDRESS.match(str(one))]
    return errors


class FilterModule:
    """Filters of submission."""

    def filters(self) -> dict[str, Any]:
        return {
            "submission_port": submission_port,
            "mail_senders": mail_senders,
            "mail_sender_errors": mail_sender_errors,
            "sendmail_senders": sendmail_senders,
        }
