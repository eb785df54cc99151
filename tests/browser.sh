# The part of `./dev` for the tests of the operators' pages in a browser: Node.js, Chromium, and the
# tests. `./dev` sources it.

# The name or path of Chromium, if there is one.
chromium() {
    local name
    for name in "${SAGABOX_CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [ "$name" ] && type -P "$name"; then return; fi
    done
    return 1
}

has_chromium() { chromium >/dev/null; }

# Without a font, a page has boxes for letters.
has_fonts() { ! has fc-list || [ "$(fc-list | head -n 1)" ]; }

setup_browser() {
    setup_node --no-browser
    have_or_install has_chromium --no-browser chromium
    have_or_install has_fonts --no-browser fonts-dejavu-core
    say "for the tests in a browser: $("$(chromium)" --version), Node.js $(node --version)"
}

# npm_ci FOLDER: the packages of its lock file, unless they are there.
npm_ci() {
    local made lock
    made=$target/npm/${1//\//-} lock=$(cksum <"$1/package-lock.json")
    if [ ! -d "$1/node_modules" ] || [ "$(cat "$made" 2>/dev/null || true)" != "$lock" ]; then
        (cd "$1" && bounded 600 npm ci --ignore-scripts --no-audit --no-fund)
        mkdir -p "${made%/*}"
        printf '%s\n' "$lock" >"$made"
    fi
}

test_browser() {
    npm_ci tests/browser
    (cd tests/browser && SAGABOX_CHROMIUM=$(chromium) npm test)
}
