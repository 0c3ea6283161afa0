#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""What the world sees of a mail site: its names, its gateways' answers, and what others say of its addresses."""

from __future__ import annotations

DOCUMENTATION = r"""
module: selfcheck_look
short_description: Look at a mail site from outside
version_added: 0.1.0
description:
  - Asks the name servers of the site's domains themselves, so that no cache stands between, and talks to port 25 of each gateway as a
    stranger does. It sends no message.
  - It only looks; P(widgets.mail.selfcheck_rows#filter) judges.
author: The widgets.mail developers (@widgets)
requirements:
  - dnspython 2.3 or newer (Debian's python3-dnspython)
options:
  domains:
    description: Mail domains, each with its C(name) and the C(selectors) of its DKIM keys.
    type: list
    elements: dict
    required: true
  gateways:
    description: Gateways, each with its full C(name) and the C(addresses) that the world knows.
    type: list
    elements: dict
    required: true
  block_lists:
    description: Domains of DNS block lists that are asked about IPv4 addresses.
    type: list
    elements: str
    default: []
  foreign:
    description: An address that is none of the site's, which gateways are asked to relay to. Nothing is sent to it.
    type: str
    default: nobody@example.org
  authority:
    description: Certificates of authorities, PEM, that are trusted beside those of the machine.
    type: str
    default: ""
  port:
    description: Port of SMTP.
    type: int
    default: 25
  seconds:
    description: How long to wait for one answer.
    type: int
    default: 10
attributes:
  check_mode:
    support: full
    description: It changes nothing anyway.
  diff_mode:
    support: none
    description: There is nothing that would differ.
"""

EXAMPLES = r"""
- name: Look at the site from outside
  widgets.mail.selfcheck_look:
    domains: [{name: widgets.example, selectors: [k20261124]}]
    gateways: [{name: smtp1.widgets.example, addresses: [198.51.100.4]}]
"""

RETURN = r"""
seen:
  description: >-
    What was seen. C(records) has for each name and type the C(values), or an C(error); C(smtp) what each address answered; C(listed)
    the answers of block lists; C(policies) the MTA-STS policies that were fetched.
  returned: always
  type: dict
"""

import contextlib
import hashlib
import http.client
import ipaddress
import smtplib
import socket
import ssl
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.resolver

    MISSING = None
except ImportError:
    MISSING = traceback.format_exc()

NOTHING = "nothing"


class Names:
    """Questions to the name servers that are responsible for a name."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.resolver = dns.resolver.Resolver()
        self.resolver.lifetime = float(seconds)
        self.servers: dict[str, list[str]] = {}

    def responsible(self, name: str) -> list[str]:
        """Addresses of the name servers of the zone that a name is in."""
        zone = dns.resolver.zone_for_name(name, resolver=self.resolver)
        key = zone.to_text()
        if key not in self.servers:
            found = []
            for server in self.resolver.resolve(zone, "NS"):
                for kind in ("A", "AAAA"):
                    try:
                        found += [row.address for row in self.resolver.resolve(server.target, kind)]
                    except dns.exception.DNSException:
                        continue
            self.servers[key] = found
        return self.servers[key]

    def ask(self, name: str, kind: str) -> dict[str, Any]:
        """What all servers say: the values where they agree, else an error."""
        try:
            servers = self.responsible(name)
        except (dns.exception.DNSException, OSError) as problem:
            return {"values": [], "error": f"no name server found ({type(problem).__name__})"}
        answers = {}
        for server in servers:
            said = self.one(server, name, kind)
            if said is not None:
                answers[server] = said
        if not answers:
            return {"values": [], "error": "no name server answers"}
        if len({tuple(said) for said in answers.values()}) > 1:
            return {
                "values": [],
                "error": "name servers disagree: " + "; ".join(f"{at}: {said}" for at, said in answers.items()),
            }
        return {"values": next(iter(answers.values())), "error": ""}

    def one(self, server: str, name: str, kind: str) -> list[str] | None:
        """What one server says, sorted; None where it does not answer."""
        question = dns.message.make_query(name, kind, use_edns=0, payload=1232)
        question.flags &= ~dns.flags.RD
        try:
            answer, _tcp = dns.query.udp_with_fallback(question, server, timeout=self.seconds)
        except (dns.exception.DNSException, OSError):
            return None
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return None
        wanted = dns.rdatatype.from_text(kind)
        return sorted(plain(row) for part in answer.answer if part.rdtype == wanted for row in part)


def plain(row: Any) -> str:
    """A record's value as a text; the strings of a TXT record as one."""
    if row.rdtype == dns.rdatatype.TXT:
        return b"".join(row.strings).decode("utf-8", "replace")
    return str(row.to_text())


