"""Keys that sign mail: the DNS records made of them, what may be wrong with them, and the steps of a rotation."""

from __future__ import annotations

import base64
import datetime
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import content_filter, dkim, dns
from ansible_collections.widgets.mail.plugins.module_utils import dkim_store, files, key_rotation

from tests.unit.inventory import lab_site

DOMAIN = "widgets.example"
NOON = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)
WAITS = {"begin": 0, "switch": 7200, "withdraw": 691200}


@pytest.fixture(scope="module")
def key() -> str:
    """A key as the store makes them."""
    return dkim_store.make_key()


def entry(key: str, state: str = "signing", selector: str = "k1", **more: Any) -> dict[str, Any]:
    return {"domain": DOMAIN, "selector": selector, "key": key, "state": state, **more}


# -- records ---------------------------------------------------------------------------------------------------------


def test_a_record_holds_the_public_half_as_openssl_has_it(key: str) -> None:
    done = subprocess.run(
        ["openssl", "pkey", "-pubout", "-outform", "DER"], input=key.encode(), capture_output=True, check=True
    )
    (record,) = dkim.dkim_records([entry(key)])
    assert record["name"] == "k1._domainkey" and record["zone"] == DOMAIN and record["type"] == "TXT"
    assert record["value"] == f"v=DKIM1; k=rsa; p={base64.b64encode(done.stdout).decode()}"


def test_all_but_withdrawn_keys_are_published(key: str) -> None:
    rows = [entry(key, state, state) for state in dkim.STATES]
    assert [record["name"].split(".")[0] for record in dkim.dkim_records(rows)] == ["next", "signing", "previous"]


def test_a_site_without_keys_or_policy_publishes_nothing() -> None:
    assert dkim.dkim_records([]) == dkim.dmarc_records({}, [DOMAIN]) == []


def test_the_policy_is_published_for_each_domain() -> None:
    records = dkim.dmarc_records({"policy": "reject", "reports": ["a@x.example", "b@x.example"]}, [DOMAIN, "b.example"])
    assert [(record["zone"], record["name"]) for record in records] == [(DOMAIN, "_dmarc"), ("b.example", "_dmarc")]
    assert {record["value"] for record in records} == {"v=DMARC1; p=reject; rua=mailto:a@x.example,mailto:b@x.example"}


def test_records_are_in_both_views_of_the_zone_in_strings_that_fit(key: str) -> None:
    records = dkim.dkim_records([entry(key)]) + dkim.dmarc_records({"policy": "none"}, [DOMAIN])
    zones = dns.dns_zones(lab_site(), nameservers=["dns1"], gateways=["smtp1"], records=records)
    assert dns.dns_zone_errors(zones) == []
    files = [text for path, text in dns.dns_zone_files(zones).items() if path.endswith(f"/{DOMAIN}")]
    assert len(files) == 2
    for text in files:
        (line,) = [line for line in text.splitlines() if line.startswith("k1._domainkey ")]
        strings = line.split('"')[1::2]
        assert max(map(len, strings)) <= 255 and "".join(strings) == records[0]["value"]
        assert '_dmarc IN TXT "v=DMARC1; p=none"' in text


# -- what is wrong ---------------------------------------------------------------------------------------------------


def openssl_key(*argv: str) -> str:
    return subprocess.run(["openssl", "genpkey", *argv], capture_output=True, text=True, check=True).stdout


SHORT = openssl_key("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
CURVE = openssl_key("-algorithm", "ED25519")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": SHORT}, "1024 bits, fewer than 2048"),
        ({"key": CURVE}, "no RSA key"),
        ({"key": "secret words"}, "no private key in PEM"),
        ({"key": None}, "no private key in PEM"),
        ({"domain": "other.example"}, f"allowed are the domains of site_domains, {DOMAIN}"),
        ({"selector": "K1"}, "lower-case letters"),
        ({"selector": "a.b"}, "lower-case letters"),
        ({"state": "old"}, "state is 'old'"),
        ({"bits": 1}, "unknown key bits"),
    ],
)
def test_a_wrong_entry_is_named_and_its_key_is_not_shown(key: str, change: dict[str, Any], words: str) -> None:
    wrong = {**entry(key), **change}
    (error,) = dkim.dkim_key_errors([wrong], [DOMAIN])
    assert words in error and error.startswith("site_dkim_keys[0]")
    assert str(wrong["key"]) not in error


