"""What IPv6 has of its own: neighbours and routers that say who they are, link-local addresses, a /64 for everybody, no translation.

Whatever both families share is tried in both where it is tried: the matrix of all pairs, forged sources, names, leaks, the self-check.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import abuse, away, lab, mailflow, network
from tests.site.network import denials, filed_under, outcomes

SMTP, DNS, SSH, SYSLOG = (lab.port(name) for name in ("smtp", "dns", "ssh", "syslog"))
READER = lab.users()[0]
GATEWAY = lab.address6(lab.GATEWAY)
STORE = lab.address6(lab.STORE)
SERVER = {"address": GATEWAY, "port": SMTP}
GATES = [lab.FIREWALL, lab.ROUTER, lab.CONCENTRATOR]


# -- mail ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("MS-1", side="positive")
@pytest.mark.requirement("MS-3", side="positive")
def test_a_user_hands_in_and_fetches_mail_over_ipv6(desk: lab.Machine) -> None:
    word = lab.token()
    mailflow.send(desk, STORE, mailflow.ours(READER), [mailflow.ours(READER)], word)
    login = {"address": STORE, "ports": mailflow.POP_PORTS, "user": READER, "password": lab.password(READER)}
    assert word in (desk.call(away.pop_fetch, token=word, deadline=20, **login) or "")
    imap = {"address": STORE, "port": lab.port("imaps"), "user": READER, "password": lab.password(READER)}
    assert desk.call(away.imap_search, word=lab.token(), deadline=0, **imap) == 0
    commands = ["EHLO probe.example", "STARTTLS", "EHLO probe.example", mailflow.auth(READER, lab.password(READER)), "QUIT"]
    assert desk.call(away.smtp, address=STORE, port=lab.port("submission"), commands=commands)[-2].startswith("235 ")


@pytest.mark.requirement("GW-1", side="negative")
@pytest.mark.requirement("SM-14", side="negative")
def test_nobody_relays_over_ipv6_however_he_writes_the_address(addresses: Sequence[str], stranger: lab.Machine) -> None:
    """The same disguises as over IPv4, each conversation from an address of its own, as the limits are of one address."""
    rows = abuse.disguised()
    talks = [{**row_as_talk(row), "source": addresses[number % len(addresses)]} for number, row in enumerate(rows)]
    found = stranger.call(away.conversations, **SERVER, talks=talks, patience=40, at_once=len(talks))
    for row, came in zip(rows, found, strict=True):
        wanted = [pattern for pattern in row.wanted() if pattern is not None]
        assert len(came["heard"]) == len(wanted), (row.name, came)
        wrong = [(said, pattern) for said, pattern in zip(came["heard"], wanted, strict=True) if not re.match(pattern, said)]
        assert wrong == [], row.name


def row_as_talk(row: abuse.Abuse) -> dict[str, object]:
    """A row of the abuse suite as `away.conversations` takes it."""
    return {"turns": row.script()}


@pytest.fixture
def addresses(stranger: lab.Machine) -> Iterator[Sequence[str]]:
    """More addresses for the stranger in his own /64, which is what every customer of a provider has."""
    own = lab.address6(lab.STRANGER)
    more = [f"{own.rsplit(':', 1)[0]}:{number:x}" for number in range(0x200, 0x20C)]
    with network.more_addresses(stranger, own, more, length="128", how="nodad preferred_lft 0"):
        yield more


@pytest.mark.requirement("SM-13", side="negative")
def test_one_ipv6_address_cannot_take_all_connections(addresses: Sequence[str], stranger: lab.Machine) -> None:
    """The limit is of an address and not of its /64: sendmail counts no networks (docs/howto/ipv6.md has what stands against that)."""
    talk = {"turns": [{"say": "", "hear": 1}, {"say": "NOOP xxx", "hear": 0, "gap": 0.3}]}
    limit = lab.limit_of("sendmail_client_connections")
    talks = [{**talk, "source": addresses[0]} for _ in range(limit + 4)]
    with stranger.talk(away.conversations_session, **SERVER, talks=talks) as crowd:
        assert crowd.read() == "begun"
        said = [entry["heard"][0][:3] for entry in crowd.read()]
    assert said.count("220") <= limit and "421" in said, said
    assert stranger.call(away.smtp, **SERVER, commands=["QUIT"], source=addresses[1])[0].startswith("220 ")


def of_the_network(firewall: lab.Machine) -> list[str]:
    """The connections of the stranger's /64 that the firewall counts: all but those that are over (nf_conncount, already_closed)."""
    network = ipaddress.ip_address(lab.address6(lab.STRANGER)).exploded[:19]
    counted = re.compile(rf"ipv6 .* tcp +6 \d+ (?!TIME_WAIT |CLOSE )\w+ src={network}:")
    return [line for line in firewall.sh("cat /proc/net/nf_conntrack").splitlines() if counted.match(line)]


