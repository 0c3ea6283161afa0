"""Mail of a site with two gateways and two stores: by either gateway, over either family, to the one store that has the mailbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acme import acme
from tests.site import away, lab

READERS = sorted(acme.HOMES)


@pytest.mark.parametrize("family", acme.FAMILIES)
@pytest.mark.parametrize("gateway", acme.GATEWAYS)
@pytest.mark.parametrize("reader", READERS)
def test_a_strangers_message_arrives_by_either_gateway_over_either_family(reader: str, gateway: str, family: int) -> None:
    word = lab.token()
    acme.send(lab.STRANGER, acme.address(gateway, family), acme.FOREIGNER, acme.ADDRESSES[reader], word)
    text = acme.fetched(reader, word)
    assert text is not None
    assert f"by {lab.fqdn(gateway)}" in text
    # The gateway, the store that has the mailbox, and its Dovecot: the other store has not seen it.
    assert text.count("Received: ") == 3, text


def test_mail_that_the_world_sends_by_mx_arrives_for_the_internationalised_domain() -> None:
    word = lab.token()
    acme.send(lab.STRANGER, "127.0.0.1", acme.FOREIGNER, f"chloe@{acme.A_LABEL}", word)
    assert acme.fetched("chloe", word, deadline=60) is not None


def test_a_detail_after_a_plus_sign_leads_to_the_same_mailbox() -> None:
    word = lab.token()
    acme.send(lab.STRANGER, acme.address("mx1", 4), acme.FOREIGNER, acme.ADDRESSES["anna"].replace("@", "+lists@"), word)
    assert acme.fetched("anna", word) is not None


@pytest.mark.parametrize("start", acme.STORES)
@pytest.mark.parametrize("reader", READERS)
def test_each_store_takes_mail_from_users_and_hands_over_what_the_other_one_holds(reader: str, start: str) -> None:
    word = lab.token()
    acme.send(lab.DESK, acme.address(start, 4, lab.DESK), acme.ADDRESSES["anna"], acme.ADDRESSES[reader], word)
    text = acme.fetched(reader, word)
    assert text is not None
    # This store and a Dovecot, and the other store where it was handed over; a gateway has no part in it.
    assert (text.count("Received: "), [g for g in acme.GATEWAYS if lab.fqdn(g) in text]) == (
        2 + (acme.HOMES[reader] != start),
        [],
    )


@pytest.mark.parametrize("domain", acme.DOMAINS)
def test_an_alias_reaches_its_users_on_both_stores(domain: str) -> None:
    word = lab.token()
    acme.send(lab.STRANGER, acme.address("mx2", 6), acme.FOREIGNER, f"everybody@{domain}", word)
    assert [reader for reader in READERS if acme.fetched(reader, word) is None] == []


def test_no_mailbox_is_on_two_stores() -> None:
    answers = {
        (user, store): lab.Machine(lab.DESK).call(
            away.pop_login,
            address=acme.address(store, 4, lab.DESK),
            ports={"tls": lab.port("pop3s")},
            security="tls",
            user=user,
            password=lab.password(user),
        )
        for user in READERS
        for store in acme.STORES
    }
    assert {key: answer.startswith("+OK") for key, answer in answers.items()} == {
        (user, store): acme.HOMES[user] == store for user in READERS for store in acme.STORES
    }


@pytest.mark.parametrize("reader", READERS)
def test_mail_is_fetched_over_ipv6(reader: str) -> None:
    word = lab.token()
    acme.send(lab.DESK, acme.address(acme.HOMES[reader], 6, lab.DESK), acme.ADDRESSES[reader], acme.ADDRESSES[reader], word)
    assert acme.fetched(reader, word, family=6) is not None


# -- what is refused -------------------------------------------------------------------------------------------------


UNKNOWN = [
    *(f"nobody-of-that-name@{domain}" for domain in acme.DOMAINS),
    # Known, but not in this domain.
    f"dan@{acme.DOMAINS[0]}",
    f"chloe@{acme.DOMAINS[0]}",
]


@pytest.mark.parametrize("family", acme.FAMILIES)
@pytest.mark.parametrize("gateway", acme.GATEWAYS)
@pytest.mark.parametrize("recipient", UNKNOWN)
def test_who_does_not_exist_is_refused_at_both_gateways(recipient: str, gateway: str, family: int) -> None:
    commands = ["EHLO probe.example", f"MAIL FROM:<{acme.FOREIGNER}>", f"RCPT TO:<{recipient}>", "QUIT"]
    assert acme.replies(lab.STRANGER, acme.address(gateway, family), commands)[3].startswith("550 5.1.1")


@pytest.mark.parametrize("family", acme.FAMILIES)
@pytest.mark.parametrize("gateway", acme.GATEWAYS)
@pytest.mark.parametrize("start", [lab.STRANGER, lab.DESK])
def test_a_gateway_relays_for_nobody_but_the_stores(start: str, gateway: str, family: int) -> None:
    commands = ["EHLO probe.example", f"MAIL FROM:<{acme.ADDRESSES['anna']}>", f"RCPT TO:<{acme.FOREIGNER}>", "QUIT"]
    assert acme.replies(start, acme.address(gateway, family, start), commands)[3].startswith("550 5.7.1")


@pytest.mark.parametrize("family", acme.FAMILIES)
@pytest.mark.parametrize("gateway", acme.GATEWAYS)
@pytest.mark.parametrize("store", acme.STORES)
def test_a_gateway_relays_for_each_store_over_either_family(store: str, gateway: str, family: int) -> None:
    commands = ["EHLO probe.example", f"MAIL FROM:<{acme.ADDRESSES['anna']}>", f"RCPT TO:<{acme.FOREIGNER}>", "QUIT"]
    assert acme.replies(store, acme.address(gateway, family, store), commands)[3].startswith("250")


@pytest.mark.parametrize("family", acme.FAMILIES)
def test_a_store_relays_for_the_office_and_not_for_the_other_store(family: int) -> None:
    commands = ["EHLO probe.example", f"MAIL FROM:<{acme.ADDRESSES['anna']}>", f"RCPT TO:<{acme.FOREIGNER}>", "QUIT"]
    said = {
        start: acme.replies(start, acme.address("store2", family, start), commands)[3][:9] for start in (lab.DESK, "store1")
    }
    assert said == {lab.DESK: "250 2.1.5", "store1": "550 5.7.1"}


@pytest.mark.parametrize("gateway", acme.GATEWAYS)
def test_local_parts_beyond_ascii_are_not_offered_and_not_taken(gateway: str) -> None:
    hop = acme.address(gateway, 4)
    # The probe sends one octet a letter: these are the two of an e with an acute accent in UTF-8.
    raw = "zo\u00c3\u00a9"
    commands = ["EHLO probe.example", f"MAIL FROM:<{acme.FOREIGNER}>", f"RCPT TO:<{raw}@{acme.DOMAINS[0]}>", "QUIT"]
    said = acme.replies(lab.STRANGER, hop, commands)
    assert "SMTPUTF8" not in said[1]
    assert said[3][:1] == "5", said


# -- one of two is gone ----------------------------------------------------------------------------------------------


@pytest.fixture(params=acme.GATEWAYS)
def gateway_gone(request: pytest.FixtureRequest) -> Iterator[str]:
    """One gateway cut off from its network, as if somebody had pulled the plug; back after the test."""
    gateway = lab.Machine(request.param)
    # Its link, not its container: nobody answers for its addresses, and nothing has to start again.
    link = gateway.sh("ip -o -4 route show default").split(" dev ")[1].split()[0]
    gateway.run("ip", "link", "set", "dev", link, "down")
    yield request.param
    gateway.run("ip", "link", "set", "dev", link, "up")
    gateway.run("networkctl", "reconfigure", link)
    lab.until(
        lambda: gateway.sh("ip -o -4 route show default; ip -o -6 route show default").count("default") == 2, "its routes"
    )


@pytest.mark.parametrize("reader", ["anna", "ben"])
def test_mail_arrives_by_the_other_gateway(gateway_gone: str, reader: str) -> None:
    word = lab.token()
    acme.send(lab.STRANGER, "127.0.0.1", acme.FOREIGNER, acme.ADDRESSES[reader], word)
    text = acme.fetched(reader, word, deadline=150)
    assert text is not None
    (other,) = [gateway for gateway in acme.GATEWAYS if gateway != gateway_gone]
    assert f"by {lab.fqdn(other)}" in text


@pytest.mark.parametrize("store", acme.STORES)
def test_mail_leaves_by_the_other_gateway(gateway_gone: str, store: str) -> None:
    word = lab.token()
    acme.send(lab.DESK, acme.address(store, 4, lab.DESK), acme.ADDRESSES["anna"], acme.FOREIGNER, word)
    text = lab.until(lambda: acme.abroad(word), "the message abroad", deadline=150)
    (other,) = [gateway for gateway in acme.GATEWAYS if gateway != gateway_gone]
    assert lab.fqdn(other) in text


@pytest.fixture(params=acme.GATEWAYS)
def mta_gone(request: pytest.FixtureRequest) -> Iterator[str]:
    """One gateway's MTA stopped: connections are refused there."""
    gateway = lab.Machine(request.param)
    gateway.run("systemctl", "stop", "sendmail")
    yield request.param
    gateway.run("systemctl", "start", "sendmail")


def test_mail_goes_both_ways_while_one_mta_is_stopped(mta_gone: str) -> None:
    (other,) = [gateway for gateway in acme.GATEWAYS if gateway != mta_gone]
    words = {direction: lab.token() for direction in ("in", *acme.STORES)}
    acme.send(lab.STRANGER, "127.0.0.1", acme.FOREIGNER, acme.ADDRESSES["ben"], words["in"])
    for store in acme.STORES:
        acme.send(lab.DESK, acme.address(store, 4, lab.DESK), acme.ADDRESSES["anna"], acme.FOREIGNER, words[store])
    text = acme.fetched("ben", words["in"], deadline=60)
    assert text is not None
    assert f"by {lab.fqdn(other)}" in text
    assert [store for store in acme.STORES if lab.fqdn(other) not in acme.abroad(words[store])] == []
