"""One message in and one out, and the way that each took, read from the log on the management host."""

from __future__ import annotations

import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from shell import STATE, LabError

DEADLINE = 60  # seconds until a message counts as stuck
STRANGER = "carol"  # playbooks/lab/prepare.yml makes this mailbox

SEND = """
import json, smtplib, sys
from email.message import EmailMessage
job = json.loads(sys.argv[1])
message = EmailMessage()
message["From"], message["To"], message["Message-ID"] = job["sender"], job["recipient"], job["id"]
message["Subject"] = "A message of the lab"
message.set_content("It came through.\\n")
with smtplib.SMTP(job["server"], job["port"], timeout=30) as session:
    session.send_message(message)
"""

# Reads a mailbox over POP3 with TLS from a server of that name with a certificate of the lab's authority; takes the message away if
# it is there.
FETCH = """
import json, poplib, ssl, sys
job = json.loads(sys.argv[1])
class Context(ssl.SSLContext):
    def wrap_socket(self, sock, server_hostname, **rest):  # the desk knows the address, the certificate says the name
        return super().wrap_socket(sock, server_hostname=job["name"], **rest)
context = Context(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(cadata=job["authority"])
box = poplib.POP3_SSL(job["server"], job["port"], timeout=30, context=context)
box.user(job["user"])
box.pass_(job["password"])
found = False
for number in range(1, len(box.list()[1]) + 1):
    if any(job["id"].encode() in line for line in box.retr(number)[1]):
        box.dele(number)
        found = True
box.quit()
print("found" if found else "missing")
"""


class Hop(NamedTuple):
    """One server on the way."""

    host: str
    queue_id: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.host} {self.queue_id} {self.at:%H:%M:%S.%f}"[:-3]


ARRIVED = re.compile(r"^(\S+) \S+ [^:]+: (\w+): from=.*msgid=(<[^>]+>)")


def hops(logs: dict[str, str], message_id: str) -> list[Hop]:
    """The servers that took a message, in order of time. logs: host -> text of its mail log, with ISO 8601 times."""
    found = []
    for host, text in logs.items():
        for line in text.splitlines():
            match = ARRIVED.match(line)
            if match and match[3] == message_id:
                found.append(Hop(host, match[2], datetime.fromisoformat(match[1])))
    return sorted(found, key=lambda hop: hop.at)


def between(hosts: dict[str, Any], start: str, end: str) -> list[str]:
    """The hosts that forward from one host to another: a shortest way over networks that neighbours share."""
    ways = [[start]]
    seen = {start}
    for way in ways:
        if way[-1] == end:
            return way[1:-1]
        for host, data in hosts.items():
            if host not in seen and set(data["interfaces"]) & set(hosts[way[-1]]["interfaces"]):
                seen.add(host)
                ways.append([*way, host])
    return []


