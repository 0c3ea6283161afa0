#!/bin/sh
# Makes of the scanners that run on the hosts a tree that needs nothing there but a shell.
set -eu

# oscap with the libraries and the loader that it was linked with: a host of another release has others.
tree=/carried
mkdir -p "$tree/bin" "$tree/lib" "$tree/content" "$tree/lynis"
cp /usr/bin/oscap "$tree/bin/"
ldd /usr/bin/oscap | grep -o '/[^ ]*' | xargs -I{} cp -L {} "$tree/lib/"
cp -a /usr/share/openscap "$tree/"
rm -r "$tree/openscap/schemas"        # 65 MB to check content with that comes from the distribution
cp /usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml "$tree/content/"

cp -a /usr/share/lynis/. /usr/sbin/lynis /etc/lynis/default.prf /etc/lynis/plugins "$tree/lynis/"
# It keeps notes of its own where everything else is, and not in the host's /run and /tmp.
sed -i 's#/var/run/lynis.pid#/mnt/lynis.pid#' "$tree/lynis/lynis"
sed -i 's#/tmp/lynis#/mnt/lynis#g' "$tree/lynis/include/functions"

dpkg-query --show --showformat='${Package} ${Version}\n' lynis nmap openscap-scanner ssg-debian > "$tree/versions"
/opt/audit/python/bin/pip list --format=freeze | sed -n 's/^\(ssh-audit\|sslyze\)==/\1 /p' >> "$tree/versions"
