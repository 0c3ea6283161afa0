"""Quotas: who asks whom about which mailbox, and the program that knows (roles/sendmail/files/quota.py)."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import pop3
from ansible_collections.widgets.mail.plugins.filter import quota as quotas

from tests.unit.inventory import ROOT

SPEC = importlib.util.spec_from_file_location("quota", ROOT / "roles/sendmail/files/quota.py")
assert SPEC and SPEC.loader
quota = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(quota)

DOMAINS: list[dict[str, Any]] = [{"name": "a.example", "store": "one"}, {"name": "b.example", "store": "two"}]


def site(flows: list[dict[str, Any]]) -> dict[str, Any]:
    """A gateway in front of two stores."""
    hosts = {"gate": "10.1.0.1", "one": "10.0.0.1", "two": "10.0.0.2"}
    return {
        "zones": {
            "in": {"network": "10.0.0.0/24", "level": 100},
            "mid": {"network": "10.1.0.0/24", "level": 50},
            "out": {"network": "192.0.2.0/24", "level": 0},
        },
        "hosts": {
            name: {"interfaces": {"mid" if name == "gate" else "in": {"address": address}}} for name, address in hosts.items()
        },
        "services": {"quota": {"tcp": [4191]}},
        "flows": flows,
        "pat": {},
        "domain": "a.example",
        "domains": DOMAINS,
    }


ASKS = [{"id": "quota", "from": "gate", "to": "one", "services": ["quota"]}]
USERS: list[dict[str, Any]] = [
    {"name": "ann", "store": "one"},
    {"name": "ben", "store": "one", "domains": ["b.example"], "quota_messages": 10},
    {"name": "eve", "store": "two"},
    {"name": "dan", "store": "one", "state": "absent"},
    {"name": "fay", "store": "one", "domains": ["a.example"], "quota_storage": 0},
]


def test_a_gateway_asks_where_a_flow_leads_and_about_those_who_have_a_quota() -> None:
    asked = quotas.mail_quotas(USERS, {"storage": 5}, DOMAINS, site(ASKS), "gate")
    assert asked == dict.fromkeys(("ann@a.example", "ann@b.example", "ben@b.example"), "10.0.0.1:4191")
    assert quotas.mail_quotas(USERS, {}, DOMAINS, site(ASKS), "gate") == {"ben@b.example": "10.0.0.1:4191"}
    assert quotas.mail_quotas(USERS, {"storage": 5}, DOMAINS, site([]), "gate") == {}


def test_a_store_asks_itself() -> None:
    assert set(quotas.mail_quotas(USERS, {"messages": 5}, DOMAINS, site(ASKS), "two").items()) == {
        ("eve@a.example", "here"),
        ("eve@b.example", "here"),
    }


@pytest.mark.parametrize("value", ["1G", -1, 1.5, True, []])
def test_a_quota_is_a_whole_number(value: object) -> None:
    assert len(quotas.mail_quota_errors([{"name": "ann", "quota_storage": value}], {"messages": value})) == 2
    assert quotas.mail_quota_errors([{"name": "ann", "quota_storage": 0}, {"name": "ben"}], {"messages": 7}) == []


@pytest.mark.parametrize(
    ("own", "version", "fields"),
    [
        ({}, "2.3", {}),
        ({"quota_storage": 5}, "2.3", {}),
        ({"quota_messages": 9}, "2.3", {"quota_rule": "*:storage=5M:messages=9"}),
        ({"quota_storage": 0, "quota_messages": 9}, "2.4", {"quota_storage_size": "unlimited", "quota_message_count": "9"}),
        ({"quota_storage": 7}, "2.4", {"quota_storage_size": "7M", "quota_message_count": "unlimited"}),
    ],
)
def test_dovecot_is_told_of_a_quota_that_is_not_everybody_s(own: dict[str, int], version: str, fields: dict[str, str]) -> None:
    limits = {"quota_storage": 5, "quota_messages": 0}
    found = pop3.pop3_fields({"name": "ann", **own}, "a.example", limits, version)
    assert found == {"sieve_user_email": "ann@a.example", **fields}


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("<Ann+x+y@A.Example.>", "ann@a.example"),
        (" ann@a.example", "ann@a.example"),
        ("+x@a.example", "@a.example"),
        ("ann", "@ann"),
    ],
)
def test_an_address_is_asked_about_in_one_form(given: str, address: str) -> None:
    assert quota.bare(given) == address


class World:
    """A server with a Dovecot beside it that counts what it is asked."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.asked, self.full, self.silent = directory, 0, set[str](), False
        (directory / "table").write_text("ann@a.example\there\nfar@a.example\t127.0.0.1:1\n", encoding="utf-8")
        self.settings: dict[str, Any] = {
            "socket": str(directory / "socket"),
            "table": str(directory / "table"),
            "dovecot": str(directory / "dovecot"),
            "peers": [],
            "port": 0,
            "seconds": 60,
        }
        self.server = quota.Server(json.loads(json.dumps(self.settings)))

    async def dovecot(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Postfix's policy protocol."""
        while block := (await reader.readuntil(b"\n\n")).decode():
            self.asked += 1
            if self.silent:
                return
            address = dict(line.split("=") for line in block.split())["recipient"]
            writer.write(b"action=452 4.2.2 full\n\n" if address in self.full else b"action=DUNNO\n\n")

    async def ask(self, *addresses: str) -> list[str]:
        """What sendmail hears over one connection."""
        reader, writer = await asyncio.open_unix_connection(self.settings["socket"])
        out = []
        for address in addresses:
            writer.write(quota.framed(f"quota {address}"))
            out.append(await quota.heard(reader))
        writer.close()
        return out


def played(scene: Callable[[World], Awaitable[None]], dovecot: bool = True) -> None:
    """A scene in a world of its own."""

    async def play() -> None:
        with tempfile.TemporaryDirectory() as name:
            world = World(Path(name))
            if dovecot:
                await asyncio.start_unix_server(world.dovecot, world.settings["dovecot"])
            task = asyncio.create_task(world.server.run())
            while not Path(str(world.settings["socket"])).exists():
                await asyncio.sleep(0.01)
            await scene(world)
            task.cancel()

    asyncio.run(play())


def test_a_full_mailbox_is_one_question_and_an_unknown_one_none() -> None:
    async def scene(world: World) -> None:
        world.full = {"ann@a.example"}
        assert await world.ask("<ann+x@a.example>", "ann@a.example", "bob@a.example") == ["OK FULL", "OK FULL", "NOTFOUND "]
        assert world.asked == 1

    played(scene)


def test_a_table_that_has_changed_is_read_and_no_answer_outlives_it() -> None:
    async def scene(world: World) -> None:
        assert await world.ask("ann@a.example") == ["NOTFOUND "]
        world.full = {"ann@a.example", "bob@a.example"}
        assert await world.ask("ann@a.example") == ["NOTFOUND "]
        fresh = world.directory / "table.new"
        fresh.write_text("bob@a.example\there\nann@a.example\there\n", encoding="utf-8")
        fresh.replace(world.directory / "table")
        assert await world.ask("ann@a.example", "bob@a.example") == ["OK FULL"] * 2

    played(scene)


def test_who_cannot_be_asked_is_taken_to_have_room_and_not_waited_for_twice() -> None:
    async def scene(world: World) -> None:
        assert await world.ask("ann@a.example", "far@a.example") == ["NOTFOUND "] * 2

    played(scene, dovecot=False)


def test_who_does_not_answer_holds_nobody_up_for_long() -> None:
    async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scene(world: World) -> None:
        await asyncio.start_unix_server(never, world.settings["dovecot"])
        begun = time.monotonic()
        assert await world.ask("ann@a.example", "ann@a.example") == ["NOTFOUND "] * 2
        assert time.monotonic() - begun < 2 * quota.PATIENCE

    played(scene, dovecot=False)


def test_a_connection_that_has_ended_is_made_anew() -> None:
    async def scene(world: World) -> None:
        world.server.settings["seconds"] = 0
        world.full, world.silent = {"ann@a.example"}, False
        assert await world.ask("ann@a.example") == ["OK FULL"]
        world.server.places["here"].stream[1].close()
        assert await world.ask("ann@a.example") == ["OK FULL"]

    played(scene)


def test_questions_that_come_at_once_or_in_pieces_are_answered_in_their_order() -> None:
    async def scene(world: World) -> None:
        world.full = {"ann@a.example"}
        reader, writer = await asyncio.open_unix_connection(world.settings["socket"])
        asked = b"".join(quota.framed(f"quota {name}@a.example") for name in ("bob", "ann", "bob", "ann"))
        for part in (asked[:3], asked[3:30], asked[30:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        answers = b"".join(quota.framed(said) for said in ("NOTFOUND ", "OK FULL", "NOTFOUND ", "OK FULL"))
        assert await reader.readexactly(len(answers)) == answers
        writer.close()

    played(scene)


def test_an_answer_is_remembered_though_whoever_asked_is_gone() -> None:
    async def scene(world: World) -> None:
        world.full = {"ann@a.example"}
        _reader, writer = await asyncio.open_unix_connection(world.settings["socket"])
        writer.write(quota.framed("quota ann@a.example"))
        await writer.drain()
        writer.close()
        while not world.server.answers:
            await asyncio.sleep(0.01)
        assert await world.ask("ann@a.example") == ["OK FULL"] and world.asked == 1

    played(scene)


def test_who_does_not_take_his_answers_is_not_heard_though_one_comes_late() -> None:
    async def scene(world: World) -> None:
        world.silent = True
        talks: list[Any] = []

        def talk() -> Any:
            talks.append(quota.Talk(world.server))
            return talks[-1]

        path = world.directory / "another"
        await asyncio.get_running_loop().create_unix_server(talk, path)
        _reader, writer = await asyncio.open_unix_connection(path)
        writer.write(quota.framed("quota ann@a.example"))
        while not (talks and talks[0].asking):
            await asyncio.sleep(0.01)
        talks[0].pause_writing()
        while talks[0].asking:
            await asyncio.sleep(0.01)
        assert not talks[0].transport.is_reading()
        talks[0].resume_writing()
        assert talks[0].transport.is_reading()
        writer.close()

    played(scene)


def test_other_hosts_are_answered_where_they_are_peers_alone() -> None:
    async def scene(world: World) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: quota.Talk(world.server), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def said() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(quota.framed("quota bob@a.example"))
            try:
                return await reader.read(100)
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

        assert await said() == b""
        world.server.settings["peers"] = ["127.0.0.1"]
        assert await said() == quota.framed("NOTFOUND ")
        server.close()

    played(scene)


@pytest.mark.parametrize("octets", [b"9999:x,", b"abc", b"5:quota;", b":", b"-1:,"])
def test_what_is_no_question_ends_the_connection(octets: bytes) -> None:
    async def scene(world: World) -> None:
        reader, writer = await asyncio.open_unix_connection(world.settings["socket"])
        writer.write(octets)
        writer.write_eof()
        assert await reader.read() == b""

    played(scene)
