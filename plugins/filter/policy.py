"""The flow table of an inventory, resolved: who may open what to whom, as addresses and ports.

A *site* is a dict with the keys ``zones``, ``hosts``, ``services``, ``flows``, ``pat`` and ``domains``, each the
inventory variable of the same name with ``site_`` before it (playbooks/group_vars/site.yml builds it). The functions here are
pure; they expect a site for which `policy_errors` (plugins/filter/policy_checks.py) found nothing.

Terms: a *level zone* is a zone with a security level, an interface of the firewall. The level zone of the lowest level is
the *open* zone: it stands for every address that no other zone holds. A *tunnel zone* is a network at the far end of
tunnels; its ``tunnel`` names the host that they end at, the concentrator. A *gate* is a host that packets are filtered
at: the firewall between the level zones, a concentrator between its tunnel zones and everything else.

IPv6 stands beside IPv4: a zone may have a ``network6``, and then its hosts an ``address6`` each. It is never translated: a
host is known by that one address everywhere. What has none has no part in IPv6, and gets no rule of that family.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

Site = dict[str, Any]

ANY = "any"
NOWHERE = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/3",
)
# Unspecified, loopback and IPv4 in disguise; unique local, old site local, multicast (RFC 6890, 4193, 4291). Link local addresses
# are needed on every link.
NOWHERE6 = ("::/8", "fc00::/7", "fec0::/10", "ff00::/8")
FAMILIES = (4, 6)
KEYS = {4: ("network", "address"), 6: ("network6", "address6")}  # of a zone, of an interface
MOST_RESOLVERS = 3  # as many as the C library reads (resolv.conf(5))
TUNNEL_GROUP = 200  # link group of a tunnel's interface, beyond those of all levels


def as_list(value: Any) -> list[Any]:
    """One thing or a list of things, as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def level_zones(site: Site) -> list[str]:
    """Names of the firewall's zones, from the least trusted to the most trusted."""
    zones = {name: zone["level"] for name, zone in site["zones"].items() if zone.get("level") is not None}
    return sorted(zones, key=lambda name: zones[name])


def open_zone(site: Site) -> str:
    """The zone that stands for everything beyond the site."""
    return level_zones(site)[0]


def tunnel_zones(site: Site, host: str | None = None) -> list[str]:
    """Names of the zones that lie beyond tunnels: of those that end at a host, or of all."""
    zones = {name: zone["tunnel"] for name, zone in site["zones"].items() if zone.get("tunnel")}
    return [name for name, end in zones.items() if host in (None, end)]


def zone_group(site: Site, zone: str) -> int:
    """Number of the link group of a zone's interface: one more than its level, since 0 is every link's group at birth.

    Tunnel zones have one that no level could have, and the other zones without a level come after that.
    """
    if site["zones"][zone].get("tunnel"):
        return TUNNEL_GROUP
    level = site["zones"][zone].get("level")
    if level is not None:
        return int(level) + 1
    others = [name for name, other in site["zones"].items() if other.get("level") is None and not other.get("tunnel")]
    return TUNNEL_GROUP + 1 + others.index(zone)


def zone_networks(site: Site, zone: str) -> list[str]:
    """The networks of a zone, one for each family that it has."""
    settings = site["zones"][zone]
    return [str(settings[network]) for network, _address in KEYS.values() if settings.get(network)]


def firewall_host(site: Site) -> str | None:
    """The host with a foot in every level zone; none where there is nothing to stand between."""
    wanted = set(level_zones(site))
    if len(wanted) < 2:
        return None
    for name, host in site["hosts"].items():
        if wanted <= set(host["interfaces"]):
            return str(name)
    return None


def host_zone(site: Site, host: str) -> str:
    """The level zone that a host belongs to; the open zone where it has no foot in any (a host of the Internet)."""
    for zone in reversed(level_zones(site)):
        if zone in site["hosts"][host]["interfaces"]:
            return zone
    return open_zone(site)


def host_address(site: Site, host: str, toward: str | None = None) -> str:
    """A host's own address: on the zone `toward` where it has one there, else on its own zone."""
    interfaces = site["hosts"][host]["interfaces"]
    for zone in (toward, host_zone(site, host), *interfaces):
        if zone in interfaces:
            return str(interfaces[zone]["address"])
    raise ValueError(f"host {host} has no interface")


