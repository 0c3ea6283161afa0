#!/usr/bin/env python3
"""Write what `ansible-doc` shows of the filters: plugins/filter/NAME.yml for each, from the functions' own words and signatures.

PYTHONPATH=.:collections python3 tools/filter_docs.py     # in the project's environment; `make docs` sees to that
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FILTERS = ROOT / "plugins/filter"
# Of use to the lab alone, and not part of what is built.
LEFT_OUT = {"lab"}
HEAD = "---\n# Made by `make docs` from plugins/filter/{module}.py.\n"

# What the filters are given, by the names of their arguments.
ARGUMENTS = {
    "acme": "Which hosts have certificates of an ACME authority, and of which, as in C(site_acme).",
    "address": "An address; for C(ssh_lockout) what sshd says in SSH_CONNECTION, empty where nothing is known.",
    "addresses": "An address, or several that are tried in turn.",
    "aliases": "Names, each with a list of users, aliases, addresses and pipes.",
    "allow": "Entries of C(daemon) and C(clients), as in C(tcp_wrappers_allow).",
    "anchors": "Trust anchors, as in C(dns_trust_anchors).",
    "backups": "Backups, each with its C(host), C(path) and C(hours).",
    "before": "The rows of an earlier report.",
    "beyond": "Name of the zone out there.",
    "certificate": "A certificate, PEM; with its key and others it may be.",
    "certificates": "Certificates to be had of an ACME authority, as in C(acme_certificates).",
    "checks": "Header checks, as in C(sendmail_header_checks).",
    "client_connections": "Connections at once from one address, 0 for no limit.",
    "client_rate": "Connections a minute from one address, 0 for no limit.",
    "connection": "Ansible's connection plugin.",
    "contact": "Mailbox in the SOA record.",
    "directory": "Directory that keys lie in.",
    "dkim_keys": "Keys that sign mail, each with its C(domain) and C(selector).",
    "dnssec": "Whether zones are signed, as in C(site_dnssec).",
    "dmarc": "What others are to do with mail that only claims to be ours, as in C(site_dmarc).",
    "default": "What it is otherwise.",
    "domain": "The domain that hosts are named in, or that of the users' addresses.",
    "domains": "Mail domains: their names, or entries of C(name) with the store or the next hop.",
    "entries": "Mail domains, as in C(site_domains).",
    "exempt": "Addresses and networks without limits.",
    "filters": "Whether the host filters packets, its own as well.",
    "friends": "Names that take mail from listed clients too.",
    "gate": "Host that packets are filtered at; the firewall where none is named.",
    "gateways": "Names of the gateways.",
    "greet_pause": "Milliseconds before the greeting, 0 for no pause.",
    "groups": "The inventory's groups, each with its hosts.",
    "have": "What M(widgets.mail.host_state) says of users or groups.",
    "hidden": "Hosts that must not be known outside.",
    "host": "Name of a host in the site's tables.",
    "hostname": "Full name of the host.",
    "hosts": "Names of hosts.",
    "hostvars": "Variables of all hosts.",
    "ipv6": "Whether clients may come over IPv6.",
    "keys": "Public keys, one a line of an authorized_keys file.",
    "known": "Names of variables that there are.",
    "knows_public": "Hosts that carry their public address on the link.",
    "limits": "Limits: C(queue_hours) and C(certificate_days).",
    "lists": "DNS block lists, as in C(sendmail_block_lists).",
    "mailer": "The mailer that takes mail there.",
    "milters": "Milters, as in C(sendmail_milters).",
    "name": "A name: of a zone, or of this host.",
    "names": "Names; for C(ssh_host_keys) further names and addresses by host.",
    "nameservers": "Names of the name servers, the first being the primary.",
    "networks": "Addresses and networks.",
    "not_yet": "Checks of what the site has not got yet.",
    "of_hosts": "What hosts say of themselves.",
    "options": "Options of sendmail, each with C(m4), C(option) and C(value).",
    "policy": "What TLS must be with whom, as in C(sendmail_tls_policy).",
    "pem": "Certificates, PEM.",
    "peers": "Peers of a tunnel, as in C(vpn_peers).",
    "pix": "What a flow table cannot know of a PIX, the inventory's C(site_pix).",
    "places": "Where to ask about the mailbox of each address, as in C(sendmail_quotas).",
    "programs": "Programs that an alias may lead to, name to absolute path.",
    "quota": "What a user may keep, as in C(site_quota).",
    "recipients": "Addresses that exist.",
    "records": "Records of your own, beside those that are derived.",
    "relay_from": "Addresses and networks that may relay to anywhere.",
    "router": "Name of the border router.",
    "routes": "Recipients whose mailbox is elsewhere, as in C(sendmail_routes).",
    "rows": "Rows of a report, each with its C(check), C(subject), C(verdict), C(found) and C(wanted).",
    "rules": "Entries of C(header), C(value) and C(folder), as in C(pop3_sieve_rules).",
    "seed": "Something that is this site's own.",
    "readers": "Roles, each with its file in which a certificate would be named.",
    "outward": "Whether others' policies are kept to, as in C(site_mta_sts_outward).",
    "issuers": "Names of the authorities that may vouch for who is to be verified, as in C(sendmail_tls_issuers).",
    "own_certificate": "File of the certificate that own hosts know this one by; empty where all are shown the same.",
    "sts": "What senders are asked to keep to, as in C(site_mta_sts).",
    "mode": "C(testing), C(enforce) or C(none).",
    "mx": "Full names of the servers that take mail.",
    "max_age": "Seconds that a policy may be remembered.",
    "seen": "What M(widgets.mail.selfcheck_look) has seen.",
    "senders": "Address to host name of each host that is heard; for submission each user's own addresses, as in C(sendmail_senders).",
    "service": "Name of a service in the site's tables.",
    "settings": "Kernel settings, a * standing for every link.",
    "signatures": "Signatures, as in C(content_filter_signatures).",
    "servers": "Time servers, as in C(base_time_servers).",
    "site": "The site: C(zones), C(hosts), C(services), C(flows), C(pat), C(domain) and C(domains) of an inventory.",
    "sources": "Addresses and networks.",
    "ssh_connection": "What sshd says of the connection that Ansible came by; empty where it came another way.",
    "stores": "Names of the stores.",
    "time": "The time, in UTC.",
    "tls": "Certificates and what must be encrypted, as in C(site_tls); for C(sendmail_access) as in C(sendmail_tls_policy).",
    "tlsa_keys": "Keys of TLSA records, as P(widgets.mail.tlsa_keys#lookup) gives them.",
    "ttl": "Seconds that a record may be remembered.",
    "unlisted": "Clients that are let in whatever a block list says.",
    "user": "Ansible's login name, empty where it is not known.",
    "users": "Users: their names, or entries as in C(site_users).",
    "usual": "C(quota_storage) and C(quota_messages) of users who have none of their own.",
    "value": "A certificate, as in C(site_tls): its text, or the path of a file.",
    "version": "Version of Dovecot, V(2.3) or V(2.4).",
    "view": "Name of a view.",
    "wanted": "Accounts as they should be, each with its C(name).",
    "zones": "Zones and their records, as in C(dns_zones).",
}
KINDS = (
    (r"^(str|int|float|bool)\b", None),
    (r"^(dict|Mapping|Site|Pix|Peer|Zone|User)\b", "dict"),
    (r"^(list|Iterable|Sequence|tuple)\b", "list"),
)


def kind(annotation: Any) -> str:
    """The type of an annotation as Ansible names it."""
    for expression, name in KINDS:
        if found := re.match(expression, str(annotation)):
            return name or found[1]
    return "raw"


def markup(text: str) -> str:
    """A docstring's marks as those of Ansible's documentation."""
    return re.sub(r"`+([^`]+)`+", r"C(\1)", " ".join(text.split()))


def document(name: str, function: Callable[..., Any], module: str) -> str:
    """The text of a filter's file."""
    words = inspect.getdoc(function) or ""
    first, _dot, rest = words.partition("\n\n")
    signature = inspect.signature(function)
    given, *more = signature.parameters.values()
    options: dict[str, Mapping[str, Any]] = {
        "_input": {"description": ARGUMENTS[given.name], "type": kind(given.annotation), "required": True}
    }
    for argument in more:
        option: dict[str, Any] = {"description": ARGUMENTS[argument.name], "type": kind(argument.annotation)}
        if argument.default is inspect.Parameter.empty:
            option["required"] = True
        elif argument.default not in (None, ()):
            option["default"] = argument.default
        options[argument.name] = option
    required = ", ".join(argument.name for argument in more if argument.default is inspect.Parameter.empty)
    call = f"{given.name} | widgets.mail.{name}" + (f"({required})" if required else "")
    page = {
        "DOCUMENTATION": {
            "name": name,
            "author": "The widgets.mail developers (@widgets)",
            "version_added": "0.1.0",
            "short_description": markup(first).split(". ")[0].split("; ")[0].rstrip("."),
            "description": [markup(part) for part in (first, *rest.split("\n\n")) if part],
            **({"positional": ", ".join(argument.name for argument in more)} if more else {}),
            "options": options,
        },
        "EXAMPLES": f'- name: Show it\n  ansible.builtin.debug:\n    msg: "{{{{ {call} }}}}"\n',
        "RETURN": {"_value": {"description": markup(first), "type": kind(signature.return_annotation)}},
    }
    return HEAD.format(module=module) + yaml.dump(page, sort_keys=False, width=120, allow_unicode=True, Dumper=Indented)


class Indented(yaml.SafeDumper):
    """Lists a step further in than what holds them, as the linters want them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


@cache
def pages() -> dict[Path, str]:
    """Every file that is made here, as it should be."""
    out = {}
    for path in sorted(FILTERS.glob("*.py")):
        if path.stem in LEFT_OUT:
            continue
        module = importlib.import_module(f"ansible_collections.widgets.mail.plugins.filter.{path.stem}")
        for name, function in module.FilterModule().filters().items():
            out[FILTERS / f"{name}.yml"] = document(name, function, path.stem)
    return out


if __name__ == "__main__":
    made = pages()
    for page in set(FILTERS.glob("*.yml")) - set(made):
        page.unlink()
    for page, text in made.items():
        page.write_text(text, encoding="utf-8")
