"""Says to sendmail whether a mailbox is full: a server for its map of type socket.

    quota.py SETTINGS

SETTINGS is a file of JSON: `socket`, where this host's sendmail asks; `table`, the file that says where each recipient's mailbox is, a
line ``address place`` each, read anew when it has changed; `dovecot`, the socket of Dovecot's quota-status, for places that are
``here``; `port`, where other hosts ask, and `peers`, who they are; `seconds`, how long an answer holds. Other
places are ``address:port`` of such a server. Who is not in the table costs no question, and whoever cannot be asked is not waited for:
his mailbox is taken to have room, since mail that is accepted waits, and mail that is refused may be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

FULL, ROOM = "FULL", "ROOM"
# Seconds that a question may take, and for which who did not answer is not asked again.
PATIENCE = 2.0
PAUSE = 10.0
# Answers that are kept; the oldest go.
MOST = 10000
LONGEST = 1000  # octets of a question
ALIVE = 5.0  # seconds between two words to systemd, which ends what says nothing: sendmail would wait for it for ever


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), where it wants to know."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(path.replace("@", "\0", 1) if path.startswith("@") else path)
            sock.send(state.encode())


def bare(address: str) -> str:
    """An address in small letters, without what stands behind a plus sign before the @."""
    local, _at, domain = address.strip().strip("<>").lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain.rstrip('.')}"


def places(text: str) -> dict[str, str]:
    """The table: where the mailbox of each address is."""
    return dict(line.split() for line in text.splitlines() if len(line.split()) == 2 and not line.startswith("#"))


def framed(text: str) -> bytes:
    """A netstring."""
    octets = text.encode()
    return b"%d:%s," % (len(octets), octets)


def unframed(octets: bytes) -> tuple[str, bytes] | None:
    """A netstring and what comes after it; None where its end is yet to come. ValueError where it is none, or too long."""
    size, colon, _rest = octets[: len(str(LONGEST)) + 1].partition(b":")
    if not colon and len(size) <= len(str(LONGEST)):
        return None
    start, length = len(size) + 1, int(size) if colon and size.isdigit() else LONGEST + 1
    if length > LONGEST:
        raise ValueError("no netstring")
    if len(octets) <= start + length:
        return None
    if octets[start + length : start + length + 1] != b",":
        raise ValueError("a netstring without an end")
    return octets[start : start + length].decode("utf-8", "replace"), octets[start + length + 1 :]


async def heard(stream: asyncio.StreamReader) -> str:
    """The one netstring that is to come; nothing at the end, or where it is none."""
    octets = b""
    with contextlib.suppress(ValueError):
        while (found := unframed(octets)) is None:
            if not (more := await stream.read(LONGEST)):
                return ""
            octets += more
        return found[0]
    return ""


class Place:
    """Somebody who knows, over one connection that stays open."""

    def __init__(self, connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]) -> None:
        self.connect = connect
        self.stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.lock = asyncio.Lock()
        self.away_until = 0.0

    async def talk(self, question: bytes, answer: Callable[[asyncio.StreamReader], Awaitable[str]]) -> str:
        """One question and its answer; over a new connection where the old one has ended meanwhile."""
        async with self.lock:
            if time.monotonic() < self.away_until:
                return ""
            try:
                async with asyncio.timeout(PATIENCE):
                    for fresh in (False, True):
                        if fresh or self.stream is None:
                            self.drop()
                            self.stream = await self.connect()
                        reader, writer = self.stream
                        with contextlib.suppress(OSError):
                            writer.write(question)
                            await writer.drain()
                            if said := await answer(reader):
                                return said
            except (OSError, TimeoutError):
                pass
            self.drop()
            self.away_until = time.monotonic() + PAUSE
            return ""

    def drop(self) -> None:
        """Forget the connection."""
        if self.stream is not None:
            self.stream[1].close()
            self.stream = None


async def action(reader: asyncio.StreamReader) -> str:
    """What Dovecot says, in the words of Postfix's policy protocol."""
    try:
        said = (await reader.readuntil(b"\n\n")).decode("utf-8", "replace")
    except asyncio.IncompleteReadError:
        return ""
    return FULL if said.startswith("action=4") else ROOM