def host_address6(site: Site, host: str, toward: str | None = None) -> str | None:
    """The same for IPv6, which a host need not have."""
    interfaces = site["hosts"][host]["interfaces"]
    for zone in (toward, host_zone(site, host), *interfaces):
        if interfaces.get(zone, {}).get("address6"):
            return str(interfaces[zone]["address6"])
    return None


def host_addresses(site: Site, host: str, toward: str | None = None) -> list[str]:
    """A host's own addresses, IPv4 first."""
    other = host_address6(site, host, toward)
    return [host_address(site, host, toward), *([other] if other else [])]


def seen_as(site: Site, host: str, zone: str) -> str:
    """The address under which hosts of `zone` see `host`: its own, or the translated one where the open zone is entered."""
    own = host_address(site, host, zone)
    home = host_zone(site, host)
    if zone != open_zone(site) or home == zone or zone in site["hosts"][host]["interfaces"]:
        return own
    public = site["hosts"][host].get("public")
    if public:
        return str(public)
    pat = site.get("pat") or {}
    return str(pat["address"]) if pat.get("zone") == home else own


def all_seen_as(site: Site, host: str, zone: str) -> list[str]:
    """All addresses under which hosts of `zone` see `host`, IPv4 first."""
    other = host_address6(site, host, zone)
    return [seen_as(site, host, zone), *([other] if other else [])]


def _endpoints(site: Site, value: Any) -> Iterator[tuple[str, str]]:
    """Resolve `from` or `to` of a flow to ('zone', name) and ('host', name) pairs."""
    for item in as_list(value):
        if item == ANY:
            for zone in level_zones(site):
                yield ("zone", zone)
        else:
            yield ("zone" if item in site["zones"] else "host", item)


def _ports(site: Site, services: Iterable[str]) -> dict[str, list[int]]:
    """Ports of services by protocol, sorted."""
    out: dict[str, set[int]] = {}
    for name in services:
        for protocol in ("tcp", "udp"):
            out.setdefault(protocol, set()).update(site["services"][name].get(protocol, []))
    return {protocol: sorted(ports) for protocol, ports in out.items() if ports}


def policy_rules(site: Site, gate: str | None = None) -> list[dict[str, Any]]:
    """The rules of a gate (the firewall where none is named): one for each pair of ends and protocol that crosses it or
    ends at it.

    Each rule has ``chain`` (forward, input, output), ``flow`` (the id it comes from), ``iif`` and ``oif`` (zone or None),
    ``saddr`` and ``daddr`` (address, network or None for any), ``protocol`` and ``ports``.
    """
    gate = gate or firewall_host(site)
    rules = []
    for flow in site["flows"]:
        for source in _endpoints(site, flow["from"]):
            for target in _endpoints(site, flow["to"]):
                for ends in _rule_ends(site, gate, source, target):
                    for protocol, ports in _ports(site, flow["services"]).items():
                        rules.append({"flow": flow["id"], **ends, "protocol": protocol, "ports": ports})
    return rules


def _side(site: Site, gate: str | None, zone: str) -> str:
    """The zone by whose interface a gate reaches another zone: a foot of its own, or the way to the one that has it."""
    if gate is None or zone in tunnel_zones(site, gate):
        return zone
    end = site["zones"][zone].get("tunnel")
    if end:
        return _side(site, gate, host_zone(site, end))
    return zone if zone in site["hosts"][gate]["interfaces"] else host_zone(site, gate)


def _zone_toward(site: Site, end: tuple[str, str], other: tuple[str, str]) -> str:
    """The zone of one end of a flow. Of a host with several feet the one that it shares with the other end counts."""
    kind, name = end
    if kind == "zone":
        return name
    feet = site["hosts"][name]["interfaces"]
    there = [other[1]] if other[0] == "zone" else list(site["hosts"][other[1]]["interfaces"])
    shared = [zone for zone in reversed(level_zones(site)) if zone in feet and zone in there]
    return shared[0] if shared else host_zone(site, name)


