"""Every host's lines on the management host, under the name of whoever really sent them."""

from __future__ import annotations

import re

import pytest

from tests.site import away, lab, mailflow
from tests.site.network import filed_under

READER = lab.users()[0]


def lines(collector: lab.Machine, host: str, word: str, name: str = "syslog.log") -> list[str]:
    """The lines with a word that the collector has filed under a host."""
    done = collector.run("grep", "-F", "-e", word, f"{lab.REMOTE_LOGS}/{host}/{name}", check=False)
    return done.stdout.splitlines()


@pytest.mark.requirement("OPS-1", side="positive")
def test_a_line_logged_on_a_host_arrives_under_its_name_and_no_other(each: lab.Machine, collector: lab.Machine) -> None:
    word = lab.token()
    each.run("logger", "-p", "auth.info", "-t", "probe", word)
    found = lab.until(lambda: lines(collector, each.name, word), "the line")
    assert re.search(rf" {each.name} probe(\[\d+\])?: {word}$", found[0])
    assert filed_under(collector, word) == {each.name}


@pytest.mark.requirement("OPS-1", side="positive")
@pytest.mark.requirement("SM-4", side="positive")
def test_a_message_is_followed_through_both_daemons_by_its_queue_ids(collector: lab.Machine) -> None:
    word = lab.token()
    first = mailflow.from_the_world([mailflow.ours(READER)], word)
    text = mailflow.fetched(READER, word)
    assert text is not None
    second = mailflow.hops(text)[-2][1]
    sent = lab.until(
        lambda: [line for line in lines(collector, lab.GATEWAY, first, "mail.log") if "stat=Sent" in line], "the gateway's"
    )
    # The gateway's last line names the store's id: the chain has no gap.
    assert "sm-mta[" in sent[0] and second in sent[0]
    kept = lab.until(
        lambda: [line for line in lines(collector, lab.STORE, second, "mail.log") if "stat=Sent" in line], "the store's"
    )
    assert "sm-mta[" in kept[0]


@pytest.mark.requirement("OPS-1", side="positive")
@pytest.mark.requirement("SM-4", side="positive")
def test_a_message_submitted_on_the_store_is_followed_from_submission_to_the_world(
    store: lab.Machine, collector: lab.Machine
) -> None:
    word = lab.token()
    text = f"To: {mailflow.FOREIGNER}\nSubject: {word}\n\n{word}\n"
    store.run("/usr/sbin/sendmail", "-t", user=lab.NOBODY, text=text)
    hops = mailflow.hops(mailflow.arrived_abroad(word))
    entry = next(number for host, number in hops if host == lab.fqdn(lab.GATEWAY))
    sent = lab.until(
        lambda: [line for line in lines(collector, lab.GATEWAY, entry, "mail.log") if "stat=Sent" in line], "the gateway's"
    )
    assert "sm-mta[" in sent[0]
    assert lab.until(lambda: lines(collector, lab.STORE, entry, "mail.log"), "the store's line that names the gateway's id")


@pytest.mark.requirement("SM-4", side="positive")
@pytest.mark.parametrize("name", [lab.STORE, *lab.group("mail_clients")])
def test_the_client_queue_runner_logs_under_its_own_tag(name: str, collector: lab.Machine) -> None:
    """A message that could not be handed over waits in the client queue; the runner says so when it has sent it."""
    word = lab.token()
    machine = lab.Machine(name)
    text = f"To: {mailflow.ours(READER)}\nSubject: {word}\n\n{word}\n"
    machine.run("/usr/sbin/sendmail", "-odq", "-t", user=lab.NOBODY, text=text)
    machine.run("systemctl", "restart", "sendmail-msp")
    assert mailflow.fetched(READER, word, deadline=30) is not None
    lab.until(lambda: [line for line in lines(collector, name, "sm-msp-queue[", "mail.log") if "stat=Sent" in line], "its line")


@pytest.mark.requirement("OPS-1", side="negative")
def test_a_forged_host_name_is_filed_under_the_senders_own(nameserver: lab.Machine, collector: lab.Machine) -> None:
    word = lab.token()
    claim = f"<38>Jan  1 00:00:00 {lab.GATEWAY} sm-mta[1]: {word}"
    port = lab.port("syslog", "udp")
    nameserver.call(away.datagram, address=lab.address(lab.COLLECTOR), port=port, text=claim)
    found = lab.until(lambda: lines(collector, lab.NAMESERVER, word), "the line")
    assert f" {lab.NAMESERVER} sm-mta[1]: {word}" in found[0]
    assert filed_under(collector, word) == {lab.NAMESERVER}


@pytest.mark.requirement("OPS-1", side="negative")
def test_a_host_that_the_policy_does_not_name_is_not_heard(
    desk: lab.Machine, nameserver: lab.Machine, collector: lab.Machine
) -> None:
    """No firewall between them. The neighbour's line was sent later: once it is there, the other would be."""
    word, later = lab.token(), lab.token()
    to = {"address": lab.address(lab.COLLECTOR), "port": lab.port("syslog", "udp")}
    desk.call(away.datagram, **to, text=f"<38>Jan  1 00:00:00 {lab.GATEWAY} sm-mta[1]: {word}")
    nameserver.call(away.datagram, **to, text=f"<38>Jan  1 00:00:00 {lab.NAMESERVER} probe: {later}")
    lab.until(lambda: lines(collector, lab.NAMESERVER, later), "the line of a host that is named")
    assert filed_under(collector, word) == set()
    assert word not in collector.sh("cat /var/log/syslog /var/log/mail.log 2>/dev/null || true")


@pytest.mark.requirement("SM-11", side="negative")
def test_an_ordinary_account_of_the_collector_reads_no_log(collector: lab.Machine) -> None:
    found = collector.run("find", lab.REMOTE_LOGS, "-type", "f", "-readable", user=lab.NOBODY, check=False).stdout
    assert found == ""
    assert collector.run("find", lab.REMOTE_LOGS, "-type", "f").stdout != ""


def test_logs_are_rotated_from_the_first_start_and_not_from_the_first_boot(each: lab.Machine) -> None:
    assert each.run("systemctl", "show", "--property=ActiveState", "--value", "logrotate.timer").stdout.strip() == "active"
    # It has a next time to run, and what it would then read is sound.
    assert each.run("systemctl", "show", "--property=NextElapseUSecRealtime", "--value", "logrotate.timer").stdout.strip()
    each.run("logrotate", "--debug", "/etc/logrotate.conf")
