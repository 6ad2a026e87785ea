#!/bin/sh
# throw_pool_away.sh FOLDER: what a broken disk does to a pool of reflink files: everything below the folder is gone.
set -eu
folder=$1
for device in /sys/block/loop*; do
    file=$(cat "$device/loop/backing_file" 2>/dev/null) || continue
    case $file in "$folder"/*) losetup -d "/dev/${device##*/}" ;; esac
done
while read -r _ _ _ _ point _; do
    case $point in "$folder"/*) umount -l "$point" ;; esac
done </proc/self/mountinfo
find "$folder" -mindepth 1 -delete
