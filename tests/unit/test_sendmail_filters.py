"""Maps, recipients and options of sendmail."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import sendmail

from tests.unit.inventory import lab_site

USERS: list[dict[str, Any]] = [{"name": "alice"}, {"name": "bob", "domains": ["b.example"]}]
ALIASES: dict[str, Any] = {"postmaster": ["alice"], "abuse": ["postmaster"]}
DOMAINS = ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("network", "keys"),
    [
        ("10.1.0.25", ["10.1.0.25"]),
        ("10.1.0.0/24", ["10.1.0"]),
        ("10.1.0.0/16", ["10.1"]),
        ("10.0.0.0/8", ["10"]),
        ("10.1.0.0/23", ["10.1.0", "10.1.1"]),
        ("10.1.0.0/30", ["10.1.0.0", "10.1.0.1", "10.1.0.2", "10.1.0.3"]),
        # sendmail writes IPv6 addresses in full (UseCompressedIPv6Addresses is off), and cuts them at colons.
        ("2001:db8::1", ["IPv6:2001:db8:0:0:0:0:0:1"]),
        ("2001:db8:0:1::/64", ["IPv6:2001:db8:0:1"]),
        ("2001:db8:0:2::/63", ["IPv6:2001:db8:0:2", "IPv6:2001:db8:0:3"]),
    ],
)
def test_networks_are_spelt_in_whole_octets(network: str, keys: list[str]) -> None:
    assert sendmail.connect_keys(network) == keys


def test_recipients_come_from_users_and_aliases_of_each_domain() -> None:
    assert sendmail.mail_recipients(USERS, ALIASES, DOMAINS) == [
        "abuse@a.example",
        "alice@a.example",
        "postmaster@a.example",
        "abuse@b.example",
        "alice@b.example",
        "bob@b.example",
        "postmaster@b.example",
    ]


def test_who_is_suspended_receives_and_who_is_absent_does_not() -> None:
    users = [{"name": "s", "state": "suspended"}, {"name": "gone", "state": "absent"}]
    assert sendmail.mail_recipients(users, {}, ["a.example"]) == ["s@a.example"]


def test_an_alias_may_have_the_name_of_somebody_absent_and_not_lead_there() -> None:
    users = [{"name": "gone", "state": "absent", "password": "x"}, {"name": "heir", "password": "x"}]
    aliases = {"postmaster": ["heir"], "abuse": ["heir"]}
    assert sendmail.mail_errors(users, {**aliases, "gone": ["heir"]}, ["a.example"]) == []
    (error,) = sendmail.mail_errors(users, {**aliases, "all": ["heir", "gone"]}, ["a.example"])
    assert error == "site_aliases.all: 'gone' is neither a user nor an alias nor an address."


def test_the_gateways_access_map() -> None:
    text = sendmail.sendmail_access(
        ["10.1.0.25"], ["a.example"], ["alice@a.example"], "gw.a.example", client_rate=60, exempt=["10.1.0.25"]
    )
    assert text.splitlines() == [
        "Connect:127.0.0.1\tRELAY",
        "Connect:10.1.0.25\tRELAY",
        "To:postmaster@gw.a.example\tRELAY",
        "To:alice@a.example\tRELAY",
        'To:a.example\tERROR:5.1.1:"550 User unknown"',
        "ClientRate:127.0.0.1\t0",
        "ClientRate:10.1.0.25\t0",
        "ClientRate:\t60",
        "ClientConn:\t0",
    ]


def test_options_become_defines_and_the_lines_they_must_leave() -> None:
    options = [{"m4": "confMAX_HOP", "option": "MaxHopCount", "value": 25}]
    assert sendmail.sendmail_defines(options) == "define(`confMAX_HOP', `25')dnl\n"
    assert sendmail.sendmail_expected(options) == ["O MaxHopCount=25"]
    with pytest.raises(ValueError, match="confMAX_HOP"):
        sendmail.sendmail_defines([{"m4": "confMAX_HOP", "option": "MaxHopCount", "value": "1')errprint(`x"}])


def test_sound_users_have_no_errors() -> None:
    assert sendmail.mail_errors(USERS, ALIASES, DOMAINS) == []


@pytest.mark.parametrize(
    ("users", "aliases", "words"),
    [
        ([{"name": "Alice"}], {}, ["entry 1 (Alice)", "lower-case"]),
        ([{"name": "alice"}, {"name": "alice"}], {}, ["entry 2 (alice)", "taken"]),
        ([{"name": "bob", "domains": ["c.example"]}], {}, ["c.example", "a.example, b.example"]),
        (USERS, {"alice": ["bob"]}, ["site_aliases.alice", "mailbox"]),
        (USERS, {"jobs": ["nobody"]}, ["site_aliases.jobs", "'nobody'"]),
        (USERS, {"jobs": "alice"}, ["site_aliases.jobs", "list"]),
        (USERS, {"x": ["y"], "y": ["x"]}, ["site_aliases.x", "itself"]),
        (USERS, {"abuse": ["alice"]}, ["lacks postmaster"]),
    ],
)
def test_a_wrong_user_or_alias_is_named(users: list[dict[str, Any]], aliases: dict[str, Any], words: list[str]) -> None:
    errors = " ".join(sendmail.mail_errors(users, aliases, DOMAINS))
    for word in words:
        assert word in errors


def test_who_relays_for_whom_in_the_lab() -> None:
    site, gateways, stores = lab_site(), ["smtp1"], ["mail"]
    assert sendmail.mail_relay_from(site, "smtp1", gateways, stores) == ["10.1.0.25", "2001:db8:a1:100::25"]
    assert sendmail.mail_relay_from(site, "mail", gateways, stores) == [
        *("10.1.0.0/24", "2001:db8:a1:100::/64"),
        *("10.1.2.0/24", "2001:db8:a1:200::/64", "10.2.0.0/24", "2001:db8:a1:201::/64"),
    ]
    assert sendmail.mail_relay_from(site, "dns1", gateways, stores) == []


def test_where_mail_for_elsewhere_goes_in_the_lab() -> None:
    site, gateways, stores = lab_site(), ["smtp1"], ["mail"]
    hops = {host: sendmail.mail_smart_host(site, host, gateways, stores) for host in ("smtp1", "mail", "dns1", "mgmt")}
    assert hops == {"smtp1": "", "mail": "10.1.1.11", "dns1": "10.1.1.11", "mgmt": "10.1.0.25"}
    assert sendmail.mail_domains(site["domains"], site) == [{"name": "widgets.example", "next_hop": "10.1.0.25"}]


PROGRAMS = {"logger": "/usr/bin/logger"}


def test_a_pipe_is_written_in_quotes() -> None:
    assert sendmail.sendmail_aliases({"pager": ["|logger -t pager", "bob"]}) == 'pager:\t"|logger -t pager", bob\n'


@pytest.mark.requirement("SM-9", side="negative")
@pytest.mark.parametrize(
    ("target", "programs", "words"),
    [
        ("|uudecode", PROGRAMS, ["site_aliases.pager", "'|uudecode'", "allowed by site_programs are logger"]),
        ("|/usr/bin/logger", PROGRAMS, ["not on the list"]),
        ("|logger; id", PROGRAMS, ["not on the list"]),
        ("|logger $(id)", PROGRAMS, ["no shell syntax"]),
        ("|", PROGRAMS, ["not on the list"]),
        ("|mail", {"mail": "/usr/bin/procmail"}, ["site_programs.mail", "/usr/bin/procmail", "never allowed"]),
        ("|sh", {"sh": "/bin/sh"}, ["site_programs.sh", "never allowed"]),
        ("|x", {"x": "bin/x"}, ["site_programs.x", "absolute path"]),
    ],
)
def test_a_program_off_the_list_is_refused(target: str, programs: dict[str, str], words: list[str]) -> None:
    errors = " ".join(sendmail.mail_errors(USERS, {**ALIASES, "pager": [target]}, DOMAINS, programs))
    for word in words:
        assert word in errors


def test_a_program_on_the_list_is_sound() -> None:
    assert sendmail.mail_errors(USERS, {**ALIASES, "pager": ["|logger -t pager"]}, DOMAINS, PROGRAMS) == []


def test_a_block_list_counts_answers_in_127_only_and_is_passed_over_unless_it_must_answer() -> None:
    lists = [{"zone": "bl.a.example"}, {"zone": "bl.b.example", "unanswered": "tempfail"}]
    assert sendmail.sendmail_block_lists(lists).splitlines() == [
        "FEATURE(`enhdnsbl', `bl.a.example', `', `', `127.$+')dnl",
        "FEATURE(`enhdnsbl', `bl.b.example', `', `t', `127.$+')dnl",
    ]


def test_the_exempt_of_block_lists_and_their_friends_are_in_the_access_map() -> None:
    text = sendmail.sendmail_access(
        ["10.1.0.25"], ["a.example"], [], unlisted=["192.0.2.0/24", "10.1.0.25"], friends=["postmaster"]
    )
    rows = text.splitlines()
    assert "Connect:192.0.2\tOK" in rows and "Spam:postmaster@a.example\tFRIEND" in rows
    # Whoever may relay still may.
    assert "Connect:10.1.0.25\tRELAY" in rows and "Connect:10.1.0.25\tOK" not in rows


CHECKS: list[dict[str, Any]] = [
    {"header": "Subject", "regex": "^free[[:space:]]*$"},
    {"header": "X-Mailer", "regex": "bulk", "case": True, "reply": "No circulars (dnl)"},
    {"header": "subject", "regex": "money"},
]


def test_all_checks_of_a_header_stand_in_one_rule_set_and_each_asks_a_map_that_is_declared() -> None:
    lines = sendmail.sendmail_header_checks(CHECKS).splitlines()
    declared = [line.split()[0][2:] for line in lines if line.startswith("`K")]
    asked = [line.split("$(")[1].split()[0] for line in lines if "$(" in line]
    assert sorted(declared) == sorted(asked) and len(set(asked)) == len(CHECKS)
    assert [line for line in lines if line.startswith("`H")] == ["`HSubject: $>+Header1'", "`HX-Mailer: $>+Header2'"]
    first = lines[lines.index("`SHeader1'") : lines.index("`SHeader2'")]
    assert [line.split("$(")[1].split()[0] for line in first if "$(" in line] == ["header1", "header3"]


def test_a_header_checks_map_is_held_against_the_compiled_file_and_its_dollars_are_no_macros() -> None:
    expected = sendmail.sendmail_header_expected(CHECKS)
    assert expected[0] == "Kheader1 regex -a@REFUSED ^[[:space:]]*free[[:space:]]*$$"
    assert expected[1] == "Kheader2 regex -f -a@REFUSED bulk"
    written = sendmail.sendmail_header_checks(CHECKS)
    assert [line for line in expected if f"`{line}'\n" not in written] == []


@pytest.mark.parametrize(
    ("regex", "written"),
    [
        ("a|^b", "a|^[[:space:]]*b"),
        ("(^a)[^b]", "(^[[:space:]]*a)[^b]"),
        ("[]^]^", "[]^]^[[:space:]]*"),
        ("[^]^]x", "[^]^]x"),
        ("[[:alpha:]^]", "[[:alpha:]^]"),
        (r"\^\[^", r"\^\[^[[:space:]]*"),
    ],
)
def test_an_anchor_is_where_the_value_begins_and_not_the_blank_before_it(regex: str, written: str) -> None:
    assert sendmail.sendmail_header_expected([{"header": "X", "regex": regex}]) == [f"Kheader1 regex -a@REFUSED {written}"]


def test_no_checks_no_lines() -> None:
    assert sendmail.sendmail_header_checks([]) == sendmail.sendmail_milters([]) == sendmail.sendmail_block_lists([]) == ""


@pytest.mark.parametrize(("gone", "flag"), [("tempfail", ", F=T"), ("reject", ", F=R"), ("pass", ""), (None, ", F=T")])
def test_a_milters_absence_is_a_flag_of_sendmails(gone: str | None, flag: str) -> None:
    rows = [{"name": "x", "socket": "/run/x", "gone": gone, "timeouts": {"end": "5m", "reply": None}}]
    wanted = f"INPUT_MAIL_FILTER(`x', `S=local:/run/x{flag}, T=C:10s;S:10s;R:10s;E:5m')dnl"
    assert sendmail.sendmail_milters(rows).splitlines()[1:] == [wanted]


def test_milters_learn_this_hosts_name_and_not_the_daemons() -> None:
    first = sendmail.sendmail_milters([{"name": "x", "socket": "/run/x"}]).splitlines()[0]
    assert "`j, " in first and "daemon_name" not in first


@pytest.mark.parametrize(
    ("lists", "checks", "milters", "words"),
    [
        ([{"zone": "bl..example"}], [], [], ["sendmail_block_lists, entry 1", "bl..example", "such as"]),
        ([{"zone": "bl.example')"}], [], [], ["such as"]),
        ([], [{"header": "Sub ject", "regex": "x"}], [], ["entry 1", "Sub ject", "without the colon"]),
        ([], [{"header": "Subject", "regex": "a b"}], [], ["blanks"]),
        ([], [{"header": "Subject", "regex": "it's"}], [], ["apostrophe"]),
        ([], [{"header": "Subject", "regex": "`x"}], [], ["grave"]),
        ([], [{"header": "Subject", "regex": "x\n"}], [], ["printable"]),
        ([], [{"header": "Subject", "regex": "a("}], [], ["unterminated"]),
        ([], [{"header": "Subject", "regex": "\\d+"}], [], ["POSIX"]),
        ([], [{"header": "Subject", "regex": "(?i)x"}], [], ["POSIX"]),
        ([], [{"header": "Subject", "regex": ""}], [], ["regex is ''"]),
        ([], [{"header": "Subject", "regex": "x", "reply": 'a"b'}], [], ["reply", "punctuation"]),
        ([], [], [{"name": "a b", "socket": "/run/x"}], ["a b", "letters"]),
        ([], [], [{"name": "x", "socket": "run/x"}], ["'run/x'", "absolute"]),
        ([], [], [{"name": "x", "socket": "/run/x", "timeouts": {"end": "2"}}], ["timeouts.end", "s, m or h"]),
        ([], [], [{"name": "x", "socket": "/a"}, {"name": "x", "socket": "/b"}], ["entry 2", "no other"]),
    ],
)
def test_what_sendmail_could_not_use_as_it_is_meant_is_named(
    lists: list[Any], checks: list[Any], milters: list[Any], words: list[str]
) -> None:
    (error,) = sendmail.sendmail_filter_errors(lists, checks, milters)
    assert [word for word in words if word not in error] == []


def test_sound_lists_checks_and_milters_are_accepted() -> None:
    milters = [{"name": "content-filter", "socket": "/run/content-filter/milter.sock", "timeouts": {"end": "2m"}}]
    assert sendmail.sendmail_filter_errors([{"zone": "bl.a.example"}], CHECKS, milters) == []
