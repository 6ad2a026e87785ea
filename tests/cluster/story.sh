# The story of thinsnap on a real cluster, sourced by node.sh: installed from deploy/install.yaml, a volume is written,
# backed up twice, restored beside, lost with its pool and restored from the bucket; cloned, expanded, drained; the driver
# is replaced under a running pod, uninstalled and installed again. Each step of it ends the script where it fails.
deploy=$here/../../deploy
step() { say "== $* ($((SECONDS - begun)) s)"; }
fail() { say "story: $*"; exit 1; }
# is WANT NAMESPACE OBJECT JSONPATH
is() { [ "$(kubectl get -n "$2" "$3" -o "jsonpath={$4}")" = "$1" ]; }
# With the API domain of a real installation.
apply() {
  local file=$1 text pair
  shift
  text=$(<"$deploy/demo/$file")
  text=${text//kubestash.com/thinsnap.io}
  text=${text//'*/5 * * * *'/'0 0 1 1 *'}  # the story says when
  for pair in "$@"; do text=${text//"\${${pair%%=*}}"/"${pair#*=}"}; done
  kubectl apply -f - <<<"$text" >/dev/null
}
# claim NAME SIZE [MORE OF ITS SPEC]: of class csi-standard, or of $class.
claim() {
  kubectl apply -f - >/dev/null <<EOF
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1, namespace: demo}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: ${class:-csi-standard}
  resources: {requests: {storage: $2}}
  ${3:-}
EOF
}
# pod NAME CLAIM: somebody who is not root, and reaches the volume by the pod's fsGroup alone.
pod() {
  kubectl apply -f - >/dev/null <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1, namespace: demo}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}
      containers:
      - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "36000"], volumeMounts: [{name: v, mountPath: /data}]}
      volumes: [{name: v, persistentVolumeClaim: {claimName: $2}}]
EOF
  kubectl rollout status -n demo "deployment/$1" --timeout=180s >/dev/null
}
in_app() { kubectl exec -n demo "deployment/$1" -- sh -c "$2"; }
# stop NAME...: until nothing of these pods' volumes is mounted.
stop() {
  local app
  for app in "$@"; do kubectl scale -n demo "deployment/$app" --replicas=0 >/dev/null; done
  for app in "$@"; do
    kubectl wait --for=delete pod -n demo -l "app=$app" --timeout=120s >/dev/null
    until_true 120 unstaged "$app"
  done
}
# The kubelet stages a volume in a folder named after its handle.
unstaged() {
  local claim volume handle
  claim=$(kubectl get deployment -n demo "$1" -o 'jsonpath={.spec.template.spec.volumes[0].persistentVolumeClaim.claimName}')
  volume=$(kubectl get pvc -n demo "$claim" -o 'jsonpath={.spec.volumeName}')
  handle=$(kubectl get pv "$volume" -o 'jsonpath={.spec.csi.volumeHandle}')
  [ -n "$handle" ] && ! grep -q "$(printf %s "$handle" | sha256sum | cut -c 1-64)" /proc/self/mountinfo
}
go_on() {
  kubectl scale -n demo "deployment/$1" --replicas=1 >/dev/null
  kubectl rollout status -n demo "deployment/$1" --timeout=180s >/dev/null
}

sessions() { kubectl get backupsessions.core.thinsnap.io -n demo -o 'jsonpath={range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}'; }
# backup NAME: sets $snapshot to the Snapshot that a session made.
backup() {
  local known ended
  known=$(sessions | awk '{ print $1 }')
  kubectl create job -n demo --from=cronjob/trigger-pvc-volume-snapshot-frequent-backup "$1" >/dev/null
  ended() { sessions | grep -vwF "${known:-none}" | grep -E ' (Succeeded|Failed)$'; }
  until_true 300 ended
  ended=$(ended | tail -n 1)
  [ "${ended##* }" = Succeeded ] || { kubectl describe backupsessions.core.thinsnap.io -n demo >&2; fail "the backup failed"; }
  snapshot=s3-repository-${ended%% *}
  until_true 60 is Succeeded demo "snapshots.storage.thinsnap.io/$snapshot" .status.phase
}
# restore NAME SNAPSHOT CLAIM
restore() {
  apply restore.yaml "NAME=$1" "SNAPSHOT=$2" "CLAIM=$3"
  until_true 300 is Succeeded demo "restoresessions.core.thinsnap.io/$1" .status.phase
}
install() {
  sed 's/--pool-size=32Gi/--pool-size=8Gi/' "$deploy/install.yaml" | kubectl apply --server-side -f - >/dev/null
  kubectl rollout status -n thinsnap-system deployment/thinsnap-csi-controller --timeout=300s >/dev/null
  kubectl rollout status -n thinsnap-system daemonset/thinsnap-csi-node --timeout=300s >/dev/null
  kubectl rollout status -n thinsnap-system deployment/thinsnap-operator --timeout=300s >/dev/null
}

