#!/usr/bin/env bash
# cluster.sh SCRIPT [ARG...]: a real one-node Kubernetes from nothing, SCRIPT on it, and nothing left. Everything lives in
# namespaces of its own: the machine sees no port, no mount and no interface, and ending this ends all of it.
# THINSNAP_BIN: our programs. THINSNAP_PEERS: where upstream's are, or are built once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root for namespaces, mounts and containers"
for program in kubectl runc ip openssl python3 mkfs.xfs unshare setpriv apt-get; do
  command -v "$program" >/dev/null || skip "no $program on this machine"
done
: "${THINSNAP_BIN:?}" "${THINSNAP_PEERS:?}"
said=$("$here/peers/build.sh" "$THINSNAP_PEERS/kubernetes") || skip "$said"
said=$("$here/../system/upstream/build.sh" "$THINSNAP_PEERS/sidecars") || skip "$said"

data=$(mktemp -d "${TMPDIR:-/var/tmp}/thinsnap-cluster-XXXXXX")
cgroup=/thinsnap-$(basename "$data")
inside=
# Kills what is left in the cluster's cgroups, then removes them and the folder.
finish() {
  local code=$? hierarchy folder process
  trap - EXIT
  [ -z "$inside" ] || { kill -9 "$inside" 2>/dev/null; wait "$inside" 2>/dev/null; } || true
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$hierarchy$cgroup" ] || continue
    for folder in $(find "$hierarchy$cgroup" -depth -type d); do
      for process in $(cat "$folder/cgroup.procs" 2>/dev/null); do kill -9 "$process" 2>/dev/null || true; done
      for _ in 1 2 3 4 5 6 7 8 9 10; do rmdir "$folder" 2>/dev/null && break || sleep 0.1; done
    done
  done
  if [ "$code" != 0 ] && [ -n "${THINSNAP_KEEP:-}" ]; then
    echo "logs and data are in $data"
  else
    rm -rf "$data"
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

PATH=$THINSNAP_PEERS/kubernetes:$THINSNAP_PEERS/kubernetes/usr/bin:$PATH
export PATH data cgroup THINSNAP_BIN THINSNAP_PEERS
# --kill-child: when this shell is killed, the namespace's first process goes, and the kernel ends the rest.
unshare --mount --pid --net --fork --kill-child --mount-proc --propagation private "$here/node.sh" "$@" &
inside=$!
wait "$inside"
