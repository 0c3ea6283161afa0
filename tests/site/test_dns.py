"""Names: what the world learns from the site's name server, what it does not, and what the inside gets."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import away, lab

DOMAIN = lab.domain()
PUBLIC = [host for host, entry in lab.site()["hosts"].items() if "public" in entry]
HIDDEN = [host for host in lab.group("site") if host not in PUBLIC]
INSIDE = [host for host in lab.group("site") if lab.zone(host) != policy.open_zone(lab.site())]


def reverse(address: str) -> str:
    """The name under which an address has its PTR record."""
    return ipaddress.ip_address(address).reverse_pointer


FAMILIES = (4, 6)


def outside(machine: lab.Machine, *questions: list[str], tcp: bool = False, family: int = 4) -> list[dict[str, Any]]:
    """Ask the site's name server at its public address."""
    server = lab.known(lab.NAMESERVER)[FAMILIES.index(family)]
    out: list[dict[str, Any]] = machine.call(away.dns, server=server, port=lab.port("dns"), questions=list(questions), tcp=tcp)
    return out


def inside(machine: lab.Machine, *questions: list[str], tcp: bool = False, family: int = 4) -> list[dict[str, Any]]:
    """Ask the site's name server at its own address."""
    server = lab.address(lab.NAMESERVER) if family == 4 else lab.address6(lab.NAMESERVER)
    out: list[dict[str, Any]] = machine.call(away.dns, server=server, port=lab.port("dns"), questions=list(questions), tcp=tcp)
    return out


def values(answer: dict[str, Any]) -> list[str]:
    """What an answer says, without the names."""
    assert answer["code"] == "NOERROR", answer
    return sorted(value for _name, _kind, value in answer["answer"])


@pytest.mark.requirement("NET-8", side="positive")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_the_world_learns_who_takes_the_domains_mail_and_where(tcp: bool, family: int, stranger: lab.Machine) -> None:
    names = [[lab.fqdn(host), kind] for host in PUBLIC for kind in ("A", "AAAA")]
    mx, ns, *hosts = outside(stranger, [DOMAIN, "MX"], [DOMAIN, "NS"], *names, tcp=tcp, family=family)
    assert [value.split()[1] for value in values(mx)] == [lab.fqdn(lab.GATEWAY)]
    assert values(ns) == [lab.fqdn(lab.NAMESERVER)]
    assert [values(answer) for answer in hosts] == [[address] for host in PUBLIC for address in lab.known(host)]
    assert all(answer["authoritative"] for answer in (mx, ns, *hosts))


@pytest.mark.requirement("NET-8", side="positive")
def test_public_addresses_have_their_names_and_no_other(stranger: lab.Machine) -> None:
    answers = outside(stranger, *([reverse(address), "PTR"] for host in PUBLIC for address in lab.known(host)))
    assert [values(answer) for answer in answers] == [[lab.fqdn(host)] for host in PUBLIC for _address in lab.known(host)]


@pytest.mark.requirement("NET-8", side="positive")
def test_the_spf_record_lets_the_gateways_public_addresses_send_and_nobody_else(stranger: lab.Machine) -> None:
    (answer,) = outside(stranger, [DOMAIN, "TXT"])
    (record,) = [text for text in values(answer) if text.startswith("v=spf1")]
    assert record.split() == ["v=spf1", f"ip4:{lab.public(lab.GATEWAY)}", f"ip6:{lab.address6(lab.GATEWAY)}", "-all"]


@pytest.mark.requirement("NET-8", side="positive")
def test_the_world_finds_the_gateway_by_following_delegations_from_the_root(stranger: lab.Machine) -> None:
    questions = [[lab.fqdn(lab.GATEWAY), "A"], [lab.fqdn(lab.GATEWAY), "AAAA"], [reverse(lab.address6(lab.GATEWAY)), "PTR"]]
    answers = stranger.call(away.dns, server="127.0.0.1", port=lab.port("dns"), questions=questions)
    assert [values(answer) for answer in answers] == [
        *([address] for address in lab.known(lab.GATEWAY)),
        [lab.fqdn(lab.GATEWAY)],
    ]