def test_one_key_of_a_domain_signs_and_selectors_differ(key: str) -> None:
    two = [entry(key), entry(key, selector="k2")]
    assert "k1 signs already" in " ".join(dkim.dkim_key_errors(two, [DOMAIN]))
    again = [entry(key), entry("", "withdrawn")]
    assert "there twice" in " ".join(dkim.dkim_key_errors(again, [DOMAIN]))
    assert dkim.dkim_key_errors([entry(key), entry(key, "next", "k2"), entry("", "withdrawn", "k0")], [DOMAIN]) == []


@pytest.mark.parametrize(
    ("dmarc", "words"),
    [
        ({"policy": "refuse"}, "'refuse'"),
        ({"policy": "none", "report": []}, "unknown key report"),
        ({"policy": "none", "reports": "a@b.example"}, "must be a list"),
        ({"policy": "none", "reports": ["postmaster"]}, "'postmaster'"),
        ({"policy": "none", "reports": ["a@b.example; x"]}, "mail address"),
        (["reject"], "dictionary"),
    ],
)
def test_a_wrong_policy_is_named(dmarc: Any, words: str) -> None:
    (error,) = dkim.dmarc_errors(dmarc)
    assert words in error


# -- on the gateway --------------------------------------------------------------------------------------------------


def test_the_gateway_gets_what_signs_and_loses_what_is_withdrawn(key: str) -> None:
    signers = dkim.dkim_signers([entry(key), entry(key, "next", "k2"), entry("", "withdrawn", "k0")])
    found = content_filter.content_filter_keys(signers, "/d")
    assert [row["path"] for row in found["files"]] == [f"/d/{DOMAIN}.k1.pem", f"/d/{DOMAIN}.k2.pem"]
    assert {(row["owner"], row["mode"]) for row in found["files"]} == {("_rspamd", "0400")}
    assert found["absent"] == [f"/d/{DOMAIN}.k0.pem"]
    assert found["signing"] == [{"domain": DOMAIN, "selector": "k1", "path": f"/d/{DOMAIN}.k1.pem"}]
    assert content_filter.content_filter_key_errors(signers, ["10.1.0.25"]) == []


def test_a_role_by_itself_refuses_the_same_keys(key: str) -> None:
    def errors(*rows: dict[str, Any], own: list[str] | None = None) -> str:
        return " ".join(content_filter.content_filter_key_errors(list(rows), ["10.1.0.25"] if own is None else own))

    one = {"domain": DOMAIN, "selector": "k1", "key": key}
    assert errors(one) == ""
    assert "1024 bits" in errors({**one, "key": SHORT}) and SHORT not in errors({**one, "key": SHORT})
    assert "signs for the domain already" in errors(one, {**one, "selector": "k2"})
    assert "there twice" in errors(one, {**one, "state": "absent"})
    assert "content_filter_own_clients is empty" in errors(one, own=[])
    assert "whole world" in errors(one, own=["0.0.0.0/0"])


# -- rotation --------------------------------------------------------------------------------------------------------


