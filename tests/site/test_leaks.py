"""What leaves the site tells nothing of what is inside: banners, mail, bounces, names, clocks."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

import pytest

from tests.site import away, lab, mailflow

SMTP = lab.port("smtp")
READER = lab.users()[0]
SITE = lab.group("site")
# Programs and their versions, which are nobody's business in whatever leaves.
PROGRAMS = re.compile(r"(?i)sendmail|(?<![\d.])8\.1[78]\.|dovecot|debian|deb12|deb13|postfix")


def private() -> list[str]:
    """Full names of hosts that the world does not know, and addresses that mean nothing there."""
    hidden = [
        host
        for host, entry in lab.site()["hosts"].items()
        if "public" not in entry and lab.zone(host) != lab.zone(lab.STRANGER)
    ]
    names = [lab.fqdn(host) for host in hidden if host in SITE or host == lab.DESK]
    addresses = [
        str(link["address"])
        for host in (*SITE, lab.DESK)
        for zone, link in lab.site()["hosts"][host]["interfaces"].items()
        if zone in {lab.zone(lab.GATEWAY), lab.zone(lab.STORE)}
    ]
    # In IPv6 a host that the world knows is known by its own address; the others' mean something everywhere, and all the more are not told.
    addresses += [
        str(link["address6"])
        for host in (*SITE, lab.DESK)
        if "public" not in lab.site()["hosts"][host]
        for link in lab.site()["hosts"][host]["interfaces"].values()
    ]
    assert names and addresses
    return names + addresses


def told(text: str, words: list[str]) -> list[str]:
    """Those of the words that a text has as words: an address is not found in a longer one, one of IPv6 however it is written."""
    six = lab.addresses6(text)
    return [word for word in words if word in six or re.search(rf"(?i)(?<![\w.-]){re.escape(word)}(?![\w-]|\.\w)", text)]


def test_an_ipv6_address_is_found_however_it_is_written() -> None:
    store = lab.address6(lab.STORE)
    full = ipaddress.ip_address(store).exploded
    # As sendmail writes it, in full, as others do, in capitals.
    plain = ":".join(part.lstrip("0") or "0" for part in full.split(":"))
    for text in (f"[IPv6:{plain}]", f"({full})", f"from {store.upper()}; x", f"by [{store}]:25"):
        assert told(text, private()) == [store], text
    assert told(f"at 10:20:30, {lab.address6(lab.GATEWAY)}, {store}9", private()) == []


def ours(text: str) -> str:
    """What we wrote of a message that arrived abroad: the foreign server's own lines, which come first, are not ours."""
    head, _, body = text.partition("\n\n")
    unfolded = re.sub(r"\n[ \t]+", " ", head).splitlines()
    first = next(
        at for at, line in enumerate(unfolded) if line.startswith("Received:") and f"by {lab.fqdn(lab.GATEWAY)}" in line
    )
    return "\n".join(unfolded[first:]) + "\n\n" + body


# Who sends, and how it gets onto its way.
def from_a_desk(word: str) -> None:
    """A user's mail program."""
    mailflow.from_the_desk([mailflow.FOREIGNER], word, mailflow.ours(READER))


def from_a_bare_client(word: str) -> None:
    """A mail program that leaves all headers to the server, and greets with its own name."""
    commands = [
        f"EHLO {lab.fqdn(lab.DESK)}",
        f"MAIL FROM:<{mailflow.ours(READER)}>",
        f"RCPT TO:<{mailflow.FOREIGNER}>",
        "DATA",
        f"Subject: {word}\r\n\r\n{word}\r\n.",
        "QUIT",
    ]
    replies = lab.Machine(lab.DESK).call(away.smtp, address=mailflow.STORE, port=SMTP, commands=commands)
    assert replies[-2].startswith("250 "), replies