def _rule_ends(site: Site, gate: str | None, source: tuple[str, str], target: tuple[str, str]) -> list[dict[str, Any]]:
    """Chain, interfaces and addresses of one pair of ends, once for each family; nothing where the pair does not touch the gate."""
    from_gate, to_gate = source == ("host", gate), target == ("host", gate)
    if from_gate and to_gate:
        return []
    source_zone = _zone_toward(site, target if from_gate else source, source if from_gate else target)
    target_zone = _zone_toward(site, source if to_gate else target, target if to_gate else source)
    iif, oif = _side(site, gate, source_zone), _side(site, gate, target_zone)
    # What comes and goes by one side does not cross the gate; a concentrator forwards for its own tunnels alone.
    ours = gate == firewall_host(site) or {source_zone, target_zone} & set(tunnel_zones(site, gate))
    if not (from_gate or to_gate) and (iif == oif or not ours):
        return []
    out: list[dict[str, Any]] = []
    for family in FAMILIES:
        ends = _end_address(site, family, source, target_zone), _end_address(site, family, target, source_zone)
        if "" in ends:
            continue
        entry = {
            "chain": "output" if from_gate else "input" if to_gate else "forward",
            "iif": None if from_gate else iif,
            "oif": None if to_gate else oif,
            "saddr": ends[0],
            "daddr": ends[1],
        }
        # Without an address on either side one rule is for both families.
        if entry not in out:
            out.append(entry)
    return out


def _end_address(site: Site, family: int, end: tuple[str, str], toward: str) -> str | None:
    """Address or network of one end of a flow: None for any, nothing at all ("") where it has no part in the family."""
    kind, name = end
    if kind == "host":
        return host_address(site, name, toward) if family == 4 else host_address6(site, name, toward) or ""
    return None if name == open_zone(site) else str(site["zones"][name].get(KEYS[family][0]) or "")


def policy_border_zones(site: Site, router: str) -> dict[str, int]:
    """Zones of a border router, what lies beyond it first, with the link group of each one's interface."""
    feet = sorted(site["hosts"][router]["interfaces"], key=lambda zone: site["zones"][zone].get("level", -1))
    return {zone: zone_group(site, zone) for zone in feet}


def policy_border_rules(site: Site, router: str) -> list[dict[str, Any]]:
    """Access lists of a border router, in the form of `policy_rules`: the same flows, as they look outside the firewall.

    Out there hosts are known by their translated addresses, and only what crosses the router or ends at it counts (NET-7).
    """
    beyond, near = list(policy_border_zones(site, router))[:2]
    rules = []
    for flow in site["flows"]:
        for source in _endpoints(site, flow["from"]):
            for target in _endpoints(site, flow["to"]):
                found = [_border_ends(site, router, beyond, near, source, target, family) for family in FAMILIES]
                for ends in (ends for ends in found if ends is not None):
                    for protocol, ports in _ports(site, flow["services"]).items():
                        rule = {"flow": flow["id"], **ends, "protocol": protocol, "ports": ports}
                        if rule not in rules:
                            rules.append(rule)
    return rules


def _border_ends(
    site: Site, router: str, beyond: str, near: str, source: tuple[str, str], target: tuple[str, str], family: int
) -> dict[str, Any] | None:
    """Chain, interfaces and addresses of one pair of ends at a border router; None where it sees nothing of the pair."""

    def is_beyond(end: tuple[str, str]) -> bool:
        if end[0] == "zone":
            return end[1] == open_zone(site)
        return host_zone(site, end[1]) == open_zone(site) and near not in site["hosts"][end[1]]["interfaces"]

    def outside_address(end: tuple[str, str]) -> str | None:
        """As the router sees an end on its near side; None for one that nobody out there can name."""
        if family == 6:
            return _end_address(site, 6, end, near) or None
        if end[0] == "host":
            seen = seen_as(site, end[1], open_zone(site))
        else:
            pat = site.get("pat") or {}
            seen = str(pat["address"]) if pat.get("zone") == end[1] else ""
        network = ipaddress.ip_network(site["zones"][near]["network"])
        return seen if seen and ipaddress.ip_address(seen) in network else None

    def beyond_address(end: tuple[str, str]) -> str | None:
        return _end_address(site, family, end, beyond) if end[0] == "host" else None

    own = ("host", router)
    if own in (source, target):
        return _border_own(site, router, near, source, target, outside_address, family)
    if "" in (beyond_address(source), beyond_address(target)):
        return None
    if is_beyond(source) and not is_beyond(target):
        address = outside_address(target)
        if address and target[0] == "host":
            return {"chain": "forward", "iif": beyond, "oif": near, "saddr": beyond_address(source), "daddr": address}
    if is_beyond(target) and not is_beyond(source):
        address = outside_address(source)
        if address:
            return {"chain": "forward", "iif": near, "oif": beyond, "saddr": address, "daddr": beyond_address(target)}
    return None


