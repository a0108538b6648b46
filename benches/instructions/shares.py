#!/usr/bin/env python3
"""Where the instructions of a request go: whose code executes them, for each kind of request.

    cargo build --profile count && benches/instructions/shares.py --gateway target/count/gateway

Needs valgrind, nginx and h2load (apt: valgrind nginx nghttp2-client). nginx is the server; h2load asks over four connections. The
gateway runs under callgrind with one thread; what comes before everything is warm is not counted. Told are thousands of
instructions in user space for a request, each where it was executed: what a library does for us counts as the library's. The
build has no link time optimisation, so that names are left; the release executes about a tenth less.
"""

import argparse
import pathlib
import re
import socket
import subprocess
import tempfile
import time

HERE = "127.0.0.1"
WARM, COUNTED = 400, 2_000

# Whose a function is: the first that fits.
OWNERS = {
    "gateway": r"deals247_gateway",
    "Pingora": r"pingora",
    "tokio": r"\btokio(_util|_rustls)?::|\bmio::|futures_|parking_lot",
    "http": r"\bhttp::|httparse|\bbytes::|\bh2::|smallvec|memchr|indexmap|hashbrown",
    "TLS": r"rustls|ring_core|\bring::|aes_|gcm_|chacha|x25519|p256|sha(256|512)|poly1305|GFp",
    "coding": r"zstd|ZSTD|brotli|deflate|zng_|crc32|longest_match|libz|flate2|HUF_",
    "memory": r"mem(cpy|move|set|cmp)|alloc|sdallocx|arena_|tcache|je_|_rjem|free|GlobalAlloc",
}
REST = "std, libc"

CASES = {
    "small body": {},
    "the same, JSON access log": {"log": True},
    "the same, rate limit": {"route": 'rate_limit = ["all"]', "tables": '[rate_limit.all]\nrate = "1000000/s"\n'},
    "100 KiB body": {"path": "/large"},
    "upload of 10 KiB": {"upload": 10_240},
    "cache hit, 1 KiB": {"path": "/small", "route": 'cache = "all"', "tables": "[cache.all]\n"},
    "cache hit, 100 KiB": {"path": "/large", "route": 'cache = "all"', "tables": "[cache.all]\n"},
    "gzip of 100 KiB": {"path": "/large", "route": 'compress = { codings = ["gzip"], effort = "fast" }', "gzip": True},
    "TLS": {"tls": True, "one": True},
    "HTTP/2 over TLS": {"tls": True},
}


def free_port():
    with socket.socket() as one:
        one.bind((HERE, 0))
        return one.getsockname()[1]


def origin(folder):
    """nginx with a small and a large answer; its port."""
    port = free_port()
    (folder / "small").write_text("x" * 1024)
    (folder / "large").write_text("".join(f"{n} is followed by {n + 1}. " for n in range(4_300))[:102_400])
    (folder / "nginx.conf").write_text(
        f"daemon off; error_log stderr crit; pid {folder}/pid; user root; events {{}}\n"
        f"http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 1m; client_body_temp_path {folder};\n"
        f"proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n"
        f'server {{ listen {HERE}:{port}; root {folder}; default_type text/plain; add_header Cache-Control "max-age=3600";\n'
        f"location = / {{ return 200 ok; }} location = /up {{ client_body_buffer_size 64k; proxy_pass http://{HERE}:{port}/; }} }} }}\n"
    )
    return port, subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)


def file(folder, port, server, case):
    log = f'path = "{folder}/access.log"' if case.get("log") else "enabled = false"
    listen = f'[tls]\nlisten = ["{HERE}:{port}"]\n[[certificate]]\ncert = "{folder}/cert.pem"\nkey = "{folder}/key.pem"\n'
    plain = free_port() if case.get("tls") else port
    return (
        f'[server]\nlisten = ["{HERE}:{plain}"]\nthreads = 1\nkeepalive_requests = 1000000000\n[admin]\nlisten = false\n'
        f"[access_log]\n{log}\n{listen if case.get('tls') else ''}{case.get('tables', '')}"
        f'[upstream.app]\nservers = ["{HERE}:{server}"]\n[[route]]\nname = "all"\npath = "/*"\nupstream = "app"\n'
        f"{case.get('route', '')}\n"
    )


def ask(folder, port, case, requests):
    """Sends so many; all must be answered well."""
    tls = case.get("tls")
    options = ["-n", str(requests), "-c", "4", "-m", "1" if case.get("one") or not tls else "10"]
    if not tls or case.get("one"):
        options.append("--h1")
    if case.get("upload"):
        options += ["-d", folder / "upload"]
    if case.get("gzip"):
        options += ["-H", "accept-encoding: gzip"]
    path = "/up" if case.get("upload") else case.get("path", "/")
    url = f"{'https' if tls else 'http'}://{HERE}:{port}{path}"
    told = subprocess.run(["h2load", *options, url], capture_output=True, text=True, check=True).stdout
    if f"{requests} succeeded" not in told or f"status codes: {requests} 2xx" not in told:
        raise SystemExit(told)


def shares(gateway, folder, server, case):
    """Instructions a request, by owner."""
    port, out = free_port(), folder / "callgrind.out"
    (folder / "gateway.toml").write_text(file(folder, port, server, case))
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    process = subprocess.Popen(
        [*command, gateway, "run", "-c", folder / "gateway.toml"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )

    def control(*what):
        subprocess.run(["callgrind_control", *what, str(process.pid)], capture_output=True, check=True)

    try:
        end = time.monotonic() + 120
        while True:
            try:
                socket.create_connection((HERE, port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit("the gateway does not start under valgrind")
                time.sleep(0.2)
        ask(folder, port, case, WARM)
        control("-i", "on")
        ask(folder, port, case, WARM)
        control("-z")
        ask(folder, port, case, COUNTED)
        control("-d")
    finally:
        process.kill()
        process.wait()
    dump = f"{out}.1"
    lines = subprocess.run(["callgrind_annotate", "--threshold=100", dump], capture_output=True, text=True, check=True).stdout
    found = dict.fromkeys([*OWNERS, REST], 0.0)
    for count, what in re.findall(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+(\S.*)$", lines, re.M):
        if what.startswith("PROGRAM TOTALS"):
            continue
        function = re.sub(r" \[[^\]]*\]$", "", what).split(":", 1)[-1]
        owner = next((owner for owner, names in OWNERS.items() if re.search(names, function)), REST)
        found[owner] += int(count.replace(",", "")) / COUNTED
    pathlib.Path(dump).unlink()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--cases", nargs="+", default=[*CASES], choices=[*CASES], metavar="CASE", help="; ".join(CASES))
    args = parser.parse_args()
    columns = [*OWNERS, REST]
    print(f"| thousands of instructions | all | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 2)}")
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        folder.chmod(0o755)
        (folder / "upload").write_bytes(b"x" * 10_240)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{HERE}"]
            + ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
            capture_output=True,
            check=True,
        )
        server, nginx = origin(folder)
        try:
            for name in args.cases:
                found = shares(args.gateway, folder, server, CASES[name])
                each = " | ".join(f"{count / 1000:.1f}" for count in found.values())
                print(f"| {name} | {sum(found.values()) / 1000:.1f} | {each} |", flush=True)
        finally:
            nginx.terminate()
            nginx.wait()


if __name__ == "__main__":
    main()
