"""What is wrong with an inventory's flow table and what it names, one sentence each. Pure functions.

A *site* and other terms are those of plugins/filter/policy.py, which expects one of which nothing is said here.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import (
    ANY,
    KEYS,
    Site,
    as_list,
    host_zone,
    level_zones,
    open_zone,
    tunnel_zones,
    zone_networks,
)

FLOW_KEYS = {"id", "from", "to", "services", "paper", "comment"}
ZONE_KEYS = {"network", "network6", "level", "gateway", "gateway6", "tunnel", "reverse_zone"}
HOST_KEYS = {"interfaces", "public", "beyond"}
INTERFACE_KEYS = {"address", "address6", "mac", "device"}
PAT_KEYS = {"zone", "address", "idle"}
DOMAIN_KEYS = {"name", "store"}
NAME = re.compile(r"^[a-z]([a-z0-9-]*[a-z0-9])?$")
DOMAIN = re.compile(r"^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$")
MAC = re.compile(r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")
PAT_IDLE = (600, 3600)
NTP = 123  # RFC 5905
ALIKE = 0.8  # how much alike two names of variables must be for one to be a slip of the other


def policy_errors(site: Site) -> list[str]:
    """What is wrong with a site, one sentence each: the entry, its value, what is allowed. Empty where all is well."""
    errors = _shape_errors(site) or _zone_errors(site)
    if errors:
        return errors  # every later check needs tables and networks that can be read
    errors += _host_errors(site)
    errors += _tunnel_errors(site)
    errors += _service_errors(site)
    errors += _flow_errors(site)
    errors += _pat_errors(site)
    errors += _domain_errors(site)
    return errors


def policy_group_errors(site: Site, groups: Mapping[str, list[str]]) -> list[str]:
    """Where the inventory's groups and the site's tables do not know of each other; `policy_errors` must have found nothing."""
    known = _among(site["hosts"])
    ours = dict.fromkeys([*groups.get("site", []), *groups.get("mail_clients", [])])
    errors = [
        f"{host} is in the inventory but not in site_hosts: there are {known}." for host in ours if host not in site["hosts"]
    ]
    errors += [
        f"site_hosts.{host}.interfaces.{zone} has neither mac nor device: give one, by which the link is found on {host}."
        for host in groups.get("site", [])
        for zone, interface in site["hosts"].get(host, {}).get("interfaces", {}).items()
        if not interface.get("mac") and not interface.get("device")
    ]
    stores = groups.get("stores", [])
    errors += [
        f"site_domains[{i}].store is {entry['store']!r}, which is not in the group stores; allowed are {_among(stores)}."
        for i, entry in enumerate(site["domains"])
        if entry["store"] not in stores
    ]
    public = {"gateways": "a gateway", "nameservers": "a name server"} if groups.get("nameservers") else {}
    errors += [
        f"site_hosts.{host} has no public address, and {what} of this site needs one that the world can find: give it `public`."
        for group, what in public.items()
        for host in groups.get(group, [])
        if host in site["hosts"] and not site["hosts"][host].get("public") and host_zone(site, host) != open_zone(site)
    ]
    errors += [
        f"site_hosts.{host}.public is {site['hosts'][host]['public']}: a host of the group {group} must not be known outside."
        for group in ("stores", "management")
        for host in groups.get(group, [])
        if site["hosts"].get(host, {}).get("public")
    ]
    return errors


def policy_slips(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Names of an inventory's variables that are nearly, but not quite, those of known ones."""
    right = sorted(known)
    errors = []
    for name in sorted(set(names) - set(right)):
        near = difflib.get_close_matches(name, right, n=1, cutoff=ALIKE)
        if near:
            errors.append(f"{name} is no variable of a site: is {near[0]} meant?")
    return errors


