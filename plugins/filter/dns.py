"""Zones of the site's name server: derived from the inventory, checked, and written as master files.

A *zone entry* is what the role `dns` takes in `dns_zones`: ``name``, ``views``, ``mname``, ``rname``, ``ttl`` and
``records``, each a ``name``, ``type``, ``value`` and optionally a ``ttl``; ``dnssec`` says whether it is signed. Record names are relative to the zone, ``@``
is the zone itself; names in values are absolute and end in a dot.

`dns_zones` makes the entries of a site; the site dict is the one of the filters `policy_*`. Two rules hold for all of
them: what hosts outside see is made of `public` addresses alone, and a mail domain leads to the gateways in every view.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import (
    Site,
    host_address6,
    host_addresses,
    level_zones,
    tunnel_zones,
    zone_networks,
)

try:
    from ansible.errors import AnsibleFilterError
except ImportError:  # the functions also serve programs that run without Ansible
    AnsibleFilterError = ValueError

Zone = dict[str, Any]
Record = dict[str, Any]

INTERNAL = "internal"
EXTERNAL = "external"
VIEWS = (INTERNAL, EXTERNAL)
SERIAL = "@SERIAL@"  # dns_files puts the number there: it knows what is on the host
TTL = 3600  # seconds, of a zone that says nothing else
CHUNK = 255  # octets in one string of a TXT record (RFC 1035, 3.3)

LABELS = re.compile(
    r"^(?=.{1,254}$)([A-Za-z0-9_*]([A-Za-z0-9_/-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_*]([A-Za-z0-9_/-]{0,61}[A-Za-z0-9_])?\.?\Z"
)
ABSOLUTE = re.compile(r"^(?=.{1,254}$)([A-Za-z0-9_]([A-Za-z0-9_/-]{0,61}[A-Za-z0-9_])?\.)+\Z|^\.\Z")
TLSA = re.compile(r"^[0-3] [01] [0-2] ([0-9A-Fa-f]{2})+\Z")
DS = re.compile(
    r"^(?P<name>\S+)( [0-9]+)? IN DS (?P<tag>[0-9]{1,5}) (?P<algorithm>[0-9]{1,3}) (?P<type>[0-9]{1,3}) (?P<digest>([0-9A-Fa-f]{8} ?)+)\Z"
)
NAMED = {"NS", "CNAME", "PTR"}  # types whose value is one name
NUMBERED = {"MX": 1, "SRV": 3}  # types whose value is numbers and then one name


def fqdn(name: str, domain: str) -> str:
    """The absolute name of a host of the domain."""
    return f"{name}.{domain}."


def reverse_name(address: str) -> str:
    """The absolute name that a PTR record of the address has."""
    return ipaddress.ip_address(address).reverse_pointer + "."


def reverse_zone(network: str, address: str, name: str | None = None) -> str:
    """The reverse zone in which the PTR record of an address of the network lies.

    Reverse names are cut at octets (nibbles in IPv6), so it is the zone of the largest such block that holds no more
    than the network does, but at least a /24 (/64). A network smaller than that gets its names by the provider's
    delegation: either of the whole block, or of a zone of its own (RFC 2317), which is then given as `name`.
    """
    if name:
        return name.rstrip(".")
    net, ip = ipaddress.ip_network(network), ipaddress.ip_address(address)
    bits, most = (8, 3) if net.version == 4 else (4, 16)
    total = net.max_prefixlen // bits
    keep = min(-(-net.prefixlen // bits), most)
    return ".".join(ip.reverse_pointer.split(".")[total - keep :])


def _record(name: str, kind: str, value: str) -> Record:
    return {"name": name, "type": kind, "value": value}


def _public(site: Site, host: str, role: str) -> list[str]:
    """The addresses by which the world finds a host that it must find."""
    if host not in site["hosts"]:
        raise AnsibleFilterError(f"dns_zones: {role} {host!r} is not a host of site_hosts")
    if not site["hosts"][host].get("public"):
        raise AnsibleFilterError(f"dns_zones: {role} {host!r} has no public address in site_hosts, and the world must find it")
    return _known(site, host)


def _known(site: Site, host: str) -> list[str]:
    """The addresses that the world may know of a host: its public one, and with that the IPv6 address, which nobody translates."""
    public, other = site["hosts"][host].get("public"), host_address6(site, host)
    return [str(public), *([other] if other else [])] if public else []


def _hosts(site: Site, view: str) -> dict[str, list[str]]:
    """Names and addresses of a view: of each family one for a name; inside, those in the host's most trusted zone."""
    if view == EXTERNAL:
        return {name: _known(site, name) for name in site["hosts"] if _known(site, name)}
    levels = set(level_zones(site))
    return {name: host_addresses(site, name) for name, host in site["hosts"].items() if levels & set(host["interfaces"])}


