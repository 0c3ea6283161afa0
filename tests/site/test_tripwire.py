"""A change by hand on a server is in the report that the management host has, and its undoing ends the reports."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.site import lab

TRIPWIRE = re.compile(r" tripwire(\[\d+\])?: ")


def scan(machine: lab.Machine, collector: lab.Machine) -> list[str]:
    """Scan now, and give the report's lines as they reached the collector."""
    word = lab.token()
    machine.run("logger", "-p", "auth.info", "-t", "probe", word)
    machine.run("systemctl", "start", "tripwire-check.service", timeout=180)
    log = f"{lab.REMOTE_LOGS}/{machine.name}/syslog.log"

    def arrived() -> list[str]:
        lines = collector.sh(f"sed -n '/{word}/,$p' {log}").splitlines()
        return [line for line in lines if TRIPWIRE.search(line)] if any("summary: " in line for line in lines) else []

    summary = lab.until(arrived, "the report's summary")
    # The summary comes first; what follows was written with it, and a line of ours after it closes the report.
    end = lab.token()
    machine.run("logger", "-p", "auth.info", "-t", "probe", end)
    lab.until(lambda: end in collector.sh(f"tail -n 500 {log}"), "the line after the report")
    return arrived() or summary


def named(report: list[str], path: str) -> list[str]:
    """What a report says of a path."""
    return [line for line in report if line.endswith(f' "{path}"')]


@pytest.fixture
def changed(gateway: lab.Machine) -> Iterator[dict[str, str]]:
    """A file of the gateway changed, one added and one taken away, by hand; all as before afterwards."""
    source, gone, new = "/etc/mail/sendmail.mc", "/etc/mail/helpfile", "/etc/cron.daily/probe"
    gateway.sh(f"mkdir /run/before && cp -a {source} {gone} /run/before/")
    gateway.sh(f"echo 'dnl by hand' >> {source}; rm {gone}; echo '# by hand' > {new}")
    yield {"Modified": source, "Removed": gone, "Added": new}
    gateway.sh(f"[ ! -d /run/before ] || cp -a /run/before/* /etc/mail/; rm -rf /run/before {new}")


@pytest.mark.requirement("OPS-2", side="positive")
@pytest.mark.requirement("OPS-2", side="negative")
def test_a_change_by_hand_is_in_the_collectors_report_and_none_once_it_is_undone(
    changed: dict[str, str], gateway: lab.Machine, collector: lab.Machine
) -> None:
    report = scan(gateway, collector)
    for what, path in changed.items():
        assert named(report, path) and f" {what}: " in named(report, path)[0], report
    gateway.sh(f"cp -a /run/before/* /etc/mail/; rm -r /run/before {changed['Added']}")
    report = scan(gateway, collector)
    assert len(report) == 1 and "no change since the baseline" in report[0], report


@pytest.mark.requirement("OPS-2", side="positive")
def test_a_scan_is_due_by_itself_on_every_host(each: lab.Machine) -> None:
    due = each.sh("systemctl show -P NextElapseUSecRealtime tripwire-check.timer").strip()
    assert due not in {"", "n/a"}
    assert each.sh("systemctl is-active tripwire-check.timer").strip() == "active"


@pytest.mark.requirement("OPS-2", side="positive")
def test_configuration_policy_and_baseline_in_force_are_signed(each: lab.Machine) -> None:
    """Tripwire reads an unsigned file as willingly as a signed one."""
    keys = {"/etc/tripwire/tw.cfg": "site", "/etc/tripwire/tw.pol": "site", "/var/lib/tripwire/tripwire.twd": "local"}
    for path, key in keys.items():
        said = each.run("twadmin", "--examine", path).stdout
        assert "Encoding: Asymmetric Encryption" in said and f"Keyfile: /etc/tripwire/{key}.key" in said, said


@pytest.mark.requirement("OPS-2", side="negative")
def test_an_ordinary_account_reads_neither_baseline_nor_policy_nor_report(gateway: lab.Machine) -> None:
    for path in ("/var/lib/tripwire", "/etc/tripwire"):
        # The package's own samples (twpol.txt, twcfg.txt) are everybody's, and in force nowhere.
        kinds = ["-type", "f", "!", "-name", "tw*.txt"]
        assert gateway.run("find", path, *kinds).stdout != ""
        assert gateway.run("find", path, *kinds, "-readable", user=lab.NOBODY, check=False).stdout == ""
