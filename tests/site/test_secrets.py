"""Passwords, passphrases and keys: who can read them, and where they must not be found however hard one looks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.site import authority, away, lab, mailflow
from tests.site.test_input import validate

SITE = lab.group("site")
READER = lab.users()[0]


def secrets() -> list[str]:
    """All secrets of the lab in the clear that no host needs: the users' passwords and Tripwire's passphrases."""
    paths = [path for path in sorted((lab.ROOT / ".lab/secrets").iterdir()) if path.is_file()]
    found = [path.read_text(encoding="utf-8").split()[0] for path in paths]
    assert len(found) == len(lab.users()) + len(lab.variables()["site_tripwire_passphrases"])
    return found


def signing_keys() -> list[str]:
    """A line of each private key that signs mail."""
    return [path.read_text(encoding="ascii").splitlines()[5] for path in (lab.ROOT / ".lab/secrets/dkim").glob("*.pem")]


def keys() -> list[str]:
    """A line of the private key of each mail server, and of the authority: what a host has, but nobody is to be shown."""
    names = ["authority", *lab.group("gateways"), *lab.group("stores")]
    return [(authority.PLACE / f"{name}.key").read_text(encoding="utf-8").splitlines()[1] for name in names]


def hashes(store: lab.Machine) -> list[str]:
    """The users' passwords as the store keeps them."""
    found = store.sh(f"getent shadow {' '.join(lab.users())} | cut -d: -f2").split()
    assert all(hashed.startswith("$") for hashed in found)
    return found


def on_all(script: str, text: str = "") -> dict[str, str]:
    """The output of a shell script on all hosts of the site, with the same input, run at once."""
    with ThreadPoolExecutor(len(SITE)) as pool:
        done = list(pool.map(lambda name: lab.Machine(name).run("sh", "-c", script, text=text, check=False, timeout=120), SITE))
    return {name: result.stdout for name, result in zip(SITE, done, strict=True)}


# -- who reads what is kept ------------------------------------------------------------------------------------------

# Places that hold what is private, where a host has them.
PRIVATE = [
    "/etc/shadow*",
    "/etc/gshadow*",
    "/etc/ssh/ssh_host_*_key",
    "/etc/dovecot/private",
    "/etc/mail/certificates/mta.pem",
    "/etc/tripwire/*.key",
    "/etc/wireguard",
    "/etc/bind/rndc.key",
    "/etc/mail/access*",
    "/etc/mail/mailertable*",
    "/etc/mail/aliases*",
    "/root",
    "/var/spool/mqueue",
    "/var/spool/mqueue-client",
    "/var/mail/*",
    "/var/lib/tripwire",
    "/var/log/mail*",
    "/var/log/auth*",
    "/var/log/syslog*",
    "/var/log/remote",
    "/var/log/ulog",
    "/var/log/journal",
    "/run/log/journal",
]


@pytest.fixture
def queued(store: lab.Machine, gateway: lab.Machine) -> Iterator[None]:
    """Something to read in every place: a message in both queues of the servers and one in a mailbox."""
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(READER)], word)
    lab.until(lambda: store.sh(f"grep -rl {word} /var/mail || true"), "the message")
    for machine in (gateway, store):
        for directory, owner in (("mqueue", "smmta"), ("mqueue-client", "smmsp")):
            machine.sh(
                f"umask 077 && echo {word} > /var/spool/{directory}/dfprobe && chown {owner} /var/spool/{directory}/dfprobe"
            )
    yield
    for machine in (gateway, store):
        machine.sh("rm -f /var/spool/mqueue/dfprobe /var/spool/mqueue-client/dfprobe")
    assert mailflow.fetched(READER, word) is not None


@pytest.mark.requirement("SM-11", side="negative")
@pytest.mark.requirement("SM-3", side="negative")
@pytest.mark.requirement("SM-9", side="negative")
@pytest.mark.usefixtures("queued")
def test_no_ordinary_account_opens_a_log_a_queue_a_mailbox_a_key_or_a_map() -> None:
    """Tried as nobody, without any group; root sees the same files, so that there is something to be refused."""
    there = on_all(f"find {' '.join(PRIVATE)} -type f 2>/dev/null")
    assert {name for name, paths in there.items() if "/etc/ssh/ssh_host" not in paths or "/var/log/" not in paths} == set()
    assert all(there[name].count("dfprobe") == 2 for name in (lab.GATEWAY, lab.STORE))
    anybody = "setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --bounding-set=-all"
    attempt = """while read -r path; do if head -c 1 "$path" >/dev/null 2>&1; then echo "$path"; fi; done"""
    opened = on_all(f"find {' '.join(PRIVATE)} -type f 2>/dev/null | {anybody} sh -c '{attempt}'")
    assert {name: paths.split() for name, paths in opened.items() if paths} == {}


@pytest.mark.requirement("SM-11", side="negative")
def test_every_file_that_holds_a_private_key_is_its_owners_alone(each: lab.Machine) -> None:
    patterns = "-e 'PRIVATE KEY-----' -e '^PrivateKey *='"
    found = each.sh(f"grep -rlsI {patterns} /etc /root /home /var/lib /var/mail /opt /srv /run 2>/dev/null || true").split()
    assert any("ssh_host" in path for path in found)
    # A group may read one if nobody is in it: Debian's ssl-cert is there for servers that a host may not have.
    members = {line.split(":")[0] for line in each.sh("getent group").splitlines() if line.split(":")[3]}
    primary = set(each.sh("getent passwd | cut -d: -f4").split())
    rows = [line.split() for line in each.run("stat", "-c", "%a %G %g %n", *found).stdout.splitlines()]
    assert [path for mode, _group, _gid, path in rows if int(mode, 8) & 0o037] == []
    assert [path for mode, group, gid, path in rows if int(mode, 8) & 0o040 and (group in members or gid in primary)] == []


