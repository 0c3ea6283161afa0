"""The self-check's judgement: what is good, what is bad, what is only not there yet, and what has changed."""

from __future__ import annotations

import copy
import http.client
import ipaddress
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import dkim, selfcheck
from ansible_collections.widgets.mail.plugins.module_utils import dkim_store
from ansible_collections.widgets.mail.plugins.modules import selfcheck_look

from tests.unit.inventory import lab_site

NOW = "2026-11-24T12:00:00Z"
NOON = 1795521600.0
NAME, DOMAIN, ADDRESS = "smtp1.widgets.example", "widgets.example", "198.51.100.4"
ADDRESS6 = "2001:db8:a1:50::11"
POINTER6 = ipaddress.ip_address(ADDRESS6).reverse_pointer
RIGHT = f"v=spf1 ip4:{ADDRESS} ip6:{ADDRESS6} -all"
KEY = dkim_store.make_key()
PUBLIC = dkim.dkim_public(KEY)
LIMITS = {"queue_hours": 4, "certificate_days": 14}
LATER = ["TLS", "TLSA", "MTA-STS", "backup"]
SITE = selfcheck.selfcheck_site(
    lab_site(), ["smtp1"], [{"domain": DOMAIN, "selector": "k1", "key": KEY, "state": "signing"}], {"policy": "reject"}
)
SHA = "ab" * 32


def record(*values: str, error: str = "") -> dict[str, Any]:
    return {"values": list(values), "error": error}


def sound() -> dict[str, Any]:
    """What is seen of a site that lacks nothing."""
    ways = ["<a@b.example>", "<a%b.example@widgets.example>"]
    return {
        "records": {
            f"{DOMAIN} MX": record(f"10 {NAME}."),
            f"{DOMAIN} TXT": record("something else", RIGHT),
            f"k1._domainkey.{DOMAIN} TXT": record(f"v=DKIM1; k=rsa; p={PUBLIC}"),
            f"_dmarc.{DOMAIN} TXT": record("v=DMARC1; p=reject; rua=mailto:postmaster@widgets.example"),
            f"_mta-sts.{DOMAIN} TXT": record("v=STSv1; id=1"),
            f"{NAME} A": record(ADDRESS),
            f"{NAME} AAAA": record(ADDRESS6),
            f"{POINTER6} PTR": record(f"{NAME}."),
            "4.100.51.198.in-addr.arpa PTR": record(f"{NAME}."),
            f"_25._tcp.{NAME} TLSA": record(f"3 1 1 {SHA}"),
        },
        "smtp": {
            address: {
                "ways": ways,
                "relay": {"": ["550 5.7.1 Relaying denied"] * 2, f"postmaster@{DOMAIN}": ["550 5.7.1 Relaying denied"] * 2},
                "friends": {"<postmaster@widgets.example>": "250 2.1.5 ok", "<abuse@widgets.example>": "250 2.1.5 ok"},
                "tls": {
                    "offered": True,
                    "version": "TLSv1.3",
                    "trusted": True,
                    "ends": "2027-03-01T00:00:00Z",
                    "key_sha256": SHA,
                },
            }
            for address in (ADDRESS, ADDRESS6)
        },
        "listed": [{"address": address, "zone": "bl.example", "listed": False, "error": ""} for address in (ADDRESS, ADDRESS6)],
        "policies": {DOMAIN: {"text": f"version: STSv1\r\nmode: enforce\r\nmx: {NAME}\r\nmax_age: 86400\r\n", "error": ""}},
    }


HOSTS = {
    "smtp1": {"queue": [NOON - 3600], "certificates": {}},
    "mail": {"queue": [], "certificates": {"/c.pem": "2027-01-01T00:00:00Z"}},
}
BACKUPS = [{"host": "mail", "path": "/b", "hours": 30, "made": NOON - 3600}]


def rows(seen: dict[str, Any] | None = None, hosts: Any = None, backups: Any = None) -> list[dict[str, Any]]:
    return selfcheck.selfcheck_rows(
        sound() if seen is None else seen,
        SITE,
        HOSTS if hosts is None else hosts,
        BACKUPS if backups is None else backups,
        LIMITS,
        NOW,
    )


def test_a_sound_site_is_good_in_every_row() -> None:
    found = rows()
    assert selfcheck.selfcheck_bad(found, []) == []
    assert {line["check"] for line in found} == {
        *("MX", "SPF", "DKIM", "DMARC", "MTA-STS", "A", "AAAA", "PTR", "relay", "postmaster", "TLS", "certificate", "TLSA"),
        *("block list", "queue", "backup"),
    }


def change(path: str, value: Any) -> dict[str, Any]:
    """What is seen, with one thing changed; parts of the path are separated by |."""
    seen = copy.deepcopy(sound())
    *steps, last = path.split("|")
    here: Any = seen
    for step in steps:
        here = here[int(step) if isinstance(here, list) else step]
    here[last] = value
    return seen


