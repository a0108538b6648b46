#!/usr/bin/env bash
# What testssl.sh finds on a listener with nothing but defaults: benches/tls/testssl.sh target/release/gateway
# Needs testssl.sh and openssl (apt). Ends with 1 where a finding is LOW or worse; whether the name's zone has a CAA record is
# not the listener's affair.
set -euo pipefail
gateway=$(realpath "${1:?the gateway}")
testssl=$(command -v testssl.sh || command -v testssl)
port=${PORT:-8443}
directory=$(mktemp -d)
trap 'kill "$pid" 2> /dev/null || true; rm -rf "$directory"' EXIT
cd "$directory"
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 800 -subj "/CN=Test authority" \
        -keyout ca.key -out ca.pem -addext keyUsage=critical,keyCertSign,cRLSign
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout leaf.key -out leaf.csr
    printf '%s\n' subjectAltName=DNS:localhost keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth \
        crlDistributionPoints=URI:http://localhost/ca.crl > leaf.txt
    openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 80 -extfile leaf.txt -out leaf.pem
} 2> /dev/null
cat > gateway.toml << EOT
[server]
listen = []
[tls]
listen = ["127.0.0.1:$port"]
[[certificate]]
cert = "leaf.pem"
key = "leaf.key"
[admin]
listen = false
[headers.site]
preset = "web"
[defaults]
headers = "site"
[[route]]
name = "all"
path = "/*"
respond = { status = 200, body = "hello" }
EOT
"$gateway" run -c gateway.toml > /dev/null 2>&1 &
pid=$!
until (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do sleep 0.1; done
"$testssl" --quiet --color 0 --warnings off --add-ca=ca.pem --jsonfile=found.json "localhost:$port" > report.txt || true
python3 - << 'EOT'
import collections, json, sys
found = json.load(open("found.json"))
print("findings:", dict(collections.Counter(one["severity"] for one in found)))
bad = [one for one in found if one["severity"] not in ("OK", "INFO", "DEBUG") and one["id"] != "DNS_CAArecord"]
for one in bad:
    print(one["severity"], one["id"], one["finding"])
cbc = [one["finding"] for one in found if one["id"].startswith("cipher_x") and "CBC" in one["finding"]]
print("CBC suites:", cbc or "none")
sys.exit(1 if bad or cbc or len(found) < 100 else 0)
EOT
