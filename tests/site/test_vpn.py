"""The concentrator: who comes through a tunnel reads mail and no more, who has none gets nothing, and nothing goes past it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.site import away, lab, mailflow
from tests.site.network import denials, outcomes

PORT = lab.port("vpn", "udp")
STORE = lab.address(lab.STORE)
DNS = lab.address(lab.NAMESERVER)
MAIL = [lab.port(name) for name in ("smtp", "submission", "submissions", "pop3", "pop3s", "imaps", "sieve")]
# Ports that are tried besides: administration, logs, and some that a scan begins with.
OTHERS = [lab.port("ssh"), lab.port("dns"), lab.port("syslog"), 23, 80, 143, 443, 3306, 6000]
USER = lab.users()[-1]
OUTSIDE, INSIDE = (lab.address(lab.CONCENTRATOR, zone) for zone in ("outside", "inside"))


# -- through the tunnel ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("NET-9", side="positive")
@pytest.mark.requirement("MS-6", side="positive")
def test_through_a_tunnel_a_user_sends_by_the_store_and_fetches_mail_over_pop3s(traveller: lab.Machine) -> None:
    word = lab.token()
    mailflow.send(traveller, STORE, mailflow.ours(USER), [mailflow.ours(USER)], word)
    ports = {"plain": lab.port("pop3"), "tls": lab.port("pop3s")}
    login = {"address": STORE, "ports": ports, "user": USER, "password": lab.password(USER)}
    assert traveller.call(away.pop_login, security="tls", **login).startswith("+OK")
    assert word in (traveller.call(away.pop_fetch, token=word, deadline=20, **login) or "")


@pytest.mark.requirement("NET-9", side="positive")
def test_through_a_tunnel_names_of_the_inside_resolve(traveller: lab.Machine) -> None:
    questions = [[lab.fqdn(lab.STORE), "A"]]
    (answer,) = traveller.call(away.dns, server=DNS, port=lab.port("dns"), questions=questions)
    assert [value for _name, _kind, value in answer["answer"]] == [STORE]


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.requirement("MS-6", side="negative")
def test_through_a_tunnel_nothing_is_reached_but_what_is_listed(traveller: lab.Machine, collector: lab.Machine) -> None:
    targets = [(STORE, port) for port in OTHERS]
    targets += [(DNS, port) for port in [*OTHERS, *MAIL] if port != lab.port("dns")]
    for host in (lab.COLLECTOR, lab.DESK, lab.GATEWAY, lab.FIREWALL, lab.CONCENTRATOR):
        targets += [(lab.address(host, "inside"), port) for port in (lab.port("ssh"), *MAIL)]
    assert {target: result for target, result in outcomes(traveller, targets).items() if result != "silent"} == {}
    (found,) = traveller.call(away.probe, targets=[[STORE, OTHERS[0]]])
    pattern = rf"DST={STORE} .*SPT={found['source_port']} DPT={OTHERS[0]} "
    lab.until(lambda: re.search(pattern, denials(collector, lab.CONCENTRATOR)), f"a line with {pattern}")
    assert traveller.run("python3", "-c", ECHO, STORE, check=False).stdout.strip() == "silent"


# One echo request with the standard library: a host need not have ping.
ECHO = """
import socket, struct, sys
packet = struct.pack(">BBHHH", 8, 0, 0, 7, 1)
check = ~(sum(struct.unpack(">4H", packet)) % 0xFFFF) & 0xFFFF
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
sock.settimeout(2)
sock.sendto(struct.pack(">BBHHH", 8, 0, check, 7, 1), (sys.argv[1], 0))
try:
    sock.recv(512)
    print("answer")
except TimeoutError:
    print("silent")
