"""The site's policy as commands of a Cisco PIX, version 6 [NET-6].

The *site* is the dict of the filters ``policy_*``, and what the commands permit comes from its flow table alone. ``pix``
(the inventory's ``site_pix``) holds what a flow table cannot know: names and numbers of the PIX, and what of the site to
print beyond the need. Its keys:

    interfaces     one for each level zone, in the order to print: ``zone``, ``hardware``, ``acl``, and ``name`` where the
                   PIX calls the interface otherwise than the zone is called
    pool           number that ties ``nat`` to ``global`` (1)
    nat            zone -> networks or hosts that share the address of ``site_pat`` (the network of ``site_pat.zone``)
    identity       translations of a network to itself, ``from`` a more trusted zone ``to`` a less trusted one (the network
                   of the more trusted zone, for every two inner zones)
    logging_level  what goes to the logging hosts: a level of the PIX (not printed)
    idle           whether to print ``site_pat.idle`` (true)
    remarks        whether each access list names the flow that its next lines come from (false)

A PIX differs from the model in three ways, and the functions here make up for them:

- An access list does not know the interface that a packet leaves by. A flow to the open zone alone is therefore ``any``
  behind a refusal of the inner zones, and what is open inside these stands before that. A flow to every zone is just ``any``.
- A destination is named by the address that the entered zone knows: in the open zone, the translated one.
- Nothing reaches a more trusted zone without a translation. Where a flow needs one that is not there, the port alone is
  translated to itself, which leaves the host's own connections as they were.

PIX 6 knows no IPv6 and forwards none: of a site that has both families the commands are those of its IPv4 part.

Its own traffic passes no access list: its syslog flow makes the logging hosts, SSH to it ``ssh`` commands.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import (
    Site,
    as_list,
    firewall_host,
    host_address,
    host_zone,
    level_zones,
    open_zone,
    policy_links,
    policy_rules,
    policy_static,
)

Pix = dict[str, Any]
Rule = dict[str, Any]

KEYS = {"interfaces", "pool", "nat", "identity", "logging_level", "idle", "remarks"}
INTERFACE_KEYS = {"zone", "hardware", "acl", "name"}
IDENTITY_KEYS = {"from", "to", "network"}
LEVELS = ("emergencies", "alerts", "critical", "errors", "warnings", "notifications", "informational", "debugging")
# PIX 6.3 allows 48 characters for an interface and states no limit for an access list; one limit holds for both here.
NAME_LENGTH = 48
NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{NAME_LENGTH - 1}}}")
HARDWARE = re.compile(r"(ethernet|gb-ethernet|token)[0-9]")
REMARK = re.compile(r"[ -~]{1,80}")
POOL_MAX = 2147483647
ALL = "0.0.0.0 0.0.0.0"
SSH = 22
SYSLOG = 514

# Ports that the PIX prints as words. It takes numbers as well, so this need not be complete; 22 has no word in version 6.
PORT_NAMES = {
    "tcp": {21: "ftp", 23: "telnet", 25: "smtp", 53: "domain", 79: "finger", 80: "www", 110: "pop3", 113: "ident", 119: "nntp"},
    "udp": {53: "domain", 69: "tftp", 123: "ntp", 161: "snmp", 514: "syslog"},
}


def pix_commands(site: Site, pix: Pix) -> list[dict[str, Any]]:
    """Sections of the configuration, each a ``title`` and its ``commands``; `pix_errors` must have found nothing."""
    site = _only_ipv4(site)
    names = _names(pix)
    titled = [
        ("Interfaces, and how far each is trusted", _nameif(site, pix)),
        ("Addresses of the interfaces", _addresses(site, pix)),
        ("Routes and logging", _routes(site, names) + _logging(site, pix, names)),
        ("Time-out of an idle connection", _timeout(site, pix)),
        ("Many hosts behind one address", _dynamic(site, pix, names)),
        ("Translations both ways", _static(site, pix, names)),
    ]
    for zone in level_zones(site):
        titled.append((f"What may enter by {names[zone]}", _access_list(site, pix, zone)))
    groups = [f"access-group {_interface(pix, zone)['acl']} in interface {names[zone]}" for zone in level_zones(site)]
    titled.append(("Access lists and their interfaces", groups))
    titled.append(("Who may log in to the firewall", _logins(site, names)))
    return [{"title": title, "commands": commands} for title, commands in titled if commands]


def _only_ipv4(site: Site) -> Site:
    """The site as it would be without IPv6."""
    six = ("network6", "gateway6", "address6")

    def without(entry: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in entry.items() if key not in six}

    hosts = {
        name: {**host, "interfaces": {zone: without(link) for zone, link in host["interfaces"].items()}}
        for name, host in site["hosts"].items()
    }
    return {**site, "zones": {name: without(zone) for name, zone in site["zones"].items()}, "hosts": hosts}


def _interface(pix: Pix, zone: str) -> dict[str, Any]:
    return next(interface for interface in pix["interfaces"] if interface["zone"] == zone)


def _names(pix: Pix) -> dict[str, str]:
    """Zone -> what the PIX calls its interface."""
    return {interface["zone"]: interface.get("name", interface["zone"]) for interface in pix["interfaces"]}


def _nameif(site: Site, pix: Pix) -> list[str]:
    names = _names(pix)
    return [
        f"nameif {interface['hardware']} {names[interface['zone']]} security{site['zones'][interface['zone']]['level']}"
        for interface in pix["interfaces"]
    ]


def _addresses(site: Site, pix: Pix) -> list[str]:
    addresses = {zone: interface["address"] for zone, interface in site["hosts"][firewall_host(site)]["interfaces"].items()}
    return [
        f"ip address {name} {addresses[zone]} {ipaddress.ip_network(site['zones'][zone]['network']).netmask}"
        for zone, name in _names(pix).items()
    ]


def _routes(site: Site, names: dict[str, str]) -> list[str]:
    out = []
    for link in policy_links(site, str(firewall_host(site))):
        if link["gateway"]:
            out.append(f"route {names[link['name']]} {ALL} {link['gateway']} 1")
        out += [f"route {names[link['name']]} {_network(route['to'])} {route['via']} 1" for route in link["routes"]]
    return out


def _logging(site: Site, pix: Pix, names: dict[str, str]) -> list[str]:
    """Logging on, and to whom: the targets of the firewall's own syslog flows, over UDP where both are open."""
    hosts: dict[tuple[str, str], str] = {}
    for rule in policy_rules(site):
        if rule["chain"] == "output" and SYSLOG in rule["ports"] and rule["daddr"] and "/" not in rule["daddr"]:
            key = (names[rule["oif"]], rule["daddr"])
            hosts[key] = "" if rule["protocol"] == "udp" else hosts.get(key, f" tcp/{SYSLOG}")
    level = [f"logging trap {pix['logging_level']}"] if pix.get("logging_level") else []
    return ["logging on", *level, *(f"logging host {name} {address}{over}" for (name, address), over in hosts.items())]


