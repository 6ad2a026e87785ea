#!/usr/bin/env bash
# node.sh SCRIPT [ARG...]: the first process of the cluster's namespaces (see cluster.sh): prepares the machine as a node,
# starts etcd, the control plane, containerd and the kubelet, waits until the node is ready, and runs SCRIPT with
# KUBECONFIG for its administrator. $data is the folder of everything, $cgroup the cgroup of all pods.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export node=node-1 node_ip=10.244.0.1 service_ip=10.96.0.1
keys=$data/keys logs=$data/logs
mkdir -p "$keys" "$logs"

say() { printf '%s\n' "$*" >&2; }
# until_true SECONDS COMMAND...: repeats a reading command until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || { say "waited in vain for: $*"; return 1; }
    sleep 0.2
  done
}

prepare_mounts() {
  mount --make-rshared /
  mount -t tmpfs run /run
  # The kubelet's folder lies on the disk, and is where mounts of pods and drivers meet.
  mkdir -p "$data/kubelet" "$data/var-log" "$data/pool" "$data/etcd" /var/lib/kubelet /var/lib/thinsnap
  mount --bind "$data/kubelet" /var/lib/kubelet
  mount --make-private /var/lib/kubelet
  mount --make-shared /var/lib/kubelet
  mount --bind "$data/pool" /var/lib/thinsnap
  mount --make-private /var/lib/thinsnap
  mount --make-shared /var/lib/thinsnap
  mount --bind "$data/var-log" /var/log
  mount -t tmpfs etcd "$data/etcd"
  # The kubelet writes these for the whole machine: it finds what it wants.
  local name
  while read -r name value; do
    echo "$value" >"$data/$(basename "$name")"
    [ ! -e "/proc/sys/$name" ] || mount --bind "$data/$(basename "$name")" "/proc/sys/$name"
  done <<'SYSCTLS'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SYSCTLS
}

prepare_network() {
  ip link set lo up
  ip link add cni0 type bridge
  ip addr add "$node_ip/24" dev cni0
  # The API server's service address, so that pods reach it without kube-proxy.
  ip addr add "$service_ip/32" dev cni0
  ip link set cni0 up
  ip route add default dev cni0
  echo 1 >/proc/sys/net/ipv4/ip_forward
  mkdir -p "$data/cni"
  cat >"$data/cni/10-bridge.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24", "gateway": "$node_ip"}]],
            "dataDir": "$data/cni-state", "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
}

prepare_cgroups() {
  local hierarchy file
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy$cgroup"
    for file in cpuset.cpus cpuset.mems; do
      [ ! -e "$hierarchy/$file" ] || cat "$hierarchy/$file" >"$hierarchy$cgroup/$file"
    done
  done
}

# certificate NAME SUBJECT [SUBJECT ALTERNATIVE NAMES]
certificate() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$keys/$1.key" -out "$keys/$1.csr" 2>>"$logs/openssl.log"
  openssl x509 -req -in "$keys/$1.csr" -CA "$keys/ca.crt" -CAkey "$keys/ca.key" -CAcreateserial -days 30 -out "$keys/$1.crt" \
    -extfile <(echo "extendedKeyUsage=serverAuth,clientAuth${3:+
subjectAltName=$3}") 2>>"$logs/openssl.log"
  cat >"$data/$1.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$node_ip:443", certificate-authority: $keys/ca.crt}}]
