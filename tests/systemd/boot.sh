#!/bin/sh
# Runs as pid 1 of new namespaces: a throw-away root over the real one, then systemd.
# $1: an empty folder to build the root in, $2: the folder to show as /srv, $3: units that go before the system's.
set -e
scratch=$1 shared=$2 units=$3
mount --make-rprivate /
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/srv" "$root/tmp/outside" "$root/run/systemd" "$root/run/lock"
mount --bind "$shared" "$root/srv"
cp -a "$units" "$root/run/systemd/system"
cd "$root"
pivot_root . tmp/outside
umount -l /tmp/outside
# In a container systemd leaves this to whoever started it; without, credentials never reach their service.
mount --make-rshared /
exec env -i container=evald-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SYSTEMD_UNIT_PATH=/run/systemd/system:/etc/systemd/system:/usr/lib/systemd/system \
    SYSTEMD_PROC_CMDLINE="systemd.unit=evald-test.target systemd.unified_cgroup_hierarchy=1" \
    /usr/lib/systemd/systemd --system --log-target=console --show-status=0 </dev/null
