#!/usr/bin/env bash
# Asks the admin listener of a gateway whatever its own description allows, and what it does not: schemathesis.
#   tests/api/run.sh GATEWAY SCHEMATHESIS [arguments of `schemathesis run`]
# `upgrade` is left out: each would start a process. Bodies that only the file can judge (names, levels) may be refused
# although the schema allows them, and an empty body is no body: these two checks are left out.
set -euo pipefail
gateway=$(realpath "$1") schemathesis=$(realpath "$2")
shift 2
directory=$(mktemp -d)
port=${PORT:-$((10000 + RANDOM % 20000))}
cat > "$directory/gateway.toml" << TOML
[server]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:$port"
token = "0123456789abcdef-schemathesis"
audit_log = "audit.log"
[upstream.app]
servers = ["127.0.0.1:9"]
[cache.pages]
size = "64MB"
[[route]]
name = "all"
path = "/*"
upstream = "app"
cache = "pages"
TOML
GATEWAY_RUN_DIR=$directory/run GATEWAY_LOG=error "$gateway" run -c "$directory/gateway.toml" &
trap 'kill $! 2> /dev/null || true; wait; rm -r "$directory"' EXIT
for _ in $(seq 100); do
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break
    sleep 0.1
done
"$schemathesis" run "http://127.0.0.1:$port/api/v1/openapi.json" \
    -H 'Authorization: Bearer 0123456789abcdef-schemathesis' -H 'X-Requested-With: schemathesis' \
    --exclude-path /api/v1/upgrade --exclude-checks positive_data_acceptance,negative_data_rejection,ignored_auth \
    --max-examples 30 --warnings off "$@"
