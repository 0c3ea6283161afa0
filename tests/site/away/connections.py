"""Connections that are only opened, and packets of UDP: who lets whom in."""

from __future__ import annotations

import concurrent.futures
import contextlib
import select
import socket
import time
from typing import Any

from tests.site.away.common import family_of, main


def probe(targets: list[list[Any]], timeout: float = 2.5, at_once: int = 16) -> list[dict[str, Any]]:
    """Try to open a TCP connection to each [address, port]: open, refused, or silent, and from which port.

    Where each refusal has to be in a log, no more at once than a filter's limit of lines lets through.
    """

    def one(target: list[Any]) -> dict[str, Any]:
        family, anywhere = (socket.AF_INET6, "::") if ":" in target[0] else (socket.AF_INET, "0.0.0.0")
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.bind((anywhere, 0))
            source = sock.getsockname()[1]
            try:
                sock.connect((target[0], target[1]))
                result = "open"
            except ConnectionRefusedError:
                result = "refused"
            except OSError:
                result = "silent"
            return {"result": result, "source_port": source}

    with concurrent.futures.ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(one, targets))


def held_open(targets: list[list[Any]], sources: list[str], timeout: float = 2.5) -> int:
    """Open a TCP connection to each [address, port], from own addresses in turn, and close none before all were tried: how many opened."""
    with contextlib.ExitStack() as stack:
        socks = []
        for number, (address, port) in enumerate(targets):
            sock = stack.enter_context(socket.socket(family_of(address)[0], socket.SOCK_STREAM))
            sock.setblocking(False)
            sock.bind((sources[number % len(sources)], 0))
            sock.connect_ex((address, port))
            socks.append(sock)
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            select.select([], [], [], min(left, 0.1))
            if all(map(_is_open, socks)):
                break
        return sum(map(_is_open, socks))


def _is_open(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def first_words(targets: list[list[Any]], timeout: float) -> list[str]:
    """What each [address, port] says before it is asked, all at once: a greeting, or nothing where it hangs up or is silent."""

    def one(target: list[Any]) -> str:
        try:
            with socket.create_connection((target[0], target[1]), timeout) as sock:
                return sock.recv(512).decode("latin-1")
        except OSError:
            return ""

    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(one, targets))


def datagram(address: str, port: int, text: str) -> None:
    """Send a line in one UDP packet."""
    with socket.socket(family_of(address)[0], socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), (address, port))


if __name__ == "__main__":
    main(globals())