@pytest.mark.requirement("SM-13", side="negative")
def test_one_network_cannot_take_all_connections_either(
    addresses: Sequence[str], stranger: lab.Machine, firewall: lab.Machine, collector: lab.Machine
) -> None:
    """The firewall counts what the gateway's sendmail cannot, and leaves the gateway more than one /64 may have."""
    limit = int(lab.inventory()["_meta"]["hostvars"][lab.FIREWALL]["firewall_ipv6_connections"])
    assert 0 < limit < lab.limit_of("sendmail_max_daemon_children")
    # To the name server, whose own limit is higher.
    target = [lab.address6(lab.NAMESERVER), DNS]
    # Those of the test before count until sendmail has closed them too.
    lab.until(lambda: not of_the_network(firewall), "no other connection of the /64 in the firewall's table")
    held = int(stranger.call(away.held_open, targets=[target] * (limit + 8), sources=addresses))
    # And so does mail that one of the world's servers there sends meanwhile.
    others = [line for line in of_the_network(firewall) if f" dport={DNS} " not in line]
    assert limit - len(others) <= held <= limit, others
    # They are gone, and the next is let in.
    assert stranger.call(away.held_open, targets=[target], sources=addresses[:1]) == 1
    refused = [f"SRC={address} DST={target[0]} " for address in addresses]

    def logged() -> bool:
        lines = [line for line in denials(collector, lab.FIREWALL).splitlines() if any(ends in line for ends in refused)]
        return any(f"DPT={DNS} " in line for line in lines)

    lab.until(logged, "a line of the firewall's about one that was too many")


# -- neighbours ------------------------------------------------------------------------------------------------------

BAD = "2001:db8:bad::"
# Who advertises on which link, so that every host of the site has heard one.
LIARS = {
    lab.STRANGER: [lab.ROUTER],
    lab.NAMESERVER: [lab.GATEWAY, lab.FIREWALL],
    lab.DESK: [lab.STORE, lab.COLLECTOR, lab.CONCENTRATOR],
}
OTHER_LIARS = {lab.GATEWAY: [lab.NAMESERVER]}


def test_every_host_is_told_by_somebody() -> None:
    assert {host for told in (LIARS | OTHER_LIARS).values() for host in told} == set(lab.group("site"))


@pytest.mark.requirement("OPS-5", side="negative")
@pytest.mark.parametrize("liar", [*LIARS, *OTHER_LIARS])
def test_a_router_advertisement_gives_nobody_an_address_or_a_way_out(liar: str) -> None:
    told = [lab.Machine(host) for host in (LIARS | OTHER_LIARS)[liar]]
    before = [machine.sh("ip -6 route show") for machine in told]
    link = lab.address6(liar, "world" if liar == lab.STRANGER else None)
    with ExitStack() as stack:
        witnesses = [stack.enter_context(machine.talk(away.icmp6_session, kinds=[134])) for machine in told]
        assert [witness.read() for witness in witnesses] == ["ready"] * len(told)
        lab.Machine(liar).call(away.advertise, link_address=link, prefix=BAD)
        # It has come, and the kernel has seen it before or does so at once; twice, so that it has had the time.
        assert all(witness.read()[1] == 134 for witness in witnesses)
        lab.Machine(liar).call(away.advertise, link_address=link, prefix=BAD)
        assert all(witness.read()[1] == 134 for witness in witnesses)
    assert [machine.name for machine in told if BAD in machine.sh("ip -6 address show; ip -6 route show")] == []
    assert [machine.sh("ip -6 route show") for machine in told] == before


