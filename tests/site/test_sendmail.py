"""sendmail on every host that has it: permissions, sources and what is made of them, reloads, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.modules.sendmail_config import reproducible

from tests.site import away, lab, mailflow

BINARY = "/usr/libexec/sendmail/sendmail"
SERVERS = sorted({*lab.group("gateways"), *lab.group("stores")})
CLIENTS = sorted(lab.group("mail_clients"))
SMTP = lab.port("smtp")

# Path, owner, group, mode [SM-3, SM-8]. Debian's paths and users stand for the paper's.
TABLE = {
    "/etc/mail": "root root 755",
    "/etc/mail/submit.cf": "root root 444",
    "/var/spool/mqueue": "smmta smmsp 700",
    "/var/spool/mqueue-client": "smmsp smmsp 770",
}
SENDMAIL_CF = {"/etc/mail/sendmail.cf": "root root 444"}


def table(name: str) -> dict[str, str]:
    """What must hold on a host."""
    mode = "root root 555" if name in lab.group("gateways") else "root smmsp 2555"
    return {**TABLE, **(SENDMAIL_CF if name in SERVERS else {}), BINARY: mode}


def found(machine: lab.Machine, paths: list[str]) -> dict[str, str]:
    """Owner, group and mode of files."""
    lines = machine.run("stat", "-c", "%n %U %G %a", *paths).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


@pytest.mark.requirement("SM-3", side="positive")
@pytest.mark.requirement("SM-2", side="positive")
@pytest.mark.parametrize("name", SERVERS + CLIENTS)
def test_the_permission_table_holds(name: str) -> None:
    wanted = table(name)
    have = found(lab.Machine(name), list(wanted))
    if name in lab.group("gateways"):
        # Nobody gains anything by the file's group where the bit is not set.
        have[BINARY] = have[BINARY].replace("smmsp", "root")
    assert have == wanted


@pytest.fixture
def reinstalled(nameserver: lab.Machine) -> Iterator[lab.Machine]:
    """A client whose sendmail package has been installed anew, as an upgrade does; /etc/mail is as before afterwards."""
    nameserver.sh("rm -rf /run/etc-mail && cp -a /etc/mail /run/etc-mail")
    nameserver.sh("DEBIAN_FRONTEND=noninteractive apt-get -qq install --reinstall --no-install-recommends sendmail-bin >&2")
    yield nameserver
    nameserver.sh("rm -rf /etc/mail/* && cp -a /run/etc-mail/. /etc/mail/ && rm -r /run/etc-mail")


@pytest.mark.requirement("SM-3", side="positive")
def test_the_permission_table_and_the_configuration_outlive_an_upgrade_of_the_package(reinstalled: lab.Machine) -> None:
    assert found(reinstalled, list(table(reinstalled.name))) == table(reinstalled.name)
    assert reinstalled.run("cmp", "/run/etc-mail/submit.cf", "/etc/mail/submit.cf").stdout == ""
    lab.until(lambda: reinstalled.host.service("sendmail-msp").is_running, "the queue runner")


@pytest.mark.requirement("SM-1", side="positive")
@pytest.mark.parametrize(
    ("name", "source"), [(name, "sendmail") for name in SERVERS] + [(name, "submit") for name in SERVERS + CLIENTS]
)
def test_the_compiled_configuration_is_what_m4_makes_of_the_source_on_the_host(name: str, source: str) -> None:
    machine = lab.Machine(name)
    compiled = machine.sh(f"cd /etc/mail && m4 {source}.mc")
    assert reproducible(compiled) == machine.sh(f"cat /etc/mail/{source}.cf")


@pytest.mark.requirement("SM-4", side="positive")
@pytest.mark.parametrize("name", lab.group("stores"))
def test_both_daemons_run_each_as_its_own_user(name: str) -> None:
    machine = lab.Machine(name)
    uids = {entry["uids"][1] for entry in machine.call(away.processes, program="sendmail")}
    assert uids == {int(machine.sh(f"id -u {user}")) for user in ("smmta", "smmsp")}


@pytest.mark.requirement("SM-4", side="positive")
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_has_the_queue_runner_alone(name: str) -> None:
    machine = lab.Machine(name)
    uids = {entry["uids"][1] for entry in machine.call(away.processes, program="sendmail")}
    assert uids == {int(machine.sh("id -u smmsp"))}


@pytest.mark.requirement("SM-5", side="positive")
@pytest.mark.parametrize(
    ("mode", "configuration"),
    [
        (["-bs"], "submit.cf"),
        (["-bm", "nobody"], "submit.cf"),
        (["-t"], "submit.cf"),
        (["-Ac", "-bt"], "submit.cf"),
        (["-Am", "-bs"], "sendmail.cf"),
        (["-bt"], "sendmail.cf"),
        (["-bp"], "sendmail.cf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_how_sendmail_is_called_decides_which_configuration_it_reads(
    mode: list[str], configuration: str, store: lab.Machine
) -> None:
    """-d0.10 has it say which file it reads; -d0.4 would too, but nothing is sent: input ends at once."""
    done = store.run("/usr/sbin/sendmail", "-d0.15", *mode, check=False)
    said = done.stdout + done.stderr
    selected = re.findall(r"Conf file:\s+(\S+) \(selected\)", said)
    assert selected == [f"/etc/mail/{configuration}"], said


@pytest.fixture
def other_greeting(gateway: lab.Machine) -> Iterator[str]:
    """A setting of the gateway's, changed in the compiled file but not yet in force; all as before afterwards."""
    word = lab.token()
    gateway.sh("cp -p /etc/mail/sendmail.cf /run/sendmail.cf")
    gateway.sh(f"sed -i 's/^O SmtpGreetingMessage=.*/O SmtpGreetingMessage=$j {word}/' /etc/mail/sendmail.cf")
    yield word
    gateway.sh("mv /run/sendmail.cf /etc/mail/sendmail.cf && systemctl reload sendmail")


