"""The self-check, run against the lab from the Internet's host: good as the lab stands, and bad in the right row where it does not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.site import lab

DOMAIN = lab.domain()
ADDRESS, ADDRESS6 = lab.known(lab.GATEWAY)
ZONE = f"/etc/bind/zones/external/{DOMAIN}"
REVERSE = ".".join(reversed(ADDRESS.split(".")))
LIST = lab.variables()["lab_block_list"]["name"]

requirement = pytest.mark.requirement("OPS-6", side="positive")


class Run:
    """One run: what it printed, how it ended, and the report that it has kept."""

    def __init__(self, place: Path) -> None:
        extra = json.dumps({"selfcheck_directory": str(place)})
        done = lab.ansible("ansible-playbook", "playbooks/selfcheck.yml", "-e", extra, check=False)
        self.output, self.status = done.stdout + done.stderr, done.returncode
        self.rows: list[dict[str, Any]] = json.loads((place / "selfcheck.json").read_text(encoding="utf-8"))["rows"]

    def lines(self, word: str) -> list[str]:
        """The lines of the table that begin with a word, without it."""
        return re.findall(rf'"{word} +(.*?)"[,\n]', self.output)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run on the lab as it stands, and the directory with its report: what later runs are compared with."""
    place = tmp_path_factory.mktemp("selfcheck")
    return Run(place), place


@pytest.fixture
def place(good: tuple[Run, Path], tmp_path: Path) -> Path:
    """A directory of the test's own with that report."""
    assert good[0].status == 0, good[0].output
    shutil.copytree(good[1], tmp_path, dirs_exist_ok=True)
    return tmp_path


@requirement
def test_the_lab_is_good_as_it_stands_and_what_it_lacks_is_told(good: tuple[Run, Path], place: Path) -> None:
    first, _ = good
    assert first.lines("BAD") == []
    checks = {line.split()[0] for line in first.lines("good")}
    assert {
        "MX",
        "A",
        "AAAA",
        "PTR",
        "SPF",
        "DKIM",
        "DMARC",
        "relay",
        "postmaster",
        "TLS",
        "TLSA",
        "queue",
        "certificate",
    } <= checks
    assert len(first.lines("good")) + len(first.lines("not yet")) == len(first.rows)
    assert all(row["verdict"] in ("good", "absent") for row in first.rows)
    # Run again, it has no news.
    second = Run(place)
    assert second.status == 0 and "Nothing has changed." in second.output, second.output


@contextmanager
def edited(host: str, path: str, script: str, after: str) -> Iterator[None]:
    """A file of a host, changed by a script that gets its path, and put back."""
    machine = lab.Machine(host)
    (path,) = machine.sh(f"ls {path}").split()
    saved = f"/run/selfcheck.{lab.token()}"
    machine.sh(f"cp -a {path} {saved} && f={path} && {script} && {after}")
    try:
        yield
    finally:
        machine.sh(f"cat {saved} > {path} && rm {saved} && {after}")


