#!/usr/bin/env bash
# One bucket, two clusters: the second brings the repository back and leaves it alone, adopts it with a configuration of its
# own, and the first says that it lost it, refuses to write, and takes it back on purpose.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
needs
PATH=$THINSNAP_BIN:$PATH
explain() {
  local cluster
  for cluster in first second; do
    in_cluster "$cluster"
    kubectl get repositories,snapshots.storage.kubestash.com,backupconfigurations,backupsessions -n demo -o yaml
  done
}
cluster_begin adoption

in_cluster() { export KUBECONFIG=$data/$1.kubeconfig; }
# Sessions are triggered here: no schedule may come between.
apply() {
  local file
  for file in "$@"; do guide_text "$file" | sed 's,\*/5 \* \* \* \*,0 0 1 1 *,' | kubectl apply -f - >/dev/null; done
}
field() { kubectl get -n demo "$1" -o "jsonpath=$2"; }
is() { [ "$(field "$1" "$2")" = "$3" ]; }
waits_for() { until_true 120 is "$@"; }
condition() { echo "{.status.conditions[?(@.type==\"$1\")].$2}"; }
ended() { [[ $(field "backupsession/$1" '{.status.phase}') =~ ^(Succeeded|Failed|Skipped)$ ]]; }
# back_up NAME WANT: runs a session of the guide's configuration.
back_up() {
  kubectl apply -f - >/dev/null <<YAML
apiVersion: core.kubestash.com/v1alpha1
kind: BackupSession
metadata: {name: $1, namespace: demo, labels: {kubestash.com/invoker-name: pvc-volume-snapshot}}
spec:
  invoker: {apiGroup: core.kubestash.com, kind: BackupConfiguration, name: pvc-volume-snapshot}
  session: frequent-backup
YAML
  until_true 120 ended "$1"
  expect "$2" field "backupsession/$1" '{.status.phase}'
}
restore() {
  guide_text pvc/restore.yaml | sed "s,restore-pvc,$1,; s,restore-source-pvc,$1," | kubectl apply -f - >/dev/null
  waits_for "restoresession/$1" '{.status.phase}' Succeeded
}
repository=repository.storage.kubestash.com/s3-repository

start s3 thinsnap-sim s3 --data "$data/s3" --bucket bucket
endpoint=$(grep -o 'http://[0-9.:]*' "$data/s3.log" | head -n 1)
for cluster in first second; do
  start "$cluster" thinsnap-sim up --data "$data/$cluster" --kubeconfig "$data/$cluster.kubeconfig" --pool-size 4Gi
  in_cluster "$cluster"
  kubectl create namespace demo
done

in_cluster first
apply common/storage.yaml common/secrets.yaml common/backend.yaml pvc/source.yaml pvc/backup.yaml
first=$(kubectl get namespace kube-system -o 'jsonpath={.metadata.uid}')
waits_for backupconfiguration/pvc-volume-snapshot '{.status.phase}' Ready
back_up first-1 Succeeded
expect "$first" field "$repository" '{.status.owner}'

# The second cluster sees what is there and restores it; what it does to the objects stays its own.
in_cluster second
apply common/storage.yaml common/secrets.yaml common/backend.yaml
waits_for "$repository" '{.status.phase}' Ready
waits_for "$repository" "$(condition OwnedElsewhere status)" True
expect "$first" field "$repository" '{.status.owner}'
until_true 60 is snapshot.storage.kubestash.com/s3-repository-first-1 "$(condition Unverified status)" False
restore before
kubectl patch -n demo snapshot.storage.kubestash.com/s3-repository-first-1 --type=merge -p '{"spec":{"deletionPolicy":"WipeOut"}}'
kubectl delete -n demo snapshot.storage.kubestash.com/s3-repository-first-1 --timeout=60s
in_cluster first
restore still-there

# A configuration adopts it.
in_cluster second
apply pvc/source.yaml pvc/backup.yaml
second=$(kubectl get namespace kube-system -o 'jsonpath={.metadata.uid}')
waits_for "$repository" '{.status.owner}' "$second"
waits_for backupconfiguration/pvc-volume-snapshot '{.status.phase}' Ready
back_up second-2 Succeeded

# The first says so, however often it looks, and writes nothing more.
in_cluster first
kubectl label -n demo "$repository" looked-at=yes
waits_for "$repository" "$(condition OwnedElsewhere status)" True
waits_for backupconfiguration/pvc-volume-snapshot '{.status.phase}' NotReady
kubectl label -n demo "$repository" looked-at=again --overwrite
back_up first-3 Skipped
field backupsession/first-3 "$(condition BackupSkipped message)" | grep -q "owner"
restore elsewhere
in_cluster second
expect "$second" field "$repository" '{.status.owner}'
back_up second-4 Succeeded

# A configuration that is made anew takes it back.
in_cluster first
kubectl delete -n demo backupconfiguration/pvc-volume-snapshot
apply pvc/backup.yaml
waits_for "$repository" '{.status.owner}' "$first"
waits_for backupconfiguration/pvc-volume-snapshot '{.status.phase}' Ready
back_up first-5 Succeeded
in_cluster second
kubectl label -n demo "$repository" looked-at=yes
waits_for "$repository" "$(condition OwnedElsewhere status)" True
echo "adoption: passed"