@pytest.mark.requirement("NET-8", side="negative")
@pytest.mark.requirement("MS-1", side="negative")
@pytest.mark.parametrize("family", FAMILIES)
def test_hosts_without_a_public_address_are_nowhere_in_public_names(family: int, stranger: lab.Machine) -> None:
    questions = [[lab.fqdn(host), kind] for host in HIDDEN for kind in ("A", "AAAA")]
    for answer in outside(stranger, *questions, family=family):
        assert answer["code"] == "NXDOMAIN"
    questions = [[reverse(lab.address(host)), "PTR"] for host in INSIDE]
    questions += [[reverse(lab.address6(host)), "PTR"] for host in INSIDE if host in HIDDEN]
    for answer in outside(stranger, *questions, family=family):
        assert answer["code"] in {"REFUSED", "NXDOMAIN"} and not answer["answer"]


@pytest.mark.requirement("NET-8", side="negative")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_world_gets_no_recursion(family: int, stranger: lab.Machine) -> None:
    foreign = f"{lab.STRANGER}.{lab.foreign_domain()}"
    (answer, own) = outside(stranger, [foreign, "A"], [DOMAIN, "MX"], family=family)
    assert (answer["code"], answer["recursion"], answer["answer"]) == ("REFUSED", False, [])
    assert own["recursion"] is False


@pytest.mark.requirement("NET-8", side="negative")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("start", [lab.STRANGER, lab.DESK])
def test_nobody_gets_a_whole_zone(start: str, family: int) -> None:
    ask = outside if start == lab.STRANGER else inside
    zones = [reverse(lab.public(lab.GATEWAY)).split(".", 1)[1], reverse(lab.address6(lab.GATEWAY)).split(".", 16)[16]]
    for answer in ask(lab.Machine(start), *([zone, "AXFR"] for zone in (DOMAIN, *zones)), tcp=True, family=family):
        assert (answer["code"], answer["answer"]) == ("REFUSED", [])


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.parametrize("name", ["version.bind", "version.server", "hostname.bind", "id.server", "authors.bind"])
def test_the_server_tells_nobody_what_it_is(name: str, stranger: lab.Machine) -> None:
    (answer,) = outside(stranger, [name, "TXT", "CH"])
    assert answer["answer"] == []


@pytest.mark.requirement("NET-4", side="positive")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("start", [lab.DESK, lab.STORE, lab.GATEWAY])
def test_inside_every_host_has_its_own_addresses_and_the_rest_of_the_world_resolves(start: str, family: int) -> None:
    foreign = f"{lab.STRANGER}.{lab.foreign_domain()}"
    questions = [[lab.fqdn(host), kind] for host in INSIDE for kind in ("A", "AAAA")]
    questions += [[reverse(lab.address6(host)), "PTR"] for host in INSIDE]
    questions += [[foreign, "A"], [foreign, "AAAA"], [lab.foreign_domain(), "MX"]]
    *own, other, other6, mx = inside(lab.Machine(start), *questions, family=family)
    wanted = [[address] for host in INSIDE for address in (lab.address(host), lab.address6(host))]
    assert [values(answer) for answer in own] == [*wanted, *([lab.fqdn(host)] for host in INSIDE)]
    assert values(other) == [lab.address(lab.STRANGER, "world")]
    assert values(other6) == [lab.address6(lab.STRANGER, "world")]
    assert [value.split()[1] for value in values(mx)] == [foreign]


# -- signatures ------------------------------------------------------------------------------------------------------

SIGNED = f"{lab.STRANGER}.{lab.foreign_domain()}"
BROKEN = f"broken.{lab.foreign_domain()}"  # the zone above names a key that it does not have


