#!/bin/sh
# Prints where csi-sanity is: $CSI_SANITY, else built once with a Go toolchain into the folder that is given.
# Exits with 1 and one line that says what is missing.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)

if [ -n "${CSI_SANITY:-}" ]; then
    [ -x "$CSI_SANITY" ] || { echo "CSI_SANITY is $CSI_SANITY, which is no program"; exit 1; }
    echo "$CSI_SANITY"
    exit 0
fi
if [ -x "$out/csi-sanity" ] && [ "$out/csi-sanity" -nt "$here/go.sum" ]; then
    echo "$out/csi-sanity"
    exit 0
fi
go=
for candidate in go /usr/local/go/bin/go /usr/lib/go/bin/go; do
    version=$("$candidate" env GOVERSION 2>/dev/null | sed 's/^go1\.//; s/[^0-9].*//') || continue
    if [ "${version:-0}" -ge 25 ]; then go=$candidate; break; fi
done
[ -n "$go" ] || { echo "there is no Go toolchain from 1.25 on, and CSI_SANITY names no ready csi-sanity"; exit 1; }
mkdir -p "$out"
# Without a home there is no place for Go's caches.
export GOCACHE="${GOCACHE:-$out/go-build}" GOFLAGS="${GOFLAGS:--mod=readonly}" GOTOOLCHAIN="${GOTOOLCHAIN:-local}"
(cd "$here" && nice "$go" build -p 2 -o "$out/" github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity) >"$out/build.log" 2>&1 || {
    echo "csi-sanity cannot be built here: $(tail -n 1 "$out/build.log")"
    exit 1
}
touch "$out/csi-sanity"
echo "$out/csi-sanity"
