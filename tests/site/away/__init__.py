"""What tests do on the lab's hosts: small clients of SMTP, POP, DNS and syslog, a forger of packets, and their witnesses.

Each module here is sent to a host and run there (`tests.site.lab.Machine.call`), together with those of this package that it imports. So
it imports nothing else but the standard library, and keeps to what Python 3.11 knows. The name of a function is its argument; the
function's own arguments come as one line of JSON on standard input, and its result leaves as one line of JSON on standard output.
Functions that end in ``_session`` go on talking, a line for a line.
"""

from tests.site.away.connections import datagram, first_words, held_open, probe
from tests.site.away.host import odd_files, processes, socket_opens, watch_session, words_session
from tests.site.away.mailboxes import imap_fetch, imap_search, mbox_body, pop_fetch, pop_login, sieve
from tests.site.away.names import dns
from tests.site.away.packets import advertise, ask_icmp6, ask_times, icmp6_session, knock, knocks_session
from tests.site.away.smtp_client import conversations, conversations_session, smtp, smtp_session
from tests.site.away.tls import starttls_injection, tls_probe, wire_session

__all__ = [
    "advertise",
    "ask_icmp6",
    "ask_times",
    "conversations",
    "conversations_session",
    "datagram",
    "dns",
    "first_words",
    "held_open",
    "icmp6_session",
    "imap_fetch",
    "imap_search",
    "knock",
    "knocks_session",
    "mbox_body",
    "odd_files",
    "pop_fetch",
    "pop_login",
    "probe",
    "processes",
    "sieve",
    "smtp",
    "smtp_session",
    "socket_opens",
    "starttls_injection",
    "tls_probe",
    "watch_session",
    "wire_session",
    "words_session",
]
