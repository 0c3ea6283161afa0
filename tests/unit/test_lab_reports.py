"""What the lab reads from programs' output: recaps of playbooks, the way of a message."""

from __future__ import annotations

import os
from pathlib import Path

import mail
import playbook
import pytest

import lab
from tests.unit.inventory import lab_site

RECAP = """
PLAY RECAP *********************************************************************
fw                         : ok=50   changed=40   unreachable=0    failed=0    skipped=9    rescued=0    ignored=0
smtp1                      : ok=61   changed=2    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
"""


def test_a_recap_is_summed_up() -> None:
    assert playbook.recap(RECAP) == (2, 61, 42)


def test_a_run_that_changed_nothing_says_so() -> None:
    assert "nothing changed" in str(playbook.recap("fw : ok=50   changed=0    unreachable=0    failed=0"))


def test_tasks_and_handlers_are_announced() -> None:
    assert (
        playbook.task_of("TASK [widgets.mail.base : Install the packages] ****") == "widgets.mail.base : Install the packages"
    )
    assert playbook.task_of("RUNNING HANDLER [Reload named] ***") == "Reload named"
    assert playbook.task_of("ok: [fw]") is None


ID = "<1@elsewhere.example>"
GATEWAY = (
    "2026-11-24T09:49:25.119548+00:00 smtp1 sm-mta[7396]: 6AO9nPxD007396: from=<carol@elsewhere.example>, size=106, class=0, "
    f"nrcpts=1, msgid={ID}, proto=ESMTP, daemon=MTA, relay=internet.elsewhere.example [198.18.0.10]\n"
    "2026-11-24T09:49:25.174369+00:00 smtp1 sm-mta[7398]: 6AO9nPxD007396: to=<alice@widgets.example>, delay=00:00:00, "
    "mailer=esmtp, relay=[10.1.0.25] [10.1.0.25], dsn=2.0.0, stat=Sent (6AO9nPcA012172 Message accepted for delivery)\n"
    "2026-11-24T09:49:26.174369+00:00 smtp1 sm-mta[7399]: 6AO9nPxE007399: from=<x@y.example>, msgid=<2@y.example>, proto=ESMTP\n"
)
STORE = (
    "2026-11-24T09:49:25.168000+00:00 mail sm-mta[12172]: 6AO9nPcA012172: from=<carol@elsewhere.example>, size=306, class=0, "
    f"nrcpts=1, msgid={ID}, proto=ESMTP, daemon=MTA, relay=smtp1.widgets.example [10.1.1.11]\n"
)


def test_the_way_of_a_message_is_in_order_of_time_whatever_the_order_of_the_logs() -> None:
    way = mail.hops({"mail": STORE, "smtp1": GATEWAY}, ID)
    assert [(hop.host, hop.queue_id) for hop in way] == [("smtp1", "6AO9nPxD007396"), ("mail", "6AO9nPcA012172")]


def test_a_message_that_no_server_saw_has_no_way() -> None:
    assert mail.hops({"mail": STORE, "smtp1": GATEWAY}, "<3@elsewhere.example>") == []


def test_between_two_servers_stand_the_hosts_that_forward() -> None:
    hosts = lab_site()["hosts"]
    assert mail.between(hosts, "internet", "smtp1") == ["router", "fw"]
    assert mail.between(hosts, "smtp1", "mail") == ["fw"]
    assert mail.between(hosts, "workstation", "mail") == []


def test_a_failed_run_tells_host_task_and_reason_and_not_the_recap() -> None:
    lines = [
        "TASK [Refuse what is in the way and not ours] ***",
        'fatal: [localhost]: FAILED! => {"assertion": "x", "changed": false, "msg": "In the way."}',
        *RECAP.splitlines(),
    ]
    assert playbook.failures(lines) == ["localhost, Refuse what is in the way and not ours: In the way."]
    long = [
        "fatal: [fw]: FAILED! => {",
        '    "changed": false,',
        '    "msg": "Zone moon is unknown."',
        "}",
        *RECAP.splitlines(),
    ]
    assert playbook.failures(["TASK [Check] ***", *long]) == ["fw, Check: Zone moon is unknown."]
    looped = 'failed: [fw] (item=a) => {"msg": "Bad.", "stderr": "Worse."}'
    assert playbook.failures(["TASK [Loop] ***", looped]) == ["fw, Loop: Bad. Worse."]


def test_a_run_that_ended_without_a_failed_task_shows_its_last_lines() -> None:
    assert playbook.failures(["ERROR! the playbook: x.yml could not be found"]) == [
        "ERROR! the playbook: x.yml could not be found"
    ]


def test_of_parts_that_run_side_by_side_each_is_shown_in_one_piece_and_yields_to_the_lab_s(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lab, "TESTS_BEGUN", tmp_path / "begun")
    say = "import os; print({text!r}, os.nice(0)); raise SystemExit({code})"
    good, bad, last = (["python", "-c", say.format(text=text, code=code)] for text, code in (("g", 0), ("b", 3), ("l", 0)))
    # The others do not begin before this one's tests do.
    hosts_then_tests = f"import os, pathlib; print('m', os.nice(0)); pathlib.Path({str(tmp_path / 'begun')!r}).touch()"
    site = ["python", "-c", hosts_then_tests + "; raise SystemExit(1)"]
    noted: list[str] = []
    done = lab.at_once([("lint", [bad, last]), ("unit", [good]), ("molecule", [site])], noted.append)
    assert [(name, failed) for name, failed, _ in done] == [("lint", [bad]), ("unit", []), ("molecule", [site])]
    shown, own = capfd.readouterr().out, os.nice(0)
    low = min(own + 15, 19)
    assert "".join(f"$ {' '.join(command)}\n{text} {low}\n" for command, text in ((bad, "b"), (last, "l"))) in shown
    assert f"\ng {low}\n" in shown and f"\nm {own}\n" in shown
    assert shown.index("\nm ") < min(shown.index("\nb "), shown.index("\ng "))
    assert len(noted) == 3
    assert lab.told(*done[0]).startswith(f"lint failed: {' '.join(bad)}, ")


def test_parts_without_the_lab_do_not_wait_for_its_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lab, "TESTS_BEGUN", tmp_path / "begun")
    assert [failed for _, failed, _ in lab.at_once([("lint", [["python", "-c", ""]])], lambda _: None)] == [[]]


def test_parts_beside_the_lab_s_are_run_when_it_never_comes_to_its_tests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lab, "TESTS_BEGUN", tmp_path / "begun")
    site, good = ["python", "-c", "raise SystemExit(2)"], ["python", "-c", ""]
    assert [failed for _, failed, _ in lab.at_once([("unit", [good]), ("molecule", [site])], lambda _: None)] == [[], [site]]
