"""From an earlier release to this tree, with mail in the queues and more coming all the while: nothing is lost.

UPGRADE_FROM names the commit or tag to begin with, the latest tag before this commit where it is not set: a release is tested from the
one before it. The hosts have to be bare when this begins; `make test-upgrade` makes them, and lets the tests run in this order.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.site import drill, lab, ledger, mailflow, recap

TREE = lab.ROOT / ".lab/upgrade"
READER = lab.users()[0]


def git(*argv: str, check: bool = True) -> str:
    """What git says of this clone."""
    done = subprocess.run(["git", "-C", str(lab.ROOT), *argv], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"git {' '.join(argv)}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def former() -> Iterator[Path]:
    """The earlier tree, with the lab's secrets where its inventory looks for them."""
    begin = os.environ.get("UPGRADE_FROM") or git("describe", "--tags", "--abbrev=0", "HEAD^", check=False)
    if not begin:
        pytest.exit("There is no tag yet: `make test-upgrade FROM=COMMIT` says what to begin with.", 1)
    git("worktree", "remove", "--force", str(TREE), check=False)
    git("worktree", "add", "--detach", str(TREE), begin)
    (TREE / ".lab").symlink_to(lab.ROOT / ".lab")
    yield TREE
    git("worktree", "remove", "--force", str(TREE))


@dataclass
class Story:
    """What the upgrade was like: what waited for it, what it changed, and what came of the mail."""

    waited: dict[str, int] = field(default_factory=dict)
    run: recap.Run | None = None
    row: ledger.Row | None = None


@pytest.fixture(scope="session")
def story(former: Path, request: pytest.FixtureRequest) -> Story:
    """The earlier tree, a message in a mailbox, mail in each queue; then this tree, while more mail comes."""
    recap.play("site.yml", inventory=former / "inventories/lab", tree=former)
    out = Story()
    clients = [lab.Machine(name) for name in lab.group("mail_clients") if lab.zone(name) == lab.zone(lab.GATEWAY)]

    def stop() -> None:
        drill.on(drill.STORE, "systemctl stop sendmail")()
        drill.on(drill.STRANGER, "postfix stop")()

    def upgrade() -> None:
        # The gateway last, so that the others had somebody to send to: what is submitted now waits in the clients' own queues.
        drill.on(drill.GATEWAY, "systemctl stop sendmail")()
        for client in clients:
            text = f"To: {mailflow.ours(READER)}\nSubject: upgrade\n\n{client.name}\n"
            client.run("/usr/sbin/sendmail", "-t", user=lab.NOBODY, text=text)
        for machine, queue in [(drill.GATEWAY, drill.QUEUE), *((client, "/var/spool/mqueue-client") for client in clients)]:
            out.waited[machine.name] = int(machine.sh(f"find {queue} -name 'qf*' | wc -l"))
        out.run = recap.play("site.yml")
        drill.on(drill.STRANGER, "postfix start")()

    what = "an upgrade, with the queues full"
    repeats = "sendmail is stopped and restarted amidst transactions: a client may not hear the 250 that it got"
    out.row = drill.hold(drill.Fault("upgraded", what, stop, upgrade, holds=8.0, repeats=repeats))
    text = f"{recap.summary(out.run.changes)}\n" if out.run else ""
    (lab.ROOT / ".lab/upgrade.txt").write_text(text, encoding="utf-8")
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.write_line(f"\nWhat the upgrade changed:\n{text}")
    return out


def test_mail_waited_in_every_queue_when_the_upgrade_began(story: Story) -> None:
    assert len(story.waited) > 1 and all(story.waited.values()), story.waited


def test_nothing_is_lost_and_all_arrives_by_itself(story: Story) -> None:
    assert story.row is not None
    assert story.row.good, story.row.verdict


def test_what_clients_had_queued_arrives(story: Story) -> None:
    for name in story.waited:
        if name != lab.GATEWAY:
            assert mailflow.fetched(READER, f"\n{name}", deadline=100) is not None, name


def test_the_next_run_changes_nothing(story: Story) -> None:
    assert recap.play("site.yml").changes == set()
