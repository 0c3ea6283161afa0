"""The lab's containers and networks, as the modules of community.docker want them, from the inventory's zones and hosts.

The functions are pure; they expect zones and hosts for which `policy_errors` found nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Any

LABEL = "widgets.lab"


def lab_networks(zones: dict[str, Any], prefix: str, engine_version: str) -> list[dict[str, Any]]:
    """One bridge network for each zone that hosts have links in; what lies beyond tunnels has none.

    The gateway is the last usable address and is given to nobody, the host included: what a container sends there goes
    nowhere, so that the only ways between zones are the lab's own routers.
    """
    options = {"com.docker.network.bridge.inhibit_ipv4": "true", "com.docker.network.bridge.enable_ip_masquerade": "false"}
    if int(engine_version.split(".")[0]) >= 28:
        # Since then the engine drops packets that are routed to a container rather than sent by its own bridge's host.
        options["com.docker.network.bridge.gateway_mode_ipv4"] = "nat-unprotected"
    out = []
    for zone, settings in zones.items():
        if settings.get("tunnel"):
            continue
        network = ipaddress.ip_network(settings["network"])
        out.append(
            {
                "name": f"{prefix}-{zone}",
                "zone": zone,
                "subnet": str(network),
                "gateway": str(network[-2]),
                "options": options,
            }
        )
    return out


def lab_attachments(host: dict[str, Any], prefix: str) -> list[dict[str, str]]:
    """The networks that one host's container is attached to, with its address on each."""
    return [{"name": f"{prefix}-{zone}", "ipv4_address": link["address"]} for zone, link in host["interfaces"].items()]


def lab_links(host: dict[str, Any]) -> str:
    """The MAC of each of a host's links, told by its address, as the image's lab-links.service wants to be told."""
    return ",".join(f"{link['address']}={link['mac']}" for link in host["interfaces"].values())


def lab_reverse_zone(address: str) -> str:
    """The reverse zone of the /24 that an address lies in, the smallest block that DNS delegates without tricks; of the /64 in IPv6."""
    return ipaddress.ip_address(address).reverse_pointer.split(".", 16 if ":" in address else 1)[-1]


def lab_reverse_name(address: str) -> str:
    """The name that an address has in its reverse zone, with its final dot."""
    return ipaddress.ip_address(address).reverse_pointer + "."


def lab_between(names: list[str]) -> list[str]:
    """The names between the root and these, but for themselves: a zone at the root knows them only because others lie below."""
    above = {name.split(".", cut)[cut] for name in names for cut in range(1, name.count(".") + 1)}
    return sorted(above - set(names))


# Whom the servers' names in a policy fit (MTA-STS): the mail server's own, any below the domain, or somebody else's.
STS_MX = {"own": "mx.{0}", "any": "*.{0}", "other": "mx.nobody.example"}
# Which certificate a mail server shows who asks for it by its name: without one it is that of another name.
STS_SHOWN = {"own": "world-own", "any": "world-any", "unknown": "unknown-own"}


def lab_sts_names(domains: dict[str, dict[str, str]], foreign: str) -> dict[str, list[str]]:
    """Certificates of domains with a policy (MTA-STS), each with its names: what their mail servers show, and the policies' server."""
    out: dict[str, list[str]] = {"world-web": [f"mta-sts.{name}.{foreign}" for name in domains]} if domains else {}
    for name, said in domains.items():
        if shown := STS_SHOWN.get(said["shows"]):
            out.setdefault(shown, []).append(("*" if shown == "world-any" else "mx") + f".{name}.{foreign}")
    return out


def lab_sts_policies(domains: dict[str, dict[str, str]], foreign: str) -> dict[str, str]:
    """The policy of each domain, by the name of its server."""
    return {
        f"mta-sts.{name}.{foreign}": "version: STSv1\r\n"
        f"mode: {said['mode']}\r\nmx: {STS_MX[said['mx']].format(f'{name}.{foreign}')}\r\nmax_age: 86400\r\n"
        for name, said in domains.items()
    }


def lab_sts_shown(domains: dict[str, dict[str, str]], foreign: str) -> dict[str, str]:
    """The certificate that a mail server shows, by the name that it is asked for."""
    return {f"mx.{name}.{foreign}": STS_SHOWN[said["shows"]] for name, said in domains.items() if said["shows"] in STS_SHOWN}


def lab_conflicts(
    networks: list[dict[str, Any]], hosts: list[str], prefix: str, engine: dict[str, list[dict[str, Any]]]
) -> list[str]:
    """What stands in the lab's way on this engine, one sentence each.

    `engine` holds the engine's containers and networks as docker_host_info gives them.
    """
    errors = []
    wanted = {network["name"]: ipaddress.ip_network(network["subnet"]) for network in networks}
    for other in engine["networks"]:
        name = other["Name"]
        if (other.get("Labels") or {}).get(LABEL):
            continue
        if name in wanted:
            errors.append(
                f"A network {name} exists that the lab did not make; remove it (docker network rm {name}) or set another lab_prefix."
            )
        for config in (other.get("IPAM") or {}).get("Config") or []:
            for mine, subnet in wanted.items():
                taken = ipaddress.ip_network(config["Subnet"])
                if name != mine and taken.version == subnet.version and taken.overlaps(subnet):
                    errors.append(
                        f"The lab's network {mine} ({subnet}) overlaps the engine's network {name} ({taken}); "
                        f"remove that one (docker network rm {name}) or move the lab's zone in site_zones."
                    )
    names = {f"{prefix}-{host}" for host in hosts}
    for container in engine["containers"]:
        for name in (given.lstrip("/") for given in container["Names"]):
            if name in names and not (container.get("Labels") or {}).get(LABEL):
                errors.append(
                    f"A container {name} exists that the lab did not make; remove it (docker rm -f {name}) or set another lab_prefix."
                )
    return errors


class FilterModule:
    """Names under which Ansible finds the functions above."""

    def filters(self) -> dict[str, Any]:
        """Map the filters' names to functions."""
        return {
            "lab_networks": lab_networks,
            "lab_attachments": lab_attachments,
            "lab_links": lab_links,
            "lab_reverse_name": lab_reverse_name,
            "lab_reverse_zone": lab_reverse_zone,
            "lab_between": lab_between,
            "lab_sts_names": lab_sts_names,
            "lab_sts_policies": lab_sts_policies,
            "lab_sts_shown": lab_sts_shown,
            "lab_conflicts": lab_conflicts,
        }
