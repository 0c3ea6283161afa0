"""MTA-STS: what senders are asked to keep to is found, fetched, true, and all that is served; what others ask for is kept to."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.site import authority, away, lab, mailflow

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


# -- what others ask for -----------------------------------------------------------------------------------------------

READER = lab.users()[0]
DOMAINS: dict[str, dict[str, str]] = lab.variables()["lab_sts_domains"]
DAEMON = "postfix-mta-sts-resolver"
LOG = "/var/log/mail.log"
SERVER_OF_POLICIES = "branch"


def whom(name: str) -> str:
    """Somebody in one of the foreign domains."""
    return f"carol@{name}.{lab.foreign_domain()}"


def queued(gateway: lab.Machine, word: str) -> str:
    """The queue's number of the message with the word; empty where there is none."""
    return gateway.sh(f"cd /var/spool/mqueue && grep -l {word} df* 2>/dev/null | cut -c3- || true").strip()


def reason(gateway: lab.Machine, word: str) -> str:
    """Why a message with the word is still here, as an administrator reads it: in the log, beside the number that the queue has."""
    number = lab.until(lambda: queued(gateway, word), "the message in the queue", deadline=60)
    found = lab.until(
        lambda: gateway.sh(f"grep -E '{number}: .*(reject=4|stat=Deferred)' {LOG} || true"), "a reason", deadline=90
    )
    return str(found)


@contextmanager
def held(gateway: lab.Machine, *words: str) -> Iterator[None]:
    """Messages with the words are out of the queue at the end."""
    try:
        yield
    finally:
        for word in words:
            for number in queued(gateway, word).split():
                gateway.sh(f"rm -f /var/spool/mqueue/?f{number}")


def abroad(word: str) -> bool:
    """Whether the message with the word has come to the foreign mailbox."""
    return lab.Machine(lab.STRANGER).run("grep", "-q", word, "/var/mail/carol", check=False).returncode == 0


@pytest.mark.requirement("SM-15", side="positive")
@pytest.mark.parametrize("name", [name for name in DOMAINS if name in ("kept", "starred", "tried")])
def test_mail_goes_out_where_the_server_is_what_the_policy_says_or_the_policy_asks_for_nothing(
    name: str, gateway: lab.Machine
) -> None:
    word = lab.token()
    with held(gateway, word):
        mailflow.from_the_desk([whom(name)], word, mailflow.ours(READER))
        assert "TLSv1" in mailflow.arrived_abroad(word)
    if DOMAINS[name]["mode"] == "enforce":
        # That server shows its certificate, which a public authority vouches for, to those alone who ask for it by this name.
        said = f"STARTTLS=client, relay=mx.{name}.{lab.foreign_domain()}"
        lab.until(lambda: gateway.sh(f"grep -F '{said}' {LOG} | grep -F verify=OK || true"), "a line about TLS")


@pytest.mark.requirement("SM-15", side="negative")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("misnamed", "the certificate is not for mx.misnamed"),
        ("doubted", "nobody vouches for"),
        ("redirected", "not found in"),
    ],
)
def test_mail_waits_and_says_why_where_the_server_is_not_what_the_policy_says(
    name: str, why: str, gateway: lab.Machine
) -> None:
    word = lab.token()
    with held(gateway, word):
        mailflow.from_the_desk([whom(name)], word, mailflow.ours(READER))
        assert why in reason(gateway, word)
        assert not abroad(word)


@pytest.mark.requirement("SM-15", side="negative")
def test_mail_waits_where_somebody_has_taken_the_offer_of_tls_away(gateway: lab.Machine) -> None:
    word = lab.token()
    mailflow.partner_has_tls(False)
    try:
        mailflow.from_the_desk([whom("kept")], word, mailflow.ours(READER))
        assert "there is no TLS at" in reason(gateway, word) and not abroad(word)
    finally:
        mailflow.partner_has_tls(True)
    mailflow.pushed(gateway)
    mailflow.arrived_abroad(word)


@pytest.mark.requirement("SM-15", side="positive")
def test_a_key_in_the_dns_counts_in_place_of_a_policy_where_the_release_looks_at_it(gateway: lab.Machine) -> None:
    """RFC 8461 2. The policy names another server, the key is the right one. Debian 12 knows of no keys."""
    word = lab.token()
    with held(gateway, word):
        mailflow.from_the_desk([whom("keyed")], word, mailflow.ours(READER))
        if re.search(r"\bDANE\b", gateway.sh("sendmail -d0.13 -bt </dev/null")):
            assert mailflow.arrived_abroad(word)
        else:
            assert "not found in" in reason(gateway, word)


@pytest.mark.requirement("SM-15", side="negative")
def test_one_message_to_somebody_with_a_policy_and_somebody_without_is_no_way_round_it(gateway: lab.Machine) -> None:
    """Both are at one server, and sendmail names both over one connection; whom it names first is not said."""
    word, stranger = lab.token(), lab.Machine(lab.STRANGER)
    with held(gateway, word):
        mailflow.from_the_desk([whom("beside"), whom("doubted")], word, mailflow.ours(READER))
        # Asked for by the name of nobody with a policy, the server shows the certificate of another name.
        assert re.search("nobody vouches for|the certificate is not for", reason(gateway, word))
        mailflow.arrived_abroad(word)
        parts = [part for part in re.split(r"(?m)^From ", stranger.sh("cat /var/mail/carol")) if word in part]
        assert [re.findall(r"(?m)^X-Original-To: (.*)$", part) for part in parts] == [[whom("beside")]]


