#!/usr/bin/env python3
"""What a proxy holds in memory: for an idle connection, for a request in flight, for an answer of 1 KiB in its cache.

    benches/memory/run.py --gateway target/release/gateway

Needs nginx and haproxy (apt). One proxy after the other, each with one thread, started anew for each figure. What is told is the
growth of the resident memory of its processes, divided by the number of what it grew by (the median of the rounds, the lowest
to the highest); two hundred of them come before the first look, so that what is taken once is no part of it.
  idle      connections of clients that were answered once, and wait
  in flight connections of clients with one request each; the server has it and does not answer
  entry     answers of 1 KiB in the cache in memory, asked for once each. nginx keeps them in files: the figure is that of
            its index alone, and what the kernel keeps of the files is not in it. HAProxy takes its whole cache at the start
"""

import argparse
import asyncio
import contextlib
import pathlib
import resource
import socket
import statistics
import subprocess
import tempfile
import threading
import time

HERE = "127.0.0.1"
# Connections and entries before the first look.
BEFORE = 200


def free_port():
    with socket.socket() as one:
        one.bind((HERE, 0))
        return one.getsockname()[1]


class Origin:
    """Answers `/`; answers `/cache/…` with 1 KiB that may be kept; never answers `/hold`."""

    def __init__(self):
        self.held = self.asked = 0
        listener = socket.create_server((HERE, 0), backlog=4096)
        self.port = listener.getsockname()[1]
        threading.Thread(target=lambda: asyncio.run(self.serve(listener)), daemon=True).start()

    async def serve(self, listener):
        async with await asyncio.start_server(self.exchange, sock=listener) as server:
            await server.serve_forever()

    async def exchange(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1]
                self.asked += 1
                if path == b"/hold":
                    self.held += 1
                    await reader.read()  # until the proxy is gone
                    return
                kept = path.startswith(b"/cache/")
                body = (path + b" ").ljust(1024, b"x") if kept else b"x"
                more = "Cache-Control: max-age=3600\r\n" if kept else ""
                writer.write(f"HTTP/1.1 200 OK\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def gateway_command(args, directory, port, origin):
    file = directory / "gateway.toml"
    file.write_text(
        f'[server]\nlisten = ["{HERE}:{port}"]\nthreads = 1\nkeepalive_requests = 1000000000\nmax_connections_per_client = 8000\n'
        f"[admin]\nlisten = false\n[access_log]\nenabled = false\n"
        f'[upstream.app]\nservers = ["{HERE}:{origin}"]\n[cache.c]\nsize = "256MB"\n'
        '[[route]]\nname = "all"\npath = "/*"\nupstream = "app"\n'
        '[[route]]\nname = "kept"\npath = "/cache/*"\nupstream = "app"\ncache = "c"\n'
    )
    return [args.gateway, "run", "-c", file]


def nginx_command(args, directory, port, origin):
    file = directory / "nginx.conf"
    file.write_text(
        f"""daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log /dev/null;
events {{ worker_connections 8000; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  proxy_cache_path {directory}/cache levels=1:2 keys_zone=c:32m max_size=256m;
  upstream app {{ server {HERE}:{origin}; keepalive 256; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {{
    listen {HERE}:{port} backlog=4096;
    location / {{ proxy_pass http://app; }}
    location /cache/ {{ proxy_pass http://app; proxy_cache c; }}
  }}
}}
"""
    )
    return ["nginx", "-p", directory, "-c", file]


def haproxy_command(args, directory, port, origin):
    file = directory / "haproxy.cfg"
    file.write_text(
        f"""global
  maxconn 8000
  nbthread 1
cache c
  total-max-size 256
  max-age 3600
defaults
  mode http
  timeout client 300s
  timeout connect 5s
  timeout server 300s
frontend f
  bind {HERE}:{port} backlog 4096
  use_backend kept if {{ path_beg /cache/ }}
  default_backend app
backend app
  server s {HERE}:{origin}
backend kept
  http-request cache-use c
  http-response cache-store c
  server s {HERE}:{origin}
"""
    )
    return ["haproxy", "-db", "-f", file]


PROXIES = {"gateway": gateway_command, "nginx": nginx_command, "haproxy": haproxy_command}


class Proxy:
    """A proxy that runs, before an origin of its own."""

    def __init__(self, args, name):
        self.origin, self.port = Origin(), free_port()
        self.folder = tempfile.TemporaryDirectory()
        pathlib.Path(self.folder.name).chmod(0o755)  # nginx started by root serves as another user
        command = PROXIES[name](args, pathlib.Path(self.folder.name), self.port, self.origin.port)
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.clients = []

    def __enter__(self):
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((HERE, self.port), 0.2).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise SystemExit("the proxy does not start")
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        for client in self.clients:
            client.close()
        self.folder.cleanup()

    def connect(self):
        client = socket.create_connection((HERE, self.port), 20)
        self.clients.append(client)
        return client

    def resident(self):
        """Bytes, of the process and its children, once nothing changes."""
        listed = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        before = None
        while True:
            total = 0
            for process in [str(self.process.pid), *listed]:
                status = pathlib.Path(f"/proc/{process}/status").read_text()
                total += 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
            if total == before:
                return total
            before = total
            time.sleep(0.5)


def send(client, path):
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: memory.test\r\nUser-Agent: memory\r\nAccept: */*\r\n\r\n".encode())


def ask(client, path):
    """The body of the answer."""
    send(client, path)
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(65536) or b"\r\n\r\n"
    head, body = data.split(b"\r\n\r\n", 1)
    length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if not head.startswith(b"HTTP/1.1 200") or not length:
        raise SystemExit(f"{path}: {data!r}")
    while len(body) < int(length[0]):
        body += client.recv(65536)
    return body


def idle(proxy, number):
    for _ in range(number):
        ask(proxy.connect(), "/")


def in_flight(proxy, number):
    wanted = proxy.origin.held + number
    for _ in range(number):
        send(proxy.connect(), "/hold")
    end = time.monotonic() + 60
    while proxy.origin.held < wanted:
        if time.monotonic() > end:
            raise SystemExit(f"{proxy.origin.held} of {wanted} requests have come to the server")
        time.sleep(0.05)


def entries(proxy, number):
    client, first = proxy.connect(), proxy.origin.asked
    for entry in range(first, first + number):
        path = f"/cache/{entry}"
        if not ask(client, path).startswith(path.encode() + b" "):
            raise SystemExit("another answer")
    for entry in range(first, first + number, 97):
        ask(client, f"/cache/{entry}")
    if proxy.origin.asked != first + number:
        raise SystemExit(f"{proxy.origin.asked - first - number} answers were not kept")


def growth(args, proxy, grow, number):
    """KiB for each."""
    with Proxy(args, proxy) as running:
        grow(running, BEFORE)
        before = running.resident()
        grow(running, number)
        return (running.resident() - before) / number / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--proxies", default=",".join(PROXIES))
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures = {"idle": (idle, args.connections), "in flight": (in_flight, args.connections), "entry": (entries, args.entries)}
    proxies = args.proxies.split(",")
    print(f"| KiB for each | {' | '.join(proxies)} |")
    print("|---" * (len(proxies) + 1) + "|")
    for name, (grow, number) in figures.items():
        row = []
        for proxy in proxies:
            each = sorted(growth(args, proxy, grow, number) for _ in range(args.rounds))
            row.append(f"{statistics.median(each):.1f}, {each[0]:.1f} to {each[-1]:.1f}")
        print(f"| {name}, {number} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