def listed(names: Names, address: str, zone: str) -> dict[str, Any]:
    """Whether a block list has an address (RFC 5782): only an answer in 127.0.0.0/8 says so."""
    reverse = ipaddress.ip_address(address).reverse_pointer.removesuffix(".arpa").rpartition(".")[0]
    try:
        values = [row.address for row in names.resolver.resolve(f"{reverse}.{zone}.", "A")]
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        values = []
    except (dns.exception.DNSException, OSError) as problem:
        return {"address": address, "zone": zone, "listed": False, "error": f"does not answer ({type(problem).__name__})"}
    found = any(ipaddress.ip_address(value).is_loopback for value in values)
    return {"address": address, "zone": zone, "listed": found, "error": ""}


class Named(smtplib.SMTP):
    """A connection to an address, whose certificate is held against a name."""

    def __init__(self, address: str, name: str, port: int, **more: Any) -> None:
        self.address = address
        super().__init__(name, port, **more)

    def _get_socket(self, _host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self.address, port), timeout)


class Gateway:
    """One address of a gateway, talked to as a stranger does."""

    def __init__(self, module: AnsibleModule, address: str, name: str, helo: str) -> None:
        self.module, self.address, self.name, self.helo = module, address, name, helo
        self.port, self.seconds = module.params["port"], module.params["seconds"]

    def connect(self) -> smtplib.SMTP:
        """A connection that has said who it is."""
        # By name, or smtplib has none to tell the other side when TLS begins.
        session = Named(self.address, self.name, self.port, local_hostname=self.helo, timeout=self.seconds)
        session.ehlo()
        return session

    def replies(self, sender: str, recipients: list[str]) -> list[str]:
        """The reply to each recipient, in a session of its own; or why there is none."""
        out = []
        try:
            session = self.connect()
            session.docmd("MAIL", f"FROM:<{sender}>")
            for recipient in recipients:
                code, words = session.docmd("RCPT", f"TO:{recipient}")
                out.append(f"{code} {words.decode('utf-8', 'replace')}".splitlines()[0])
            session.quit()
        except (OSError, smtplib.SMTPException) as problem:
            out += [NOTHING + f" ({type(problem).__name__})"] * (len(recipients) - len(out))
        return out

    def tls(self) -> dict[str, Any]:
        """What STARTTLS gives: version and certificate, and whether the certificate is one that everybody trusts."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            session = self.connect()
            if not session.has_extn("starttls"):
                session.quit()
                return {"offered": False}
            session.starttls(context=context)
            sock: Any = session.sock
            der = sock.getpeercert(binary_form=True)
            out = {"offered": True, "version": sock.version(), **self.certificate(der)}
            session.quit()
        except (OSError, smtplib.SMTPException) as problem:
            return {"offered": True, "error": f"{type(problem).__name__}: {problem}"}
        return {**out, "trusted": self.trusted()}

    def trusted(self) -> bool:
        """Whether the certificate is for the gateway's name and by an authority that this machine trusts."""
        context = ssl.create_default_context()
        try:
            if self.module.params["authority"]:
                context.load_verify_locations(cadata=self.module.params["authority"])
            session = Named(self.address, self.name, self.port, local_hostname=self.helo, timeout=self.seconds)
            session.ehlo()
            session.starttls(context=context)
            session.quit()
        except (OSError, smtplib.SMTPException):
            return False
        return True

    def certificate(self, der: bytes) -> dict[str, str]:
        """When a certificate ends, and what TLSA records would hold."""
        out = {"certificate_sha256": hashlib.sha256(der).hexdigest()}
        status, said, _err = self.module.run_command(
            ["openssl", "x509", "-inform", "DER", "-noout", "-enddate", "-dateopt", "iso_8601"], data=der, binary_data=True
        )
        if status == 0:
            out["ends"] = said.strip().partition("=")[2].replace(" ", "T")
        status, pem, _err = self.module.run_command(
            ["openssl", "x509", "-inform", "DER", "-noout", "-pubkey"], data=der, binary_data=True
        )
        if status == 0:
            octets = ssl.PEM_cert_to_DER_cert(pem.replace("PUBLIC KEY", "CERTIFICATE"))
            out["key_sha256"] = hashlib.sha256(octets).hexdigest()
        return out


