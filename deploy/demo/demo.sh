#!/usr/bin/env bash
# The story of thinsnap, told with kubectl, thinsnap and thinsnap-sim only: a backup guide's YAML, real bytes, a lost
# node, a restore, and a restore in another cluster. Called by ./run demo; --keep leaves everything running.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${THINSNAP_BIN:-$(cd "$here/../.." && pwd)/build/bin}
PATH=$bin:$PATH
# MiB of files and of the one large file; the tests tell a shorter story.
files_mib=${DEMO_FILES_MIB:-256} table_mib=${DEMO_TABLE_MIB:-128}
keep=no
[ "${1:-}" = --keep ] && keep=yes

data=$(mktemp -d "${TMPDIR:-/var/tmp}/thinsnap-demo-XXXXXX")
export KUBECONFIG=$data/kubeconfig
export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
export THINSNAP_PASSPHRASE="correct horse battery staple"
pids=()
names=()
started=$(date +%s.%N)

finish() {
  local code=$?
  trap - EXIT
  if [ "$keep" = yes ] && [ "$code" = 0 ]; then return; fi
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  if [ "$code" = 0 ]; then rm -rf "$data"; else echo "demo: failed; logs and data are in $data" >&2; fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
chapter() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
# Prints a command, then runs it.
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; "$@"; }
# Applies a manifest with the variables it names filled in.
apply() {
  local file=$1 text
  shift
  text=$(<"$here/$file")
  local pair
  for pair in "$@"; do text=${text//"\${${pair%%=*}}"/"${pair#*=}"}; done
  printf '%s$ kubectl apply -f deploy/demo/%s%s%s\n' "$bold" "$file" "${*:+   # $*}" "$plain"
  kubectl apply -f - <<<"$text"
}
# until_is WANT SECONDS COMMAND...: repeats a reading command until it prints one of WANT (a|b).
until_is() {
  local want=$1 deadline=$((SECONDS + $2)) got=''
  shift 2
  while :; do
    got=$("$@" 2>/dev/null || true)
    [[ "|$want|" == *"|$got|"* && -n $got ]] && break
    if ((SECONDS > deadline)); then
      echo "demo: waited in vain for $want from: $* (now \"$got\")" >&2
      return 1
    fi
    sleep 0.1
  done
  [[ $got != Failed && $got != Invalid ]] || { echo "demo: $* says $got" >&2; "${@:1:4}" -o yaml >&2 || true; return 1; }
}
# start NAME COMMAND...: a program in the foreground of its own log; waits for its ready line.
start() {
  local name=$1
  shift
  printf '%s$ %s &%s\n' "$bold" "$*" "$plain"
  "$@" >"$data/$name.log" 2>"$data/$name.err" &
  pids+=($!)
  names+=("$name")
  local deadline=$((SECONDS + 30))
  until [ -s "$data/$name.log" ]; do
    kill -0 "$!" 2>/dev/null && ((SECONDS < deadline)) || { cat "$data/$name.err" >&2; return 1; }
    sleep 0.02
  done
  head -n 1 "$data/$name.log"
}
seconds() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }
mib() { awk -v n="${1:-0}" 'BEGIN { printf "%.1f", n / 1048576 }'; }
rate() { awk -v n="${1:-0}" -v s="$2" 'BEGIN { printf "%.0f", (s > 0 ? n / 1048576 / s : 0) }'; }

rows=()
stat_of() { kubectl get snapshots.storage.kubestash.com -n demo "$1" -o jsonpath="{.status.components.volumesnapshot.volumeSnapshotterStats[0].$2}"; }

finished_sessions() {
  kubectl get backupsessions -n demo -o jsonpath='{range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}' |
    awk '$2 == "Succeeded" || $2 == "Failed" { print $1 }'
}
# backup LABEL: triggers a session as a person would, and follows it to its end. The schedule may be a moment faster, and
# ours skipped then: the next session that ends is as good.
backup() {
  local label=$1 begun session='' snapshot known deadline=$((SECONDS + 180))
  begun=$(date +%s.%N)
  known=$(finished_sessions)
  if kubectl version --client 2>/dev/null | grep -q 'v\?1\.20'; then
    # kubectl 1.20 knows CronJobs as v1beta1 only.
    show kubectl create job -n demo --from=cronjob.v1beta1.batch/trigger-pvc-volume-snapshot-frequent-backup "manual-$label"
  else
    show kubectl create job -n demo --from=cronjob/trigger-pvc-volume-snapshot-frequent-backup "manual-$label"
  fi
  until session=$(finished_sessions | grep -vxF "${known:-none}" | tail -n 1) && [ -n "$session" ]; do
    ((SECONDS < deadline)) || { echo "demo: no session ends" >&2; kubectl describe backupsessions -n demo >&2; return 1; }
    sleep 0.1
  done
  until_is 'Succeeded|Failed' 5 kubectl get -n demo "backupsession/$session" -o 'jsonpath={.status.phase}'
  snapshot=s3-repository-$session
  until_is 'Succeeded|Failed' 30 kubectl get -n demo "snapshots.storage.kubestash.com/$snapshot" -o 'jsonpath={.status.phase}'
  local took
  took=$(seconds "$begun")
  show kubectl get -n demo backupsessions,snapshots.storage.kubestash.com,volumesnapshots
  snapshots+=("$snapshot")
  rows+=("backup $label|$(stat_of "$snapshot" mode)|$(mib "$(stat_of "$snapshot" bytesRead)")|$(mib "$(stat_of "$snapshot" bytesChanged)")|$(mib "$(stat_of "$snapshot" bytesStored)")|$(mib "$(stat_of "$snapshot" bytesUploaded)")|$took|$(rate "$(stat_of "$snapshot" bytesRead)" "$took")")
}

