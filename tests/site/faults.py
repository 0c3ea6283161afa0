"""What breaks in a drill, as data: how each fault is made, how long it holds, how it is undone, and what else must then be true.

A fault without `undo` undoes itself: nothing but time passes.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import yaml
from ansible_collections.widgets.mail.plugins.filter import policy
from jinja2 import Template

from tests.site import away, drill, lab, ledger, mailflow, postman
from tests.site.drill import GATEWAY, QUEUE, STORE, Fault, Held, engine, on, play

FIREWALL, NAMESERVER, COLLECTOR = lab.Machine(lab.FIREWALL), lab.Machine(lab.NAMESERVER), lab.Machine(lab.COLLECTOR)
ROUTER = lab.Machine(lab.ROUTER)
# Somebody who is not there: packets to this address are forgotten by the border router.
DEAD = f"{lab.address(lab.STRANGER).rsplit('.', 1)[0]}.179"
MANY = 10_000
SNAPSHOTS = 5
KEPT = "/var/tmp/drill-queues"

# -- links -------------------------------------------------------------------------------------------------------------


def forget(*tests: str) -> str:
    """Packets that pass and meet one of the tests are dropped without a word, whatever the rules of the host say."""
    rules = "; ".join(f"add rule inet drill forward {test} drop" for test in tests)
    hook = "{ type filter hook forward priority -300; }"
    return f"nft 'add table inet drill; add chain inet drill forward {hook}; {rules}'"


REMEMBER = "nft delete table inet drill"
INSIDE, DMZ = (policy.zone_networks(lab.site(), lab.zone(host)) for host in (lab.STORE, lab.GATEWAY))
CUT = forget(
    *(
        f"{'ip6' if ':' in one else 'ip'} saddr {one} {'ip6' if ':' in one else 'ip'} daddr {two}"
        for ends in zip(DMZ, INSIDE, strict=True)
        for one, two in (ends, ends[::-1])
    )
)
# A link without carrier has no address that it could be found by: systemd-networkd takes it away. So its name is kept.
LINK = "/run/drill-link"
LINK_DOWN = f"""ip -o -4 address show to {lab.address(lab.FIREWALL, lab.zone(lab.STORE))} | awk '{{print $2}}' >{LINK}
ip link set $(cat {LINK}) down"""
LINK_UP = f"ip link set $(cat {LINK}) up; rm {LINK}"


def as_itself(held: Held) -> list[str]:
    """A check: the store met nobody under the gateway's public address, which the gateway has only outside."""
    seen = re.findall(
        rf"(?m)^(\S+) .*tcpwrappers .*\b{re.escape(lab.public(lab.GATEWAY))}\b.* rejection", STORE.sh("cat /var/log/mail.log")
    )
    late = [stamp for stamp in seen if lab.moment(stamp) >= held.begun]
    return [f"the gateway came to the store {len(late)} times under its public address"] if late else []


# Whoever waits for a reply in a connection that a dead firewall forgot hears nothing more: the other end's words are nobody's now, and
# sendmail's client asks for no keepalive that would have the connection known again. It gives up after the longest of these, and the
# message's next turn comes after as long again, but no longer than that host's longest pause, once the queue's runner comes by.
OPTIONS = yaml.safe_load((lab.ROOT / "roles/sendmail/vars/main.yml").read_text(encoding="utf-8"))["__sendmail_options_mta"]
REPLIES = ("mail", "rcpt", "datainit", "datafinal")
REPLY = max(lab.span(entry["value"]) for entry in OPTIONS if entry["option"] in {f"Timeout.{name}" for name in REPLIES})
PAUSE = lab.span(Template(lab.setting_of("sendmail_retry_pause_max", lab.STORE)).render(sendmail_smart_host=lab.GATEWAY))
FORGOTTEN = REPLY + min(REPLY, PAUSE) + 2 * lab.span(lab.setting_of("sendmail_queue_interval", lab.STORE))


# -- a queue that runs full --------------------------------------------------------------------------------------------


EMPTY = f"test -z \"$(find {QUEUE} -name '[qh]f*' -size +0)\""


def small(options: str) -> str:
    """A small file system in place of the gateway's queue, which is empty."""
    return f"""systemctl stop sendmail
        {EMPTY}
        mount -t tmpfs -o {options},uid=$(id -u smmta),gid=$(getent group smmsp | cut -d: -f3),mode=0700 drill {QUEUE}
        systemctl start sendmail"""


