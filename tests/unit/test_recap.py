"""What ansible-playbook's output says of changes."""

from __future__ import annotations

import json

from tests.site import recap

OUTPUT = """\
PLAY [The mail system] *********************************************************

TASK [widgets.mail.sendmail : Compile the configuration] ***********************
changed: [smtp1]
ok: [mail]

TASK [A loop] ******************************************************************
changed: [mail] => (item=one)
ok: [mail] => (item=two)

RUNNING HANDLER [widgets.mail.sendmail : Reload sendmail] **********************
changed: [smtp1]

PLAY RECAP *********************************************************************
smtp1                      : ok=2    changed=2    unreachable=0    failed=0
"""


def test_changes_are_told_by_host_and_task() -> None:
    assert recap.changed(OUTPUT) == {
        ("smtp1", "widgets.mail.sendmail : Compile the configuration"),
        ("mail", "A loop"),
        ("smtp1", "widgets.mail.sendmail : Reload sendmail"),
    }


def data(**hosts: object) -> str:
    task = {"task": {"name": "widgets.mail.dns : Write the zones"}, "hosts": hosts}
    return "some callback's line\n" + json.dumps({"plays": [{"tasks": [task]}]}) + "\nand another's\n"


def test_a_run_as_data_tells_changes_and_what_their_diffs_show() -> None:
    diff = [{"before": "a", "after": "b", "before_header": "/etc/x"}, {"prepared": "new packages"}, {}]
    run = recap.read(data(dns1={"changed": True, "diff": diff}, mail={"changed": False, "diff": diff}))
    key = ("dns1", "widgets.mail.dns : Write the zones")
    assert run.parts == {key: [("/etc/x", "a", "b"), (recap.PREPARED, "", "new packages")]}
    assert run.changes == {key}


def test_a_loop_shows_what_its_changed_items_show() -> None:
    items = [
        {"changed": True, "diff": {"before": {"mode": "1"}, "after": {"mode": "2"}}},
        {"changed": False, "diff": {"after": "x"}},
    ]
    (parts,) = recap.read(data(dns1={"changed": True, "results": items})).parts.values()
    assert [part.what for part in parts] == [""] and '"2"' in parts[0].after


def test_a_failure_is_told_by_host_and_task() -> None:
    assert recap.read(data(dns1={"failed": True, "msg": "no"})).failed == ["dns1: widgets.mail.dns : Write the zones: no"]


def test_a_summary_counts_tasks_by_role_and_host() -> None:
    changes = [
        ("fw", "widgets.mail.ssh : One"),
        ("fw", "widgets.mail.ssh : Two"),
        ("mail", "widgets.mail.pop3 : One"),
        ("mail", "Another"),
    ]
    assert recap.summary(changes).splitlines() == [
        "role        fw  mail  all",
        "(playbook)   -     1    1",
        "pop3         -     1    1",
        "ssh          2     -    2",
        "all          2     2    4",
    ]