users: [{name: u, user: {client-certificate: $keys/$1.crt, client-key: $keys/$1.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
EOF
}

prepare_keys() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=cluster -keyout "$keys/ca.key" -out "$keys/ca.crt" 2>>"$logs/openssl.log"
  openssl genrsa -out "$keys/accounts.key" 2048 2>>"$logs/openssl.log"
  certificate apiserver /CN=kube-apiserver "DNS:kubernetes.default.svc,DNS:localhost,IP:$node_ip,IP:$service_ip,IP:127.0.0.1"
  certificate admin /O=system:masters/CN=admin
  certificate controller-manager /CN=system:kube-controller-manager
  certificate scheduler /CN=system:kube-scheduler
  certificate kubelet "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$node_ip"
}

# start NAME COMMAND...: in the background, with a log; without what this shell has open.
start() {
  local name=$1
  shift
  "$@" >>"$logs/$name.log" 2>&1 </dev/null &
}

start_containerd() {
  cat >"$data/containerd.toml" <<EOF
version = 2
root = "$data/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "thinsnap.test/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$THINSNAP_PEERS/kubernetes/usr/lib/cni"
    conf_dir = "$data/cni"
EOF
  start containerd containerd --config "$data/containerd.toml"
  until_true 30 ctr --address /run/containerd/containerd.sock version
  local archive
  for archive in "$THINSNAP_PEERS"/images/*.tar "$data"/images/*.tar; do
    ctr --address /run/containerd/containerd.sock --namespace k8s.io images import "$archive" >>"$logs/images.log" 2>&1
  done
}

start_control_plane() {
  start etcd etcd --data-dir "$data/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
  start kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=443 --advertise-address="$node_ip" \
    --tls-cert-file="$keys/apiserver.crt" --tls-private-key-file="$keys/apiserver.key" --client-ca-file="$keys/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$keys/accounts.key" \
    --service-account-signing-key-file="$keys/accounts.key" --service-cluster-ip-range=10.96.0.0/16 \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --kubelet-client-certificate="$keys/admin.crt" --kubelet-client-key="$keys/admin.key" \
    --kubelet-preferred-address-types=InternalIP --cert-dir="$data/apiserver" --endpoint-reconciler-type=none
  until_true 60 kubectl get --raw /readyz
  start kube-controller-manager kube-controller-manager --kubeconfig="$data/controller-manager.kubeconfig" \
    --authentication-kubeconfig="$data/controller-manager.kubeconfig" --authorization-kubeconfig="$data/controller-manager.kubeconfig" \
    --service-account-private-key-file="$keys/accounts.key" --root-ca-file="$keys/ca.crt" --use-service-account-credentials \
    --leader-elect=false --flex-volume-plugin-dir="$data/plugins" --cert-dir="$data/controller-manager"
  start kube-scheduler kube-scheduler --kubeconfig="$data/scheduler.kubeconfig" --leader-elect=false \
    --authentication-kubeconfig="$data/scheduler.kubeconfig" --authorization-kubeconfig="$data/scheduler.kubeconfig" \
    --cert-dir="$data/scheduler"
}

start_kubelet() {
  cat >"$data/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $keys/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $keys/kubelet.crt
tlsPrivateKeyFile: $keys/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: $cgroup
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
resolvConf: ""
volumePluginDir: $data/plugins
evictionHard: {memory.available: 1%, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
shutdownGracePeriod: 0s
EOF
  start kubelet kubelet --config="$data/kubelet.yaml" --kubeconfig="$data/kubelet.kubeconfig" --hostname-override="$node" --node-ip="$node_ip"
}

# What a failed run wants to know.
explain() {
  local log
  kubectl get nodes,pods,pvc,pv -A -o wide || true
  kubectl get events -A --sort-by=.lastTimestamp | tail -n 30 || true
  for log in "$logs"/*.log; do echo "== $log"; tail -n 15 "$log"; done
}
finish() {
  local code=$?
  trap - EXIT
  [ "$code" = 0 ] || explain >&2
  exit "$code"
}
trap finish EXIT

begun=$SECONDS
prepare_mounts
prepare_network
prepare_cgroups
prepare_keys
export KUBECONFIG=$data/admin.kubeconfig
"$here/images.py" "$THINSNAP_PEERS/images"
"$here/../../deploy/images/build.py" "$THINSNAP_BIN" "$data/images" >&2
start_containerd
start_control_plane
start_kubelet
until_true 120 kubectl wait --for=condition=Ready "node/$node" --timeout=60s
say "the node is ready after $((SECONDS - begun)) s"
script=$1
shift
. "$script"
