#!/bin/sh
# First process of a guest kernel. Its root is the host's, read-only; what it may write lies below /run.
# From the kernel's command line: guest_name, guest_exchange (a folder of the host, seen as /run/host) and, where it has
# a network card, guest_address.
# Then it does what it is told: for each number N read from the console it runs /run/host/N.sh and says N and the exit code.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LANG=C.UTF-8 HOME=/run/local TMPDIR=/run/tmp PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/host /run/local /run/tmp /run/disk /run/share /run/modules/lib
mount -t hostfs -o "$guest_exchange" hostfs /run/host
ln -s /usr/lib/uml/modules /run/modules/lib/modules
hostname "$guest_name"
if [ -n "$guest_address" ]; then
    ip link set lo up
    ip address add "$guest_address/24" dev vec0
    ip link set vec0 up
fi
stty -echo
echo "<guest $guest_name is up>"
while read -r number; do
    sh "/run/host/$number.sh" >"/run/host/$number.out" 2>&1 </dev/null
    echo "<done $number $?>"
done
