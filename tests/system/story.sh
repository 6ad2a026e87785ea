#!/usr/bin/env bash
# Runs the demo, shortened by its environment: every step of it ends the script where it fails.
set -eu
skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "the story needs root for mounts and containers"
for program in kubectl runc mkfs.xfs mkfs.ext4; do
  command -v "$program" >/dev/null || skip "no $program on this machine"
done
exec "$(dirname "$0")/../../deploy/demo/demo.sh"
