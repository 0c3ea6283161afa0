"""sendmail on every host that has it: permissions, sources and what is made of them, reloads, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.modules.sendmail_config import reproducible

from tests.site import away, lab, mailflow
from tools import bench

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
MAPS = {name: ["access", "mailertable"] if name in lab.group("gateways") else ["access", "aliases"] for name in SERVERS}


def table(name: str) -> dict[str, str]:
    """What must hold on a host. sendmail itself minds who may write the directory of a map, not who may write the map."""
    wanted = {**TABLE, BINARY: "root smmsp 555" if name in lab.group("gateways") else "root smmsp 2555"}
    if name in SERVERS:
        wanted["/etc/mail/sendmail.cf"] = "root root 444"
        wanted |= {f"/etc/mail/{file}{suffix}": "root smmsp 640" for file in MAPS[name] for suffix in ("", ".db")}
    return wanted


def found(machine: lab.Machine, paths: list[str]) -> dict[str, str]:
    """Owner, group and mode of files."""
    lines = machine.run("stat", "-c", "%n %U %G %a", *paths).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


@pytest.mark.requirement("SM-3", side="positive")
@pytest.mark.requirement("SM-2", side="positive")
@pytest.mark.parametrize("name", SERVERS + CLIENTS)
def test_the_permission_table_holds(name: str) -> None:
    assert found(lab.Machine(name), list(table(name))) == table(name)


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
    # The package's script ends every sendmail, and systemd starts the queue runner again.
    lab.until(lambda: reinstalled.host.service("sendmail-msp").is_running, "the queue runner")
    # What the package would start is an MTA that was never configured, begun by root.
    assert reinstalled.run("systemctl", "is-active", "sendmail", check=False).stdout.strip() == "inactive"


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
        # The daemon begins anew: for a moment nobody listens.
        others = {"targets": [list(server.values())], "timeout": 15}
        lab.until(lambda: other_greeting in stranger.call(away.first_words, **others)[0], "the new greeting, elsewhere")
        # The session from before goes on to a delivered message.
        word, reader = lab.token(), lab.users()[0]
        *transaction, _quit = lab.letter(mailflow.FOREIGNER, [mailflow.ours(reader)], word)[1:]
        replies = [session.ask(command) for command in transaction]
        assert lab.queue_id(replies[-1])
    assert mailflow.fetched(reader, word) is not None
    assert gateway.sh("systemctl show -P MainPID sendmail") == pid


# -- what the module refuses -----------------------------------------------------------------------------------------


def install(name: str, **arguments: Any) -> dict[str, Any]:
    """Have the project's module put a configuration in place on a host, and give what it says."""
    argv = ["ansible", "-i", str(lab.INVENTORY), name, "-m", "widgets.mail.sendmail_config", "-a", json.dumps(arguments)]
    said = re.sub(r"\x1b\[[0-9;]*m", "", lab.ansible(*argv, check=False).stdout)
    _head, found, result = said.rpartition("=> {")
    assert found, said
    out: dict[str, Any] = json.loads("{" + result)
    return out


def in_force(machine: lab.Machine) -> dict[str, Any]:
    """The texts that a gateway's configuration was made of, as the module takes them."""
    directory = "/etc/mail"
    return {
        "sources": {name: machine.sh(f"cat {directory}/{name}") for name in ("sendmail.mc", "submit.mc")},
        "maps": {name: machine.sh(f"cat {directory}/{name}") for name in MAPS[machine.name]},
        "files": {"helpfile": machine.sh(f"cat {directory}/helpfile")},
    }


@pytest.fixture
def live(gateway: lab.Machine) -> Iterator[dict[str, Any]]:
    """What the gateway's configuration was made of, to spoil; the live one is put back should the spoilt one get through."""
    gateway.sh("rm -rf /run/live && cp -a /etc/mail /run/live")
    yield in_force(gateway)
    gateway.sh("diff -r /run/live /etc/mail || cp -a /run/live/. /etc/mail/; rm -r /run/live")


def everything(machine: lab.Machine) -> str:
    """Names, times, modes and sums of all of /etc/mail, and the process that reads it."""
    return machine.sh(
        "cd /etc/mail && find . -printf '%p %T@ %m %u %g\\n' | sort && find . -type f | sort | xargs sha256sum"
        " && systemctl show -P MainPID sendmail"
    )