@pytest.mark.requirement("SM-6", side="positive")
@pytest.mark.requirement("SM-6", side="negative")
def test_a_reload_puts_a_change_in_force_and_drops_no_session(
    other_greeting: str, gateway: lab.Machine, stranger: lab.Machine
) -> None:
    server = {"address": lab.public(lab.GATEWAY), "port": SMTP}
    pid = gateway.sh("systemctl show -P MainPID sendmail")
    with stranger.talk(away.smtp_session, **server) as session:
        assert other_greeting not in session.read()
        assert session.ask("EHLO probe.example").startswith("250")
        gateway.run("systemctl", "reload", "sendmail")
        lab.until(lambda: other_greeting in stranger.call(away.first_words, **server), "the new greeting in a new session")
        # The session from before goes on to a delivered message.
        word, reader = lab.token(), lab.users()[0]
        *transaction, _quit = lab.letter(mailflow.FOREIGNER, [mailflow.ours(reader)], word)[1:]
        replies = [session.ask(command) for command in transaction]
        assert lab.queue_id(replies[-1])
    assert mailflow.fetched(reader, word) is not None
    assert gateway.sh("systemctl show -P MainPID sendmail") == pid


# -- what the module refuses -----------------------------------------------------------------------------------------


def install(name: str, **arguments: Any) -> subprocess.CompletedProcess[str]:
    """Have the project's module put a configuration in place on a host."""
    argv = ["ansible", "-i", str(lab.INVENTORY), name, "-m", "widgets.mail.sendmail_config", "-a", json.dumps(arguments)]
    return lab.ansible(*argv, check=False)


def sources(machine: lab.Machine) -> dict[str, str]:
    """The sources that are in force on a host."""
    return {name: machine.sh(f"cat /etc/mail/{name}") for name in ("sendmail.mc", "submit.mc")}


def everything(machine: lab.Machine) -> str:
    """Names, times, modes and sums of all of /etc/mail, and the process that reads it."""
    return machine.sh(
        "cd /etc/mail && find . -printf '%p %T@ %m %u %g\\n' | sort && find . -type f | sort | xargs sha256sum"
        " && systemctl show -P MainPID sendmail"
    )