class Server:
    """Answers, from memory for some seconds."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.places: dict[str, Place] = {}
        self.answers: dict[str, tuple[float, str]] = {}
        self.table: dict[str, str] = {}
        self.version: tuple[int, int] | None = None

    def where(self, address: str) -> str:
        """Where an address's mailbox is; empty where nobody has to be asked."""
        with contextlib.suppress(OSError):
            state = os.stat(self.settings["table"])
            if (state.st_mtime_ns, state.st_ino) != self.version:
                self.table = places(Path(self.settings["table"]).read_text(encoding="utf-8"))
                self.version = (state.st_mtime_ns, state.st_ino)
                self.answers.clear()
        return self.table.get(address, "")

    def place(self, name: str) -> Place:
        """Who knows of the mailboxes at a place."""
        if name not in self.places:
            if name == "here":
                self.places[name] = Place(lambda: asyncio.open_unix_connection(self.settings["dovecot"]))
            else:
                host, _colon, port = name.rpartition(":")
                self.places[name] = Place(lambda: asyncio.open_connection(host.strip("[]"), int(port)))
        return self.places[name]

    async def asked(self, address: str, name: str) -> str:
        """The answer of who knows."""
        if name == "here":
            question = f"request=smtpd_access_policy\nrecipient={address}\nsize=0\n\n".encode()
            return await self.place(name).talk(question, action)
        said = await self.place(name).talk(framed(f"quota {address}"), heard)
        return FULL if said == f"OK {FULL}" else ROOM if said else ""

    def known(self, address: str) -> str | None:
        """The answer about an address, in the words of sendmail's map, where nobody has to be asked for it."""
        if not self.where(address) or any(char.isspace() for char in address):
            return "NOTFOUND "
        until, said = self.answers.get(address, (0.0, ""))
        if time.monotonic() >= until:
            return None
        return f"OK {FULL}" if said == FULL else "NOTFOUND "

    async def answer(self, address: str, name: str) -> str:
        """The same from who knows at a place, to be remembered."""
        said = await self.asked(address, name)
        self.answers.pop(address, None)
        if said:
            self.answers[address] = (time.monotonic() + self.settings["seconds"], said)
        if len(self.answers) > MOST:
            del self.answers[next(iter(self.answers))]
        return f"OK {FULL}" if said == FULL else "NOTFOUND "

    async def run(self) -> None:
        """Serve for ever."""
        path = Path(self.settings["socket"])
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        await loop.create_unix_server(lambda: Talk(self), path)
        if self.settings["peers"]:
            await loop.create_server(lambda: Talk(self), None, self.settings["port"])
        notify("READY=1")
        while True:
            notify("WATCHDOG=1")
            await asyncio.sleep(ALIVE)


class Talk(asyncio.Protocol):
    """One connection: questions ``MAP ADDRESS``, each answered before the next is looked at. From another host, of peers alone.

    sendmail asks over a new one for each message. So what is known is said at once: streams and a task for each would cost a third
    more processor time.
    """

    def __init__(self, server: Server) -> None:
        self.server, self.octets, self.unread = server, b"", False
        self.asking: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple) and peer[0].removeprefix("::ffff:") not in self.server.settings["peers"]:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """He says something."""
        self.octets += data
        if self.asking is None:
            self.go_on()
        else:
            # Whoever does not wait for an answer is not listened to until he has it.
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """He does not take his answers: no more questions of his."""
        self.unread = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """He does again."""
        self.unread = False
        self.listen()

    def listen(self) -> None:
        """Hear him, unless he waits for an answer or does not take those that he has."""
        if self.asking is None and not self.unread:
            self.transport.resume_reading()

    def go_on(self) -> None:
        """Answer what was asked."""
        try:
            while not self.transport.is_closing() and (found := unframed(self.octets)):
                question, self.octets = found
                address = bare(question.partition(" ")[2])
                if (said := self.server.known(address)) is None:
                    self.asking = asyncio.create_task(self.ask(address, self.server.where(address)))
                    return
                self.transport.write(framed(said))
        except ValueError:
            self.transport.close()

    async def ask(self, address: str, name: str) -> None:
        """Answer once who knows has said it; he may be gone by then, and the answer is there for the next one."""
        said = await self.server.answer(address, name)
        self.asking = None
        if not self.transport.is_closing():
            self.transport.write(framed(said))
            self.go_on()
            self.listen()


def main() -> None:
    """Read the settings and serve."""
    asyncio.run(Server(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).run())


if __name__ == "__main__":
    main()
