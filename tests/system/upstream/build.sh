#!/bin/sh
# build.sh FOLDER: prints where the upstream sidecars are: built once with a Go toolchain into the folder, which takes
# some minutes. Exits with 1 and one line that says what is missing.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)
programs="csi-provisioner csi-snapshotter csi-resizer snapshot-controller"

ready=yes
for program in $programs; do
    for module in provisioner others; do
        [ "$out/$program" -nt "$here/$module/go.sum" ] || ready=no
    done
done
if [ "$ready" = yes ]; then echo "$out"; exit 0; fi
go=
for candidate in go /usr/local/go/bin/go /usr/lib/go/bin/go; do
    version=$("$candidate" env GOVERSION 2>/dev/null | sed 's/^go1\.//; s/[^0-9].*//') || continue
    if [ "${version:-0}" -ge 26 ]; then go=$candidate; break; fi
done
[ -n "$go" ] || { echo "there is no Go toolchain from 1.26 on, and THINSNAP_SIDECARS_BIN names no ready sidecars"; exit 1; }
mkdir -p "$out"
[ -n "${HOME:-}" ] || export GOCACHE="$out/go-build"
export GOFLAGS="${GOFLAGS:--mod=readonly}" GOTOOLCHAIN="${GOTOOLCHAIN:-local}"
build() {
    (cd "$here/$1" && shift && nice "$go" build -p 2 -o "$out/" "$@") >>"$out/build.log" 2>&1 || {
        echo "the upstream sidecars cannot be built here: $(tail -n 1 "$out/build.log")"
        exit 1
    }
}
: >"$out/build.log"
csi=github.com/kubernetes-csi
build provisioner $csi/external-provisioner/v6/cmd/csi-provisioner
build others $csi/external-snapshotter/v8/cmd/csi-snapshotter $csi/external-snapshotter/v8/cmd/snapshot-controller \
    $csi/external-resizer/v2/cmd/csi-resizer
for program in $programs; do touch "$out/$program"; done
echo "$out"