def _timeout(site: Site, pix: Pix) -> list[str]:
    if not site.get("pat") or not pix.get("idle", True):
        return []
    minutes, seconds = divmod(site["pat"]["idle"], 60)
    return [f"timeout conn {minutes // 60}:{minutes % 60:02}:{seconds:02}"]


def _nat(site: Site, pix: Pix) -> dict[str, list[str]]:
    """Zone -> networks that share an address, in CIDR notation."""
    pat = site.get("pat")
    if not pat:
        return {}
    entries = pix.get("nat")
    if entries is None:
        entries = {pat["zone"]: [site["zones"][pat["zone"]]["network"]]}
    return {
        zone: [f"{host_address(site, item)}/32" if item in site["hosts"] else str(item) for item in as_list(items)]
        for zone, items in entries.items()
    }


def _dynamic(site: Site, pix: Pix, names: dict[str, str]) -> list[str]:
    out = []
    pool = pix.get("pool", 1)
    for zone, networks in _nat(site, pix).items():
        out += [f"nat ({names[zone]}) {pool} {_network(network)} 0 0" for network in networks]
    return [f"global ({names[open_zone(site)]}) {pool} {site['pat']['address']}", *out] if out else []


def _identity(site: Site, pix: Pix) -> list[dict[str, str]]:
    if pix.get("identity") is not None:
        return list(pix["identity"])
    inner = level_zones(site)[1:]
    return [
        {"from": high, "to": low, "network": site["zones"][high]["network"]}
        for index, low in enumerate(inner)
        for high in inner[index + 1 :]
    ]


def _static(site: Site, pix: Pix, names: dict[str, str]) -> list[str]:
    outside = names[open_zone(site)]
    out = [
        f"static ({names[host_zone(site, entry['host'])]},{outside}) {entry['public']} {entry['private']} "
        "netmask 255.255.255.255 0 0"
        for entry in policy_static(site)
    ]
    for entry in _identity(site, pix):
        network = ipaddress.ip_network(entry["network"])
        address = network.network_address
        out.append(f"static ({names[entry['from']]},{names[entry['to']]}) {address} {address} netmask {network.netmask} 0 0")
    for rule in _untranslated(site, pix):
        pair, protocol, address = f"({names[rule['oif']]},{names[rule['iif']]})", rule["protocol"], rule["daddr"]
        for word in _port_words(rule):
            out.append(f"static {pair} {protocol} {address} {word} {address} {word} netmask 255.255.255.255 0 0")
    return list(dict.fromkeys(out))