# restore NAME SNAPSHOT CLAIM: a RestoreSession, then a pod that checks every file.
restore() {
  local begun took
  begun=$(date +%s.%N)
  apply restore.yaml "NAME=$1" "SNAPSHOT=$2" "CLAIM=$3"
  until_is 'Succeeded|Failed|Invalid' 180 kubectl get restoresession -n demo "$1" -o 'jsonpath={.status.phase}'
  took=$(seconds "$begun")
  show kubectl get restoresession,pvc -n demo
  apply check.yaml "NAME=$1-check" "CLAIM=$3"
  until_is 'Succeeded|Failed' 120 kubectl get pod -n demo "$1-check" -o 'jsonpath={.status.phase}'
  show kubectl logs -n demo "$1-check"
  rows+=("$1||||||$took|$(rate "$(stat_of "${snapshots[0]}" bytesRead)" "$took")")
}

snapshots=()

chapter "1. An object store, and a cluster of two nodes"
start s3 thinsnap-sim s3 --data "$data/s3" --bucket kubestash-qa
endpoint=$(grep -o 'http://[0-9.:]*' "$data/s3.log" | head -n 1)
begun=$(date +%s.%N)
start up thinsnap-sim up --nodes 2 --data "$data/cluster" --kubeconfig "$KUBECONFIG"
rows+=("up||||||$(seconds "$begun")|")
show kubectl get nodes,thinpools
apply storage.yaml
show kubectl create namespace demo
printf '%s$ kubectl create secret generic -n demo s3-secret ..., encrypt-secret ...%s\n' "$bold" "$plain"
secrets() {
  kubectl create -f - <<EOF
apiVersion: v1
kind: Secret
metadata: {name: s3-secret, namespace: demo}
stringData: {AWS_ACCESS_KEY_ID: "$AWS_ACCESS_KEY_ID", AWS_SECRET_ACCESS_KEY: "$AWS_SECRET_ACCESS_KEY"}
EOF
}
passphrase() {
  kubectl create -f - <<EOF
apiVersion: v1
kind: Secret
metadata: {name: encrypt-secret, namespace: demo}
stringData: {RESTIC_PASSWORD: "$THINSNAP_PASSPHRASE"}
EOF
}
secrets
passphrase
apply backend.yaml "ENDPOINT=$endpoint"
apply retention.yaml

chapter "2. An application writes real files"
begun=$(date +%s.%N)
apply source.yaml "FILES_BYTES=$((files_mib << 20))" "TABLE_BYTES=$((table_mib << 20))"
until_is True 120 kubectl get pod -n demo source-pod -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
rows+=("write the tree||||||$(seconds "$begun")|")
show kubectl get pvc,pod -n demo -o wide
show kubectl exec -n demo source-pod -- df -h /source/data

chapter "3. A backup configuration, and the first backup"
apply backup.yaml
until_is Ready 60 kubectl get backupconfiguration -n demo pvc-volume-snapshot -o 'jsonpath={.status.phase}'
show kubectl get cronjob,backupstorage,backupconfiguration,repositories.storage.kubestash.com -n demo
backup 1

chapter "4. One percent changes, at random places; the second backup"
writes=$((table_mib * 256 / 100))
printf '%s$ kubectl exec -n demo source-pod -- sh -c "... %d random writes of 4 KiB into table.db ..."%s\n' "$bold" "$writes" "$plain"
kubectl exec -n demo source-pod -- sh -c 'cd /source/data && i=0 &&
  while [ $i -lt '"$writes"' ]; do
    dd if=/dev/urandom of=table.db bs=4096 count=1 conv=notrunc seek=$(( ($(od -An -N4 -tu4 /dev/urandom)) % '"$((table_mib * 256))"' )) status=none
    i=$((i + 1))
  done &&
  grep -v " table.db$" SHA256SUMS > sums && sha256sum table.db >> sums && mv sums SHA256SUMS && sync'
