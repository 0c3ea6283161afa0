"""Signatures of the content filter, and what its settings may not be."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.widgets.mail.plugins.filter import content_filter

from tests.unit.inventory import ROOT

DEFAULTS = yaml.safe_load((ROOT / "roles/content_filter/defaults/main.yml").read_text(encoding="utf-8"))
PATTERN = {"name": "Pattern", "hex": "DEADBEEF00"}
HASH = {"name": "Hash", "sha256": "AB" * 32, "size": 12}
SOUND: list[Any] = [[PATTERN, HASH], ["exe"], 15, 6, False]


def test_patterns_and_hashes_go_to_files_of_their_own() -> None:
    assert content_filter.content_filter_ndb([PATTERN, HASH]).splitlines()[1:] == ["Pattern:0:0:deadbeef00"]
    assert content_filter.content_filter_hsb([PATTERN, HASH]).splitlines()[1:] == [f"{'ab' * 32}:12:Hash:73"]


def test_the_defaults_hold_the_test_file_of_eicar() -> None:
    """Known by its hash, which EICAR and every scanner's maker publish."""
    (signature,) = DEFAULTS["content_filter_signatures"]
    digest = hashlib.sha256(bytes.fromhex(signature["hex"])).hexdigest()
    assert digest == "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"


@pytest.mark.parametrize(("whole", "scanner"), [(1, 1), (2, 1), (3, 1), (60, 30)])
def test_the_scanner_always_has_a_second(whole: int, scanner: int) -> None:
    """With none, each message would be taken for one that the scanner has not seen, and put off for ever."""
    text = (ROOT / "roles/content_filter/templates/rspamd.conf.j2").read_text(encoding="utf-8")
    (line,) = re.findall(r"^antivirus \{.*?^    (timeout = .*?;)$", text, re.MULTILINE | re.DOTALL)
    assert jinja2.Template(line).render(content_filter_timeout=whole) == f"timeout = {scanner};"


def test_the_defaults_are_sound() -> None:
    keys = ("signatures", "refused_extensions", "refuse_score", "mark_score", "freshclam")
    assert content_filter.content_filter_errors(*(DEFAULTS[f"content_filter_{key}"] for key in keys)) == []


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, [{**PATTERN, "name": "a:b"}], ["entry 1", "a:b", "letters, digits"]),
        (0, [{**PATTERN, "hex": "xyz"}], ["'xyz'", "hexadecimal"]),
        (0, [{**PATTERN, "hex": "00\n"}], ["hexadecimal"]),
        (0, [{**PATTERN, "sha256": "ab" * 32}], ["either hex or sha256"]),
        (0, [PATTERN, {"name": "x"}], ["entry 2", "either hex or sha256"]),
        (0, [PATTERN, {**HASH, "size": None}], ["size is None"]),
        (0, [PATTERN, {**HASH, "sha256": "ab"}], ["64"]),
        (0, [PATTERN, PATTERN], ["entry 2", "taken"]),
        (0, [HASH], ["clamd does not start"]),
        (1, [".exe"], ["'.exe'", "without the dot"]),
        (1, [], ["at least one"]),
        (3, 16, ["16", "15"]),
        (3, 0, ["above 0"]),
    ],
)
def test_what_makes_no_sense_is_named(place: int, value: Any, words: list[str]) -> None:
    arguments = [*SOUND]
    arguments[place] = value
    (error,) = content_filter.content_filter_errors(*arguments)
    assert [word for word in words if word not in error] == []


def test_fetched_signatures_need_none_of_ones_own() -> None:
    assert content_filter.content_filter_errors([], ["exe"], 15, 6, True) == []


def test_the_defaults_of_the_greylist_are_sound() -> None:
    keys = ("greylist_score", "mark_score", "greylist_known_networks", "greylist_known_domains", "authentication")
    assert content_filter.content_filter_greylist_errors(*(DEFAULTS[f"content_filter_{key}"] for key in keys)) == []


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, 6, ["content_filter_greylist_score is 6", "content_filter_mark_score 6", "below"]),
        (0, 0, ["above 0"]),
        (2, ["192.0.2.0/24", "::/0"], ["'::/0'", "whole world"]),
        (4, False, ["'example.org'", "content_filter_authentication is false"]),
    ],
)
def test_what_makes_no_sense_of_a_greylist_is_named(place: int, value: Any, words: list[str]) -> None:
    arguments: list[Any] = [4, 6, ["192.0.2.1"], ["example.org"], True]
    assert content_filter.content_filter_greylist_errors(*arguments) == []
    arguments[place] = value
    (error,) = content_filter.content_filter_greylist_errors(*arguments)
    assert [word for word in words if word not in error] == []
