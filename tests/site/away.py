"""What tests do on the lab's hosts: small clients of SMTP, POP, DNS and syslog, a forger of packets, and their witnesses.

This file is sent to a host and run there (`tests.site.lab.Machine.call`), so it imports nothing but the standard library and
keeps to what Python 3.11 knows. The name of a function is its argument; the function's own arguments come as one line of
JSON on standard input, and its result leaves as one line of JSON on standard output. Functions that end in ``_session`` go
on talking, a line for a line.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import errno
import grp
import imaplib
import json
import os
import pathlib
import poplib
import pwd
import re
import select
import socket
import ssl
import stat
import struct
import subprocess
import sys
import time
from typing import Any

# A whole reply of SMTP: lines with a hyphen, and one without.
REPLY = re.compile(rb"(?:\d{3}-[^\n]*\n)*\d{3}(?!-)[^\n]*\n")
STARTING = 3.0  # seconds that a server may need to listen
PATIENCE = 20.0  # seconds that a server may take over an answer; more than any delay it makes on purpose


def say(value: Any) -> None:
    """One line of JSON to whoever called."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


# -- connections -----------------------------------------------------------------------------------------------------


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
            sock = stack.enter_context(socket.socket(_family(address)[0], socket.SOCK_STREAM))
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


# -- SMTP ------------------------------------------------------------------------------------------------------------