@pytest.mark.requirement("SM-1", side="negative")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda text: text + "define(`confX', `unfinished\n", "sendmail.mc", id="a quote left open"),
        pytest.param(lambda text: text + "FEATURE(`no_such_feature')\n", "sendmail.mc", id="an unknown feature"),
        pytest.param(lambda text: text + "LOCAL_RULESETS\nSlocal_x\nR$* $: $(nomap $1 $)\n", "nomap", id="an unknown map"),
    ],
)
def test_a_source_that_is_not_sound_is_refused_and_leaves_service_and_configuration_as_they_were(
    spoil: Any, words: str, gateway: lab.Machine
) -> None:
    before = everything(gateway)
    good = sources(gateway)
    done = install(gateway.name, sources={**good, "sendmail.mc": spoil(good["sendmail.mc"])})
    assert done.returncode != 0
    assert words in done.stdout and "was left as it is" in done.stdout
    assert everything(gateway) == before


@pytest.mark.requirement("SM-1", side="negative")
def test_a_misspelt_setting_is_refused_since_the_compiled_file_lacks_its_line(gateway: lab.Machine) -> None:
    before = everything(gateway)
    good = sources(gateway)
    wrong = good["sendmail.mc"].replace("`confMAX_HOP'", "`confMAX_HOPS'")
    assert wrong != good["sendmail.mc"]
    expect = {"sendmail.cf": re.findall(r"(?m)^O MaxHopCount=.*", gateway.sh("cat /etc/mail/sendmail.cf"))}
    assert expect["sendmail.cf"]
    done = install(gateway.name, sources={**good, "sendmail.mc": wrong}, expect=expect)
    assert done.returncode != 0
    assert "MaxHopCount" in done.stdout and "misspelt" in done.stdout
    assert everything(gateway) == before


@pytest.mark.requirement("SM-1", side="negative")
def test_a_hand_edit_of_the_compiled_file_is_undone_by_the_next_run(gateway: lab.Machine) -> None:
    before = gateway.sh("sha256sum /etc/mail/sendmail.cf; stat -c '%U %G %a' /etc/mail/sendmail.cf")
    gateway.sh("sed -i 's/^O PrivacyOptions=.*/O PrivacyOptions=public/' /etc/mail/sendmail.cf")
    assert gateway.sh("sha256sum /etc/mail/sendmail.cf") not in before
    done = install(gateway.name, sources=sources(gateway))
    assert done.returncode == 0, done.stdout
    assert gateway.sh("sha256sum /etc/mail/sendmail.cf; stat -c '%U %G %a' /etc/mail/sendmail.cf") == before
    assert '"changed": false' in install(gateway.name, sources=sources(gateway)).stdout


@pytest.fixture
def copied(gateway: lab.Machine) -> Iterator[str]:
    """A copy of the gateway's configuration that reads its own maps, where sendmail's user may read it."""
    directory = f"/run/{lab.token()}"
    gateway.sh(f"cp -a /etc/mail {directory} && sed 's:/etc/mail/:{directory}/:g' /etc/mail/sendmail.cf > {directory}/copy.cf")
    yield directory
    gateway.run("rm", "-r", directory)


@pytest.mark.requirement("SM-10", side="negative")
@pytest.mark.parametrize("part", ["access.db", "mailertable.db", "."])
def test_sendmail_refuses_a_map_or_directory_that_its_group_may_write(part: str, copied: str, gateway: lab.Machine) -> None:
    ask = [BINARY, "-C", f"{copied}/copy.cf", "-bv", "postmaster"]
    assert gateway.run(*ask, check=False).returncode == 0
    gateway.run("chmod", "g+w", f"{copied}/{part}")
    done = gateway.run(*ask, check=False)
    assert done.returncode != 0
    assert re.search(r"(?i)group.writable", done.stdout + done.stderr), done
