#!/usr/bin/env bash
# Runs the demo, shortened by its environment: every step of it ends the script where it fails.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
needs
exec "$here/../../deploy/demo/demo.sh"