# Only where it is mounted: a drill that failed before that has nothing to put back.
LARGE = f"if mountpoint -q {QUEUE}; then systemctl stop sendmail; umount {QUEUE}; fi; systemctl start sendmail"


# Faults in a row share it. While it is full, each envelope that finds no room leaves a file of no size, so there may be many files.
FILES = 4000
SMALL, WHOLE = on(GATEWAY, small(f"size=64m,nr_inodes={FILES}")), on(GATEWAY, LARGE)


FILL = f"dd if=/dev/zero of={QUEUE}/fill bs=1M 2>/dev/null || true"


def came_back(flow: drill.Flow) -> list[tuple[str, int]]:
    """Where strangers were put off so far, and with what code; 0 is a connection that was cut."""
    said = ledger.entries(drill.STRANGER.sh(f"cat {drill.book(flow.word)}").splitlines(keepends=True))
    replies = {(entry["step"], entry["code"]) for entry in said if entry["event"] == "reply"}
    return sorted((step, code) for step, code in replies if code < 500 and code != 250)


def put_off(step: str, *codes: int) -> Callable[[Held], list[str]]:
    """A check: strangers had to come back, at a step and with one of some codes."""

    def check(held: Held) -> list[str]:
        found = came_back(held.flow)
        wanted = {(step, code) for code in codes}
        return [] if wanted.intersection(found) else [f"nobody was put off at {step} with {codes}, but {found}"]

    return check


# After a text that finds no room.
NO_ROOM = (421, 451, 452)


# -- processes ---------------------------------------------------------------------------------------------------------

# Those that are taking in a text say so in their title.
KILL_IN_DATA = """killed=0
for turn in $(seq 60); do
    for pid in $(pgrep -f '^sendmail: MTA: .*\\]: DATA' || true); do kill -9 $pid && killed=$((killed + 1)); done
    sleep 0.2
done
echo $killed"""


# A text whose process was killed is left without an envelope: nobody was told that it is taken, and sendmail never looks at it again.
ORPHANS = f"cd {QUEUE}; for text in $(ls | grep ^df); do test -e qf${{text#df}} || rm $text; done"


def killed(held: Held) -> list[str]:
    """A check: somebody was hit."""
    return [] if int(held.made) >= 3 else [f"only {held.made.strip()} processes were killed amidst a text"]


REINSTALL = """packages=$(dpkg-query -W -f '${source:Package} ${binary:Package}\\n' | awk '$1 == "sendmail" {print $2}')
DEBIAN_FRONTEND=noninteractive apt-get -qq install --reinstall $packages >&2"""

# -- the clock ---------------------------------------------------------------------------------------------------------

# Containers share their machine's clock. So the gateway's MTA alone is told another time, by a library that asks a file for it: the
# one that it asks for everybody, since sendmail clears its environment.
CLOCK = "/etc/faketimerc"
TOLD = "/run/systemd/system/sendmail.service.d"
AHEAD = 3600  # seconds
FAKED = f"""DEBIAN_FRONTEND=noninteractive apt-get -qq install libfaketime >&2
    library=$(dpkg -L libfaketime | grep '/libfaketime.so.1$')
    echo +0 >{CLOCK}
    mkdir -p {TOLD}
    echo "[Service]
Environment=LD_PRELOAD=$library FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1" >{TOLD}/drill.conf
    systemctl daemon-reload
    systemctl restart sendmail"""
TRUE = f"""rm -rf {TOLD}
    systemctl daemon-reload
    systemctl restart sendmail
    rm -f {CLOCK}
    DEBIAN_FRONTEND=noninteractive apt-get -qq purge libfaketime >&2"""


def ahead() -> None:
    """The clock is ahead, and mail is tried in vain by it."""
    on(STORE, "systemctl stop sendmail")()
    on(GATEWAY, f"echo +{AHEAD} >{CLOCK}")()


def set_back() -> None:
    """The clock is right again. systemd, whose own was so all the time, is told what it would have seen."""
    on(GATEWAY, f"systemctl is-active sendmail-clock.timer; echo +0 >{CLOCK}")()
    on(STORE, "systemctl start sendmail")()
    on(GATEWAY, "systemctl start --no-block sendmail-clock.service")()


def was_ahead(held: Held) -> list[str]:
    """A check: mail was delivered before it was taken, by the clock that sendmail had."""
    lines = [
        line for line in GATEWAY.sh("cat /var/log/mail.log").splitlines() if lab.moment(line.split(" ", 1)[0]) >= held.begun
    ]
    early = [line for line in lines if re.search(r" delay=[^,]*-\d.* stat=Sent", line)]
    return [] if early else ["the gateway's MTA never had another time than the machine"]


