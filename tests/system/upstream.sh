#!/usr/bin/env bash
# upstream.sh [STORY...]: another script's story with the upstream sidecars. Without one, the life of volumes and
# snapshots: bind, write, snapshot, restore, clone, expand, a content that somebody made by hand, a driver that dies,
# deletion; then nothing is left in any pool. THINSNAP_SIDECARS_BIN names the folder of the sidecars; without,
# upstream/build.sh makes them once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
needs python3
export THINSNAP_REAL_BIN=$THINSNAP_BIN
if [ -z "${THINSNAP_SIDECARS_BIN:-}" ]; then
  THINSNAP_SIDECARS_BIN=$("$here/upstream/build.sh" "$THINSNAP_PEERS") || skip "$THINSNAP_SIDECARS_BIN"
  export THINSNAP_SIDECARS_BIN
fi
explain() {
  kubectl get pods,pvc,pv,volumesnapshots,volumesnapshotcontents
  kubectl get events
  local log
  for log in "$data"/cluster/logs/*.log; do echo "== $log"; tail -n 15 "$log"; done
}
cluster_begin upstream
# A story of another script, with these sidecars.
if [ $# -gt 0 ]; then
  mkdir "$data/bin"
  ln -s "$THINSNAP_REAL_BIN"/* "$data/bin/"
  ln -sf "$here/upstream/thinsnap-sim" "$data/bin/thinsnap-sim"
  explain() { :; }  # the story does it
  THINSNAP_BIN=$data/bin "$@"
  exit
fi

is() { [ "$(kubectl get "$2" -o "jsonpath={$3}")" = "$1" ]; }
# claim NAME SIZE [MORE SPEC LINES]
claim() {
  kubectl apply -f - <<EOF
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: thin
  resources: {requests: {storage: $2}}
  ${3:-}
EOF
}
# pod NAME CLAIM: keeps the claim mounted at /data.
pod() {
  kubectl apply -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /data}]}
  volumes: [{name: v, persistentVolumeClaim: {claimName: $2}}]
EOF
  kubectl wait --for=condition=Ready "pod/$1" --timeout=60s
}
in_pod() { kubectl exec "$1" -- sh -c "$2"; }
snapshot() {
  kubectl apply -f - <<EOF
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: $1}
spec: {volumeSnapshotClassName: local, source: {$2}}
EOF
  until_true 60 is true "volumesnapshot/$1" .status.readyToUse
}

start up "$here/upstream/thinsnap-sim" up --nodes 2 --data "$data/cluster" --kubeconfig "$KUBECONFIG"
kubectl apply -f - <<'EOF'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: thin}
provisioner: csi.thinsnap.io
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
parameters: {csi.storage.k8s.io/fstype: xfs}
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: local}
driver: csi.thinsnap.io
deletionPolicy: Delete
EOF

echo "== a claim waits for its pod, and is where the pod is"
claim data 512Mi
pod writer data
in_pod writer 'echo first > /data/file; mount | grep -q "/data type xfs"'
volume=$(kubectl get pvc data -o 'jsonpath={.spec.volumeName}')
expect "$(kubectl get pod writer -o 'jsonpath={.spec.nodeName}')" \
  kubectl get "pv/$volume" -o 'jsonpath={.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]}'

echo "== a snapshot, and what is written after it"
snapshot before 'persistentVolumeClaimName: data'
expect 512Mi kubectl get volumesnapshot before -o 'jsonpath={.status.restoreSize}'
in_pod writer 'echo second > /data/file'

echo "== restored, and larger"
claim restored 768Mi 'dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: before}'
pod reader restored
expect first in_pod reader 'cat /data/file'
[ "$(in_pod reader 'df -k /data | awk "NR == 2 { print \$2 }"')" -gt 600000 ]

echo "== cloned"
claim cloned 512Mi 'dataSource: {kind: PersistentVolumeClaim, name: data}'
pod clone cloned
expect second in_pod clone 'cat /data/file'

echo "== expanded while it is used"
kubectl patch pvc data --type=merge -p '{"spec":{"resources":{"requests":{"storage":"1Gi"}}}}'
until_true 60 is 1Gi pvc/data .status.capacity.storage
[ "$(in_pod writer 'df -k /data | awk "NR == 2 { print \$2 }"')" -gt 900000 ]
expect second in_pod writer 'cat /data/file'

echo "== a content made by hand for a snapshot that is there"
content=$(kubectl get volumesnapshot before -o 'jsonpath={.status.boundVolumeSnapshotContentName}')
handle=$(kubectl get volumesnapshotcontent "$content" -o 'jsonpath={.status.snapshotHandle}')
kubectl apply -f - <<EOF
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotContent
metadata: {name: by-hand}
spec:
  deletionPolicy: Retain
  driver: csi.thinsnap.io
  source: {snapshotHandle: $handle}
  volumeSnapshotRef: {name: by-hand, namespace: default}
EOF
snapshot by-hand 'volumeSnapshotContentName: by-hand'
claim second-hand 512Mi 'dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: by-hand}'
pod second-hand second-hand
expect first in_pod second-hand 'cat /data/file'

echo "== larger than any pool: said, and nothing made"
claim vast 64Ti
kubectl apply -f - <<'EOF'
apiVersion: v1
kind: Pod
metadata: {name: vast}
spec:
  containers: [{name: main, image: busybox, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /data}]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: vast}}]
EOF
said() { kubectl get events -o 'jsonpath={range .items[*]}{.message}{"\n"}{end}' | grep -q "$1"; }
until_true 60 said 'no pool takes a volume of 64'
kubectl delete pod/vast pvc/vast --timeout=60s

echo "== the driver's controller dies: the sidecars end with its socket, come back, and go on"
kill -9 "$(pgrep -f "thinsnap-csi controller .*$data/cluster")"
snapshot after 'persistentVolumeClaimName: data'

echo "== everything goes, in any order"
kubectl delete pod writer reader clone second-hand --timeout=60s
kubectl delete pvc data restored cloned second-hand --timeout=60s
kubectl delete volumesnapshot by-hand after before --timeout=60s
kubectl delete volumesnapshotcontent by-hand --timeout=60s
nothing() { [ -z "$(kubectl get pv,volumesnapshotcontents -o name)" ]; }
until_true 60 nothing
no_volumes() { expect "0 0" kubectl get thinpools -o 'jsonpath={.items[*].status.volumes}' >/dev/null; }
until_true 60 no_volumes
