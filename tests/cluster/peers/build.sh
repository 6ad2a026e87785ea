#!/bin/sh
# build.sh FOLDER: makes a one-node Kubernetes in the folder: etcd, the control plane and the kubelet from Go modules,
# containerd and the CNI plugins out of Debian's packages (unpacked, so that no daemon starts). Built once; the first time
# takes half an hour. Exits with 1 and one line that says what is missing.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$out"
if [ ! -x "$out/usr/bin/containerd" ] || [ ! -x "$out/usr/lib/cni/bridge" ]; then
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    (cd "$packages" && apt-get -qq download containerd containernetworking-plugins) >"$out/packages.log" 2>&1 || {
        echo "containerd and containernetworking-plugins cannot be had: $(tail -n 1 "$out/packages.log")"
        exit 1
    }
    for package in "$packages"/*.deb; do dpkg -x "$package" "$out"; done
fi
[ "$out/etcd" -nt "$here/etcd/go.sum" ] || "$here/build_go.sh" "$here/etcd" "$out/etcd" go.etcd.io/etcd/server/v3
# What a release build says of itself: clients parse it.
version=$(sed -n 's,^\tk8s.io/kubernetes \(v[0-9.]*\).*,\1,p' "$here/kubernetes/go.mod")
flags="-X k8s.io/component-base/version.gitVersion=$version"
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet; do
    [ "$out/$program" -nt "$here/kubernetes/go.sum" ] ||
        "$here/build_go.sh" "$here/kubernetes" "$out/$program" "k8s.io/kubernetes/cmd/$program" "$flags"
done
