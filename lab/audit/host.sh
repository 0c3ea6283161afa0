#!/bin/sh
# Runs Lynis and OpenSCAP on a host and leaves nothing there. Started in a mount namespace of its own (unshare --mount), with the
# scanners' tree as a tar file on its input: what it unpacks lies in memory, seen by nobody else, and is gone when it ends, however
# it ends. Prints the results as a tar file.
#
#   host.sh PROFILE               of the content; a container is told from a machine by systemd-detect-virt
set -eu
profile=$1
exec 3>&1 >&2
mount --make-rprivate /
mount -t tmpfs -o mode=0755,exec,size=400m audit /mnt
cd /mnt
mkdir scanners results upper work root
tar -x -C scanners --strip-components=1

# A layer over the root directory that only this namespace has: the scanners write what they like, and the host has none of it.
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work audit root
# What is mounted elsewhere is not in that layer. Deeper mounts come along with these.
for directory in $(awk '$5 ~ "^/[^/]+$" && $5 != "/mnt" {print $5}' /proc/self/mountinfo | sort -u); do
    mount --rbind "$directory" "root$directory"
done
mount --rbind /mnt root/mnt
if systemd-detect-virt --container --quiet; then
    # OpenSCAP leaves most rules out where it knows that it is in a container, which flatters. So it is shown this very host
    # without the engine's mark and with a kernel among its packages. Rules that then fail for the container's sake are
    # excluded by name, with their reasons.
    rm -f root/.dockerenv
    printf '\nPackage: %s\nStatus: install ok installed\nVersion: 0\nArchitecture: all\nMaintainer: none\nDescription: none\n' \
        linux-base >> root/var/lib/dpkg/status
fi

# The content has profiles for Debian 12 and no later one, and takes its rules for a host of that alone (lab/audit.yml says so).
grep -q '^12\.' root/etc/debian_version || echo 12.0 > root/etc/debian_version

tree=/mnt/scanners
failed() {
    tail -n 20 "$1"
    exit 1
}
# 2 says that rules failed.
chroot root env "OSCAP_CPE_PATH=$tree/openscap/cpe" "OSCAP_XSLT_PATH=$tree/openscap/xsl" \
    "$tree"/lib/ld-linux-*.so.* --library-path "$tree/lib" "$tree/bin/oscap" xccdf eval --skip-validation --profile "$profile" \
    --results /mnt/results/oscap.xml "$tree"/content/ssg-debian*-ds.xml > oscap.out 2>&1 || test $? -eq 2 || failed oscap.out

# Lynis sees packages and release as they are.
cp -a /var/lib/dpkg/status root/var/lib/dpkg/status
cp -a /etc/debian_version root/etc/debian_version
chroot root sh -c "cd $tree/lynis && exec sh ./lynis audit system --quick --no-colors --profile default.prf \
    --plugin-dir $tree/lynis/plugins --report-file /mnt/results/lynis.dat --log-file /mnt/results/lynis.log" \
    < /dev/null > lynis.out 2>&1 || failed lynis.out
tar -c -C results . >&3
