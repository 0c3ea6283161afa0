"""Certificates of an ACME authority on the gateway: had, shown, renewed, kept where the authority is away; and the lab as before afterwards.

The lab's gateway has none by default (site_acme in its inventory): the fixture turns it on and off by the playbooks that a person uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.check import truth
from tests.site import authority, away, lab, mailflow, recap
from tests.site.test_tls import SERVER, shows

READER = lab.users()[0]
NAME = lab.fqdn(lab.GATEWAY)
STATE = "/var/lib/acme"
ON = json.dumps({"lab_acme_hosts": [lab.GATEWAY]})
# The authority's root, which it makes anew at each start.
ROOT = "import ssl, urllib.request as u; print(u.urlopen('https://127.0.0.1:15000/roots/0', context=ssl._create_unverified_context()).read().decode())"


def run(*arguments: str) -> str:
    """Mail's playbook for the gateway alone, as far as this is about."""
    argv = ["ansible-playbook", "playbooks/mail.yml", "--limit", lab.GATEWAY, "--tags", "acme,sendmail", *arguments]
    return lab.ansible(*argv).stdout


def certificate(gateway: lab.Machine) -> str:
    """The file that sendmail shows the world."""
    return gateway.sh("sed -n 's/^O ServerCertFile=//p' /etc/mail/sendmail.cf").strip()


def root() -> str:
    """The root that the world believes in."""
    return lab.Machine(lab.STRANGER).run("python3", "-c", ROOT).stdout


def believed(authority: str, by: str) -> dict[str, str]:
    """What a client that believes in one authority sees of the gateway."""
    place = {"address": lab.reach(lab.GATEWAY, by), "port": lab.port("smtp")}
    found: dict[str, str] = lab.Machine(by).call(away.tls_probe, **place, starttls="smtp", authority=authority, name=NAME)
    return found


@pytest.fixture(scope="module")
def gateway_with_a_certificate() -> Iterator[lab.Machine]:
    """The gateway, once the world's authority has signed what it shows; as before at the end."""
    gateway = lab.Machine(lab.GATEWAY)
    before = shows(gateway)
    # A user comes and goes, and the tables of users have copies in which Tripwire would see that.
    tables = "/etc/passwd- /etc/shadow- /etc/group- /etc/gshadow-"
    gateway.sh(f"mkdir -m 0700 /run/tables && cp -a {tables} /run/tables/")
    # Sessions go on through this as well: a client is never shown nothing.
    run("-e", ON)
    try:
        lab.until(lambda: believed(root(), lab.STRANGER)["version"], "a certificate of the authority")
        yield gateway
    finally:
        run()
        argv = ["ansible-playbook", "playbooks/remove.yml", "--limit", lab.GATEWAY, "-e", "remove_roles=acme"]
        lab.ansible(*argv)
        gateway.sh("cp -a /run/tables/* /etc/ && rm -r /run/tables")
        assert shows(gateway) == before
        left = gateway.sh(
            "ls -d /etc/acme /var/lib/acme /etc/systemd/system/acme-* /etc/mail/certificates/acme.pem 2>/dev/null || true"
        )
        assert left == "" and gateway.run("id", "acme", check=False).returncode != 0


def almost_over(gateway: lab.Machine) -> None:
    """As far as the client that asks for new ones knows, the certificate ends tomorrow."""
    gateway.run("tee", f"{STATE}/ready/mta.pem", text=authority.of(authority.certificate(NAME, days=1)))


@pytest.mark.requirement("SM-15", side="positive")
@pytest.mark.requirement("GW-2", side="positive")
def test_the_world_is_shown_what_the_authority_signed_and_own_hosts_what_they_know(
    gateway_with_a_certificate: lab.Machine,
) -> None:
    assert believed(root(), lab.STRANGER)["version"] == "TLSv1.3"
    assert "fail" in believed(authority.authority(), lab.STRANGER)["why"]
    assert believed(authority.authority(), lab.STORE)["version"] == "TLSv1.3"
    # Both ways, where it is verified or waits.
    inward, outward = lab.token(), lab.token()
    mailflow.from_the_world([mailflow.ours(READER)], inward)
    mailflow.from_the_desk([mailflow.FOREIGNER], outward, mailflow.ours(READER))
    assert mailflow.fetched(READER, inward) is not None
    mailflow.arrived_abroad(outward)


def test_a_second_run_changes_nothing(gateway_with_a_certificate: lab.Machine) -> None:
    said = run("-e", ON)
    assert "changed=0" in said and "failed=0" in said, said


