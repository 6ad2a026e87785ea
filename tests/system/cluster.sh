# What the shell tests of this folder share; they source it. THINSNAP_BIN is the folder of the programs.
# After `cluster_begin NAME` there are $data, a folder of the test's own, and KUBECONFIG in it; at the end everything that
# was started is stopped and the folder is removed. A test that fails calls its own `explain` first.
skip() { echo "skipped: $*"; exit 77; }
# needs PROGRAM...: skips by name where root or one of them is missing.
needs() {
  local program
  [ "$(id -u)" = 0 ] || skip "needs root for mounts and containers"
  for program in kubectl runc mkfs.xfs mkfs.ext4 "$@"; do
    command -v "$program" >/dev/null || skip "no $program on this machine"
  done
}
explain() { :; }
cluster_begin() {
  data=$(mktemp -d "${TMPDIR:-/var/tmp}/thinsnap-$1-XXXXXX")
  export KUBECONFIG=$data/kubeconfig
  pids=()
  trap cluster_end EXIT
  trap 'exit 130' INT TERM
}
cluster_end() {
  local code=$? pid
  trap - EXIT
  [ "$code" = 0 ] || explain || true
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$data"
  exit "$code"
}
# start NAME COMMAND...: in the background; waits for the first line that it prints, kept in $data/NAME.log.
start() {
  local name=$1
  shift
  "$@" >"$data/$name.log" 2>"$data/$name.err" &
  pids+=($!)
  local deadline=$((SECONDS + 60))
  until [ -s "$data/$name.log" ]; do
    kill -0 "$!" 2>/dev/null && ((SECONDS < deadline)) || { cat "$data/$name.err"; return 1; }
    sleep 0.05
  done
}
# until_true SECONDS COMMAND...: repeats a reading command until it succeeds; kubectl 1.20 cannot wait for a field.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || { echo "waited in vain for: $*"; return 1; }
    sleep 0.2
  done
}
# expect WANT COMMAND...: what the command prints.
expect() {
  local want=$1 got
  shift
  got=$("$@")
  [ "$got" = "$want" ] || { echo "expected \"$want\", found \"$got\": $*"; return 1; }
}
# guide_text FILE: a manifest of docs/guides, filled in for the bucket "bucket" at $endpoint and the keys below.
export AWS_ACCESS_KEY_ID=guide AWS_SECRET_ACCESS_KEY=not-a-secret
guides=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../docs/guides" && pwd)
guide_text() {
  local text
  text=$(<"$guides/$1")
  text=${text//'${ENDPOINT}'/$endpoint} text=${text//'${BUCKET}'/bucket}
  text=${text//'${ACCESS_KEY}'/$AWS_ACCESS_KEY_ID} text=${text//'${SECRET_KEY}'/$AWS_SECRET_ACCESS_KEY}
  printf '%s\n' "${text//'${PASSPHRASE}'/open sesame}"
}
