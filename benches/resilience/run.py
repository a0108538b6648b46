#!/usr/bin/env python3
"""Four replicas behind a proxy; one is frozen, one killed, one answers 503 at once. Who notices?

    benches/resilience/run.py --gateway target/release/gateway --rounds 3

Needs nginx, haproxy and wrk (apt). Every proxy gets the same replicas and the same orders: one second for an answer, three
tries, checks each second where it has checks. Per round and proxy:
  rate  an open loop: requests leave when the clock says so, whatever became of those before, and their latency counts from
        that moment, so that nobody's waiting is left out (coordinated omission)
  wrk   a closed loop of 32 connections
The faults begin after a third of the time. Only the replicas, the proxy and the load run; all on loopback.
"""

import argparse
import asyncio
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = "127.0.0.1"


def free_port():
    with socket.socket() as one:
        one.bind((HERE, 0))
        return one.getsockname()[1]


def wait_for(port, patience=20):
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((HERE, port), 0.2).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit(f"nobody listens on port {port}")
            time.sleep(0.05)


class Replica:
    """A process that answers at once; the gateway itself, with a fixed answer."""

    def __init__(self, gateway, directory, number):
        self.gateway, self.directory, self.port = gateway, directory, free_port()
        self.file = directory / f"replica-{number}.toml"
        self.process = None
        self.start(200)

    def start(self, status):
        self.file.write_text(
            f'[server]\nlisten = ["{HERE}:{self.port}"]\nthreads = 1\nkeepalive_requests = 1000000000\n'
            f"[admin]\nlisten = false\n[access_log]\nenabled = false\n"
            f'[[route]]\nname = "all"\npath = "/*"\nrespond = {{ status = {status}, body = "x" }}\n'
        )
        self.process = subprocess.Popen(
            [self.gateway, "run", "-c", self.file], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        wait_for(self.port)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def gateway_command(args, directory, port, servers):
    file = directory / "gateway.toml"
    listed = ", ".join(f'"{HERE}:{server}"' for server in servers)
    file.write_text(
        f'[server]\nlisten = ["{HERE}:{port}"]\nthreads = 1\nkeepalive_requests = 1000000000\n'
        f"[admin]\nlisten = false\n[access_log]\nenabled = false\n"
        f"[upstream.app]\nservers = [{listed}]\nconnect_timeout = \"1s\"\nfirst_byte_timeout = \"1s\"\n"
        f'health_check = {{ path = "/up", interval = "1s", timeout = "1s" }}\n'
        f'retry = {{ attempts = 3, on = ["connect", "reset", "timeout", "502", "503", "504"] }}\n'
        f'[[route]]\nname = "all"\npath = "/*"\nupstream = "app"\n'
    )
    return [args.gateway, "run", "-c", file]


def nginx_command(args, directory, port, servers):
    file = directory / "nginx.conf"
    listed = "\n".join(f"server {HERE}:{server} max_fails=1 fail_timeout=10s;" for server in servers)
    file.write_text(
        f"""daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream app {{ least_conn; {listed} keepalive 256; }}
  server {{
    listen {HERE}:{port};
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_connect_timeout 1s; proxy_send_timeout 1s; proxy_read_timeout 1s;
      proxy_next_upstream error timeout http_502 http_503 http_504; proxy_next_upstream_tries 3;
    }}
  }}
}}
"""
    )
    return ["nginx", "-p", directory, "-c", file]


def haproxy_command(args, directory, port, servers):
    file = directory / "haproxy.cfg"
    listed = "\n".join(
        f"  server s{server} {HERE}:{server} check inter 1s fall 3 rise 2 observe layer7 error-limit 5 on-error mark-down"
        for server in servers
    )
    file.write_text(
        f"""global
  maxconn 8192
  nbthread 1
defaults
  mode http
  timeout client 30s
  timeout connect 1s
  timeout server 1s
  timeout check 1s
  timeout http-keep-alive 30s
  option redispatch 1
  retries 2
  retry-on conn-failure empty-response response-timeout junk-response 502 503 504
frontend in
  bind {HERE}:{port}
  default_backend app
backend app
  balance leastconn
  http-reuse always
  option httpchk GET /up
{listed}
"""
    )
    return ["haproxy", "-db", "-f", file]


PROXIES = {"nginx": nginx_command, "haproxy": haproxy_command, "gateway": gateway_command}


async def open_loop(port, rate, seconds):
    """Latencies in seconds, and the number of errors: what is not 200, and what is no answer."""
    idle, latencies, errors = [], [], 0

    async def one(due):
        nonlocal errors
        writer = None
        try:
            reader, writer = idle.pop() if idle else await asyncio.open_connection(HERE, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
            await reader.readexactly(length)
            if head[9:12] != b"200":
                errors += 1
            if re.search(rb"(?i)connection: *close", head):
                writer.close()
            else:
                idle.append((reader, writer))
        except Exception:
            errors += 1
            if writer:
                writer.close()
        latencies.append(time.perf_counter() - due)

    begin, tasks = time.perf_counter(), set()
    for number in range(int(rate * seconds)):
        due = begin + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.wait(tasks)
    for _, writer in idle:
        writer.close()
    return latencies, errors


def closed_loop(port, seconds):
    """Requests, errors, and the 99th percentile in seconds, as wrk has them."""
    ran = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "--timeout", "10s", f"http://{HERE}:{port}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", ran).groups()
    requests = int(re.search(r"(\d+) requests in", ran).group(1))
    errors = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", ran)))
    for line in re.findall(r"Socket errors: (.*)", ran):
        errors += sum(map(int, re.findall(r"\d+", line)))
    return requests, errors, float(number) * units[unit]


def disturb(replicas, after):
    """Freezes one, kills one, puts one that answers 503 in the place of the third. Returns when that is done."""
    time.sleep(after)
    frozen, killed, failing, _well = replicas
    os.kill(frozen.process.pid, signal.SIGSTOP)
    killed.stop()
    failing.stop()
    failing.start(503)


def measure(name, load, args):
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder)
        replicas = [Replica(args.gateway, directory, number) for number in range(4)]
        port = free_port()
        command = PROXIES[name](args, directory, port, [replica.port for replica in replicas])
        proxy = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for(port)
            time.sleep(1.5)  # the first checks
            faults = threading.Thread(target=disturb, args=(replicas, args.seconds / 3))
            faults.start()
            try:
                if load == "rate":
                    latencies, errors = asyncio.run(open_loop(port, args.rate, args.seconds))
                    latencies.sort()
                    at = lambda share: latencies[min(len(latencies) - 1, int(len(latencies) * share))]
                    return {
                        "requests": len(latencies),
                        "errors": errors,
                        "p50": at(0.5),
                        "p99": at(0.99),
                        "p999": at(0.999),
                        "max": latencies[-1],
                    }
                requests, errors, p99 = closed_loop(port, args.seconds)
                return {"requests": requests, "errors": errors, "p99": p99}
            finally:
                faults.join()
        finally:
            proxy.kill()
            proxy.wait()
            for replica in replicas:
                replica.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--proxies", default="nginx,haproxy,gateway")
    parser.add_argument("--loads", default="rate,wrk")
    parser.add_argument("--rate", type=int, default=300, help="requests a second")
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results = {}
    for round_number in range(args.rounds):
        for load in args.loads.split(","):
            for name in args.proxies.split(","):
                result = measure(name, load, args)
                results.setdefault((load, name), []).append(result)
                print(f"round {round_number + 1} {load} {name}: {result}", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps({f"{load} {name}": runs for (load, name), runs in results.items()}, indent=1))
        return
    print("| load | proxy | requests | errors | p99 (median of rounds; worst) |\n|---|---|---|---|---|")
    for (load, name), runs in results.items():
        requests, errors = (sum(run[key] for run in runs) for key in ("requests", "errors"))
        p99 = [run["p99"] * 1000 for run in runs]
        share = 100 * errors / max(1, requests)
        print(
            f"| {load} | {name} | {requests} | {errors} ({share:.3f} %) | "
            f"{statistics.median(p99):.1f} ms; {max(p99):.1f} ms |"
        )


if __name__ == "__main__":
    main()