def test_what_somebody_changed_in_the_client_is_foretold_and_mended_by_the_tag_alone(
    gateway_with_a_certificate: lab.Machine,
) -> None:
    gateway, unit = gateway_with_a_certificate, "/etc/systemd/system/acme-renew.service"
    gateway.sh(f"sed -i 's/^User=acme$/User=root/' {unit} && systemctl -q disable --now acme-renew.timer")
    assert "User=root" in gateway.sh(f"cat {unit}")
    argv = ("playbooks/mail.yml", "--limit", lab.GATEWAY, "--tags", "acme", "-e", ON, "--diff")
    foretold, made = recap.play(*argv, "--check"), recap.play(*argv)
    assert truth.untrue(foretold, made) == []
    assert {recap.role_of(task) for _host, task in made.changes} == {"acme"}
    assert gateway.sh("systemctl show -P User acme-renew.service; systemctl is-enabled acme-renew.timer").split() == [
        "acme",
        "enabled",
    ]
    assert gateway.sh("systemctl is-active acme-renew.timer").strip() == "active"
    assert recap.play(*argv).changes == set()


@pytest.mark.requirement("SM-7", side="negative")
def test_who_asks_for_certificates_can_read_no_key_of_a_daemon(gateway_with_a_certificate: lab.Machine) -> None:
    path = certificate(gateway_with_a_certificate)
    assert gateway_with_a_certificate.run("stat", "-c", "%U %a", path).stdout.split() == ["smmta", "400"]
    assert gateway_with_a_certificate.run("cat", path, user="acme", check=False).returncode != 0
    # It has a key of its own, that of its account.
    keys = gateway_with_a_certificate.sh(f"grep -rl 'PRIVATE KEY' {STATE}").split()
    assert keys and all(key.startswith(f"{STATE}/lego/accounts/") for key in keys), keys
    assert gateway_with_a_certificate.sh(f"find {STATE} ! -user acme").split() == []


@pytest.mark.requirement("OPS-5", side="negative")
@pytest.mark.parametrize(("unit", "limit"), [("acme-renew", 1.5), ("acme-install", 2.0)])
def test_what_sees_to_certificates_could_do_little_if_somebody_took_it_over(
    unit: str, limit: float, gateway_with_a_certificate: lab.Machine
) -> None:
    said = gateway_with_a_certificate.sh(f"systemd-analyze security --no-pager {unit}.service | tail -n 1")
    assert float(said.split(":")[1].split()[0]) <= limit, said


@pytest.mark.requirement("SM-6", side="positive")
@pytest.mark.requirement("SM-6", side="negative")
def test_a_certificate_is_renewed_ahead_of_time_and_drops_no_session(
    gateway_with_a_certificate: lab.Machine, stranger: lab.Machine
) -> None:
    gateway = gateway_with_a_certificate
    before, key = shows(gateway), gateway.sh(f"openssl pkey -pubout -in {certificate(gateway)}")
    pid = gateway.sh("systemctl show -P MainPID sendmail")
    word = lab.token()
    *transaction, _quit = lab.letter(mailflow.FOREIGNER, [mailflow.ours(READER)], word)[1:]
    with stranger.talk(away.smtp_session, **SERVER) as session:
        session.read()
        for command in ("EHLO probe.example", "STARTTLS", "EHLO probe.example", *transaction[:-1]):
            reply = session.ask(command)
        assert reply.startswith("354 ")
        almost_over(gateway)
        gateway.run("systemctl", "start", "acme-renew.service")
        lab.until(lambda: shows(gateway) not in ("", before), "the new certificate")
        # In the midst of a message all the while.
        assert lab.queue_id(session.ask(transaction[-1]))
    assert mailflow.fetched(READER, word) is not None
    assert believed(root(), lab.STRANGER)["version"] == "TLSv1.3"
    assert gateway.sh("systemctl show -P MainPID sendmail") == pid
    assert gateway.sh(f"openssl pkey -pubout -in {certificate(gateway)}") == key


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.requirement("SM-15", side="negative")
def test_the_old_certificate_stays_while_the_authority_is_away_and_the_log_says_so(
    gateway_with_a_certificate: lab.Machine, stranger: lab.Machine
) -> None:
    gateway = gateway_with_a_certificate
    before = shows(gateway)
    lines = int(gateway.sh("wc -l < /var/log/mail.log"))
    stranger.run("systemctl", "stop", "pebble")
    try:
        almost_over(gateway)
        assert gateway.run("systemctl", "start", "acme-renew.service", check=False).returncode != 0
        assert gateway.run("systemctl", "is-failed", "acme-renew.service").stdout.strip() == "failed"
        said = lab.until(
            lambda: gateway.sh(
                f"tail -n +{lines + 1} /var/log/mail.log | grep -F 'no new certificate, the old one stays' || true"
            ),
            "a line in the log",
        )
        assert "mta:" in said
        # What the client has of an authority that nobody asked is not taken for one of this key.
        lab.until(
            lambda: gateway.sh(f"tail -n +{lines + 1} /var/log/mail.log | grep -F 'acme.pem stays as it is' || true"),
            "another line",
        )
        assert shows(gateway) == before
    finally:
        stranger.run("systemctl", "start", "pebble")
    lab.until(
        lambda: gateway.run("systemctl", "start", "acme-renew.service", check=False).returncode == 0,
        "the authority's answer",
        30,
    )
    lab.until(lambda: shows(gateway) not in ("", before), "the new certificate")