"""


@pytest.mark.requirement("NET-9", side="negative")
def test_no_packet_comes_out_of_a_tunnel_under_an_address_that_is_not_its_own(
    traveller: lab.Machine, store: lab.Machine
) -> None:
    """Sent in this order over one path: when the honest packet is there, a forged one would have been there before it."""
    port = lab.port("smtp")
    zone = lab.site()["hosts"][traveller.name]["beyond"]
    (own,) = re.findall(r"inet ([0-9.]+)", traveller.sh("ip -4 -o address show dev wg0"))
    other = next(h["beyond"] for name, h in lab.site()["hosts"].items() if h.get("beyond") not in (None, zone))
    first = lab.source_port()
    forged = [lab.address(lab.DESK), re.sub(r"\d+/\d+$", "77", lab.site()["zones"][other]["network"])]
    with store.talk(away.knocks_session, port=port) as witness:
        assert witness.read() == "ready"
        for source in forged:
            traveller.call(away.knock, source=source, source_port=first, target=STORE, target_port=port)
        traveller.call(away.knock, source=own, source_port=first + 1, target=STORE, target_port=port)
        assert witness.read() == [own, first + 1]


@pytest.mark.requirement("NET-9", side="negative")
def test_nothing_is_opened_into_a_tunnel(collector: lab.Machine, desk: lab.Machine) -> None:
    (address,) = re.findall(r"inet ([0-9.]+)", lab.Machine(lab.TRAVELLERS[0]).sh("ip -4 -o address show dev wg0"))
    for machine in (collector, desk):
        assert set(outcomes(machine, [(address, port) for port in (22, *MAIL)]).values()) == {"silent"}


# -- without it ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.requirement("MS-6", side="negative")
def test_without_a_tunnel_the_same_host_does_not_reach_the_store(without_tunnel: lab.Machine) -> None:
    targets = [(STORE, port) for port in (*MAIL, lab.port("ssh"))] + [(DNS, lab.port("dns"))]
    assert set(outcomes(without_tunnel, targets).values()) == {"silent"}


SCANNED = [*range(1, 180), *MAIL, *OTHERS, 1194, 1723, 8080, PORT]


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.parametrize("start", [lab.STRANGER, lab.ROUTER])
def test_no_tcp_port_of_the_concentrator_is_open_to_the_outside(start: str) -> None:
    found = outcomes(lab.Machine(start), [(OUTSIDE, port) for port in SCANNED], timeout=0.5)
    assert {target: result for target, result in found.items() if result != "silent"} == {}


@pytest.mark.requirement("NET-9", side="negative")
def test_a_stranger_gets_no_answer_at_the_tunnels_port_nor_at_any_other(
    stranger: lab.Machine, concentrator: lab.Machine
) -> None:
    """The port is open, and its rule counts what came; whoever sends no handshake with a known key is told nothing."""
    before = counted(concentrator)
    for port in (PORT, 53, 500, 514, 1194, 4500, PORT + 1):
        answer = stranger.run("python3", "-c", DATAGRAM, OUTSIDE, str(port), check=False).stdout.strip()
        assert answer == "silent", port
    assert counted(concentrator) > before


# A handshake's first packet, as long as a real one, from nobody that is known.
DATAGRAM = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(1)
sock.connect((sys.argv[1], int(sys.argv[2])))
sock.send(bytes([1, 0, 0, 0]) + bytes(144))
try:
    print("answer", sock.recv(512).hex())
except TimeoutError:
    print("silent")
except ConnectionRefusedError:
    print("refused")
"""


def counted(concentrator: lab.Machine) -> int:
    """The packets that the rule of the tunnels' port has let in: the first of each exchange."""
    rules = concentrator.sh("nft list chain inet firewall input")
    (packets,) = re.findall(rf"ip daddr {OUTSIDE} udp dport {PORT} counter packets (\d+) .*accept", rules)
    return int(packets)