def _policy(sender: bool, addresses: Iterable[str]) -> str:
    """An SPF record: the gateways' addresses and nothing else, or nothing at all."""
    return " ".join(["v=spf1", *(f"ip{6 if ':' in address else 4}:{address}" for address in addresses if sender), "-all"])


def _forward(
    site: Site, view: str, name: str, nameservers: list[str], gateways: list[str], mail: set[str], children: list[str]
) -> list[Record]:
    """Records of one forward zone in one view."""
    domain = site["domain"]
    public = [address for host in gateways for address in _public(site, host, "gateway")]
    out = [_record("@", "NS", fqdn(host, domain)) for host in nameservers]
    # Equal preference: gateways share the load, and none of them is a back door with weaker checks.
    out += [_record("@", "MX", f"10 {fqdn(host, domain)}") for host in gateways if name in mail]
    out.append(_record("@", "TXT", _policy(name in mail, public)))
    for child in children:
        label = child.removesuffix(f".{name}")
        out += [_record(label, "NS", fqdn(host, domain)) for host in nameservers]
    if name != domain:
        return out
    for host, addresses in _hosts(site, view).items():
        out += [_record(host, "AAAA" if ":" in address else "A", address) for address in addresses]
        # A gateway greets by its own name, which receivers check as well (RFC 7208, 2.3); no other host may be forged.
        out.append(_record(host, "TXT", _policy(host in gateways, _known(site, host))))
    return out


def _reverse(site: Site, view: str, nameservers: list[str]) -> dict[str, list[Record]]:
    """Records of all reverse zones of one view, by zone."""
    levels = level_zones(site)
    domain = site["domain"]
    pointers: dict[str, str] = {}  # address -> host
    for host, data in site["hosts"].items():
        if view == INTERNAL:
            feet = [data["interfaces"][z] for z in levels if z in data["interfaces"]]
            pointers.update({str(foot[key]): host for foot in feet for key in ("address", "address6") if foot.get(key)})
        pointers.update(dict.fromkeys(_known(site, host), host))
    # The world's IPv4 addresses are all in the open zone, its IPv6 addresses where the hosts are.
    nets = [
        (zone, net)
        for zone in levels
        for net in zone_networks(site, zone)
        if view == INTERNAL or zone == levels[0] or ":" in net
    ]
    out: dict[str, list[Record]] = {}
    for zone, net in nets:
        named = site["zones"][zone].get("reverse_zone") if ":" not in net else None
        for address in sorted(pointers, key=lambda a: (":" in a, ipaddress.ip_address(a))):
            if ipaddress.ip_address(address) not in ipaddress.ip_network(net):
                continue
            name = reverse_zone(net, address, named)
            # In a zone after RFC 2317 the last octet is the label, else what is left of the full name.
            full = reverse_name(address).rstrip(".")
            label = full.partition(".")[0] if named else full.removesuffix(f".{name}")
            records = out.setdefault(name, [_record("@", "NS", fqdn(host, domain)) for host in nameservers])
            records.append(_record(label, "PTR", fqdn(pointers[address], domain)))
    return out


def dns_zones(
    site: Site,
    nameservers: list[str],
    gateways: list[str],
    hidden: Iterable[str] = (),
    contact: str = "postmaster",
    ttl: int = TTL,
    records: Iterable[dict[str, Any]] = (),
    dnssec: bool = False,
) -> list[Zone]:
    """All zones of a site in both views [NET-8].

    nameservers and gateways are host names, the first name server being the primary; hidden are hosts that must not be
    known outside, an error if data would publish one. contact is the mailbox in the SOA record. records adds to what is
    derived: each has ``zone``, ``name``, ``type``, ``value`` and optionally ``ttl`` and ``views``. dnssec has the zones
    signed that the world sees, in both views: who validates takes the answers of either.
    """
    if not nameservers:
        raise AnsibleFilterError("dns_zones: a zone needs a name server, nameservers is empty")
    domain = site["domain"]
    mail = {entry["name"] for entry in site["domains"]}
    for host in nameservers:
        _public(site, host, "name server")
    for host in [*hidden, *(entry["store"] for entry in site["domains"])]:
        if site["hosts"].get(host, {}).get("public"):
            raise AnsibleFilterError(
                f"dns_zones: host {host!r} must not be known outside, but site_hosts gives it a public address"
            )
    names = [domain, *sorted(mail - {domain})]
    shared = {*names, *_reverse(site, EXTERNAL, nameservers)}
    out: list[Zone] = []
    for view in VIEWS:
        data = {}
        for name in names:
            children = [child for child in names if child.endswith(f".{name}")]
            data[name] = _forward(site, view, name, nameservers, gateways, mail, children)
        data.update(_reverse(site, view, nameservers))
        for extra in records:
            if extra["zone"] not in data and view in extra.get("views", VIEWS):
                raise AnsibleFilterError(
                    f"dns_zones: record {extra['name']!r} is for {extra['zone']!r}, which is none of {', '.join(data)}"
                )
            if view in extra.get("views", VIEWS):
                data[extra["zone"]].append({key: extra[key] for key in ("name", "type", "value", "ttl") if key in extra})
        common = {"mname": fqdn(nameservers[0], domain), "rname": f"{contact}.{domain}.", "ttl": ttl}
        signed = {name: {"dnssec": True} if dnssec and name in shared else {} for name in data}
        out += [{"name": name, "views": [view], **common, **signed[name], "records": rows} for name, rows in data.items()]
    return out


