"""Tripwire's texts: the policy made from data, what a report says, and the seal."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.module_utils import tripwire

RULES: list[dict[str, Any]] = [
    {"name": "Programs", "severity": 100, "mask": "+pugtsSM", "paths": ["/usr/bin", "/usr/lib64"]},
    {"name": "Top", "severity": 66, "mask": "+pug", "recurse": False, "paths": ["/"]},
    {"name": "Jobs", "severity": 100, "mask": "+pug", "paths": ["/var/spool/cron"]},
]


def test_policy_leaves_out_what_is_not_there() -> None:
    text = tripwire.policy_text(RULES, ["/etc/mtab"], {"/usr/bin", "/"})
    assert text.splitlines()[1:] == [
        "@@section FS",
        '(rulename = "Programs", severity = 100)',
        "{",
        '  "/usr/bin" -> +pugtsSM ;',
        "}",
        '(rulename = "Top", severity = 66)',
        "{",
        '  "/" -> +pug (recurse = false) ;',
        "}",
        '!"/etc/mtab" ;',
    ]


def test_paths_are_read_back_from_a_policy() -> None:
    assert tripwire.policy_paths(tripwire.policy_text(RULES, ["/etc/mtab"], {"/usr/bin", "/"})) == ["/usr/bin", "/"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": 'a"b'}, "a name is"),
        ({"severity": -1}, "severity -1"),
        ({"mask": "$(ReadOnly)"}, "property mask"),
        ({"paths": ["etc"]}, "not an absolute path"),
        ({"paths": ["/etc/"]}, "not an absolute path"),
        ({"paths": ["/etc", "/etc"]}, "watched twice"),
    ],
)
def test_bad_rules_are_refused_in_words(changed: dict[str, Any], words: str) -> None:
    errors = tripwire.policy_errors([RULES[0] | changed], [])
    assert len(errors) == 1
    assert words in errors[0]


def test_sound_rules_have_no_errors_and_bad_exclusions_do() -> None:
    assert tripwire.policy_errors(RULES, ["/etc/mtab"]) == []
    assert len(tripwire.policy_errors(RULES, ['/etc/"', "mtab"])) == 2


def test_changes_are_read_from_a_report() -> None:
    text = 'Note: Report is not encrypted.\nAdded:\t"/tmp/d"\nRemoved:\t"/tmp/b c"\nModified:\t"/tmp/a"\n'
    assert tripwire.report_changes(text) == [
        {"change": "added", "path": "/tmp/d"},
        {"change": "removed", "path": "/tmp/b c"},
        {"change": "modified", "path": "/tmp/a"},
    ]


def test_what_lies_outside_the_accepted_paths() -> None:
    changes = [{"change": "modified", "path": path} for path in ("/etc/mail", "/etc/mail/access", "/etc/mailname")]
    assert tripwire.outside(changes, ["/etc/mail/"]) == ["/etc/mailname"]
    assert tripwire.outside(changes, []) == []


def test_a_seal_depends_on_both_passphrases_and_every_part() -> None:
    seals = {
        tripwire.seal("site", "local", [b"a", b"b"]),
        tripwire.seal("site", "Local", [b"a", b"b"]),
        tripwire.seal("Site", "local", [b"a", b"b"]),
        tripwire.seal("sitel", "ocal", [b"a", b"b"]),
        tripwire.seal("site", "local", [b"ab", b""]),
        tripwire.seal("site", "local", [b"a", b"c"]),
    }
    assert len(seals) == 6
    assert tripwire.seal("site", "local", [b"a", b"b"]) in seals
