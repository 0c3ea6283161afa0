#!/bin/sh
# Installs the scanners.
set -eu
export DEBIAN_FRONTEND=noninteractive
rm -f /etc/apt/apt.conf.d/docker-* /etc/dpkg/dpkg.cfg.d/docker*    # pulled images leave out documentation, packages' content among it
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
apt-get -y --no-install-recommends install lynis nmap openscap-scanner python3 python3-venv ssg-debian

python3 -m venv /opt/audit/python
/opt/audit/python/bin/pip install --no-index --no-deps /opt/audit/build/*.whl

rm -rf /opt/audit/build /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