def _border_own(
    site: Site, router: str, near: str, source: tuple[str, str], target: tuple[str, str], outside_address: Any, family: int
) -> dict[str, Any] | None:
    """The ends of a flow that begins or ends at the router itself."""
    own = _end_address(site, family, ("host", router), near)
    # The open zone is everybody that the router can reach, whichever side they are on.
    if source == ("host", router) and target == ("zone", open_zone(site)):
        return {"chain": "output", "iif": None, "oif": None, "saddr": None, "daddr": None}
    if source == target or "zone" in (source[0], target[0]) or not own:
        return None
    if source == ("host", router):
        public = site["hosts"][target[1]].get("public") if family == 4 else None
        peer = public or _end_address(site, family, target, near)
        return {"chain": "output", "iif": None, "oif": near, "saddr": own, "daddr": peer} if peer else None
    seen = outside_address(source)
    return {"chain": "input", "iif": near, "oif": None, "saddr": seen, "daddr": own} if seen or family == 4 else None


def policy_bogons(site: Site, beyond: str) -> list[str]:
    """Networks that no packet can honestly come from out there: the site's own, and those that are routed nowhere.

    Sources: RFC 1918, RFC 6890. Networks for documentation and benchmarks are left out, since labs use them.
    """
    own = [network for name in site["zones"] if name != beyond for network in zone_networks(site, name)]
    six = NOWHERE6 if any(":" in network for network in own) else ()
    nets: list[Any] = [ipaddress.ip_network(network) for network in (*own, *NOWHERE, *six)]
    out: list[str] = []
    for version in FAMILIES:
        out += [str(network) for network in ipaddress.collapse_addresses(net for net in nets if net.version == version)]
    return out


def policy_static(site: Site) -> list[dict[str, str]]:
    """Static translations: the public and the private address of each host that has both. Where they are one, the host stands
    outside, and nobody translates.
    """
    return [
        {"host": name, "public": host["public"], "private": host_address(site, name)}
        for name, host in site["hosts"].items()
        if host.get("public") and host["public"] != host_address(site, name)
    ]


def policy_sources(site: Site, host: str, service: str) -> list[str]:
    """Who may connect to a service of a host, as that host sees them: addresses and networks, or just ``any``."""
    found: list[str] = []
    zone = host_zone(site, host)
    for flow in site["flows"]:
        if service not in flow["services"] or host not in _targets(site, flow["to"]):
            continue
        for kind, name in _endpoints(site, flow["from"]):
            if kind == "zone" and name == open_zone(site):
                return [ANY]
            if kind == "host" and name == host:
                continue
            seen = all_seen_as(site, name, zone) if kind == "host" else zone_networks(site, name)
            found += [address for address in seen if address not in found]
    return found


def policy_targets(site: Site, host: str, service: str) -> list[str]:
    """The addresses at which a host may use a service of other hosts, as it knows them."""
    out: list[str] = []
    for flow in site["flows"]:
        if service not in flow["services"] or ("host", host) not in _endpoints(site, flow["from"]):
            continue
        for name in sorted(_targets(site, flow["to"]) - {host}, key=list(site["hosts"]).index):
            out += [address for address in host_addresses(site, name, host_zone(site, host)) if address not in out]
    return out


def leads_out(site: Site, host: str, port: int) -> bool:
    """Whether some flow lets a host reach a TCP port of anybody in the world."""
    names = {name for name, service in site["services"].items() if port in service.get("tcp", [])}
    own = {("host", host), ("zone", host_zone(site, host))}
    return any(
        names & set(flow["services"])
        and own & set(_endpoints(site, flow["from"]))
        and ("zone", open_zone(site)) in _endpoints(site, flow["to"])
        for flow in site["flows"]
    )


def policy_inside(site: Site) -> list[str]:
    """Networks of the zones that no stranger is in: those behind the firewall, and beyond tunnels."""
    return [network for zone in [*level_zones(site)[1:], *tunnel_zones(site)] for network in zone_networks(site, zone)]


def _targets(site: Site, value: Any) -> set[str]:
    """Names of the hosts that `to` of a flow opens; the open zone means strangers, so none of ours."""
    out: set[str] = set()
    for kind, name in _endpoints(site, value):
        if kind == "host":
            out.add(name)
        elif name != open_zone(site):
            out.update(h for h in site["hosts"] if host_zone(site, h) == name)
    return out