def dns_clients(site: Site) -> list[str]:
    """The networks that get the internal view: those of all zones but the open one, and those beyond tunnels."""
    return [net for zone in [*level_zones(site)[1:], *tunnel_zones(site)] for net in zone_networks(site, zone)]


def zone_path(view: str, name: str) -> str:
    """A zone's file below the configuration directory; a slash in a name (RFC 2317) makes no directory."""
    return f"zones/{view}/{name.replace('/', '_')}"


def _value_error(kind: str, value: str) -> str | None:
    """What is wrong with a record's value; named judges the rest, this keeps a value to its line."""
    if not value or re.search(r"[\x00-\x1f\x7f]", value):
        return "is empty or holds control characters"
    if not value.isascii():
        return "is not ASCII, as all of a zone must be"
    words = value.split()
    if kind in ("A", "AAAA"):
        try:
            version = ipaddress.ip_address(value).version
        except ValueError:
            return "is no address"
        return None if version == (4 if kind == "A" else 6) else f"is an IPv{version} address"
    if kind in NAMED and not ABSOLUTE.match(value):
        return "is no absolute name, which ends in a dot"
    if kind in NUMBERED:
        count = NUMBERED[kind]
        if len(words) != count + 1 or not all(w.isdigit() for w in words[:count]) or not ABSOLUTE.match(words[-1]):
            return f"is not {count} number(s) and an absolute name, which ends in a dot"
    if kind == "TLSA" and not TLSA.match(value):
        return "is not usage, selector and matching type (such as 3 1 1) and octets in hexadecimal digits"
    if kind not in ("TXT", "CAA") and re.search(r'[";()\\]', value):
        return 'holds one of " ; ( ) \\'
    return None


def dns_zone_errors(zones: list[Zone]) -> list[str]:
    """What is wrong with zone entries, one sentence each."""
    errors = []
    seen: set[tuple[str, str]] = set()
    for zone in zones:
        name = zone["name"]
        where = f"dns_zones: zone {name!r}"
        if not LABELS.match(name) or name.endswith(".") or "*" in name:
            errors.append(f"{where}: not a domain name without a final dot")
        for view in zone.get("views", VIEWS):
            if view not in VIEWS:
                errors.append(f"{where}: view {view!r} is none of {', '.join(VIEWS)}")
            if (name, view) in seen:
                errors.append(f"{where}: given twice for the view {view}")
            seen.add((name, view))
        for key in ("mname", "rname"):
            if not ABSOLUTE.match(zone[key]):
                errors.append(f"{where}: {key} {zone[key]!r} is no absolute name, which ends in a dot")
        if not any(r["name"] == "@" and r["type"] == "NS" for r in zone["records"]):
            errors.append(f"{where}: no NS record for the zone itself")
        for record in zone["records"]:
            what = f"{where}: record {record['name']!r} {record['type']}"
            if record["name"] != "@" and not LABELS.match(record["name"]):
                errors.append(f"{what}: not a domain name")
            problem = _value_error(record["type"], str(record["value"]))
            if problem:
                errors.append(f"{what}: value {record['value']!r} {problem}")
    return errors + _mixed(zones)


def _mixed(zones: list[Zone]) -> list[str]:
    """A zone has the same keys in all views: one that is signed in one of them and not in the other would be bogus there."""
    kinds: dict[str, set[bool]] = {}
    for zone in zones:
        kinds.setdefault(zone["name"], set()).add(bool(zone.get("dnssec")))
    return [
        f"dns_zones: zone {name!r}: dnssec is true in one view and false in another: who validates would refuse one of them"
        for name, found in kinds.items()
        if len(found) > 1
    ]