# -- where secrets are not -------------------------------------------------------------------------------------------


@pytest.mark.requirement("MS-3", side="negative")
@pytest.mark.requirement("OPS-2", side="negative")
def test_no_password_or_passphrase_is_in_any_file_or_journal_of_any_host(collector: lab.Machine) -> None:
    """The whole disk of every host is searched, as root; a word put there shows that the search would find one."""
    planted = lab.token()
    collector.run("logger", "-t", "probe", planted)
    collector.sh(f"echo {planted} > /var/tmp/probe")
    text = "\n".join([*secrets(), planted]) + "\n"
    script = (
        "cat > /dev/shm/words; grep -rsFl --devices=skip --exclude-dir=proc --exclude-dir=sys -f /dev/shm/words / | grep -v ^/dev/shm/words"
        "; journalctl --output export --no-pager | grep -aFf /dev/shm/words | sed 's/.*/journal/' | sort -u; rm /dev/shm/words"
    )
    try:
        found = on_all(script, text)
    finally:
        collector.run("rm", "/var/tmp/probe")
    there = set(found[collector.name].split())
    assert {"/var/tmp/probe", "journal"} <= there
    # The collector's own lines hold the word that was put there.
    assert {path for path in there if not path.startswith("/var/log/")} == {"/var/tmp/probe", "journal"}
    assert {name: said for name, said in found.items() if said and name != collector.name} == {}


@dataclass(frozen=True)
class Run:
    """What a converge that changed secrets printed, and what processes were given meanwhile on each host."""

    output: str
    changed: bool
    watched: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told(store: lab.Machine) -> Run:
    """A converge that sets a password, writes keys and tries both passphrases, at full length, with differences; hosts watched."""
    before = hashes(store)
    store.run("usermod", "--password", "!", READER)
    store.run("rm", mailflow.CERTIFICATE, "/etc/dovecot/private/pop3.pem")
    hosts = [lab.STORE]
    words = [*secrets(), *keys(), *before]
    with ExitStack() as stack:
        talks = [stack.enter_context(lab.Machine(host).talk(away.words_session, words=words)) for host in hosts]
        for talk in talks:
            assert talk.read() == "ready"
        done = lab.ansible(
            *["ansible-playbook", "-i", str(lab.INVENTORY), "playbooks/mail.yml", "playbooks/finish.yml", "-vvv", "--diff"],
            *["--limit", ",".join(hosts), "--tags", "pop3,sendmail,tripwire"],
        )
        watched = {host: talk.ask("enough") for host, talk in zip(hosts, talks, strict=True)}
    assert hashes(store) == before
    store.run("test", "-s", mailflow.CERTIFICATE, "-a", "-s", "/etc/dovecot/private/pop3.pem")
    return Run(done.stdout + done.stderr, f"changed: [{lab.STORE}]" in done.stdout, watched)


@pytest.mark.requirement("MS-3", side="negative")
@pytest.mark.requirement("OPS-2", side="negative")
def test_a_converge_that_sets_a_password_shows_no_secret_at_full_length_or_in_a_difference(
    told: Run, store: lab.Machine
) -> None:
    assert told.changed, told.output[-2000:]
    assert [number for number, word in enumerate([*secrets(), *keys(), *hashes(store)]) if word in told.output] == []


@pytest.mark.requirement("MS-3", side="negative")
@pytest.mark.requirement("OPS-2", side="negative")
def test_no_process_is_given_a_secret_as_an_argument_or_in_its_environment(told: Run) -> None:
    for host, seen in told.watched.items():
        assert seen["rounds"] > 10, host
        assert seen["found"] == [], host


def test_the_watch_sees_a_secret_that_a_process_is_given(store: lab.Machine) -> None:
    word = lab.token()
    argv = ["docker", "exec", "-i", store.container, "sh", "-c", "read -r line", word]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        lab.until(lambda: word in store.sh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"), "the process")
        with store.talk(away.words_session, words=[word]) as talk:
            assert talk.read() == "ready"
            assert talk.ask("enough")["found"] == ["cmdline of sh"]
        process.communicate()


@pytest.mark.requirement("MS-3", side="negative")
def test_a_mistake_beside_a_password_is_named_without_the_password() -> None:
    word = lab.token()
    for wrong in ({"shell": word}, {"passwort": word}):
        users = [{"name": name, "password": word, **wrong} for name in lab.users()]
        done = validate(site_users=users)
        assert done.returncode != 0 and next(iter(wrong)) in done.stdout, wrong
        assert word not in done.stdout + done.stderr, next(iter(wrong))


@pytest.mark.requirement("MS-3", side="negative")
def test_a_check_of_the_whole_site_shows_no_secret(store: lab.Machine) -> None:
    """What the last converges of the lab wrote to their logs, and a run that only checks the inventory, at full length."""
    done = lab.ansible("ansible-playbook", "-i", str(lab.INVENTORY), "playbooks/validate.yml", "-vvv")
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in (lab.ROOT / ".lab/log").glob("*.log")]
    words = [*secrets(), *signing_keys(), *keys(), *hashes(store)]
    assert len(words) > 2 * len(lab.users())
    assert [
        number for number, word in enumerate(words) if any(word in text for text in (done.stdout, done.stderr, *logs))
    ] == []