@pytest.mark.requirement("SM-1", side="negative")
@pytest.mark.parametrize(
    ("part", "name", "change", "words"),
    [
        pytest.param("sources", "sendmail.mc", "{}define(`confX', `unfinished\n", "m4 ended with status", id="open quote"),
        pytest.param("sources", "sendmail.mc", "{}FEATURE(`no_such_feature')\n", "m4 ended with status", id="unknown feature"),
        pytest.param("sources", "sendmail.mc", "{}LOCAL_RULE_0\nR$* $: $1\n", "tab expected", id="rule without a tab"),
        pytest.param("maps", "mailertable", f"{lab.domain()}\tpigeon:[127.0.0.1]\n", "pigeon", id="unknown mailer"),
    ],
)
def test_a_source_that_is_not_sound_is_refused_and_leaves_service_and_configuration_as_they_were(
    part: str, name: str, change: str, words: str, live: dict[str, Any], gateway: lab.Machine
) -> None:
    before = everything(gateway)
    live[part][name] = change.replace("{}", live[part][name])
    said = install(gateway.name, **live)
    assert said.get("failed", True) and not said["changed"]
    assert said["msg"].startswith("sendmail.") and words in said["msg"] and said["msg"].endswith("was left as it is.")
    assert everything(gateway) == before


@pytest.mark.requirement("SM-1", side="negative")
def test_a_misspelt_setting_is_refused_since_the_compiled_file_lacks_its_line(
    live: dict[str, Any], gateway: lab.Machine
) -> None:
    before = everything(gateway)
    expect = re.findall(r"(?m)^O MaxHopCount=.*", gateway.sh("cat /etc/mail/sendmail.cf"))
    right = live["sources"]["sendmail.mc"]
    live["sources"]["sendmail.mc"] = right.replace("`confMAX_HOP'", "`confMAX_HOPS'")
    assert expect and live["sources"]["sendmail.mc"] != right
    said = install(gateway.name, **live, expect={"sendmail.cf": expect})
    assert expect[0] in said["msg"] and "misspelt" in said["msg"]
    assert everything(gateway) == before


@pytest.fixture
def edited(gateway: lab.Machine) -> Iterator[str]:
    """The gateway's compiled configuration edited by hand, and its sum from before; put back where the test did not."""
    gateway.sh("cp -p /etc/mail/sendmail.cf /run/sendmail.cf")
    gateway.sh("sed -i 's/^O PrivacyOptions=.*/O PrivacyOptions=public/' /etc/mail/sendmail.cf")
    yield gateway.sh("sha256sum < /run/sendmail.cf")
    gateway.sh("mv /run/sendmail.cf /etc/mail/sendmail.cf")


@pytest.mark.requirement("SM-1", side="negative")
def test_a_hand_edit_of_the_compiled_file_is_undone_by_the_next_run(edited: str, gateway: lab.Machine) -> None:
    assert gateway.sh("sha256sum < /etc/mail/sendmail.cf") != edited
    said = install(gateway.name, **in_force(gateway))
    assert said["files"] == ["sendmail.cf"], said
    assert gateway.sh("sha256sum < /etc/mail/sendmail.cf") == edited
    assert install(gateway.name, **in_force(gateway))["changed"] is False


@pytest.fixture
def copied(gateway: lab.Machine) -> Iterator[str]:
    """A copy of the gateway's configuration that reads its own maps, where sendmail's user may read it."""
    directory = f"/run/{lab.token()}"
    gateway.sh(f"cp -a /etc/mail {directory} && sed 's:/etc/mail/:{directory}/:g' /etc/mail/sendmail.cf > {directory}/copy.cf")
    yield directory
    gateway.run("rm", "-r", directory)


@pytest.mark.requirement("SM-10", side="negative")
@pytest.mark.parametrize("mode", ["g+w", "o+w"])
def test_sendmail_refuses_maps_in_a_directory_that_others_may_write(mode: str, copied: str, gateway: lab.Machine) -> None:
    ask = [BINARY, "-C", f"{copied}/copy.cf", "-bv", "postmaster"]
    assert gateway.run(*ask, check=False).returncode == 0
    gateway.run("chmod", mode, copied)
    done = gateway.run(*ask, check=False)
    assert done.returncode != 0
    assert re.search(r"(?i)(group|world).writable", done.stdout + done.stderr), done


@pytest.mark.requirement("SM-1", side="positive")
def test_a_site_without_filters_tls_and_submission_has_a_configuration_that_sendmail_takes() -> None:
    """The gateway that the bench calls bare: check mode compiles it and asks sendmail; nothing is installed."""
    places = {name: lab.Machine(name) for name in (lab.GATEWAY, lab.STORE)}
    before = {name: machine.sh("cat /etc/mail/sendmail.cf") for name, machine in places.items()}
    assert all("\nO Milter.LogLevel=8\n" in text for text in before.values())
    done = lab.ansible(
        *["ansible-playbook", "playbooks/mail.yml", "--limit", ",".join(places), "--tags", "sendmail", "--check", "--diff"],
        *["-e", json.dumps(bench.BARE)],
        check=False,
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert done.returncode == 0, said[-3000:]
    for name, machine in places.items():
        assert re.search(rf"(?m)^{name} +: .*changed=[1-9]", said), said[-1000:]
        assert machine.sh("cat /etc/mail/sendmail.cf") == before[name]
    # The options of what is left out are gone from both, and only those.
    assert len(re.findall(r"(?m)^-O Milter\.LogLevel=8$", said)) == len(places)
