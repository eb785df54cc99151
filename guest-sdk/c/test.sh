#!/bin/sh
# Runs the native tests of a plugin: test.sh SOURCE_DIR [part of the tests' names]
#
# Compiles each C or C++ file in SOURCE_DIR/tests with the SDK for this machine, with sanitizers where
# the compiler has them, and runs it. CC, CXX, CFLAGS and CXXFLAGS are used.
set -eu

sdk=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source_dir=${1:?"usage: test.sh SOURCE_DIR [part of the tests' names]"}
filter=${2:-}
cd "$source_dir"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cc=${CC:-}
if [ -z "$cc" ]; then
  for cc in cc clang clang-19 gcc none; do
    if command -v "$cc" >/dev/null 2>&1; then break; fi
  done
fi
[ "$cc" != none ] || { echo "error: no C compiler was found; install clang or gcc, or name one with CC" >&2; exit 1; }
cxx=${CXX:-$(command -v c++ || command -v clang++ || command -v g++ || echo c++)}

# Casting a handler to the table's type is fine on every platform that the tests run on.
sanitize='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
if echo 'int main(void) { return 0; }' | $cc -x c - $sanitize -o "$work/probe" 2>/dev/null && "$work/probe"; then
  if echo 'int x;' | $cc -x c -c - -fno-sanitize=function -o "$work/probe.o" 2>/dev/null; then
    sanitize="$sanitize -fno-sanitize=function"
  fi
else
  sanitize=''
fi

common="-g -O1 -Wall -Wextra -Wno-missing-field-initializers -I$sdk/include $sanitize"
objects=''
for file in "$sdk"/src/*.c; do
  object=$work/$(basename "$file" .c).o
  $cc -std=gnu11 $common -c "$file" -o "$object"
  objects="$objects $object"
done

status=0
found=''
for file in tests/*.c tests/*.cpp tests/*.cc; do
  [ -f "$file" ] || continue
  found=yes
  echo "$file"
  case $file in
    *.c) $cc -std=gnu11 $common ${CFLAGS:-} "$file" $objects -lm -o "$work/test" ;;
    *) $cxx -std=gnu++20 $common ${CXXFLAGS:-} "$file" $objects -lm -o "$work/test" ;;
  esac
  "$work/test" $filter || status=1
done
[ -n "$found" ] || { echo "error: $source_dir/tests has no .c or .cpp file" >&2; exit 1; }
exit $status
