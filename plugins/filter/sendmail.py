"""Texts of sendmail's maps, and who receives mail where. Pure functions.

Sources: the sendmail operations guide, cf/README of the sendmail distribution (access_db, mailertable).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ansible_collections.widgets.mail.plugins.filter.policy import (
    ANY,
    Site,
    host_address,
    host_zone,
    policy_addresses,
    policy_sources,
)

USER_KEYS = {
    "name",
    "store",
    "password",
    "password_hash",
    "uid",
    "state",
    "domains",
    "senders",
    "quota_storage",
    "quota_messages",
}
ADDRESS = re.compile(r"^[^\s@,:;<>()\"\\|]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
LOCAL_PART = re.compile(r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")
# Every domain must have somebody at these (RFC 5321 4.5.1, RFC 2142 4).
ALWAYS = ("postmaster", "abuse")
PIPE = "|"
# They write files or run commands that the message names (SM-9).
UNSAFE_PROGRAMS = ("bash", "dash", "perl", "procmail", "python3", "sed", "sh", "uudecode", "vacation", "xargs")
# The access map writes networks as whole octets; a network is never spelt out in more lines than this.
MOST_LINES = 256
# The access map's word for those who may have signed the certificate of somebody who is to be verified.
ISSUER = "Authority"


def connect_keys(network: str) -> list[str]:
    """An address or network as the access map spells it: ``10.1.0.0/24`` -> ``10.1.0``, ``10.1.0.0/23`` -> two keys.

    sendmail cuts its keys at dots, and at the colons of an IPv6 address that it writes in full: ``2001:db8:1::/48`` ->
    ``IPv6:2001:db8:1``.
    """
    net = ipaddress.ip_network(network)
    bits, mark = (8, ".") if net.version == 4 else (16, ":")
    whole = max(bits, -(-net.prefixlen // bits) * bits)
    if 2 ** (whole - net.prefixlen) > MOST_LINES:
        raise ValueError(f"{network}: too wide for the access map")
    keys = [mark.join(_parts(part.network_address)[: whole // bits]) for part in net.subnets(new_prefix=whole)]
    return keys if net.version == 4 else [f"IPv6:{key}" for key in keys]


def _parts(address: Any) -> list[str]:
    """The octets of an IPv4 address, or all groups of an IPv6 address without their leading zeros."""
    if address.version == 4:
        return str(address).split(".")
    return [f"{int(group, 16):x}" for group in address.exploded.split(":")]


def hop_address(address: str) -> str:
    """An address as sendmail wants it where it would look a name up otherwise: ``[10.1.0.25]``, ``[IPv6:2001:db8::25]``."""
    return f"[{'IPv6:' if ':' in address else ''}{address}]"


def sendmail_hops(addresses: str | list[str]) -> str:
    """Addresses that are tried in turn, as sendmail's mailers take them."""
    return ":".join(hop_address(address) for address in ([addresses] if isinstance(addresses, str) else addresses))


def _table(rows: list[tuple[str, str]]) -> str:
    """Rows of a map, one a line, keys unique: the first row of a key wins."""
    seen: dict[str, str] = {}
    for key, value in rows:
        seen.setdefault(key, value)
    return "".join(f"{key}\t{value}\n" for key, value in seen.items())


