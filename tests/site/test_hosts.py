"""What holds on every host of the site, whatever it does: small, quiet, closed, and sure of its name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import yaml
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import away, lab, matrix

# What a program lends that an inventory may let keep its bit. None of them lends root.
LENT = {
    "/usr/libexec/sendmail/sendmail": "2555 root smmsp",  # SM-2: users submit to the client queue
}
# Compilers, debuggers, interpreters of no use here, and servers that start others. (Python is Ansible's, Perl is debconf's and
# sendmail's, m4 and make are sendmail's.)
UNNEEDED = (
    "cc gcc cpp ld as tcc clang gdb strace ruby php node tclsh lua guile java go Xorg X xauth rpcbind rpc.statd exportfs showmount"
    " inetd xinetd telnet rsh ftp tftp nc ncat socat nmap tcpdump curl wget crontab at batch pkexec sudo doas"
)
# Listeners that only the host itself reaches: where, and for what.
LOOPBACK = {
    lab.STORE: {("tcp", 143)},  # whom sendmail asks about passwords
    lab.NAMESERVER: {("tcp", 953), ("tcp", lab.port("dns")), ("udp", lab.port("dns"))},  # rndc, and its own resolver
    # Whom sendmail asks about signatures, on the release whose sendmail can (tests/site/test_dane.py).
    # And about others' policies (tests/site/test_mta_sts.py).
    lab.GATEWAY: {("tcp", 8461)}
    | (set() if os.environ.get("LAB_RELEASE", "12") == "12" else {("tcp", lab.port("dns")), ("udp", lab.port("dns"))}),
}
# The container engine's own resolver: in every container, in a network namespace that the engine shares with it.
ENGINE = "127.0.0.11"


# Families of addresses that the site speaks.
FAMILIES = {4, 6} if lab.variables().get("site_ipv6") else {4}


def families(address: str) -> set[int]:
    """Those of a listener; ss has a * for a socket that takes both."""
    return {4, 6} if address == "*" else {6 if ":" in address else 4}


def listeners(machine: lab.Machine) -> set[tuple[str, str, int]]:
    """Protocol, address and port of everything that waits for connections or datagrams, of both address families."""
    out = set()
    for line in machine.sh("ss -Hlntu").splitlines():
        protocol, _state, _received, _sent, local = line.split()[:5]
        address, port = local.rsplit(":", 1)
        address = address.strip("[]").split("%")[0]
        if address != ENGINE:
            out.add((protocol, address, int(port)))
    return out


@pytest.mark.requirement("SM-10", side="positive")
def test_the_directories_above_the_mail_system_are_roots_and_nobody_elses_to_write(each: lab.Machine) -> None:
    found = each.sh("stat -c '%n %U:%G %a' / /var /var/spool /etc $(ls -d /etc/mail 2>/dev/null || true)").splitlines()
    assert len(found) >= 4
    assert [line for line in found if not line.endswith(" root:root 755")] == []


@cache
def allowed() -> dict[str, dict[str, str]]:
    """Of each host, the set-id programs that its inventory lets keep their bits, each with the reason."""
    wiring = lab.ROOT / "playbooks/group_vars/site.yml"
    argv = ["ansible", "-i", str(lab.INVENTORY), "site", "-o", "-m", "debug", "-a", "var=hardening_setid_allowed"]
    out = {}
    for line in lab.ansible(*argv, "-e", f"@{wiring}").stdout.splitlines():
        host, _, said = line.partition(" | SUCCESS => ")
        out[host] = {row["path"]: row["reason"] for row in json.loads(said)["hardening_setid_allowed"]}
    return out


@cache
def odd() -> dict[str, dict[str, list[str]]]:
    """The odd files of every host, looked for on all at once."""
    names = lab.group("site")
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(lambda name: lab.Machine(name).call(away.odd_files), names))
    for name, files in zip(names, found, strict=True):
        assert int(files["looked at"][0]) > 5000, f"{name}: only {files['looked at']} files seen"
    return dict(zip(names, found, strict=True))


@pytest.mark.requirement("SM-2", side="negative")
@pytest.mark.requirement("OPS-5", side="negative")
def test_the_set_id_programs_of_a_host_are_the_ones_that_its_inventory_lists_with_a_reason(each: lab.Machine) -> None:
    listed = allowed()[each.name]
    assert set(odd()[each.name]["set-id"]) == {f"{path} {LENT[path]}" for path in listed}
    assert all(reason for reason in listed.values())


@pytest.mark.requirement("SM-2", side="negative")
@pytest.mark.requirement("OPS-5", side="negative")
def test_no_file_gives_a_capability_to_whoever_runs_it(each: lab.Machine) -> None:
    assert odd()[each.name]["capabilities"] == []


@pytest.mark.requirement("SM-10", side="negative")
@pytest.mark.requirement("OPS-5", side="negative")
def test_no_file_is_everybodys_to_write_and_none_is_nobodys(each: lab.Machine) -> None:
    assert (odd()[each.name]["writable"], odd()[each.name]["unowned"]) == ([], [])


@pytest.fixture
def planted(nameserver: lab.Machine) -> Iterator[list[str]]:
    """One odd file of each kind on a host, for one test."""
    where = "/var/tmp/probe"
    nameserver.sh(
        f"mkdir {where} && cd {where} && touch setid open nobodys able && chmod 4755 setid && chmod 0666 open && chown 65000 nobodys"
        ' && python3 -c \'import os; os.setxattr("able", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))\''
    )
    yield [f"{where}/setid 4755 root root", f"{where}/able", f"{where}/open 666", f"{where}/nobodys 65000:0"]
    nameserver.run("rm", "-r", where)


def test_the_search_for_odd_files_finds_one_of_each_kind(planted: list[str], nameserver: lab.Machine) -> None:
    found = nameserver.call(away.odd_files)
    assert [found[kind] for kind in ("capabilities", "writable", "unowned")] == [[path] for path in planted[1:]]
    assert planted[0] in found["set-id"]


@pytest.mark.requirement("SM-11", side="negative")
def test_an_ordinary_account_reads_no_mail_or_login_log_and_no_journal(each: lab.Machine) -> None:
    # On a host where nobody has logged in yet the log of logins is not there: one line makes it.
    each.run("logger", "-p", "authpriv.info", "-t", "probe", "a line")
    lab.until(lambda: each.run("test", "-s", "/var/log/auth.log", check=False).returncode == 0, "the log of logins")
    logs = each.sh("find /var/log -type f ! -path '*/apt/*' ! -name '*.twr'").split()
    private = [path for path in logs if re.search(r"mail|auth|syslog|remote|ulog|journal|/(messages|kern|daemon|btmp)", path)]
    assert any("auth.log" in path for path in private) and any("journal" in path for path in private)
    readable = each.run("find", *private, "-maxdepth", "0", "-readable", user=lab.NOBODY, check=False).stdout.split()
    assert readable == []
    assert "No journal files were opened" in each.run("journalctl", "-n1", user=lab.NOBODY, check=False).stderr


@pytest.mark.requirement("SM-3", side="negative")
@pytest.mark.parametrize("name", sorted({*lab.group("gateways"), *lab.group("stores"), *lab.group("mail_clients")}))
@pytest.mark.parametrize("queue", ["/var/spool/mqueue", "/var/spool/mqueue-client"])
def test_an_ordinary_account_neither_lists_nor_enters_nor_writes_a_queue(name: str, queue: str) -> None:
    machine = lab.Machine(name)
    machine.run("test", "-d", queue)
    for attempt in (["ls", queue], ["cat", f"{queue}/."], ["touch", f"{queue}/probe"]):
        done = machine.run(*attempt, user=lab.NOBODY, check=False)
        assert done.returncode != 0 and "Permission denied" in done.stderr, attempt


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.parametrize("name", sorted({*lab.group("gateways"), *lab.group("stores")}))
def test_an_ordinary_account_does_not_see_what_waits_in_the_mta_queue(name: str) -> None:
    done = lab.Machine(name).run("/usr/sbin/sendmail", "-Am", "-bp", user=lab.NOBODY, check=False)
    assert done.returncode != 0 and "Total requests" not in done.stdout


@pytest.mark.requirement("OPS-5", side="negative")
def test_a_host_listens_where_a_flow_leads_and_for_its_administrator_and_nowhere_else(each: lab.Machine) -> None:
    """A flow is named by the ports of its services; SSH is how every host is administered."""
    services = lab.site()["services"]
    wanted = {("tcp", lab.port("ssh"))}
    for name, service in services.items():
        if policy.policy_sources(lab.site(), each.name, name):
            wanted |= {(protocol, port) for protocol in ("tcp", "udp") for port in service.get(protocol, [])}
    wanted -= matrix.SELDOM
    found = listeners(each)
    loopback = {entry for entry in found if entry[1] in {"127.0.0.1", "::1"}}
    # In every family that the site speaks, and in no other: a wildcard of that would wait for the day on which somebody gives a link an
    # address. What a host has for itself need not be there twice.
    assert {
        family: {(protocol, port) for protocol, address, port in found - loopback if family in families(address)}
        for family in (4, 6)
    } == {family: wanted if family in FAMILIES else set() for family in (4, 6)}
    assert {(protocol, port) for protocol, _address, port in loopback} == LOOPBACK.get(each.name, set())
    assert set().union(*(families(address) for _protocol, address, _port in found)) == FAMILIES


@pytest.mark.requirement("OPS-5", side="negative")
def test_nothing_listens_beside_ports_either(each: lab.Machine) -> None:
    """Raw sockets, packet sockets, other transports, and names that any account of the host may connect to."""
    found = each.sh("for kind in --raw --packet --sctp --dccp --vsock; do ss -Hln $kind 2>/dev/null; done").splitlines()
    found += [line for line in each.sh("ss -Hlnx").splitlines() if line.split()[4].startswith("@")]
    assert found == []


def test_the_list_of_other_listeners_has_one_when_there_is_one(nameserver: lab.Machine) -> None:
    with nameserver.talk(away.knocks_session, port=1) as talk:
        assert talk.read() == "ready"
        assert nameserver.sh("ss -Hln --packet") != ""


@pytest.mark.requirement("OPS-5", side="negative")
@pytest.mark.requirement("GW-6", side="negative")
def test_packages_and_programs_that_no_host_needs_are_gone(each: lab.Machine) -> None:
    """Two lists: the one that the role takes away, and programs, by whatever package they might come."""
    defaults = yaml.safe_load((lab.ROOT / "roles/hardening/defaults/main.yml").read_text(encoding="utf-8"))
    unwanted = set(defaults["hardening_packages_absent"])
    installed = {
        line.split()[1]
        for line in each.sh("dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n'").splitlines()
        if line[1] == "i"
    }
    assert {"openssh-server", "systemd"} <= installed
    assert installed & unwanted == set()
    assert each.sh(f"for name in {UNNEEDED}; do command -v $name || true; done").split() == []


@pytest.mark.requirement("OPS-5", side="negative")
def test_a_host_has_the_ipv6_addresses_of_the_inventory_and_none_of_its_own_making(each: lab.Machine) -> None:
    """No more by which it could be reached or go out: the policy is about these (no RFC 4862 5.5, no RFC 8981)."""
    lines = [line.split() for line in each.sh("ip -6 -o address show").splitlines()]
    found = {line[3] for line in lines if line[1] != "lo" and not line[3].startswith("fe80:")}
    assert found == {f"{foot['address6']}/64" for foot in lab.site()["hosts"][each.name]["interfaces"].values()}
    assert [line for line in lines if {"temporary", "dynamic", "mngtmpaddr", "tentative"} & set(line)] == []
    # One of each link for its neighbours, and its own way out; the border router knows the networks that it stands between.
    links = {line[1] for line in lines if not line[1].startswith(("lo", "wg"))}
    assert len(links) == len(found)
    routes = each.sh("ip -6 route show default").splitlines()
    assert len(routes) == (each.name != lab.ROUTER) and "proto ra" not in "".join(routes), routes


@pytest.mark.requirement("OPS-5", side="positive")
def test_no_unit_has_failed_and_none_is_being_restarted(each: lab.Machine) -> None:
    units = each.sh("systemctl list-units --all --plain --no-legend --state=failed,auto-restart | cut -d' ' -f1").split()
    assert units == []


@pytest.mark.requirement("OPS-5", side="positive")
def test_a_host_knows_its_full_name(each: lab.Machine) -> None:
    assert each.sh("hostname -f").strip() == lab.fqdn(each.name)


@pytest.mark.requirement("NET-4", side="positive")
def test_the_resolver_that_a_host_is_told_to_ask_answers(each: lab.Machine) -> None:
    """A host that may ask nobody must be told of nobody: a resolver out of reach only makes every look-up slow."""
    if not each.sh("grep -h ^nameserver /etc/resolv.conf || true"):
        return
    script = f"import socket; print(socket.gethostbyname('{lab.STRANGER}.{lab.foreign_domain()}'))"
    done = each.run("python3", "-c", script, check=False)
    assert done.stdout.strip() == lab.address(lab.STRANGER, "world"), done.stderr


@pytest.mark.requirement("OPS-5", side="negative")
def test_no_account_has_an_empty_password_and_only_root_is_uid_0(each: lab.Machine) -> None:
    assert each.sh("getent shadow | awk -F: '$2 == \"\" {print $1}'") == ""
    assert each.sh("getent passwd | awk -F: '$3 == 0 {print $1}'").split() == ["root"]


@pytest.mark.requirement("OPS-5", side="positive")
def test_what_is_said_before_a_login_names_no_system(each: lab.Machine) -> None:
    said = each.sh("cat /etc/issue /etc/issue.net /etc/motd").lower()
    assert said
    assert [word for word in ("debian", "linux", each.name, lab.domain()) if word in said] == []


@pytest.mark.requirement("OPS-5", side="negative")
@pytest.mark.parametrize(
    "name", sorted({*lab.group("site")} - {*lab.group("routers"), *lab.group("firewalls"), *lab.group("concentrators")})
)
def test_a_host_that_is_no_router_forwards_nothing(name: str) -> None:
    assert lab.Machine(name).sh("cd /proc/sys/net && cat ipv4/ip_forward ipv6/conf/*/forwarding").split() == ["0"] * (
        1 + len(lab.Machine(name).sh("ls /proc/sys/net/ipv6/conf").split())
    )


@pytest.mark.requirement("OPS-5", side="negative")
def test_no_neighbour_chooses_a_hosts_routes_and_no_sender_the_way_of_a_packet(each: lab.Machine) -> None:
    settings = ("accept_redirects", "secure_redirects", "send_redirects", "accept_source_route")
    found = each.sh(f"cd /proc/sys/net/ipv4/conf && grep -H . {' '.join(f'*/{name}' for name in settings)}").splitlines()
    assert len(found) >= 4 * len(settings), "all, default, the loopback and a link"
    settings6 = ("accept_redirects", "accept_source_route", "accept_ra", "autoconf", "use_tempaddr")
    found += each.sh(f"cd /proc/sys/net/ipv6/conf && grep -H . {' '.join(f'*/{name}' for name in settings6)}").splitlines()
    assert len(found) >= 4 * (len(settings) + len(settings6)), "the same of IPv6"
    # A tunnel has no address of which another could be made: the kernel says -1.
    found = [line for line in found if not line.endswith("/use_tempaddr:-1")]
    assert [line for line in found if not line.endswith(":0")] == []


def test_the_prober_sees_a_listener_when_there_is_one(desk: lab.Machine, stranger: lab.Machine) -> None:
    """The list of listeners is only worth something if `ss` shows what a client reaches."""
    (found,) = desk.call(away.probe, targets=[[lab.address(lab.STORE), lab.port("smtp")]])
    assert found["result"] == "open"
    assert any(port == lab.port("smtp") for _protocol, _address, port in listeners(stranger))


@pytest.mark.requirement("NET-1", side="positive")
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("name", sorted({*lab.group("gateways"), *lab.group("stores")}))
def test_a_mail_server_acknowledges_at_once_what_comes_by_its_gateway(name: str, family: int) -> None:
    """A peer that writes the end of a message by itself would wait 40 ms for that. The kernel's word: a measured time would be luck."""
    assert "quickack 1" in lab.Machine(name).sh(f"ip -{family} route show default")