def _forwarded(site: Site) -> list[Rule]:
    return [rule for rule in policy_rules(site) if rule["chain"] == "forward"]


def _untranslated(site: Site, pix: Pix) -> Iterator[Rule]:
    """Rules toward a more trusted zone whose destination has no translation there."""
    order = level_zones(site)
    public = _public(site)
    for rule in _forwarded(site):
        if order.index(rule["iif"]) > order.index(rule["oif"]):
            continue
        if rule["iif"] == order[0] and rule["daddr"] in public:
            continue
        covering = [e["network"] for e in _identity(site, pix) if (e["from"], e["to"]) == (rule["oif"], rule["iif"])]
        if not _covered(rule["daddr"], covering):
            yield rule


def _public(site: Site) -> dict[str, str]:
    """Private address -> the one that the open zone knows."""
    return {entry["private"]: entry["public"] for entry in policy_static(site)}


def _covered(inner: str, outer: list[str]) -> bool:
    """Whether an address or network lies inside one of these networks."""
    wanted = ipaddress.IPv4Network(inner)
    return any(wanted.subnet_of(ipaddress.IPv4Network(network)) for network in outer)


def _network(text: str) -> str:
    """A network as the PIX writes it: address and mask."""
    network = ipaddress.ip_network(text)
    return f"{network.network_address} {network.netmask}"


def _end(address: str | None) -> str:
    """A source or destination of an access list."""
    if address is None:
        return "any"
    return _network(address) if "/" in address else f"host {address}"


def _port_words(rule: Rule) -> list[str]:
    return [PORT_NAMES[rule["protocol"]].get(port, str(port)) for port in rule["ports"]]


def _access_list(site: Site, pix: Pix, zone: str) -> list[str]:
    """The access list of the interface that a zone enters by: what is permitted, then the refusal of all else."""
    prefix = f"access-list {_interface(pix, zone)['acl']}"
    refuse = [
        f"{prefix} deny ip any {_network(site['zones'][other]['network'])} log"
        for other in level_zones(site)[1:]
        if other != zone
    ]
    named, beyond = _entries(site, zone)
    out: list[str] = []
    _permit(out, prefix, named, bool(pix.get("remarks")))
    if beyond:
        out += refuse
        _permit(out, prefix, beyond, bool(pix.get("remarks")))
    return [*out, f"{prefix} deny ip any any log"]


def _permit(out: list[str], prefix: str, rules: list[Rule], remarks: bool) -> None:
    """Add lines for these rules, none that is there; with remarks, each flow's lines begin with its id."""
    flow = None
    for rule in rules:
        lines = [
            f"{prefix} permit {rule['protocol']} {_end(rule['saddr'])} {_end(rule['daddr'])} eq {word}"
            for word in _port_words(rule)
        ]
        fresh = [line for line in lines if line not in out]
        if remarks and fresh and rule["flow"] != flow:
            out.append(f"{prefix} remark flow {rule['flow']}")
            flow = rule["flow"]
        out += fresh


def _entries(site: Site, zone: str) -> tuple[list[Rule], list[Rule]]:
    """Rules for what enters by a zone, with destinations as it knows them, and apart those to nothing but the open zone."""
    others = set(level_zones(site)) - {zone}
    public = _public(site) if zone == open_zone(site) else {}
    groups: dict[tuple[Any, ...], list[Rule]] = {}
    for rule in _forwarded(site):
        if rule["iif"] == zone:
            groups.setdefault((rule["flow"], rule["saddr"], rule["protocol"]), []).append(rule)
    named: list[Rule] = []
    beyond: list[Rule] = []
    for rules in groups.values():
        whole = {rule["oif"] for rule in rules if rule["daddr"] in (None, site["zones"][rule["oif"]]["network"])}
        if whole == others:
            named.append({**rules[0], "daddr": None})
            continue
        for rule in rules:
            if rule["daddr"] is None:
                beyond.append(rule)
            else:
                named.append({**rule, "daddr": public.get(rule["daddr"], rule["daddr"])})
    return named, beyond


def _logins(site: Site, names: dict[str, str]) -> list[str]:
    out = []
    for rule in policy_rules(site):
        if rule["chain"] == "input":
            source = rule["saddr"] or "0.0.0.0/0"
            out.append(f"ssh {_network(source)} {names[rule['iif']]}")
    return list(dict.fromkeys(out))