def sendmail_access(
    relay_from: list[str],
    domains: list[str] | None = None,
    recipients: list[str] | None = None,
    hostname: str = "",
    client_rate: int = 0,
    client_connections: int = 0,
    greet_pause: int = 0,
    exempt: list[str] | None = None,
    unlisted: list[str] | None = None,
    friends: list[str] | None = None,
    ipv6: bool = False,
    tls: list[dict[str, Any]] | None = None,
    own_certificate: str = "",
    issuers: list[str] | None = None,
) -> str:
    """Text of the access map.

    ``relay_from`` may relay anywhere. Where ``domains`` are given, mail for them is refused with 550 5.1.1 at RCPT but for
    ``recipients`` and for postmaster at ``hostname``. The limits (connections a minute, connections at once, milliseconds of
    greeting pause; 0 for none) hold for every client but the loopback address and ``exempt``. Clients in ``unlisted`` are let in
    whatever a block list says of them, and mail for ``friends`` is taken from everybody. ``tls`` says with whom TLS must be how good;
    None is no TLS at all. ``own_certificate`` is the file of the
    certificate for those of them who know us by it, where others are shown another. Where ``issuers`` are given, who is to be verified has
    a certificate of one of these.
    """
    loopback = ["127.0.0.1", *(["::1"] if ipv6 else [])]
    rows = [(f"Connect:{key}", "RELAY") for net in [*loopback, *relay_from] for key in connect_keys(net)]
    if hostname:
        rows.append((f"To:postmaster@{hostname}", "RELAY"))
    rows += [(f"To:{address}", "RELAY") for address in recipients or []]
    rows += [(f"To:{domain}", 'ERROR:5.1.1:"550 User unknown"') for domain in domains or []]
    rows += [(f"Connect:{key}", "OK") for net in unlisted or [] for key in connect_keys(net)]
    rows += [(f"Spam:{name}@{domain}", "FRIEND") for domain in domains or [] for name in friends or []]
    own = [key for net in [*loopback, *(exempt or [])] for key in connect_keys(net)]
    for tag, limit in (("ClientRate", client_rate), ("ClientConn", client_connections), ("GreetPause", greet_pause)):
        if limit:
            rows += [(f"{tag}:{key}", "0") for key in own]
        # An entry for everybody else is read for the first two alone; FEATURE(greet_pause) takes the pause itself.
        if tag != "GreetPause":
            rows.append((f"{tag}:", str(limit)))
    if tls is not None:
        # What talks to itself needs no TLS: the client queue's runner, say.
        rows += [(f"Srv_Features:{key}", "S") for net in loopback for key in connect_keys(net)]
        rows += [row for entry in tls for row in _tls_rows(entry, own_certificate, issuers or [])]
        rows += [(f"{ISSUER}:{_xtext(name)}", "OK") for name in issuers or []]
    return _table(rows)


def _xtext(name: str) -> str:
    """A certificate's name as sendmail has it in its macros (xtext with more characters than RFC 3461 has)."""
    return "".join(char if "!" <= char <= "~" and char not in '+\\(<>")' else f"+{ord(char):02X}" for char in name)


def sendmail_sts(domains: list[str], policy: list[dict[str, Any]]) -> str:
    """Text of the map of domains that nobody's policy is asked for: the site's own, and those that its own policy of TLS has."""
    return _table([(domain.lower(), "none") for domain in [*domains, *(row["domain"] for row in policy if row.get("domain"))]])


def _peer_keys(peer: str) -> list[str]:
    """A peer as the access map spells it: an address, a network, or the name of a host or of a domain of hosts."""
    try:
        return connect_keys(peer)
    except ValueError:
        return [peer.lower()]


def _demand(entry: dict[str, Any], issuers: list[str]) -> str:
    """What TLS with somebody must be, as the access map says it. All of it is for a while (TEMP): mail waits, and none is returned."""
    if entry["level"] == "encrypted":
        return "TEMP+ENCR:128"
    if entry["level"] == "verified":
        # Without a name it is the one of the server that mail goes to. The issuer comes first: of what stands behind a name that a
        # certificate with a * has, sendmail sees nothing.
        return f"TEMP+VERIFY:128+{f'CITag:{ISSUER}++' if issuers else ''}CN{':' + entry['name'].lower() if entry.get('name') else ''}"
    return "OK"