@pytest.mark.requirement("NET-8", side="positive")
def test_the_world_can_prove_from_the_root_what_our_zones_say_and_that_a_name_is_missing(stranger: lab.Machine) -> None:
    questions = [
        [DOMAIN, "MX"],
        [lab.fqdn(lab.GATEWAY), "A"],
        [f"_25._tcp.{lab.fqdn(lab.GATEWAY)}", "TLSA"],
        [f"no.{DOMAIN}", "A"],
    ]
    answers = stranger.call(away.dns, server="127.0.0.1", port=lab.port("dns"), questions=questions)
    assert [answer["code"] for answer in answers] == ["NOERROR", "NOERROR", "NOERROR", "NXDOMAIN"]
    assert all(answer["authentic"] for answer in answers), answers


@pytest.mark.requirement("NET-8", side="negative")
def test_who_asks_for_a_missing_name_is_not_told_which_ones_there_are(stranger: lab.Machine) -> None:
    server = {"server": lab.public(lab.NAMESERVER), "port": lab.port("dns")}
    (answer,) = stranger.call(away.dns, **server, questions=[[f"no.{DOMAIN}", "A"]], signatures=True)
    kinds = {kind for _name, kind, _value in answer["authority"]}
    assert "NSEC3" in kinds and "RRSIG" in kinds and "NSEC" not in kinds, answer


@pytest.mark.requirement("NET-8", side="positive")
@pytest.mark.parametrize("start", [lab.DESK, lab.GATEWAY])
def test_inside_both_views_have_the_same_keys_and_other_peoples_signatures_are_checked(
    start: str, stranger: lab.Machine
) -> None:
    (own, other) = inside(lab.Machine(start), [DOMAIN, "DNSKEY"], [SIGNED, "A"])
    (public,) = outside(stranger, [DOMAIN, "DNSKEY"])
    assert values(own) == values(public) and len(values(own)) == 1
    assert other["authentic"] and values(other) == [lab.address(lab.STRANGER, "world")]


@pytest.mark.requirement("NET-8", side="negative")
def test_what_others_have_not_signed_with_the_key_that_their_zone_above_names_is_not_believed() -> None:
    ask = {"server": lab.address(lab.NAMESERVER), "port": lab.port("dns"), "questions": [[BROKEN, "A"]]}
    (answer,) = lab.Machine(lab.DESK).call(away.dns, **ask)
    assert (answer["code"], answer["answer"]) == ("SERVFAIL", [])
    # That is because of its signatures alone.
    (answer,) = lab.Machine(lab.DESK).call(away.dns, **ask, unchecked=True)
    assert values(answer) == [lab.address(lab.STRANGER, "world")]


@pytest.mark.requirement("NET-8", side="negative")
def test_keys_that_sign_are_the_name_servers_alone_and_it_cannot_change_what_it_signs(nameserver: lab.Machine) -> None:
    private = nameserver.sh("find / -xdev -name 'K*.private' -printf '%p %u %m\\n'").splitlines()
    assert private and all(line.split()[1:] == ["bind", "600"] for line in private), private
    for link in nameserver.sh("find /var/lib/bind/site -type l").split():
        done = nameserver.run("setpriv", "--reuid", "bind", "--regid", "bind", "--clear-groups", "rm", "-f", link, check=False)
        assert done.returncode != 0 and nameserver.sh(f"test -L {link} && stat -Lc %U {link}").strip() == "root"


@pytest.mark.requirement("NET-8", side="negative")
def test_a_signed_zone_does_not_lose_its_signatures_while_the_zone_above_names_its_key() -> None:
    extra = '{"site_dnssec": false}'
    done = lab.ansible("ansible-playbook", "playbooks/nameservers.yml", "--tags", "dns", "-e", extra, check=False)
    assert done.returncode != 0 and "Withdraw the DS record first" in done.stdout, done.stdout


@pytest.mark.requirement("NET-8", side="negative")
def test_the_server_does_not_serve_as_root(nameserver: lab.Machine) -> None:
    found = nameserver.call(away.processes, program="named")
    assert found
    for entry in found:
        assert 0 not in entry["uids"] and entry["no_new_privileges"]
