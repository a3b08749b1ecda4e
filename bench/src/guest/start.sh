# Runs the command, says how it ended, and switches the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
ip link set lo up
# The kernel's thread for received packets goes before all that the command starts: it has only this processor, and what
# is sent meanwhile would overflow the queues between.
setsid nice -n 19 sh /run/share/command >/dev/vport0p1 2>&1 </dev/null
echo $? >/run/share/code
sync
echo o >/proc/sysrq-trigger
while :; do sleep 60; done
