#!/usr/bin/env bash
# driver_kills.sh: the node drivers are killed again and again, at no particular moment, while volumes are made and
# formatted, snapshots cut and exported, and a copy imported on the other node. Everything converges, every byte is
# right, and no log knows the passphrase or a key of the store.
set -euo pipefail
. "$(dirname "$0")/cluster.sh"
needs
PATH=$THINSNAP_BIN:$PATH
export THINSNAP_PASSPHRASE=passphrase-nobody-logs AWS_ACCESS_KEY_ID=kills AWS_SECRET_ACCESS_KEY=key-nobody-logs
explain() {
  kubectl get pods,pvc,volumesnapshots,volumesnapshotcontents
  kubectl get events | tail -n 20
  local log
  for log in "$data"/cluster/nodes/*/driver.log "$data"/cluster/logs/thinsnap-csi.log; do echo "== $log"; tail -n 30 "$log"; done
}
cluster_begin kills
kills=0
# killing COMMAND...: while the command runs, and for some seconds more, drivers die.
killing() {
  (while :; do
    sleep "$((RANDOM % 2)).$((RANDOM % 7 + 3))"
    pid=$(pgrep -f "thinsnap-sim node --node node-$((RANDOM % 2 + 1)) .*$data/cluster/" | head -n 1) || continue
    kill -9 "$pid" 2>/dev/null && echo >>"$data/killed"
  done) &
  local killer=$!
  pids+=("$killer")
  "$@"
  sleep 6
  kill "$killer"
  wait "$killer" 2>/dev/null || true
  kills=$(wc -l <"$data/killed")
}
ready() { [ "$(kubectl get volumesnapshot "$1" -o 'jsonpath={.status.readyToUse}')" = true ]; }
# pod NAME CLASS [MORE SPEC OF ITS CLAIM]: a claim of the name and a pod that mounts it.
pod() {
  kubectl apply -f - <<EOF
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: $2
  resources: {requests: {storage: 512Mi}}
  ${3:-}
---
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /data}]}
  volumes: [{name: v, persistentVolumeClaim: {claimName: $1}}]
EOF
}
snapshot() {
  kubectl apply -f - <<EOF
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: $1}
spec: {volumeSnapshotClassName: exported, source: {persistentVolumeClaimName: $2}}
EOF
}

# Slow enough that a transfer is under way when its driver dies.
start s3 thinsnap-sim s3 --data "$data/s3" --bucket bucket --chaos-latency-ms 60
endpoint=$(grep -o 'http://[0-9.:]*' "$data/s3.log" | head -n 1)
url=s3+$endpoint/bucket/kills
thinsnap --repository "$url" init >/dev/null
id=$(thinsnap --repository "$url" list | awk 'NR == 1 { print $2 }')
start up thinsnap-sim up --nodes 2 --data "$data/cluster" --kubeconfig "$KUBECONFIG"
kubectl apply -f - <<EOF
apiVersion: v1
kind: Secret
metadata: {name: thinsnap-repository-$id, namespace: thinsnap-system, labels: {thinsnap.io/repository: $id}}
stringData:
  id: $id
  suite: sealed
  url: $url
  region: us-east-1
  accessKeyId: $AWS_ACCESS_KEY_ID
  secretAccessKey: $AWS_SECRET_ACCESS_KEY
  passphrase: $THINSNAP_PASSPHRASE
  namespaces: default
  state: ready
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: exported}
driver: csi.thinsnap.io
deletionPolicy: Delete
parameters: {repositories: $id}
EOF
fs_types=(ext4 xfs)
for node in 1 2; do
  for fs_type in "${fs_types[@]}"; do
    kubectl apply -f - <<EOF
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: node-$node-$fs_type}
provisioner: csi.thinsnap.io
volumeBindingMode: WaitForFirstConsumer
parameters: {csi.storage.k8s.io/fstype: $fs_type}
allowedTopologies:
- matchLabelExpressions: [{key: topology.thinsnap.io/node, values: [node-$node]}]
EOF
  done
done

for round in 1 2; do
  fs_type=${fs_types[round - 1]}
  here=node-$round-$fs_type there=node-$((3 - round))-$fs_type
  echo "== round $round: made, formatted and mounted on $here"
  killing pod "source-$round" "$here"
  kubectl wait --for=condition=Ready "pod/source-$round" --timeout=180s
  kubectl exec "source-$round" -- sh -c 'dd if=/dev/urandom of=/data/file bs=1M count=40 2>/dev/null; sync; sha256sum </data/file' >"$data/sum"
  echo "== cut and exported"
  killing snapshot "snapshot-$round" "source-$round"
  until_true 180 ready "snapshot-$round"
  echo "== imported on $there"
  killing pod "copy-$round" "$there" \
    "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: snapshot-$round}"
  kubectl wait --for=condition=Ready "pod/copy-$round" --timeout=180s
  kubectl exec "copy-$round" -- sha256sum </dev/null /data/file | awk '{ print $1 "  -" }' | cmp - "$data/sum"
  kubectl exec "source-$round" -- sh -c 'sha256sum </data/file' | cmp - "$data/sum"
done
thinsnap --repository "$url" verify
echo "== all goes"
killing kubectl delete pods,pvc,volumesnapshots --all --wait=false
nothing() { [ -z "$(kubectl get pods,pvc,pv,volumesnapshots,volumesnapshotcontents -o name)" ]; }
until_true 180 nothing
echo "$kills drivers were killed"
[ "$kills" -ge 10 ]
if grep -rlE "$THINSNAP_PASSPHRASE|$AWS_SECRET_ACCESS_KEY" "$data/cluster/logs" "$data"/cluster/nodes/*/*.log; then
  echo "these logs hold a secret"
  exit 1
fi