# -- errors ----------------------------------------------------------------------------------------------------------


def pix_errors(site: Site, pix: Any) -> list[str]:
    """What keeps a sound site from being printed, one sentence each: the entry, its value, what is allowed."""
    if not isinstance(pix, dict):
        return [f"site_pix is {pix!r}: it must be a dictionary with the key interfaces."]
    site = _only_ipv4(site)
    errors = []
    unknown = set(pix) - KEYS
    if unknown:
        errors.append(f"site_pix: unknown key {_among(unknown)}; allowed are {_among(KEYS)}.")
    errors += _firewall_errors(site) + _interface_errors(site, pix) + _option_errors(pix) + _nat_errors(site, pix)
    errors += _identity_errors(site, pix)
    if errors:
        return errors  # what follows reads all of the above
    return _flow_errors(site, pix)


def _among(values: Any) -> str:
    return ", ".join(sorted(str(value) for value in values)) or "(none)"


def _firewall_errors(site: Site) -> list[str]:
    errors = []
    if firewall_host(site) is None:
        errors.append(f"site_hosts: no host has an interface in each of {_among(level_zones(site))}; the PIX has.")
    for zone in level_zones(site):
        if ipaddress.ip_network(site["zones"][zone]["network"]).version != 4:
            errors.append(f"site_zones.{zone}.network is {site['zones'][zone]['network']}: PIX 6 has IPv4 only.")
    lowest = open_zone(site)
    if site["zones"][lowest]["level"] != 0:
        errors.append(f"site_zones.{lowest}.level is {site['zones'][lowest]['level']}: the outermost level of a PIX is 0.")
    return errors


def _interface_errors(site: Site, pix: Pix) -> list[str]:
    interfaces = pix.get("interfaces")
    if not isinstance(interfaces, list) or not interfaces:
        return [f"site_pix.interfaces is {interfaces!r}: it must be a list with one interface for each zone that has a level."]
    errors: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    for number, interface in enumerate(interfaces):
        where = f"site_pix.interfaces[{number}]"
        if not isinstance(interface, dict):
            errors.append(f"{where} is {interface!r}: an interface has zone, hardware and acl.")
            continue
        unknown = set(interface) - INTERFACE_KEYS
        if unknown:
            errors.append(f"{where}: unknown key {_among(unknown)}; allowed are {_among(INTERFACE_KEYS)}.")
        zone = None if interface.get("zone") is None else str(interface["zone"])
        if zone not in level_zones(site):
            errors.append(f"{where}.zone is {zone!r}: allowed are the zones with a level, {_among(level_zones(site))}.")
        words = {"name": interface.get("name", zone), "acl": interface.get("acl"), "hardware": interface.get("hardware")}
        for key in ("name", "acl"):
            if not NAME.fullmatch(str(words[key] if words[key] is not None else "")) and not (key == "name" and zone is None):
                errors.append(
                    f"{where}.{key} is {words[key]!r}: it must begin with a letter and have no more than {NAME_LENGTH} letters, "
                    "digits, hyphens and underscores, without a space."
                )
        if not HARDWARE.fullmatch(str(words["hardware"])):
            errors.append(f"{where}.hardware is {words['hardware']!r}: it must be like ethernet0, gb-ethernet0 or token0.")
        for key, value in {"zone": zone, **words}.items():
            if value is not None and (key, str(value)) in seen:
                errors.append(f"{where}.{key} is {value}, and so is {seen[key, str(value)]}.{key}: each must be named once.")
            seen.setdefault((key, str(value)), where)
        level = site["zones"][zone]["level"] if zone in level_zones(site) else None
        if level is not None and (words["name"] == "inside") != (level == 100):
            errors.append(
                f"{where}.name is {words['name']} at level {level}: a PIX has its level 100 on 'inside' and nowhere else."
            )
    named = {str(interface.get("zone")) for interface in interfaces if isinstance(interface, dict)}
    missing = set(level_zones(site)) - named
    if missing:
        errors.append(f"site_pix.interfaces: no interface for zone {_among(missing)}; each zone with a level has one.")
    return errors


