"""The notes of how a host was, and files that come back by them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.widgets.mail.plugins.action import put_back as action
from ansible_collections.widgets.mail.plugins.module_utils import before, leave, record, rollback

LISTS = ("going", "needed_by", "spools", "spool_parts", "packages", "keep_packages")
PARAMETERS: dict[str, Any] = {"role": "dns", "packages_of": {}, **{name: [] for name in LISTS}}
INSTALLED = ["bash"]
# What apt-get would take along with a package, and what a package depends on.
ALONG = {"bind9": "bind9", "mta": "mta mta-base tripwire", "openssl": "openssl tripwire"}
NEEDS = {"mta": "mta\n  Depends: mta-base\nmta-base\n", "bind9": "bind9\nadduser\nlibc\nm4\nparts\nwhole\n"}
# What apt-get would not call superfluous.
ALTERNATIVE = {"adduser": "adduser bind9", "libc": "libc bash", "m4": "m4", "parts": "parts whole", "whole": "whole bind9"}


class RefusedError(Exception):
    """What a module ends with."""


class Module:
    """What of AnsibleModule is needed."""

    def __init__(self, check_mode: bool = False, **given: Any) -> None:
        self.check_mode = check_mode
        self.params = {**PARAMETERS, "way": "docker", **given}
        self.ran: list[list[str]] = []

    def fail_json(self, msg: str, **_: Any) -> None:
        raise RefusedError(msg)

    def run_command(self, argv: list[str], **_: Any) -> tuple[int, str, str]:
        self.ran.append(argv)
        return ran(argv)


def ran(argv: list[str], **_: Any) -> tuple[int, str, str]:
    """A host's answers."""
    if argv[:2] == ["apt-get", "-s"]:
        return 0, "".join(f"Purg {name} [1]\n" for name in (ALONG | ALTERNATIVE).get(argv[-1], "").split()), ""
    if argv[0] == "apt-mark":
        return 0, "adduser\nlibc\nparts\nwhole\n", ""
    if argv[0] == "apt-cache":
        return 0, NEEDS.get(argv[-1], argv[-1]), ""
    said = {
        "dpkg-query": "".join(f"installed {name}\n" for name in INSTALLED) + "config-files exim4\n",
        "dpkg-statoverride": "root smmsp 2555 /usr/bin/x\n",
        "list-unit-files": "ssh.service enabled enabled\nrun.service enabled enabled\n",
        "list-units": "ssh.service loaded active running x\nrun.service loaded active running x\n",
    }
    return 0, next((text for name, text in said.items() if name in argv), ""), ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host in a directory, as a role finds it."""
    etc = tmp_path / "etc"
    (etc / "bind").mkdir(parents=True)
    (etc / "bind/named.conf").write_text("old\n")
    (etc / "link").symlink_to("bind")
    (etc / "passwd").write_text("root:x:0:0:::\n")
    (etc / "group").write_text("wheel:x:0:root,ann\n")
    (tmp_path / "spool/new").mkdir(parents=True)
    # A name that a user may give a file, and that is no second entry of the list.
    (tmp_path / "x\n0 0 4755 etc").write_text("")
    monkeypatch.setattr(before, "PLACE", str(tmp_path / "place"))
    monkeypatch.setattr(before, "NOTES", str(tmp_path / "place/roles.json"))
    monkeypatch.setattr(before, "TREE", str(etc))
    monkeypatch.setattr(before, "PASSED_OVER", (str(tmp_path / "place"), str(tmp_path / "spool")))
    monkeypatch.setattr(before, "LEVELS", {})
    monkeypatch.setattr(before, "closed", lambda _mounts: set(before.PASSED_OVER))
    walk = before.walk
    monkeypatch.setattr(before, "walk", lambda shut: [(str(tmp_path), os.lstat(tmp_path)), *walk(shut, str(tmp_path))])
    before.note(ran, ["dns"])
    return etc


def read(host: Path) -> record.Record:
    """The record that the role dns goes by."""
    return record.Record(f"{host.parent}/place/{(before.notes() or {})['dns']['record']}")


def put_back(host: Path, patterns: list[str], check: bool = False) -> list[str]:
    """What is done for some patterns."""
    work = leave.Leave(Module(check), read(host))
    work.files(patterns)
    return list(work.changes)


def test_the_record_is_roots_alone_and_knows_what_there_was(host: Path) -> None:
    assert stat.S_IMODE(os.lstat(f"{host.parent}/place/before-1.tar.gz").st_mode) == 0o600
    found = read(host)
    assert found.state["packages"] == ["bash"] and "ssh.service" in found.state["active"]
    assert found.state["units"]["ssh.service"] == "enabled"
    assert found.content(f"{host}/bind/named.conf") == b"old\n"
    assert found.matching(f"{host}/b*") == [f"{host}/bind"]
    assert found.names(f"{host}/passwd") == {"root"}
    assert found.stat(str(host / "passwd")) == record.Stat(os.getuid(), os.getgid(), 0o644)
    assert found.setid() == []


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("etc/bind", True),
        ("etc/new", False),
        ("etc/new/deep/er", False),
        ("spool", True),
        ("spool/new", None),
        ("spool/new/1", None),
    ],
)
def test_what_nobody_looked_at_is_not_taken_for_gone(host: Path, name: str, there: bool | None) -> None:
    assert read(host).existed(f"{host.parent}/{name}") is there


def test_file_systems_that_hold_no_programs_are_not_looked_into() -> None:
    mounts = "overlay / overlay rw 0 0\n/dev/sda2 /srv/mail ext4 rw 0 0\nfiler:/mail /mail nfs4 rw 0 0\ntmpfs /scratch tmpfs rw 0 0\n"
    assert before.closed(mounts) == {*before.PASSED_OVER, "/mail", "/scratch"}


def test_of_large_directories_so_many_levels_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mail/alice/new").mkdir(parents=True)
    (tmp_path / "mailings/a/b").mkdir(parents=True)
    monkeypatch.setattr(before, "LEVELS", {str(tmp_path / "mail"): 1})
    shut: set[str] = set()
    found = {path[len(str(tmp_path)) + 1 :] for path, _stat in before.walk(shut, str(tmp_path))}
    assert found == {"mail", "mail/alice", "mailings", "mailings/a", "mailings/a/b"}
    assert shut == {str(tmp_path / "mail/alice")}


def test_each_role_has_a_note_of_when_it_came_and_takes_it_along(host: Path) -> None:
    (host / "later").write_text("x")
    before.note(ran, ["dns", "ssh"])
    records = {role: note["record"] for role, note in (before.notes() or {}).items()}
    assert records == {"dns": "before-1.tar.gz", "ssh": "before-2.tar.gz"}
    assert read(host).existed(str(host / "later")) is False
    assert record.Record(f"{host.parent}/place/before-2.tar.gz").existed(str(host / "later"))
    before.forget("dns")
    assert sorted(os.listdir(before.PLACE)) == ["before-2.tar.gz", "roles.json"]
    assert before.unnoted(["dns"]) and not before.unnoted(["ssh"])


def test_a_role_that_was_there_before_there_were_notes_has_nothing_to_go_by(host: Path) -> None:
    before.forget("dns")
    (host / "bind/named.conf").write_text("// Managed by Ansible (role dns): changes made here are undone.\n")
    before.note(ran, ["dns", "ssh"])
    assert before.notes() == {"dns": {"record": None}, "ssh": {"record": None}}


def test_a_role_that_comes_back_amidst_its_leave_goes_by_its_first_note(host: Path) -> None:
    before.leaving("dns")
    assert before.unnoted(["dns"])
    before.note(ran, ["dns"])
    assert before.notes() == {"dns": {"record": "before-1.tar.gz"}}


def test_what_was_there_is_as_it_was_and_what_was_not_is_gone(host: Path) -> None:
    (host / "bind/named.conf").write_text("new\n")
    (host / "link").unlink()
    (host / "link").write_text("no link")
    (host / "zones/a").mkdir(parents=True)
    patterns = [f"{host}/bind", f"{host}/li*", f"{host}/zones"]
    foretold = put_back(host, patterns, check=True)
    assert (host / "zones/a").exists()
    assert put_back(host, patterns) == foretold
    assert (host / "bind/named.conf").read_text() == "old\n" and not (host / "zones").exists()
    assert os.readlink(host / "link") == "bind"
    assert put_back(host, patterns) == []


def test_in_a_directory_that_was_there_only_what_a_role_wrote_goes(host: Path) -> None:
    (host / "bind/own").write_text("somebody else's\n")
    (host / "bind/ours").write_text("# Ansible managed by the role dns.\n")
    assert put_back(host, [f"{host}/bind"]) == [f"{host}/bind/ours removed"]
    assert (host / "bind/own").exists()


def test_what_is_gone_comes_back_with_its_mode(host: Path) -> None:
    (host / "bind/named.conf").unlink()
    (host / "bind").rmdir()
    assert put_back(host, [f"{host}/bind"]) == [f"{host}/bind as it was", f"{host}/bind/named.conf as it was"]
    (host / "bind/named.conf").chmod(0o600)
    assert put_back(host, [f"{host}/bind"]) == [f"{host}/bind/named.conf as it was"]
    assert stat.S_IMODE((host / "bind/named.conf").stat().st_mode) == 0o644


def test_what_nobody_names_or_looked_at_is_left_alone(host: Path) -> None:
    (host / "other").write_text("x")
    (host.parent / "spool/new/1").write_text("a message")
    assert put_back(host, [f"{host}/bind", f"{host.parent}/spool/new", f"{host.parent}/spool/new/*"]) == []
    assert (host / "other").exists() and (host.parent / "spool/new/1").exists()


def test_a_directory_that_came_with_a_file_goes_with_it_unless_somebody_uses_it(host: Path) -> None:
    for name in ("one/ours", "two/ours", "two/own"):
        (host / name).parent.mkdir(exist_ok=True)
        (host / name).write_text("x")
    put_back(host, [f"{host}/one/ours", f"{host}/two/ours"])
    assert not (host / "one").exists() and (host / "two/own").exists()


@pytest.mark.parametrize("name", ["new/1", "alice/.Sent/cur/1", "alice/tmp/1"])
def test_a_message_anywhere_in_a_spool_stands_against_it(host: Path, name: str) -> None:
    spool = host.parent / "spool"
    (spool / name).parent.mkdir(parents=True, exist_ok=True)
    (spool / "alice").mkdir(exist_ok=True)
    (spool / "alice/dovecot.index").write_text("")
    given: dict[str, Any] = {"spools": [str(spool)], "spool_parts": ["new", "cur", "tmp"]}
    leave.Leave(Module(**given), read(host)).refuse()
    (spool / name).write_text("a message")
    with pytest.raises(RefusedError, match=f"There still is {spool / name}. Nothing was changed"):
        leave.Leave(Module(**given), read(host)).refuse()


def test_what_comes_while_units_stop_has_them_started_again(host: Path) -> None:
    spool = host.parent / "spool"
    module = Module(spools=[str(spool)])
    going = leave.Leave(module, read(host))
    (spool / "new/1").write_text("a message")
    with pytest.raises(RefusedError, match="came while units were stopped"):
        going.stop(["ssh.service", "run.service"])
    told = [argv[1:] for argv in module.ran if argv[0] == "systemctl" and argv[1] in ("stop", "start")]
    assert told == [["stop", "ssh.service"], ["stop", "run.service"], ["start", "ssh.service"], ["start", "run.service"]]


def test_another_role_that_needs_it_stands_against_it_unless_it_goes_as_well(host: Path) -> None:
    (host / "cf").write_text("S=local:/run/filter\n")
    need = {"role": "sendmail", "path": str(host / "cf"), "holds": "/run/filter"}
    with pytest.raises(RefusedError, match=r"The role sendmail still needs the role dns \(.*cf\). Nothing was changed"):
        leave.Leave(Module(needed_by=[need]), read(host)).refuse()
    leave.Leave(Module(needed_by=[need], going=["sendmail"]), read(host)).refuse()
    leave.Leave(Module(needed_by=[need | {"holds": "/run/other"}]), read(host)).refuse()


def test_the_file_that_says_so_is_the_configuration_that_the_other_role_names() -> None:
    need = {"role": "sendmail", "holds": "/run/filter"}
    assert action.configured(need) == {**need, "path": "/etc/mail/sendmail.cf"}
    assert action.configured(need | {"path": "/etc/other"})["path"] == "/etc/other"
    for role in ("dns", "no-such-role"):
        with pytest.raises(
            AnsibleActionFail, match=f"the role {role} has no __{role}_configuration in its variables: name a path"
        ):
            action.configured({"role": role})


@pytest.mark.parametrize(("way", "refused"), [("ssh", True), ("ansible.builtin.ssh", True), ("local", False)])
def test_the_program_that_the_connection_goes_by_stays(host: Path, way: str, refused: bool) -> None:
    work = leave.Leave(Module(packages=["openssh-server"], way=way), read(host))
    if refused:
        with pytest.raises(RefusedError, match="this connection goes by it"):
            work.refuse()
    else:
        work.refuse()


def test_what_apt_would_take_along_is_read_from_its_own_words() -> None:
    said = "NOTE: This is only a simulation!\nRemv tripwire [2.4]\nPurg m4 [1.4.19-3]\nInst x\n"
    assert leave.simulated(said) == {"tripwire", "m4"}


@pytest.fixture
def later(host: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host when packages have come to it."""
    monkeypatch.setitem(globals(), "INSTALLED", ["bash", "bind9", "mta", "mta-base", "openssl", "sudo", "tripwire"])
    return host