# -- past it ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def detour(router: lab.Machine) -> Iterator[None]:
    """The router led astray for one test: it hands packets for the store to the concentrator instead of the firewall."""
    router.run("ip", "route", "replace", f"{STORE}/32", "via", OUTSIDE)
    yield
    router.run("ip", "route", "del", f"{STORE}/32")


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.usefixtures("detour")
@pytest.mark.parametrize("start", [lab.STRANGER, lab.ROUTER])
def test_nothing_passes_the_concentrator_from_outside_to_inside(start: str, collector: lab.Machine) -> None:
    machine = lab.Machine(start)
    found = machine.call(away.probe, targets=[[STORE, port] for port in MAIL])
    assert {entry["result"] for entry in found} == {"silent"}
    # A router with rules of its own may be the first to refuse.
    pattern = rf"DST={STORE} .*SPT={found[0]['source_port']} DPT={MAIL[0]} "
    lab.until(lambda: re.search(pattern, denials(collector, lab.CONCENTRATOR, lab.ROUTER)), f"a line with {pattern}")


@pytest.fixture
def shortcut(desk: lab.Machine) -> Iterator[None]:
    """A desk that tries the concentrator for a way out, for one test."""
    stranger = lab.address(lab.STRANGER, "world")
    desk.run("ip", "route", "replace", f"{stranger}/32", "via", INSIDE)
    yield
    desk.run("ip", "route", "del", f"{stranger}/32")


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.usefixtures("shortcut")
def test_nothing_passes_the_concentrator_from_inside_to_outside(desk: lab.Machine, collector: lab.Machine) -> None:
    target = [lab.address(lab.STRANGER, "world"), lab.port("smtp")]
    (found,) = desk.call(away.probe, targets=[target])
    assert found["result"] == "silent"
    pattern = rf"DST={target[0]} .*SPT={found['source_port']} DPT={target[1]} "
    lab.until(lambda: re.search(pattern, denials(collector, lab.CONCENTRATOR)), f"a line with {pattern}")


# -- keys, and changes -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("NET-9", side="negative")
def test_private_keys_are_roots_alone_and_nowhere_else(concentrator: lab.Machine) -> None:
    assert concentrator.sh("stat -c '%U:%G %a' /etc/wireguard /etc/wireguard/wg0.*").split("\n")[:-1] == [
        "root:root 700",
        *["root:root 600"] * 3,
    ]
    keys = {host: lab.Machine(host).sh("cat /etc/wireguard/wg0.key").strip() for host in (lab.CONCENTRATOR, *lab.TRAVELLERS)}
    assert len(set(keys.values())) == len(keys)
    texts = [path.read_text(errors="replace") for path in (lab.ROOT / ".lab").glob("*/*") if path.is_file()]
    assert [host for host, key in keys.items() if any(key in text for text in texts)] == []


@pytest.mark.requirement("NET-9", side="positive")
def test_an_open_session_survives_when_peers_are_loaded_anew(concentrator: lab.Machine, traveller: lab.Machine) -> None:
    with traveller.talk(away.smtp_session, address=STORE, port=lab.port("smtp")) as session:
        assert session.read().startswith("220 ")
        concentrator.run("systemctl", "reload", lab.TUNNEL)
        assert session.ask("NOOP").startswith("250 ")
        assert session.ask("QUIT").startswith("221 ")


@pytest.mark.requirement("NET-9", side="positive")
def test_a_tunnel_that_died_comes_back_by_itself(concentrator: lab.Machine) -> None:
    """Where the kernel does the work there is no process that could die."""
    found = concentrator.call(away.processes, program="wireguard-go")
    if not found:
        pytest.skip("the kernel has WireGuard")
    concentrator.run("kill", "-9", *(str(entry["pid"]) for entry in found))
    # The other end notices by itself, within about the time of its keepalive.
    traveller, target = lab.Machine(lab.TRAVELLERS[0]), (STORE, lab.port("smtp"))
    lab.until(lambda: outcomes(traveller, [target])[target] == "open", "the store through the tunnel", deadline=60)
