"""Hosts that somebody has been at: a table of changes by hand, each with the role that has to see it and put it back.

`drift` is a script that makes the change, `stands` one that succeeds while it is there. Both run as root on the host.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from tests.site import lab


class Drift(NamedTuple):
    """One change by hand."""

    role: str
    host: str
    what: str
    drift: str
    stands: str


DRIFTS = [
    Drift(
        "base",
        lab.GATEWAY,
        "a name of ours leads elsewhere",
        "sed -i '/mail/s/^[0-9.]*/10.9.9.9/' /etc/hosts",
        "grep -q ^10.9.9.9 /etc/hosts",
    ),
    Drift(
        "base",
        lab.CONCENTRATOR,
        "a package has been removed",
        "DEBIAN_FRONTEND=noninteractive apt-get -qq remove ulogd2 >&2",
        "! dpkg-query -W -f '${db:Status-Status}' ulogd2 | grep -qx installed",
    ),
    Drift(
        "network",
        lab.COLLECTOR,
        "a host that is no router forwards",
        "sed -i 's/ip_forward = 0/ip_forward = 1/' /etc/sysctl.d/60-network.conf && sysctl -q -p /etc/sysctl.d/60-network.conf",
        'test "$(sysctl -n net.ipv4.ip_forward)" = 1',
    ),
    Drift(
        "network",
        lab.NAMESERVER,
        "a link that is no longer there is still described",
        "printf '%s\\n' '# by the role network; see systemd.network(5)' '[Match]' Name=gone0 > /etc/systemd/network/50-a.network",
        "test -e /etc/systemd/network/50-a.network",
    ),
    Drift(
        "firewall",
        lab.FIREWALL,
        "rules that let everything through, in the file and in force",
        "sed -i '/hook forward/s/policy drop/policy accept/' /etc/nftables.conf && systemctl reload nftables",
        "nft list chain inet firewall forward | grep -q 'policy accept'",
    ),
    Drift(
        "firewall",
        lab.ROUTER,
        "what is denied is no longer logged",
        "systemctl -q disable --now ulogd2",
        "! systemctl -q is-active ulogd2 && ! systemctl -q is-enabled ulogd2",
    ),
    Drift(
        "vpn",
        lab.CONCENTRATOR,
        "a peer may have come from anywhere, and the key's file is open to all",
        "cd /etc/wireguard && sed -i '0,/^AllowedIPs.*/s//AllowedIPs = 0.0.0.0\\/1/' wg0.conf && chmod 0644 wg0.conf",
        "grep -q 0.0.0.0/1 /etc/wireguard/wg0.conf",
    ),
    Drift(
        "vpn",
        lab.CONCENTRATOR,
        "an interface of a former name would still come up at boot",
        "cd /etc/wireguard && umask 077 && printf '%s\\n' '# by the role vpn; see wg-quick(8)' '[Interface]' > wg9.conf"
        " && systemctl -q enable wg-quick@wg9",
        "test -e /etc/wireguard/wg9.conf || systemctl -q is-enabled wg-quick@wg9",
    ),
    Drift(
        "dns",
        lab.NAMESERVER,
        "anybody may ask for everything, and the server is down",
        "sed -i 's/allow-transfer {[^}]*}/allow-transfer { any; }/' /etc/bind/named.conf && systemctl -q stop named",
        "! systemctl -q is-active named",
    ),
    Drift(
        "dns",
        lab.NAMESERVER,
        "the name server signs another file than the zone's",
        "cd /var/lib/bind/site/zones/external && ln -sfn /dev/null widgets.example",
        'test "$(readlink /var/lib/bind/site/zones/external/widgets.example)" = /dev/null',
    ),
    Drift(
        "dns", lab.NAMESERVER, "a zone that nobody asked for", "touch /etc/bind/zones/stray", "test -e /etc/bind/zones/stray"
    ),
    Drift(
        "smmsp",
        lab.GATEWAY,
        "the queue is open, and the next upgrade would leave it so",
        "dpkg-statoverride --quiet --remove /var/spool/mqueue && chmod 0755 /var/spool/mqueue",
        'test "$(stat -c %a /var/spool/mqueue)" = 755 && ! dpkg-statoverride --list /var/spool/mqueue',
    ),
    Drift(
        "smmsp",
        lab.STORE,
        "the mail system's user can log in",
        "usermod -s /bin/bash smmta",
        "getent passwd smmta | grep -q bash$",
    ),
    Drift(
        "sendmail",
        lab.GATEWAY,
        "a hand edit of the compiled configuration",
        "sed -i 's/^O PrivacyOptions=.*/O PrivacyOptions=public/' /etc/mail/sendmail.cf",
        "grep -q '^O PrivacyOptions=public' /etc/mail/sendmail.cf",
    ),
    Drift(
        "sendmail",
        lab.STORE,
        "an alias more, and its map loose",
        "echo 'sneak: root' >> /etc/mail/aliases && chmod 0644 /etc/mail/aliases.db",
        "grep -q sneak /etc/mail/aliases",
    ),
    Drift(
        "sendmail",
        lab.COLLECTOR,
        "the queue runner is off",
        "systemctl -q disable --now sendmail-msp",
        "! systemctl -q is-active sendmail-msp",
    ),
    Drift(
        "content_filter",
        lab.GATEWAY,
        "the filter's unit without its sandbox",
        "rm /etc/systemd/system/clamav-daemon.service.d/sandbox.conf && systemctl daemon-reload",
        "! test -e /etc/systemd/system/clamav-daemon.service.d/sandbox.conf",
    ),
    Drift(
        "mta_sts_resolver",
        lab.GATEWAY,
        "policies of others are waited for all day",
        "sed -i 's/timeout: .*/timeout: 86400/' /etc/mta-sts-resolver/daemon.yml",
        "grep -q 'timeout: 86400' /etc/mta-sts-resolver/daemon.yml",
    ),
    Drift(
        "mta_sts",
        lab.GATEWAY,
        "senders are told to forget the policy",
        "sed -i 's/^mode: .*/mode: none/' /etc/mta-sts/www/.well-known/mta-sts.txt",
        "grep -q '^mode: none' /etc/mta-sts/www/.well-known/mta-sts.txt",
    ),
    Drift(
        "content_filter",
        lab.GATEWAY,
        "the list of senders reached over TCP",
        "sed -i 's/^port 0/port 6379/' /etc/content-filter/greylist.conf && systemctl -q restart redis-server",
        "grep -qx 'port 6379' /etc/content-filter/greylist.conf",
    ),
    Drift(
        "pop3",
        lab.STORE,
        "a mailbox that others may read",
        f"chmod 0755 /var/mail/{lab.users()[0]}",
        f'test "$(stat -c %a /var/mail/{lab.users()[0]})" = 755',
    ),
    Drift(
        "pop3",
        lab.STORE,
        "passwords in the clear",
        "sed -i 's/^#.*Managed/disable_plaintext_auth = no\\n&/' /etc/dovecot/dovecot.conf; echo '# by hand' >> /etc/dovecot/dovecot.conf",
        "grep -q '^# by hand' /etc/dovecot/dovecot.conf",
    ),
    Drift(
        "pop3",
        lab.STORE,
        "no script of the site's",
        "rm /etc/dovecot/sieve/site.sieve",
        "! test -e /etc/dovecot/sieve/site.sieve",
    ),
    Drift(
        "syslog",
        lab.STORE,
        "lines stay here",
        "sed -i '1i *.* stop' /etc/rsyslog.conf && systemctl -q restart rsyslog",
        "grep -qxF '*.* stop' /etc/rsyslog.conf",
    ),
    Drift(
        "tcp_wrappers",
        lab.ROUTER,
        "everybody may come in",
        "echo 'ALL: ALL' >> /etc/hosts.allow",
        "grep -qx 'ALL: ALL' /etc/hosts.allow",
    ),
    Drift(
        "ssh",
        lab.NAMESERVER,
        "passwords let in",
        "sed -i '1i PasswordAuthentication yes' /etc/ssh/sshd_config && systemctl -q reload ssh",
        "grep -qx 'PasswordAuthentication yes' /etc/ssh/sshd_config",
    ),
    Drift(
        "ssh",
        lab.COLLECTOR,
        "a host that is not known any more",
        "sed -i '$d' /etc/ssh/ssh_known_hosts",
        f'test "$(grep -c ^[^#] /etc/ssh/ssh_known_hosts)" -lt {len(lab.group("site"))}',
    ),
    Drift("hardening", lab.FIREWALL, "a set-id program", "chmod u+s /usr/bin/find", "test -u /usr/bin/find"),
    Drift(
        "hardening", lab.STORE, "everybody reads the hashes", "chmod 0644 /etc/shadow", 'test "$(stat -c %a /etc/shadow)" = 644'
    ),
    Drift(
        "hardening",
        lab.ROUTER,
        "neighbours may change routes",
        "sed -i 's/accept_redirects *= *0/accept_redirects = 1/' /etc/sysctl.d/zz-hardening.conf && systemctl -q restart systemd-sysctl",
        'test "$(sysctl -n net.ipv4.conf.all.accept_redirects)" = 1',
    ),
    Drift(
        "hardening",
        lab.GATEWAY,
        "root's shell at boot",
        "systemctl -q unmask debug-shell.service",
        'test "$(systemctl is-enabled debug-shell.service)" != masked',
    ),
    Drift(
        "tripwire",
        lab.NAMESERVER,
        "no more scans",
        "systemctl -q disable --now tripwire-check.timer",
        "! systemctl -q is-active tripwire-check.timer",
    ),
    Drift(
        "tripwire",
        lab.STORE,
        "a scan that says nothing",
        "printf '#!/bin/sh\\n' > /usr/local/sbin/tripwire-check",
        'test "$(wc -l < /usr/local/sbin/tripwire-check)" = 1',
    ),
]

# What runs where the release's sendmail can look at TLSA records, and nowhere else.
if os.environ.get("LAB_RELEASE", "12") != "12":
    DRIFTS.append(
        Drift(
            "resolver",
            lab.GATEWAY,
            "the resolver answers the whole network",
            "sed -i 's/interface: 127.0.0.1/interface: 0.0.0.0/' /etc/unbound/unbound.conf",
            "grep -q 'interface: 0.0.0.0' /etc/unbound/unbound.conf",
        )
    )


def stands(drift: Drift) -> bool:
    """Whether a change by hand is (still) there."""
    return lab.Machine(drift.host).run("sh", "-c", drift.stands, check=False).returncode == 0


def make(drift: Drift) -> None:
    """Make a change by hand, and see that it is there."""
    lab.Machine(drift.host).sh(drift.drift, timeout=120)
    assert stands(drift), f"{drift.host}: {drift.what}: the script did not bring it about"
