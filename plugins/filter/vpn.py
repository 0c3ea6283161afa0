"""Who may come through the tunnels of a concentrator: peers checked by themselves, and against the site's zones."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import Site, tunnel_zones, zone_networks

Peer = dict[str, Any]

KEYS = {"name", "public_key", "addresses", "endpoint", "keepalive"}
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}\Z")
ENDPOINT = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):([0-9]{1,5})\Z")
KEEPALIVE_MAX = 65535


def is_key(value: Any) -> bool:
    """Whether a value is a WireGuard key: 32 octets in base64, as `wg pubkey` prints them."""
    try:
        return isinstance(value, str) and len(value) == 44 and len(base64.b64decode(value, validate=True)) == 32
    except (binascii.Error, ValueError):
        return False


def _networks(values: Any) -> tuple[list[Any], list[Any]]:
    """What of a list is networks or addresses, and what is neither."""
    good, bad = [], []
    for value in values if isinstance(values, (list, tuple)) else [values]:
        try:
            good.append(ipaddress.ip_network(value))
        except (ValueError, TypeError):
            bad.append(value)
    return good, bad


def _inside(network: Any, others: Iterable[Any]) -> bool:
    return any(network.version == other.version and network.subnet_of(other) for other in others)


def _of_zone(site: Site, zone: str) -> list[Any]:
    return [ipaddress.ip_network(network) for network in zone_networks(site, zone)]


def vpn_peer_errors(peers: list[Peer], variable: str = "vpn_peers") -> list[str]:
    """What is wrong with peers by themselves, one sentence each: the entry, its value, what is allowed."""
    errors: list[str] = []
    names: set[str] = set()
    keys: dict[str, str] = {}
    taken: list[tuple[Any, str]] = []
    for number, peer in enumerate(peers, 1):
        name = peer.get("name")
        where = f"{variable}, entry {number} ({name or 'without name'})"
        unknown = sorted(set(peer) - KEYS)
        if unknown:
            errors.append(f"{where}: unknown key {', '.join(unknown)}; allowed are {', '.join(sorted(KEYS))}.")
        if not NAME.match(str(name or "")):
            errors.append(f"{where}: name is {name!r}: it must be letters, digits and . _ @ - (at most 64).")
        elif name in names:
            errors.append(f"{where}: the name is taken by an earlier peer; names must differ.")
        names.add(str(name))
        key = peer.get("public_key")
        if not key:
            errors.append(f"{where}: it has no public_key; give what `wg pubkey` prints on the peer.")
        elif not is_key(key):
            errors.append(f"{where}: public_key is {key!r}: it must be 44 characters as `wg pubkey` prints them.")
        elif key in keys:
            errors.append(f"{where}: public_key is {key}, and so is that of {keys[key]}: keys must differ.")
        keys.setdefault(str(key), str(name))
        networks, bad = _networks(peer.get("addresses") or [])
        errors += [
            f"{where}: addresses holds {value!r}: allowed are addresses and networks without host bits." for value in bad
        ]
        if not networks and not bad:
            errors.append(f"{where}: addresses is empty; name what may come out of its tunnel.")
        for network in networks:
            if network.prefixlen == 0:
                errors.append(f"{where}: addresses holds {network}: the whole world does not come out of one tunnel.")
            errors += [
                f"{where}: addresses holds {network}, which overlaps {other} of {owner}: peers must not share addresses."
                for other, owner in taken
                if network.version == other.version and network.overlaps(other)
            ]
        taken += [(network, str(name)) for network in networks]
        errors += _option_errors(peer, where)
    return errors


def _option_errors(peer: Peer, where: str) -> list[str]:
    errors = []
    endpoint = peer.get("endpoint")
    if endpoint:
        found = ENDPOINT.match(str(endpoint))
        if not found or not 1 <= int(found[2]) <= 65535:
            errors.append(f"{where}: endpoint is {endpoint!r}: it must be address:port, such as 198.18.0.30:51820.")
    keepalive = peer.get("keepalive", 0)
    if isinstance(keepalive, bool) or not isinstance(keepalive, int) or not 0 <= keepalive <= KEEPALIVE_MAX:
        errors.append(f"{where}: keepalive is {keepalive!r}: it must be seconds from 0 (none) to {KEEPALIVE_MAX}.")
    return errors


def vpn_errors(site: Site, peers: list[Peer]) -> list[str]:
    """What is wrong with a site's peers, by themselves and against its zones: each lies within one beyond a tunnel."""
    if not isinstance(peers, list) or not all(isinstance(peer, dict) for peer in peers):
        return ["site_vpn_peers must be a list of dictionaries, each with name, public_key and addresses."]
    errors = vpn_peer_errors(peers, "site_vpn_peers")
    beyond = tunnel_zones(site)
    far = [(name, network) for name in beyond for network in _of_zone(site, name)]
    others = [(name, network) for name in site["zones"] if name not in beyond for network in _of_zone(site, name)]
    for number, peer in enumerate(peers, 1):
        where = f"site_vpn_peers, entry {number} ({peer.get('name') or 'without name'})"
        for network in _networks(peer.get("addresses") or [])[0]:
            hit = [(name, other) for name, other in others if network.version == other.version and network.overlaps(other)]
            errors += [
                f"{where}: addresses holds {network}, which overlaps site_zones.{name}.network{'6' if other.version == 6 else ''} "
                f"{other}: what comes out of a tunnel must not pass for that zone."
                for name, other in hit
            ]
            if not hit and not _inside(network, [other for _name, other in far]):
                allowed = ", ".join(f"{name} ({', '.join(zone_networks(site, name))})" for name in beyond) or "(none)"
                errors.append(f"{where}: addresses holds {network}: allowed are those of the zones beyond tunnels, {allowed}.")
    return errors


def vpn_peers(site: Site, peers: list[Peer], host: str) -> list[Peer]:
    """The peers whose tunnels end at a host: those with addresses in its tunnel zones."""
    own = [network for name in tunnel_zones(site, host) for network in _of_zone(site, name)]
    return [peer for peer in peers if any(_inside(network, own) for network in _networks(peer["addresses"])[0])]


def vpn_networks(site: Site, host: str) -> list[str]:
    """The networks beyond the tunnels of a host, of both families."""
    return [network for name in tunnel_zones(site, host) for network in zone_networks(site, name)]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name -> function."""
        return {
            "vpn_errors": vpn_errors,
            "vpn_peers": vpn_peers,
            "vpn_networks": vpn_networks,
        }
