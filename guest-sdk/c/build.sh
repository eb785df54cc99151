#!/bin/sh
# Builds a plugin: build.sh SOURCE_DIR --out FILE.wasm [--work DIR]
#
# Compiles the C and C++ files in SOURCE_DIR/src (or in SOURCE_DIR, if there is no src) and the SDK to a
# core module for WebAssembly. The host makes a component of it. CFLAGS, CXXFLAGS and LDFLAGS are added.
#
# The compiler is the first of these that there is:
#   SAGABOX_CC (and SAGABOX_CXX)   a command that compiles for wasm32-wasi, with its C library
#   WASI_SDK_PATH                  a wasi-sdk
#   clang-19, or another clang     with Debian's wasi-libc, libclang-rt-19-dev-wasm32 and lld-19
#   zig, or python3 -m ziglang     which bring a C library along
set -eu

fail() {
  echo "error: $*" >&2
  exit 1
}

sdk=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source_dir='' out='' work=''
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:?"--out needs a file"}; shift 2 ;;
    --work) work=${2:?"--work needs a folder"}; shift 2 ;;
    -*) fail "unknown option $1; usage: build.sh SOURCE_DIR --out FILE.wasm [--work DIR]" ;;
    *) source_dir=$1; shift ;;
  esac
done
[ -n "$source_dir" ] && [ -n "$out" ] || fail "usage: build.sh SOURCE_DIR --out FILE.wasm [--work DIR]"
[ -d "$source_dir" ] || fail "$source_dir is no folder"
case $out in /*) ;; *) out=$PWD/$out ;; esac
if [ -n "$work" ]; then
  mkdir -p "$work"
  work=$(CDPATH='' cd -- "$work" && pwd)
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
cd "$source_dir"

# ---- the compiler -------------------------------------------------------------------------------

# Debian's packages. glibc's headers in /usr/include must not be found.
use_debian() {
  clang=$1
  version=$("$clang" -dumpversion | cut -d. -f1)
  cxx_include=/usr/lib/llvm-$version/include/wasm32-wasi/c++/v1
  compile="$clang --target=wasm32-wasi -nostdlibinc -isystem /usr/include/wasm32-wasi"
  compile_cxx="$clang --target=wasm32-wasi -nostdlibinc -nostdinc++ -isystem $cxx_include -isystem /usr/include/wasm32-wasi"
  link="$clang --target=wasm32-wasi --sysroot=/ -mexec-model=reactor -L/usr/lib/llvm-$version/lib/wasm32-wasi"
}

find_compiler() {
  if [ -n "${SAGABOX_CC:-}" ]; then
    compile=$SAGABOX_CC
    compile_cxx=${SAGABOX_CXX:-$SAGABOX_CC}
    link="$SAGABOX_CC -mexec-model=reactor"
  elif [ -n "${WASI_SDK_PATH:-}" ]; then
    compile="$WASI_SDK_PATH/bin/clang --target=wasm32-wasi"
    compile_cxx="$WASI_SDK_PATH/bin/clang++ --target=wasm32-wasi"
    link="$compile -mexec-model=reactor"
  else
    for clang in clang-19 clang-20 clang-21 clang-18 clang-17 clang; do
      if command -v "$clang" >/dev/null 2>&1 && [ -f /usr/include/wasm32-wasi/stdio.h ]; then
        use_debian "$clang"
        return
      fi
    done
    find_zig
  fi
}

find_zig() {
  zig=''
  if command -v zig >/dev/null 2>&1; then
    zig=zig
  elif python3 -c 'import ziglang' >/dev/null 2>&1; then
    zig='python3 -m ziglang'
  else
    fail "no compiler for wasm32-wasi was found. Install one of these:
  Debian, Ubuntu:  apt install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32
                   and for C++: libc++-19-dev-wasm32 libc++abi-19-dev-wasm32
  any system:      pip install ziglang==0.17.1, or a wasi-sdk whose folder WASI_SDK_PATH names"
  fi
  compile="$zig cc -target wasm32-wasi"
  compile_cxx="$zig c++ -target wasm32-wasi"
  link="$zig cc -target wasm32-wasi -mexec-model=reactor"
}

find_compiler

# ---- sources ------------------------------------------------------------------------------------

folder=.
[ -d src ] && folder=src
sources=$(find "$folder" -maxdepth "$([ "$folder" = src ] && echo 9 || echo 1)" -type f \
  \( -name '*.c' -o -name '*.cc' -o -name '*.cpp' -o -name '*.cxx' \) | LC_ALL=C sort)
[ -n "$sources" ] || fail "$source_dir has no .c or .cpp file"

common="-O2 -g0 -fno-strict-aliasing -ffunction-sections -fdata-sections -Wall -I$sdk/include
  -ffile-prefix-map=$sdk/src/=sagabox/ -ffile-prefix-map=./=
  -Werror=incompatible-pointer-types -Werror=pointer-type-mismatch -Werror=implicit-function-declaration
  -Werror=format -fmacro-backtrace-limit=1"
c_flags="-std=gnu11 $common ${CFLAGS:-}"
cxx_flags="-std=gnu++20 -fno-exceptions -fno-rtti $common -Wno-c99-designator ${CXXFLAGS:-}"

# What C leaves undefined is a trap in the plugin's own code, as it is a failure in the other languages:
# otherwise an amount that overflows, or a read at NULL, is a wrong result that the host commits.
checks=signed-integer-overflow,integer-divide-by-zero,float-cast-overflow,shift,null,bounds,unreachable,return
own_flags="-fsanitize=$checks -fsanitize-trap=$checks"

# What the objects in the work folder were made with, so that others are made anew.
key=$(echo "$compile $compile_cxx $c_flags $cxx_flags" | cksum | cut -d' ' -f1)
objects_of_sdk=''
mkdir -p "$work/sdk-$key" "$work/own"
newest=$(ls -t "$sdk"/include/*.h "$sdk"/include/sagabox/*.h "$sdk"/src/*.h | head -n 1)
for file in "$sdk"/src/*.c; do
  case $file in */testing*.c | */native.c) continue ;; esac
  object=$work/sdk-$key/$(basename "$file" .c).o
  if [ ! -f "$object" ] || [ "$file" -nt "$object" ] || [ "$newest" -nt "$object" ]; then
    $compile $c_flags -c "$file" -o "$object.new"
    mv "$object.new" "$object"
  fi
  objects_of_sdk="$objects_of_sdk $object"
done

objects='' libraries_cxx=''
number=0
for file in $sources; do
  file=${file#./}
  number=$((number + 1))
  object=$work/own/$number.o
  case $file in
    *.c) $compile $own_flags $c_flags -c "$file" -o "$object" ;;
    *)
      $compile_cxx $own_flags $cxx_flags -c "$file" -o "$object"
      libraries_cxx='-lc++ -lc++abi'
      ;;
  esac
  objects="$objects $object"
done

mkdir -p "$(dirname "$out")"
# The stack lies below the data, so that one that is too deep traps instead of overwriting data.
stack_first=-Wl,--stack-first
case $link in *zig*) stack_first='' ;; esac
$link $objects $objects_of_sdk $libraries_cxx -Wl,--gc-sections -Wl,--strip-debug $stack_first \
  -Wl,-z,stack-size=131072 ${LDFLAGS:-} -o "$work/plugin.wasm"
mv "$work/plugin.wasm" "$out"
