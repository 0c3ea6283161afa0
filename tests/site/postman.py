"""Posts numbered messages at a steady rate, keeps a ledger of every reply, and collects what arrives: the drill's two ends.

Sent to a host and run there like the modules of tests/site/away (`tests.site.lab.Machine.talk`), and like them it imports nothing else.
Each function goes on talking, a line of JSON for a line of JSON, and ends when its input does.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import fcntl
import hashlib
import heapq
import json
import os
import pathlib
import poplib
import queue
import random
import re
import select
import smtplib
import ssl
import sys
import threading
import time
from typing import Any

from tests.site.away.common import main, say

HEADER = "X-Drill"
# Small ones mostly, as mail is; the large ones are longer than a socket's buffer.
MARK = re.compile(rf"(?m)^{HEADER}: t[0-9a-f]{{16}}-".encode())
SIZES = (1, 2, 4, 2, 8, 1, 30, 2, 4, 120)  # KiB
CONNECTING, ANSWERING = 15.0, 60.0  # seconds that a server may take
# A sender comes back as a mail server does, only sooner: nobody wants to watch for hours.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 15.0
AT_ONCE = 48  # messages on their way


def plain(text: bytes) -> bytes:
    """A text with its lines ended as files have them: mailboxes differ in that."""
    return text.replace(b"\r\n", b"\n")


def digest(body: bytes) -> str:
    """What a body is known by."""
    return hashlib.sha256(plain(body)).hexdigest()


def letter(name: str, number: int, sender: str, recipient: str) -> tuple[bytes, bytes]:
    """Header and body of a message: no two bodies are alike, and a few lines are such as are easily damaged."""
    size = SIZES[number % len(SIZES)] * 1024
    text = base64.encodebytes(random.Random(name).randbytes(size * 3 // 4)).replace(b"\n", b"\r\n")
    body = b".\r\n..\r\n.begins with a dot\r\n\r\n \t\r\n" + text + b"." * 900 + b"\r\n\r\nends with an empty line\r\n\r\n"
    header = f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: number {number}\r\nMessage-ID: <{name}@drill.invalid>\r\n{HEADER}: {name}\r\n"
    return header.encode() + b"\r\n", body


class Book:
    """The ledger: a line is on the disk before anything else is done."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115  (open as long as the program runs)
        self.lock = threading.Lock()

    def write(self, **entry: Any) -> None:
        """Write down one thing that happened."""
        with self.lock:
            self.file.write(json.dumps({"at": time.time(), **entry}) + "\n")
            self.file.flush()
            os.fsync(self.file.fileno())


class Broken(Exception):
    """A server said something other than what takes the message on its way; the step, the code and the words."""


def _expect(step: str, reply: tuple[int, bytes], wanted: int) -> str:
    code, words = reply
    text = words.decode("latin-1")
    if code != wanted:
        raise Broken(step, code, text)
    return text


def _post(
    book: Book,
    name: str,
    attempt: int,
    server: tuple[str, int],
    source: str,
    envelope: tuple[str, str],
    number: int,
    pause: float,
) -> int:
    """One attempt to hand over one message; the code that it ended with, 0 where the connection broke."""
    sender, recipient = envelope
    begin = time.time()
    step = "connect"
    code, text = 0, ""
    smtp = smtplib.SMTP(local_hostname="drill.example", timeout=CONNECTING, source_address=(source, 0) if source else None)
    try:
        _expect(step, smtp.connect(*server), 220)
        assert smtp.sock is not None
        smtp.sock.settimeout(ANSWERING)
        for step, command, wanted in (
            ("EHLO", "EHLO drill.example", 250),
            ("MAIL", f"MAIL FROM:<{sender}>", 250),
            ("RCPT", f"RCPT TO:<{recipient}>", 250),
            ("DATA", "DATA", 354),
        ):
            _expect(step, smtp.docmd(command), wanted)
        step = "text"
        header, body = letter(name, number, sender, recipient)
        octets = re.sub(rb"(?m)^\.", b"..", header + body)
        half = len(octets) // 2
        smtp.sock.sendall(octets[:half])
        if pause:
            threading.Event().wait(pause)
        smtp.sock.sendall(octets[half:] + b".\r\n")
        step = "end"
        text = _expect(step, smtp.getreply(), 250)
        code = 250
    except Broken as refusal:
        step, code, text = refusal.args
    except (OSError, smtplib.SMTPException) as failure:
        text = str(failure) or type(failure).__name__
    book.write(event="reply", name=name, attempt=attempt, begin=begin, step=step, code=code, text=text)
    with contextlib.suppress(OSError, smtplib.SMTPException):
        if code == 250 and smtp.sock is not None:
            smtp.sock.settimeout(5)
            smtp.docmd("QUIT")
    smtp.close()
    return code