# -- log lines ---------------------------------------------------------------------------------------------------------


# What rsyslog says when it notices that the other end has gone. TCP tells a sender what was sent, not what was read: lines on the wire
# in that moment were in no queue any more. (RELP would tell; its package is not among the site's.)
NOTICED = re.compile(r"(?m)^(\S+) \S+ rsyslogd\[\d+\]: omfwd: .*closed connection")
ON_THE_WIRE = 2.0  # seconds


def lines_kept(held: Held) -> list[str]:
    """A check: each line that the gateway wrote down since the fault began lies on the management host too."""

    def since(machine: lab.Machine, path: str) -> dict[str, float]:
        """The lines from a moment on, with their times, without what the two sides write differently: blanks and the host's name."""
        out = {}
        for line in machine.run("cat", path).stdout.splitlines():
            stamp, _host, text = line.split(" ", 2)
            if lab.moment(stamp) >= held.begun:
                out[f"{stamp} {' '.join(text.split())}"] = lab.moment(stamp)
        return out

    def missing() -> dict[str, float]:
        there = since(COLLECTOR, f"{lab.REMOTE_LOGS}/{lab.GATEWAY}/mail.log")
        return {line: at for line, at in wanted.items() if line not in there}

    wanted = since(GATEWAY, "/var/log/mail.log")
    if len(wanted) < held.row.sent:
        return [f"the gateway has but {len(wanted)} lines"]
    noticed = [at for at in map(lab.moment, NOTICED.findall(GATEWAY.sh("cat /var/log/syslog"))) if at >= held.begun]
    if not noticed:
        return ["the gateway never noticed that the management host was away"]

    def lost() -> dict[str, float]:
        return {line: at for line, at in missing().items() if not noticed[0] - ON_THE_WIRE <= at <= noticed[0]}

    with contextlib.suppress(AssertionError):
        lab.until(lambda: not lost(), "all lines", 120)
    if found := lost():
        return [f"{len(found)} of {len(wanted)} log lines are lost, such as {min(found)[:120]!r}"]
    if found := missing():
        held.row.notes.append(f"{len(found)} of {len(wanted)} log lines were on the wire")
    return []


# -- a dead destination ------------------------------------------------------------------------------------------------

# A message is in the queue once; it is put there again and again under other names, whole and as its user has it.
MULTIPLY = f"""
import glob, os, pathlib, shutil
os.chdir({QUEUE!r})
ours = lambda name: os.path.exists(name) and {DEAD.encode()!r} in pathlib.Path(name).read_bytes()
(one,) = [name[2:] for name in glob.glob("qf*") if ours(name)]
owner = os.stat("qf" + one)
for number in range({MANY}):
    for kind in ("df", "qf"):
        name = f"{{kind}}{{one[:-6]}}{{number + 500000}}"
        shutil.copyfile(kind + one, name + ".new")
        os.chmod(name + ".new", 0o600)
        os.chown(name + ".new", owner.st_uid, owner.st_gid)
        os.rename(name + ".new", name)
print(len(glob.glob("qf*")))
"""


def dead() -> str:
    """Mail for somebody who is not there, first one message, then thousands."""
    on(ROUTER, forget(f"ip daddr {DEAD}"))()
    # By way of the store, as a user's mail goes: the gateway takes the store's word for nothing without its certificate.
    said = drill.DESK.call(
        away.smtp,
        address=mailflow.STORE,
        port=lab.port("smtp"),
        commands=lab.letter(mailflow.ours(lab.users()[0]), [f"nobody@[{DEAD}]"], lab.token()),
    )
    lab.queue_id(said[-2])
    lab.until(lambda: GATEWAY.run("sh", "-c", f"grep -lF '[{DEAD}]' {QUEUE}/qf*", check=False).stdout, "the first message", 30)
    return str(GATEWAY.run("python3", "-c", MULTIPLY, timeout=120).stdout)


def buried() -> None:
    """They are taken out again: nobody will ever come for them."""
    on(
        GATEWAY,
        f"systemctl stop sendmail; cd {QUEUE}; grep -lF '[{DEAD}]' qf* | sed 's/^qf\\(.*\\)/qf\\1 df\\1 xf\\1/' | xargs rm -f",
    )()
    on(GATEWAY, f"systemctl start sendmail; ls {QUEUE} | wc -l")()
    on(ROUTER, REMEMBER)()