def policy_time_errors(site: Site, host: str, servers: Iterable[str], filters: bool = False) -> list[str]:
    """Time servers that a host may not ask: systemd-timesyncd would go on without a word, and the clock go its own way."""
    own = {host_zone(site, host), *site["hosts"][host]["interfaces"]}
    services = {name for name, service in site["services"].items() if NTP in as_list(service.get("udp", []))}
    # A zone's flow is of those whose packets are forwarded; what a host sends that filters them itself has to be its own.
    sources = {host} if filters else {host, *own, ANY}
    flows = [
        flow for flow in site["flows"] if services & set(as_list(flow["services"])) and sources & set(as_list(flow["from"]))
    ]
    targets = {end for flow in flows for end in as_list(flow["to"])}

    def reached(server: str) -> bool:
        place = _place(site, server)
        # On a link nothing is filtered but by the host itself. A name is looked up by the host alone: any flow may be the one.
        return (place in own and not filters) or bool(targets & {place, _owner(site, server), ANY} if place else targets)

    return [
        f"base_time_servers holds {server}: no flow of site_flows lets {host} send to UDP port {NTP} there; give site_services one "
        f"such as ntp: {{udp: [{NTP}]}}, and site_flows a flow of it from {host} to {_place(site, server) or open_zone(site)}."
        for server in servers
        if not reached(server)
    ]


def _place(site: Site, server: str) -> str | None:
    """The zone that an address lies in, the open one where it lies in none; None for a name."""
    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return None
    for zone in (*level_zones(site), *tunnel_zones(site)):
        if any(address in ipaddress.ip_network(network) for network in zone_networks(site, zone)):
            return str(zone)
    return open_zone(site)


def _owner(site: Site, server: str) -> str | None:
    """The host that has an address."""
    own = (
        name
        for name, host in site["hosts"].items()
        if server
        in {host.get("public")} | {interface.get(key) for interface in host["interfaces"].values() for _n, key in KEYS.values()}
    )
    return next(own, None)


def _unknown(where: str, entry: Mapping[str, Any], allowed: set[str]) -> list[str]:
    unknown = set(entry) - allowed
    return [f"{where}: unknown key {_among(unknown)}; allowed are {_among(allowed)}."] if unknown else []


def _among(values: Iterable[Any]) -> str:
    return ", ".join(sorted(str(value) for value in values)) or "(none)"


NETWORK: dict[int, Any] = {4: ipaddress.IPv4Network, 6: ipaddress.IPv6Network}
SUCH_AS = {4: "10.1.1.0/24", 6: "2001:db8:1:1::/64"}
# What each table is made of: the container, and what its entries are.
SHAPES: dict[str, tuple[type[Any], type[Any]]] = {
    "zones": (dict, dict),
    "hosts": (dict, dict),
    "services": (dict, dict),
    "flows": (list, dict),
    "domains": (list, dict),
}
WORDS: dict[type[Any], str] = {dict: "a dictionary", list: "a list"}


def _shape_errors(site: Site) -> list[str]:
    """Tables that are not made as they should be, so that no later check could read them."""
    errors = []
    for name, (outer, inner) in SHAPES.items():
        table: Any = site.get(name)
        if not isinstance(table, outer) or (not table and name != "domains"):
            errors.append(f"site_{name} is {str(table)[:60]!r}: it must be {WORDS[outer]} with at least one entry.")
            continue
        entries: Iterable[tuple[Any, Any]] = table.items() if isinstance(table, dict) else enumerate(table, 1)
        errors += [
            f"site_{name}, entry {key}, is {str(entry)[:60]!r}: it must be {WORDS[inner]}."
            for key, entry in entries
            if not isinstance(entry, inner)
        ]
    for name, host in site["hosts"].items() if not errors else ():
        if not isinstance(host.get("interfaces", {}), dict) or any(
            not isinstance(interface, dict) for interface in host.get("interfaces", {}).values()
        ):
            errors.append(f"site_hosts.{name}.interfaces must be a dictionary of zones, each with an address.")
    if site.get("pat") and not isinstance(site["pat"], dict):
        errors.append(f"site_pat is {str(site['pat'])[:60]!r}: it must be a dictionary with zone, address and idle.")
    return errors


