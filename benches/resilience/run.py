#!/usr/bin/env python3
"""Four replicas behind a proxy; one is frozen, one killed, one answers 503 at once. Who notices?

    benches/resilience/run.py --gateway target/release/gateway --rounds 3

Needs nginx, haproxy and wrk (apt). Every proxy gets the same replicas and the same orders: one thread; one second to
connect and one for an answer; a try for each replica, on no connection, a broken one, no answer in time, 502, 503 and 504; idle
connections kept; checks each second where it has checks (nginx takes a server out for ten seconds after one failure
instead). nginx and HAProxy run twice: in turn, as they are installed, and with the fewest connections first.
`gateway-hedge` is the gateway with `hedge = { after = "50ms" }`. Per round and proxy:
  rate  an open loop: requests leave when the clock says so, whatever became of those before, and their latency counts from
        that moment, so that nobody's waiting is left out (coordinated omission)
  wrk   a closed loop of 32 connections
The faults begin after a third of the time. Only the replicas, the proxy and the load run; all on loopback. The order of the
proxies is another one each round.
"""

import argparse
import functools
import gc
import json
import os
import pathlib
import re
import select
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


def gateway_command(args, directory, port, servers, more=""):
    file = directory / "gateway.toml"
    listed = ", ".join(f'"{HERE}:{server}"' for server in servers)
    file.write_text(
        f'[server]\nlisten = ["{HERE}:{port}"]\nthreads = 1\nkeepalive_requests = 1000000000\n'
        f"[admin]\nlisten = false\n[access_log]\nenabled = false\n"
        f"[upstream.app]\nservers = [{listed}]\nconnect_timeout = \"1s\"\nfirst_byte_timeout = \"1s\"\n"
        f'health_check = {{ path = "/up", interval = "1s", timeout = "1s" }}\n'
        f'retry = {{ attempts = 4, on = ["connect", "reset", "timeout", "502", "503", "504"] }}\n{more}\n'
        f'[[route]]\nname = "all"\npath = "/*"\nupstream = "app"\n'
    )
    return [args.gateway, "run", "-c", file]


def nginx_command(args, directory, port, servers, method=""):
    file = directory / "nginx.conf"
    listed = "\n".join(f"server {HERE}:{server} max_fails=1 fail_timeout=10s;" for server in servers)
    file.write_text(
        f"""daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream app {{ {method} {listed} keepalive 256; }}
  server {{
    listen {HERE}:{port};
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_connect_timeout 1s; proxy_send_timeout 1s; proxy_read_timeout 1s;
      proxy_next_upstream error timeout http_502 http_503 http_504; proxy_next_upstream_tries 4;
    }}
  }}
}}
"""
    )
    return ["nginx", "-p", directory, "-c", file]


def haproxy_command(args, directory, port, servers, method="roundrobin"):
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
  retries 3
  retry-on conn-failure empty-response response-timeout junk-response 502 503 504
frontend in
  bind {HERE}:{port}
  default_backend app
backend app
  balance {method}
  http-reuse always
  option httpchk GET /up
{listed}
"""
    )
    return ["haproxy", "-db", "-f", file]


PROXIES = {
    "nginx": nginx_command,
    "nginx-least": functools.partial(nginx_command, method="least_conn;"),
    "haproxy": haproxy_command,
    "haproxy-least": functools.partial(haproxy_command, method="leastconn"),
    "gateway": gateway_command,
    "gateway-hedge": functools.partial(gateway_command, more='hedge = { after = "50ms" }'),
}
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE = 30


def answer(data):
    """The status, and whether the connection stays; `None`: there is more to come."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    if length and len(body) < int(length.group(1)):
        return None
    return head[9:12], bool(length) and not re.search(rb"(?i)connection: *close", head)


