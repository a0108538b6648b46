#!/usr/bin/env python3
"""Rate limits beside nginx and Traefik in one run: CPU per request, Redis commands per request, over-admission.

    benches/limits/compare.py --traefik PATH [--gateway PATH] [--nginx PATH] [--redis PATH] [--rounds 3] [--seconds 4]

Needs wrk, nginx and redis-server; Traefik is left out where there is none. Everything runs on loopback and stops by
itself. The proxy has core 0 to itself, everything else shares core 1. A cell is the median over rounds; in each round the
proxies take turns, so that ratios are between neighbours in time.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Never refuses: what is measured is the price of asking.
PLENTY = 1_000_000


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process):
    for _ in range(500):
        if process.poll() is not None:
            raise SystemExit(f"a process ended at its start: {process.args}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}: {process.args}")


class Stack(contextlib.ExitStack):
    """Processes that end with the block."""

    def start(self, core, command, **options):
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )

        def stop():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

        self.callback(stop)
        return process

    def folder(self):
        return Path(self.enter_context(tempfile.TemporaryDirectory()))


class Redis:
    """A server of its own, and its counters."""

    def __init__(self, stack, binary):
        self.port = free_port()
        command = [binary, "--port", self.port, "--save", "", "--appendonly", "no", "--dir", stack.folder()]
        wait_for(self.port, stack.start(1, command))

    def ask(self, *words):
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(b"".join([f"*{len(words)}\r\n".encode(), *(f"${len(w)}\r\n{w}\r\n".encode() for w in words)]))
            s.settimeout(2)
            head = b""
            while b"\r\n" not in head:
                head += s.recv(65536)
            kind, rest = head.split(b"\r\n", 1)
            if kind[:1] != b"$":
                return kind.decode()
            while len(rest) < int(kind[1:]) + 2:
                rest += s.recv(65536)
            return rest.decode()

    def operations(self):
        """Calls that a limiter made: scripts and plain commands, not the commands inside scripts nor ours."""
        calls = dict(re.findall(r"cmdstat_([a-z|_]+):calls=(\d+)", self.ask("INFO", "commandstats")))
        return sum(int(calls.get(name, 0)) for name in ("eval", "evalsha", "fcall"))


def gateway(limit):
    def start(stack, o, core, upstream, redis, rate, burst):
        port, folder = free_port(), stack.folder()
        keys = {"none": None, "in process": "", "Redis, leased": "", "Redis, exact": "exact = true"}[limit]
        shared = limit.startswith("Redis")
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
        if keys is not None:
            # `burst` counts behind the first request.
            text += f'rate_limit = ["r"]\n[rate_limit.r]\nrate = "{rate}/s"\nburst = {burst - 1}\nheaders = "none"\n{keys}\n'
        if shared:
            text += f'[redis]\nurl = "redis://127.0.0.1:{redis.port}"\n'
        (folder / "gateway.toml").write_text(text)
        wait_for(port, stack.start(core, [o.gateway, "run", "-c", folder / "gateway.toml"]))
        return port

    return start


def nginx(limit):
    def start(stack, o, core, upstream, redis, rate, burst):
        port, folder = free_port(), stack.folder()
        zone = location = ""
        if limit != "none":
            zone = f"limit_req_zone $binary_remote_addr zone=r:10m rate={rate}r/s;"
            location = f"limit_req zone=r burst={burst - 1} nodelay; limit_req_status 429;"
        (folder / "nginx.conf").write_text(f"""worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000; {zone}
{"".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))}
upstream u {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{port}; location / {{ {location} proxy_pass http://u; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}
""")
        wait_for(port, stack.start(core, [o.nginx, "-p", folder, "-c", folder / "nginx.conf"]))
        return port

    return start


def traefik(limit):
    def start(stack, o, core, upstream, redis, rate, burst):
        port, folder = free_port(), stack.folder()
        use = define = ""
        if limit != "none":
            store = f", redis: {{endpoints: ['127.0.0.1:{redis.port}']}}" if limit == "Redis" else ""
            use = ", middlewares: [m]"
            define = f"\n  middlewares: {{m: {{rateLimit: {{average: {rate}, burst: {burst}{store}}}}}}}"
        (folder / "static.yml").write_text(f"""global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
entryPoints: {{web: {{address: '127.0.0.1:{port}'}}}}
providers: {{file: {{filename: {folder}/dynamic.yml, watch: false}}}}
""")
        (folder / "dynamic.yml").write_text(f"""http:
  routers: {{r: {{rule: 'PathPrefix(`/`)', entryPoints: [web], service: u{use}}}}}
  services: {{u: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{upstream}'}}], serversTransport: t}}}}}}
  serversTransports: {{t: {{maxIdleConnsPerHost: 256}}}}{define}
""")
        command = [o.traefik, f"--configFile={folder}/static.yml"]
        wait_for(port, stack.start(core, command, env={**os.environ, "GOMAXPROCS": "1"}))
        time.sleep(0.5)  # it listens before it has read its routes
        return port

    return start


def peers(o):
    rows = {("nginx", limit): nginx(limit) for limit in ("none", "in process")}
    rows |= {("gateway", limit): gateway(limit) for limit in ("none", "in process", "Redis, leased", "Redis, exact")}
    if o.traefik:
        rows |= {("Traefik", limit): traefik(limit) for limit in ("none", "in process", "Redis")}
    return rows


def origin(stack, o):
    port, folder = free_port(), stack.folder()
    (folder / "nginx.conf").write_text(f"""worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; default_type text/plain;
{"".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))}
server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{"x" * 128}"; }} }} }}
""")
    wait_for(port, stack.start(1, [o.nginx, "-p", folder, "-c", folder / "nginx.conf"]))
    return port


def cpu_of_core_0():
    """User and system time of every process whose only core is 0, threads that have ended included, nanoseconds; without the
    kernel's own, which come and go."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pinned = re.search(r"^Cpus_allowed_list:\s*0$", (process / "status").read_text(), re.M)
            if pinned and (process / "cmdline").read_bytes():
                user, system = (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
                ticks += int(user) + int(system)
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def wrk(ports, connections, seconds):
    """Floods the ports at once; how many requests were answered, and how many of them with 2xx."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    runs = [
        subprocess.Popen([*command, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True) for port in ports
    ]
    answered = admitted = 0
    for run in runs:
        text = run.communicate()[0]
        total = int(re.search(r"(\d+) requests in", text)[1])
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        answered += total
        admitted += total - int(refused[1] if refused else 0)
    return answered, admitted


def price(o, start):
    """CPU in µs and Redis calls, per request that passes."""
    with Stack() as stack:
        upstream, redis = origin(stack, o), Redis(stack, o.redis)
        port = start(stack, o, 0, upstream, redis, PLENTY, PLENTY)
        wrk([port], 32, 1)
        before = cpu_of_core_0(), redis.operations()
        answered, admitted = wrk([port], 32, o.seconds)
        cpu, calls = cpu_of_core_0() - before[0], redis.operations() - before[1]
        if admitted != answered:
            raise SystemExit(f"{answered - admitted} of {answered} were refused where none may be")
        return cpu / answered / 1000, calls / answered


def surplus(o, start, rate, burst):
    """Four proxies, one key, a flood: what was admitted over what may be, and Redis calls per answer."""
    with Stack() as stack:
        upstream, redis = origin(stack, o), Redis(stack, o.redis)
        ports = [start(stack, o, 0, upstream, redis, rate, burst) for _ in range(4)]
        time.sleep(1)  # processes that have just begun miss their budget on one core, and decide by themselves
        before, begun = redis.operations(), time.monotonic()
        answered, admitted = wrk(ports, 4, o.seconds)
        lasted = time.monotonic() - begun
        calls = redis.operations() - before
        return admitted, burst + rate * lasted, calls / answered


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default=str(ROOT / "target/release/gateway"))
    parser.add_argument("--nginx", default=shutil.which("nginx"))
    parser.add_argument("--redis", default=shutil.which("redis-server"))
    parser.add_argument("--traefik", default=shutil.which("traefik"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    o = parser.parse_args()
    for name in ("gateway", "nginx", "redis"):
        if not getattr(o, name) or not Path(getattr(o, name)).exists():
            raise SystemExit(f"there is no {name}: give --{name} PATH")
    rows = peers(o)

    found = {row: [] for row in rows}
    for turn in range(o.rounds):
        for row in list(rows)[turn:] + list(rows)[:turn]:
            print(f"round {turn + 1} of {o.rounds}: {row[0]}, limit {row[1]}", file=sys.stderr)
            found[row].append(price(o, rows[row]))
    print("| proxy | limit | CPU per request, µs | ratio to the same without a limit | Redis calls per request |")
    print("|---|---|---|---|---|")
    for row, rounds in found.items():
        plain = found[row[0], "none"]
        ratio = statistics.median(mine[0] / theirs[0] for mine, theirs in zip(rounds, plain))
        cpu, calls = (statistics.median(column) for column in zip(*rounds))
        print(f"| {row[0]} | {row[1]} | {cpu:.1f} | {ratio:.2f} | {calls:.3f} |")

    print("\n| four proxies, one client, a flood | limit | rate, burst | admitted | may be | Redis calls per answer |")
    print("|---|---|---|---|---|---|")
    for rate, burst in ((1000, 1000), (1000, 100), (10, 100), (1, 100)):
        for row in rows:
            if row[1] != "none":
                print(f"flood at {rate}/s, burst {burst}: {row[0]}, limit {row[1]}", file=sys.stderr)
                admitted, allowed, calls = surplus(o, rows[row], rate, burst)
                surplus_text = f"{100 * (admitted / allowed - 1):+.1f} %"
                print(f"| {row[0]} | {row[1]} | {rate}/s, {burst} | {admitted} ({surplus_text}) | {allowed:.0f} | {calls:.4f} |")


if __name__ == "__main__":
    main()