def _zone_errors(site: Site) -> list[str]:
    errors: list[str] = []
    networks: dict[tuple[str, str], Any] = {}
    levels: dict[int, str] = {}
    for name, zone in site["zones"].items():
        where = f"site_zones.{name}"
        if not NAME.match(str(name)) or name == ANY:
            errors.append(f"{where}: a zone's name is lower-case letters, digits and hyphens, and not '{ANY}'.")
        for family, (key, _address) in KEYS.items():
            if family == 6 and zone.get(key) is None:
                continue
            try:
                networks[name, key] = NETWORK[family](zone[key])
            except (KeyError, ValueError, TypeError):
                errors.append(
                    f"{where}.{key} is {zone.get(key)!r}: it must be a network such as {SUCH_AS[family]}, with no host bits set."
                )
        errors += _unknown(where, zone, ZONE_KEYS)
        level = zone.get("level")
        if level is None:
            continue
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 100:
            errors.append(f"{where}.level is {level!r}: it must be a whole number from 0 (least trusted) to 100.")
        elif level in levels:
            errors.append(f"{where}.level is {level}, and so is that of {levels[level]}: levels must differ.")
        else:
            levels[level] = name
    if not levels and not errors:
        errors.append("site_zones: no zone has a level; the firewall needs at least two zones with levels 0 to 100.")
    names = list(networks)
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            if networks[one].version == networks[two].version and networks[one].overlaps(networks[two]):
                errors.append(
                    f"site_zones.{'.'.join(one)} {networks[one]} overlaps site_zones.{'.'.join(two)} "
                    f"{networks[two]}: zones must not share addresses."
                )
    return errors


def _host_errors(site: Site) -> list[str]:
    errors: list[str] = []
    addresses: dict[str, str] = {}
    macs: dict[str, str] = {}

    def claim(seen: dict[str, str], value: str, where: str, what: str) -> None:
        if value in seen:
            errors.append(f"{where} is {value}, and so is {seen[value]}: {what} must differ.")
        seen.setdefault(value, where)

    for name, host in site["hosts"].items():
        if not NAME.match(str(name)) or name in site["zones"] or name == ANY:
            errors.append(
                f"site_hosts.{name}: a host's name is lower-case letters, digits and hyphens, "
                f"and neither '{ANY}' nor a zone's name."
            )
        errors += _unknown(f"site_hosts.{name}", host, HOST_KEYS)
        if not host.get("interfaces"):
            errors.append(f"site_hosts.{name}.interfaces is empty: name at least one zone with an address.")
            continue
        for zone, interface in host["interfaces"].items():
            where = f"site_hosts.{name}.interfaces.{zone}"
            if zone not in site["zones"]:
                errors.append(
                    f"{where}: there is no zone '{zone}'; allowed are {_among(set(site['zones']) - set(tunnel_zones(site)))}."
                )
                continue
            if zone in tunnel_zones(site):
                errors.append(f"{where}: nobody has an interface in '{zone}', which lies beyond the tunnels of a concentrator.")
                continue
            errors += _unknown(where, interface, INTERFACE_KEYS)
            network = ipaddress.ip_network(site["zones"][zone]["network"])
            if _in_network(interface.get("address"), network):
                claim(addresses, str(interface["address"]), f"{where}.address", "addresses")
            else:
                errors.append(f"{where}.address is {interface.get('address')!r}: it must be a host address inside {network}.")
            _address6_errors(site, zone, interface, where, errors, lambda at, there: claim(addresses, at, there, "addresses"))
            mac = interface.get("mac")
            if mac is not None and not MAC.match(str(mac)):
                errors.append(f"{where}.mac is {mac!r}: it must be like 02:00:0a:01:01:0b, in lower case.")
            elif mac is not None:
                claim(macs, mac, f"{where}.mac", "MAC addresses")
        if "beyond" in host and host["beyond"] not in tunnel_zones(site):
            errors.append(
                f"site_hosts.{name}.beyond is {host['beyond']!r}: allowed are the zones beyond tunnels, {_among(tunnel_zones(site))}."
            )
        if "public" in host:
            _public_errors(site, f"site_hosts.{name}.public", host["public"], errors)
            # A host outside may be known by its own address: nobody translates it.
            if host["public"] == host["interfaces"].get(open_zone(site), {}).get("address"):
                continue
            claim(addresses, str(host["public"]), f"site_hosts.{name}.public", "addresses")
    if "pat" in site and isinstance(site["pat"], dict) and site["pat"].get("address"):
        claim(addresses, str(site["pat"]["address"]), "site_pat.address", "addresses")
    errors += _gateway_errors(site)
    return errors


def _in_network(address: Any, network: Any) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return ip in network and ip not in (network.network_address, network.broadcast_address)