@pytest.mark.parametrize(
    ("given", "going"),
    [
        ({"packages": ["bash", "bind9", "sudo", "absent"]}, {"bind9"}),
        ({"packages": ["bind9", "openssl"], "keep_packages": ["openssl"]}, {"bind9"}),
        ({"packages": ["bind9", "openssl"], "packages_of": {"ssh": ["openssl"], "pop3": ["bind9"]}}, {"bind9"}),
        ({"packages": ["bind9", "openssl"], "packages_of": {"dns": ["openssl", "bind9"]}}, {"bind9", "openssl"}),
    ],
    ids=["what was there and sudo", "what is kept", "what a role that is here has", "its own"],
)
def test_packages_go_that_the_role_brought_and_nobody_else_has(later: Path, given: dict[str, Any], going: set[str]) -> None:
    before.note(ran, ["ssh"])
    assert leave.Leave(Module(**given), read(later)).leaving() == going


def test_what_is_not_the_role_s_does_not_go_along(later: Path) -> None:
    with pytest.raises(RefusedError, match=r"^tripwire would go along with mta, .*\. Nothing was changed"):
        leave.Leave(Module(packages=["mta"]), read(later)).refuse()
    leave.Leave(Module(packages=["mta"], going=["scan"], packages_of={"scan": ["tripwire"]}), read(later)).refuse()
    # A tool that others use by now stays without a word.
    leave.Leave(Module(packages=["openssl"]), read(later)).refuse()
    module = Module(packages=["openssl"])
    leave.Leave(module, read(later)).purge()
    assert not any("purge" in argv and "-s" not in argv for argv in module.ran)