def trusting(certificate: str = "") -> ssl.SSLContext:
    """TLS with whoever is there, whatever he shows; with a certificate of one's own where one is named."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    return context


def _connected(address: str, port: int, source: str) -> socket.socket:
    """A connection. A daemon that was started or reloaded a moment ago does not listen yet: a client would come again."""
    end = time.monotonic() + STARTING
    while True:
        try:
            return socket.create_connection((address, port), PATIENCE, (source, 0) if source else None)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class Dialogue:
    """One SMTP connection, line by line: nothing is tidied on the way out, as a client library would.

    A STARTTLS that is answered with 220 starts TLS, with the certificate of a file and its key where one is named; what others show
    is not looked at. `wrapped`: TLS is there from the start.
    """

    def __init__(self, address: str, port: int, source: str = "", certificate: str = "", wrapped: bool = False) -> None:
        self.sock = _connected(address, port, source)
        self.certificate = certificate
        if wrapped:
            self.encrypt()
        self.stream = self.sock.makefile("rb")

    def encrypt(self) -> None:
        """Speak TLS from here on."""
        self.sock = trusting(self.certificate).wrap_socket(self.sock)

    def reply(self) -> str:
        """One reply with all its lines, or nothing where the server has gone."""
        lines = []
        while True:
            line = self.stream.readline().decode("latin-1").rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, command: str) -> str:
        """Send a command (or a message with its final dot) and give the reply."""
        self.sock.sendall(command.encode("latin-1") + b"\r\n")
        reply = self.reply()
        if command.upper() == "STARTTLS" and reply.startswith("220"):
            self.encrypt()
            self.stream = self.sock.makefile("rb")
        return reply

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
        self.sock.close()


def smtp(
    address: str, port: int, commands: list[str], source: str = "", certificate: str = "", wrapped: bool = False
) -> list[str]:
    """The greeting and the reply to each command; replies end where the server hangs up. source: one of several own addresses.

    certificate: a file on that host, to be shown after STARTTLS; wrapped: TLS from the start.
    """
    dialogue = Dialogue(address, port, source, certificate, wrapped)
    replies = [dialogue.reply()]
    for command in commands:
        if not replies[-1]:
            break
        try:
            replies.append(dialogue.ask(command))
        except (ConnectionError, ssl.SSLError):
            replies.append("")
    dialogue.close()
    return replies


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


def smtp_session(address: str, port: int, certificate: str = "") -> None:
    """A connection that stays open: the greeting, then a reply for each command on standard input."""
    dialogue = Dialogue(address, port, certificate=certificate)
    say(dialogue.reply())
    for line in sys.stdin:
        try:
            say(dialogue.ask(json.loads(line)))
        except ConnectionError:
            say("")
    dialogue.close()


def _converse(conversation: dict[str, Any], address: str, port: int, patience: float) -> dict[str, Any]:
    """One of `conversations`."""
    heard: list[str] = []
    pending = b""
    closed = cut = False
    begin = time.monotonic()
    with socket.socket(_family(address)[0], socket.SOCK_STREAM) as sock:
        sock.settimeout(patience)
        try:
            sock.bind((conversation.get("source", ""), 0))
            sock.connect((address, port))
            for turn in conversation["turns"]:
                said = turn["say"].encode("latin-1")
                # A slow sender's bytes leave one by one; whatever the server says meanwhile ends it.
                for at in range(0, len(said), 1 if "gap" in turn else len(said) or 1):
                    if "gap" in turn and select.select([sock], [], [], turn["gap"])[0]:
                        break
                    sock.sendall(said[at : at + 1] if "gap" in turn else said)
                for _ in range(turn.get("hear", 1)):
                    while not (found := REPLY.match(pending)):
                        more = sock.recv(65536)
                        if not more:
                            raise ConnectionError
                        pending += more
                    heard.append(found[0].decode("latin-1").replace("\r\n", "\n").rstrip("\n"))
                    pending = pending[found.end() :]
        except TimeoutError:
            heard.append("(silence)")
        except OSError:
            closed = cut = True
        # What the server says unasked, and before it hangs up, is evidence too: a message more than was sent would show here.
        sock.settimeout(0.3)
        with contextlib.suppress(OSError):
            while more := sock.recv(65536):
                pending += more
            closed = True
    # What was said to somebody who was still talking is an answer all the same.
    while cut and (found := REPLY.match(pending)):
        heard.append(found[0].decode("latin-1").replace("\r\n", "\n").rstrip("\n"))
        pending = pending[found.end() :]
    return {
        "heard": heard,
        "rest": pending.decode("latin-1"),
        "closed": closed,
        "seconds": round(time.monotonic() - begin, 2),
    }


def conversations(
    address: str, port: int, talks: list[dict[str, Any]], patience: float = PATIENCE, at_once: int = 8
) -> list[dict[str, Any]]:
    """Raw conversations with a server, several at once: the greeting is the first turn's reply, if that says nothing.

    A conversation has a `source` address and `turns`, each with what to `say` (octets as latin-1), how many replies to `hear`
    and a `gap` between single octets (seconds). `heard`: the replies; `closed`: whether the server hung up; `rest`: what else it
    said.
    """
    with concurrent.futures.ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(lambda talk: _converse(talk, address, port, patience), talks))


def conversations_session(
    address: str, port: int, talks: list[dict[str, Any]], patience: float = PATIENCE, at_once: int = 64
) -> None:
    """The same, and the results when all have ended: for a test that looks at something else meanwhile."""
    say("begun")
    say(conversations(address, port, talks, patience, at_once))


# -- POP -------------------------------------------------------------------------------------------------------------


def _pop(address: str, ports: dict[str, int], security: str) -> poplib.POP3:
    """A POP connection: `security` is stls, tls or none. Certificates of the lab vouch for nobody and are not checked."""
    context = trusting()
    if security == "tls":
        return poplib.POP3_SSL(address, ports["tls"], timeout=PATIENCE, context=context)
    pop = poplib.POP3(address, ports["plain"], timeout=PATIENCE)
    if security == "stls":
        pop.stls(context)
    return pop


def pop_login(address: str, ports: dict[str, int], security: str, user: str, password: str) -> str:
    """Log in and say how it went: the server's +OK, or its refusal."""
    pop = _pop(address, ports, security)
    try:
        pop.user(user)
        return pop.pass_(password).decode("latin-1")
    except poplib.error_proto as refusal:
        answer = refusal.args[0]
        return answer.decode("latin-1") if isinstance(answer, bytes) else str(answer)
    finally:
        with contextlib.suppress(OSError, poplib.error_proto):
            pop.quit()


