"""Submission: who may write as whom, and on which ports a host takes it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import submission

DOMAINS: list[dict[str, Any]] = [{"name": "a.example", "store": "one"}, {"name": "b.example", "store": "two"}]


def test_a_user_writes_as_himself_in_each_domain_and_as_an_alias_that_is_his_alone() -> None:
    users = [{"name": "ann"}, {"name": "bob"}]
    aliases = {"root": ["office"], "office": ["ann"], "staff": ["ann", "bob"], "far": ["ann", "x@far.example"], "log": ["|log"]}
    found = submission.mail_senders(users, aliases, DOMAINS, "one")
    assert found["ann"] == [f"{name}@{place}.example" for place in "ab" for name in ("ann", "root", "office")]
    assert found["bob"] == ["bob@a.example", "bob@b.example"]


def test_more_addresses_are_those_that_the_inventory_gives() -> None:
    users = [{"name": "ann", "domains": ["a.example"], "senders": ["staff@b.example", "ann@a.example"]}]
    assert submission.mail_senders(users, {}, DOMAINS, "one") == {"ann": ["ann@a.example", "staff@b.example"]}


@pytest.mark.parametrize("more", [{"state": "suspended"}, {"state": "absent"}, {"store": "two"}, {"domains": ["b.example"]}])
def test_who_cannot_log_in_at_a_store_writes_as_nobody_there(more: dict[str, Any]) -> None:
    assert submission.mail_senders([{"name": "ann", **more}], {}, DOMAINS, "one") == {}


def test_the_map_has_a_line_for_each_address_in_small_letters() -> None:
    assert submission.sendmail_senders({"ann": ["ann@a.example", "Staff@B.example"]}) == (
        "ann:ann@a.example\tOK\nann:staff@b.example\tOK\n"
    )


def test_senders_must_be_addresses_of_the_site() -> None:
    users: list[Any] = [
        {"name": "ann", "senders": ["x@far.example", "ann"]},
        {"name": "bob", "senders": ["x@a.example"]},
        "carol",
    ]
    assert submission.mail_sender_errors(users, ["a.example"]) == [
        "site_users, ann: senders holds 'x@far.example'; give addresses in a.example.",
        "site_users, ann: senders holds 'ann'; give addresses in a.example.",
    ]


def test_what_a_role_is_given_must_be_users_with_addresses() -> None:
    assert submission.sendmail_sender_errors({"ann": ["ann@a.example"]}) == []
    said = submission.sendmail_sender_errors({"Ann": ["ann@a.example"], "bob": [], "carl": ["carl"], "dora": "dora@a.example"})
    assert [error.split(" ")[0].rstrip(":") for error in said] == [
        f"sendmail_senders.{name}" for name in ("Ann", "bob", "carl", "dora")
    ]


def test_a_port_is_open_where_a_flow_leads_to() -> None:
    site: dict[str, Any] = {
        "zones": {"in": {"network": "10.0.0.0/24", "level": 100}, "out": {"network": "192.0.2.0/24", "level": 0}},
        "hosts": {name: {"interfaces": {"in": {"address": f"10.0.0.{at}"}}} for at, name in enumerate(("one", "two"), 1)},
        "services": {"submission": {"tcp": [587]}, "submissions": {"tcp": [465]}},
        "flows": [{"id": "hand-in", "from": "in", "to": "one", "services": ["submissions"]}],
        "pat": {},
        "domain": "a.example",
        "domains": DOMAINS,
    }
    found = [[submission.submission_port(site, host, name) for name in site["services"]] for host in site["hosts"]]
    assert found == [[0, 465], [0, 0]]