RECORDS, DOOR = "records|", f"smtp|{ADDRESS}|"
FAULTS: list[tuple[str, Any, str, str]] = [
    (f"{RECORDS}{DOMAIN} MX", record(f"10 {NAME}.", "20 backup.example."), "MX", "backup.example"),
    (f"{RECORDS}{DOMAIN} MX", record(error="no name server answers"), "MX", "no name server answers"),
    (f"{RECORDS}{DOMAIN} TXT", record("v=spf1 +all"), "SPF", "+all"),
    (f"{RECORDS}{DOMAIN} TXT", record(RIGHT, "v=spf1 -all"), "SPF", "v=spf1 -all"),
    (f"{RECORDS}{DOMAIN} TXT", record(RIGHT.replace("-all", "~all")), "SPF", "~all"),
    (f"{RECORDS}{DOMAIN} TXT", record(f"v=spf1 ip4:{ADDRESS} -all"), "SPF", f"v=spf1 ip4:{ADDRESS} -all"),
    (f"{RECORDS}{DOMAIN} TXT", record(), "SPF", "not published"),
    (f"{RECORDS}k1._domainkey.{DOMAIN} TXT", record("v=DKIM1; k=rsa; p=AAAA"), "DKIM", "another key"),
    (f"{RECORDS}k1._domainkey.{DOMAIN} TXT", record(), "DKIM", "not published"),
    (f"{RECORDS}_dmarc.{DOMAIN} TXT", record("v=DMARC1; p=none"), "DMARC", "p=none"),
    (f"{RECORDS}_dmarc.{DOMAIN} TXT", record(), "DMARC", "not published"),
    (f"{RECORDS}{NAME} A", record("198.51.100.9"), "A", "198.51.100.9"),
    (f"{RECORDS}{NAME} AAAA", record("2001:db8::1"), "AAAA", "2001:db8::1"),
    (f"{RECORDS}{NAME} AAAA", record(), "AAAA", "not published"),
    (f"{RECORDS}4.100.51.198.in-addr.arpa PTR", record(), "PTR", "not published"),
    (f"{RECORDS}{POINTER6} PTR", record(), "PTR", "not published"),
    (f"{RECORDS}_25._tcp.{NAME} TLSA", record("3 1 1 " + "cd" * 32), "TLSA", "fits no certificate"),
    (f"policies|{DOMAIN}", {"text": "mode: enforce\nmx: other.example", "error": ""}, "MTA-STS", "other.example"),
    (f"policies|{DOMAIN}", {"text": "", "error": "HTTPError: 404"}, "MTA-STS", "404"),
    (f"{DOOR}relay", {"": ["250 2.1.5 ok", "550 no"]}, "relay", "takes <a@b.example>"),
    (f"smtp|{ADDRESS6}|relay", {"": ["250 2.1.5 ok", "550 no"]}, "relay", "takes <a@b.example>"),
    (f"{DOOR}relay", {"": ["nothing (ConnectionRefusedError)"] * 2}, "relay", "ConnectionRefusedError"),
    (f"{DOOR}friends", {"<abuse@widgets.example>": "550 5.1.1 unknown"}, "postmaster", "abuse@widgets.example"),
    (f"{DOOR}tls|version", "TLSv1.1", "TLS", "F: TLSv1.1"),
    (f"{DOOR}tls|ends", "2026-11-30T00:00:00Z", "certificate", "ends 2026-11-30"),
    (f"{DOOR}tls|ends", "soon", "certificate", "cannot be read"),
    ("listed|0|listed", True, "block list", "listed"),
    ("listed|0|error", "does not answer", "block list", "does not answer"),
]


@pytest.mark.parametrize(("path", "value", "check", "words"), FAULTS)
def test_a_fault_turns_its_own_row_bad_and_no_other(path: str, value: Any, check: str, words: str) -> None:
    bad = selfcheck.selfcheck_bad(rows(change(path, value)), LATER)
    assert {line["check"] for line in bad} == {check}
    assert any(words in line["found"] for line in bad)


def test_a_certificate_that_nobody_can_verify_is_bad_but_for_dane() -> None:
    seen = change(f"{DOOR}tls|trusted", False)
    assert selfcheck.selfcheck_bad(rows(seen), LATER) == []
    seen["records"][f"_25._tcp.{NAME} TLSA"] = record()
    assert [line["found"][:2] for line in selfcheck.selfcheck_bad(rows(seen), LATER)] == ["C:"]


@pytest.mark.parametrize(
    ("host", "check"),
    [
        ({"queue": [NOON - 5 * 3600, NOON], "certificates": {}}, "queue"),
        ({"queue": None, "certificates": {}}, "queue"),
        ({"queue": [], "certificates": {"/c.pem": "2026-11-25T00:00:00Z"}}, "certificate"),
        ({"queue": [], "certificates": {"/c.pem": ""}}, "certificate"),
    ],
)
def test_what_a_host_says_of_itself_is_judged(host: dict[str, Any], check: str) -> None:
    assert [line["check"] for line in selfcheck.selfcheck_bad(rows(hosts={"smtp1": host}), LATER)] == [check]


