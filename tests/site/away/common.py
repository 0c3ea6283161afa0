"""What all of them share: how a module is run on a host, how long a server may take, TLS with whoever is there."""

from __future__ import annotations

import json
import socket
import ssl
import sys
from typing import Any

PATIENCE = 20.0  # seconds that a server may take over an answer; more than any delay it makes on purpose


def say(value: Any) -> None:
    """One line of JSON to whoever called."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def trusting(certificate: str = "") -> ssl.SSLContext:
    """TLS with whoever is there, whatever he shows; with a certificate of one's own where one is named."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    return context


def family_of(address: str) -> tuple[socket.AddressFamily, int]:
    """The family of an address, and what a frame calls it."""
    return (socket.AF_INET6, 0x86DD) if ":" in address else (socket.AF_INET, 0x0800)


def main(functions: dict[str, Any]) -> None:
    """Call the named function with the arguments on standard input."""
    function = functions[sys.argv[1]]
    result = function(**json.loads(sys.stdin.readline()))
    if not sys.argv[1].endswith("_session"):
        say(result)
