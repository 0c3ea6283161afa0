"""Internationalised domain names: people write U-labels in the inventory, and everything made from it has A-labels.

The codec is Python's own (RFC 3490, IDNA 2003), so that the same inventory gives the same names on every machine. The few letters
that IDNA 2008 maps to another name than IDNA 2003 are left as they are, and the check of domains then refuses the name: whoever
needs one writes the A-label. Local parts stay ASCII (`mail_errors`): no sendmail of Debian 12 or 13 offers SMTPUTF8.
"""

from __future__ import annotations

from typing import Any

# Small sharp s, final sigma, zero width non-joiner and joiner (RFC 5894, 7.2).
DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")


def idn_domain(name: Any) -> Any:
    """A domain with A-labels, in lower case. What cannot be written so is given back as it is, for the checks to name."""
    if not isinstance(name, str) or name.isascii() or DEVIATIONS & set(name.lower()):
        return name
    try:
        return name.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return name


def idn_address(address: Any) -> Any:
    """A mail address with A-labels after the @; anything else as it is."""
    if not isinstance(address, str) or "@" not in address or address.startswith("|"):
        return address
    local, _at, domain = address.rpartition("@")
    return f"{local}@{idn_domain(domain)}"


def idn_domains(entries: Any) -> Any:
    """Domains of `site_domains` with A-labels."""
    if not isinstance(entries, list):
        return entries
    return [
        {**entry, "name": idn_domain(entry["name"])} if isinstance(entry, dict) and "name" in entry else entry
        for entry in entries
    ]


def idn_users(users: Any) -> Any:
    """Users of `site_users`, the domains and senders of each with A-labels."""
    if not isinstance(users, list):
        return users
    labels = {"domains": idn_domain, "senders": idn_address}
    return [
        {
            key: [labels[key](name) for name in value] if key in labels and isinstance(value, list) else value
            for key, value in user.items()
        }
        if isinstance(user, dict)
        else user
        for user in users
    ]


def idn_aliases(aliases: Any) -> Any:
    """Aliases of `site_aliases`, the addresses among their targets with A-labels."""
    if not isinstance(aliases, dict):
        return aliases
    return {
        name: [idn_address(to) for to in targets] if isinstance(targets, list) else targets for name, targets in aliases.items()
    }


class FilterModule:
    """Filters that derive A-labels."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters."""
        return {
            "idn_domain": idn_domain,
            "idn_domains": idn_domains,
            "idn_users": idn_users,
            "idn_aliases": idn_aliases,
        }
