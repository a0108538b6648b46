#!/usr/bin/env python3
"""Instructions in user space that a limit adds to a request: they hardly vary from run to run, whatever else the machine does.

    benches/limits/instructions.py [--gateway PATH] [--requests 1500]

Needs valgrind, nginx and redis-server. Requests go through the gateway to a small origin, one after the other on one
connection; they are counted when everything is warm. A binary with symbols (`CARGO_PROFILE_RELEASE_STRIP=none`) can be asked
further: `callgrind_annotate` reads the files in the folder that is told at the end.
"""

import argparse
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from compare import ROOT, Redis, Stack, free_port, origin, wait_for

LIMITS = {
    "no limit": None,
    "in process": 'headers = "none"',
    "in process, with RateLimit fields": 'headers = "ietf"',
    "Redis, leased": 'headers = "none"',
}


def count(o, limit, keys, out):
    with Stack() as stack:
        upstream, port, folder = origin(stack, o), free_port(), stack.folder()
        text = f"""[server]
listen = ["127.0.0.1:{port}"]
threads = 1
keepalive_requests = 1000000000
[admin]
listen = false
[access_log]
enabled = false
[upstream.u]
servers = ["127.0.0.1:{upstream}"]
[[route]]
name = "all"
path = "/*"
upstream = "u"
"""
        if keys:
            text += f'rate_limit = ["r"]\n[rate_limit.r]\nrate = "1000000/s"\n{keys}\n'
        if limit.startswith("Redis"):
            # Under valgrind everything is slow, and nothing should be given up.
            text += f'[redis]\nurl = "redis://127.0.0.1:{Redis(stack, o.redis).port}"\ntimeout = "5s"\n'
        (folder / "gateway.toml").write_text(text)
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        process = stack.start(0, [*command, o.gateway, "run", "-c", folder / "gateway.toml"])
        wait_for(port, process)

        def control(*what):
            subprocess.run(["callgrind_control", *what, str(process.pid)], capture_output=True, check=True)

        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(60)

            def ask(requests):
                for _ in range(requests):
                    s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    answer = b""
                    while not answer.endswith(b"x" * 128):
                        answer += s.recv(65536)
                    if not answer.startswith(b"HTTP/1.1 200"):
                        raise SystemExit(f"not a good answer: {answer[:200]}")

            ask(300)
            time.sleep(3)
            ask(300)
            control("-i", "on")
            ask(20)
            control("-z")
            ask(o.requests)
            control("-d")
    dumps = out.parent.glob(f"{out.name}*")
    totals = [re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.M) for dump in dumps]
    return max(int(total[1]) for total in totals if total) / o.requests


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default=str(ROOT / "target/release/gateway"))
    parser.add_argument("--nginx", default=shutil.which("nginx"))
    parser.add_argument("--redis", default=shutil.which("redis-server"))
    parser.add_argument("--requests", type=int, default=1500)
    o = parser.parse_args()
    for name in ("gateway", "nginx", "redis"):
        if not getattr(o, name) or not Path(getattr(o, name)).exists():
            raise SystemExit(f"there is no {name}: give --{name} PATH")
    folder, plain = Path(tempfile.mkdtemp(prefix="instructions.")), None
    print("| limit | instructions per request | more than without |\n|---|---|---|")
    for place, (limit, keys) in enumerate(LIMITS.items()):
        each = count(o, limit, keys, folder / f"{place}.out")
        plain = plain or each
        print(f"| {limit} | {each:.0f} | {each - plain:.0f} |", flush=True)
    print(f"\nThe files of callgrind are in {folder}.")


if __name__ == "__main__":
    main()