def policy_wrappers(site: Site, host: str) -> list[dict[str, Any]]:
    """What TCP wrappers of a host allow: one entry for each daemon name, with its clients."""
    clients: dict[str, list[str]] = {}
    for name, service in site["services"].items():
        if "wrapper" not in service:
            continue
        for source in policy_sources(site, host, name):
            entry = clients.setdefault(service["wrapper"], [])
            if source not in entry:
                entry.append("ALL" if source == ANY else source)
    return [{"daemon": daemon, "clients": seen} for daemon, seen in clients.items()]


def policy_senders(site: Site, host: str, service: str) -> dict[str, str]:
    """Hosts that flows name as clients of a service of `host`: the address it sees -> name."""
    zone = host_zone(site, host)
    out = {}
    for flow in site["flows"]:
        if service in flow["services"] and host in _targets(site, flow["to"]):
            for kind, name in _endpoints(site, flow["from"]):
                if kind == "host" and name != host:
                    out.update(dict.fromkeys(all_seen_as(site, name, zone), name))
    return dict(sorted(out.items()))


def policy_links(site: Site, host: str, knows_public: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The links of a host for the network role: name, MAC, group, addresses with prefix, default gateway, routes.

    Hosts in `knows_public` carry their public address on the link, and their own on a logical sub-interface (GW-7).
    """
    links = []
    for zone, interface in site["hosts"][host]["interfaces"].items():
        network = ipaddress.ip_network(site["zones"][zone]["network"])
        link: dict[str, Any] = {
            "name": zone,
            "mac": interface.get("mac"),
            "device": interface.get("device"),
            "group": zone_group(site, zone),
            "addresses": [f"{interface['address']}/{network.prefixlen}"],
            "gateway": _gateway(site, host, zone) if zone == _way_out(site, host) else None,
            "routes": _routes(site, host, zone),
        }
        if interface.get("address6"):
            link["addresses6"] = [f"{interface['address6']}/{ipaddress.ip_network(site['zones'][zone]['network6']).prefixlen}"]
            link["gateway6"] = _gateway6(site, host, zone) if zone == _way_out(site, host) else None
        public = site["hosts"][host].get("public")
        if public and host in knows_public and public != interface["address"]:
            # /32: a wider one would make the network outside look as if it were on this link.
            link["sub_interface"] = {"address": link["addresses"][0], "label": f"{zone}:1"}
            link["addresses"] = [f"{public}/32"]
        if host == firewall_host(site) and zone == open_zone(site):
            link["addresses"] += [f"{address}/32" for address in _translated(site)]
        links.append(link)
    return links


def _way_out(site: Site, host: str) -> str | None:
    """The zone by which a host leaves for the rest of the world: of those with another's gateway the least trusted."""
    ways = [zone for zone in site["hosts"][host]["interfaces"] if _gateway(site, host, zone)]
    return min(ways, key=lambda zone: site["zones"][zone].get("level") or 0, default=None)


def _routes(site: Site, host: str, zone: str) -> list[dict[str, str]]:
    """The routes of a host on one of its zones: inner zones through the firewall, tunnel zones through the concentrator."""
    gate = firewall_host(site)
    feet = set(site["hosts"][host]["interfaces"])
    out = []
    # Only a host in the open zone is told: the others have the firewall as their default gateway, unless that is outside.
    if gate and gate != host and zone == host_zone(site, host) and open_zone(site) in feet:
        out += [way for z in level_zones(site)[1:] if z not in feet for way in _ways(site, z, gate, zone)]
    for far in tunnel_zones(site):
        end = site["zones"][far]["tunnel"]
        if end != host and zone == host_zone(site, end):
            out += _ways(site, far, end, zone)
    return out


def _ways(site: Site, to: str, via: str, zone: str) -> list[dict[str, str]]:
    """The routes to a zone by a neighbour on another zone, in each family that both have."""
    hops = {ipaddress.ip_address(address).version: address for address in host_addresses(site, via, zone)}
    networks = {ipaddress.ip_network(network).version: network for network in zone_networks(site, to)}
    return [{"to": network, "via": hops[family]} for family, network in networks.items() if family in hops]


def _translated(site: Site) -> list[str]:
    """Addresses that the firewall answers for."""
    pat = site.get("pat") or {}
    return [entry["public"] for entry in policy_static(site)] + ([pat["address"]] if pat else [])


def _gateway(site: Site, host: str, zone: str) -> str | None:
    """The default gateway of a host on a zone: the address of the zone's gateway, unless that is the host itself."""
    gateway = site["zones"][zone].get("gateway")
    if gateway is None or gateway == host:
        return None
    if gateway in site["hosts"]:
        return str(site["hosts"][gateway]["interfaces"][zone]["address"])
    return str(gateway)


def _gateway6(site: Site, host: str, zone: str) -> str | None:
    """The same for IPv6; a gateway that is no host of the inventory is named by the zone's `gateway6`."""
    settings = site["zones"][zone]
    gateway = settings.get("gateway")
    if gateway == host:
        return None
    interfaces = site["hosts"].get(gateway, {}).get("interfaces", {})
    address = interfaces[zone].get("address6") if interfaces else settings.get("gateway6")
    return str(address) if address else None


def policy_zones(site: Site, gate: str | None = None) -> dict[str, int]:
    """Zones that a gate (the firewall where none is named) has an interface in, the least trusted first, each with the
    link group of that interface; tunnel zones come last and share one.
    """
    gate = gate or firewall_host(site)
    feet = site["hosts"][gate]["interfaces"] if gate else site["zones"]
    return {zone: zone_group(site, zone) for zone in [*(z for z in level_zones(site) if z in feet), *tunnel_zones(site, gate)]}


def policy_pat(site: Site) -> dict[str, Any]:
    """Dynamic translation with the network instead of the zone's name; empty where there is none."""
    pat = site.get("pat") or {}
    if not pat:
        return {}
    return {"network": site["zones"][pat["zone"]]["network"], "address": pat["address"], "idle": pat["idle"]}


def policy_collector(host: str, site: Site, service: str) -> dict[str, Any]:
    """Where clients of a service of `host` connect to: over TCP where the service has it, else UDP."""
    protocol = "tcp" if site["services"][service].get("tcp") else "udp"
    return {"host": host_address(site, host), "port": site["services"][service][protocol][0], "protocol": protocol}


def policy_listeners(site: Site, host: str, service: str) -> list[dict[str, Any]]:
    """The ports of a service on a host's own addresses, one entry each."""
    return [
        {"protocol": protocol, "port": port, "address": address}
        for protocol in ("tcp", "udp")
        for port in site["services"][service].get(protocol, [])
        for address in host_addresses(site, host)
    ]


def policy_addresses(site: Site, hosts: list[str]) -> list[str]:
    """All own addresses of some hosts."""
    return [address for host in hosts for address in host_addresses(site, host)]


def policy_names(site: Site, hosts: list[str]) -> list[dict[str, Any]]:
    """Lines of a hosts file for these hosts: the addresses of each on its own zone, full name first (hosts(5))."""
    return [
        {"address": address, "names": [f"{name}.{site['domain']}", name]}
        for name in site["hosts"]
        if name in hosts
        for address in host_addresses(site, name)
    ]


def policy_resolvers(site: Site, host: str, nameservers: list[str]) -> list[str]:
    """Addresses of the name servers that look names up for a host: none for the firewall itself and beyond it.

    Hosts of the open zone see the outside view, which answers for its own names only, and a gate resolves nothing: a
    resolver that does not answer would only cost time.
    """
    if host == firewall_host(site) or tunnel_zones(site, host) or host_zone(site, host) == open_zone(site):
        return []
    addresses = policy_addresses(site, nameservers)
    return sorted(addresses, key=lambda address: ":" in address)[:MOST_RESOLVERS]


def policy_known_as(site: Site, hosts: list[str]) -> dict[str, list[str]]:
    """Other names of these hosts: the full one and the addresses on their own zone."""
    out: dict[str, list[str]] = {}
    for entry in policy_names(site, hosts):
        out.setdefault(entry["names"][1], [entry["names"][0]]).append(entry["address"])
    return out


class FilterModule:
    """Filters that resolve the flow table."""

    def filters(self) -> dict[str, Any]:
        return {
            "policy_rules": policy_rules,
            "policy_border_rules": policy_border_rules,
            "policy_border_zones": policy_border_zones,
            "policy_bogons": policy_bogons,
            "policy_static": policy_static,
            "policy_sources": policy_sources,
            "policy_wrappers": policy_wrappers,
            "policy_senders": policy_senders,
            "policy_links": policy_links,
            "policy_names": policy_names,
            "policy_zones": policy_zones,
            "policy_pat": policy_pat,
            "policy_collector": policy_collector,
            "policy_inside": policy_inside,
            "policy_listeners": policy_listeners,
            "policy_addresses": policy_addresses,
            "policy_targets": policy_targets,
            "policy_known_as": policy_known_as,
            "policy_resolvers": policy_resolvers,
        }
