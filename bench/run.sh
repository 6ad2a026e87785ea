#!/usr/bin/env bash
# Measures what README promises, beside its peers in the same run, and prints three tables. Called by ./run bench.
#   BENCH_MIB=1024   MiB of real files in the image
#   BENCH_DEMO=1     0 leaves the demo out
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
PATH=$here/build/bin:$PATH
mib=${BENCH_MIB:-1024}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/thinsnap-bench-XXXXXX")
up_pid=
finish() {
  [ -n "$up_pid" ] && kill "$up_pid" 2>/dev/null && wait "$up_pid" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
for program in restic mkfs.ext4 /usr/bin/time; do
  command -v "$program" >/dev/null || { echo "bench: no $program on this machine"; exit 1; }
done
export THINSNAP_PASSPHRASE=bench RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$work/cache

# measure LABEL COMMAND...: a row with wall seconds, processor seconds and peak MiB of the largest process.
measure() {
  local label=$1 figures
  shift
  /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$@" >"$work/out" 2>"$work/err" || { cat "$work/err" >&2; exit 1; }
  figures=$(awk '{ printf "%8.2f %8.2f %8.1f", $1, $2 + $3, $4 / 1024 }' "$work/time")
  printf '%-38s %s\n' "$label" "$figures"
}
size_of() { du -s --apparent-size -B 1 "$1" | cut -f 1; }
grown() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f MiB", (b - a) / 1048576 }'; }

echo "An ext4 image with $mib MiB of this machine's /usr; repositories in folders of the same disk."
mkdir "$work/tree"
(cd /usr && find . -xdev -type f -size +3k -printf '%s %P\n' | sort -k 2 |
  awk -v most="$((mib << 20))" '(sum += $1) < most { sub(/^[0-9]+ /, ""); print }' | tr '\n' '\0' |
  xargs -0 cp --parents -t "$work/tree" 2>/dev/null || true)
truncate -s "$((mib * 3 / 2 + 256))M" "$work/image"
mkfs.ext4 -q -F -d "$work/tree" "$work/image"
rm -rf "$work/tree"

printf '\n%-38s %8s %8s %8s\n' "" "wall s" "cpu s" "peak MiB"
thinsnap --repository "$work/ours" init >/dev/null
restic -q -r "$work/theirs" init >/dev/null
measure "thinsnap: full backup" thinsnap --repository "$work/ours" backup "$work/image" --series bench
measure "restic:   full backup" restic -q -r "$work/theirs" backup "$work/image"
ours=$(size_of "$work/ours") theirs=$(size_of "$work/theirs")
echo "stored: thinsnap $(grown 0 "$ours"), restic $(grown 0 "$theirs")"
measure "thinsnap: nothing changed" thinsnap --repository "$work/ours" backup "$work/image" --series bench
measure "restic:   nothing changed" restic -q -r "$work/theirs" backup --force "$work/image"

blocks=$((mib * 256)) i=0
while [ $i -lt $((blocks / 100)) ]; do
  echo $(((RANDOM * 32768 + RANDOM) % blocks))
  i=$((i + 1))
done | while read -r block; do
  dd if=/dev/urandom of="$work/image" bs=4096 count=1 seek="$block" conv=notrunc status=none
done
ours=$(size_of "$work/ours") theirs=$(size_of "$work/theirs")
measure "thinsnap: 1 % of random 4 KiB writes" thinsnap --repository "$work/ours" backup "$work/image" --series bench
measure "restic:   1 % of random 4 KiB writes" restic -q -r "$work/theirs" backup "$work/image"
echo "added: thinsnap $(grown "$ours" "$(size_of "$work/ours")"), restic $(grown "$theirs" "$(size_of "$work/theirs")")"
measure "thinsnap: restore" thinsnap --repository "$work/ours" restore latest --target "$work/back"
cmp "$work/image" "$work/back"
rm "$work/back"
measure "restic:   restore" restic -q -r "$work/theirs" restore latest --target "$work/back"
rm -rf "$work/back" "$work/image"

if [ "$(id -u)" != 0 ] || ! command -v kubectl >/dev/null; then
  echo "up: not measured; it needs root and kubectl"
  exit 0
fi
echo
begun=$(date +%s%N)
thinsnap-sim up --nodes 2 --data "$work/up" --kubeconfig "$work/kubeconfig" >"$work/up.out" 2>"$work/up.err" &
up_pid=$!
export KUBECONFIG=$work/kubeconfig
until [ -s "$KUBECONFIG" ] && kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.01; done
printf '%-38s %8.2f s\n' "up: the first kubectl is answered after" "$(awk -v a="$begun" -v b="$(date +%s%N)" 'BEGIN { print (b - a) / 1e9 }')"
until [ -s "$work/up.out" ]; do sleep 0.01; done
printf '%-38s %8.2f s\n' "up: two nodes are ready after" "$(awk -v a="$begun" -v b="$(date +%s%N)" 'BEGIN { print (b - a) / 1e9 }')"
# pss: a line for each process of `up` (pods excluded: there are none yet), and their sum.
sleep 10
descendants() { for child in $(pgrep -P "$1" || true); do echo "$child"; descendants "$child"; done; }
echo "up: idle, proportional set size:"
for process in $up_pid $(descendants "$up_pid"); do
  awk -v name="$(tr '\0' ' ' <"/proc/$process/cmdline" | cut -c 1-60 | sed 's|[^ ]*/||')" \
    '/^Pss:/ { printf "  %-58s %7.1f MiB\n", name, $2 / 1024 }' "/proc/$process/smaps_rollup" 2>/dev/null || true
done | tee "$work/pss"
awk '{ sum += $(NF - 1) } END { printf "  %-58s %7.1f MiB\n", "sum", sum }' "$work/pss"

# The same filesystem on a claim's volume, as a pod sees it, and on a plain loop file of the same disk.
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: bench}
provisioner: csi.thinsnap.io
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: bench}
spec: {accessModes: [ReadWriteOnce], storageClassName: bench, resources: {requests: {storage: 2Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: bench}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: writer, image: debian, command: [sleep, infinity], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, persistentVolumeClaim: {claimName: bench}}]
YAML
kubectl wait --for=condition=Ready pod/bench --timeout=60s >/dev/null
truncate -s 2G "$work/plain"
mkfs.ext4 -q -F "$work/plain"
mkdir "$work/mount"
printf '\n%-38s %8s %8s\n' "writes, the best of three" "MiB/s" "fsync/s"
writes() { for turn in 1 2 3; do "$@"; done | awk '{ if ($1 > a) a = $1; if ($2 > b) b = $2 } END { printf "%8.0f %8.0f", a, b }'; }
on_volume() { kubectl exec -i bench -- python3 - /data 512 1000 <"$here/bench/write_speed.py"; }
on_loop() {
  unshare -m sh -c 'mount -o loop "$1/plain" "$1/mount" && python3 "$2" "$1/mount" 512 1000' - "$work" "$here/bench/write_speed.py"
}
printf '%-38s %s\n' "a pod's volume (ext4)" "$(writes on_volume)" "a plain loop file (ext4)" "$(writes on_loop)"

if [ "${BENCH_DEMO:-1}" = 1 ]; then
  kill "$up_pid" && wait "$up_pid"
  up_pid=
  unset KUBECONFIG
  begun=$SECONDS
  "$here/deploy/demo/demo.sh" >"$work/demo.out" 2>&1 || { tail -n 30 "$work/demo.out"; exit 1; }
  printf '\n%-38s %8d s\n' "the demo" $((SECONDS - begun))
fi
