#!/bin/sh
# Makes a bare Debian into a host: current packages, systemd, Python. Runs while the image is built, with the real archives.
set -eu
export DEBIAN_FRONTEND=noninteractive

# Pulled images carry settings for throw-away containers (no services, no package cache); a host has none of them.
rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-* /etc/dpkg/dpkg.cfg.d/docker*
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d
mkdir -p /etc/apt/sources.list.d
archive() {
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n' "$1" "$2"
}
{
    archive "$MIRROR" "$CODENAME $CODENAME-updates"
    [ -z "$SECURITY" ] || archive "$SECURITY" "$CODENAME-security"
} > /etc/apt/sources.list.d/debian.sources

apt-get update
apt-get -y --no-install-recommends dist-upgrade
apt-get -y --no-install-recommends install \
    apt-utils ca-certificates dbus iproute2 procps python3 python3-apt sensible-utils systemd systemd-sysv
apt-get clean

# Every container makes its own identity at its first boot.
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id

# The role `network` decides whether networkd runs. A container has no consoles, and the rest would count as failed.
systemctl disable systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service 2>/dev/null || true
systemctl mask console-getty.service getty.target getty-static.service systemd-logind.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
    systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-modules-load.service \
    apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer dpkg-db-backup.timer