def _option_errors(pix: Pix) -> list[str]:
    errors = []
    pool = pix.get("pool", 1)
    if isinstance(pool, bool) or not isinstance(pool, int) or not 1 <= pool <= POOL_MAX:
        errors.append(f"site_pix.pool is {pool!r}: it must be a whole number from 1 to {POOL_MAX}.")
    if pix.get("logging_level") not in (None, *LEVELS):
        errors.append(f"site_pix.logging_level is {pix['logging_level']!r}: allowed are {', '.join(LEVELS)}.")
    for key in ("idle", "remarks"):
        if not isinstance(pix.get(key, True), bool):
            errors.append(f"site_pix.{key} is {pix[key]!r}: it must be true or false.")
    return errors


def _is_network(value: Any) -> bool:
    try:
        ipaddress.IPv4Network(value)
    except (ValueError, TypeError):
        return False
    return isinstance(value, str)


def _nat_errors(site: Site, pix: Pix) -> list[str]:
    nat = pix.get("nat")
    inner = level_zones(site)[1:]
    if nat is None:
        return []
    if not isinstance(nat, dict):
        return [f"site_pix.nat is {nat!r}: it must be zones ({_among(inner)}), each with a list of networks or hosts."]
    errors = []
    if nat and not site.get("pat"):
        errors.append("site_pix.nat is set, but site_pat is not: there is no address to share.")
    for zone, items in nat.items():
        if zone not in inner:
            errors.append(f"site_pix.nat names zone {zone!r}: allowed are {_among(inner)}.")
            continue
        hosts = [host for host in site["hosts"] if host_zone(site, host) == zone]
        for item in as_list(items):
            if item not in hosts and not _is_network(item):
                errors.append(
                    f"site_pix.nat.{zone} holds {item!r}: allowed are networks such as 10.1.0.0/24, with no host bits set, "
                    f"and hosts of that zone ({_among(hosts)})."
                )
    return errors


def _identity_errors(site: Site, pix: Pix) -> list[str]:
    entries = pix.get("identity")
    order = level_zones(site)
    if entries is None:
        return []
    if not isinstance(entries, list):
        return [f"site_pix.identity is {entries!r}: it must be a list of entries with from, to and network."]
    errors = []
    for number, entry in enumerate(entries):
        where = f"site_pix.identity[{number}]"
        if not isinstance(entry, dict) or set(entry) != IDENTITY_KEYS:
            errors.append(f"{where} is {entry!r}: it must have from, to and network, and nothing else.")
            continue
        high, low = entry["from"], entry["to"]
        if high not in order or low not in order or order.index(high) <= order.index(low):
            errors.append(
                f"{where} goes from {high!r} to {low!r}: it must go from a zone to a less trusted one of {_among(order)}."
            )
        if not _is_network(entry["network"]):
            errors.append(f"{where}.network is {entry['network']!r}: it must be a network such as 10.1.0.0/24.")
    return errors


def _flow_errors(site: Site, pix: Pix) -> list[str]:
    """Flows that the commands cannot express, or would only seem to open."""
    errors = []
    if pix.get("remarks"):
        for flow in site["flows"]:
            if not REMARK.fullmatch(str(flow["id"])):
                errors.append(
                    f"site_flows: the id {flow['id']!r} cannot be a remark: it must be up to 80 printable characters."
                )
    for rule in _untranslated(site, pix):
        if "/" in rule["daddr"]:
            errors.append(
                f"Flow {rule['flow']}: {rule['iif']} cannot reach {rule['daddr']} in {rule['oif']} without a translation. Name "
                f"hosts in 'to', or add {{from: {rule['oif']}, to: {rule['iif']}, network: {rule['daddr']}}} to site_pix.identity."
            )
    public = _public(site)
    nat = _nat(site, pix)
    identity = _identity(site, pix)
    for rule in _forwarded(site):
        iif, source = rule["iif"], rule["saddr"]
        if rule["oif"] != open_zone(site) or source in public:
            continue
        covering = nat.get(iif, []) + [e["network"] for e in identity if (e["from"], e["to"]) == (iif, rule["oif"])]
        if not _covered(source, covering):
            errors.append(
                f"Flow {rule['flow']}: {source} in {iif} cannot reach {rule['oif']} without a translation. Give the host a public "
                f"address, or add it to site_pix.nat.{iif}."
            )
    for rule in policy_rules(site):
        if rule["chain"] == "input" and (rule["protocol"], rule["ports"]) != ("tcp", [SSH]):
            ports = ", ".join(str(port) for port in rule["ports"])
            errors.append(
                f"Flow {rule['flow']} opens {rule['protocol']} {ports} of the firewall itself: of a PIX, only tcp {SSH}."
            )
    return list(dict.fromkeys(errors))


class FilterModule:
    """Filters that print the flow table for a PIX."""

    def filters(self) -> dict[str, Any]:
        return {"pix_commands": pix_commands, "pix_errors": pix_errors}