# -- loss of power -----------------------------------------------------------------------------------------------------

# All processes of the MTA stand still while its queue is copied: what a machine would find after it had lost power, but for what
# was still in the memory of the kernel (that sendmail waits for the disk before it says 250 is shown by `make bench`).
SNAPSHOT = f"""rm -rf {KEPT}; mkdir -m 0700 {KEPT}
for turn in $(seq {SNAPSHOTS}); do
    sleep $(shuf -i 1-4 -n 1).$(shuf -i 0-9 -n 1)
    date +%s.%N
    systemctl kill --signal=STOP sendmail
    cp -a {QUEUE} {KEPT}/$turn
    systemctl kill --signal=CONT sendmail
done"""


def power() -> list[float]:
    """Snapshots at random moments, while the store is away, so that the queue holds something."""
    return [float(line) for line in on(GATEWAY, SNAPSHOT)().split()]


def booted(held: Held) -> list[str]:
    """A check: whatever was taken before a snapshot is in it or had been handed on, and a gateway that begins with it delivers it."""
    found = []
    (sent,) = [entries for host, entries in held.flow.ledgers().items() if host == lab.STRANGER]
    names = {lab.queue_id(f"250 {message.reply}"): message for message in sent.values() if message.taken}
    log = GATEWAY.sh("cat /var/log/mail.log")
    handed_on = {
        match[2]: lab.moment(match[1]) for match in re.finditer(r"(?m)^(\S+) \S+ sm-mta\[\d+\]: (\w+): to=.*stat=Sent", log)
    }
    for turn, moment in enumerate(held.made, 1):
        kept = set(re.findall(r"(?m)^qf(\w+)$", GATEWAY.sh(f"ls {KEPT}/{turn}")))
        wanted = {number for number, message in names.items() if message.taken < moment}
        gone = {number for number in wanted - kept if handed_on.get(number, moment + 1) > moment + 0.5}
        found += [f"snapshot {turn}: {number} was taken and is nowhere" for number in sorted(gone)]
        if not wanted & kept:
            found.append(f"snapshot {turn} holds nothing of the drill's")
        begin = time.time()
        on(
            GATEWAY,
            f"systemctl stop sendmail; find {QUEUE} -type f -delete; cp -a {KEPT}/{turn}/. {QUEUE}/; systemctl start sendmail",
        )()
        again = {names[number].name for number in kept & set(names)}

        def missing(again: set[str] = again, begin: float = begin) -> set[str]:
            held.flow.look()
            return again - {str(entry.get("name")) for entry in held.flow.arrivals if entry["at"] >= begin}

        try:
            lab.until(lambda: not missing(), "mail of the snapshot", 150)
        except AssertionError:
            found.append(f"snapshot {turn}: {len(missing())} of {len(again)} messages do not arrive")
    lab.until(lambda: not drill.beyond(held.flow.before), "empty queues", 60)
    GATEWAY.sh(f"rm -rf {KEPT}")
    return found


# -- too many at once --------------------------------------------------------------------------------------------------

# Strangers who say a word a second and no more, together half as many again as are served at once.
CROWD = range(150, 170)
EACH = 2 + lab.limit_of("sendmail_max_daemon_children") * 3 // 2 // len(CROWD)
SLOW, GAP = "NOOP " + "x" * 60, 0.5
# How many in a row an honest sender may find before it, how long each of those talks, and how long it takes until the honest one has
# noticed that nobody greets it and has come back.
TURNS = math.ceil(len(CROWD) * EACH / lab.limit_of("sendmail_max_daemon_children"))
PATIENT = TURNS * len(SLOW) * GAP + postman.CONNECTING + postman.LONGEST_PAUSE
# The most processes at a time, and the most memory (KiB) that they had together.
WATCH = """end=$(($(date +%s) + 45))
while test $(date +%s) -lt $end; do
    pids=$(pgrep -x sendmail)
    echo $(echo "$pids" | wc -l) $(for pid in $pids; do cat /proc/$pid/smaps_rollup 2>/dev/null || true; done | awk '/^Pss:/ {s += $2} END {print s}')
    sleep 0.5
done | awk '$1 > p {p = $1} $2 > m {m = $2} END {print p, m}'"""


