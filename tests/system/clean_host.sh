#!/bin/sh
# Runs SCRIPT inside a copy-on-write view of the root file system LOWER, with a
# process table, a network and mounts of its own. The network is a loopback and
# nothing else. MEDIUM, an ISO image, appears as /media/volume: mounted where the
# kernel can, unpacked by xorriso where it cannot. Called by test_clean_host.py as
#   unshare --mount --net --pid --ipc --uts --fork clean_host.sh LOWER WORK MEDIUM SCRIPT
set -eu
lower=$1 work=$2 medium=$3 script=$4
mount --make-rprivate /
ip link set lo up
mkdir -p "$work/upper" "$work/inner" "$work/root"
mount -t tmpfs tmpfs "$work/upper"
mkdir "$work/upper/up" "$work/upper/work"
mount -t overlay overlay \
    -o "lowerdir=$lower,upperdir=$work/upper/up,workdir=$work/upper/work" "$work/root"
mount -t proc proc "$work/root/proc"
mount -t tmpfs tmpfs "$work/root/dev"
for device in null zero random urandom tty; do
    touch "$work/root/dev/$device"
    mount --bind "/dev/$device" "$work/root/dev/$device"
done
mkdir -p "$work/root/dev/shm" "$work/root/media/volume"
mount -t tmpfs tmpfs "$work/root/dev/shm"
if mount -o loop,ro,nodev,nosuid,noexec "$medium" "$work/root/media/volume" 2>/dev/null; then
    echo "medium: mounted"
else
    xorriso -osirrox on -indev "$medium" -extract / "$work/inner" >/dev/null 2>&1
    mount --bind "$work/inner" "$work/root/media/volume"
    mount -o remount,bind,ro "$work/root/media/volume"
    echo "medium: unpacked by xorriso"
fi
cp "$script" "$work/root/root/script.py"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    chroot "$work/root" /usr/bin/python3 -I /root/script.py