CLOCK_SETTINGS = "/etc/systemd/timesyncd.conf.d"


@pytest.fixture
def without_time_servers(collector: lab.Machine) -> Iterator[None]:
    """A host on which nothing keeps the clock, as the lab's are, before and after."""
    at_boot = collector.run("systemctl", "is-enabled", "systemd-timesyncd", check=False).stdout.strip()
    assert at_boot in ("enabled", "disabled") and not collector.sh(f"ls -A {CLOCK_SETTINGS} 2>/dev/null || true")
    collector.sh(f"rm -rf {CLOCK_SETTINGS}")
    yield
    collector.sh(f"rm -rf {CLOCK_SETTINGS}; systemctl {at_boot.removesuffix('d')} systemd-timesyncd")


@pytest.mark.requirement("OPS-5", side="positive")
@pytest.mark.usefixtures("without_time_servers")
def test_time_servers_are_followed_once_they_are_named(collector: lab.Machine) -> None:
    """Where nothing was there for them. (In a container the clock is its machine's: systemd does not start what keeps it.)"""
    site = lab.site()
    named = {
        "base_time_servers": ["192.0.2.123"],
        "site_services": {**site["services"], "ntp": {"udp": [123]}},
        "site_flows": [
            *site["flows"],
            {"id": "ntp", "from": collector.name, "to": policy.open_zone(site), "services": ["ntp"]},
        ],
    }
    lab.ansible("ansible-playbook", "site.yml", "--limit", collector.name, "--tags", "base", "-e", json.dumps(named))
    assert "NTP=192.0.2.123" in collector.sh("systemd-analyze cat-config systemd/timesyncd.conf").splitlines()
    assert collector.run("systemctl", "is-enabled", "systemd-timesyncd").stdout.strip() == "enabled"
