"""The users and groups of the mail system: who they are, that nobody can be them, and whose numbers they may not take."""

from __future__ import annotations

import json
import re

import pytest

from tests.site import lab

SERVERS = sorted({*lab.group("gateways"), *lab.group("stores")})
HOSTS = sorted({*SERVERS, *lab.group("mail_clients")})
# Of each configuration, the options that name a user.
SPECIAL = {"sendmail.cf": {"DefaultUser", "TrustedUser", "RunAsUser"}, "submit.cf": {"TrustedUser", "RunAsUser"}}


@pytest.mark.requirement("SM-7", side="positive")
@pytest.mark.parametrize(
    ("name", "source"), [(name, "sendmail.cf") for name in SERVERS] + [(name, "submit.cf") for name in HOSTS]
)
def test_the_special_users_are_set_and_exist_without_shell_and_password(name: str, source: str) -> None:
    machine = lab.Machine(name)
    options = dict(re.findall(r"(?m)^O (\w+User)=([^:\n]+)", machine.sh(f"cat /etc/mail/{source}")))
    assert set(options) >= SPECIAL[source]
    for user in {options[option] for option in SPECIAL[source]}:
        assert machine.run("getent", "passwd", user).stdout.strip().endswith("/nologin"), user
        assert machine.run("getent", "shadow", user).stdout.split(":")[1] in {"*", "!", "!*"}, user
        assert machine.sh(f"id -u {user}").strip() != "0"


@pytest.mark.requirement("SM-8", side="positive")
@pytest.mark.parametrize("name", HOSTS)
def test_the_two_groups_are_sendmails_alone_and_roots_alone(name: str) -> None:
    machine = lab.Machine(name)
    accounts = [line.split(":") for line in machine.sh("getent passwd").splitlines()]
    for group, own, more in (("smmsp", {"smmsp", "smmta"}, set()), ("wheel", set(), {"root"})):
        _name, _password, gid, members = machine.run("getent", "group", group).stdout.strip().split(":")
        assert {account[0] for account in accounts if account[3] == gid} == own, group
        assert set(members.split(",")) - {""} == more, group


@pytest.mark.requirement("SM-8", side="negative")
@pytest.mark.parametrize("variable", ["smmsp_gid", "smmsp_wheel_gid"])
def test_a_gid_that_another_group_holds_is_refused_by_name_before_anything_changes(
    variable: str, nameserver: lab.Machine
) -> None:
    before = nameserver.sh("getent group; getent passwd")
    # A number of the distribution's own would be refused without a look at the host.
    taken = int(nameserver.sh("getent group bind | cut -d: -f3"))
    extra = json.dumps({variable: taken})
    argv = ["ansible", "-i", str(lab.INVENTORY), nameserver.name, "-m", "include_role", "-a", "name=widgets.mail.smmsp"]
    done = lab.ansible(*argv, "-e", extra, check=False)
    assert done.returncode != 0
    assert f"{variable} is {taken}, but the group bind holds that number on this host" in done.stdout
    assert "CHANGED" not in done.stdout and nameserver.sh("getent group; getent passwd") == before