step "the cluster's snapshot-controller, and an object store"
kubectl apply --server-side $(printf -- '-f %s ' "$deploy"/crds/snapshot.storage.k8s.io_*.yaml) >/dev/null
start snapshot-controller "$THINSNAP_PEERS/sidecars/snapshot-controller" --kubeconfig="$KUBECONFIG"
export AWS_ACCESS_KEY_ID=story AWS_SECRET_ACCESS_KEY=not-a-secret
start s3 "$THINSNAP_BIN/thinsnap-sim" s3 --data "$data/s3" --bucket kubestash-qa --address "$node_ip" --port 9000

step "installed by one command"
kubectl label node "$node" thinsnap.io/pool=reflink >/dev/null
install
registered() { kubectl get csinode "$node" -o 'jsonpath={.spec.drivers[*].name}' | grep -q csi.thinsnap.io; }
until_true 60 registered
kubectl get pods -n thinsnap-system >&2
apply storage.yaml
kubectl create namespace demo >/dev/null
kubectl create secret generic -n demo s3-secret --from-literal=AWS_ACCESS_KEY_ID=story --from-literal=AWS_SECRET_ACCESS_KEY=not-a-secret >/dev/null
kubectl create secret generic -n demo encrypt-secret --from-literal=RESTIC_PASSWORD='correct horse' >/dev/null

step "a claim and a pod"
claim source-pvc 1Gi
pod source source-pvc
in_app source 'head -c 64000000 /dev/urandom > /data/table && echo first > /data/file && cd /data && sha256sum table file > /data/sums'
[ "$(in_app source 'stat -c %g /data/file')" = 2000 ] || fail "fsGroup was not applied"

step "backed up, changed, backed up"
apply backend.yaml "ENDPOINT=http://$node_ip:9000"
apply retention.yaml
apply backup.yaml
until_true 120 is Ready demo backupconfigurations.core.thinsnap.io/pvc-volume-snapshot .status.phase
backup one
first=$snapshot
in_app source 'cd /data && echo second > file && dd if=/dev/urandom of=table bs=4096 count=64 seek=1000 conv=notrunc status=none && sha256sum table file > sums'
backup two
second=$snapshot

step "restored beside"
restore beside "$first" beside-pvc
pod beside beside-pvc
[ "$(in_app beside 'cat /data/file')" = first ] || fail "the first backup has other bytes"
in_app beside 'cd /data && sha256sum -c sums' >/dev/null

step "cloned, and expanded while it is used"
claim clone-pvc 1Gi 'dataSource: {kind: PersistentVolumeClaim, name: source-pvc}'
pod clone clone-pvc
in_app clone 'cd /data && sha256sum -c sums' >/dev/null
# XFS, because a mounted ext4 grows only for who has CAP_SYS_RESOURCE, which root of this machine may lack: ext4 grows when it
# is staged again.
kubectl apply -f - >/dev/null <<EOF
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: csi-xfs}
provisioner: csi.thinsnap.io
parameters: {csi.storage.k8s.io/fstype: xfs}
allowVolumeExpansion: true
EOF
class=csi-xfs claim grown-pvc 512Mi
pod grown grown-pvc
in_app grown 'head -c 64000000 /dev/urandom > /data/table && cd /data && sha256sum table > sums'
grow() { kubectl patch pvc -n demo "$1" --type=merge -p '{"spec":{"resources":{"requests":{"storage":"'"$2"'"}}}}' >/dev/null; }
grow grown-pvc 1Gi
grow beside-pvc 3Gi
# A kubelet looks at a running pod's volumes every minute or two.
until_true 300 is 1Gi demo pvc/grown-pvc .status.capacity.storage
[ "$(in_app grown 'df -m /data' | awk 'END { print ($2 > 900) }')" = 1 ] || fail "the filesystem did not grow"
in_app grown 'cd /data && sha256sum -c sums' >/dev/null
stop beside
go_on beside
until_true 300 is 3Gi demo pvc/beside-pvc .status.capacity.storage
in_app beside 'cd /data && sha256sum -c sums' >/dev/null