@pytest.mark.requirement("SM-12", side="positive")
@pytest.mark.parametrize("how", ["gone", "silent"])
def test_without_an_answer_about_policies_mail_for_others_waits_and_mail_inside_does_not(
    how: str, gateway: lab.Machine
) -> None:
    """Nobody who takes the answer away gets mail in the clear by it; and it is all on its way once there are answers."""
    outward, inward = lab.token(), lab.token()
    stop, start = {
        "gone": (f"systemctl stop {DAEMON}", f"systemctl start {DAEMON}"),
        "silent": (f"systemctl kill -s STOP {DAEMON}", f"systemctl kill -s CONT {DAEMON}"),
    }[how]
    gateway.sh(stop)
    try:
        mailflow.from_the_desk([mailflow.FOREIGNER], outward, mailflow.ours(READER))
        before = time.monotonic()
        mailflow.from_the_world([mailflow.ours(READER)], inward)
        assert mailflow.fetched(READER, inward) is not None and time.monotonic() - before < 10
        # Where it is silent sendmail waits for it, some seconds for each look, and no more.
        assert "nobody says whether there is a policy" in reason(gateway, outward) and not abroad(outward)
    finally:
        gateway.sh(start)
    lab.until(lambda: gateway.sh(f"systemctl is-active {DAEMON}").strip() == "active", "the service")
    mailflow.pushed(gateway)
    mailflow.arrived_abroad(outward)


@pytest.mark.requirement("SM-15", side="negative")
def test_a_policy_holds_while_nobody_can_fetch_it_and_after_a_restart(gateway: lab.Machine) -> None:
    """Who can keep it from being fetched cannot make it forgotten."""
    first, second = lab.token(), lab.token()
    web = lab.Machine(SERVER_OF_POLICIES)
    with held(gateway, first, second):
        mailflow.from_the_desk([whom("misnamed")], first, mailflow.ours(READER))
        reason(gateway, first)
        web.sh("systemctl stop lab-sts")
        try:
            gateway.sh(f"systemctl restart {DAEMON}")
            mailflow.from_the_desk([whom("misnamed")], second, mailflow.ours(READER))
            assert "not for mx.misnamed" in reason(gateway, second)
        finally:
            web.sh("systemctl start lab-sts")


@pytest.mark.requirement("SM-14", side="negative")
def test_a_public_authority_vouches_for_nobody_whom_the_site_wants_verified_by_its_own(gateway: lab.Machine) -> None:
    """The partner's server, under its right name, with a certificate as anybody gets it who can show that the name is his."""
    word, stranger = lab.token(), lab.Machine(lab.STRANGER)
    both = authority.certificate(f"{lab.STRANGER}.{lab.foreign_domain()}", by="world")
    stranger.sh("cp -p /etc/postfix/server.pem /run/kept.pem")
    try:
        stranger.run("tee", "/etc/postfix/server.pem", text=both)
        stranger.sh("postfix reload")
        mailflow.from_the_desk([f"carol@secure.{lab.foreign_domain()}"], word, mailflow.ours(READER))
        assert "Cert Issuer" in reason(gateway, word) and not abroad(word)
    finally:
        stranger.sh("cp -p /run/kept.pem /etc/postfix/server.pem && rm /run/kept.pem && postfix reload")
    mailflow.pushed(gateway)
    mailflow.arrived_abroad(word)


@pytest.mark.requirement("GW-2", side="negative")
def test_nor_for_the_sites_own_servers(gateway: lab.Machine) -> None:
    """Somebody beside the store, with its name in a public authority's certificate, is no way into the gateway."""
    both = authority.certificate(lab.fqdn(lab.STORE), by="world")
    store = lab.Machine(lab.STORE)
    store.run("tee", "/run/shown.pem", text=both)
    try:
        commands = ["EHLO probe.example", "STARTTLS", "EHLO probe.example", f"MAIL FROM:<{mailflow.ours(READER)}>", "QUIT"]
        place = {"address": lab.address(lab.GATEWAY), "port": lab.port("smtp")}
        said = store.call(away.smtp, **place, commands=commands, certificate="/run/shown.pem")
        own = store.call(away.smtp, **place, commands=commands, certificate=mailflow.CERTIFICATE)
    finally:
        store.sh("rm /run/shown.pem")
    assert said[-2].startswith("403 4.7.0") and own[-2].startswith("250 "), (said, own)


@pytest.mark.requirement("SM-15", side="negative")
def test_who_knows_of_policies_is_not_root_and_speaks_to_this_host_alone(
    gateway: lab.Machine,
) -> None:
    assert set(gateway.sh("ps -o user= -C mta-sts-daemon").split()) == {"_mta-sts"}
    assert gateway.sh("ss -Hltn 'sport = :8461'").split()[3] == "127.0.0.1:8461"