def from_an_account_of(host: str, word: str) -> None:
    """A program on a host of the site, such as cron."""
    text = f"To: {mailflow.FOREIGNER}\nSubject: {word}\n\n{word}\n"
    user = "root" if host in lab.group("gateways") else lab.NOBODY
    lab.Machine(host).run("/usr/sbin/sendmail", "-t", user=user, text=text)


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.requirement("MS-1", side="negative")
@pytest.mark.parametrize(
    "send",
    [
        from_a_desk,
        from_a_bare_client,
        *(lambda word, host=host: from_an_account_of(host, word) for host in (lab.GATEWAY, lab.STORE)),
    ],
    ids=["desk", "bare client", f"account of {lab.GATEWAY}", f"account of {lab.STORE}"],
)
def test_mail_that_leaves_names_no_inside_host_or_address_and_no_program(
    send: Callable[[str], None],
) -> None:
    word = lab.token()
    send(word)
    text = ours(mailflow.arrived_abroad(word))
    assert told(text, private()) + PROGRAMS.findall(text) == []
    (number,) = re.findall(r"(?im)^Message-Id: <(.*)>$", text)
    assert number.split("@")[1] in {lab.domain(), lab.fqdn(lab.GATEWAY)}


@pytest.fixture
def mailbox_gone(store: lab.Machine) -> Iterator[str]:
    """A user whom everybody takes for one but the last: the store's delivery refuses the message that all have accepted."""
    path = "/etc/dovecot/mailboxes"
    store.sh(f"cp -p {path} /run/mailboxes && sed -i '/^{READER}:/d' {path}")
    yield mailflow.ours(READER)
    store.sh(f"cp -p /run/mailboxes {path} && rm /run/mailboxes")


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.requirement("MS-1", side="negative")
def test_a_report_of_mail_that_could_not_be_delivered_names_no_inside_host_or_address_to_a_stranger(mailbox_gone: str) -> None:
    word = lab.token()
    mailflow.from_the_world([mailbox_gone], word)
    mailflow.arrived_abroad(word)
    # The whole report, of which the word is near the end.
    stranger = lab.Machine(lab.STRANGER)
    box = stranger.sh(f"cat /var/mail/{mailflow.FOREIGNER.split('@')[0]}")
    (text,) = [part for part in re.split(r"(?m)^From ", box) if word in part]
    assert "User unknown" in text
    assert told(ours(text), private()) + PROGRAMS.findall(ours(text)) == []


# -- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.parametrize("start", [lab.STRANGER, lab.GATEWAY, lab.DESK])
def test_no_filter_answers_or_passes_a_question_about_time_or_mask(start: str) -> None:
    """Asked through a filter, or of one, from every side."""
    gates = [lab.FIREWALL, lab.ROUTER, lab.CONCENTRATOR]
    beyond = [host for host in SITE if host in gates or lab.zone(host) != lab.zone(start)]
    targets = {lab.reach(host, start): host for host in beyond if host != start}
    targets |= {str(link["address"]): host for host in gates for link in lab.site()["hosts"][host]["interfaces"].values()}
    if start != lab.STRANGER:
        targets[lab.address(lab.STRANGER)] = lab.STRANGER
    found = lab.Machine(start).call(away.ask_times, targets=list(targets))
    assert {targets[address]: kinds for address, kinds in zip(targets, found, strict=True) if kinds} == {}


def test_a_neighbour_without_a_filter_tells_its_time_so_the_silence_of_the_others_means_something(
    nameserver: lab.Machine,
) -> None:
    assert nameserver.call(away.ask_times, targets=[lab.address(lab.GATEWAY)]) == [[14]]


# -- first words -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.requirement("OPS-4", side="negative")
def test_ssh_names_no_release(collector: lab.Machine) -> None:
    """The protocol wants a version of the program; the distribution's own, which tells its patches, it can do without."""
    targets = [[lab.address(host, lab.zone(lab.COLLECTOR)), lab.port("ssh")] for host in SITE if host != lab.COLLECTOR]
    said = collector.call(away.first_words, targets=targets, timeout=8)
    assert [words for words in said if not re.fullmatch(r"SSH-2\.0-OpenSSH_[\d.]+p\d+\r\n", words)] == []