@pytest.mark.requirement("OPS-3", side="negative")
@pytest.mark.parametrize("start", [lab.DESK, lab.NAMESERVER])
def test_a_link_local_address_is_no_way_round_the_policy(start: str) -> None:
    """Every link has such addresses, no flow names them, and no firewall is between: the daemons themselves turn them away."""
    machine = lab.Machine(start)
    link = machine.sh("ip -o -6 route show default | sed 's/.* dev \\([^ ]*\\).*/\\1/'").strip()
    near = {
        host: link_local(entry["interfaces"][lab.zone(start)]["mac"])
        for host, entry in lab.site()["hosts"].items()
        if host in lab.group("site") and lab.zone(host) == lab.zone(start) and host != start
    }
    assert near
    for host, own in near.items():
        assert own in lab.Machine(host).sh("ip -o -6 address show scope link")
    targets = [[f"{own}%{link}", lab.port(name)] for own in near.values() for name in ("ssh", "smtp", "pop3", "submission")]
    said = machine.call(away.first_words, targets=targets, timeout=8)
    assert {str(target): words for target, words in zip(targets, said, strict=True) if words} == {}


def link_local(mac: str) -> str:
    """The link-local address that a link makes of its MAC (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets = [octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]
    return str(ipaddress.IPv6Address(bytes([0xFE, 0x80, *bytes(6), *octets])))


@pytest.mark.requirement("NET-1", side="positive")
def test_a_filter_tells_its_switch_which_groups_it_listens_to(firewall: lab.Machine, gateway: lab.Machine) -> None:
    """Else one that watches that (MLD snooping) keeps its neighbours' solicitations from it, and nobody finds it."""
    own = lab.address6(lab.FIREWALL, lab.zone(lab.GATEWAY))
    link, _length = network.link(firewall, own)
    with gateway.talk(away.icmp6_session, kinds=[131, 143]) as witness:
        assert witness.read() == "ready"
        firewall.run("python3", "-c", JOIN, link)
        assert witness.read()[0].startswith("fe80:")


# Joins a group on a link, which the kernel reports.
JOIN = """
import socket, struct, sys, time
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
group = socket.inet_pton(socket.AF_INET6, "ff12::77") + struct.pack("=I", socket.if_nametoindex(sys.argv[1]))
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
time.sleep(0.2)
"""


# -- messages of the protocol ----------------------------------------------------------------------------------------


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.parametrize("start", [lab.STRANGER, lab.GATEWAY, lab.DESK])
def test_no_filter_answers_or_passes_a_question_of_icmpv6(start: str) -> None:
    """Neither an echo nor a host's name and addresses (RFC 4620); times and masks have no question in IPv6. Asked from every side."""
    site = lab.group("site")
    beyond = [host for host in site if host in GATES or lab.zone(host) != lab.zone(start)]
    targets = {lab.to_reach(host, start, 6): host for host in beyond if host != start}
    targets |= {str(foot["address6"]): host for host in GATES for foot in lab.site()["hosts"][host]["interfaces"].values()}
    if start != lab.STRANGER:
        targets[lab.address6(lab.STRANGER)] = lab.STRANGER
    found = lab.Machine(start).call(away.ask_icmp6, targets=list(targets), timeout=1.5)
    assert {targets[address]: kinds for address, kinds in zip(targets, found, strict=True) if kinds} == {}


def test_a_neighbour_without_a_filter_answers_an_echo_and_tells_nothing_else(nameserver: lab.Machine) -> None:
    assert nameserver.call(away.ask_icmp6, targets=[GATEWAY]) == [[129]]


@pytest.fixture
def narrow(router: lab.Machine, gateway: lab.Machine) -> Iterator[int]:
    """The link to the world is narrower than the others: what is too large for it ends at the router, which says so."""
    width = 1300
    link, _length = network.link(router, lab.address6(lab.ROUTER, "world"))
    router.run("ip", "link", "set", "dev", link, "mtu", str(width))
    yield width
    router.run("ip", "link", "set", "dev", link, "mtu", "1500")
    gateway.run("ip", "-6", "route", "flush", "cache")


