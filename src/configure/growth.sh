#!/bin/sh
# Grows partition $1 of the disk with the root file system to the end of the disk; does nothing if it lies there.
set -eu
number=$1
device=$(readlink -f "$(findmnt --noheadings --output SOURCE --mountpoint /)")
part=${device##*/}
# Through dm-verity and encryption to the partition below.
while set -- "/sys/class/block/$part/slaves/"*; [ -e "$1" ]; do
    part=${1##*/}
done
at=$(readlink -f "/sys/class/block/$part")
disk=$(readlink -f "$at/..")
name=${disk##*/}
for own in "$disk/$name"*; do
    [ "$(cat "$own/partition" 2>/dev/null)" = "$number" ] || continue
    # Sizes in units of 512 bytes; less than 2 MiB are not worth it: a backup table and what aligns.
    free=$(($(cat "$disk/size") - $(cat "$own/start") - $(cat "$own/size")))
    [ "$free" -gt 4096 ] || exit 0
    printf ', +\n' | sfdisk --quiet --no-reread --force -N "$number" "/dev/$name"
    exec partx --update --nr "$number" "/dev/$name"
done
echo "partition $number of /dev/$name does not exist" >&2
exit 1
