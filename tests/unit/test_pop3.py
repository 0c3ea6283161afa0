"""The store's accounts: hashes that stay the same, steps that are only taken where needed, and who is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.widgets.mail.plugins.filter import pop3
from ansible_collections.widgets.mail.plugins.module_utils import files
from ansible_collections.widgets.mail.plugins.modules import pop3_accounts
from ansible_collections.widgets.mail.plugins.modules.pop3_accounts import Found, Shadow

HASH = "$6$rounds=20000$abcdefghijklmnop$" + "x" * 86
HOME, SHELL = "/var/mail/alice", "/usr/sbin/nologin"
ALICE = {"name": "alice", "state": "present", "password": HASH}
USUAL = {"quota_storage": 5, "quota_messages": 0}
GONE = {"name": "alice", "state": "absent"}
ASLEEP = {"name": "alice", "state": "suspended"}
THERE = Found(1000, 1000, HOME, SHELL)


def test_a_salt_stays_the_same_and_differs_between_users_and_sites() -> None:
    salt = pop3.pop3_salt("store", "alice")
    assert salt == pop3.pop3_salt("store", "alice")
    assert len({salt, pop3.pop3_salt("store", "bob"), pop3.pop3_salt("other", "alice")}) == 3
    assert len(salt) == 16 and set(salt) <= set(pop3.SALT_LETTERS)


def test_a_password_becomes_the_same_hash_each_time_and_is_not_handed_on() -> None:
    users: list[dict[str, Any]] = [
        {"name": "alice", "password": "secret", "uid": None},
        {"name": "bob", "password_hash": HASH, "uid": 1010},
    ]
    first, second = (
        pop3.pop3_accounts(users, "store", "a.example", USUAL, "2.4"),
        pop3.pop3_accounts(users, "store", "a.example", USUAL, "2.4"),
    )
    assert first == second
    assert first[0]["password"].startswith(f"$6$rounds=20000${pop3.pop3_salt('store', 'alice')}$")
    assert first[1] == {
        "name": "bob",
        "uid": 1010,
        "state": "present",
        "password": HASH,
        "fields": {"sieve_user_email": "bob@a.example"},
    }
    assert "secret" not in str(first)


def test_who_is_gone_needs_no_password() -> None:
    known = {"fields": {"sieve_user_email": "al@b.example"}}
    users = [{**user, "email": "al@b.example"} for user in (GONE, ASLEEP)]
    assert pop3.pop3_accounts(users, "store", "a.example", USUAL, "2.4") == [{**GONE, **known}, {**ASLEEP, **known}]
    assert pop3.pop3_errors([GONE], []) == pop3.pop3_errors([ASLEEP], []) == []


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"name": "Alice", "password": "x"}, "not a user name"),
        ({"name": "../etc", "password": "x"}, "not a user name"),
        ({"name": "a:b", "password": "x"}, "not a user name"),
        ({"name": "a\n", "password": "x"}, "not a user name"),
        ({"name": "a", "password_hash": f"{HASH}\n"}, "none that crypt(5) knows"),
        ({"name": "a"}, "needs one of password and password_hash"),
        ({"name": "a", "password": ""}, "needs one of password and password_hash"),
        ({"name": "a", "password": "x", "password_hash": HASH}, "needs one of password and password_hash"),
        ({"name": "a", "password_hash": "hunter2"}, "none that crypt(5) knows"),
        ({"name": "a", "password_hash": f"{HASH}\nroot:x"}, "none that crypt(5) knows"),
        ({"name": "a", "password": "x", "email": "a b@c.example"}, "give a mail address"),
        ({"name": "a", "password_hash": f"{HASH}:0"}, "none that crypt(5) knows"),
    ],
)
def test_a_bad_user_is_named_and_no_secret_told(user: dict[str, Any], message: str) -> None:
    (error,) = pop3.pop3_errors([user], [])
    assert message in error and repr(user["name"]) in error
    assert "hunter2" not in error


def test_other_mistakes_are_named() -> None:
    twice = [{"name": "a", "password": "x"}, {"name": "a", "password": "y"}]
    text = "\n".join(pop3.pop3_errors(twice, ["10.1.0.5/24", "10.1.0.0/24"]))
    assert "'a': given twice" in text and "10.1.0.5/24 has host bits set" in text and "10.1.0.0/24" not in text


def words(account: dict[str, Any], found: Found | None, shadow: Shadow | None) -> list[str]:
    return [text for text, _ in pop3_accounts.steps(account, found, shadow, HOME, SHELL)]


@pytest.mark.parametrize(
    ("account", "found", "shadow", "expected"),
    [
        (ALICE, None, None, ["alice: make the account", "alice: password"]),
        (ALICE, THERE, Shadow(HASH, ""), []),
        (ALICE, THERE, Shadow("$6$other", ""), ["alice: password"]),
        (ALICE, THERE, Shadow(f"!{HASH}", "1"), ["alice: open again", "alice: password"]),
        (ALICE, THERE._replace(shell="/bin/false"), Shadow(HASH, ""), [f"alice: shell {SHELL}"]),
        (ALICE, THERE._replace(home="/home/alice"), Shadow(HASH, ""), [f"alice: home {HOME}"]),
        (GONE, None, None, []),
        (GONE, THERE, Shadow(HASH, ""), ["alice: lock", "alice: expire"]),
        (GONE, THERE, Shadow(f"!{HASH}", "1"), []),
        (ASLEEP, None, None, ["alice: make the account", "alice: expire"]),
        (ASLEEP, THERE, Shadow(HASH, ""), ["alice: lock", "alice: expire"]),
        (ASLEEP, THERE._replace(home="/home/alice"), Shadow(f"!{HASH}", "1"), [f"alice: home {HOME}"]),
    ],
)
def test_only_what_differs_is_done(
    account: dict[str, Any], found: Found | None, shadow: Shadow | None, expected: list[str]
) -> None:
    assert words(account, found, shadow) == expected


def test_no_command_carries_a_hash() -> None:
    for _, command in pop3_accounts.steps(ALICE, None, None, HOME, SHELL):
        assert HASH not in command


@pytest.mark.parametrize(
    ("account", "found", "message"),
    [
        (ALICE, Found(0, 0, "/root", "/bin/bash"), "is a system account"),
        (ALICE, Found(65534, 65534, "/", SHELL), "is a system account"),
        (ALICE, THERE._replace(shell="/bin/bash"), "can log in here"),
        ({**ALICE, "uid": 1001}, THERE, "has uid 1000, not 1001"),
        (GONE, Found(0, 0, "/root", "/bin/bash"), "is a system account"),
    ],
)
def test_accounts_that_are_not_for_mail_are_refused(account: dict[str, Any], found: Found, message: str) -> None:
    assert message in str(pop3_accounts.refusal(account, found, 1000))


def test_accounts_for_mail_are_taken() -> None:
    assert pop3_accounts.refusal(ALICE, THERE, 1000) is None
    assert pop3_accounts.refusal({**ALICE, "uid": 1000}, THERE, 1000) is None
    assert pop3_accounts.refusal(ALICE, None, 1000) is None


def test_shadow_is_read_by_its_fields() -> None:
    text = "root:*:19000:0:99999:7:::\nalice:$6$x:19000:0:99999:7::1:\nbroken:line\n"
    assert pop3_accounts.parse_shadow(text) == {"root": Shadow("*", ""), "alice": Shadow("$6$x", "1")}


def test_the_list_leaves_the_password_to_pam() -> None:
    line = "alice::1000:1000::/var/mail/alice/home::noauthenticate=y"
    assert pop3_accounts.list_line("alice", THERE, HOME, {}) == line
    assert pop3_accounts.list_line("alice", THERE, HOME, {"b": "2", "a": "1"}) == f"{line} userdb_a=1 userdb_b=2"


def run_module(arguments: dict[str, Any], capsys: Any, monkeypatch: Any) -> dict[str, Any]:
    """What the module says, where nobody has to be root: what is made is the caller's."""
    monkeypatch.setattr(os, "chown", lambda *_: None)
    monkeypatch.setattr(files, "replace", lambda *_: None)
    monkeypatch.setattr(pop3_accounts, "SHADOW", os.devnull)
    with patch_module_args(arguments), pytest.raises(SystemExit):
        pop3_accounts.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_directories_above_the_spool_are_made_and_foretold(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    spool = tmp_path / "mail/store/boxes"
    asked = {"accounts": [], "spool": str(spool), "list": str(tmp_path / "list")}
    foretold = run_module({**asked, "_ansible_check_mode": True}, capsys, monkeypatch)
    assert list(tmp_path.iterdir()) == []
    old = os.umask(0o077)
    try:
        done = run_module(asked, capsys, monkeypatch)
    finally:
        os.umask(old)
    assert done["changes"] == foretold["changes"]
    assert [said.partition(": ")[0] for said in done["changes"][:3]] == [
        str(path) for path in (spool.parents[1], spool.parents[0], spool)
    ]
    # Whose mailbox is below gets there, whatever the umask of root.
    assert [oct(path.stat().st_mode & 0o7777) for path in (*spool.parents[:2], spool)] == ["0o755", "0o755", "0o1755"]


@pytest.mark.parametrize("check", [True, False])
def test_a_file_above_the_spool_is_left_to_a_person(check: bool, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    (tmp_path / "mail").touch()
    asked = {"accounts": [], "spool": str(tmp_path / "mail/store/boxes"), "list": str(tmp_path / "list")}
    answer = run_module({**asked, "_ansible_check_mode": check}, capsys, monkeypatch)
    assert answer["failed"] and answer["msg"] == f"{tmp_path}/mail is no directory: move it away"


def test_rules_become_a_script_in_their_order_with_nothing_left_open() -> None:
    rules = [
        {"header": "X-Spam", "value": 'a "b" \\', "folder": "Spam"},
        {"header": "List-Id", "value": "x", "folder": "Lists.x"},
    ]
    lines = pop3.pop3_sieve_script(rules).splitlines()
    assert lines[:3] == [
        'require ["fileinto", "mailbox"];',
        r'if header :is "X-Spam" "a \"b\" \\" {',
        '  fileinto :create "Spam";',
    ]
    assert lines[5:7] == ['if header :is "List-Id" "x" {', '  fileinto :create "Lists.x";']
    assert pop3.pop3_sieve_script([]) == "keep;\n"


@pytest.mark.parametrize(
    ("change", "named"),
    [({"folder": name}, "folder") for name in ("", "../bob", "a..b", ".a", "a/b", "a ", "a\n", 'a"b', "x" * 61)]
    + [({"header": name}, "header") for name in ("", "X-Spam:", "X Spam", "X\n")]
    + [({"value": text}, "value") for text in ("", " a", "a\nb", "\u00e9", "a\n")],
)
def test_a_rule_that_makes_no_sense_is_named(change: dict[str, str], named: str) -> None:
    good = {"header": "X-Spam", "value": "Yes, 5.0", "folder": "Lists.the site"}
    assert pop3.pop3_sieve_errors([good], "clients") == []
    (error,) = pop3.pop3_sieve_errors([good, {**good, **change}], "clients")
    assert error.startswith(f"pop3_sieve_rules, entry 2: {named} is ")