@pytest.mark.parametrize("made", [None, NOON - 31 * 3600])
def test_an_old_or_missing_backup_is_bad(made: float | None) -> None:
    assert [line["check"] for line in selfcheck.selfcheck_bad(rows(backups=[{**BACKUPS[0], "made": made}]), LATER)] == [
        "backup"
    ]


def test_what_is_not_there_yet_is_told_and_counts_only_where_the_site_should_have_it() -> None:
    seen = sound()
    for name in (f"_mta-sts.{DOMAIN} TXT", f"_25._tcp.{NAME} TLSA"):
        seen["records"][name] = record()
    seen["smtp"][ADDRESS]["tls"] = {"offered": False}
    found = rows(seen, backups=[])
    assert [line["check"] for line in found if line["verdict"] == "absent"] == ["MTA-STS", "TLS", "TLSA", "backup"]
    assert selfcheck.selfcheck_bad(found, LATER) == []
    assert [line["check"] for line in selfcheck.selfcheck_bad(found, ["TLS"])] == ["MTA-STS", "TLSA", "backup"]
    assert [line.split()[0] for line in selfcheck.selfcheck_table(found, LATER)].count("not") == 4


def test_the_table_says_what_was_wanted_where_something_is_bad() -> None:
    lines = selfcheck.selfcheck_table(rows(change(f"{RECORDS}{NAME} A", record("198.51.100.9"))), LATER)
    (bad,) = [line for line in lines if line.startswith("BAD")]
    assert "198.51.100.9; wanted: 198.51.100.4" in bad
    assert len(lines) == len(rows())


def test_only_what_differs_from_the_last_report_is_told() -> None:
    before = rows()
    assert selfcheck.selfcheck_changes(before, before) == []
    # The queue's age changes all the time.
    older = rows(hosts={**HOSTS, "smtp1": {"queue": [NOON - 7200] * 3, "certificates": {}}})
    assert selfcheck.selfcheck_changes(older, before) == []
    now = rows(change("listed|0|listed", True))
    assert selfcheck.selfcheck_changes(now, before) == [
        f"block list {ADDRESS} bl.example: good (not listed) is now bad (listed)"
    ]
    assert selfcheck.selfcheck_changes(now[:-1], now) == ["backup mail:/b: no longer looked at"]
    assert selfcheck.selfcheck_changes(now, now[:-1])[0].startswith("backup mail:/b: new, good")


def test_a_host_that_was_not_reached_is_no_empty_queue() -> None:
    hostvars = {
        "a": {
            "__selfcheck_queue": {"files": [{"mtime": 5.0}]},
            "__selfcheck_ends": {"results": [{"item": "/c", "stdout": "notAfter=2027-01-01 00:00:00Z"}]},
        },
        "b": {"__selfcheck_queue": {"unreachable": True}, "__selfcheck_ends": {"unreachable": True}},
    }
    assert selfcheck.selfcheck_hosts(hostvars, ["a", "b"]) == {
        "a": {"queue": [5.0], "certificates": {"/c": "2027-01-01T00:00:00Z"}},
        "b": {"queue": None, "certificates": {}},
    }


def test_a_backup_is_told_by_the_host_that_has_it() -> None:
    wanted = [
        {"host": "a", "path": "/x", "hours": 1},
        {"host": "a", "path": "/y", "hours": 1},
        {"host": "b", "path": "/x", "hours": 1},
    ]
    results = [{"item": wanted[0], "stat": {"exists": True, "mtime": 5.0}}, {"item": wanted[1], "stat": {"exists": False}}]
    found = selfcheck.selfcheck_backups({"a": {"__selfcheck_made": {"results": results}}}, wanted)
    assert [backup["made"] for backup in found] == [5.0, None, None]


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (200, {"text": "version: STSv1\n", "error": ""}),
        # A sender follows nobody elsewhere (RFC 8461, 3.3), and so takes this for no policy.
        (302, {"text": "", "error": "the server says 302 Found"}),
        (404, {"text": "", "error": "the server says 404 Not Found"}),
    ],
)
def test_a_policy_is_what_the_server_itself_hands_out(
    status: int, found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Policy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.headers["Host"], self.path))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"version: STSv1\n")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    asked: list[tuple[str, str]] = []
    server = HTTPServer(("127.0.0.1", 0), Policy)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def plainly(host: str, timeout: int, context: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, timeout=timeout)
        connection._create_connection = lambda *_args, **_more: socket.create_connection(("127.0.0.1", server.server_port))  # type: ignore[attr-defined]
        return connection

    monkeypatch.setattr(http.client, "HTTPSConnection", plainly)
    assert selfcheck_look.policy(DOMAIN, 5) == found
    assert asked == [(f"mta-sts.{DOMAIN}", "/.well-known/mta-sts.txt")]
    server.shutdown()
    server.server_close()
