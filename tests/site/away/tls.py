"""TLS: what a server does in a handshake, and what is read on the wire."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import sys
from typing import Any

from tests.site.away.common import PATIENCE, main, say, trusting


def _until_tls(sock: socket.socket, starttls: str) -> None:
    """Say what is to be said before a handshake."""
    with sock.makefile("rb") as stream:
        for words in {"smtp": ["", "EHLO probe.example", "STARTTLS"], "pop3": ["", "STLS"], "": []}[starttls]:
            if words:
                sock.sendall(words.encode() + b"\r\n")
            while stream.readline()[3:4] == b"-":
                pass


def tls_probe(
    address: str,
    port: int,
    starttls: str = "",
    versions: list[str] | None = None,
    ciphers: str = "ALL",
    authority: str = "",
    name: str = "",
    curve: str = "",
) -> dict[str, Any]:
    """What a server does in a handshake: its version, cipher and certificate, or why there was none.

    starttls: smtp or pop3, where TLS comes after a command; versions: the first and last that are tried, TLSv1 to TLSv1_3; authority:
    PEM text of what its certificate must be signed by, and name: what it must be of; curve: the only one to agree on a key with.
    """
    context = trusting()
    if curve:
        context.set_ecdh_curve(curve)
    if authority:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority)
        context.check_hostname = bool(name)
    if versions:
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")  # this side must not be the one that refuses
        context.minimum_version = ssl.TLSVersion[versions[0]]
        context.maximum_version = ssl.TLSVersion[versions[-1]]
    try:
        with socket.create_connection((address, port), PATIENCE) as sock:
            _until_tls(sock, starttls)
            with context.wrap_socket(sock, server_hostname=name or None) as wrapped:
                der, cipher = wrapped.getpeercert(binary_form=True), wrapped.cipher()
                return {
                    "version": wrapped.version(),
                    "cipher": cipher[0] if cipher else "",
                    "pem": ssl.DER_cert_to_PEM_cert(der) if der else "",
                }
    except OSError as problem:
        return {"version": "", "why": str(problem)}


def starttls_injection(address: str, port: int, injected: str) -> dict[str, Any]:
    """A command in the same packet as STARTTLS: what was answered before the handshake, and after it to nobody's question."""
    with socket.create_connection((address, port), PATIENCE) as sock:
        with sock.makefile("rb") as stream:
            stream.readline()
            sock.sendall(b"EHLO probe.example\r\n")
            while stream.readline()[3:4] == b"-":
                pass
            sock.sendall(f"STARTTLS\r\n{injected}\r\n".encode())
            before = stream.readline().decode("latin-1")
        with trusting().wrap_socket(sock) as wrapped:
            wrapped.settimeout(2)
            after = []
            with contextlib.suppress(TimeoutError):
                after.append(wrapped.recv(512).decode("latin-1"))
            wrapped.settimeout(PATIENCE)
            wrapped.sendall(b"QUIT\r\n")
            return {"before": before, "after": after, "quit": wrapped.recv(512).decode("latin-1")}


def wire_session(port: int, word: str) -> None:
    """Watch all links for packets from or to a TCP port: say "ready", and at the next line how many held the word."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        say("ready")
        seen = 0
        while True:
            readable, _, _ = select.select([sock, sys.stdin], [], [])
            if sock in readable:
                packet = sock.recv(65536)
                # IPv4 and IPv6 alike: the ports are the first of what comes after the header.
                head = (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40
                ports = struct.unpack(">HH", packet[head : head + 4]) if len(packet) >= head + 4 else ()
                seen += port in ports and word.encode() in packet
            elif not sys.stdin.readline():
                return
            else:
                say(seen)


if __name__ == "__main__":
    main(globals())