step "the driver is replaced under a running pod"
kubectl exec -n demo deployment/source -- sh -c 'echo 0 > /data/count; i=0; while [ ! -e /data/stop ]; do i=$((i + 1)); echo $i > /data/count || exit 1; sleep 0.1; done; echo $i > /data/done' >"$logs/writer.log" 2>&1 &
writer=$!
kubectl rollout restart -n thinsnap-system daemonset/thinsnap-csi-node deployment/thinsnap-csi-controller >/dev/null
kubectl rollout status -n thinsnap-system daemonset/thinsnap-csi-node --timeout=300s >/dev/null
kubectl rollout status -n thinsnap-system deployment/thinsnap-csi-controller --timeout=300s >/dev/null
in_app source 'touch /data/stop'
wait "$writer" || fail "the writer did not get through: $(cat "$logs/writer.log")"
in_app source 'cd /data && test "$(cat count)" = "$(cat done)" && sha256sum -c sums' >/dev/null
claim later-pvc 256Mi
pod later later-pvc

step "the node is drained, and comes back"
kubectl drain "$node" --ignore-daemonsets --delete-emptydir-data --force --timeout=300s >/dev/null 2>&1
kubectl uncordon "$node" >/dev/null
for app in source beside clone grown later; do kubectl rollout status -n demo "deployment/$app" --timeout=300s >/dev/null; done
in_app source 'cd /data && sha256sum -c sums' >/dev/null

step "uninstalled: the volumes and their pods stay"
kubectl delete -f "$deploy/install.yaml" --selector=app.kubernetes.io/part-of=thinsnap --wait=true --timeout=300s >/dev/null
in_app source 'cd /data && sha256sum -c sums && echo still > /data/here' >/dev/null
[ "$(kubectl get pv -o name | wc -l)" = 5 ] || fail "volumes went with the driver"
kubectl get backupconfigurations.core.thinsnap.io -n demo pvc-volume-snapshot -o name >/dev/null

step "installed again"
install
until_true 60 registered
kubectl delete pod -n demo -l app=source --timeout=120s >/dev/null
kubectl rollout status -n demo deployment/source --timeout=180s >/dev/null
[ "$(in_app source 'cat /data/here')" = still ] || fail "the volume lost what was written meanwhile"

step "the pool is thrown away, and restored from the bucket"
stop source beside clone grown later
kubectl delete deployment -n demo --all --timeout=120s >/dev/null
kubectl label node "$node" thinsnap.io/pool- >/dev/null
kubectl wait --for=delete pod -n thinsnap-system -l app.kubernetes.io/name=thinsnap-csi-node --timeout=120s >/dev/null
"$here/throw_pool_away.sh" /var/lib/thinsnap
pool=$(kubectl get thinpools -o 'jsonpath={.items[0].metadata.name}')
kubectl delete thinpool "$pool" --timeout=60s >/dev/null
kubectl delete pvc -n demo --all --timeout=120s >/dev/null
kubectl delete volumesnapshots -n demo --all --timeout=120s >/dev/null
kubectl label node "$node" thinsnap.io/pool=reflink >/dev/null
kubectl rollout status -n thinsnap-system daemonset/thinsnap-csi-node --timeout=300s >/dev/null
until_true 60 registered
restore again "$second" source-pvc
pod source source-pvc
[ "$(in_app source 'cat /data/file')" = second ] || fail "the second backup has other bytes"
in_app source 'cd /data && sha256sum -c sums' >/dev/null

step "the story is over"
