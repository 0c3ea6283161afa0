"""Questions to a name server, and its answers as they are on the wire."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from tests.site.away.common import main

TYPES = {"A": 1, "NS": 2, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "AXFR": 252, "ANY": 255}
TYPES |= {"DS": 43, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3": 50, "TLSA": 52}
AUTHENTIC, UNCHECKED = 0x0020, 0x0010  # flags: signatures are sound; do not look at signatures (RFC 4035, 3.2)
# What asks for signatures as well: a pseudo-record with the bit DO (RFC 6891, 6.1; RFC 3225).
SIGNATURES = b"\0" + struct.pack(">HHIH", 41, 4096, 0x8000, 0)
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def _encode(name: str) -> bytes:
    labels = [label for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def _decode(packet: bytes, at: int) -> tuple[str, int]:
    """A name in a packet, and where it ends (RFC 1035 4.1.4)."""
    labels: list[str] = []
    end = -1
    while packet[at]:
        if packet[at] >= 0xC0:
            end = at + 2 if end < 0 else end
            at = struct.unpack(">H", packet[at : at + 2])[0] & 0x3FFF
            continue
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("latin-1"))
        at += packet[at] + 1
    return ".".join(labels).lower(), end if end >= 0 else at + 1


def _value(packet: bytes, kind: int, at: int, length: int) -> str:
    data = packet[at : at + length]
    if kind == TYPES["A"]:
        return socket.inet_ntoa(data)
    if kind == TYPES["AAAA"]:
        return socket.inet_ntop(socket.AF_INET6, data)
    if kind in (TYPES["NS"], TYPES["PTR"]):
        return _decode(packet, at)[0]
    if kind == TYPES["MX"]:
        return f"{struct.unpack('>H', data[:2])[0]} {_decode(packet, at + 2)[0]}"
    if kind == TYPES["TXT"]:
        text = b""
        while data:
            text, data = text + data[1 : 1 + data[0]], data[1 + data[0] :]
        return text.decode("latin-1")
    return data.hex()


def _records(packet: bytes, counts: tuple[int, ...], at: int) -> list[list[list[str]]]:
    """Answer, authority and additional section, each a list of [name, type, value]."""
    names = {number: name for name, number in TYPES.items()}
    sections = []
    for count in counts:
        section = []
        for _ in range(count):
            name, at = _decode(packet, at)
            kind, _class, _ttl, length = struct.unpack(">HHIH", packet[at : at + 10])
            at += 10
            section.append([name, names.get(kind, str(kind)), _value(packet, kind, at, length)])
            at += length
        sections.append(section)
    return sections


def _exchange(server: str, port: int, packet: bytes, tcp: bool) -> bytes:
    if not tcp:
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(packet, (server, port))
            return sock.recv(4096)
    with socket.create_connection((server, port), 5) as sock, sock.makefile("rb") as stream:
        sock.sendall(struct.pack(">H", len(packet)) + packet)
        return stream.read(struct.unpack(">H", stream.read(2))[0])


def dns(
    server: str, port: int, questions: list[list[str]], tcp: bool = False, signatures: bool = False, unchecked: bool = False
) -> list[dict[str, Any]]:
    """Ask each [name, type], or [name, type, "CH"], with recursion desired. `code` is SILENT where no answer comes.

    signatures: with those that prove it; unchecked: whatever the server thinks of them. `authentic` is what it says that they are.
    """
    out: list[dict[str, Any]] = []
    for question in questions:
        name, kind = question[0], question[1]
        number = int.from_bytes(os.urandom(2), "big")
        chaos = len(question) > 2
        flags = 0x0100 | (AUTHENTIC if not unchecked else UNCHECKED)
        packet = struct.pack(">HHHHHH", number, flags, 1, 0, 0, int(signatures)) + _encode(name)
        packet += struct.pack(">HH", TYPES[kind], 3 if chaos else 1) + (SIGNATURES if signatures else b"")
        try:
            answer = _exchange(server, port, packet, tcp)
        except (OSError, struct.error):
            out.append({"code": "SILENT", "answer": [], "authority": [], "additional": []})
            continue
        _id, flags, asked, *counts = struct.unpack(">HHHHHH", answer[:12])
        at = 12
        for _ in range(asked):
            at = _decode(answer, at)[1] + 4
        answers, authority, additional = _records(answer, tuple(counts), at)
        out.append(
            {
                "code": CODES.get(flags & 15, str(flags & 15)),
                "recursion": bool(flags & 0x0080),
                "authoritative": bool(flags & 0x0400),
                "authentic": bool(flags & AUTHENTIC),
                "answer": answers,
                "authority": authority,
                "additional": additional,
            }
        )
    return out


if __name__ == "__main__":
    main(globals())
