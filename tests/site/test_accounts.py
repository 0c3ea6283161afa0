"""Who can be somebody on a host: root by key, and nobody else; least of all those who only fetch their mail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.site import lab

USERS = lab.users()
# What runs things later, or for somebody else.
LATER = ["cron", "anacron", "atd"]


@pytest.mark.requirement("OPS-5", side="negative")
@pytest.mark.requirement("GW-3", side="negative")
def test_root_alone_has_a_shell_and_mailbox_owners_alone_a_password(each: lab.Machine) -> None:
    shells = each.sh("getent passwd | awk -F: '$7 !~ /(nologin|false|sync)$/ {print $1}'").split()
    passwords = each.sh("getent shadow | awk -F: '$2 !~ /^[!*]/ {print $1}'").split()
    assert (shells, passwords) == (["root"], USERS if each.name == lab.STORE else [])


@pytest.fixture
def trusting(store: lab.Machine, collector: lab.Machine) -> Iterator[str]:
    """A user who lets the management host in, as far as that is up to a user."""
    (user, home) = (USERS[0], store.sh(f"getent passwd {USERS[0]} | cut -d: -f6").strip())
    key = collector.sh("cat /root/.ssh/*.pub")
    store.run("sh", "-c", f"umask 077 && mkdir {home}/.ssh && cat > {home}/.ssh/authorized_keys", user=user, text=key)
    yield user
    store.run("rm", "-r", f"{home}/.ssh")


@pytest.mark.requirement("MS-3", side="negative")
@pytest.mark.requirement("OPS-4", side="negative")
def test_a_user_s_own_authorized_keys_let_nobody_in(trusting: str, collector: lab.Machine) -> None:
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", f"{trusting}@{lab.fqdn(lab.STORE)}", "id"]
    done = collector.run(*argv, check=False)
    assert done.returncode != 0 and "Permission denied (publickey)." in done.stderr


@pytest.mark.requirement("MS-3", side="negative")
def test_a_user_s_password_makes_nobody_that_user(store: lab.Machine) -> None:
    """By su from another account, or as the user by a change to another one: the right password is typed."""
    for start, target in ((lab.NOBODY, USERS[0]), (USERS[0], USERS[1]), (USERS[0], "root")):
        password = lab.password(target if target in USERS else USERS[0])
        done = store.run("su", target, "-s", "/bin/sh", "-c", "id -un", user=start, text=f"{password}\n", check=False)
        assert done.returncode != 0 and target not in done.stdout, (start, target)


@pytest.mark.requirement("MS-3", side="negative")
@pytest.mark.parametrize("user", USERS)
def test_a_user_has_nothing_run_later(user: str, store: lab.Machine) -> None:
    """No cron and no at is there, and systemd starts nothing for somebody who has not logged in."""
    active = store.run("systemctl", "is-active", *LATER, check=False).stdout.split()
    assert active == ["inactive"] * len(LATER)
    for argv in (["crontab", "-l"], ["at", "-l"], ["systemd-run", "--user", "true"], ["systemd-run", "true"]):
        assert store.run(*argv, user=user, check=False).returncode != 0, argv
    assert store.run("loginctl", "enable-linger", user=user, check=False).returncode != 0
    assert store.sh("ls /var/lib/systemd/linger 2>/dev/null || true") == ""