def pop_fetch(address: str, ports: dict[str, int], user: str, password: str, token: str, deadline: float) -> str | None:
    """The message that holds the token, taken out of the mailbox; None where it has not come by the deadline (seconds)."""
    end = time.monotonic() + deadline
    while True:
        pop = _pop(address, ports, "stls" if "plain" in ports else "tls")
        try:
            pop.user(user)
            pop.pass_(password)
            for number in range(1, len(pop.list()[1]) + 1):
                text = b"\n".join(pop.retr(number)[1]).decode("latin-1")
                if token in text:
                    pop.dele(number)
                    return text
        finally:
            pop.quit()
        if time.monotonic() > end:
            return None
        select.select([], [], [], 0.2)


# -- a mailbox as a file ---------------------------------------------------------------------------------------------


def mbox_body(path: str, word: str, deadline: float) -> list[str] | None:
    """The lines below the headers of the message in an mbox that has a word as its subject; None where none has come (seconds)."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        text = pathlib.Path(path).read_text(encoding="latin-1") if os.path.exists(path) else ""
        for message in re.split(r"(?m)^From \S+ .*\n", text):
            if f"\nSubject: {word}\n" in message:
                # Lines that look like the next message's first have a mark before them, and a blank line is behind each message.
                body = message.split("\n\n", 1)[1].removesuffix("\n")
                return [re.sub(r"^>(>*From )", r"\1", line) for line in body.removesuffix("\n").split("\n")]
        time.sleep(0.2)
    return None


# -- IMAP ------------------------------------------------------------------------------------------------------------


def imap_search(address: str, port: int, user: str, password: str, word: str, deadline: float, folder: str = "INBOX") -> int:
    """How many messages of a folder have the word as their subject, over TLS; looked at again until one has, or the deadline (seconds)."""
    end = time.monotonic() + deadline
    with imaplib.IMAP4_SSL(address, port, ssl_context=trusting(), timeout=PATIENCE) as imap:
        imap.login(user, password)
        while True:
            there = imap.select(f'"{folder}"', readonly=True)[0] == "OK"
            found = len(imap.search(None, "SUBJECT", word)[1][0].split()) if there else 0
            if found or time.monotonic() > end:
                return found
            select.select([], [], [], 0.2)


def imap_fetch(address: str, port: int, user: str, password: str, token: str, deadline: float, folder: str) -> str | None:
    """The message of a folder that holds the token, taken away; None where it has not come by the deadline (seconds)."""
    end = time.monotonic() + deadline
    with imaplib.IMAP4_SSL(address, port, ssl_context=trusting(), timeout=PATIENCE) as imap:
        imap.login(user, password)
        while True:
            if imap.select(f'"{folder}"')[0] == "OK":
                for number in imap.search(None, "TEXT", token)[1][0].split():
                    found: Any = imap.fetch(number, "(RFC822)")[1][0]
                    imap.store(number, "+FLAGS", "\\Deleted")
                    imap.expunge()
                    return str(found[1].decode("latin-1")).replace("\r\n", "\n")
            if time.monotonic() > end:
                return None
            select.select([], [], [], 0.2)


# -- ManageSieve (RFC 5804) ------------------------------------------------------------------------------------------


def sieve(address: str, port: int, user: str, password: str, commands: list[str], tls: bool = True) -> list[str]:
    """The answers to commands of somebody who has logged in, TLS first: the greeting, STARTTLS, the log-in, then one a command.

    An answer ends with a line that begins with OK, NO or BYE; a literal within it stays as it is.
    """
    out = []
    with socket.create_connection((address, port), PATIENCE) as sock:

        def answer(stream: Any) -> str:
            lines = []
            while True:
                line = stream.readline().decode("utf-8", "replace")
                lines.append(line)
                if not line or line.split(" ")[0].strip() in ("OK", "NO", "BYE"):
                    if line.rstrip().endswith("}"):  # what is wrong, in so many octets
                        lines.append(stream.read(int(line.rstrip()[:-1].rpartition("{")[2])).decode("utf-8", "replace"))
                        stream.readline()
                    return "".join(lines)

        stream = sock.makefile("rwb")
        out.append(answer(stream))
        if tls:
            stream.write(b"STARTTLS\r\n")
            stream.flush()
            out.append(answer(stream))
            stream = trusting().wrap_socket(sock).makefile("rwb")
            answer(stream)  # what it can do, told again
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        for command in [f'AUTHENTICATE "PLAIN" "{secret}"', *commands]:
            stream.write(command.encode() + b"\r\n")
            stream.flush()
            out.append(answer(stream))
        with contextlib.suppress(OSError, ValueError):
            stream.close()
    return out


# -- DNS -------------------------------------------------------------------------------------------------------------

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


# -- packets ---------------------------------------------------------------------------------------------------------


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _family(address: str) -> tuple[socket.AddressFamily, int]:
    """The family of an address, and what a frame calls it."""
    return (socket.AF_INET6, 0x86DD) if ":" in address else (socket.AF_INET, 0x0800)


def _packet(source: str, target: str, protocol: int, body: bytes, check_at: int, hops: int = 64) -> bytes:
    """A packet with a checksum in its body, over that and the addresses (RFC 9293 3.1, RFC 8200 8.1)."""
    family, _kind = _family(target)
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
    family, kind = _family(target)
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


def knocks_session(port: int, family: int = 4) -> None:
    """Watch the links: say "ready", then [source, source port] of each first packet to a TCP port, until input ends."""
    kind, known, addresses = (0x86DD, socket.AF_INET6, slice(8, 24)) if family == 6 else (0x0800, socket.AF_INET, slice(12, 16))
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind)) as sock:
        say("ready")
        while True:
            readable, _, _ = select.select([sock, sys.stdin], [], [])
            if sys.stdin in readable:
                return
            packet, origin = sock.recvfrom(2048)
            tcp = packet[40 if family == 6 else (packet[0] & 15) * 4 :]
            protocol = packet[6] if family == 6 else packet[9]
            if origin[2] == socket.PACKET_OUTGOING or protocol != socket.IPPROTO_TCP or len(tcp) < 14:
                continue
            if struct.unpack(">H", tcp[2:4])[0] == port and tcp[13] & 0x12 == 2:
                say([socket.inet_ntop(known, packet[addresses]), struct.unpack(">H", tcp[:2])[0]])


# Kinds of ICMPv6 that say something of a host or change what it does, and their bodies after type, code and checksum.
QUERIES6 = {
    "echo": (128, struct.pack(">HH", 7, 1)),
    "node information": (139, struct.pack(">HHQ", 2, 0, 7)),
    "router renumbering": (138, bytes(12)),
    "experimental": (200, bytes(4)),
}


def ask_icmp6(targets: list[str], timeout: float = 2.5) -> list[list[int]]:
    """Ask each address all of `QUERIES6`: the types of ICMPv6 that come back from it, neighbour discovery aside."""
    heard: dict[str, set[int]] = {target: set() for target in targets}
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        for target in targets:
            for kind, rest in QUERIES6.values():
                with contextlib.suppress(OSError):  # this host's own filter says no
                    sock.sendto(struct.pack(">BBH", kind, 0, 0) + rest, (target, 0))
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                packet, origin = sock.recvfrom(2048)
            except TimeoutError:
                break
            if origin[0] in heard and packet[0] not in range(133, 138):
                heard[origin[0]].add(packet[0])
    return [sorted(heard[target]) for target in targets]


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
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86DD)) as sock:
        say("ready")
        while True:
            readable, _, _ = select.select([sock, sys.stdin], [], [])
            if sys.stdin in readable:
                return
            packet, origin = sock.recvfrom(2048)
            # Some come behind a header for the routers on their way.
            at = 40 + (8 + packet[41] * 8 if packet[6] == 0 else 0)
            protocol = packet[40] if packet[6] == 0 else packet[6]
            if origin[2] != socket.PACKET_OUTGOING and protocol == socket.IPPROTO_ICMPV6 and packet[at] in kinds:
                say([socket.inet_ntop(socket.AF_INET6, packet[8:24]), packet[at]])


def datagram(address: str, port: int, text: str) -> None:
    """Send a line in one UDP packet."""
    with socket.socket(_family(address)[0], socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), (address, port))


# -- the host itself -------------------------------------------------------------------------------------------------


def socket_opens(path: str, user: str) -> bool:
    """Whether a user can open a connection to a Unix socket."""
    person = pwd.getpwnam(user)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups(os.getgrouplist(user, person.pw_gid))
        os.setgid(person.pw_gid)
        os.setuid(person.pw_uid)
        with socket.socket(socket.AF_UNIX) as sock:
            failed = sock.connect_ex(path)
        os.write(writer, str(failed).encode())
        os._exit(0)
    os.waitpid(child, 0)
    failure = int(os.read(reader, 16))
    # Anything else, such as a missing socket, says nothing about permissions.
    if failure not in (0, errno.EACCES):
        raise OSError(failure, os.strerror(failure), path)
    return failure == 0


def processes(program: str) -> list[dict[str, Any]]:
    """All processes of a program (the name that the kernel has for it): user ids, capabilities, and whether it can gain more."""
    out = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line)
        except OSError:
            continue  # it has ended meanwhile
        if status["Name"] != program:
            continue
        out.append(
            {
                "pid": int(entry.name),
                "parent": int(status["PPid"]),
                "uids": [int(number) for number in status["Uid"].split()],
                "no_new_privileges": status["NoNewPrivs"] == "1",
                "capabilities": {key: int(value, 16) for key, value in status.items() if key.startswith("Cap")},
            }
        )
    return out


# File systems of the kernel: no files of anybody's.
# fmt: off
KERNEL = frozenset({
    "autofs", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "fusectl", "hugetlbfs", "mqueue", "nsfs",
    "proc", "pstore", "securityfs", "sysfs", "tracefs",
})
# fmt: on


def odd_files() -> dict[str, list[str]]:
    """Every file and directory of this host that lends a privilege, that everybody may write, or that is nobody's."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        foreign = {line.split()[1] for line in file if line.split()[2] in KERNEL}
    users = {line.split(":")[2] for line in subprocess.check_output(["getent", "passwd"], text=True).splitlines()}
    groups = {line.split(":")[2] for line in subprocess.check_output(["getent", "group"], text=True).splitlines()}
    found: dict[str, list[str]] = {"set-id": [], "capabilities": [], "writable": [], "unowned": [], "looked at": []}
    count = 0
    for top, directories, files in os.walk("/"):
        directories[:] = [name for name in directories if os.path.join(top, name) not in foreign]
        for name in [*directories, *files, ""]:
            path = os.path.join(top, name) if name else top
            try:
                entry = os.lstat(path)
            except FileNotFoundError:
                continue
            count += 1
            kind, mode = stat.S_IFMT(entry.st_mode), stat.S_IMODE(entry.st_mode)
            if kind == stat.S_IFREG and mode & (stat.S_ISUID | stat.S_ISGID):
                names = pwd.getpwuid(entry.st_uid).pw_name, grp.getgrgid(entry.st_gid).gr_name
                found["set-id"].append(f"{path} {mode:o} {names[0]} {names[1]}")
            if kind == stat.S_IFREG and "security.capability" in os.listxattr(path, follow_symlinks=False):
                found["capabilities"].append(path)
            if mode & stat.S_IWOTH and (
                kind in (stat.S_IFREG, stat.S_IFIFO) or (kind == stat.S_IFDIR and not mode & stat.S_ISVTX)
            ):
                found["writable"].append(f"{path} {mode:o}")
            if str(entry.st_uid) not in users or str(entry.st_gid) not in groups:
                found["unowned"].append(f"{path} {entry.st_uid}:{entry.st_gid}")
    found["looked at"].append(str(count))
    return {key: sorted(set(paths)) for key, paths in found.items()}