def _address6_errors(
    site: Site, zone: str, interface: dict[str, Any], where: str, errors: list[str], claim: Callable[[str, str], None]
) -> None:
    """What is wrong with an interface's IPv6 address. It must be in its shortest form: programs compare it as a text."""
    address, network = interface.get("address6"), site["zones"][zone].get("network6")
    if address is None:
        return
    if network is None:
        errors.append(f"{where}.address6 is {address!r}, and site_zones.{zone} has no network6.")
    elif not _in_network(address, ipaddress.ip_network(network)) or str(ipaddress.ip_address(address)) != address:
        errors.append(f"{where}.address6 is {address!r}: it must be a host address inside {network}, in its shortest form.")
    else:
        claim(str(address), f"{where}.address6")


def _public_errors(site: Site, where: str, address: Any, errors: list[str]) -> None:
    network = ipaddress.ip_network(site["zones"][open_zone(site)]["network"])
    if not _in_network(address, network):
        errors.append(f"{where} is {address!r}: it must be a host address inside {network} ({open_zone(site)}).")


def _gateway_errors(site: Site) -> list[str]:
    errors = []
    for name, zone in site["zones"].items():
        gateway = zone.get("gateway")
        other = zone.get("gateway6")
        if other is not None and not (zone.get("network6") and _in_network(other, ipaddress.ip_network(zone["network6"]))):
            errors.append(f"site_zones.{name}.gateway6 is {other!r}: it must be an address inside {zone.get('network6')}.")
        if gateway is None or _in_network(gateway, ipaddress.ip_network(zone["network"])):
            continue
        if name not in site["hosts"].get(gateway, {}).get("interfaces", {}):
            inside = [h for h, host in site["hosts"].items() if name in host.get("interfaces", {})]
            errors.append(
                f"site_zones.{name}.gateway is {gateway!r}: it must be an address inside {zone['network']} "
                f"or a host with an interface there: {_among(inside)}."
            )
    return errors


def _tunnel_errors(site: Site) -> list[str]:
    errors = []
    for name in tunnel_zones(site):
        where, zone = f"site_zones.{name}", site["zones"][name]
        for key in ("level", "gateway"):
            if zone.get(key) is not None:
                errors.append(f"{where} has tunnel and {key}: a zone beyond a tunnel has no {key}.")
        feet = set(site["hosts"].get(zone["tunnel"], {}).get("interfaces") or {})
        if not feet & set(level_zones(site)):
            ends = [h for h, host in site["hosts"].items() if set(host.get("interfaces") or {}) & set(level_zones(site))]
            errors.append(f"{where}.tunnel is {zone['tunnel']!r}: allowed are the hosts with a foot in a zone: {_among(ends)}.")
    return errors


def _service_errors(site: Site) -> list[str]:
    errors = []
    for name, service in site["services"].items():
        where = f"site_services.{name}"
        errors += _unknown(where, service, {"tcp", "udp", "wrapper"})
        if not service.get("tcp") and not service.get("udp"):
            errors.append(f"{where}: it has no port; give a list of ports under tcp or udp.")
        for protocol in ("tcp", "udp"):
            for port in as_list(service.get(protocol, [])):
                if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
                    errors.append(f"{where}.{protocol} holds {port!r}: a port is a whole number from 1 to 65535.")
    return errors


def _flow_errors(site: Site) -> list[str]:
    errors = []
    seen: set[Any] = set()
    ends = {ANY, *site["zones"], *site["hosts"]}
    for number, flow in enumerate(site["flows"], 1):
        where = f"site_flows, entry {number} ({flow.get('id', 'without id')})"
        missing = {"id", "from", "to", "services"} - set(flow)
        if missing:
            errors.append(f"{where}: {_among(missing)} is missing; a flow has id, from, to and services.")
            continue
        errors += _unknown(where, flow, FLOW_KEYS)
        errors += [
            f"{where}: {key} is {flow[key]!r}: it must name at least one."
            for key in ("from", "to", "services")
            if not flow[key] and flow[key] != 0
        ]
        if flow["id"] in seen:
            errors.append(f"{where}: the id '{flow['id']}' is taken by an earlier flow; ids must differ.")
        seen.add(flow["id"])
        for key in ("from", "to"):
            for end in as_list(flow[key]):
                if end not in ends:
                    errors.append(f"{where}: {key} names '{end}', which is no zone or host; allowed are {_among(ends)}.")
                elif end in site["zones"] and site["zones"][end].get("level") is None and end not in tunnel_zones(site):
                    errors.append(
                        f"{where}: {key} names '{end}', a zone without a level, which is no interface of the "
                        f"firewall; allowed are {_among(level_zones(site))} ('{open_zone(site)}' stands for all beyond)."
                    )
        errors += _tunnel_flow_errors(site, flow, where)
        errors += _store_flow_errors(site, flow, where)
        for service in as_list(flow["services"]):
            if service not in site["services"]:
                errors.append(f"{where}: there is no service '{service}'; allowed are {_among(site['services'])}.")
    return errors