def test_what_came_along_goes_though_something_older_would_do_with_it_as_well(later: Path) -> None:
    """Debian 13's apt depends on base-passwd or adduser: once that is there, apt never calls it superfluous.

    And what Debian calls required it does not either, such as what ucf needs, and what that needs.
    """
    module = Module(packages=["bind9"])
    leave.Leave(module, read(later)).purge()
    # Neither what would take something of the host's along, nor what somebody has asked for by name.
    assert [argv for argv in module.ran if "purge" in argv and "-s" not in argv] == [
        ["apt-get", "-y", "purge", "adduser", "bind9", "parts", "whole"]
    ]


def test_what_a_run_that_was_broken_off_put_back_is_confirmed_by_the_next(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds nothing to do, and the timer of the first would bring the role's files again."""
    monkeypatch.setattr(rollback, "unconfirmed", lambda _run, name: [f"/etc/{name}"] if name == "dns-absent" else [])
    armed: list[str] = []
    monkeypatch.setattr(rollback, "arm", lambda _run, name, *_: armed.append(name))
    back = {"name": "dns-absent", "unit": "run.service", "seconds": 120, "commands": []}
    for name, wanted in (("dns-absent", True), ("another", False)):
        work = leave.Leave(Module(rollback=back | {"name": name}, paths=[]), read(host))
        work.arm()
        assert work.to_confirm is wanted
    assert armed == ["dns-absent"]
    rehearsal = leave.Leave(Module(check_mode=True, rollback=back, paths=[]), read(host))
    rehearsal.arm()
    assert armed == ["dns-absent"] and not rehearsal.to_confirm