def words_session(words: list[str], seconds: float = 120) -> None:
    """Look for words in the arguments and the environment of all processes, until input ends: "ready", then where they were."""
    say("ready")
    found = set()
    rounds = 0
    own = str(os.getpid())
    end = time.monotonic() + seconds
    enough = False
    while not enough:
        enough = time.monotonic() > end or bool(select.select([sys.stdin], [], [], 0)[0])  # and one round more
        rounds += 1
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or pid == own:
                continue
            for name in ("cmdline", "environ"):
                try:
                    text = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
                except OSError:
                    continue
                if any(word.encode() in text for word in words):
                    # The name of the program, not what it was given.
                    found.add(f"{name} of {text.split(bytes(1))[0].decode('latin-1')[:80] if name == 'cmdline' else pid}")
    say({"rounds": rounds, "found": sorted(found)})


def ask_times(targets: list[str], timeout: float = 2.5) -> list[list[int]]:
    """Ask each address for its time, its network mask and its information (ICMP 13, 17, 15): the types of replies."""
    number = os.getpid() & 0xFFFF
    heard: dict[str, set[int]] = {target: set() for target in targets}
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        for target in targets:
            for kind, rest in ((13, bytes(12)), (17, bytes(4)), (15, b"")):
                head = struct.pack(">BBHHH", kind, 0, 0, number, 1) + rest
                packet = head[:2] + struct.pack(">H", _sum(head)) + head[4:]
                with contextlib.suppress(OSError):  # this host's own filter says no
                    sock.sendto(packet, (target, 0))
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                packet, origin = sock.recvfrom(2048)
            except TimeoutError:
                break
            icmp = packet[(packet[0] & 15) * 4 :]
            if origin[0] in heard and icmp[0] in (14, 16, 18) and struct.unpack(">H", icmp[4:6])[0] == number:
                heard[origin[0]].add(icmp[0])
    return [sorted(heard[target]) for target in targets]


