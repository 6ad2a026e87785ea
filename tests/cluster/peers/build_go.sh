#!/bin/sh
# build_go.sh MODULE PROGRAM PACKAGE [LINKER FLAGS]: builds the package of the module's tools into the file. Exits with 1 and
# one line that says what is missing.
set -eu
module=$1 program=$2 package=$3 flags=${4:-}
go=
for candidate in go /usr/local/go/bin/go /usr/lib/go/bin/go; do
    version=$("$candidate" env GOVERSION 2>/dev/null | sed 's/^go1\.//; s/[^0-9].*//') || continue
    if [ "${version:-0}" -ge 26 ]; then go=$candidate; break; fi
done
[ -n "$go" ] || { echo "there is no Go toolchain from 1.26 on to build $(basename "$program") with"; exit 1; }
[ -n "${HOME:-}" ] || export GOCACHE="${program%/*}/go-build"
export GOFLAGS="${GOFLAGS:--mod=readonly}" GOTOOLCHAIN="${GOTOOLCHAIN:-local}"
(cd "$module" && nice "$go" build -ldflags "-s $flags" -o "$program" "$package") >"$program.log" 2>&1 || {
    echo "$(basename "$program") cannot be built here: $(tail -n 1 "$program.log")"
    exit 1
}
touch "$program"
