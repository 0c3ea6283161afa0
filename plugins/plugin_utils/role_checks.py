# SPDX-License-Identifier: MIT
"""What of roles' variables is wrong beyond its type: numbers out of range, addresses that are none, hidden places, contradictions.

`role_errors` calls it with values that Ansible's own checker has passed: types are right, defaults are filled in. A default that
needs a host's facts is missing from the values before these are known, and what depends on it is then not looked at. Ranges are
not stated here: they are read from the descriptions in argument_specs, where people read them as well.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.acme import MAILBOX as CONTACT
from ansible_collections.widgets.mail.plugins.filter.acme import acme_entry_errors
from ansible_collections.widgets.mail.plugins.filter.content_filter import (
    content_filter_errors,
    content_filter_greylist_errors,
    content_filter_key_errors,
)
from ansible_collections.widgets.mail.plugins.filter.dns import dns_anchor_errors, dns_zone_errors
from ansible_collections.widgets.mail.plugins.filter.hardening import hardening_sysctl_lines
from ansible_collections.widgets.mail.plugins.filter.pop3 import pop3_errors, pop3_sieve_errors
from ansible_collections.widgets.mail.plugins.filter.quota import sendmail_quota_errors
from ansible_collections.widgets.mail.plugins.filter.sendmail import (
    connect_keys,
    sendmail_filter_errors,
    sendmail_tls_errors,
)
from ansible_collections.widgets.mail.plugins.filter.ssh import KEY_TYPES, ssh_bad_keys
from ansible_collections.widgets.mail.plugins.filter.submission import sendmail_sender_errors
from ansible_collections.widgets.mail.plugins.filter.syslog import is_address, syslog_errors
from ansible_collections.widgets.mail.plugins.filter.tcp_wrappers import tcp_wrappers_rules
from ansible_collections.widgets.mail.plugins.filter.tls import tls_subjects
from ansible_collections.widgets.mail.plugins.filter.vpn import vpn_peer_errors
from ansible_collections.widgets.mail.plugins.module_utils.modes import row_errors

Values = Mapping[str, Any]

# -- ranges ------------------------------------------------------------------------------------------------------------

BETWEEN = re.compile(r"\b(\d+) to (\d+)\b")
AT_LEAST = re.compile(r"\bat least (\d+)\b")


def description(option: Mapping[str, Any]) -> str:
    """The description of an option as one text."""
    text = option.get("description", "")
    return text if isinstance(text, str) else " ".join(text)


def bounds(option: Mapping[str, Any]) -> tuple[int, int | None] | None:
    """What an option's description says its numbers may be: "0 to 65535", "at least 1"; None where it says nothing."""
    if found := BETWEEN.search(description(option)):
        return int(found[1]), int(found[2])
    if found := AT_LEAST.search(description(option)):
        return int(found[1]), None
    return None


def is_number(option: Mapping[str, Any]) -> bool:
    """Whether an option holds a number, or numbers."""
    return bool({option.get("type"), option.get("elements")} & {"int", "float"})