def _rights(status: dict[str, str]) -> list[str]:
    """What /proc/PID/status says of what a process may do."""
    return [value for key, value in status.items() if key in ("Uid", "NoNewPrivs") or key.startswith("Cap")]


def _status(pid: str) -> dict[str, str]:
    """/proc/PID/status by its keys; empty where the process has ended.

    The kernel looks up users and capabilities one after the other, so a process that changes from one to another meanwhile
    seems to have the former's users and the latter's capabilities: only what is read twice was ever so.
    """
    before: dict[str, str] = {}
    while True:
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                now = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except OSError:
            return {}
        if before and _rights(now) == _rights(before):
            return now
        before = now


def watch_session(units: list[str], programs: list[str], seconds: float = 60) -> None:
    """Look at all processes again and again, until input ends: say "ready", then what was seen, each state once.

    Processes of interest are in a unit's control group or have a program's name. A state is what a process is allowed to do;
    the number of rounds and of processes seen tells how close the look was.
    """
    say("ready")
    seen: dict[str, dict[str, Any]] = {}
    pids: set[str] = set()
    rounds = 0
    end = time.monotonic() + seconds
    enough = False
    while not enough:
        enough = time.monotonic() > end or bool(select.select([sys.stdin], [], [], 0)[0])  # and one round more
        rounds += 1
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or not (status := _status(pid)):
                continue
            try:
                with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
                    groups = {part for line in file for part in line.strip().split("/")}
                main = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            except OSError:
                continue  # it has ended, or is a thread of the kernel
            unit = next((unit for unit in units if unit in groups), "")
            if not unit and status["Name"] not in programs:
                continue
            pids.add(pid)
            state = {
                "unit": unit,
                "name": status["Name"],
                "program": main,
                "child": status["PPid"] != "1",
                "uids": [int(number) for number in status["Uid"].split()],
                "no_new_privileges": status["NoNewPrivs"] == "1",
                "capabilities": {key: int(value, 16) for key, value in status.items() if key.startswith("Cap")},
            }
            seen.setdefault(json.dumps(state), state)
    say({"rounds": rounds, "processes": len(pids), "states": list(seen.values())})


def readable(paths: list[str]) -> list[str]:
    """Those of the files and directories that whoever runs this can open."""
    out = []
    for path in paths:
        try:
            if os.path.isdir(path):
                os.listdir(path)
            else:
                pathlib.Path(path).open("rb").close()
        except FileNotFoundError:
            raise
        except OSError:
            continue
        out.append(path)
    return out


def main() -> None:
    """Call the named function with the arguments on standard input."""
    function = globals()[sys.argv[1]]
    result = function(**json.loads(sys.stdin.readline()))
    if not sys.argv[1].endswith("_session"):
        say(result)


if __name__ == "__main__":
    main()