@pytest.mark.requirement("NET-1", side="positive")
@pytest.mark.requirement("GW-5", side="positive")
def test_the_router_s_word_that_a_packet_is_too_large_comes_through_to_the_sender(narrow: int, gateway: lab.Machine) -> None:
    """Nobody on the way cuts a packet of IPv6: without that word a long message waits until it is returned (RFC 4890 4.3.1)."""
    word = lab.token()
    text = "\r\n".join(["x" * 70] * 400)
    sender, recipient = mailflow.ours(READER), mailflow.FOREIGNER
    commands = lab.letter(sender, [recipient], word)
    commands[-2] = commands[-2].removesuffix(f"{word}\r\n.") + f"{text}\r\n{word}\r\n."
    stranger = lab.address6(lab.STRANGER)
    said = gateway.call(away.smtp, address=stranger, port=SMTP, commands=commands)
    assert said[-2].startswith("250 "), said
    assert f"mtu {narrow}" in gateway.sh(f"ip -6 route get {stranger}")


# -- through tunnels -------------------------------------------------------------------------------------------------

MAIL = [lab.port(name) for name in ("smtp", "submission", "submissions", "pop3", "pop3s", "imaps")]
USER = lab.users()[-1]


def in_tunnel(machine: lab.Machine) -> str:
    """The address that a traveller has in the tunnel."""
    (own,) = re.findall(r"inet6 (2[0-9a-f:]+)", machine.sh("ip -6 -o address show dev wg0"))
    return str(own)


@pytest.mark.requirement("NET-9", side="positive")
@pytest.mark.requirement("MS-6", side="positive")
def test_through_a_tunnel_a_user_fetches_mail_over_ipv6_by_the_name_of_the_store(traveller: lab.Machine) -> None:
    server = lab.address6(lab.NAMESERVER)
    (answer,) = traveller.call(away.dns, server=server, port=DNS, questions=[[lab.fqdn(lab.STORE), "AAAA"]])
    assert [value for _name, _kind, value in answer["answer"]] == [STORE]
    word = lab.token()
    mailflow.send(traveller, STORE, mailflow.ours(USER), [mailflow.ours(USER)], word)
    login = {"address": STORE, "ports": mailflow.POP_PORTS, "user": USER, "password": lab.password(USER)}
    assert word in (traveller.call(away.pop_fetch, token=word, deadline=20, **login) or "")


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.requirement("MS-6", side="negative")
def test_through_a_tunnel_nothing_else_is_reached_over_ipv6_and_that_is_logged(
    traveller: lab.Machine, collector: lab.Machine
) -> None:
    targets = [(STORE, port) for port in (SSH, DNS, SYSLOG, 23, 143)]
    targets += [(lab.address6(lab.NAMESERVER), port) for port in (SSH, SMTP)]
    for host in (lab.COLLECTOR, lab.DESK, lab.GATEWAY, lab.FIREWALL, lab.CONCENTRATOR):
        targets += [(lab.address6(host, "inside"), port) for port in (SSH, SMTP, lab.port("pop3s"))]
    found = traveller.call(away.probe, targets=[list(target) for target in targets], timeout=2, at_once=64)
    came = {target: entry["result"] for target, entry in zip(targets, found, strict=True)}
    assert {target: result for target, result in came.items() if result != "silent"} == {}
    pattern = rf"SRC={in_tunnel(traveller)} DST={STORE} .*SPT={found[0]['source_port']} DPT={SSH} "
    lab.until(lambda: re.search(pattern, denials(collector, lab.CONCENTRATOR)), f"a line with {pattern}")


@pytest.mark.requirement("NET-9", side="negative")
def test_no_ipv6_packet_comes_out_of_a_tunnel_under_an_address_that_is_not_its_own(
    traveller: lab.Machine, store: lab.Machine
) -> None:
    """Sent in this order over one path: when the honest packet is there, a forged one would have been there before it."""
    zones = {h["beyond"] for h in lab.site()["hosts"].values() if h.get("beyond")}
    others = zones - {lab.site()["hosts"][traveller.name]["beyond"]}
    first, own = lab.source_port(), in_tunnel(traveller)
    forged = [lab.address6(lab.DESK), *(lab.site()["zones"][zone]["network6"].split("/")[0] + "77" for zone in others)]
    with store.talk(away.knocks_session, port=SMTP, family=6) as witness:
        assert witness.read() == "ready"
        for source in forged:
            traveller.call(away.knock, source=source, source_port=first, target=STORE, target_port=SMTP)
        traveller.call(away.knock, source=own, source_port=first + 1, target=STORE, target_port=SMTP)
        assert witness.read() == [own, first + 1]


