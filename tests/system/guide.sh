#!/usr/bin/env bash
# guide.sh pvc|deployment|statefulset: one of the guides under docs/guides as it is written, on a cluster and a bucket of
# its own: backup, restore, and every file compared; then the data is wiped and nothing is left of it.
set -euo pipefail
guide=$1
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
needs
PATH=$THINSNAP_BIN:$PATH
explain() {
  kubectl get all,pvc,backupstorages,repositories,snapshots.storage.kubestash.com,backupconfigurations,backupsessions,restoresessions -n demo
  kubectl get events -n demo
  cat "$data"/cluster/logs/thinsnap-operator.log
}
cluster_begin guide

apply() {
  local file
  for file in "$@"; do guide_text "$file" | kubectl apply -f -; done
}
has_phase() { [ "$(kubectl get -n demo "$2" -o jsonpath='{.status.phase}')" = "$1" ]; }
phase_is() { until_true 120 has_phase "$1" "$2"; }

start s3 thinsnap-sim s3 --data "$data/s3" --bucket bucket
endpoint=$(grep -o 'http://[0-9.:]*' "$data/s3.log" | head -n 1)
start up thinsnap-sim up --nodes 2 --data "$data/cluster" --kubeconfig "$KUBECONFIG"
kubectl create namespace demo
apply common/storage.yaml common/secrets.yaml common/backend.yaml "$guide/source.yaml" "$guide/backup.yaml"
case $guide in
  pvc) kubectl wait -n demo --for=condition=Ready pod/source-pod --timeout=120s ;;
  *) kubectl rollout status -n demo "$guide/kubestash-demo" --timeout=120s ;;
esac
configuration=$(kubectl get backupconfigurations -n demo -o jsonpath='{.items[0].metadata.name}')
phase_is Ready "backupconfiguration/$configuration"

cronjob=cronjob
if kubectl version --client 2>/dev/null | grep -q 'v\?1\.20'; then cronjob=cronjob.v1beta1.batch; fi
kubectl create job -n demo "--from=$cronjob/trigger-$configuration-frequent-backup" by-hand
# The schedule may be a moment faster, and ours skipped then: any session that succeeded will do.
succeeded_session() {
  session=$(kubectl get backupsessions -n demo -o jsonpath='{range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}' |
    awk '$2 == "Succeeded" { print $1; exit }')
  [ -n "$session" ]
}
until_true 120 succeeded_session
snapshot=$(kubectl get "backupsession/$session" -n demo -o jsonpath='{.status.snapshots[0].name}')
components() { kubectl get snapshots.storage.kubestash.com -n demo "$snapshot" -o jsonpath="{.status.$1}"; }
expect Succeeded components phase
seconds=${session##*-}
case $guide in
  pvc)
    expect 1 components totalComponents
    expect "source-pvc-$seconds" components 'components.volumesnapshot.volumeSnapshotterStats[*].volumeSnapshotName' ;;
  deployment)
    expect 1 components totalComponents
    expect "source-data-$seconds source-config-$seconds" components 'components.volumesnapshot.volumeSnapshotterStats[*].volumeSnapshotName'
    expect "/source/data /source/config" components 'components.volumesnapshot.volumeSnapshotterStats[*].hostPath' ;;
  statefulset)
    expect 3 components totalComponents
    for n in 0 1 2; do
      expect "source-data-kubestash-demo-$n-$seconds" components "components.volumesnapshot-pod-$n.volumeSnapshotterStats[*].volumeSnapshotName"
    done ;;
esac

apply "$guide/restore.yaml"
phase_is Succeeded "$(kubectl get restoresessions -n demo -o name)"
apply "$guide/restored.yaml"
case $guide in
  pvc)
    kubectl wait -n demo --for=condition=Ready pod/restored-pod --timeout=120s
    expect sample_data kubectl exec -n demo restored-pod -- cat /restore/data/data.txt ;;
  deployment)
    kubectl rollout status -n demo deployment/restore-demo --timeout=120s
    expect sample_data kubectl exec -n demo deployment/restore-demo -- cat /restore/data/data.txt
    expect config_data kubectl exec -n demo deployment/restore-demo -- cat /restore/config/config.cfg ;;
  statefulset)
    kubectl rollout status -n demo statefulset/restore-demo --timeout=120s
    for n in 0 1 2; do
      expect "kubestash-demo-$n" kubectl exec -n demo "restore-demo-$n" -- cat /restore/data/data.txt
    done ;;
esac

# The guides' deletionPolicy is WipeOut.
kubectl delete backupconfiguration -n demo "$configuration"
kubectl delete backupstorage -n demo s3-storage --timeout=60s
expect 0 sh -c "find '$data/s3/buckets/bucket/objects' -type f | wc -l"
expect "" kubectl get repositories,snapshots.storage.kubestash.com -n demo -o name
