"""What senders are asked to keep to (MTA-STS): found by the DNS, fetched by HTTPS under its own name, true, and nothing else served."""

from __future__ import annotations

import re

import pytest

from tests.site import authority, away, lab

DOMAIN = lab.domain()
NAME = f"mta-sts.{DOMAIN}"
POLICY = lab.variables()["site_mta_sts"]
PLACE = {"address": lab.public(lab.GATEWAY), "port": lab.port("https")}
# A client that looks the name up as any would, and believes in the lab's authority alone.
FETCH = """
import ssl, sys, urllib.request, urllib.error
context = ssl.create_default_context(cadata=sys.stdin.read())
for path in sys.argv[1:]:
    request = urllib.request.Request(path, method="GET")
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            print(answer.status, answer.headers["Content-Type"], answer.headers["Server"], repr(answer.read().decode()))
    except urllib.error.HTTPError as problem:
        print(problem.code, problem.headers["Server"])
"""


def fetched(*paths: str) -> list[str]:
    """What the policy's server answers a stranger, a line for each path."""
    urls = [f"https://{NAME}{path}" for path in paths]
    return lab.Machine(lab.STRANGER).run("python3", "-c", FETCH, *urls, text=authority.authority()).stdout.splitlines()


def texts(name: str) -> list[str]:
    """A name's texts, as the world's resolver has them."""
    script = (
        "import dns.resolver as r, sys; print('\\n'.join(b''.join(x.strings).decode() for x in r.resolve(sys.argv[1], 'TXT')))"
    )
    return lab.Machine(lab.STRANGER).run("python3", "-c", script, name).stdout.splitlines()


@pytest.mark.requirement("SM-15", side="positive")
def test_senders_find_a_policy_that_names_the_servers_of_the_mx_record() -> None:
    (record,) = texts(f"_mta-sts.{DOMAIN}")
    assert re.fullmatch(r"v=STSv1; id=[A-Za-z0-9]{1,32};", record)
    (answer,) = fetched("/.well-known/mta-sts.txt")
    status, kind, server, body = answer.split(" ", 3)
    assert (status, kind) == ("200", "text/plain") and server == "mta-sts", answer
    script = (
        "import dns.resolver as r, sys; print('\\n'.join(str(x.exchange).rstrip('.') for x in r.resolve(sys.argv[1], 'MX')))"
    )
    exchangers = lab.Machine(lab.STRANGER).run("python3", "-c", script, DOMAIN).stdout.split()
    lines = [line.partition(": ")[::2] for line in body.strip("'").replace("\\n", "\n").splitlines()]
    assert lines[:2] == [("version", "STSv1"), ("mode", POLICY["mode"])] and lines[-1] == ("max_age", str(POLICY["max_age"]))
    assert [value for key, value in lines if key == "mx"] == exchangers


def test_failures_are_reported_to_somebody() -> None:
    assert texts(f"_smtp._tls.{DOMAIN}") == [f"v=TLSRPTv1; rua=mailto:postmaster@{DOMAIN}"]


@pytest.mark.requirement("SM-15", side="negative")
def test_nothing_else_is_served_and_no_version_told() -> None:
    paths = ["/", "/.well-known/", "/.well-known/../lighttpd.conf", "/%2e%2e/certificate.pem", "/mta-sts.txt"]
    for path, answer in zip(paths, fetched(*paths), strict=True):
        assert re.fullmatch(r"40[0-9] mta-sts", answer), (path, answer)


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_an_old_protocol_is_refused(version: str, stranger: lab.Machine) -> None:
    found = stranger.call(away.tls_probe, **PLACE, versions=[version])
    assert found["version"] == "" and "alert" in found["why"], found


@pytest.mark.requirement("SM-7", side="negative")
def test_its_server_is_not_root_and_nobody_else_reads_its_key(gateway: lab.Machine) -> None:
    assert set(gateway.sh("ps -o user= -C lighttpd").split()) == {"www-data"}
    for user in (lab.NOBODY, "smmta"):
        assert gateway.run("cat", "/etc/mta-sts/certificate.pem", user=user, check=False).returncode != 0


@pytest.mark.requirement("SM-6", side="positive")
def test_a_new_certificate_is_shown_after_a_reload_by_the_same_process(gateway: lab.Machine, stranger: lab.Machine) -> None:
    file = "/etc/mta-sts/certificate.pem"
    pid = gateway.sh("systemctl show -P MainPID lighttpd")
    before = stranger.call(away.tls_probe, **PLACE)["pem"]
    gateway.sh(f"cp -p {file} /run/kept.pem")
    try:
        both = authority.certificate(NAME)
        gateway.run("tee", file, text=both)
        gateway.run("systemctl", "reload", "lighttpd")
        lab.until(lambda: stranger.call(away.tls_probe, **PLACE).get("pem") == authority.of(both), "the new certificate")
        assert gateway.sh("systemctl show -P MainPID lighttpd") == pid
        assert fetched("/.well-known/mta-sts.txt")[0].startswith("200 ")
    finally:
        gateway.sh(f"cp -p /run/kept.pem {file} && rm /run/kept.pem")
        gateway.run("systemctl", "reload", "lighttpd")
        lab.until(lambda: stranger.call(away.tls_probe, **PLACE).get("pem") == before, "the certificate from before")