def _tls_rows(entry: dict[str, Any], certificate: str, issuers: list[str]) -> list[tuple[str, str]]:
    """The rows of one entry of the policy of TLS."""
    demand = _demand(entry, issuers)
    if entry.get("domain"):
        return [(f"TLS_Rcpt:{entry['domain'].lower()}", demand)]
    rows = []
    for key in _peer_keys(entry["peer"]):
        if entry.get("direction", "out") in ("out", "both"):
            rows.append((f"Try_TLS:{key}", "NO") if entry["level"] == "none" else (f"TLS_Srv:{key}", demand))
        if entry.get("direction", "out") in ("in", "both"):
            # Only who is to be verified is asked for a certificate: the question names the authorities that we trust.
            rows.append((f"Srv_Features:{key}", {"none": "S", "verified": "v"}.get(entry["level"], "V")))
            if entry["level"] != "none":
                rows.append((f"TLS_Clt:{key}", demand))
                if certificate:
                    rows.append((f"TLS_Srv_Features:{key}", f"CertFile={certificate};KeyFile={certificate}"))
    return rows


def sendmail_tls_errors(policy: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a policy of TLS, one sentence each. Empty where all is well."""
    errors = []
    seen: set[str] = set()
    for number, entry in enumerate(policy, 1):
        where = f"sendmail_tls_policy, entry {number}"
        peer, domain, level = entry.get("peer"), entry.get("domain"), entry["level"]
        if bool(peer) == bool(domain):
            errors.append(f"{where}: give one of peer and domain.")
            continue
        who = str(peer or domain)
        direction = entry.get("direction") or "out"
        numeric = _is_network(who)
        if not numeric and not ZONE.match(who):
            errors.append(
                f"{where}: {'peer' if peer else 'domain'} is {who!r}; give "
                f"{'an address, a network or a name with a dot' if peer else 'a mail domain'}."
            )
            continue
        if domain and (numeric or direction != "out" or level not in ("encrypted", "verified")):
            errors.append(f"{where}: a domain is a recipient's: direction must be out, and level encrypted or verified.")
        if peer and numeric:
            errors += [f"{where}: {said}." for said in _complaint(connect_keys, who)]
        if entry.get("name") and (level != "verified" or not ZONE.match(entry["name"])):
            errors.append(f"{where}: name is {entry['name']!r}; give a full name, and only where level is verified.")
        if level == "verified" and not entry.get("name") and (numeric or direction != "out"):
            errors.append(f"{where}: an address cannot be verified by itself: give the name in the certificate.")
        for way in ("out", "in") if direction == "both" else (direction,):
            place = f"{way} {'domain' if domain else 'peer'} {who.lower()}"
            if place in seen:
                errors.append(f"{where}: {who} has an entry for this direction already.")
            seen.add(place)
    return errors


def _is_network(text: str) -> bool:
    """Whether a text is an address or a network."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _complaint(function: Any, *arguments: Any) -> list[str]:
    """What a function says that raises where its data is wrong."""
    try:
        function(*arguments)
    except ValueError as error:
        return [str(error)]
    return []


def sendmail_mailertable(domains: list[dict[str, Any]], mailer: str = "relay") -> str:
    """Text of the mailertable: each domain to the address of its store, without a look-up (GW-2). A domain without one is here.

    Not by the mailer esmtp, which is for mail to elsewhere and may be held (HoldExpensive).
    """
    return _table(
        [(entry["name"], f"{mailer}:{sendmail_hops(entry['next_hop'])}") for entry in domains if entry.get("next_hop")]
    )


def sendmail_routes(routes: list[dict[str, Any]]) -> str:
    """Text of the map of recipients that are elsewhere than their domain: each to an address."""
    return _table([(entry["recipient"], sendmail_hops(entry["next_hop"])) for entry in routes])


def sendmail_aliases(aliases: dict[str, list[str]]) -> str:
    """Text of the aliases file; a pipe to a program is quoted (aliases(5))."""

    def written(target: str) -> str:
        return f'"{target}"' if target.startswith(PIPE) else target

    return "".join(f"{name}:\t{', '.join(map(written, targets))}\n" for name, targets in sorted(aliases.items()))


def mail_domains(
    domains: list[dict[str, Any]], site: Site, host: str | None = None, users: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Domains with the address of the store that holds each one's mailboxes: none for those that `host` has mailboxes of."""
    out = []
    for entry in domains:
        homes = {
            entry["store"],
            *(mail_home(user, domains) for user in _receiving(users or []) if entry["name"] in _domains_of(user, domains)),
        }
        here = host in homes
        out.append({"name": entry["name"]} if here else {"name": entry["name"], "next_hop": host_address(site, entry["store"])})
    return out


def _receiving(users: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The users whose mail is taken: those that are not absent."""
    return [user for user in users if user.get("state") != "absent"]


def _domains_of(user: dict[str, Any], domains: list[dict[str, Any]]) -> list[str]:
    """The mail domains in which a user has an address."""
    return user.get("domains") or [entry["name"] for entry in domains]


def mail_home(user: dict[str, Any], domains: list[dict[str, Any]]) -> str:
    """The store that holds a user's mailbox: the one named with the user, else that of the first domain with an address there."""
    first = _domains_of(user, domains)[0]
    return str(user.get("store") or next(entry["store"] for entry in domains if entry["name"] == first))


def mail_users(users: list[dict[str, Any]], domains: list[dict[str, Any]], host: str) -> list[dict[str, Any]]:
    """The users with a mailbox on a store, each with the first of his addresses, and without what only says which store that is."""
    return [
        {key: value for key, value in user.items() if key not in ("domains", "store", "senders")}
        | {"email": f"{user['name']}@{_domains_of(user, domains)[0]}"}
        for user in users
        if mail_home(user, domains) == host
    ]


def mail_routes(
    users: list[dict[str, Any]], domains: list[dict[str, Any]], site: Site, host: str, stores: list[str]
) -> list[dict[str, str]]:
    """Recipients that a host must send elsewhere than their domain says: users whose mailbox is on another store.

    A gateway goes by the domain's store, a store by being one of the domain's.
    """
    here = {entry["name"] for entry in mail_domains(domains, site, host, users) if "next_hop" not in entry}
    out = []
    for domain in domains:
        name = domain["name"]
        goes_to = host if host in stores and name in here else domain["store"]
        for user in _receiving(users):
            home = mail_home(user, domains)
            if name in _domains_of(user, domains) and home not in (goes_to, host):
                out.append({"recipient": f"{user['name']}@{name}", "next_hop": host_address(site, home)})
    return out


def mail_aliases(
    aliases: dict[str, list[str]], users: list[dict[str, Any]], domains: list[dict[str, Any]], host: str
) -> dict[str, list[str]]:
    """Aliases as a store has them: users with their mailbox on another store by their address, so that their mail goes there."""
    away = {
        user["name"]: f"{user['name']}@{_domains_of(user, domains)[0]}"
        for user in _receiving(users)
        if mail_home(user, domains) != host
    }
    return {name: [away.get(target, target) for target in targets] for name, targets in aliases.items()}


def mail_relay_from(site: Site, host: str, gateways: list[str], stores: list[str]) -> list[str]:
    """Who may relay to anywhere through a host: a gateway relays for the stores, a store for its own side's users.

    A store never relays for a gateway or another store: what comes from there is for its own domains.
    """
    if host in gateways:
        return policy_addresses(site, stores)
    if host not in stores:
        return []
    strangers = {ANY, *policy_addresses(site, gateways + stores)}
    return [source for source in policy_sources(site, host, "smtp") if source not in strangers]


def mail_smart_hosts(site: Site, host: str, gateways: list[str], stores: list[str]) -> list[str]:
    """Where a host sends mail for elsewhere, one after the other: a store to the gateways, a client to the stores of its zone or
    else to the gateways. Hosts begin at different ones, so that all have their share.
    """
    if host in gateways:
        return []
    near = [] if host in stores else [store for store in stores if host_zone(site, store) == host_zone(site, host)]
    hops = near or gateways or stores
    turn = stores.index(host) % len(hops) if host in stores and hops else 0
    return [host_address(site, hop) for hop in hops[turn:] + hops[:turn]]


def mail_smart_host(site: Site, host: str, gateways: list[str], stores: list[str]) -> str:
    """The first of them; none where there is none."""
    return next(iter(mail_smart_hosts(site, host, gateways, stores)), "")


def mail_recipients(users: list[dict[str, Any]], aliases: dict[str, Any], domains: list[str]) -> list[str]:
    """Every address that receives mail: users and aliases, in each domain (or in those that a user's ``domains`` names).

    Users that are absent receive none, so a gateway refuses it at the door.
    """
    out = []
    for domain in domains:
        names = [user["name"] for user in _receiving(users) if domain in user.get("domains", domains)]
        out += [f"{name}@{domain}" for name in sorted({*names, *aliases})]
    return out


def mail_errors(
    users: list[dict[str, Any]],
    aliases: dict[str, Any],
    domains: list[str],
    programs: dict[str, str] | None = None,
    stores: list[str] | None = None,
) -> list[str]:
    """What is wrong with users and aliases, one sentence each. Empty where all is well."""
    errors = _shapes(users, aliases, programs)
    if errors:
        return errors  # every later check needs tables that can be read
    names: set[str] = set()
    for number, user in enumerate(users, 1):
        name = user.get("name")
        where = f"site_users, entry {number} ({name})"
        if unknown := sorted(set(user) - USER_KEYS):
            errors.append(f"{where}: unknown key {', '.join(unknown)}; allowed are {', '.join(sorted(USER_KEYS))}.")
        if not LOCAL_PART.match(str(name)):
            errors.append(f"{where}: a user's name is lower-case letters, digits, dots, hyphens and underscores.")
        if name in names:
            errors.append(f"{where}: the name is taken by an earlier entry; names must differ.")
        names.add(str(name))
        if user.get("store") is not None and user["store"] not in (stores or []):
            errors.append(f"{where}: store is {user['store']!r}; allowed are {', '.join(sorted(stores or [])) or '(none)'}.")
        if "domains" in user and not user["domains"]:
            errors.append(f"{where}: domains is empty; leave it out for an address in each, or name some.")
        for domain in user.get("domains", []):
            if domain not in domains:
                errors.append(f"{where}: domains names {domain}; allowed are {', '.join(sorted(domains))}.")
    # Mail for a user who has left may go to somebody else, so an alias may have the name, and nothing leads there.
    names = {str(user.get("name")) for user in _receiving(users)}
    for name, targets in aliases.items():
        where = f"site_aliases.{name}"
        if not LOCAL_PART.match(str(name)):
            errors.append(f"{where}: an alias's name is lower-case letters, digits, dots, hyphens and underscores.")
        if name in names:
            errors.append(f"{where}: a user has this name; an alias must not hide a mailbox.")
        if not isinstance(targets, list) or not targets:
            errors.append(f"{where} is {targets!r}: give a list of at least one user, alias or address.")
            continue
        for target in targets:
            if str(target).startswith(PIPE):
                errors += _program_errors(where, str(target), programs or {})
            elif target not in names and target not in aliases and not ADDRESS.match(str(target)):
                errors.append(f"{where}: {target!r} is neither a user nor an alias nor an address.")
        if _loops(name, aliases):
            errors.append(f"{where}: it leads back to itself.")
    for name, path in (programs or {}).items():
        if name in UNSAFE_PROGRAMS or str(path).rpartition("/")[2] in UNSAFE_PROGRAMS or not str(path).startswith("/"):
            errors.append(
                f"site_programs.{name} is {path!r}: give the absolute path of a program that checks its input; "
                f"never allowed are {', '.join(UNSAFE_PROGRAMS)}."
            )
    for name in ALWAYS:
        if name not in names and name not in aliases:
            errors.append(f"site_aliases lacks {name}: every domain must have somebody there (RFC 5321 4.5.1, RFC 2142).")
    return errors


def _shapes(users: Any, aliases: Any, programs: Any) -> list[str]:
    """Tables that are not made as they should be."""
    errors = []
    if not isinstance(users, list) or not all(isinstance(user, dict) for user in users):
        errors.append("site_users must be a list of dictionaries, each with a name and a password or password_hash.")
    if not isinstance(aliases, dict):
        errors.append(f"site_aliases is {str(aliases)[:60]!r}: it must be a dictionary of names, each with a list.")
    if programs is not None and not isinstance(programs, dict):
        errors.append(f"site_programs is {str(programs)[:60]!r}: it must be a dictionary of names, each with an absolute path.")
    return errors


def _program_errors(where: str, target: str, programs: dict[str, str]) -> list[str]:
    """What is wrong with a pipe to a program: its first word must be on the list, and smrsh takes no shell syntax."""
    words = target.removeprefix(PIPE).split()
    if not words or words[0] not in programs:
        allowed = ", ".join(sorted(programs)) or "(none)"
        return [f"{where}: the program of {target!r} is not on the list; allowed by site_programs are {allowed}."]
    if re.search(r"[\"'`$;&|<>()\\\n]", " ".join(words)):
        return [f"{where}: {target!r} must be a program with plain words: smrsh takes no shell syntax."]
    return []


def _loops(name: str, aliases: dict[str, Any]) -> bool:
    """Whether an alias is among those that it leads to."""
    seen: set[str] = set()
    todo = list(aliases[name])
    while todo:
        target = todo.pop()
        if target == name:
            return True
        if target in aliases and target not in seen:
            seen.add(target)
            todo += aliases[target] if isinstance(aliases[target], list) else []
    return False


def sendmail_defines(options: list[dict[str, Any]]) -> str:
    """m4 lines that set options: ``define(`confX', `value')dnl``."""
    lines = []
    for option in options:
        value = str(option["value"])
        if "'" in value or "`" in value or "\n" in value:
            raise ValueError(f"{option['m4']} is {value!r}: a value must hold no quote and no line break")
        lines.append(f"define(`{option['m4']}', `{value}')dnl\n")
    return "".join(lines)


def sendmail_expected(options: list[dict[str, Any]]) -> list[str]:
    """The lines that a compiled configuration must hold for the same options: ``O Option=value``."""
    return [f"O {option['option']}={option['value']}" for option in options]


def sendmail_connect_keys(networks: list[str]) -> list[str]:
    """Addresses and networks as the access map and rule sets spell them, each once."""
    return list(dict.fromkeys(key for network in networks for key in connect_keys(network)))


# -- what is refused by list, by header and by filter -------------------------------------------------------------------

ZONE = re.compile(
    r"^(?=.{1,253}\Z)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z"
)
HEADER = re.compile(r"^[A-Za-z][A-Za-z0-9-]{0,62}\Z")
# What sendmail's configuration and m4 can carry in a reply, and in an expression, without anybody reading more into it.
REPLY = re.compile(r"^[A-Za-z0-9 .,:;/@+*=?!_()-]{1,200}\Z")
EXPRESSION = re.compile(r"^[!-_a-~]{1,200}\Z")
MILTER = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,31}\Z")
SOCKET = re.compile(r"^/[A-Za-z0-9._/-]{1,99}\Z")
TIME = re.compile(r"^[1-9][0-9]{0,4}[smh]\Z")
# What a milter's absence means, as sendmail's flag.
GONE = {"tempfail": "F=T", "reject": "F=R", "pass": ""}
# Phases of a talk with a milter: sendmail's letter, and how long it may take.
PHASES = {"connect": ("C", "10s"), "send": ("S", "10s"), "reply": ("R", "10s"), "end": ("E", "2m")}
HEADER_REPLY = "Rejected: {header} is not acceptable"


def sendmail_block_lists(lists: list[dict[str, Any]]) -> str:
    """m4 lines that ask DNS block lists about each client; only answers in 127/8 count, since a lapsed zone may answer anything."""
    fails = {"tempfail": "t", "pass": ""}
    return "".join(
        f"FEATURE(`enhdnsbl', `{row['zone']}', `', `{fails[row.get('unanswered') or 'pass']}', `127.$+')dnl\n" for row in lists
    )


def _from_the_first_letter(regex: str) -> str:
    """An expression whose ``^`` is where a header's value begins: sendmail hands it over with the blank after the colon."""
    out, bracket, at = "", False, 0
    while at < len(regex):
        if bracket:
            # A closing bracket that comes first, and those of classes such as [:space:], close nothing.
            named = re.match(r"\[[:.=].*?[:.=]\]", regex[at:])
            part = named[0] if named else regex[at]
            bracket = part != "]"
        elif regex[at] == "[":
            part = re.match(r"\[\^?\]?", regex[at:])[0]  # type: ignore[index]
            bracket = True
        elif regex[at] == "\\":
            part = regex[at : at + 2]
        else:
            part = regex[at]
        out += "^[[:space:]]*" if part == "^" and not bracket else part
        at += len(part)
    return out


def _header_maps(checks: list[dict[str, Any]]) -> list[str]:
    """The declaration of each check's map: sendmail reads ``$`` as the start of a macro, so it is doubled."""
    flag = {True: " -f", False: ""}
    return [
        f"Kheader{number} regex{flag[bool(row.get('case'))]} -a@REFUSED {_from_the_first_letter(row['regex']).replace('$', '$$')}"
        for number, row in enumerate(checks, 1)
    ]


def sendmail_header_checks(checks: list[dict[str, Any]]) -> str:
    """m4 lines that refuse messages by their headers.

    sendmail knows one rule set for a header, so all checks of one header stand in one. Map and rule come from the same entry:
    a rule that asks a map that is not declared would let everything pass, without a word.
    """
    if not checks:
        return ""
    by_header: dict[str, list[int]] = {}
    for number, row in enumerate(checks):
        by_header.setdefault(row["header"].lower(), []).append(number)
    lines = ["LOCAL_CONFIG", *_header_maps(checks)]
    rules = ["LOCAL_RULESETS"]
    for place, numbers in enumerate(by_header.values(), 1):
        lines.append(f"H{checks[numbers[0]]['header']}: $>+Header{place}")
        rules.append(f"SHeader{place}")
        for number in numbers:
            row = checks[number]
            reply = row.get("reply") or HEADER_REPLY.format(header=row["header"])
            rules.append(f"R$*\t\t\t$: $(header{number + 1} $&{{currHeader}} $: OK $)")
            rules.append(f'R@REFUSED\t\t$#error $@ 5.7.1 $: "550 {reply}"')
    # Quoted for m4, which would take a word like dnl in an expression or a reply for its own.
    return "".join(f"{line}\n" if line.startswith("LOCAL_") else f"`{line}'\n" for line in lines + rules)


def sendmail_header_expected(checks: list[dict[str, Any]]) -> list[str]:
    """The lines that a compiled configuration must hold for the same checks."""
    return _header_maps(checks)


# What milters learn of a connection: what sendmail tells as it is, but for the daemon's name (MTA), which rspamd would take for that of
# this host and write into Authentication-Results (rspamd issue 5017).
CONNECT_MACROS = "define(`confMILTER_MACROS_CONNECT', `j, _, {if_name}, {if_addr}')dnl\n"


def sendmail_milters(milters: list[dict[str, Any]]) -> str:
    """m4 lines that ask milters, in this order, about each message."""
    lines = [CONNECT_MACROS] if milters else []
    for row in milters:
        times = row.get("timeouts") or {}
        phases = ";".join(f"{letter}:{times.get(name) or usual}" for name, (letter, usual) in PHASES.items())
        parts = [f"S=local:{row['socket']}", GONE[row.get("gone") or "tempfail"], f"T={phases}"]
        lines.append(f"INPUT_MAIL_FILTER(`{row['name']}', `{', '.join(part for part in parts if part)}')dnl\n")
    return "".join(lines)


def _regex_problem(text: str) -> str:
    """Why sendmail could not use an expression; empty where it can. Python's expressions are a superset of what is allowed here."""
    if not EXPRESSION.match(text):
        return "it must be printable ASCII without blanks (write [[:space:]]) and grave accents, no more than 200"
    if "'" in text:
        return "it must hold no apostrophe, which is m4's (write a dot)"
    if "(?" in text or re.search(r"\\[A-Za-z0-9]", text):
        return "it must be an extended POSIX expression, which knows neither (? nor \\d, \\b and the like"
    try:
        re.compile(re.sub(r"\[:[a-z]+:\]", "a", text))
    except re.error as error:
        return str(error)
    return ""


def sendmail_filter_errors(
    lists: list[dict[str, Any]], checks: list[dict[str, Any]], milters: list[dict[str, Any]]
) -> list[str]:
    """What is wrong with block lists, header checks and milters, one sentence each. Empty where all is well."""
    errors = []
    for number, row in enumerate(lists, 1):
        where = f"sendmail_block_lists, entry {number}"
        if not ZONE.match(str(row.get("zone"))):
            errors.append(f"{where}: zone is {row.get('zone')!r}; give the list's domain, such as bl.example.org.")
    for number, row in enumerate(checks, 1):
        where = f"sendmail_header_checks, entry {number}"
        if not HEADER.match(str(row.get("header"))):
            errors.append(f"{where}: header is {row.get('header')!r}; give a header's name without the colon, such as Subject.")
        problem = _regex_problem(str(row.get("regex") or ""))
        if problem:
            errors.append(f"{where}: regex is {row.get('regex')!r}; {problem}.")
        if row.get("reply") and not REPLY.match(row["reply"]):
            errors.append(f"{where}: reply is {row['reply']!r}; give letters, digits and plain punctuation, no more than 200.")
    names = [row.get("name") for row in milters]
    for number, row in enumerate(milters, 1):
        where = f"sendmail_milters, entry {number} ({row.get('name')})"
        if not MILTER.match(str(row.get("name"))) or row.get("name") in names[: number - 1]:
            errors.append(f"{where}: a name is letters, digits, hyphens and underscores, and no other milter's.")
        if not SOCKET.match(str(row.get("socket"))):
            errors.append(f"{where}: socket is {row.get('socket')!r}; give the absolute path of a Unix socket.")
        errors += [
            f"{where}: timeouts.{name} is {value!r}; give a number and s, m or h for one of {', '.join(PHASES)}."
            for name, value in (row.get("timeouts") or {}).items()
            if value is not None and (name not in PHASES or not TIME.match(str(value)))
        ]
    return errors


class FilterModule:
    """Filters that make sendmail's maps and sources."""

    def filters(self) -> dict[str, Any]:
        return {
            "sendmail_access": sendmail_access,
            "sendmail_connect_keys": sendmail_connect_keys,
            "sendmail_mailertable": sendmail_mailertable,
            "sendmail_routes": sendmail_routes,
            "sendmail_hops": sendmail_hops,
            "sendmail_aliases": sendmail_aliases,
            "sendmail_defines": sendmail_defines,
            "sendmail_expected": sendmail_expected,
            "sendmail_block_lists": sendmail_block_lists,
            "sendmail_header_checks": sendmail_header_checks,
            "sendmail_header_expected": sendmail_header_expected,
            "sendmail_milters": sendmail_milters,
            "sendmail_sts": sendmail_sts,
            "mail_domains": mail_domains,
            "mail_relay_from": mail_relay_from,
            "mail_smart_host": mail_smart_host,
            "mail_smart_hosts": mail_smart_hosts,
            "mail_users": mail_users,
            "mail_routes": mail_routes,
            "mail_aliases": mail_aliases,
            "mail_recipients": mail_recipients,
            "mail_errors": mail_errors,
        }
