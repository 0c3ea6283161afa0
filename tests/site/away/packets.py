"""A forger of packets, its witnesses, and questions of ICMP."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.site.away.common import family_of, main, say


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _packet(source: str, target: str, protocol: int, body: bytes, check_at: int, hops: int = 64) -> bytes:
    """A packet with a checksum in its body, over that and the addresses (RFC 9293 3.1, RFC 8200 8.1)."""
    family, _kind = family_of(target)
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    check = _sum(addresses + struct.pack(">II", len(body), protocol) + body)
    body = body[:check_at] + struct.pack(">H", check) + body[check_at + 2 :]
    if family is socket.AF_INET6:
        return struct.pack(">IHBB", 6 << 28, len(body), protocol, hops) + addresses + body
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, hops, protocol, 0) + addresses
    # The kernel fills in the IP checksum of a raw socket, not that of a frame.
    return head[:10] + struct.pack(">H", _sum(head)) + head[12:] + body


def _send(packet: bytes, target: str, around: str) -> None:
    """Send a packet as it is; around: to this MAC, past this host's own packet filter."""
    family, kind = family_of(target)
    if not around:
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.sendto(packet, (target, 0))
        return
    route = subprocess.run(["ip", "-o", "route", "get", target], capture_output=True, text=True, check=True).stdout.split()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind)) as sock:
        sock.sendto(packet, (route[route.index("dev") + 1], kind, 0, 0, bytes.fromhex(around.replace(":", ""))))


def knock(source: str, target: str, target_port: int, source_port: int, around: str = "") -> None:
    """Send the first packet of a TCP connection under any source address. Needs root.

    around: MAC of the next hop; the packet is then put on the wire past this host's own packet filter.
    """
    segment = struct.pack(">HHIIBBHHH", source_port, target_port, 1, 0, 5 << 4, 2, 8192, 0, 0)
    _send(_packet(source, target, socket.IPPROTO_TCP, segment, 16), target, around)


def _coming_in(kind: int) -> Iterator[bytes]:
    """Packets of a kind that come in over any link, once "ready" was said, until input ends."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind)) as sock:
        say("ready")
        while sys.stdin not in select.select([sock, sys.stdin], [], [])[0]:
            packet, origin = sock.recvfrom(2048)
            if origin[2] != socket.PACKET_OUTGOING:
                yield packet


def knocks_session(port: int, family: int = 4) -> None:
    """Watch the links: say "ready", then [source, source port] of each first packet to a TCP port, until input ends."""
    kind, known, addresses = (0x86DD, socket.AF_INET6, slice(8, 24)) if family == 6 else (0x0800, socket.AF_INET, slice(12, 16))
    for packet in _coming_in(kind):
        tcp = packet[40 if family == 6 else (packet[0] & 15) * 4 :]
        protocol = packet[6] if family == 6 else packet[9]
        if protocol != socket.IPPROTO_TCP or len(tcp) < 14:
            continue
        if struct.unpack(">H", tcp[2:4])[0] == port and tcp[13] & 0x12 == 2:
            say([socket.inet_ntop(known, packet[addresses]), struct.unpack(">H", tcp[:2])[0]])


def _heard(sock: socket.socket, targets: list[str], timeout: float, kind_of: Callable[[bytes], int | None]) -> list[list[int]]:
    """The kinds of packets that come back from each target; kind_of: what a packet is, None for nothing of interest."""
    heard: dict[str, set[int]] = {target: set() for target in targets}
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            packet, origin = sock.recvfrom(2048)
        except TimeoutError:
            break
        kind = kind_of(packet) if origin[0] in heard else None
        if kind is not None:
            heard[origin[0]].add(kind)
    return [sorted(heard[target]) for target in targets]


# Kinds of ICMPv6 that say something of a host or change what it does, and their bodies after type, code and checksum.
QUERIES6 = {
    "echo": (128, struct.pack(">HH", 7, 1)),
    "node information": (139, struct.pack(">HHQ", 2, 0, 7)),
    "router renumbering": (138, bytes(12)),
    "experimental": (200, bytes(4)),
}


def ask_icmp6(targets: list[str], timeout: float = 2.5) -> list[list[int]]:
    """Ask each address all of `QUERIES6`: the types of ICMPv6 that come back from it, neighbour discovery aside."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        for target in targets:
            for kind, rest in QUERIES6.values():
                with contextlib.suppress(OSError):  # this host's own filter says no
                    sock.sendto(struct.pack(">BBH", kind, 0, 0) + rest, (target, 0))
        return _heard(sock, targets, timeout, lambda packet: packet[0] if packet[0] not in range(133, 138) else None)


def ask_times(targets: list[str], timeout: float = 2.5) -> list[list[int]]:
    """Ask each address for its time, its network mask and its information (ICMP 13, 17, 15): the types of replies."""
    number = os.getpid() & 0xFFFF

    def kind_of(packet: bytes) -> int | None:
        icmp = packet[(packet[0] & 15) * 4 :]
        return icmp[0] if icmp[0] in (14, 16, 18) and struct.unpack(">H", icmp[4:6])[0] == number else None

    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        for target in targets:
            for kind, rest in ((13, bytes(12)), (17, bytes(4)), (15, b"")):
                head = struct.pack(">BBHHH", kind, 0, 0, number, 1) + rest
                packet = head[:2] + struct.pack(">H", _sum(head)) + head[4:]
                with contextlib.suppress(OSError):  # this host's own filter says no
                    sock.sendto(packet, (target, 0))
        return _heard(sock, targets, timeout, kind_of)


def advertise(link_address: str, prefix: str) -> None:
    """Be a router on the link that has an address: advertise a prefix to make addresses of, and oneself as the way out (RFC 4861 4.2)."""
    device = subprocess.run(
        ["ip", "-o", "address", "show", "to", link_address], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    option = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 1800, 1800, 0) + socket.inet_pton(socket.AF_INET6, prefix)
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        index = socket.if_nametoindex(device.split("@")[0])
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.sendto(body, ("ff02::1", 0, 0, index))


def icmp6_session(kinds: list[int]) -> None:
    """Watch the links: say "ready", then [source, type] of each ICMPv6 packet of these types that comes in, until input ends."""
    for packet in _coming_in(0x86DD):
        # Some come behind a header for the routers on their way.
        at = 40 + (8 + packet[41] * 8 if packet[6] == 0 else 0)
        protocol = packet[40] if packet[6] == 0 else packet[6]
        if protocol == socket.IPPROTO_ICMPV6 and packet[at] in kinds:
            say([socket.inet_ntop(socket.AF_INET6, packet[8:24]), packet[at]])


if __name__ == "__main__":
    main(globals())
