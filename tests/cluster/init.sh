#!/bin/bash
# Process 1 of a machine (see machine.py): what it has of its own, then a reaper of orphans for ever.
#   NAME     its host name            SHARED   the shared file system: the same path on every machine
#   HIDDEN   directories, colon separated, that an ordinary user can not pass or that are the machine's own
#   SHOWN    what of those is to be seen nevertheless, read-only
set -eu
hostname "$NAME"
IFS=:
mkdir -p "$SHARED/run/all-$NAME"
mount --rbind / "$SHARED/run/all-$NAME"
for path in $HIDDEN; do mount -t tmpfs -o mode=755,size=1m hidden "$path"; done
for path in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o mode=1777,size=2g own "$path"; done
mount -t tmpfs -o mode=755,size=64m own /run
for path in $SHOWN; do
    mkdir -p "$path"
    mount --bind "$SHARED/run/all-$NAME$path" "$path"
    mount -o remount,ro,bind "$path"
done
umount -l "$SHARED/run/all-$NAME"
for name in hosts passwd group; do mount --bind "$SHARED/etc/$name" "/etc/$name"; done
if [ -d /etc/slurm ]; then mount --bind "$SHARED/etc/slurm" /etc/slurm; fi
unset IFS
cd /
touch "$SHARED/run/$NAME.up"
trap : TERM INT HUP
sleep infinity &
while :; do wait || true; done