# Of a file whose serial is as it was a name server that signs takes no notice: it makes the signed zones anew.
RELOAD = (
    "systemctl stop named && find /var/lib/bind -name '*.signed' -delete -o -name '*.j[bn][kl]' -delete"
    # Started as often as several faults at once need it.
    " && { systemctl reset-failed named; systemctl start named; }"
    " && until rndc status >/dev/null 2>&1; do sleep .05; done"
)
# makemap gives what it builds to sendmail's trusted user; the role has it root's.
MAP = "makemap hash /etc/mail/access < /etc/mail/access && chown root /etc/mail/access.db"
# What is broken, on which host, in which file, how, how that takes effect; the check that must notice, and of what: each has its row.
FAULTS: dict[str, tuple[str, str, str, str, str, list[str]]] = {
    "another MX": (lab.NAMESERVER, ZONE, f'echo "@ IN MX 20 {lab.fqdn(lab.NAMESERVER)}." >> $f', RELOAD, "MX", [DOMAIN]),
    "SPF for everybody": (lab.NAMESERVER, ZONE, "sed -i '/^@ IN TXT/s/-all/+all/' $f", RELOAD, "SPF", [DOMAIN]),
    "no DKIM key": (lab.NAMESERVER, ZONE, "sed -i '/_domainkey/d' $f", RELOAD, "DKIM", ["_domainkey"]),
    "DMARC without effect": (lab.NAMESERVER, ZONE, "sed -i '/^_dmarc/s/p=[a-z]*/p=none/' $f", RELOAD, "DMARC", [DOMAIN]),
    "a TLSA record of another key": (
        lab.NAMESERVER,
        ZONE,
        "sed -i '/ TLSA /s/3 1 1 ......../3 1 1 00000000/' $f",
        RELOAD,
        "TLSA",
        [lab.GATEWAY],
    ),
    "another address": (
        lab.NAMESERVER,
        ZONE,
        f"sed -i 's/^{lab.GATEWAY} IN A .*/{lab.GATEWAY} IN A 198.51.100.9/' $f",
        RELOAD,
        "A",
        [lab.GATEWAY],
    ),
    "another IPv6 address": (
        lab.NAMESERVER,
        ZONE,
        f"sed -i 's/^{lab.GATEWAY} IN AAAA .*/{lab.GATEWAY} IN AAAA 2001:db8::9/' $f",
        RELOAD,
        "AAAA",
        [lab.GATEWAY],
    ),
    "no name for the address": (
        lab.NAMESERVER,
        "/etc/bind/zones/external/*.in-addr.arpa",
        f"sed -i '/PTR {lab.fqdn(lab.GATEWAY)}/d' $f",
        RELOAD,
        "PTR",
        [ADDRESS],
    ),
    "no name for the IPv6 address": (
        lab.NAMESERVER,
        "/etc/bind/zones/external/*.ip6.arpa",
        f"sed -i '/PTR {lab.fqdn(lab.GATEWAY)}/d' $f",
        RELOAD,
        "PTR",
        [ADDRESS6],
    ),
    "an open relay": (lab.GATEWAY, "/etc/mail/access", 'printf "Connect:%s\\tRELAY\\n" 198.18 >> $f', MAP, "relay", [ADDRESS]),
    "an open relay over IPv6": (
        lab.GATEWAY,
        "/etc/mail/access",
        f'printf "Connect:%s\\tRELAY\\n" IPv6:{":".join(lab.address6(lab.STRANGER).split(":")[:3])} >> $f',
        MAP,
        "relay",
        [ADDRESS6],
    ),
    "abuse refused": (
        lab.GATEWAY,
        "/etc/mail/access",
        f"sed -i 's/^To:abuse@{DOMAIN}.*/To:abuse@{DOMAIN}\\tERROR:5.1.1:550 User unknown/' $f",
        MAP,
        "postmaster",
        [ADDRESS, ADDRESS6],
    ),
    "on a block list": (
        lab.STRANGER,
        "/var/lib/bind/foreign.zone",
        f'echo "{REVERSE}.{LIST} A 127.0.0.2" >> $f',
        RELOAD,
        "block",
        [ADDRESS],
    ),
}


# Those that stay out of each other's way, so that one run looks at several.
TOGETHER = [
    ["SPF for everybody", "DMARC without effect", "no name for the address", "abuse refused", "on a block list"],
    ["another MX", "no DKIM key", "an open relay", "no name for the IPv6 address", "a TLSA record of another key"],
    ["another address", "another IPv6 address", "an open relay over IPv6"],
]


def test_every_fault_is_looked_at() -> None:
    assert sorted(what for names in TOGETHER for what in names) == sorted(FAULTS)


@requirement
@pytest.mark.parametrize("names", TOGETHER, ids=", ".join)
def test_a_fault_turns_its_own_row_bad_and_is_news(names: list[str], place: Path) -> None:
    with ExitStack() as faults:
        for what in names:
            faults.enter_context(edited(*FAULTS[what][:4]))
        run = Run(place)
    assert run.status != 0
    bad = run.lines("BAD")
    wanted = [(FAULTS[what][4], subject) for what in names for subject in FAULTS[what][5]]
    for check, subject in wanted:
        assert len([line for line in bad if line.split()[0] == check and subject in line]) == 1, (check, subject, bad)
    assert len(bad) == len(wanted), bad
    assert run.output.count("is now bad") == len(wanted), run.output


@requirement
def test_mail_that_waits_too_long_is_bad(place: Path, gateway: lab.Machine) -> None:
    path = "/var/spool/mqueue/qfselfcheck"
    # Locked, as a message is that somebody works on: the queue's runner leaves it alone.
    gateway.sh(f"touch -d '9 hours ago' {path} && chmod 0600 {path} && chown smmta:smmsp {path}")
    try:
        run = Run(place)
    finally:
        gateway.sh(f"rm -f {path} /var/spool/mqueue/Qfselfcheck")
    (bad,) = run.lines("BAD")
    assert run.status != 0 and bad.startswith("queue") and lab.GATEWAY in bad and "9 hours" in bad


@requirement
def test_a_gateway_that_does_not_answer_is_no_good_gateway(place: Path, gateway: lab.Machine) -> None:
    gateway.run("systemctl", "stop", "sendmail")
    try:
        run = Run(place)
    finally:
        gateway.run("systemctl", "start", "sendmail")
    assert run.status != 0
    assert {line.split()[0] for line in run.lines("BAD")} >= {"relay", "postmaster"}
