"""What strangers try at the gateway's port, and what each must get for it: data, no judgement (tests/site/test_abuse.py).

A row is one conversation: what is said, word for word (octets as latin-1), and of each reply the pattern that it must match from its
beginning. GONE stands for a server that has hung up. Most rows begin after the greeting and EHLO; those who wait for neither do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.site import lab, mailflow

DOMAIN = lab.domain()
READER, OTHER = lab.users()[:2]
OURS = mailflow.ours(READER)
SENDER = mailflow.FOREIGNER
LOCAL, THIRD = "victim", "third.example"  # neither ours nor the sender's
VICTIM = f"{LOCAL}@{THIRD}"
GATEWAY = lab.fqdn(lab.GATEWAY)
EHLO = "EHLO probe.example\r\n"
GONE = None

# One turn: what is said, and the patterns of the replies that it gets.
Turn = tuple[str, tuple[str | None, ...]]


@dataclass(frozen=True)
class Abuse:
    """One conversation and what must come of it."""

    kind: str
    name: str
    turns: tuple[Turn, ...]
    gap: float | None = None  # seconds between the octets of the last turn

    def script(self) -> list[dict[str, object]]:
        """The conversation as `away.conversations` takes it. That the server is gone is no reply to wait for."""
        out: list[dict[str, object]] = [{"say": say, "hear": len(replies)} for say, replies in self.turns]
        if self.gap is not None:
            out[-1]["gap"] = self.gap
        return out

    def wanted(self) -> list[str | None]:
        """The patterns of all replies."""
        return [pattern for _say, replies in self.turns for pattern in replies]


def polite(kind: str, name: str, *turns: Turn, gap: float | None = None) -> Abuse:
    """A conversation that begins as it should."""
    return Abuse(kind, name, (("", (r"220 ",)), (EHLO, (r"250-",)), *turns), gap)


def ask(command: str, *patterns: str | None) -> Turn:
    """A command and its reply."""
    return (command + "\r\n", patterns)


ENVELOPE = (ask(f"MAIL FROM:<{SENDER}>", r"250 2\.1\.0 "), ask(f"RCPT TO:<{OURS}>", r"250 2\.1\.5 "), ask("DATA", r"354 "))
BYE = ask("QUIT", r"221 2\.0\.0 ")
REFUSED = r"55[0-4] 5\."  # for good, with a reason of RFC 3463
TAKEN = r"250 2\.0\.0 \S+ Message accepted"

# -- relaying --------------------------------------------------------------------------------------------------------

# More than tests/site/test_gateway.py has: ways to write an address that some server somewhere took for another one.
DISGUISES = [
    f"<{LOCAL}@{DOMAIN}@{THIRD}>",
    f"<{OURS}@{THIRD}>",
    f"<{VICTIM}.>",
    f"<{VICTIM}.@{DOMAIN}>",
    f"<{LOCAL}%{THIRD}@{DOMAIN}.>",
    f"<{LOCAL}%{THIRD}%{DOMAIN}@{DOMAIN}>",
    f"<{THIRD}!{LOCAL}%{DOMAIN}>",
    f"<{DOMAIN}!{THIRD}!{LOCAL}>",
    f"<@{DOMAIN},@{GATEWAY}:{VICTIM}>",
    f"<@[127.0.0.1]:{VICTIM}>",
    f"<{DOMAIN}:{VICTIM}>",
    f"<{THIRD}::{LOCAL}>",
    f'<"{LOCAL}%{THIRD}"@{DOMAIN}>',
    f'<"{LOCAL}@{THIRD}"@[127.0.0.1]>',
    f'<"{THIRD}!{LOCAL}"@{DOMAIN}>',
    f"<{LOCAL}\\@{THIRD}@{DOMAIN}>",
    f"<<{VICTIM}>@{DOMAIN}>",
    f"<{VICTIM}(@{DOMAIN})>",
    f"<{LOCAL}(x)@{THIRD}>",
    f"<{VICTIM},{OURS}>",
    f"<{OURS},{VICTIM}>",
    f"<{OURS}>,<{VICTIM}>",
    f"{VICTIM}",
    f"<{LOCAL}@[{lab.address(lab.STRANGER)}]>",
    f"<{LOCAL}@{lab.address(lab.STRANGER)}>",
    f"<{LOCAL}@[IPv6:2001:db8::1]>",
    f"<{LOCAL}@[{lab.address(lab.STORE)}]>",
    f"<{LOCAL}@3323068426>",
    f"<{LOCAL}@0xc612000a>",
    f"<{VICTIM}\0@{DOMAIN}>",
    f"<{OURS}\0{THIRD}>",
    f"<{LOCAL}\xc3\xad@{THIRD}>",
    f"<{LOCAL}@th\xc3\xadrd.example>",
    f"<{LOCAL}\xef\xbc\xa0{THIRD}@{DOMAIN}>",
    f"<{LOCAL}\xc0\x80@{DOMAIN}>",
    f"<{VICTIM}> ORCPT=rfc822;{OURS}",
    f"< {VICTIM}>",
    f"<{LOCAL} @ {THIRD}>",
    f"<{LOCAL}@{DOMAIN.upper()}.{THIRD}>",
    f"<{LOCAL}@{DOMAIN}x>",
    "<|/bin/sh>",
    "</var/mail/x>",
    f"<:include:/etc/passwd@{DOMAIN}>",
    "<>",
]
# The sender is one of ours, nobody, and a foreigner, in turn. A few a conversation: bad recipients are made to wait.
SENDERS = [SENDER, OURS, ""]
EACH = 4


def disguised() -> list[Abuse]:
    """Conversations that try all disguises."""
    out = []
    for number, at in enumerate(range(0, len(DISGUISES), EACH)):
        sender = SENDERS[number % len(SENDERS)]
        turns = [ask(f"MAIL FROM:<{sender}>", r"250 ")]
        turns += [ask(f"RCPT TO:{form}", r"5[05]\d 5\.") for form in DISGUISES[at : at + EACH]]
        # And none of them has counted: there is nobody to send to.
        out.append(polite("relay", f"relay {number + 1} from <{sender}>", *turns, ask("DATA", r"503 5\."), BYE))
    return out


# -- what some servers tell or do ------------------------------------------------------------------------------------

UNKNOWN = r"500 5\.5\.1 "
COMMANDS = {
    "HELP": r"214[ -]2\.0\.0 Commands are those of RFC 5321",
    "HELP VRFY": r"504 5\.3\.0 ",
    f"VRFY {READER}": r"252 2\.5\.2 ",
    f"VRFY nobody-such@{DOMAIN}": r"252 2\.5\.2 ",
    "EXPN staff": r"502 5\.7\.0 ",
    f"ETRN {DOMAIN}": r"502 5\.7\.0 ",
    f"ETRN @{DOMAIN}": r"502 5\.7\.0 ",
    "ETRN #queue": r"502 5\.7\.0 ",
    "VERB": r"502 5\.7\.0 ",
    "VERB ON": r"502 5\.7\.0 ",
    "DEBUG": UNKNOWN,
    "SHOWQ": UNKNOWN,
    "WIZ": UNKNOWN,
    "KILL": UNKNOWN,
    "ONEX": UNKNOWN,
    "XUSR": UNKNOWN,
    "TURN": r"502 5\.5\.1 ",
    "ATRN": UNKNOWN,
    f"SEND FROM:<{SENDER}>": r"502 5\.5\.1 ",
    f"SAML FROM:<{SENDER}>": r"502 5\.5\.1 ",
    f"SOML FROM:<{SENDER}>": r"502 5\.5\.1 ",
    "AUTH PLAIN AGEAYg==": r"503 5\.3\.3 ",
    "AUTH LOGIN": r"503 5\.3\.3 ",
    "XCLIENT NAME=localhost ADDR=127.0.0.1": UNKNOWN,
    "XFORWARD NAME=localhost": UNKNOWN,
    "BDAT 5 LAST": UNKNOWN,
    "BURL imap://x": UNKNOWN,
    "EHLO": r"501 5\.",
    "EHLO a b": r"501 5\.",
    "EHLO <script>": r"501 5\.",
    "HELO " + "x" * 600: r"501 5\.",
    "\0NOOP": UNKNOWN,
    "": UNKNOWN,
    "MAIL FROM:<a@b.example> X=Y": r"555 5\.5\.4 ",
    "MAIL FROM:<a@b.example\0@c.example>": r"553 5\.",
    "RCPT TO:<>": r"503 5\.",
    "DATA": r"503 5\.",
}


def questions() -> list[Abuse]:
    """A few commands a conversation: after some bad ones the server gets slower, and at last hangs up."""
    rows = list(COMMANDS.items())
    return [
        polite("command", f"commands {at // 8 + 1}", *(ask(command, reply) for command, reply in rows[at : at + 8]), BYE)
        for at in range(0, len(rows), 8)
    ]


# -- who does not wait, and who is no mail server --------------------------------------------------------------------

IMPATIENT = [
    Abuse(
        "impatient", "talks before the greeting", ((EHLO, (r"554 ", r"250-")), ask(f"MAIL FROM:<{SENDER}>", r"550 5\.0\.0 "))
    ),
    Abuse(
        "impatient",
        "says all before it is asked",
        ((EHLO + f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{OURS}>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n", (r"554 ", r"5\d\d ")),),
    ),
    Abuse(
        "impatient",
        "goes on before EHLO is answered",
        (("", (r"220 ",)), (EHLO + f"MAIL FROM:<{SENDER}>\r\n", (r"554 5\.5\.0 ", r"5\d\d "))),
    ),
    Abuse("impatient", "no EHLO", (("", (r"220 ",)), ask(f"MAIL FROM:<{SENDER}>", r"503 5\."), ask("DATA", r"503 5\."), BYE)),
    polite(
        "impatient",
        "the text with its command",
        *ENVELOPE[:2],
        ("DATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n", (r"554 5\.5\.0 ", GONE)),
    ),
    polite(
        "impatient",
        "commands at once where that was offered",
        (f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{OURS}>\r\nRSET\r\nQUIT\r\n", (r"250 ", r"250 ", r"250 ", r"221 ")),
    ),
    Abuse("impatient", "a web browser", (("", (r"220 ",)), ask("GET / HTTP/1.1", r"421 4\.7\.0 ", GONE))),
    Abuse("impatient", "a web form", (("", (r"220 ",)), ask("POST / HTTP/1.1", r"421 4\.7\.0 ", GONE))),
    Abuse(
        "impatient",
        "TLS in the clear",
        (("", (r"220 ",)), ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", (r"500 ",)), BYE),
    ),
]

# -- too much --------------------------------------------------------------------------------------------------------

TOO_LONG = r"421 4\.7\.0 .*Command too long"
EXCESS = [
    polite("excess", "a command of 5000 octets", ask("NOOP " + "x" * 5000, TOO_LONG, GONE)),
    polite("excess", "a sender of 3000 octets", ask(f"MAIL FROM:<{'x' * 3000}@{THIRD}>", TOO_LONG, GONE)),
    polite("excess", "a line without an end", ("x" * 300000, (TOO_LONG, GONE))),
    polite(
        "excess",
        "recipients of 300 and 1900 octets",
        ENVELOPE[0],
        ask(f"RCPT TO:<{'x' * 300}@{DOMAIN}>", r"553 5\."),
        ask(f"RCPT TO:<{'x' * 1900}@{DOMAIN}>", r"553 5\."),
        BYE,
    ),
    polite("excess", "four hundred parameters", ask(f"MAIL FROM:<{SENDER}> " + "A=B " * 400, r"555 5\."), BYE),
    polite(
        "excess",
        "sixty senders",
        *(ask(f"MAIL FROM:<a{number}@{THIRD}>", r"503 5\." if number else r"250 ") for number in range(60)),
        BYE,
    ),
    polite(
        "excess", "sixty bad commands", *(ask("FOO", UNKNOWN) for _ in range(25)), ask("FOO", r"421 4\.7\.0 .*Too many", GONE)
    ),
    polite(
        "excess",
        "names tried one after the other",
        ENVELOPE[0],
        *(ask(f"RCPT TO:<name{number}@{DOMAIN}>", r"550 5\.1\.1 ") for number in range(20)),
        ask(f"RCPT TO:<name@{DOMAIN}>", r"421 4\.7\.0 .*Too many bad recipients", GONE),
    ),
    polite("excess", "a header of 40000 octets", *ENVELOPE, (f"X-L: {'y' * 40000}\r\n\r\nz\r\n.\r\n", (r"552 5\.",)), BYE),
    polite(
        "excess",
        "five thousand headers",
        *ENVELOPE,
        ("".join(f"X-{number}: y\r\n" for number in range(5000)) + "\r\nz\r\n.\r\n", (r"552 5\.",)),
        BYE,
    ),
    polite(
        "excess",
        "two thousand recipients",
        ENVELOPE[0],
        (
            f"RCPT TO:<{OURS}>\r\n" * 2000,
            (*(r"250 2\.1\.5 ",) * 100, *(r"452 4\.5\.3 ",) * 20, r"421 4\.7\.0 .*Too many bad recipients", GONE),
        ),
    ),
    polite("excess", "NUL in the text", *ENVELOPE, ("Subject: x\r\n\r\na\0b\r\n.\r\n", (r"554 5\.6\.1 ",)), BYE),
]

# -- two messages in one ---------------------------------------------------------------------------------------------

# Ways to end a text that some server takes for the end; what must come of each here.
BARE_LF, BARE_CR, NUL = r"421 4\.5\.0 Bare linefeed", r"421 4\.5\.0 Bare carriage return", r"554 5\.6\.1 NUL"
ENDS = {
    "LF . LF": ("\n.\n", BARE_LF),
    "LF . CR LF": ("\n.\r\n", BARE_LF),
    "CR LF . LF": ("\r\n.\n", BARE_LF),
    "CR . CR": ("\r.\r", BARE_CR),
    "CR LF . CR": ("\r\n.\r", BARE_CR),
    "CR . CR LF": ("\r.\r\n", BARE_CR),
    "LF . CR": ("\n.\r", BARE_LF),
    "CR . LF": ("\r.\n", BARE_CR),
    "LF CR . CR LF": ("\n\r.\r\n", BARE_LF),
    "LF CR . LF CR": ("\n\r.\n\r", BARE_LF),
    "LF LF . LF LF": ("\n\n.\n\n", BARE_LF),
    "CR CR LF . CR CR LF": ("\r\r\n.\r\r\n", BARE_CR),
    "CR LF . CR CR LF": ("\r\n.\r\r\n", BARE_CR),
    "CR LF NUL . CR LF": ("\r\n\0.\r\n", NUL),
    "CR LF . NUL CR LF": ("\r\n.\0\r\n", NUL),
    "CR NUL LF . CR NUL LF": ("\r\0\n.\r\0\n", BARE_CR),
    # Text like any other: one message.
    "CR LF . . CR LF": ("\r\n..\r\n", TAKEN),
    "CR LF . SP CR LF": ("\r\n. \r\n", TAKEN),
    "VT . VT": ("\v.\v", TAKEN),
    "FF . FF": ("\f.\f", TAKEN),
    "NEL . NEL": ("\x85.\x85", TAKEN),
    "U+2028 . U+2028": ("\xe2\x80\xa8.\xe2\x80\xa8", TAKEN),
    # A line that is too long is cut on its way: no piece of it may end the text.
    **{f"a dot where a line of {length} is cut": ("\r\n" + "y" * length + ".\r\n", TAKEN) for length in range(987, 993)},
}


def smuggled(sender: str, recipient: str, evil: str, way: str, first: str = SENDER) -> Abuse:
    """One text that holds another message behind a wrong end. The inner one is from `evil`."""
    end, verdict = ENDS[way]
    inner = f"MAIL FROM:<{evil}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\nSubject: inner\r\n\r\ninner\r\n.\r\n"
    text = f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: outer\r\n\r\nouter{end}{inner}"
    envelope = (ask(f"MAIL FROM:<{sender}>", r"250 "), ask(f"RCPT TO:<{recipient}>", r"250 "), ask("DATA", r"354 "))
    if verdict.startswith("421"):
        return polite("smuggling", way, *envelope, (text, (verdict, GONE)))
    return polite("smuggling", way, *envelope, (text, (verdict,)), BYE)


EVIL = "evil"  # the local part of an inner sender; a test adds a word of its own


# -- who takes up room -----------------------------------------------------------------------------------------------

AT_ONCE = 30  # connections of a flood, three times what one address may have
FLOOD = [
    Abuse("flood", f"flood {number + 1}", (("", (r"220 |421 4\.3\.2 ",)), ("NOOP xxx", ())), gap=0.5)
    for number in range(AT_ONCE)
]
SLOW = [polite("slow", f"slow command {number + 1}", ("NOOP " + "x" * 30, ()), gap=0.5) for number in range(4)] + [
    polite("slow", f"slow text {number + 1}", *ENVELOPE, ("Subject: x\r\n\r\n" + "x" * 30, ()), gap=0.5) for number in range(4)
]


def rows(word: str) -> list[Abuse]:
    """All conversations; the word tells this run's inner messages from others'."""
    smuggling = [smuggled(SENDER, mailflow.ours(OTHER), f"{EVIL}-{word}@{THIRD}", way) for way in ENDS]
    return [*SLOW, *FLOOD, *disguised(), *questions(), *IMPATIENT, *EXCESS, *smuggling]