def crowd() -> tuple[Future[Any], Future[list[dict[str, Any]]]]:
    """Slow strangers from many addresses, and somebody who counts processes meanwhile."""

    def come() -> list[dict[str, Any]]:
        with drill.addresses(CROWD) as sources:
            turns = [{"say": "", "hear": 1}, {"say": "EHLO crowd.example\r\n", "hear": 1}, {"say": SLOW, "hear": 0, "gap": GAP}]
            talks = [{"source": source, "turns": turns} for source in sources for _ in range(EACH)]
            server = {"address": lab.public(lab.GATEWAY), "port": lab.port("smtp")}
            said: list[dict[str, Any]] = drill.STRANGER.call(
                away.conversations, **server, talks=talks, patience=60, at_once=len(talks)
            )
            return said

    pool = ThreadPoolExecutor(2)
    return pool.submit(on(GATEWAY, WATCH)), pool.submit(come)


def bounded(held: Held) -> list[str]:
    """A check: more came than are served, and the processes and their memory stayed within what the unit may have."""
    counted, said = (future.result() for future in held.made)
    served = sum("220 " in " ".join(entry["heard"]) for entry in said)
    most, memory = (int(number) for number in counted.split())
    # systemctl says properties in an order of its own, so one at a time.
    unit = [GATEWAY.sh(f"systemctl show -P {name} sendmail").strip() for name in ("TasksMax", "MemoryMax")]
    children = lab.limit_of("sendmail_max_daemon_children")
    out = []
    if not children * 0.8 <= most:
        out.append(f"the crowd made no more than {most} processes")
    if most > int(unit[0]) or memory * 1024 > int(unit[1]):
        out.append(f"{most} processes with {memory} KiB, more than the unit's bounds {unit}")
    if not served < len(said):
        out.append(f"all of the {len(said)} strangers were served at once")
    return out


# -- the list ----------------------------------------------------------------------------------------------------------

CHANGED = ["--limit", lab.GATEWAY, "-e", json.dumps({"sendmail_max_recipients": 99})]
BACK = ["--limit", lab.GATEWAY]

# Why a message may come twice: the 250 was given, or was just to be given, and whoever waited for it did not hear it.
ENDED = "a process may end between what it did and its 250"
UNHEARD = "a 250 may be lost on its way"

