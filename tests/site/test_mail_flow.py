"""Mail through the whole site, both ways, and what happens to it while a server is away."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.site import away, lab, mailflow

READER = lab.users()[0]
SPEAK = "pkill -CONT -x smtpd; pkill -CONT -x master; true"
PROMPT = 10.0  # seconds until a sender has his reply, on a busy machine


@pytest.mark.requirement("GW-1", side="positive")
@pytest.mark.requirement("MS-3", side="positive")
def test_a_strangers_message_is_fetched_by_pop_at_a_desk_and_went_by_gateway_and_store() -> None:
    word = lab.token()
    entry = mailflow.from_the_world([mailflow.ours(READER)], word)
    text = mailflow.fetched(READER, word)
    assert text is not None
    path = [host for host, _id in mailflow.hops(text)]
    # The store goes by its domain's name: what it writes may leave the site.
    assert path[-2:] == [lab.domain(), lab.fqdn(lab.GATEWAY)]
    second = mailflow.hops(text)[-2][1]
    lab.until(lambda: lab.Machine(lab.STORE).sh(f"grep {second} /var/log/mail.log || true"), "the store's line")
    assert mailflow.hops(text)[-1][1] == entry
    # The stranger's own address is on record, not the firewall's.
    assert f"[{lab.address(lab.STRANGER)}]" in text


@pytest.mark.requirement("GW-5", side="positive")
def test_a_message_from_a_desk_arrives_abroad_from_the_gateways_public_address() -> None:
    word = lab.token()
    mailflow.from_the_desk([mailflow.FOREIGNER], word, mailflow.ours(READER))
    text = mailflow.arrived_abroad(word)
    # Whoever handed it over has an address of the gateway's that the world knows, and nobody else has it.
    assert mailflow.came_from(text) in lab.known(lab.GATEWAY)


@pytest.mark.requirement("GW-5", side="positive")
@pytest.mark.parametrize("family", [4, 6])
def test_mail_leaves_over_the_family_that_the_other_side_has(family: int) -> None:
    word, name = lab.token(), f"carol@{'four' if family == 4 else 'six'}.{lab.foreign_domain()}"
    mailflow.from_the_desk([name], word, mailflow.ours(READER))
    text = mailflow.arrived_abroad(word)
    assert mailflow.came_from(text) == (lab.public(lab.GATEWAY) if family == 4 else lab.address6(lab.GATEWAY))
    # And the address leads to the name that it said, and back: else the other side would not know it.
    assert re.search(rf"from {lab.fqdn(lab.GATEWAY)} \({lab.fqdn(lab.GATEWAY)} \[", text)


@pytest.mark.requirement("SM-12", side="positive")
def test_mail_for_a_domain_that_takes_none_comes_back_at_once(gateway: lab.Machine) -> None:
    """A null MX record (RFC 7505): nobody waits five days to learn it."""
    word, name = lab.token(), f"carol@mute.{lab.foreign_domain()}"
    mailflow.from_the_desk([name], word, mailflow.ours(READER))
    text = mailflow.fetched(READER, word, deadline=40)
    assert text is not None and re.search(r"(?m)^Status: 5\.", text) and f"rfc822;{name}" in text.replace(" ", "").lower(), text
    assert gateway.sh(f"cd /var/spool/mqueue && grep -l {word} df* 2>/dev/null || true").strip() == ""


@pytest.mark.requirement("GW-1", side="positive")
def test_whoever_has_ipv6_sends_over_it_and_his_address_is_on_record(gateway: lab.Machine) -> None:
    """By MX, as a server of the world does, which takes an AAAA record before an A record."""
    word = lab.token()
    commands = lab.letter(mailflow.FOREIGNER, [mailflow.ours(READER)], word)
    said = lab.Machine(lab.STRANGER).call(away.smtp, address="127.0.0.1", port=lab.port("smtp"), commands=commands)
    assert said[-2].startswith("250 "), said
    text = mailflow.fetched(READER, word, deadline=40)
    assert text is not None
    entry = mailflow.hops(text)[-2][1]
    sender = lab.address6(lab.STRANGER)
    # The name of the address is looked up and leads back to it; a client that it does not lead back to would be "may be forged".
    name = f"{lab.STRANGER}.{lab.foreign_domain()}"
    (line,) = [line for line in re.sub(r"\n[ \t]+", " ", text).splitlines() if f" id {entry}" in line]
    assert sender in lab.addresses6(line) and f"({name} [" in line and "forged" not in line, line
    log = lab.until(lambda: gateway.sh(f"grep -h '{entry}: from=' /var/log/mail.log || true"), "the gateway's line")
    assert sender in lab.addresses6(log), log


@pytest.mark.requirement("SM-15", side="negative")
def test_mail_that_leaves_names_no_inside_address_and_no_inside_host() -> None:
    word = lab.token()
    mailflow.from_the_desk([mailflow.FOREIGNER], word, mailflow.ours(READER))
    text = mailflow.arrived_abroad(word)
    hidden = [lab.address(lab.DESK), lab.fqdn(lab.DESK), lab.address(lab.STORE), lab.fqdn(lab.STORE), lab.address(lab.GATEWAY)]
    assert [name for name in hidden if name in text] == []
    assert lab.addresses6(text) & {lab.address6(host) for host in (lab.DESK, lab.STORE)} == set()


@pytest.mark.requirement("MS-1", side="positive")
def test_users_write_to_each_other_without_leaving_the_store() -> None:
    sender, reader = lab.users()[:2]
    word = lab.token()
    mailflow.from_the_desk([mailflow.ours(reader)], word, mailflow.ours(sender))
    text = mailflow.fetched(reader, word)
    assert text is not None
    # And nobody else has had it. sendmail and Dovecot each have a line, by the one name that the store shows.
    assert [host for host, _id in mailflow.hops(text)] == [lab.domain()] * 2


@pytest.mark.requirement("SM-12", side="positive")
def test_of_what_the_gateway_accepted_nothing_is_left_in_its_queue_once_it_is_in_the_mailbox(
    store: lab.Machine, gateway: lab.Machine
) -> None:
    word = lab.token()
    entry = mailflow.from_the_world([mailflow.ours(READER)], word)
    box = mailflow.mailbox(READER)
    lab.until(lambda: store.sh(f"grep -rl {word} {box} || true"), "the message in the mailbox")
    # The queue's files go when the store has answered: no runner has to come by.
    lab.until(lambda: not gateway.sh(f"ls /var/spool/mqueue | grep {entry} || true"), "the queue without it", deadline=5)
    assert mailflow.fetched(READER, word) is not None


@pytest.fixture
def silent_world(stranger: lab.Machine) -> Iterator[None]:
    """The foreign mail server takes connections and says nothing; it speaks again after the test."""
    stranger.sh("pkill -STOP -x master; pkill -STOP -x smtpd; true")
    yield
    stranger.sh(SPEAK)


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.usefixtures("silent_world")
def test_nobody_inside_waits_for_a_stranger_who_says_nothing_and_his_mail_is_on_the_disk(
    gateway: lab.Machine, stranger: lab.Machine
) -> None:
    word = lab.token()
    begun = time.monotonic()
    mailflow.from_the_desk([mailflow.FOREIGNER], word, mailflow.ours(READER))
    assert time.monotonic() - begun < PROMPT
    lab.until(lambda: gateway.sh(f"grep -l {word} /var/spool/mqueue/df* || true"), "the message on the gateway's disk")
    stranger.sh(SPEAK)
    mailflow.pushed(gateway)
    mailflow.arrived_abroad(word)


@pytest.fixture
def store_away(store: lab.Machine) -> Iterator[None]:
    """The store's MTA stopped; started again at the latest after the test."""
    store.run("systemctl", "stop", "sendmail")
    yield
    store.run("systemctl", "start", "sendmail")


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.requirement("SM-12", side="negative")
@pytest.mark.usefixtures("store_away")
def test_mail_for_a_store_that_is_away_waits_at_the_gateway_and_arrives_once_it_is_back(
    store: lab.Machine, gateway: lab.Machine
) -> None:
    words = [lab.token() for _ in range(3)]
    # The sender is told that all is well: from_the_world fails on any other reply.
    entries = [mailflow.from_the_world([mailflow.ours(READER)], word) for word in words]
    waiting = lab.until(lambda: gateway.sh("sendmail -bp"), "the queue's listing")
    assert [entry for entry in entries if entry not in waiting] == []
    store.run("systemctl", "start", "sendmail")
    # Nobody runs the queue by hand: it is run every minute, and the first pauses are short.
    end = time.monotonic() + 150
    assert [word for word in words if mailflow.fetched(READER, word, deadline=max(1, end - time.monotonic())) is None] == []
    left = gateway.sh("sendmail -bp")
    assert [entry for entry in entries if entry in left] == []


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.usefixtures("store_away")
def test_what_a_crash_left_half_written_in_the_queue_holds_no_message_up(store: lab.Machine, gateway: lab.Machine) -> None:
    """sendmail would wait eight minutes for whoever writes an envelope anew (tf), and he is gone."""
    word = lab.token()
    entry = mailflow.from_the_world([mailflow.ours(READER)], word)
    half = f"/var/spool/mqueue/tf{entry}"
    # Its second writing is over once it has been tried: only then is there nobody else.
    lab.until(lambda: "Deferred" in gateway.sh("sendmail -bp"), "the first attempt")
    gateway.run("systemctl", "kill", "--signal=KILL", "sendmail")
    gateway.sh(f"touch -d '5 seconds ago' {half} && chown smmta:smmsp {half}")
    store.run("systemctl", "start", "sendmail")
    assert mailflow.fetched(READER, word, deadline=100) is not None
    assert gateway.run("test", "-e", half, check=False).returncode != 0


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.usefixtures("store_away")
def test_what_was_last_tried_at_a_time_yet_to_come_goes_on_once_the_clock_was_set(
    store: lab.Machine, gateway: lab.Machine
) -> None:
    """As it is when a clock was an hour ahead and is set back. (The drill's clock-set-back goes all the way.)"""
    word = lab.token()
    entry = mailflow.from_the_world([mailflow.ours(READER)], word)
    lab.until(lambda: "Deferred" in gateway.sh("sendmail -bp"), "the first attempt")
    gateway.sh(f"sed -i 's/^K.*/K{int(time.time()) + 3600}/' /var/spool/mqueue/qf{entry}")
    store.run("systemctl", "start", "sendmail")
    # To come to it in the queue is not to try it.
    gateway.run("sendmail", "-Am", "-qf")
    assert entry in gateway.sh("sendmail -bp")
    shown = gateway.sh("systemctl show -P ActiveState -P TimersMonotonic -P OnClockChange sendmail-clock.timer").split()
    assert {"active", "yes"} <= set(shown)
    gateway.run("systemctl", "start", "sendmail-clock.service")
    assert mailflow.fetched(READER, word) is not None


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.parametrize("name", [lab.GATEWAY, lab.STORE, lab.COLLECTOR])
def test_what_runs_a_queue_plans_anew_once_the_clock_was_set(name: str) -> None:
    """sendmail plans its next run of the queue by the clock, and would wait until it shows that time once more."""
    machine = lab.Machine(name)
    units = [
        unit for unit in ("sendmail", "sendmail-msp") if machine.sh(f"systemctl is-active {unit} || true").strip() == "active"
    ]
    assert units

    def begun() -> list[int]:
        counted = "journalctl --quiet --no-pager --output=cat --unit={} | grep -c 'restarting .* due to signal' || true"
        return [int(machine.sh(counted.format(unit))) for unit in units]

    before = begun()
    machine.run("systemctl", "start", "sendmail-clock.service")
    lab.until(lambda: all(now > then for now, then in zip(begun(), before, strict=True)), f"{units} that have begun anew")


