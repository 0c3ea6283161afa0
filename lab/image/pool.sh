#!/bin/sh
# Fills the package pool. Each line of pool.sets is a set of packages that can stand on one host; it is resolved against
# this image's own state, so that the pool holds all that is missing. Sets may contradict each other (two mail servers).
set -eu
export DEBIAN_FRONTEND=noninteractive
pool=/opt/lab/pool
mkdir -p $pool/partial

while read -r set; do
    # shellcheck disable=SC2086
    apt-get -y --no-install-recommends --download-only \
        -o Dir::Cache::archives=$pool -o APT::Keep-Downloaded-Packages=true install $set
done < /opt/lab/build/pool.sets

cd $pool
rm -rf partial lock
apt-ftparchive packages . > Packages
apt-ftparchive release . > Release

# From here on the pool is the only source. The last update matters: with an empty lists directory Ansible's apt module
# believes its cache fresh and then finds no package.
mkdir -p /opt/lab/sources
mv /etc/apt/sources.list.d/* /opt/lab/sources/
printf 'Types: deb\nURIs: file:%s\nSuites: ./\nTrusted: yes\n' $pool > /etc/apt/sources.list.d/lab.sources
rm -rf /var/lib/apt/lists/*
apt-get update