FAULTS = [
    Fault(
        "store-stopped",
        "the store's sendmail is stopped",
        on(STORE, "systemctl stop sendmail"),
        on(STORE, "systemctl start sendmail"),
        holds=20,
        short=True,
        repeats=ENDED,
    ),
    Fault(
        "mailboxes-stopped",
        "the store's dovecot is stopped",
        on(STORE, "systemctl stop dovecot"),
        on(STORE, "systemctl start dovecot"),
        holds=20,
        repeats=ENDED,
    ),
    Fault("store-down", "the store is shut down", engine(STORE, "stop"), engine(STORE, "start"), holds=20, repeats=ENDED),
    Fault(
        "gateway-killed",
        "the gateway's daemon gets SIGKILL",
        on(GATEWAY, "systemctl kill --kill-who=main --signal=KILL sendmail"),
        holds=8,
        short=True,
        repeats=ENDED,
    ),
    Fault(
        "gateway-child-killed",
        "processes of the gateway get SIGKILL amidst a text",
        on(GATEWAY, KILL_IN_DATA),
        restore=on(GATEWAY, ORPHANS),
        pause=1.5,
        check=killed,
        short=True,
        repeats=ENDED,
    ),
    Fault(
        "gateway-crashed",
        "the gateway dies as a whole",
        engine(GATEWAY, "kill"),
        engine(GATEWAY, "start"),
        holds=15,
        short=True,
        repeats=ENDED,
    ),
    Fault(
        "firewall-unit",
        "the firewall's rules are loaded again and again",
        on(FIREWALL, "for i in 1 2 3 4 5; do systemctl restart nftables; sleep 1; done"),
    ),
    Fault(
        "firewall-crashed",
        "the firewall dies as a whole",
        engine(FIREWALL, "kill"),
        engine(FIREWALL, "start"),
        holds=10,
        repeats=UNHEARD,
        drained=FORGOTTEN,
    ),
    Fault(
        "quota-gone",
        "what the gateway asks about full mailboxes is stopped",
        on(GATEWAY, "systemctl stop sendmail-quota"),
        on(GATEWAY, "systemctl start sendmail-quota"),
        holds=20,
    ),
    Fault(
        "quota-wedged",
        "what the gateway asks about full mailboxes does not answer",
        on(GATEWAY, "systemctl kill -s STOP sendmail-quota"),
        holds=40,
    ),
    Fault(
        "dns-refuses",
        "the name server is stopped",
        on(NAMESERVER, "systemctl stop named"),
        on(NAMESERVER, "systemctl start named"),
        holds=30,
    ),
    Fault(
        "dns-silent", "the name server does not answer", engine(NAMESERVER, "pause"), engine(NAMESERVER, "unpause"), holds=45
    ),
    Fault(
        "cut",
        "packets between gateway and store are lost",
        on(FIREWALL, CUT),
        on(FIREWALL, REMEMBER),
        holds=100,
        repeats=UNHEARD,
    ),
    Fault(
        "link-down",
        "the firewall's inside link is down",
        on(FIREWALL, LINK_DOWN),
        on(FIREWALL, LINK_UP),
        holds=30,
        repeats=UNHEARD,
        check=as_itself,
    ),
    Fault(
        "logs-down",
        "the management host is shut down",
        engine(COLLECTOR, "stop"),
        engine(COLLECTOR, "start"),
        holds=30,
        within=5,
        check=lines_kept,
    ),
    Fault(
        "clock-set-back",
        "the clock of the gateway's MTA is an hour ahead, and then set back, while the store's sendmail is stopped",
        ahead,
        set_back,
        holds=75,
        prepare=on(GATEWAY, FAKED),
        restore=on(GATEWAY, TRUE),
        check=was_ahead,
        repeats=ENDED,
    ),
    # sendmail looks at the free space no more often than every 300 seconds. Until then a text that finds no room is put off.
    Fault(
        "disk-fills",
        "the gateway's queue has no space left all of a sudden",
        on(GATEWAY, FILL),
        on(GATEWAY, f"rm {QUEUE}/fill"),
        holds=15,
        prepare=SMALL,
        restore=WHOLE,
        check=put_off("end", *NO_ROOM),
        short=True,
        part_of="disk-full",
    ),
    # sendmail hangs up after the text here, without a word: the sender comes back as it would after a 4xx.
    Fault(
        "inodes-full",
        "the gateway's queue can have no more files",
        on(GATEWAY, f"seq -f {QUEUE}/fill%g {FILES} | xargs touch 2>/dev/null || true"),
        on(GATEWAY, f"find {QUEUE} -name 'fill*' -delete"),
        holds=15,
        prepare=SMALL,
        restore=WHOLE,
        check=put_off("end", 0, *NO_ROOM),
    ),
    # For a while sendmail has not seen it yet; a daemon that was reloaded looks at once. It is told nothing afterwards: that there is
    # room again it sees by itself.
    Fault(
        "disk-full",
        "the gateway's queue has no space left, first unseen, then seen by sendmail",
        on(GATEWAY, f"{{ {FILL}; }}; sleep 15; systemctl reload sendmail"),
        on(GATEWAY, f"rm {QUEUE}/fill"),
        holds=30,
        # All come back every few seconds meanwhile: no more of them than the limit for one address lets in.
        every=3.0,
        prepare=SMALL,
        restore=WHOLE,
        check=lambda held: [*put_off("end", *NO_ROOM)(held), *put_off("MAIL", 452)(held)],
    ),
    Fault(
        "reloaded",
        "the gateway's sendmail is reloaded every second",
        on(GATEWAY, "for i in $(seq 15); do systemctl reload sendmail; sleep 1; done"),
    ),
    Fault(
        "converged",
        "site.yml changes a setting of the gateway's sendmail, and changes it back",
        play("site.yml", *CHANGED),
        play("site.yml", *BACK),
        repeats=ENDED,
    ),
    Fault("reinstalled", "the gateway's packages of sendmail are installed again", on(GATEWAY, REINSTALL), repeats=ENDED),
    Fault(
        "dead-destination",
        f"{MANY} messages wait for somebody who is not there",
        dead,
        buried,
        # Two runs of the queue, and what the first takes to give up.
        holds=120,
        within=10,
        repeats=ENDED,
    ),
    Fault(
        "power-loss",
        f"the gateway loses power: {SNAPSHOTS} copies of its queue, each booted",
        power,
        on(STORE, "systemctl start sendmail"),
        prepare=lambda: (on(GATEWAY, EMPTY)(), on(STORE, "systemctl stop sendmail")()),
        restore=on(STORE, "systemctl start sendmail"),
        check=booted,
    ),
    Fault("crowd", "more strangers than are served at once, and slow ones", crowd, holds=50, within=PATIENT, check=bounded),
]
