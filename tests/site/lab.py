"""The running lab: its inventory, its hosts, and ways to act on them. Nothing that the inventory says is said again here."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import pytest
import testinfra
import yaml
from ansible_collections.widgets.mail.plugins.filter import idn, policy

from tests.site import agent, agents
from tests.site.shipped import source

ROOT = Path(__file__).parents[2]
INVENTORY = Path(os.environ.get("SITE_INVENTORY", ROOT / "inventories/lab"))
# Where the collector files what other hosts write, a directory for each.
REMOTE_LOGS = "/var/log/remote"
# A program that is nobody's: what any account of a host could do.
NOBODY = "nobody"


def ansible(
    *argv: str, check: bool = True, settings: Mapping[str, str] | None = None, tree: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run one of this environment's Ansible programs from the root, with the project's own settings (molecule has others).

    `settings`: more variables of its environment; `tree`: the root of another working tree, whose roles and settings count then.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    done = subprocess.run(
        [str(Path(sys.executable).with_name(argv[0])), *argv[1:]],
        cwd=tree,
        env={**clean, "ANSIBLE_CONFIG": str(tree / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **(settings or {})},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done


# -- the inventory ---------------------------------------------------------------------------------------------------


@cache
def inventory() -> dict[str, Any]:
    """The whole inventory, as Ansible reads it."""
    out: dict[str, Any] = json.loads(ansible("ansible-inventory", "-i", str(INVENTORY), "--list").stdout)
    return out


@cache
def variables() -> dict[str, Any]:
    """What the inventory says of every host alike."""
    hostvars: dict[str, dict[str, Any]] = inventory()["_meta"]["hostvars"]
    return next(iter(hostvars.values()))


@cache
def site() -> policy.Site:
    """The site as the filters take it."""
    keys = ("zones", "hosts", "services", "flows", "pat", "domain", "domains")
    found = {key: variables().get(f"site_{key}", {}) for key in keys}
    return {**found, "domain": idn.idn_domain(found["domain"]), "domains": idn.idn_domains(found["domains"])}


def group(name: str) -> list[str]:
    """The hosts of a group, those of the groups in it included."""
    entry = inventory().get(name, {})
    out = list(entry.get("hosts", []))
    for child in entry.get("children", []):
        out += [host for host in group(child) if host not in out]
    return out


def address(host: str, toward: str | None = None) -> str:
    """A host's own address, on a zone where it has several."""
    return policy.host_address(site(), host, toward)


def address6(host: str, toward: str | None = None) -> str:
    """The same in IPv6, which every host of the lab has."""
    found = policy.host_address6(site(), host, toward)
    assert found, f"{host} has no IPv6 address"
    return found


def public(host: str) -> str:
    """The address under which the world knows a host."""
    return str(site()["hosts"][host]["public"])


def seen(host: str, by: str) -> str:
    """The address under which another host sees this one's connections."""
    return policy.seen_as(site(), host, zone(by))


def reach(host: str, start: str) -> str:
    """The address that one must name at `start` to reach a host: the public one from beyond the firewall."""
    outside = policy.open_zone(site())
    translated = "public" in site()["hosts"][host]
    return public(host) if translated and zone(start) == outside and zone(host) != outside else address(host, zone(start))


def known(host: str) -> list[str]:
    """The addresses by which the world knows a host, of each family one: nobody translates IPv6."""
    return [public(host), address6(host)]


def to_reach(host: str, start: str, family: int) -> str:
    """What one must name at `start` to reach a host over a family."""
    return reach(host, start) if family == 4 else address6(host, zone(start))


def zone(host: str) -> str:
    """The firewall's zone that a host is in."""
    return policy.host_zone(site(), host)


def port(service: str, protocol: str = "tcp") -> int:
    """The port of a service."""
    return int(site()["services"][service][protocol][0])


def fqdn(host: str) -> str:
    """A host's full name."""
    return f"{host}.{site()['domain']}"


def domain() -> str:
    """The first of the domains whose mail the site takes."""
    return str(site()["domains"][0]["name"])


def foreign_domain() -> str:
    """The domain of the rest of the world."""
    return str(variables()["lab_foreign_domain"])


