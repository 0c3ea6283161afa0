"""Aliases that lead to a program, and forward files: off unless somebody turned them on, and then only so far."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.site import lab, mailflow

SENDER, READER = lab.users()[:2]
FORWARD_PATH = "/etc/mail/forward/$u"


@pytest.mark.requirement("SM-9", side="positive")
@pytest.mark.parametrize("name", sorted(set(lab.aliases()) - set(lab.people())))
def test_an_alias_to_a_program_on_the_list_hands_it_the_message(name: str, store: lab.Machine) -> None:
    word = lab.token()
    entry = mailflow.from_the_desk([mailflow.ours(name)], word, mailflow.ours(SENDER))
    lab.until(lambda: word in store.sh("journalctl --identifier pager --output cat --lines 200"), f"{word} from the program")
    said = lab.until(lambda: store.sh(f"grep '{entry}: to=' /var/log/mail.log || true"), f"the delivery of {entry}")
    assert "mailer=prog" in said and "stat=Sent" in said


@pytest.mark.requirement("SM-9", side="negative")
def test_no_alias_is_in_force_but_those_of_the_inventory(store: lab.Machine) -> None:
    entries = dict(line.split("\t", 1) for line in store.sh("makemap -u hash /etc/mail/aliases").splitlines())
    assert entries.pop("@") == "@"  # how sendmail knows that the map is whole
    found = {name: sorted(target.strip('"') for target in targets.split(", ")) for name, targets in entries.items()}
    assert found == {name: sorted(targets) for name, targets in lab.aliases().items()}


@pytest.fixture
def smuggled(store: lab.Machine) -> Iterator[str]:
    """An alias to a program off the list, put there by hand past every check; the files as they were afterwards."""
    name = "smuggled"
    store.sh(
        "mkdir /run/kept && cp -a /etc/mail/aliases /etc/mail/aliases.db /run/kept/"
        f" && echo '{name}: \"|/usr/bin/tee /var/spool/mqueue/{name}\"' >> /etc/mail/aliases"
        " && grep -v '^O RunAsUser' /etc/mail/sendmail.cf > /run/kept/build.cf"
        " && sendmail -C /run/kept/build.cf -bi"
    )
    yield name
    store.sh(f"cp -a /run/kept/aliases /run/kept/aliases.db /etc/mail/ && rm -rf /run/kept /var/spool/mqueue/{name}")


@pytest.mark.requirement("SM-9", side="negative")
def test_a_program_off_the_list_does_not_run_and_the_sender_is_told(smuggled: str, store: lab.Machine) -> None:
    word = lab.token()
    entry = mailflow.from_the_desk([mailflow.ours(smuggled)], word, mailflow.ours(SENDER))
    bounce = mailflow.fetched(SENDER, "not available for sendmail programs")
    assert bounce is not None and 'smrsh: "tee" not available' in bounce
    said = lab.until(lambda: store.sh(f"grep '{entry}: to=' /var/log/mail.log || true"), f"the delivery of {entry}")
    assert "stat=Service unavailable" in said
    assert store.run("test", "-e", f"/var/spool/mqueue/{smuggled}", check=False).returncode != 0


@pytest.mark.requirement("SM-9", side="negative")
def test_a_program_that_others_can_write_is_refused_before_anything_changes(store: lab.Machine) -> None:
    before = store.sh("ls -l --full-time /etc/mail /etc/mail/smrsh")
    store.sh("install -m 0777 /bin/true /usr/local/bin/loose")
    try:
        told = lab.ansible(
            *["ansible-playbook", "playbooks/mail.yml", "--limit", lab.STORE, "--tags", "sendmail"],
            *["--extra-vars", '{"sendmail_programs": {"loose": "/usr/local/bin/loose"}}'],
            check=False,
        )
    finally:
        store.sh("rm /usr/local/bin/loose")
    assert told.returncode != 0 and "the program loose (/usr/local/bin/loose)" in told.stdout + told.stderr
    assert store.sh("ls -l --full-time /etc/mail /etc/mail/smrsh") == before


@pytest.fixture
def forwarding_on(store: lab.Machine) -> Iterator[None]:
    """The option turned on, and a file of the reader's that sends everything on to the sender."""
    play = ["ansible-playbook", "playbooks/mail.yml", "--limit", lab.STORE, "--tags", "sendmail"]
    lab.ansible(*play, "--extra-vars", f"sendmail_forward_path={FORWARD_PATH}")
    store.sh(f"echo {mailflow.ours(SENDER)} > {FORWARD_PATH.replace('$u', READER)}")
    yield
    store.sh("rm -r /etc/mail/forward")
    lab.ansible(*play)


@pytest.mark.requirement("MS-4", side="positive")
@pytest.mark.usefixtures("forwarding_on")
def test_a_forward_file_sends_mail_on_where_the_option_is_on() -> None:
    word = lab.token()
    mailflow.from_the_world([mailflow.ours(READER)], word)
    assert mailflow.fetched(SENDER, word) is not None