def inside(container: str, *command: str, stdin: str | None = None) -> str:
    """Run a command in a container; its output. Mail that is no UTF-8 may be in it."""
    done = subprocess.run(
        ["docker", "exec", "--interactive", container, *command],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise LabError(f"`{command[0]}` in {container} failed and said: {last}")
    return done.stdout


class Lab:
    """The lab's hosts, as its inventory has them."""

    def __init__(self, inventory: dict[str, Any]) -> None:
        self.variables: dict[str, Any] = inventory["_meta"]["hostvars"]["internet"]
        self.groups = {name: group.get("hosts", []) for name, group in inventory.items() if name != "_meta"}

    def container(self, host: str) -> str:
        return f"{self.variables['lab_prefix']}-{host}"

    def first(self, group: str) -> str:
        return str(self.groups[group][0])

    def address(self, host: str) -> str:
        return str(next(iter(self.variables["site_hosts"][host]["interfaces"].values()))["address"])

    def port(self, service: str) -> int:
        return int(self.variables["site_services"][service]["tcp"][0])

    def logs(self) -> dict[str, str]:
        """The mail logs of gateway and store, as the management host has them."""
        management = self.container(self.first("management"))
        hosts = [self.first("gateways"), self.first("stores")]
        return {host: inside(management, "cat", f"/var/log/remote/{host}/mail.log") for host in hosts}


def wait(what: str, lab: Lab, message_id: str, arrived: Callable[[], bool]) -> None:
    """Wait until a message has arrived; where it does not, say where it was seen last."""
    deadline = time.monotonic() + DEADLINE
    while not arrived():
        if time.monotonic() > deadline:
            seen = " > ".join(str(hop) for hop in hops(lab.logs(), message_id)) or "none of the site's servers has seen it"
            raise LabError(
                f"The message {what} did not arrive within {DEADLINE} s. Its way so far, by the log on "
                f"{lab.first('management')}: {seen}. `mailq` there, or on the sender's host, tells what it waits for."
            )
        time.sleep(0.2)


def send(lab: Lab, host: str, server: str, sender: str, recipient: str) -> str:
    """Send a message from a host; its Message-ID."""
    message_id = f"<{uuid.uuid4()}@{sender.partition('@')[2]}>"
    job = {"sender": sender, "recipient": recipient, "server": server, "port": lab.port("smtp"), "id": message_id}
    inside(lab.container(host), "python3", "-", json.dumps(job), stdin=SEND)
    return message_id


def deliver_in(lab: Lab, user: str) -> str:
    """From the Internet host to a user, fetched over POP3 from the workstation; a line about its way."""
    store = lab.first("stores")
    begun = time.monotonic()
    recipient = f"{user}@{lab.variables['site_domains'][0]['name']}"
    sender = f"{STRANGER}@{lab.variables['lab_foreign_domain']}"
    # Its own mail server finds the gateway by MX and through the site's name server, as any stranger's would.
    message_id = send(lab, "internet", "127.0.0.1", sender, recipient)
    job = {
        "authority": (STATE / "certificates/authority.pem").read_text(encoding="utf-8"),
        "name": f"{store}.{lab.variables['site_domain']}",
        "server": lab.address(store),
        "port": lab.port("pop3s"),
        "user": user,
        "password": (STATE / "secrets" / f"user-{user}").read_text(encoding="utf-8").split()[0],
        "id": message_id,
    }
    workstation = lab.container("workstation")

    def arrived() -> bool:
        return inside(workstation, "python3", "-", json.dumps(job), stdin=FETCH).strip() == "found"

    wait("in", lab, message_id, arrived)
    return line("in ", "internet", lab, message_id, f"POP {user}", begun)


def deliver_out(lab: Lab, user: str) -> str:
    """From a user at the workstation to the foreign mailbox; a line about its way."""
    begun = time.monotonic()
    sender = f"{user}@{lab.variables['site_domains'][0]['name']}"
    recipient = f"{STRANGER}@{lab.variables['lab_foreign_domain']}"
    message_id = send(lab, "workstation", lab.address(lab.first("stores")), sender, recipient)
    mailbox = f"/var/mail/{STRANGER}"
    stranger = lab.container("internet")

    def arrived() -> bool:
        return message_id in inside(stranger, "sh", "-c", f"cat {mailbox} 2>/dev/null || true")

    wait("out", lab, message_id, arrived)
    return line("out", "workstation", lab, message_id, f"internet {STRANGER}", begun)


def line(direction: str, start: str, lab: Lab, message_id: str, end: str, begun: float) -> str:
    """One line: the way with the servers' queue ids and times and the hosts that forward between, and how long it took."""
    taken = time.monotonic() - begun
    # The log lines may be a moment behind the message itself.
    deadline = time.monotonic() + DEADLINE
    while len(way := hops(lab.logs(), message_id)) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    stops = [start]
    last = start
    for hop in way:
        stops += [*between(lab.variables["site_hosts"], last, hop.host), str(hop)]
        last = hop.host
    if end.split()[0] in lab.variables["site_hosts"]:
        stops += between(lab.variables["site_hosts"], last, end.split()[0])
    return f"{direction}  {' > '.join([*stops, end])}   {taken:.1f} s"
