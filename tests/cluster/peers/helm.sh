#!/bin/sh
# helm.sh FOLDER: prints where helm is: built once with a Go toolchain into the folder. Exits with 1 and one line that says
# what is missing.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)
if [ ! "$out/helm" -nt "$here/helm/go.sum" ]; then
    mkdir -p "$out"
    "$here/build_go.sh" "$here/helm" "$out/helm" helm.sh/helm/v3/cmd/helm
fi
echo "$out/helm"
