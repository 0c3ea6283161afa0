"""The milter that looks at From and Sender of those who have logged in."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.unit.inventory import ROOT

LINES = ["ann:ann@a.example\tOK", "ann:office@a.example\tOK", "bob:bob@a.example\tOK"]
MINE, OTHER = "ann@a.example", "bob@a.example"


def load() -> ModuleType:
    """The program as a module; what it needs of the host it needs only when it runs."""
    spec = importlib.util.spec_from_file_location("senders", ROOT / "roles/sendmail/files/senders.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MILTER = load()


@pytest.mark.parametrize(
    "value",
    [
        MINE,
        f"<{MINE}>",
        f"Ann <{MINE}>",
        f"Ann D. Doe <{MINE.upper()}>",
        f'"Doe, Ann" <{MINE}>',
        f'"Ann (\\"A\\")" <{MINE}> (at (very) work)',
        f"=?utf-8?q?J=C3=A9r=C3=B4me?= <{MINE}>",
        "office@a.example",
        "Ann\r\n <ann+shop@a.example>",
        f'"{OTHER}" <{MINE}>',
        f"{'x' * 170} <{MINE}>",
        f'"a" b "c\\" <x@y>" <{MINE}>',
        f"(a (b \\) c) d) {MINE} (e)",
    ],
)
def test_an_author_with_an_address_of_his_own_may_look_as_he_likes(value: str) -> None:
    assert MILTER.sound([("To", OTHER), ("From", value), ("Sender", MINE)], "ann@a.example", "<x>", LINES)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Ann",
        OTHER,
        f"{MINE} <{OTHER}>",
        f"{MINE} <>",
        f"<{MINE}> <{OTHER}>",
        f"{MINE}, {OTHER}",
        f"{MINE} {OTHER}",
        f"us: {MINE};",
        f"({MINE}) {OTHER}",
        f"({MINE} {OTHER}",
        f'"{MINE} <{OTHER}>',
        f'"{MINE}" <{OTHER}>',
        f"@x.example:{MINE}",
        f"{'x' * 5000} <{OTHER}>",
        f"{MINE}\x00 <{OTHER}>",
        "bob+ann@a.example",
        "ann@b.example",
        f'(") {OTHER} ((" ) <{MINE}> (")")',
        f'(") {OTHER}, (") {MINE}',
        '"ann"@a.example',
        f'"{OTHER} {"x" * 1300}" <{MINE}>',
        f"{'x' * 190} <{MINE}>",
        f'"a\rFrom: {OTHER}" <{MINE}>',
        f'"a\nFrom: {OTHER}" <{MINE}>',
        f"Ann \\<{OTHER}> <{MINE}>",
        f"{MINE} (\\",
        f"{'(' * 8000}{')' * 8000} {MINE}",
    ],
)
def test_anything_else_is_refused(value: str) -> None:
    assert not MILTER.sound([("From", value)], "ann", "<x>", LINES)
    for field in (" SENDER ", "Resent-From", "resent-sender"):
        assert not MILTER.sound([("From", MINE), (field, value)], "ann", "<x>", LINES)


def test_a_second_header_of_a_kind_is_refused_and_none_is_not() -> None:
    assert not MILTER.sound([("From", MINE), ("from", MINE)], "ann", "<x>", LINES)
    assert MILTER.sound([("From", MINE), ("Resent-From", MINE), ("Resent-From", MINE)], "ann", "<x>", LINES)
    assert MILTER.sound([("Subject", OTHER)], "ann", "<x>", LINES)


@pytest.mark.parametrize("sender", ["", "<>", " <> "])
def test_without_a_sender_there_has_to_be_an_author(sender: str) -> None:
    """sendmail would write MAILER-DAEMON for him."""
    assert not MILTER.sound([("Full-Name", OTHER)], "ann", sender, LINES)
    assert MILTER.sound([("From", MINE)], "ann", sender, LINES)


@pytest.mark.parametrize("user", ["bob", "carol", "ann+x", "@"])
def test_an_address_is_nobody_else_s(user: str) -> None:
    assert not MILTER.sound([("From", MINE)], user, "<x>", LINES)