def open_loop(port, rate, seconds):
    """Latencies in seconds, and the number of errors: what is not 200, and what is no answer."""
    idle, busy, latencies, errors = [], {}, [], 0

    def send(due):
        nonlocal errors
        for fresh in [False] * len(idle) + [True]:
            one = socket.create_connection((HERE, port), 5) if fresh else idle.pop()
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                one.sendall(REQUEST)
            except OSError:
                one.close()  # closed while it was idle
                continue
            busy[one] = (due, b"")
            return
        errors += 1

    def receive(one):
        nonlocal errors
        due, data = busy.pop(one)
        try:
            part = one.recv(65536)
        except OSError:
            part = b""
        said = answer(data + part)
        if part and said is None:
            busy[one] = (due, data + part)
            return
        latencies.append(time.perf_counter() - due)
        if said is None or said[0] != b"200":
            errors += 1
        if said and said[1]:
            idle.append(one)
        else:
            one.close()

    gc.disable()
    begin, number, total = time.perf_counter(), 0, int(rate * seconds)
    last = begin + seconds + PATIENCE
    while (number < total or busy) and time.perf_counter() < last:
        due = begin + number / rate if number < total else last
        # By select: its time-outs are finer than a millisecond.
        ready, _, _ = select.select(busy, [], [], max(0.0, due - time.perf_counter()))
        for one in ready:
            receive(one)
        if number < total and time.perf_counter() >= due:
            send(due)
            number += 1
    gc.enable()
    errors += len(busy)
    latencies += [PATIENCE] * len(busy)
    for one in [*idle, *busy]:
        one.close()
    return latencies, errors


def closed_loop(port, seconds):
    """What wrk says; times in seconds."""
    ran = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "--timeout", "10s", f"http://{HERE}:{port}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    def at(pattern):
        number, unit = re.search(pattern + r"\s+([\d.]+)(us|ms|s)", ran).groups()
        return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit]

    requests = int(re.search(r"(\d+) requests in", ran).group(1))
    errors = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", ran)))
    for line in re.findall(r"Socket errors: (.*)", ran):
        errors += sum(map(int, re.findall(r"\d+", line)))
    longest = at(r"Latency\s+\S+\s+\S+")
    return {"requests": requests, "errors": errors, "p50": at("50%"), "p99": at("99%"), "max": longest}


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
        proxy = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            wait_for(port)
            time.sleep(1.5)  # the first checks
            faults = threading.Thread(target=disturb, args=(replicas, args.seconds / 3))
            faults.start()
            try:
                if load == "rate":
                    latencies, errors = open_loop(port, args.rate, args.seconds)
                    latencies.sort()
                    at = lambda share: latencies[min(len(latencies) - 1, int(len(latencies) * share))]
                    return {
                        "requests": len(latencies),
                        "errors": errors,
                        "p50": at(0.5),
                        "p99": at(0.99),
                        "max": latencies[-1],
                    }
                return closed_loop(port, args.seconds)
            finally:
                faults.join()
        finally:
            os.killpg(proxy.pid, signal.SIGKILL)  # nginx's workers, too
            proxy.wait()
            for replica in replicas:
                replica.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--proxies", default=",".join(PROXIES))
    parser.add_argument("--loads", default="rate,wrk")
    parser.add_argument("--rate", type=int, default=300, help="requests a second")
    parser.add_argument("--seconds", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results = {}
    for round_number in range(args.rounds):
        for load in args.loads.split(","):
            names = args.proxies.split(",")
            turn = round_number % len(names)
            for name in names[turn:] + names[:turn]:
                result = measure(name, load, args)
                results.setdefault((load, name), []).append(result)
                print(f"round {round_number + 1} {load} {name}: {result}", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps({f"{load} {name}": runs for (load, name), runs in results.items()}, indent=1))
        return
    print("| load | proxy | requests | errors | p50 | p99 (worst round) | longest |\n|---|---|---|---|---|---|---|")
    for load in args.loads.split(","):
        for name in args.proxies.split(","):
            runs = results[load, name]
            requests, errors = (sum(run[key] for run in runs) for key in ("requests", "errors"))
            of = lambda key: [run[key] * 1000 for run in runs]
            print(
                f"| {load} | {name} | {requests} | {errors} ({100 * errors / max(1, requests):.3f} %) | "
                f"{statistics.median(of('p50')):.2f} ms | {statistics.median(of('p99')):.2f} ms ({max(of('p99')):.2f}) | "
                f"{max(of('max')):.0f} ms |"
            )


if __name__ == "__main__":
    main()
