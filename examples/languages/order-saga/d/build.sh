#!/bin/sh
# Builds the plugin: build.sh FILE.wasm. It needs LDC and LLVM's linker (`apt install ldc lld-19`).
set -eu
case ${1:?"usage: build.sh FILE.wasm"} in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$(dirname -- "$0")"
linker=wasm-ld
command -v wasm-ld >/dev/null 2>&1 || linker=wasm-ld-19
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$(dirname "$out")"
# D without its runtime, and without WASI: memory and the log are all that the plugin needs. Memory is
# copied by WebAssembly's own instruction, as there is no C library.
ldc2 -mtriple=wasm32-unknown-unknown-wasm -betterC -Oz -mattr=+bulk-memory -c -Isrc -of="$work/plugin.o" \
  src/order_saga.d src/sagabox.d src/json.d
$linker --no-entry --gc-sections --stack-first -z stack-size=65536 "$work/plugin.o" -o "$out"