def users() -> list[str]:
    """Who has a mailbox."""
    return [str(user["name"]) for user in variables()["site_users"]]


def aliases() -> dict[str, list[str]]:
    """Other names for users, and lists."""
    out: dict[str, list[str]] = variables()["site_aliases"]
    return out


def people() -> list[str]:
    """Aliases that lead to users; the others lead to a program."""
    return [name for name in aliases() if not any(target.startswith("|") for target in aliases()[name])]


def behind(name: str) -> set[str]:
    """The users that a user's or alias's mail goes to."""
    if name not in aliases():
        return {name}
    return set().union(*(behind(target) for target in aliases()[name]))


def password(user: str) -> str:
    """A user's password, as the lab made it."""
    secrets_of_lab = str(variables()["lab_secrets"]).replace("{{ inventory_dir }}", str(INVENTORY))
    return (Path(secrets_of_lab) / f"user-{user}").read_text().strip()


def first(name: str) -> str:
    """The first host of a group, where the inventory has such hosts."""
    return next(iter(group(name)), "")


def setting_of(variable: str, host: str = "") -> Any:
    """What sendmail is set to as the inventory or else the role has it, not as it stands on the host: it may be lost there. The gateway's."""
    own = inventory()["_meta"]["hostvars"][host or group("gateways")[0]]
    defaults = yaml.safe_load((ROOT / "roles/sendmail/defaults/main.yml").read_text(encoding="utf-8"))
    return own.get(variable, defaults[variable])


def limit_of(variable: str) -> int:
    """One that is a number."""
    return int(setting_of(variable))