def _store_flow_errors(site: Site, flow: dict[str, Any], where: str) -> list[str]:
    """Nobody outside reaches a store: mail comes through a gateway, users through a tunnel."""
    stores = {entry["store"] for entry in site["domains"] if entry.get("store") in site["hosts"]}
    near = {zone for store in stores for zone in site["hosts"][store]["interfaces"]} | {ANY}
    beyond = {ANY, open_zone(site)}
    origins, targets = set(as_list(flow["from"])) & beyond, set(as_list(flow["to"])) & (stores | near)
    if origins and targets:
        return [
            f"{where}: from names '{_among(origins)}' and to '{_among(targets)}', which opens a store ({_among(stores)}) to the "
            "outside: mail comes through a gateway and users through a tunnel; name those."
        ]
    return []


def _tunnel_flow_errors(site: Site, flow: dict[str, Any], where: str) -> list[str]:
    """Tunnels lead into the site, not through it: their zones have no addresses that the world could answer."""
    far = set(tunnel_zones(site))
    beyond = {ANY, open_zone(site)}
    errors = []
    for one, other in (("from", "to"), ("to", "from")):
        between = set(as_list(flow[one])) & far, set(as_list(flow[other])) & beyond
        if all(between):
            errors.append(
                f"{where}: {one} names '{_among(between[0])}', beyond a tunnel, and {other} '{_among(between[1])}': a tunnel "
                "leads to zones and hosts of the site only; name those."
            )
    return errors


def _pat_errors(site: Site) -> list[str]:
    pat = site.get("pat")
    if not pat:
        return []
    errors = _unknown("site_pat", pat, PAT_KEYS)
    if pat.get("zone") not in level_zones(site)[1:]:
        errors.append(f"site_pat.zone is {pat.get('zone')!r}: allowed are {_among(level_zones(site)[1:])}.")
    _public_errors(site, "site_pat.address", pat.get("address"), errors)
    low, high = PAT_IDLE
    idle = pat.get("idle")
    if isinstance(idle, bool) or not isinstance(idle, int) or not low <= idle <= high:
        errors.append(f"site_pat.idle is {idle!r}: it must be a whole number of seconds from {low} to {high}.")
    return errors


def _domain_errors(site: Site) -> list[str]:
    errors = []
    names = [("site_domain", site["domain"])]
    names += [(f"site_domains[{i}].name", entry.get("name")) for i, entry in enumerate(site["domains"])]
    for where, name in names:
        if not DOMAIN.match(str(name)):
            errors.append(f"{where} is {name!r}: it must be a domain in lower case, such as widgets.example.")
    seen: dict[Any, str] = {}
    for i, entry in enumerate(site["domains"]):
        where = f"site_domains[{i}]"
        errors += _unknown(where, entry, DOMAIN_KEYS)
        if entry.get("name") in seen:
            errors.append(f"{where}.name is {entry['name']}, as is that of {seen[entry['name']]}: one store a domain.")
        seen.setdefault(entry.get("name"), where)
        if entry.get("store") not in site["hosts"]:
            errors.append(f"{where}.store is {entry.get('store')!r}: allowed are the hosts {_among(site['hosts'])}.")
    return errors


class FilterModule:
    """Ansible's way to find the filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "policy_errors": policy_errors,
            "policy_group_errors": policy_group_errors,
            "policy_slips": policy_slips,
            "policy_time_errors": policy_time_errors,
        }
