#!/bin/busybox sh
# Makes the guest's root from the host's files, under a layer of memory, and goes there.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do $b insmod "$module"; done
options=trans=virtio,version=9p2000.L,msize=262144
$b mount -t 9p -o "$options,ro,cache=loose" host /host
$b mount -t tmpfs -o mode=755 layer /layer
$b mkdir /layer/upper /layer/work
$b mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /root
$b mkdir -p /root/proc /root/sys /root/dev /root/run /root/lib/modules
for directory in proc sys dev; do $b mount --move "/$directory" "/root/$directory"; done
$b mount -t tmpfs run /root/run
$b mount -t bpf bpf /root/sys/fs/bpf
$b mount -t 9p -o "$options,ro,cache=loose" modules /root/lib/modules
$b mkdir /root/run/share
$b mount -t 9p -o "$options" share /root/run/share
until [ -e /root/dev/vport0p1 ]; do $b sleep 0.1; done
exec $b switch_root /root /bin/sh /run/share/start
