"""Serves the policies of the lab's foreign domains (MTA-STS, RFC 8461), each under its own name: sts.py POLICIES CERTIFICATE PORT."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import sys
from pathlib import Path

PLACE = "/.well-known/mta-sts.txt"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what the file of policies has for the name that is asked for, at the time."""

    def do_GET(self) -> None:
        """A policy, or nothing."""
        name = (self.headers["Host"] or "").partition(":")[0]
        text = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")).get(name, "") if self.path == PLACE else ""
        self.send_response(200 if text else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class Server(http.server.ThreadingHTTPServer):
    """Over both families of addresses; whoever says nothing holds nobody else up."""

    address_family = socket.AF_INET6
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    def finish_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """Shake hands in the thread of the connection."""
        request.settimeout(10)
        with self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


if __name__ == "__main__":
    Server.context.load_cert_chain(sys.argv[2])
    Server(("::", int(sys.argv[3])), Handler).serve_forever()