def dns_signed(zones: list[Zone]) -> list[str]:
    """The files of zones that the name server signs, below the configuration directory."""
    return [zone_path(view, z["name"]) for z in zones if z.get("dnssec") for view in z.get("views", VIEWS)]


def dns_unsigned(zones: list[Zone]) -> list[str]:
    """The zones that only the inside knows and that nobody signs: to who validates there are no such names."""
    outside = {zone["name"] for zone in zones if EXTERNAL in zone.get("views", VIEWS)}
    return sorted({zone["name"] for zone in zones if not zone.get("dnssec") and zone["name"] not in outside})


def dns_signed_views(zones: list[Zone]) -> dict[str, list[str]]:
    """The zones that the name server signs, each with the views that have it."""
    out: dict[str, list[str]] = {}
    for zone in zones:
        if zone.get("dnssec"):
            out.setdefault(zone["name"], []).extend(zone.get("views", VIEWS))
    return out


def _ds(text: str) -> dict[str, str]:
    """The parts of a DS record, as dnssec-dsfromkey prints it; an error where it is none."""
    found = DS.match(" ".join(text.split()))
    if not found:
        raise ValueError(f"{text!r} is no DS record such as dnssec-dsfromkey prints: NAME IN DS TAG ALGORITHM TYPE DIGEST")
    return {**found.groupdict(), "digest": found["digest"].replace(" ", "")}


def dnssec_errors(dnssec: Any) -> list[str]:
    """What is wrong with `site_dnssec`, one sentence. Empty where all is well."""
    return [] if isinstance(dnssec, bool) else [f"site_dnssec is {str(dnssec)[:60]!r}: it must be true or false."]


def dns_anchors(anchors: list[str]) -> list[str]:
    """Trust anchors as named.conf has them, from DS records."""
    return [
        f'"{part["name"]}" static-ds {part["tag"]} {part["algorithm"]} {part["type"]} "{part["digest"]}";'
        for part in map(_ds, anchors)
    ]


def dns_anchor_errors(anchors: list[str], validation: str, variable: str = "dns_trust_anchors") -> list[str]:
    """What is wrong with trust anchors, one sentence each."""
    errors = []
    for number, text in enumerate(anchors):
        try:
            _ds(text)
        except ValueError as problem:
            errors.append(f"{variable}[{number}]: {problem}.")
    if anchors and validation == "no":
        errors.append("dns_trust_anchors has entries, and dns_dnssec_validation is no: nothing would be held against them.")
    return errors


def _text(value: str) -> str:
    """A TXT value as quoted strings of at most 255 octets."""
    octets = [value[i : i + CHUNK] for i in range(0, len(value), CHUNK)] if value.isascii() else None
    if octets is None:
        raise AnsibleFilterError(f"dns_zones: TXT value {value!r} is not ASCII")
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in octets)


def dns_zone_text(zone: Zone) -> str:
    """The master file of a zone, with a mark where its serial number goes."""
    ttl = int(zone.get("ttl", TTL))
    lines = [
        "; Managed by Ansible (role dns) from dns_zones: changes made here are undone.",
        f"; Zone {zone['name']}. The serial grows by itself when anything else in this file changes.",
        f"$TTL {ttl}",
        f"@ IN SOA {zone['mname']} {zone['rname']} (",
        f"    {SERIAL} ; serial",
        "    7200 ; refresh",
        "    900 ; retry",
        "    1209600 ; expire",
        f"    {min(ttl, 3600)} ) ; how long a missing name may be remembered",
    ]
    for record in zone["records"]:
        value = _text(str(record["value"])) if record["type"] == "TXT" else record["value"]
        lines.append(
            " ".join(str(part) for part in (record["name"], record.get("ttl", ""), "IN", record["type"], value) if part != "")
        )
    return "\n".join(lines) + "\n"


def dns_zone_files(zones: list[Zone]) -> dict[str, str]:
    """All master files: path below the configuration directory -> text."""
    return {zone_path(view, z["name"]): dns_zone_text(z) for z in zones for view in z.get("views", VIEWS)}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name -> function."""
        return {
            "dns_anchors": dns_anchors,
            "dns_clients": dns_clients,
            "dns_signed": dns_signed,
            "dns_signed_views": dns_signed_views,
            "dns_unsigned": dns_unsigned,
            "dns_zone_files": dns_zone_files,
            "dns_zone_path": zone_path,
            "dns_zones": dns_zones,
            "dnssec_errors": dnssec_errors,
        }