backup 2
stored=$(stat_of "${snapshots[1]}" bytesStored) uploaded=$(stat_of "${snapshots[1]}" bytesUploaded)
echo "The changed blocks compress to $(mib "$stored") MiB; uploaded were $(mib "$uploaded") MiB."
((uploaded * 10 <= stored * 13)) || { echo "demo: that is more than 1.3 times as much" >&2; exit 1; }

chapter "5. Disaster: the node that holds the volume burns down with its pool"
node=$(kubectl get pod -n demo source-pod -o 'jsonpath={.spec.nodeName}')
pool=$(kubectl get thinpools -o "jsonpath={.items[?(@.spec.node==\"$node\")].metadata.name}")
show thinsnap-sim destroy-node "$node" --data "$data/cluster"
show kubectl delete node "$node"
show kubectl delete thinpool "$pool"
show kubectl delete -n demo pod/source-pod --timeout=30s --ignore-not-found
show kubectl delete -n demo pvc/source-pvc --timeout=30s
show kubectl delete -n demo volumesnapshots --all --timeout=30s
show kubectl get nodes,pv

chapter "6. Both backups come back on the other node"
restore restore-pvc latest restore-source-pvc
restore restore-first "${snapshots[0]}" restore-first-pvc

chapter "7. Worse: another cluster, which knows the bucket and nothing else"
first=$KUBECONFIG
export KUBECONFIG=$data/kubeconfig-2
start up2 thinsnap-sim up --nodes 1 --data "$data/cluster-2" --kubeconfig "$KUBECONFIG"
apply storage.yaml
show kubectl create namespace demo
secrets
apply backend.yaml "ENDPOINT=$endpoint"
until_is "2" 60 sh -c 'kubectl get snapshots.storage.kubestash.com -n demo -o name | wc -l | tr -d " "'
show kubectl get backupstorage,repositories.storage.kubestash.com,snapshots.storage.kubestash.com -n demo
echo "The passphrase comes last: only the restore needs it."
passphrase
restore restore-elsewhere "${snapshots[1]}" restore-source-pvc

chapter "8. Without any cluster: the command, the bucket and the passphrase"
repository=s3+${endpoint}/kubestash-qa/demo/pvc-volume-snapshot-repo
show thinsnap --repository "$repository" list
show thinsnap --repository "$repository" verify
show thinsnap --repository "$repository" restore latest --target "$data/volume.img"

chapter "What it took"
{
  echo "step|mode|read MiB|changed MiB|stored MiB|uploaded MiB|seconds|MiB/s"
  printf '%s\n' "${rows[@]}"
} | awk -F'|' '{ printf "%-20s %-12s %9s %12s %11s %13s %8s %6s\n", $1, $2, $3, $4, $5, $6, $7, $8 }'
echo
echo "peak memory of each program:"
for i in "${!pids[@]}"; do
  for process in "${pids[$i]}" $(pgrep -P "${pids[$i]}" || true); do
    [ -r "/proc/$process/status" ] && awk -v n="${names[$i]}" '
      /^Name:/ { name = $2 } /^VmHWM:/ { printf "  %-18s (%s) %6.1f MiB\n", name, n, $2 / 1024 }' "/proc/$process/status"
  done
done
echo
echo "the whole story: $(seconds "$started") s"

if [ "$keep" = yes ]; then
  (
    umask 077
    printf 'export AWS_ACCESS_KEY_ID=%q AWS_SECRET_ACCESS_KEY=%q THINSNAP_PASSPHRASE=%q\n' \
      "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$THINSNAP_PASSPHRASE" >"$data/credentials"
  )
  # Who called it by sudo goes on as themselves.
  [ -z "${SUDO_UID:-}" ] || chown "$SUDO_UID:$SUDO_GID" "$data" "$data"/kubeconfig* "$data/credentials"
  cat <<EOF

Everything is still running. To go on by hand:
  export PATH=$bin:\$PATH
  export KUBECONFIG=$first          # the first cluster; the second: $KUBECONFIG
  kubectl get all,pvc,snapshots.storage.kubestash.com -n demo
  . $data/credentials               # bucket and passphrase, for the command
  thinsnap --repository $repository list
To end it:
  ${SUDO_UID:+sudo }kill ${pids[*]}; ${SUDO_UID:+sudo }rm -rf $data
EOF
  trap - EXIT
  disown -a
fi