def span(time: str) -> float:
    """Seconds, of a time as sendmail and systemd write it: 10s, 5m, 4h, 3d."""
    return float(time[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[time[-1]]


# The hosts that play the parts. The lab has one of each; a prop's part is told by where it stands.
GATEWAY = first("gateways")
STORE = first("stores")
NAMESERVER = first("nameservers")
COLLECTOR = first("management")
FIREWALL = first("firewalls")
ROUTER = first("routers")
CONCENTRATOR = first("concentrators")
# Who comes through a tunnel: a mobile user, and the gateway of a branch office.
TRAVELLERS = group("travellers")
TUNNEL = "wg-quick@wg0"
STRANGER = next(host for host in group("props") if zone(host) == policy.open_zone(site()) and host not in TRAVELLERS)
DESK = next(host for host in group("props") if zone(host) != policy.open_zone(site()))


# -- hosts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """A host of the lab, reached through the container engine: what a test does there needs no network of its own."""

    name: str

    @property
    def container(self) -> str:
        """The name of its container."""
        return f"{variables()['lab_prefix']}-{self.name}"

    @cached_property
    def host(self) -> Any:
        """The host as testinfra has it."""
        return testinfra.get_host(f"docker://{self.container}")

    def run(
        self, *argv: str, user: str = "root", text: str = "", check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there, with `text` as its input."""
        done = self._ask({"argv": argv, "text": text, "user": user}, timeout)
        assert not check or done.returncode == 0, f"{self.name}: {' '.join(argv)}: {done.stdout}{done.stderr}"
        return done

    def _ask(self, request: dict[str, Any], timeout: float) -> subprocess.CompletedProcess[str]:
        """Have the agent that waits there run something."""
        return agents.ask(self.container, source(agent.__name__), request, timeout)

    def sh(self, script: str, user: str = "root", timeout: float = 60) -> str:
        """Run a shell script there and give its output."""
        return self.run("sh", "-c", script, user=user, timeout=timeout).stdout

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Run one of the functions of `tests.site.away` there, as root. They give up by themselves; this is for when they do not."""
        text = json.dumps(arguments) + "\n"
        done = self._ask({"source": source(function.__module__), "argv": [function.__name__], "text": text}, 180)
        # Not the arguments: a password may be among them.
        assert done.returncode == 0, f"{self.name}: {function.__name__} ended with {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    @contextmanager
    def talk(self, function: Callable[..., None], **arguments: Any) -> Iterator[Talk]:
        """Run a function of `tests.site.away`, or of another module made for it, there that goes on talking."""
        argv = ["docker", "exec", "-i", self.container, "python3", "-c", source(function.__module__), function.__name__]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            talk = Talk(process)
            talk.write(arguments)
            try:
                yield talk
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(timeout=30)


def missing() -> list[str]:
    """The containers of the lab that do not run."""
    names = {Machine(name).container for name in group("all")}
    argv = ["docker", "ps", "--format", "{{.Names}}"]
    return sorted(names - set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()))


def relay(start: Machine) -> str:
    """For ssh's ProxyCommand: a way out of another host's container, which stands for sitting there.

    ssh ends it by SIGHUP when it gives up, which under nohup would be ignored: it would hold ssh's output open as long as it connects.
    """
    return f"env --default-signal=HUP docker exec -i {start.container} bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!'"


def ssh_config(home: Path, key: Path, known_hosts: str, start: Machine, first: str = "*") -> Path:
    """An operator's file for ssh: the key, the host keys that are known, and the host where the way to `first` begins."""
    (home / "known_hosts").write_text(known_hosts)
    lines = [
        f"Host {first}",
        f"  ProxyCommand {relay(start)}",
        "Host *",
        f"  IdentityFile {key}",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {home}/known_hosts",
        "  StrictHostKeyChecking yes",
        "  BatchMode yes",
        "  ConnectTimeout 20",
    ]
    (home / "config").write_text("\n".join(lines) + "\n")
    return home / "config"


def ssh(config: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run ssh as an operator with such a file."""
    return subprocess.run(["ssh", "-F", str(config), *argv], capture_output=True, text=True, check=False, timeout=90)


def required(made_by: str) -> None:
    """Stop at once where a host of the lab is missing: a hundred failures would say less."""
    if gone := missing():
        pytest.exit(f"The lab does not run: {', '.join(gone)} missing. `{made_by}` makes it.", 1)


@dataclass(frozen=True)
class Talk:
    """The other end of a function that goes on talking."""

    process: subprocess.Popen[str]

    def write(self, value: Any) -> None:
        """Say something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def read(self) -> Any:
        """Hear the next thing; functions there give up by themselves, so this ends."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the host's end has gone"
        return json.loads(line)

    def ask(self, value: Any) -> Any:
        """Say something and hear the answer."""
        self.write(value)
        return self.read()


# -- waiting, and telling things apart -------------------------------------------------------------------------------


Found = TypeVar("Found")


def until(look: Callable[[], Found], what: str, deadline: float = 20) -> Found:
    """Look again until something is there; fail when it is not there by the deadline (seconds)."""
    end = time.monotonic() + deadline
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not within {deadline:.0f} seconds"
        time.sleep(0.1)


def moment(stamp: str) -> float:
    """The time of a log line, as rsyslog writes it."""
    return datetime.fromisoformat(stamp).timestamp()


def token() -> str:
    """A word that nobody has said before."""
    return "t" + secrets.token_hex(8)


def source_port() -> int:
    """A port to send from that an earlier run has hardly used: its lines are still in the logs, its connections in tables."""
    return 33000 + secrets.randbelow(27000)


def addresses6(text: str) -> set[str]:
    """All IPv6 addresses that a text names, each in its shortest form: programs write them in many."""
    found = set()
    for word in re.findall(r"(?i)(?<![\w:.])[0-9a-f]*:[0-9a-f:]+(?![\w:])", re.sub(r"(?i)\bIPv6:", " ", text)):
        with suppress(ValueError):
            found.add(str(ipaddress.IPv6Address(word if word.endswith("::") else word.rstrip(":"))))
    return found


# -- mail ------------------------------------------------------------------------------------------------------------


def message(sender: str, recipient: str, word: str) -> str:
    """A small message that holds a word, with its final dot."""
    return f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {word}\r\n\r\n{word}\r\n."


def letter(sender: str, recipients: Iterable[str], word: str) -> list[str]:
    """The commands of an SMTP session that sends one message."""
    to = list(recipients)
    envelope = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in to)]
    return ["EHLO probe.example", *envelope, "DATA", message(sender, to[0], word), "QUIT"]


def queue_id(reply: str) -> str:
    """The queue id in sendmail's reply to a message."""
    found = re.match(r"250 2\.0\.0 (\S+) Message accepted", reply)
    assert found, reply
    return found[1]