@pytest.mark.requirement("NET-9", side="negative")
def test_nothing_is_opened_into_a_tunnel_over_ipv6(collector: lab.Machine, desk: lab.Machine) -> None:
    address = in_tunnel(lab.Machine(lab.TRAVELLERS[0]))
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda machine: outcomes(machine, [(address, port) for port in (SSH, *MAIL)]), (collector, desk))
        assert {result for came in found for result in came.values()} == {"silent"}


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.requirement("MS-6", side="negative")
def test_without_a_tunnel_the_same_host_does_not_reach_the_store_over_ipv6(without_tunnel: lab.Machine) -> None:
    """Its way there leads over the open Internet then: the store's address is one that the world routes."""
    assert set(outcomes(without_tunnel, [(STORE, port) for port in (*MAIL, SSH)]).values()) == {"silent"}


@pytest.fixture
def detour(router: lab.Machine) -> Iterator[None]:
    """The router led astray for one test: it hands packets for the store to the concentrator instead of the firewall."""
    router.run("ip", "-6", "route", "replace", f"{STORE}/128", "via", lab.address6(lab.CONCENTRATOR, "outside"))
    yield
    router.run("ip", "-6", "route", "del", f"{STORE}/128")


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.usefixtures("detour")
def test_nothing_passes_the_concentrator_from_outside_to_inside_over_ipv6(router: lab.Machine, collector: lab.Machine) -> None:
    """Past the router's own rules: the next hop's MAC is known."""
    mac = lab.site()["hosts"][lab.CONCENTRATOR]["interfaces"]["outside"]["mac"]
    own, port = lab.address6(lab.ROUTER, "outside"), lab.source_port()
    router.call(away.knock, source=own, source_port=port, target=STORE, target_port=SMTP, around=mac)
    pattern = f"SRC={own} DST={STORE} .*SPT={port} DPT={SMTP} "
    lab.until(lambda: re.search(pattern, denials(collector, lab.CONCENTRATOR)), f"a line with {pattern}")


# -- administration --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("OPS-4", side="positive")
@pytest.mark.parametrize("host", [host for host in lab.group("site") if host != lab.COLLECTOR])
def test_the_management_host_logs_in_over_ipv6_and_knows_the_host(host: str, collector: lab.Machine) -> None:
    there = lab.address6(host, lab.zone(lab.COLLECTOR))
    done = collector.run("ssh", "-o", "BatchMode=yes", f"root@{there}", "hostname", check=False)
    assert (done.returncode, done.stdout.strip()) == (0, host), done.stderr


@pytest.mark.requirement("OPS-1", side="positive")
@pytest.mark.requirement("OPS-1", side="negative")
def test_the_collector_files_a_line_by_the_ipv6_address_that_sent_it(
    nameserver: lab.Machine, desk: lab.Machine, collector: lab.Machine
) -> None:
    to = {"address": lab.address6(lab.COLLECTOR), "port": lab.port("syslog", "udp")}
    word, stranger = lab.token(), lab.token()
    desk.call(away.datagram, **to, text=f"<38>Jan  1 00:00:00 {lab.GATEWAY} sm-mta[1]: {stranger}")
    nameserver.call(away.datagram, **to, text=f"<38>Jan  1 00:00:00 {lab.GATEWAY} sm-mta[1]: {word}")
    assert lab.until(lambda: filed_under(collector, word), "the line") == {lab.NAMESERVER}
    assert filed_under(collector, stranger) == set()


def test_a_site_s_flows_name_no_address_that_only_one_family_has() -> None:
    """Or a part of what this file and the matrix try over IPv6 would not be there at all."""
    assert [zone for zone in policy.level_zones(lab.site()) if len(policy.zone_networks(lab.site(), zone)) != 2] == []
