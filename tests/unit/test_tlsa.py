"""Keys of TLSA records: what is published, what a gateway shows, and a change of keys in which the two always fit."""

from __future__ import annotations

import base64
import datetime
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import tls, tlsa
from ansible_collections.widgets.mail.plugins.module_utils import key_rotation, tlsa_store

from tests.unit.inventory import CERTIFICATE, certificate

OLD, NEW, OTHER = certificate("old"), certificate("new"), certificate("other")
OLD_KEY, NEW_KEY, OTHER_KEY = (tlsa.tlsa_key(text) for text in (OLD, NEW, OTHER))
TIME = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
WAITS = {"switch": 7200, "withdraw": 3600}
GATEWAYS = ["smtp1"]


def site_tls(**more: Any) -> dict[str, Any]:
    return {"authority": CERTIFICATE, "certificates": {"smtp1": OLD, "mail": OTHER}, **more}


def entries(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in ("host", "key", "state")} for row in rows]


def test_the_key_is_what_openssl_says(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text(OLD)
    public = subprocess.run(
        ["openssl", "x509", "-noout", "-pubkey", "-in", tmp_path / "a.pem"], capture_output=True, check=True
    ).stdout
    octets = base64.b64decode(b"".join(public.splitlines()[1:-1]))
    assert hashlib.sha256(octets).hexdigest() == OLD_KEY != NEW_KEY


@pytest.mark.parametrize("text", ["", "nothing", CERTIFICATE])
def test_what_cannot_be_read_has_no_key(text: str) -> None:
    assert tlsa.tlsa_key(text) == ""


def test_only_gateways_whose_certificate_is_known_have_keys() -> None:
    given = site_tls(next={"smtp1": NEW})
    assert tlsa.tlsa_pairs(given, GATEWAYS) == {"smtp1": {"current": OLD_KEY, "next": NEW_KEY}}
    given["certificates"]["smtp1"] = "/etc/mail/certificates/acme.pem"
    assert tlsa.tlsa_pairs(given, GATEWAYS) == {}
    assert tlsa.tlsa_pairs({}, GATEWAYS) == {}


def test_the_key_of_an_acme_authoritys_certificate_is_not_in_the_dns() -> None:
    given = {**site_tls(), "certificates": {"smtp1": OLD, "smtp2": NEW}}
    gateways = ["smtp1", "smtp2"]
    assert list(tlsa.tlsa_pairs(given, gateways, {})) == gateways
    assert list(tlsa.tlsa_pairs(given, gateways, {"terms_agreed": True, "hosts": ["smtp2"]})) == ["smtp1"]
    assert tlsa.tlsa_pairs(given, gateways, {"terms_agreed": True}) == {}


def published(rows: list[dict[str, Any]]) -> set[str]:
    records = tlsa.tlsa_records(entries(rows), {}, "widgets.example")
    assert {(r["zone"], r["name"], r["type"]) for r in records} == {("widgets.example", "_25._tcp.smtp1", "TLSA")}
    return {r["value"].removeprefix("3 1 1 ") for r in records}


def shows(rows: list[dict[str, Any]], given: dict[str, Any]) -> str:
    return tlsa.tlsa_key(tlsa.tlsa_serving(given, entries(rows))["certificates"]["smtp1"])


def test_a_change_publishes_then_waits_then_switches_then_withdraws() -> None:
    given = site_tls(next={"smtp1": NEW})
    rows = tlsa_store.first([], tlsa.tlsa_pairs(given, GATEWAYS), TIME)
    assert (published(rows), shows(rows, given)) == ({OLD_KEY}, OLD_KEY)
    assert tlsa_store.due(rows, "smtp1", NEW_KEY, TIME, WAITS) == ("begin", TIME)
    rows = tlsa_store.stepped(rows, "smtp1", "begin", NEW_KEY)
    assert (published(rows), shows(rows, given)) == ({OLD_KEY, NEW_KEY}, OLD_KEY)
    # Nobody knows yet that it is published: there is no time from which to count.
    assert tlsa_store.due(rows, "smtp1", NEW_KEY, TIME + 9 * HOUR, WAITS) == ("switch", None)
    rows = key_rotation.known(rows, TIME)
    assert tlsa_store.due(rows, "smtp1", NEW_KEY, TIME, WAITS) == ("switch", TIME + 2 * HOUR)
    rows = tlsa_store.stepped(rows, "smtp1", "switch", NEW_KEY)
    assert (published(rows), shows(rows, given)) == ({OLD_KEY, NEW_KEY}, NEW_KEY)
    assert tlsa_store.due(rows, "smtp1", NEW_KEY, TIME + 9 * HOUR, WAITS) == ("withdraw", None)
    rows = key_rotation.known(rows, TIME)
    assert tlsa_store.due(rows, "smtp1", NEW_KEY, TIME, WAITS) == ("withdraw", TIME + HOUR)
    rows = key_rotation.known(tlsa_store.stepped(rows, "smtp1", "withdraw", NEW_KEY), TIME)
    assert (published(rows), shows(rows, given)) == ({NEW_KEY}, NEW_KEY)
    assert tlsa_store.due(rows, "smtp1", NEW_KEY, TIME, WAITS) == ("", None)
    # The inventory is tidied up: nothing changes.
    tidy = site_tls(certificates={"smtp1": NEW, "mail": OTHER})
    assert (published(rows), shows(rows, tidy)) == ({NEW_KEY}, NEW_KEY)
    assert tlsa.tlsa_errors(entries(rows), tidy, GATEWAYS, "/d", True) == []


def test_a_next_key_that_was_thought_better_of_waits_from_the_start() -> None:
    given = site_tls(next={"smtp1": NEW})
    rows = tlsa_store.first([], tlsa.tlsa_pairs(given, GATEWAYS), TIME)
    rows = key_rotation.known(tlsa_store.stepped(rows, "smtp1", "begin", NEW_KEY), TIME)
    assert tlsa_store.due(rows, "smtp1", OTHER_KEY, TIME + 9 * HOUR, WAITS) == ("begin", TIME + 9 * HOUR)
    rows = tlsa_store.stepped(rows, "smtp1", "begin", OTHER_KEY)
    assert published(rows) == {OLD_KEY, OTHER_KEY}
    assert tlsa_store.due(rows, "smtp1", OTHER_KEY, TIME + 9 * HOUR, WAITS) == ("switch", None)


def test_what_is_written_down_stays_and_a_first_key_is_written_down_once(tmp_path: Path) -> None:
    pairs = tlsa.tlsa_pairs(site_tls(), GATEWAYS)
    rows = tlsa_store.ensure(str(tmp_path), pairs, TIME)
    assert tlsa_store.ensure(str(tmp_path), pairs, TIME + HOUR) == rows == tlsa_store.read(str(tmp_path))
    assert (tmp_path / "tlsa.json").stat().st_mode & 0o077 == 0


def serving(key: str) -> list[dict[str, Any]]:
    return [{"host": "smtp1", "key": key, "state": "serving"}]


@pytest.mark.parametrize(
    ("keys", "given", "dnssec", "message"),
    [
        (serving(OTHER_KEY), site_tls(), True, "the world knows that of " + OTHER_KEY[:8]),
        (serving(OLD_KEY), site_tls(), False, "site_dnssec is not true"),
        (serving(OLD_KEY), site_tls(next={"mail": NEW}), True, "site_tls.next.mail: allowed are the gateways: smtp1."),
        (serving(OLD_KEY), site_tls(next={"smtp1": "/etc/next.pem"}), True, "site_tls.next.smtp1 must be the text"),
        (serving(OLD_KEY), site_tls(next=[NEW]), True, "site_tls.next must be a dictionary"),
        (serving(OLD_KEY), site_tls(tlsa={"smtp1": [NEW_KEY]}), True, "of others the keys are known"),
        ([], site_tls(certificates={"smtp1": "/a.pem", "mail": OTHER}, tlsa={"smtp1": ["3 1 1"]}), True, "64 hexadecimal"),
    ],
)
def test_what_would_leave_records_that_fit_nothing_is_refused(
    keys: list[dict[str, Any]], given: dict[str, Any], dnssec: bool, message: str
) -> None:
    (error,) = tlsa.tlsa_errors(keys, given, GATEWAYS, "/d", dnssec)
    assert message in error and "BEGIN" not in error


def test_what_is_sound_is_let_through() -> None:
    assert tls.tls_errors(site_tls(next={"smtp1": NEW}), GATEWAYS, ["mail"]) == []
    assert tlsa.tlsa_errors(serving(OLD_KEY), site_tls(next={"smtp1": NEW}), GATEWAYS, "/d", True) == []
    on_host = site_tls(certificates={"smtp1": "/a.pem", "mail": OTHER}, tlsa={"smtp1": [NEW_KEY]})
    assert tlsa.tlsa_errors([], on_host, GATEWAYS, "", True) == []
    assert tlsa.tlsa_records([], on_host, "w.example")[0]["value"] == f"3 1 1 {NEW_KEY}"


def test_a_next_certificate_that_nothing_would_ever_show_is_refused() -> None:
    (error,) = tlsa.tlsa_errors([], site_tls(next={"smtp1": NEW}), GATEWAYS, "", True)
    assert "site_tlsa_directory is not" in error