def walk(specs: Mapping[str, Any], values: Values, where: str = "") -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Every value with its place and its option, those in lists and dictionaries too."""
    for name, option in specs.items():
        value = values.get(name)
        if value is None:
            continue
        place = f"{where}.{name}" if where else name
        items = (
            [(f"{place}[{number}]", item) for number, item in enumerate(value)] if isinstance(value, list) else [(place, value)]
        )
        for spot, item in items:
            if "options" in option and isinstance(item, Mapping):
                yield from walk(option["options"], item, spot)
            else:
                yield spot, option, item


# Variables, or parts of them, that are texts of lines.
TEXTS = {
    "acme_authority_pem",
    "content_filter_dkim_keys.key",
    "hardening_banner",
    "mta_sts_pem",
    "mta_sts_resolver_authorities_pem",
    "pop3_tls_pem",
    "sendmail_tls_authority_pem",
    "sendmail_tls_pem",
}


def value_errors(specs: Mapping[str, Any], values: Values) -> list[str]:
    """Numbers out of range, paths that are not absolute, texts that would not stay on their line of a configuration file."""
    errors = []
    for place, option, value in walk(specs, values):
        shown = "a secret" if option.get("no_log") else repr(value)
        limits = bounds(option) if is_number(option) else None
        if limits and isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = limits
            if value < low or (high is not None and value > high):
                allowed = f"at least {low}" if high is None else f"{low} to {high}"
                errors.append(f"{place} is {shown}: allowed is {allowed}.")
        if not isinstance(value, str):
            continue
        if "path" in (option.get("type"), option.get("elements")) and not value.startswith("/"):
            errors.append(f"{place} is {shown}: it must be an absolute path.")
        if INDEX.sub("", place) not in TEXTS and re.search(r"[\x00-\x1f\x7f]", value):
            errors.append(f"{place} is {shown}: it must be one line without control characters.")
    return errors


# -- forms -------------------------------------------------------------------------------------------------------------


def _parses(reader: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        try:
            reader(value)
        except ValueError:
            return False
        return True

    return test


def _matches(expression: str) -> Callable[[Any], bool]:
    compiled = re.compile(expression)
    return lambda value: bool(compiled.match(str(value)))


HOST = r"(?=.{1,253}\Z)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

ADDRESS = (_parses(ipaddress.ip_address), "an IPv4 or IPv6 address")
ADDRESS6 = (lambda value: ":" in str(value) and "%" not in str(value) and ADDRESS[0](value), "an IPv6 address")
# What a program compares as a text.
SHORTEST = (is_address, "an address in its shortest form, such as 10.1.1.11 or 2001:db8::11")
LOOPBACK = (
    lambda value: ADDRESS[0](value) and ipaddress.ip_address(value).is_loopback,
    "an address of the loopback, such as 127.0.0.1",
)
NETWORK = (_parses(ipaddress.ip_network), "an address, or a network without host bits such as 10.1.0.0/24")
INTERFACE = (
    lambda value: "/" in str(value) and _parses(ipaddress.ip_interface)(value),
    "an address with its prefix length, such as 10.1.0.25/24",
)
INTERFACE6 = (
    lambda value: ":" in str(value) and INTERFACE[0](value),
    "an IPv6 address with its prefix length, such as 2001:db8::25/64",
)
NAME = (_matches(rf"^{HOST}\Z"), "a host name or an address")
SERVER = (lambda value: ADDRESS[0](value) or NAME[0](value), NAME[1])
DOMAIN = (_matches(rf"^({HOST})?\Z"), "a domain")
LABEL = (_matches(r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z"), "letters, digits and hyphens, no dot, at most 63")
MAC = (_matches(r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\Z"), "a MAC address such as 02:00:0a:01:01:0b")
LINK = (_matches(r"^[A-Za-z0-9_.:-]{1,15}\Z"), "1 to 15 letters, digits and _ . : -")
MAILBOX = (_matches(rf"^[A-Za-z0-9._+-]+(@{HOST})?\Z"), "a user of the host or a mail address")
FULL_MAILBOX = (_matches(rf"^[A-Za-z0-9._+-]+@{HOST}\Z"), "a mail address")
UNIT = (
    _matches(r"^[A-Za-z0-9:_.@\\-]+\.(service|socket|target|path|timer|mount|automount|device|slice|scope)\Z"),
    "a unit with its suffix, such as cups.service",
)
PACKAGE = (_matches(r"^[a-z0-9][a-z0-9+.-]+\Z"), "the name of a Debian package")
USER = (_matches(r"^[a-z_][a-z0-9_.-]{0,31}\Z"), "a user's name")
ALGORITHM = (_matches(r"^[a-z0-9][a-z0-9@.-]+\Z"), "the name of an algorithm as `ssh -Q` lists them")
MEMORY = (_matches(r"^([1-9][0-9]*[KMGT]?|[1-9][0-9]?%|infinity)\Z"), "systemd's size, such as 512M, 2G or 50%")
SENDMAIL_TIME = (_matches(r"^([1-9][0-9]*[smhdw])+\Z"), "sendmail's time, such as 30m or 1h30m")


def _times() -> re.Pattern[str]:
    """What systemd takes for times of the calendar (systemd.time(7)), but for names of seldom use. Here and not by systemd-analyze on the
    host: it is said before anything changes.
    """

    def parts(one: str, step: str = "[1-9][0-9]*") -> str:
        part = rf"{one}(\.\.{one})?(/{step})?"
        return rf"(\*|{part}(,{part})*)"

    day = "(mon(day)?|tue(sday)?|wed(nesday)?|thu(rsday)?|fri(day)?|sat(urday)?|sun(day)?)"
    days = rf"{day}((\.\.|-){day})?(,{day}((\.\.|-){day})?)*"
    year, month = parts("(19[7-9][0-9]|2[01][0-9]{2}|[0-9]{2})"), parts("(1[0-2]|0?[1-9])")
    date = rf"({year}-)?{month}[-~]{parts('(3[01]|[12][0-9]|0?[1-9])')}"
    hour, minute = parts("(2[0-3]|[01]?[0-9])"), parts("[0-5]?[0-9]")
    second = parts(r"[0-5]?[0-9](\.[0-9]{1,6})?", r"[0-9]+(\.[0-9]{1,6})?")
    time = rf"{hour}:{minute}(:{second})?"
    named = "minutely|hourly|daily|weekly|monthly|quarterly|semiannually|yearly|annually"
    zone = r"(?-i:UTC|[A-Z][A-Z0-9]{2,}|[A-Z]\w+(/[\w+-]+)+)"
    when = rf"({named}|{days}( {date})?( {time})?|{date}( {time})?|{time})"
    return re.compile(rf"^{when}( {zone})?\Z", re.IGNORECASE | re.ASCII)


TIMES = _times()
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _is_calendar(value: Any) -> bool:
    """Whether a text is times of the calendar, and no range of it runs backwards."""
    text = str(value).lower()
    numbers = [(int(first), int(last)) for first, last in re.findall(r"([0-9]+)\.\.([0-9]+)", text)]
    days = [
        (DAYS.index(first), DAYS.index(last))
        for first, last in re.findall(rf"({'|'.join(DAYS)})[a-z]*(?:\.\.|-)({'|'.join(DAYS)})", text)
    ]
    return bool(TIMES.match(str(value))) and all(first <= last for first, last in numbers + days)


CALENDAR = (_is_calendar, "systemd's times of the calendar, such as daily, Mon..Fri 04:00 or *-*-* 04:00:00")
GROUP_NUMBER = (
    lambda value: not isinstance(value, bool) and isinstance(value, int) and 0 < value < 2**32,
    "a whole number, 1 to 4294967295",
)
PREFIX = (_matches(r"^[A-Za-z0-9 _.:-]{1,64}\Z"), "1 to 64 letters, digits, blanks and _ . : -")

# Variables, or parts of them, and the form that their values must have. A list stands for each of its elements.
FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "firewall_log_file": (
        _matches(r"^/var/log/ulog/[A-Za-z0-9][A-Za-z0-9._-]*[.]log\Z"),
        "/var/log/ulog/NAME.log, which is rotated there",
    ),
    "acme_certificates.names": (_matches(rf"^(?=.*[.]){HOST}\Z"), "a full host name"),
    "acme_certificates.owner": USER,
    "acme_certificates.reload": UNIT,
    "acme_interval": (_matches(r"^([1-9][0-9]*(s|min|h|d|w))+\Z"), "systemd's time, such as 30min, 8h or 1d"),
    "base_hostname": LABEL,
    "base_domain": DOMAIN,
    "base_hosts.address": ADDRESS,
    "base_hosts.names": NAME,
    "base_resolvers": ADDRESS,
    "base_packages": PACKAGE,
    "base_upgrades_mail": MAILBOX,
    "base_time_servers": SERVER,
    "content_filter_client": USER,
    "content_filter_freshclam_mirror": NAME,
    "content_filter_rspamd_memory": MEMORY,
    "content_filter_clamd_memory": MEMORY,
    "content_filter_resolvers": ADDRESS,
    "content_filter_own_clients": NETWORK,
    "content_filter_greylist_known_networks": NETWORK,
    "content_filter_greylist_known_domains": (
        _matches(rf"^(?=.*[.][A-Za-z]){HOST}\Z"),
        "a registered domain, such as example.org",
    ),
    "content_filter_dkim_keys.domain": NAME,
    "content_filter_dkim_keys.selector": LABEL,
    "dns_recursion_clients": NETWORK,
    "dns_listen": (lambda value: value == "any" or ADDRESS[0](value), "any or an address"),
    "dns_forwarders": ADDRESS,
    "dns_root_hints.address": ADDRESS,
    "dns_secondaries": ADDRESS,
    "firewall_rules.saddr": NETWORK,
    "firewall_rules.daddr": NETWORK,
    "firewall_static.public": ADDRESS,
    "firewall_static.private": ADDRESS,
    "firewall_pat.network": NETWORK,
    "firewall_pat.address": ADDRESS,
    "firewall_bogons": NETWORK,
    "firewall_log_prefix": PREFIX,
    "hardening_services_disabled": UNIT,
    "hardening_packages_absent": PACKAGE,
    "hardening_umask": (_matches(r"^[0-7]{3}\Z"), 'three octal digits in quotes, such as "027"'),
    "hardening_cron_users": USER,
    "mta_sts_resolver_inside": NETWORK,
    "mta_sts_resolver_resolvers": ADDRESS,
    "mta_sts_mx": (_matches(rf"^(?=.*[.]){HOST}\Z"), "a full host name"),
    "network_links.name": LINK,
    "network_links.mac": MAC,
    "network_links.device": LINK,
    "network_links.addresses": INTERFACE,
    "network_links.addresses6": INTERFACE6,
    "network_links.sub_interface.address": INTERFACE,
    "network_links.sub_interface.label": LINK,
    "network_links.gateway": ADDRESS,
    "network_links.gateway6": ADDRESS6,
    "network_links.routes.to": NETWORK,
    "network_links.routes.via": ADDRESS,
    "pop3_listen": (
        lambda value: value in ("*", "::") or SERVER[0](value),
        "* (all of IPv4), :: (all of IPv6), an address or a name",
    ),
    "pop3_lmtp_user": USER,
    "pop3_hostname": NAME,
    "pop3_postmaster": FULL_MAILBOX,
    "resolver_listen": LOOPBACK,
    "resolver_forwarders": ADDRESS,
    "resolver_unsigned": DOMAIN,
    "sendmail_hostname": (
        _matches(rf"^(?=.*[.]){HOST}\Z"),
        "the full name, with its domain: sendmail waits for minutes without one",
    ),
    "sendmail_header_name": NAME,
    "sendmail_domain": DOMAIN,
    "sendmail_domains.name": (_matches(rf"^(?=.*[.]){HOST}\Z"), "a domain such as widgets.example"),
    "sendmail_domains.next_hop": SERVER,
    "sendmail_ipv6_addresses": ADDRESS6,
    "sendmail_outward_interval": SENDMAIL_TIME,
    "sendmail_quota_peers": SHORTEST,
    "sendmail_recipients": FULL_MAILBOX,
    "sendmail_retry_pause_max": SENDMAIL_TIME,
    "sendmail_routes.recipient": FULL_MAILBOX,
    "sendmail_routes.next_hop": SERVER,
    "sendmail_smart_host": (lambda value: value == "" or SERVER[0](value), "an address, a host name, or empty"),
    "sendmail_smart_hosts_spare": SERVER,
    "sendmail_dane_resolver": (lambda value: value == "" or LOOPBACK[0](value), LOOPBACK[1]),
    "sendmail_own_addresses": ADDRESS,
    "sendmail_resolvers": ADDRESS,
    "sendmail_queue_interval": SENDMAIL_TIME,
    "sendmail_msp_queue_interval": SENDMAIL_TIME,
    "sendmail_relay_from": NETWORK,
    "sendmail_submission_imap": (
        lambda value: ADDRESS[0](value) and ipaddress.ip_address(value).is_loopback,
        "an address of this host's loopback: what goes there is not encrypted",
    ),
    "sendmail_limits_exempt": NETWORK,
    "sendmail_block_lists_exempt": NETWORK,
    "ssh_admin_user": USER,
    "ssh_allow_users": USER,
    "ssh_allow_from": NETWORK,
    "ssh_listen_addresses": ADDRESS,
    "ssh_banner": (_matches(r"^(none\Z|/)"), "none, or the absolute path of a text"),
    "ssh_max_startups": (_matches(r"^[1-9][0-9]*:([1-9][0-9]?|100):[1-9][0-9]*\Z"), 'start:rate:full, such as "10:30:30"'),
    "ssh_kex_algorithms": ALGORITHM,
    "ssh_ciphers": ALGORITHM,
    "ssh_macs": ALGORITHM,
    "ssh_pubkey_algorithms": ALGORITHM,
    "tripwire_schedule": CALENDAR,
    "tripwire_exclude": (_matches(r"^/"), "an absolute path"),
    "tripwire_exclude_extra": (_matches(r"^/"), "an absolute path"),
    "tripwire_accept_within": (_matches(r"^/"), "an absolute path"),
    "tripwire_paths.paths": (_matches(r"^/"), "an absolute path"),
    "tripwire_paths.mask": (_matches(r"^([+-][abcdgilmnprstuCHMS]+)+\Z"), "a property mask of twpolicy(4), such as +pugtSM"),
    "vpn_interface": LINK,
    "vpn_addresses": INTERFACE,
    "vpn_networks": NETWORK,
}
INDEX = re.compile(r"\[\d+\]")


def form_errors(specs: Mapping[str, Any], values: Values) -> list[str]:
    """Values that have not the form that they must have."""
    return [
        f"{place} is {value!r}: it must be {FORMS[key][1]}."
        for place, _option, value in walk(specs, values)
        if (key := INDEX.sub("", place)) in FORMS and not FORMS[key][0](value)
    ]


# -- places ------------------------------------------------------------------------------------------------------------

TEMPORARY = ("/tmp", "/var/tmp")  # PrivateTmp=yes: a unit has its own
PRIVATE = ("/home", "/root", "/run/user", *TEMPORARY)  # and ProtectHome=yes: nothing there can be entered

# Variables, or parts of them, that hold a path; the unit that needs it, and the directories that this unit does not see as the host has
# them. Everything would be made there, and the daemon would find none of it.
HIDDEN: dict[str, tuple[str, tuple[str, ...]]] = {
    "acme_certificates.path": ("acme-install.service", PRIVATE),
    "acme_certificates.intermediates": ("acme-install.service", PRIVATE),
    "mta_sts_certificate": ("lighttpd.service", tuple(sorted((*PRIVATE, "/boot", "/etc/mail", "/var/mail", "/var/spool")))),
    "pop3_spool": ("dovecot.service", PRIVATE),
    "pop3_tls_certificate": ("dovecot.service", PRIVATE),
    "pop3_tls_key": ("dovecot.service", PRIVATE),
    "sendmail_programs": ("sendmail.service", PRIVATE),
    "sendmail_forward_path": ("sendmail.service", PRIVATE),
    "sendmail_lmtp_socket": ("sendmail.service", PRIVATE),
    "sendmail_milters.socket": ("sendmail.service", PRIVATE),
    "sendmail_quota_socket": ("sendmail-quota.service", PRIVATE),
    "sendmail_sts_authorities": ("sendmail.service", PRIVATE),
    "sendmail_tls_authority": ("sendmail.service", PRIVATE),
    "sendmail_tls_certificate": ("sendmail.service", PRIVATE),
    "sendmail_tls_client_certificate": ("sendmail.service", PRIVATE),
    "sendmail_tls_client_key": ("sendmail.service", PRIVATE),
    "sendmail_tls_intermediates": ("sendmail.service", PRIVATE),
    "sendmail_tls_key": ("sendmail.service", PRIVATE),
    "sendmail_tls_public": ("sendmail.service", PRIVATE),
    "syslog_inputs.path": ("rsyslog.service", PRIVATE),
    "tripwire_paths.paths": ("tripwire-check.service", TEMPORARY),
}


def hidden_errors(specs: Mapping[str, Any], values: Values) -> list[str]:
    """Paths that the unit which needs them does not see."""
    errors = []
    for place, _option, value in walk(specs, values):
        unit, hidden = HIDDEN.get(INDEX.sub("", place), ("", ()))
        paths = {f"{place}.{key}": path for key, path in value.items()} if isinstance(value, Mapping) else {place: value}
        errors += [
            f"{spot} is {path!r}: {unit} sees nothing below {', '.join(hidden)}; it must be elsewhere."
            for spot, path in paths.items()
            if any(f"{posixpath.normpath(str(path))}/".startswith(f"{directory}/") for directory in hidden)
        ]
    return errors


# -- contradictions ------------------------------------------------------------------------------------------------------


def _said(function: Callable[..., Any], *arguments: Any) -> list[str]:
    """The complaint of a function that raises where its data is wrong."""
    try:
        function(*arguments)
    except ValueError as error:
        return [f"{str(error).rstrip('.')}."]
    return []


def _twice(values: Iterable[Any], words: str) -> list[str]:
    """A message for each value that comes again; words tells of what it is one, with {} for the value."""
    seen: set[Any] = set()
    errors = []
    for value in values:
        if value is not None and value in seen:
            errors.append(words.format(value))
        seen.add(value)
    return errors


def _acme(v: Values) -> list[str]:
    errors = acme_entry_errors(v["acme_certificates"])
    if not v["acme_directory"].startswith("https://"):
        errors.append(f"acme_directory is {v['acme_directory']!r}: it must be the https URL of the authority's directory.")
    if not CONTACT.match(v["acme_contact"]):
        errors.append(f"acme_contact is {v['acme_contact']!r}: it must be a mail address, to which the authority writes.")
    if not v["acme_terms_agreed"]:
        errors.append("acme_terms_agreed is false: read the authority's terms of service first, and say that you agree.")
    return errors


def _base(v: Values) -> list[str]:
    errors = []
    if "base_hostname" in v:
        own = f"{v['base_hostname']}.{v['base_domain']}"
        if not any(own in line["names"] for line in v["base_hosts"]):
            errors.append(
                f"base_hosts has no line for {own}, the host's own full name (base_hostname and base_domain): "
                f"add {{address, names: [{own}, {v['base_hostname']}]}}."
            )
    for number, line in enumerate(v["base_hosts"]):
        if not line["names"]:
            errors.append(f"base_hosts[{number}].names is empty: it must hold at least one name, the full one first.")
    for number, expression in enumerate(v["base_upgrades_except"]):
        try:
            re.compile(expression)
        except re.error as error:
            errors.append(f"base_upgrades_except[{number}] is {expression!r}: it must be a regular expression ({error}).")
    return errors


def _content_filter(v: Values) -> list[str]:
    errors = content_filter_errors(
        v["content_filter_signatures"],
        v["content_filter_refused_extensions"],
        v["content_filter_refuse_score"],
        v["content_filter_mark_score"],
        v["content_filter_freshclam"],
    )
    errors += content_filter_key_errors(v["content_filter_dkim_keys"], v["content_filter_own_clients"])
    if v["content_filter_greylist"]:
        errors += content_filter_greylist_errors(
            v["content_filter_greylist_score"],
            v["content_filter_mark_score"],
            v["content_filter_greylist_known_networks"],
            v["content_filter_greylist_known_domains"],
            v["content_filter_authentication"],
        )
    if v.get("sendmail_max_message_size", 0) > v["content_filter_max_message_size"]:
        errors.append(
            f"content_filter_max_message_size is {v['content_filter_max_message_size']} and sendmail_max_message_size "
            f"{v['sendmail_max_message_size']}: the first must not be less, or large messages would never get through."
        )
    return errors


def _dns(v: Values) -> list[str]:
    errors = [f"{error.rstrip('.')}." for error in dns_zone_errors(v["dns_zones"])]
    if not v["dns_listen"]:
        errors.append("dns_listen is empty: name at least one address, or any for all of IPv4.")
    errors += [
        f"dns_recursion_clients holds {network!r}: it must not be the whole world, which would make an open resolver."
        for network in v["dns_recursion_clients"]
        if ipaddress.ip_network(network).prefixlen == 0
    ]
    return errors + dns_anchor_errors(v["dns_trust_anchors"], v["dns_dnssec_validation"])


def _firewall(v: Values) -> list[str]:
    zones = v["firewall_zones"]
    errors = [
        f"firewall_zones.{name} is {group!r}: it must be {GROUP_NUMBER[1]}."
        for name, group in zones.items()
        if not GROUP_NUMBER[0](group)
    ]
    errors += [f"firewall_zones: {name!r} is no name of a zone: it must be {LINK[1]}." for name in zones if not LINK[0](name)]
    known = ", ".join(zones) or "(none)"
    for number, rule in enumerate(v["firewall_rules"]):
        where = f"firewall_rules[{number}] ({rule['flow']})"
        for key in ("iif", "oif"):
            if rule.get(key) is not None and rule[key] not in zones:
                errors.append(f"{where}: {key} is {rule[key]!r}: allowed are the zones of firewall_zones: {known}.")
        if not rule["ports"]:
            errors.append(f"{where}: ports is empty: name at least one port.")
    if v["firewall_pat"] and (missing := [key for key in ("network", "address", "idle") if v["firewall_pat"].get(key) is None]):
        errors.append(f"firewall_pat lacks {', '.join(missing)}: give network, address and idle, or nothing at all.")
    for key in ("public", "private"):
        errors += _twice(
            (row[key] for row in v["firewall_static"]), f"firewall_static: {{}} is {key} twice: addresses must differ."
        )
    if (v["firewall_static"] or v["firewall_pat"] or v["firewall_bogons"]) and not zones:
        errors.append(
            "firewall_zones is empty, but firewall_static, firewall_pat and firewall_bogons need its first zone: name it."
        )
    return errors


def _hardening(v: Values) -> list[str]:
    errors = []
    for name in (
        "hardening_sysctl",
        "hardening_sysctl_ipv6_on",
        "hardening_sysctl_ipv6_off",
        "hardening_kernel_sysctl",
        "hardening_sysctl_extra",
    ):
        errors += [said.replace("hardening_sysctl:", f"{name}:") for said in _said(hardening_sysctl_lines, v[name])]
    if not v["hardening_kernel_sysctl_apply"] and not v["hardening_kernel_sysctl_reason"].strip():
        errors.append("hardening_kernel_sysctl_reason is '': it must say why hardening_kernel_sysctl_apply is false.")
    for number, row in enumerate(v["hardening_setid_allowed"]):
        if not row["reason"].strip():
            errors.append(f"hardening_setid_allowed[{number}].reason is '': it must say why {row['path']} keeps its bit.")
    for name in ("hardening_file_modes", "hardening_file_modes_extra"):
        errors += [f"{name}[{number}].{said}" for number, row in enumerate(v[name]) for said in row_errors(row)]
    errors += _twice(
        (row["path"] for row in [*v["hardening_file_modes"], *v["hardening_file_modes_extra"]]),
        "hardening_file_modes and hardening_file_modes_extra: the path {} is there twice: a path has one row, in one of them.",
    )
    return errors


def _network(v: Values) -> list[str]:
    errors = []
    links = v["network_links"]
    for number, link in enumerate(links):
        where = f"network_links[{number}] ({link['name']})"
        if not link.get("mac") and not link.get("device"):
            errors.append(f"{where} has neither mac nor device: give one, by which the link is found.")
        if not link["addresses"]:
            errors.append(f"{where}.addresses is empty: give at least one address with its prefix length.")
    errors += _twice((link["name"] for link in links), "network_links: the name {} is there twice: names must differ.")
    errors += _twice(
        (link.get("mac") for link in links), "network_links: the mac {} is there twice: MAC addresses must differ."
    )
    # One that holds on its link alone may be on each.
    given = [ipaddress.ip_interface(row).ip for link in links for row in [*link["addresses"], *(link.get("addresses6") or [])]]
    errors += _twice(
        (address for address in given if not address.is_link_local),
        "network_links: the address {} is there twice: addresses must differ.",
    )
    defaults = [link["name"] for link in links if link.get("gateway") and ":" not in link["gateway"]]
    if len(defaults) > 1:
        errors.append(f"network_links: {', '.join(defaults)} each have a gateway: a host has one default gateway.")
    return errors


def _pop3(v: Values) -> list[str]:
    errors = [f"{error.rstrip('.')}." for error in pop3_errors(v["pop3_users"], v["pop3_allowed_clients"])]
    errors += _twice((user.get("uid") for user in v["pop3_users"]), "pop3_users: the uid {} is there twice: uids must differ.")
    if not v["pop3_lmtp_socket"].startswith("/run/dovecot/"):
        errors.append(
            f"pop3_lmtp_socket is {v['pop3_lmtp_socket']!r}: it must be below /run/dovecot, as Dovecot may write nowhere else in /run."
        )
    if v["pop3_tls_pem"] and v["pop3_tls_key"] != v["pop3_tls_certificate"]:
        errors.append(
            "pop3_tls_key is another file than pop3_tls_certificate: with pop3_tls_pem, both are in the one file that it becomes."
        )
    # With pop3_tls_pem nothing is made here.
    both = {posixpath.normpath(v[name]) for name in ("pop3_tls_certificate", "pop3_tls_key")}
    if v["pop3_tls_self_signed"] and not v["pop3_tls_pem"] and len(both) == 1:
        errors.append(
            f"pop3_tls_key is {v['pop3_tls_key']!r}, as pop3_tls_certificate is: with pop3_tls_self_signed they must be two files, or "
            "a new certificate would be written over the key."
        )
    if not v["pop3_quota_socket"].startswith("/run/dovecot/"):
        errors.append(
            f"pop3_quota_socket is {v['pop3_quota_socket']!r}: it must be below /run/dovecot, as Dovecot may write nowhere else in /run."
        )
    errors += pop3_sieve_errors(v["pop3_sieve_rules"], v["pop3_imap"])
    if v["pop3_sieve_rules"] and not v["pop3_sieve"]:
        errors.append("pop3_sieve_rules is not empty, but pop3_sieve is false: nothing would look at them.")
    if not v["pop3_listen"]:
        errors.append("pop3_listen is empty: name at least one address, or * for all of IPv4.")
    return errors


def _sendmail(v: Values) -> list[str]:
    errors = []
    profile, domains = v["sendmail_profile"], v["sendmail_domains"]
    names = [row["name"] for row in domains]
    if profile != "client" and not domains:
        errors.append(f"sendmail_domains is empty: a {profile} needs at least one {{name, next_hop}}.")
    if profile == "client" and not v["sendmail_smart_host"]:
        errors.append("sendmail_smart_host is empty: a client needs the address of the host that it submits to.")
    if profile == "client":
        # Who hands over mail at once may look up a name; what waits is sent by a unit that may speak to addresses only.
        hops = {"sendmail_smart_host": v["sendmail_smart_host"]}
        hops |= {f"sendmail_smart_hosts_spare[{number}]": hop for number, hop in enumerate(v["sendmail_smart_hosts_spare"])}
        errors += [
            f"{name} is {hop!r}, and sendmail_profile client: it must be {ADDRESS[1]}, as the queue runner of a client reaches nothing by a name."
            for name, hop in hops.items()
            if hop and not ADDRESS[0](hop)
        ]
    if profile == "gateway":
        errors += [
            f"{name} is {v[name]!r}, and sendmail_profile gateway: it must be empty, as a gateway sends to the MX that it looks up."
            for name in ("sendmail_smart_host", "sendmail_smart_hosts_spare")
            if v[name]
        ]
        if not v["sendmail_domain"]:
            errors.append(
                "sendmail_domain is empty, and sendmail_profile gateway: it must be the domain whose postmaster gets mail for the gateway's "
                "own addresses."
            )
        if not v["sendmail_recipients"]:
            errors.append("sendmail_recipients is empty: a gateway without recipients would refuse all mail with 550 5.1.1.")
        errors += [
            f"sendmail_domains: {row['name']} has no next_hop: a gateway needs its store's address."
            for row in domains
            if not row.get("next_hop")
        ]
        errors += [
            f"sendmail_recipients: {address!r} is in none of sendmail_domains: allowed are {', '.join(names) or '(none)'}."
            for address in v["sendmail_recipients"]
            if address.rpartition("@")[2] not in names
        ]
    errors += _twice(names, "sendmail_domains: {} is there twice: domains must differ.")
    for name in ("sendmail_relay_from", "sendmail_limits_exempt", "sendmail_block_lists_exempt"):
        errors += [f"{name}: {said}" for network in v[name] if NETWORK[0](network) for said in _said(connect_keys, network)]
        errors += [
            f"{name} holds {network!r}: it must not be the whole world, which would make an open relay or no limits."
            for network in v[name]
            if NETWORK[0](network) and ipaddress.ip_network(network).prefixlen == 0
        ]
    errors += [
        f"sendmail_aliases.{name} is {targets!r}: it must be a list of at least one user, alias, address or pipe."
        for name, targets in v["sendmail_aliases"].items()
        if not isinstance(targets, list) or not targets
    ]
    errors += [
        f"sendmail_programs.{name} is {path!r}: it must be an absolute path."
        for name, path in v["sendmail_programs"].items()
        if not str(path).startswith("/")
    ]
    if v["sendmail_forward_path"] and not v["sendmail_forward_path"].startswith("/"):
        errors.append(
            f"sendmail_forward_path is {v['sendmail_forward_path']!r}: it must be an absolute path with $u for the user, or empty."
        )
    # 0 is no limit.
    if (v["sendmail_queue_load"] or float("inf")) > (v["sendmail_refuse_load"] or float("inf")):
        errors.append(
            f"sendmail_queue_load is {v['sendmail_queue_load']} and sendmail_refuse_load {v['sendmail_refuse_load']}: "
            "the first must not be more, or mail would be refused before it is only queued."
        )
    if v["sendmail_warn_hours"] >= 24 * v["sendmail_return_days"]:
        errors.append(
            f"sendmail_warn_hours is {v['sendmail_warn_hours']} and sendmail_return_days {v['sendmail_return_days']}: "
            "a sender must be warned before the message is returned."
        )
    if v["sendmail_max_headers"] > v["sendmail_max_message_size"]:
        errors.append(
            f"sendmail_max_headers is {v['sendmail_max_headers']} and sendmail_max_message_size {v['sendmail_max_message_size']}: "
            "headers are part of the message, so the first must not be more."
        )
    if v["sendmail_tls"] and profile == "client":
        errors.append("sendmail_tls is true: a client has no daemon that could have a certificate; it encrypts by itself.")
    if v["sendmail_sts_port"] and not v["sendmail_tls"]:
        errors.append(
            f"sendmail_sts_port is {v['sendmail_sts_port']}, but sendmail_tls is false: whoever asks for verified TLS would get no mail."
        )
    verified = any(row["level"] == "verified" for row in v["sendmail_tls_policy"])
    if v["sendmail_sts_port"] and verified and not v["sendmail_tls_issuers"]:
        errors.append(
            "sendmail_tls_issuers is empty, and sendmail_sts_port is set: anybody in the world whom a public authority knows by a name could "
            "be one that sendmail_tls_policy wants verified. Name the authorities of sendmail_tls_authority, as "
            "openssl x509 -noout -subject -nameopt compat does."
        )
    if v["sendmail_tls_policy"] and not v["sendmail_tls"]:
        errors.append(
            "sendmail_tls_policy is not empty, but sendmail_tls is false: without a certificate nothing of it would hold."
        )
    if v["sendmail_tls_public"] and (not v["sendmail_tls"] or not v["sendmail_tls_public"].startswith("/")):
        errors.append(
            f"sendmail_tls_public is {v['sendmail_tls_public']!r}: it must be an absolute path or empty, and needs sendmail_tls."
        )
    if v["sendmail_tls_pem"] and v["sendmail_tls_key"] != v["sendmail_tls_certificate"]:
        errors.append(
            "sendmail_tls_key is another file than sendmail_tls_certificate: with sendmail_tls_pem, both are in the one file that it becomes."
        )
    errors += sendmail_tls_errors(v["sendmail_tls_policy"]) + _submission(v) + sendmail_quota_errors(v["sendmail_quotas"])
    if v["sendmail_quotas"] and profile == "client":
        errors.append(
            "sendmail_quotas is not empty, but sendmail_profile is client: only a gateway or a store accepts mail for mailboxes."
        )
    if v["sendmail_quota_peers"] and profile != "store":
        errors.append(
            f"sendmail_quota_peers is not empty, but sendmail_profile is {profile}: only a store has mailboxes to be asked about."
        )
    return errors + sendmail_filter_errors(v["sendmail_block_lists"], v["sendmail_header_checks"], v["sendmail_milters"])


def _submission(v: Values) -> list[str]:
    ports = {name: v[name] for name in ("sendmail_submission_port", "sendmail_submissions_port") if v[name]}
    errors = sendmail_sender_errors(v["sendmail_senders"])
    if not ports:
        return errors
    named = " and ".join(f"{name} is {port}" for name, port in ports.items())
    if v["sendmail_profile"] != "store":
        return [*errors, f"{named}, but sendmail_profile is {v['sendmail_profile']}: only a store has users who could log in."]
    if not v["sendmail_tls"]:
        errors.append(f"{named}, but sendmail_tls is false: passwords are taken over TLS only.")
    if len({25, *ports.values()}) <= len(ports):
        errors.append(f"{named}: the ports must differ from each other and from 25.")
    return errors


# The groups that every Debian system has from its beginning (package base-passwd), by gid; wheel and smmsp are none of them.
DEBIAN_GROUPS = {
    0: "root", 1: "daemon", 2: "bin", 3: "sys", 4: "adm", 5: "tty", 6: "disk", 7: "lp", 8: "mail", 9: "news", 10: "uucp", 12: "man",
    13: "proxy", 15: "kmem", 20: "dialout", 21: "fax", 22: "voice", 24: "cdrom", 25: "floppy", 26: "tape", 27: "sudo", 29: "audio",
    30: "dip", 33: "www-data", 34: "backup", 37: "operator", 38: "list", 39: "irc", 40: "src", 42: "shadow", 43: "utmp", 44: "video",
    45: "sasl", 46: "plugdev", 50: "staff", 60: "games", 100: "users", 65534: "nogroup",
}  # fmt: skip


def _smmsp(v: Values) -> list[str]:
    gids = {name: v.get(name) for name in ("smmsp_gid", "smmsp_wheel_gid")}
    errors = [
        f"{name} is {gid}, which is the group {DEBIAN_GROUPS[gid]} on every Debian host: choose a gid that is free, or leave it null."
        for name, gid in gids.items()
        if gid in DEBIAN_GROUPS
    ]
    if gids["smmsp_gid"] is not None and gids["smmsp_gid"] == gids["smmsp_wheel_gid"]:
        errors.append(f"smmsp_gid and smmsp_wheel_gid are both {gids['smmsp_gid']}: two groups cannot have one gid.")
    return errors


def _ssh(v: Values) -> list[str]:
    errors = []
    if bad := ssh_bad_keys(v["ssh_authorized_keys"]):
        errors.append(
            f"ssh_authorized_keys holds what is no public key of a kind in use here ({', '.join(KEY_TYPES)}), one a line: {', '.join(bad)}."
        )
    for name in (
        "ssh_allow_users",
        "ssh_ports",
        "ssh_host_keys",
        "ssh_kex_algorithms",
        "ssh_ciphers",
        "ssh_macs",
        "ssh_pubkey_algorithms",
    ):
        if name in v and not v[name]:
            errors.append(f"{name} is empty: with nothing in it, nobody could log in.")
    if v["ssh_permit_root"] == "no" and set(v.get("ssh_allow_users", [])) == {"root"}:
        errors.append('ssh_permit_root is "no" and ssh_allow_users names root alone: nobody could log in; name another user.')
    return errors


def _syslog(v: Values) -> list[str]:
    errors = [
        f"{error.rstrip('.')}."
        for error in syslog_errors(
            v["syslog_forward"], v["syslog_listen"], v["syslog_senders"], v["syslog_inputs"], v.get("syslog_name", "localhost")
        )
    ]
    if v["syslog_retry_seconds"] > v["syslog_retry_seconds_max"]:
        errors.append(
            f"syslog_retry_seconds is {v['syslog_retry_seconds']} and syslog_retry_seconds_max {v['syslog_retry_seconds_max']}: "
            "the first pause must not be longer than the longest."
        )
    return errors


def _tripwire(v: Values) -> list[str]:
    errors = [
        f"{name} is missing, too short or holds other characters: it must be at least 12 printable ASCII characters."
        for name in ("tripwire_site_passphrase", "tripwire_local_passphrase")
        if not re.match(r"^[ -~]{12,}\Z", str(v.get(name)))
    ]
    if not v["tripwire_paths"]:
        errors.append("tripwire_paths is empty: name at least one rule, or nothing would be watched.")
    errors += _twice(
        (row["name"] for row in v["tripwire_paths"]), "tripwire_paths: the name {} is there twice: names must differ."
    )
    errors += _twice(
        (path for row in v["tripwire_paths"] for path in row["paths"]),
        "tripwire_paths: {} is there twice: Tripwire takes a path once.",
    )
    return errors


def _vpn(v: Values) -> list[str]:
    return vpn_peer_errors(v["vpn_peers"])


CHECKS: dict[str, Callable[[Values], list[str]]] = {
    "acme": _acme,
    "base": _base,
    "content_filter": _content_filter,
    "resolver": lambda v: dns_anchor_errors(v["resolver_trust_anchors"], "auto", "resolver_trust_anchors"),
    "dns": _dns,
    "firewall": _firewall,
    "hardening": _hardening,
    "mta_sts": lambda v: [] if v["mta_sts_mx"] else ["mta_sts_mx is empty: name at least one server that takes mail."],
    "mta_sts_resolver": lambda v: (
        []
        if not v["mta_sts_resolver_authorities_pem"] or tls_subjects(v["mta_sts_resolver_authorities_pem"])
        else ["mta_sts_resolver_authorities_pem holds no certificate that can be read: it must be PEM, or empty."]
    ),
    "network": _network,
    "pop3": _pop3,
    "sendmail": _sendmail,
    "smmsp": _smmsp,
    "ssh": _ssh,
    "syslog": _syslog,
    "tcp_wrappers": lambda v: _said(tcp_wrappers_rules, v["tcp_wrappers_allow"]),
    "tripwire": _tripwire,
    "vpn": _vpn,
}


def wrong(specs: Mapping[str, Any], values: Values, roles: Iterable[str]) -> list[str]:
    """What is wrong with values whose types are right. A value of a wrong form is not held against others."""
    return value_errors(specs, values) + form_errors(specs, values) + hidden_errors(specs, values) or [
        said for role in roles if role in CHECKS for said in CHECKS[role](values)
    ]