def disguises(foreign: str, domain: str) -> list[str]:
    """Ways to name an address elsewhere to a server that should not relay to it."""
    local, _at, host = foreign.partition("@")
    return [
        f"<{foreign}>",
        f"<{local}%{host}@{domain}>",
        f'<"{foreign}"@{domain}>',
        f"<@{domain}:{foreign}>",
        f"<{host}!{local}@{domain}>",
    ]


def policy(domain: str, seconds: int, authority: str = "") -> dict[str, str]:
    """A domain's MTA-STS policy, fetched as senders do, who follow no redirection (RFC 8461, 3.3)."""
    context = ssl.create_default_context()
    try:
        if authority:
            context.load_verify_locations(cadata=authority)
        with contextlib.closing(http.client.HTTPSConnection(f"mta-sts.{domain}", timeout=seconds, context=context)) as server:
            server.request("GET", "/.well-known/mta-sts.txt")
            answer = server.getresponse()
            text = answer.read(65536).decode("utf-8", "replace")
        if answer.status != 200:
            return {"text": "", "error": f"the server says {answer.status} {answer.reason}"}
        return {"text": text, "error": ""}
    except (OSError, ValueError, http.client.HTTPException) as problem:
        return {"text": "", "error": f"{type(problem).__name__}: {problem}"}


def main() -> None:
    """Look at everything."""
    module = AnsibleModule(
        argument_spec={
            "domains": {"type": "list", "elements": "dict", "required": True},
            "gateways": {"type": "list", "elements": "dict", "required": True},
            "block_lists": {"type": "list", "elements": "str", "default": []},
            "foreign": {"type": "str", "default": "nobody@example.org"},
            "authority": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 25},
            "seconds": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=MISSING)
    names = Names(module.params["seconds"])
    questions: list[tuple[str, str]] = []
    for domain in module.params["domains"]:
        name = domain["name"]
        questions += [(name, "MX"), (name, "TXT"), (f"_dmarc.{name}", "TXT"), (f"_mta-sts.{name}", "TXT")]
        questions += [(f"{selector}._domainkey.{name}", "TXT") for selector in domain.get("selectors", [])]
    for gateway in module.params["gateways"]:
        questions += [(gateway["name"], "A"), (gateway["name"], "AAAA"), (f"_25._tcp.{gateway['name']}", "TLSA")]
        questions += [(ipaddress.ip_address(address).reverse_pointer, "PTR") for address in gateway["addresses"]]
    records = {f"{name} {kind}": names.ask(f"{name}.", kind) for name, kind in questions}

    first = module.params["domains"][0]["name"]
    smtp = {}
    for gateway in module.params["gateways"]:
        for address in gateway["addresses"]:
            door = Gateway(module, address, gateway["name"], socket.getfqdn())
            ways = disguises(module.params["foreign"], first)
            relay = {sender: door.replies(sender, ways) for sender in ("", f"postmaster@{first}")}
            friends = [
                f"<{local}@{domain['name']}>" for domain in module.params["domains"] for local in ("postmaster", "abuse")
            ]
            smtp[address] = {
                "ways": ways,
                "relay": relay,
                "friends": dict(zip(friends, door.replies("", friends), strict=True)),
                "tls": door.tls(),
            }
    asked = [
        listed(names, address, zone)
        for gateway in module.params["gateways"]
        for address in gateway["addresses"]
        for zone in module.params["block_lists"]
    ]
    policies = {
        domain["name"]: policy(domain["name"], module.params["seconds"], module.params["authority"])
        for domain in module.params["domains"]
        if records[f"_mta-sts.{domain['name']} TXT"]["values"]
    }
    module.exit_json(changed=False, seen={"records": records, "smtp": smtp, "listed": asked, "policies": policies})


if __name__ == "__main__":
    main()