def post_session(
    word: str,
    address: str,
    port: int,
    sources: list[str],
    sender: str,
    recipients: list[str],
    every: float,
    path: str,
    pause: float = 0.0,
    pause_each: int = 3,
) -> None:
    """Post a message every so many seconds, from several addresses in turn, and again whatever was put off.

    Commands: "state" says how many were made and are open, and which were taken since the last time; "enough" ends new ones.
    pause: seconds of silence amidst the text of each so-manieth message.
    """
    book = Book(path)
    due: list[tuple[float, int, int]] = []  # when, which message, which attempt
    results: queue.SimpleQueue[tuple[int, int, int]] = queue.SimpleQueue()
    names: list[str] = []
    taken: list[str] = []
    settled = 0
    enough = False
    begin = time.monotonic()

    def envelope(number: int) -> tuple[str, str]:
        return sender, recipients[number % len(recipients)]

    def one(number: int, attempt: int) -> None:
        source = sources[number % len(sources)] if sources else ""
        slow = pause if number % pause_each == 0 else 0.0
        results.put(
            (number, attempt, _post(book, names[number], attempt, (address, port), source, envelope(number), number, slow))
        )

    say("begun")
    with concurrent.futures.ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        while True:
            now = time.monotonic()
            if not enough and now >= begin + len(names) * every:
                number = len(names)
                names.append(f"{word}-{number}")
                body = letter(names[-1], number, *envelope(number))[1]
                book.write(event="new", name=names[-1], to=envelope(number)[1], size=len(plain(body)), sha256=digest(body))
                heapq.heappush(due, (now, number, 1))
            while due and due[0][0] <= now:
                _when, number, attempt = heapq.heappop(due)
                pool.submit(one, number, attempt)
            while not results.empty():
                number, attempt, code = results.get()
                if code == 250:
                    taken.append(names[number])
                if code == 250 or code >= 500:
                    settled += 1
                else:
                    heapq.heappush(due, (now + min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE), number, attempt + 1))
            if select.select([sys.stdin], [], [], 0.02)[0]:
                command = sys.stdin.readline()
                if not command:
                    # Whoever listened has gone; what is under way is of no more use, and the ledger is on the disk.
                    os._exit(0)
                enough = enough or json.loads(command) == "enough"
                say({"made": len(names), "open": len(names) - settled, "taken": taken})
                taken = []


def _read(text: bytes, word: str, place: str) -> dict[str, Any] | None:
    """What a message is, if it has to do with the drill: one of the numbered ones, or a report about one."""
    text = plain(text)
    header, _, body = text.partition(b"\n\n")
    found = re.search(rf"(?m)^{HEADER}: ({word}\S+)$".encode(), header)
    entry = {"at": time.time(), "place": place}
    if found:
        return {**entry, "name": found[1].decode(), "size": len(body), "sha256": digest(body)}
    if word.encode() in text:
        subject = re.search(rb"(?m)^Subject: (.*)$", header)
        return {**entry, "report": subject[1].decode("latin-1") if subject else "(no subject)"}
    return None


def _commands(every: float) -> str | None:
    """What somebody says within a while; None where input has ended."""
    if not select.select([sys.stdin], [], [], every)[0]:
        return ""
    line = sys.stdin.readline()
    return str(json.loads(line)) if line else None


def pop_session(address: str, port: int, users: dict[str, str], word: str, every: float = 0.5) -> None:
    """Fetch the drill's messages by POP over TLS and take them out of the mailboxes; "read" says what came since the last time."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the lab's certificates vouch for nobody
    # A mailbox and a message's own mark in it: one that is met again is no second copy. And those that are no business of ours.
    seen: set[tuple[str, bytes]] = set()
    others: set[tuple[str, bytes]] = set()
    found: list[dict[str, Any]] = []
    say("begun")
    while True:
        for user, password in users.items():
            with contextlib.suppress(OSError, poplib.error_proto):
                box = poplib.POP3_SSL(address, port, timeout=10, context=context)
                box.user(user)
                box.pass_(password)
                for line in box.uidl()[1]:
                    number, mark = line.split()
                    if (user, mark) in others:
                        continue
                    entry = _read(b"\n".join(box.retr(int(number))[1]) + b"\n", word, f"{user} {mark.decode()}")
                    if entry is None:
                        others.add((user, mark))
                        continue
                    # One that was met before and is still there: the session that was to delete it broke.
                    if (user, mark) not in seen:
                        found.append(entry)
                    seen.add((user, mark))
                    box.dele(int(number))
                box.quit()
        command = _commands(every)
        if command is None:
            return
        if command:
            say(found)
            found = []


def mbox_session(path: str, word: str, every: float = 0.2) -> None:
    """Read what comes into a mailbox file; "read" says what came since the last time, "clean" takes the drill's messages out."""
    box = pathlib.Path(path)
    at = box.stat().st_size if box.exists() else 0
    found: list[dict[str, Any]] = []
    say("begun")
    while True:
        # It is not made here: it has to be its reader's.
        if box.exists() and box.stat().st_size > at:
            with box.open("rb") as file:
                fcntl.lockf(file, fcntl.LOCK_SH)
                file.seek(at)
                new = file.read()
            for part in re.split(rb"(?m)^(?=From )", new):
                entry = _read(part.removesuffix(b"\n"), word, f"{path} {at}")
                at += len(part)
                if entry:
                    found.append(entry)
        command = _commands(every)
        if command is None:
            return
        if command == "clean" and box.exists():
            with box.open("rb+") as file:
                fcntl.lockf(file, fcntl.LOCK_EX)
                parts = re.split(rb"(?m)^(?=From )", file.read())
                # And those of an earlier drill that was broken off.
                kept = b"".join(part for part in parts if word.encode() not in part and not MARK.search(part))
                file.seek(0)
                file.truncate()
                file.write(kept)
                at = len(kept)
        if command:
            say(found)
            found = []


if __name__ == "__main__":
    main(globals())