def test_a_rotation_is_begin_switch_withdraw_each_after_its_wait() -> None:
    rows = key_rotation.known(dkim_store.stepped([], DOMAIN, "begin", NOON), NOON)
    assert [(row["selector"], row["state"]) for row in rows] == [("k20261124", "signing")]
    taken: list[tuple[str, int]] = []
    time = NOON
    for _ in range(9 * 24 + 4):
        step, when = dkim_store.due(rows, DOMAIN, time, WAITS)
        assert when is not None
        if when <= time and len(taken) < 3:
            taken.append((step, (time - NOON) // HOUR))
            rows = key_rotation.known(dkim_store.stepped(rows, DOMAIN, step, time), time)
        time += HOUR
    assert taken == [("begin", 0), ("switch", 2), ("withdraw", 2 + 8 * 24)]
    assert [(row["selector"], row["state"]) for row in rows] == [("k20261124", "withdrawn"), ("k20261124-2", "signing")]


@pytest.mark.parametrize("step", ["begin", "switch"])
def test_no_step_comes_before_the_hosts_know_the_one_before(step: str) -> None:
    rows = key_rotation.known(dkim_store.stepped([], DOMAIN, "begin", NOON), NOON)
    for name in ("begin", "switch"):
        rows = dkim_store.stepped(rows, DOMAIN, name, NOON)
        if name == step:
            assert dkim_store.due(rows, DOMAIN, NOON + 365 * DAY, WAITS)[1] is None
        rows = key_rotation.known(rows, NOON)


def test_a_rotation_begins_when_a_key_has_signed_for_long_enough() -> None:
    rows = key_rotation.known(dkim_store.stepped([], DOMAIN, "begin", NOON), NOON)
    assert dkim_store.due(rows, DOMAIN, NOON, {**WAITS, "begin": 180 * 86400}) == ("begin", NOON + 180 * DAY)


def test_a_selector_is_never_used_again() -> None:
    assert dkim_store.selector([], NOON) == "k20261124"
    assert dkim_store.selector(["k20261124", "k20261124-2"], NOON) == "k20261124-3"
    assert all(dkim.SELECTOR.match(name) for name in ("k20261124", "k20261124-3"))


def test_a_store_makes_a_first_key_for_each_domain_and_keeps_it(tmp_path: Path) -> None:
    place = str(tmp_path / "dkim")
    rows = dkim_store.ensure(place, [DOMAIN])
    before = dkim_store.entries(place, rows, [DOMAIN])
    assert dkim.dkim_key_errors(before, [DOMAIN]) == []
    both = dkim_store.entries(place, dkim_store.ensure(place, [DOMAIN, "b.example"]), [DOMAIN, "b.example"])
    assert both[0] == before[0] and both[1]["domain"] == "b.example" and both[1]["key"] != before[0]["key"]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o600} and stat.S_IMODE((tmp_path / "dkim").stat().st_mode) == 0o700


def test_a_withdrawn_key_is_gone_and_its_name_stays(tmp_path: Path) -> None:
    place = str(tmp_path)
    rows = dkim_store.ensure(place, [DOMAIN])
    for step in ("begin", "switch", "withdraw"):
        rows = key_rotation.known(dkim_store.stepped(rows, DOMAIN, step, NOON), NOON)
        dkim_store.write(place, rows)
    assert [path.name for path in sorted(tmp_path.glob("*.pem"))] == [f"{DOMAIN}.{rows[1]['selector']}.pem"]
    entries = dkim_store.entries(place, dkim_store.read(place), [DOMAIN])
    assert [sorted(row) for row in entries] == [["domain", "selector", "state"], ["domain", "key", "selector", "state"]]


def test_a_write_that_was_broken_off_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up between the key and what names it."""
    place = str(tmp_path)
    rows = dkim_store.ensure(place, [DOMAIN])
    replace = files.replace

    def full(path: str, text: str) -> None:
        if path.endswith(".json"):
            raise OSError("no space")
        replace(path, text)

    begun = dkim_store.stepped(rows, DOMAIN, "begin", NOON)
    monkeypatch.setattr(files, "replace", full)
    with pytest.raises(OSError, match="no space"):
        dkim_store.write(place, begun)
    monkeypatch.undo()
    assert dkim_store.read(place) == rows
    made = (tmp_path / f"{DOMAIN}.{begun[1]['selector']}.pem").read_text()
    dkim_store.write(place, begun)
    assert dkim_store.entries(place, dkim_store.read(place), [DOMAIN])[1]["key"] == made


def test_what_is_written_down_holds_no_key(tmp_path: Path) -> None:
    dkim_store.ensure(str(tmp_path), [DOMAIN])
    (row,) = json.loads((tmp_path / "keys.json").read_text())["keys"]
    assert sorted(row) == ["domain", "selector", "since", "state"]
    assert sorted(os.listdir(tmp_path)) == [".lock", "keys.json", f"{DOMAIN}.{row['selector']}.pem"]
