"""Many attempts of one host at once, each as a client would make it, and what came of each: facts, no judgement.

Sent to a host and run there (`python3 -c`), so only the standard library is imported and nothing newer than Python 3.11 used.
Standard input is one JSON document, {"patience": seconds, "hearing": seconds, "probes": [...]}, each probe with the second `at` which
it begins; standard output is a list with an entry for each probe:

    state  silence, reset, unreachable (nothing opened); open, closed (it did, and how it stood at the end)
    words  what was heard; "dns CODE" of a name server's reply, "echo" of an echo reply
    from   own address, mark  own port or the id of the echo request, by which a log knows the packet
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
import struct
import sys
import time
from typing import Any

# An answer of the target itself that there is nothing; everything else that the kernel reports came from the way.
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def family(address: str) -> socket.AddressFamily:
    """The address family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def failed(error: OSError) -> str:
    """How an attempt ended that the kernel gave up. One that this host's own firewall forbade was never heard of anywhere."""
    if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
        return "reset"
    return "silence" if error.errno in (errno.EPERM, errno.ETIMEDOUT) else "unreachable"


def question(name: str) -> bytes:
    """A DNS query for the SOA of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return os.urandom(2) + struct.pack(">HHHHH", 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 6, 1)


def reply(packet: bytes) -> str:
    """What a name server said."""
    return f"dns {CODES.get(packet[3] & 15, packet[3] & 15)}" if len(packet) >= 12 else "no dns"


async def converse(sock: socket.socket, probe: dict[str, Any], hearing: float) -> dict[str, Any]:
    """What is heard on an open connection, after what the client has to say first."""
    context = None
    if probe.get("tls"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    writer = None
    try:
        async with asyncio.timeout(hearing):
            reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname="x" if context else None)
            if "dns" in probe:
                packet = question(probe["dns"])
                writer.write(struct.pack(">H", len(packet)) + packet)
            elif "line" in probe:
                writer.write(probe["line"].encode() + b"\n")
            await writer.drain()
            heard = await reader.read(512)
    except TimeoutError:
        return {"state": "open", "words": ""}
    except OSError as error:  # ssl.SSLError is one
        return {"state": "closed", "words": f"({error.__class__.__name__})"}
    finally:
        if writer:
            writer.transport.abort()
        # The loop lets go of the socket in its next round, and only then may its number be used again.
        await asyncio.sleep(0)
    words = reply(heard[2:]) if "dns" in probe and heard else heard.decode("latin-1").split("\r\n")[0]
    return {"state": "open" if heard else "closed", "words": words}


async def tcp(probe: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Open a connection, and hear what there is to be heard."""
    loop = asyncio.get_running_loop()
    with socket.socket(family(probe["address"])) as sock:
        sock.setblocking(False)
        sock.bind(("", 0))
        try:
            await asyncio.wait_for(loop.sock_connect(sock, (probe["address"], probe["port"])), spec["patience"])
            state = "open"
        except TimeoutError:
            state = "silence"
        except OSError as error:
            state = failed(error)
        out = {"state": state, "words": "", "from": sock.getsockname()[0], "mark": sock.getsockname()[1]}
        if state == "open":
            out |= await converse(sock, probe, spec["hearing"])
        return out


async def udp(probe: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Send one datagram, and wait for one. A question is asked twice: this protocol may lose either."""
    loop = asyncio.get_running_loop()
    with socket.socket(family(probe["address"]), socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((probe["address"], probe["port"]))
        out = {"state": "silence", "words": "", "from": sock.getsockname()[0], "mark": sock.getsockname()[1]}
        packet = question(probe["dns"]) if "dns" in probe else probe["line"].encode()
        for _ in range(2 if "dns" in probe else 1):
            try:
                sock.send(packet)
                heard = await asyncio.wait_for(loop.sock_recv(sock, 512), spec["patience"])
                return {**out, "state": "open", "words": reply(heard)}
            except TimeoutError:
                continue
            except OSError as error:
                return {**out, "state": failed(error)}
        return out


async def icmp(probe: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Ask for an echo, twice. The id tells the reply from those to others."""
    loop = asyncio.get_running_loop()
    mark = 1 + int.from_bytes(os.urandom(2), "big") % 65535
    six = family(probe["address"]) is socket.AF_INET6
    asks, answers = (128, 129) if six else (8, 0)
    with socket.socket(
        family(probe["address"]), socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    ) as sock:
        sock.setblocking(False)
        # A connected raw socket hears this one host alone.
        sock.connect((probe["address"], 0))
        out = {"state": "silence", "words": "", "from": sock.getsockname()[0], "mark": mark}
        for number in (1, 2):
            head = struct.pack(">BBHHH", asks, 0, 0, mark, number)
            total = sum(struct.unpack(">4H", head))
            total = (total & 0xFFFF) + (total >> 16)
            # In IPv6 the kernel puts the sum right, and hands over what comes after the header.
            try:
                sock.send(head[:2] + struct.pack(">H", ~total & 0xFFFF) + head[4:])
                end = loop.time() + spec["patience"]
                while True:
                    heard = await asyncio.wait_for(loop.sock_recv(sock, 512), end - loop.time())
                    kind, _code, _sum, name = struct.unpack(">BBHH", heard[0 if six else (heard[0] & 15) * 4 :][:6])
                    if kind == answers and name == mark:
                        return {**out, "state": "open", "words": "echo"}
            except TimeoutError:
                continue
            except OSError as error:
                return {**out, "state": failed(error)}
        return out


async def run(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All probes, each begun at its time and all waited for together."""
    how = {"tcp": tcp, "udp": udp, "icmp": icmp}
    begin = time.monotonic()

    async def in_time(probe: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(begin + probe["at"] - time.monotonic())
        return await how[probe["protocol"]](probe, spec)

    return await asyncio.gather(*(in_time(probe) for probe in spec["probes"]))


if __name__ == "__main__":
    json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)