@pytest.fixture
def gateway_away(gateway: lab.Machine) -> Iterator[None]:
    """The gateway's MTA stopped; started again at the latest after the test."""
    gateway.run("systemctl", "stop", "sendmail")
    yield
    gateway.run("systemctl", "start", "sendmail")


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.usefixtures("gateway_away")
def test_mail_that_leaves_waits_at_the_store_while_the_gateway_is_away(store: lab.Machine, gateway: lab.Machine) -> None:
    word = lab.token()
    entry = mailflow.from_the_desk([mailflow.FOREIGNER], word, mailflow.ours(READER))
    assert entry in store.sh("sendmail -bp -Am")
    gateway.run("systemctl", "start", "sendmail")
    mailflow.pushed(store)
    mailflow.arrived_abroad(word)


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.usefixtures("gateway_away")
def test_what_a_crash_left_half_written_in_a_client_s_queue_holds_no_message_up(
    nameserver: lab.Machine, gateway: lab.Machine
) -> None:
    word, queue = lab.token(), "/var/spool/mqueue-client"
    text = f"To: {mailflow.ours(READER)}\nSubject: {word}\n\n{word}\n"
    nameserver.run("/usr/sbin/sendmail", "-t", user=lab.NOBODY, text=text)
    entry = nameserver.sh(f"cd {queue} && grep -l {word} df*").strip().removeprefix("df")
    nameserver.run("systemctl", "kill", "--signal=KILL", "sendmail-msp")
    nameserver.sh(f"touch -d '20 seconds ago' {queue}/tf{entry} && chown smmsp:smmsp {queue}/tf{entry}")
    gateway.run("systemctl", "start", "sendmail")
    assert mailflow.fetched(READER, word, deadline=100) is not None
    assert nameserver.run("test", "-e", f"{queue}/tf{entry}", check=False).returncode != 0
