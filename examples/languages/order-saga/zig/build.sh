#!/bin/sh
# Builds the plugin: build.sh FILE.wasm. It needs Zig 0.17 (`pip install ziglang==0.17.1`).
set -eu
case ${1:?"usage: build.sh FILE.wasm"} in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$(dirname -- "$0")"
if command -v zig >/dev/null 2>&1; then zig=zig; else zig='python3 -m ziglang'; fi
mkdir -p "$(dirname "$out")"
# No WASI: memory and the log are all that the plugin needs of its environment.
$zig build-exe src/order_saga.zig -target wasm32-freestanding -O ReleaseSmall -fno-entry -rdynamic \
  --stack 131072 --cache-dir "${TMPDIR:-/tmp}/sagabox-zig-cache" -femit-bin="$out"
