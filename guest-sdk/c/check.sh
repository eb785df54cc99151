#!/bin/sh
# Runs all tests of the SDK that need no host: its own, those of the examples, and what the compiler says
# of wrong uses.
set -eu
sdk=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
examples=$sdk/../../examples/languages
for project in "$sdk" "$examples"/*/c "$examples"/*/cpp; do
  sh "$sdk/test.sh" "$project"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
for file in "$sdk"/tests/wrong_uses/*.c; do
  expected=$(sed -n '1s,^// expected: ,,p' "$file")
  rm -rf "$work/project"
  mkdir -p "$work/project"
  cp "$file" "$work/project/wrong.c"
  if sh "$sdk/build.sh" "$work/project" --out "$work/out.wasm" --work "$work/objects" >"$work/log" 2>&1; then
    echo "FAILED $(basename "$file"): it is built, and must not be"
    failed=1
  elif ! grep -qF "wrong.c:" "$work/log" || ! grep -qF "$expected" "$work/log"; then
    echo "FAILED $(basename "$file"): expected: $expected"
    cat "$work/log"
    failed=1
  else
    echo "ok     $(basename "$file")"
  fi
done
exit $failed
