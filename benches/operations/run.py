#!/usr/bin/env python3
"""Reloads with real changes and binary upgrades under load: what do clients notice?

    benches/operations/run.py --gateway target/release/gateway --reloads 200 --upgrades 20

Needs nginx, haproxy and openssl (apt). Each proxy gets the same two application servers, the same clients and the same
orders, one proxy after the other. Clients keep a pool of connections as libraries do: they take one that nobody has closed
yet, ask on it, and put it back unless the answer says `Connection: close`; some ask at once again, some wait up to two
seconds. A tenth of them use TLS. WebSockets stay open from before the first order until after the last, with a message
each 100 ms. Every reload changes a server, a limit, a route, the certificate and a listener.

  failed     requests that got no whole answer of 200, of whatever kind; of these:
  refused      the connection was refused
  on it        a pooled connection was closed with the request already on it
  sockets    WebSockets that were cut; who loses one opens another
"""

import argparse
import asyncio
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

HERE = "127.0.0.1"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def free_port():
    with socket.socket() as one:
        one.bind((HERE, 0))
        return one.getsockname()[1]


async def wait_for(port):
    end = time.monotonic() + 20
    while True:
        try:
            _, writer = await asyncio.open_connection(HERE, port)
            writer.close()
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit(f"nobody listens on port {port}")
            await asyncio.sleep(0.05)


async def head(reader):
    text = await reader.readuntil(b"\r\n\r\n")
    first, *lines = text.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return first, fields


async def application(reader, writer):
    """An application server: a short answer, or bytes as they come."""
    try:
        while True:
            first, fields = await head(reader)
            if "upgrade" in fields:
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                )
                while data := await reader.read(65536):
                    writer.write(data)
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


class Clients:
    """The load, and what became of it."""

    def __init__(self, clear, tls, count):
        self.clear, self.tls, self.count = clear, tls, count
        self.seen, self.kinds = collections.Counter(), collections.Counter()
        self.stop = False
        self.trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.trust.check_hostname, self.trust.verify_mode = False, ssl.CERT_NONE

    async def connect(self, tls):
        if tls:
            return await asyncio.open_connection(HERE, self.tls, ssl=self.trust)
        return await asyncio.open_connection(HERE, self.clear)

    async def client(self, number):
        tls, patient, pooled = number % 10 == 0, number % 2 == 0, None
        while not self.stop:
            # What the library would see: a connection that was closed while it was idle is not used.
            if pooled and pooled[0].at_eof():
                pooled[1].close()
                pooled = None
            fresh = pooled is None
            try:
                reader, writer = pooled or await asyncio.wait_for(self.connect(tls), 10)
            except (OSError, asyncio.TimeoutError) as error:
                self.fail("refused", error)
                await asyncio.sleep(0.05)
                continue
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                first, fields = await asyncio.wait_for(head(reader), 10)
                body = await asyncio.wait_for(reader.readexactly(int(fields["content-length"])), 10)
                if " 200 " not in first + " " or body != b"hello":
                    self.fail(f"answered {first}", None)
                else:
                    self.seen["good"] += 1
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                self.fail("on a fresh connection" if fresh else "on it", error)
                writer.close()
                pooled = None
                continue
            pooled = (reader, writer)
            if fields.get("connection") == "close":
                writer.close()
                pooled = None
            if patient:
                await asyncio.sleep(random.random() * 2)

    def fail(self, kind, error):
        self.seen["failed"] += 1
        self.kinds[kind] += 1

    async def websocket(self, number):
        while not self.stop:
            await self.one_websocket()

    async def one_websocket(self):
        reader, writer = await asyncio.open_connection(HERE, self.clear)
        writer.write(UPGRADE)
        first, _ = await head(reader)
        assert " 101 " in first, first
        try:
            while not self.stop:
                word = b"%08d" % random.randrange(10**8)
                writer.write(word)
                if await asyncio.wait_for(reader.readexactly(8), 10) != word:
                    raise OSError("not what was sent")
                self.seen["messages"] += 1
                await asyncio.sleep(0.1)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            self.seen["sockets"] += 1
        writer.close()

    def run(self, sockets):
        return [asyncio.create_task(self.client(n)) for n in range(self.count)] + [
            asyncio.create_task(self.websocket(n)) for n in range(sockets)
        ]


class Proxy:
    def __init__(self, options, directory, applications):
        self.options, self.directory, self.applications = options, directory / self.name, applications
        self.clear, self.tls, self.extra, self.admin = (free_port() for _ in range(4))
        self.directory.mkdir()
        self.log = (self.directory / "log").open("w")
        self.file = self.directory / "conf"
        for which in (0, 1):
            one = self.directory / f"{which}"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"]
                + ["-keyout", f"{one}.key", "-out", f"{one}.pem", "-subj", f"/CN=number-{which}"],
                check=True,
                capture_output=True,
            )
            (self.directory / f"{which}.both").write_text(
                pathlib.Path(f"{one}.pem").read_text() + pathlib.Path(f"{one}.key").read_text()
            )

    def write(self, round):
        new = self.directory / "conf.new"
        new.write_text(self.text(round, self.applications[round % 2], f"{self.directory}/{round % 2}"))
        new.rename(self.file)

    async def start(self):
        self.write(0)
        command = self.command()
        self.process = await asyncio.create_subprocess_exec(*command, stdout=self.log, stderr=self.log)
        await wait_for(self.clear)

    async def reload(self, round):
        self.write(round)
        os.kill(self.pid(), self.RELOAD)
        await asyncio.sleep(self.options.pause)


class Gateway(Proxy):
    name = "gateway"
    RELOAD = signal.SIGHUP

    def command(self):
        return [self.options.gateway, "run", "-c", str(self.file)]

    def pid(self):
        facts = [json.loads(path.read_text()) for path in pathlib.Path(os.environ["GATEWAY_RUN_DIR"]).glob("*.json")]
        return facts[0]["pid"]

    def text(self, round, application, certificate):
        extra = f', "{HERE}:{self.extra}"' if round % 2 else ""
        return f"""
[server]
listen = ["{HERE}:{self.clear}"{extra}]
keepalive_requests = 1000000
[tls]
listen = ["{HERE}:{self.tls}"]
[[certificate]]
cert = "{certificate}.pem"
key = "{certificate}.key"
[admin]
listen = "{HERE}:{self.admin}"
[access_log]
enabled = false
[upstream.app]
servers = ["{HERE}:{application}"]
[upstream.sockets]
servers = ["{HERE}:{self.applications[0]}"]
[rate_limit.limit]
rate = "{100000 + round}/s"
burst = 100000
[[route]]
name = "sockets"
path = "/ws"
upstream = "sockets"
[[route]]
name = "round-{round}"
path = "/round/{round}"
respond = {{ body = "{round}" }}
[[route]]
name = "all"
path = "/*"
upstream = "app"
rate_limit = ["limit"]
"""

    async def reload(self, round):
        self.write(round)
        await self.order("reload")

    async def upgrade(self):
        await self.order("upgrade")

    async def order(self, order):
        command = [self.options.gateway, order, "-c", str(self.file)]
        process = await asyncio.create_subprocess_exec(*command, stdout=self.log, stderr=self.log)
        if await process.wait() != 0:
            raise SystemExit(f"{order}: see {self.log.name}")
        await asyncio.sleep(self.options.pause)


class Nginx(Proxy):
    name = "nginx"
    RELOAD = signal.SIGHUP

    def command(self):
        return [shutil.which("nginx"), "-c", str(self.file), "-p", str(self.directory)]

    def pid(self):
        return int((self.directory / "pid").read_text())

    def text(self, round, application, certificate):
        extra = f"listen {HERE}:{self.extra};" if round % 2 else ""
        return f"""
worker_processes 2; pid {self.directory}/pid; error_log {self.directory}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000;
  limit_req_zone $binary_remote_addr zone=limit:1m rate={100000 + round}r/s;
  upstream app {{ server {HERE}:{application}; keepalive 64; }}
  upstream sockets {{ server {HERE}:{self.applications[0]}; }}
  server {{
    listen {HERE}:{self.clear}; {extra} listen {HERE}:{self.tls} ssl;
    ssl_certificate {certificate}.pem; ssl_certificate_key {certificate}.key;
    location = /ws {{ proxy_pass http://sockets; proxy_http_version 1.1; proxy_read_timeout 1h;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; }}
    location = /round/{round} {{ return 200 "{round}"; }}
    location / {{ limit_req zone=limit burst=100000 nodelay; proxy_pass http://app; proxy_http_version 1.1;
      proxy_set_header Connection ""; }}
  }}
}}
"""

    async def upgrade(self):
        """As its manual says: a new master beside the old one, then the old one's workers, then the old one."""
        old = self.pid()
        os.kill(old, signal.SIGUSR2)
        end = time.monotonic() + 20
        # The new master writes its own file once the old one has another name.
        while not ((self.directory / "pid.oldbin").exists() and (self.directory / "pid").exists()):
            if time.monotonic() > end:
                raise SystemExit("nginx did not start a new master")
            await asyncio.sleep(0.02)
        await asyncio.sleep(self.options.pause)
        os.kill(old, signal.SIGQUIT)
        # It stays while a WebSocket is open, and the new master takes no further upgrade while it stays.
        end = time.monotonic() + 2
        while (self.directory / "pid.oldbin").exists():
            if time.monotonic() > end:
                os.kill(old, signal.SIGTERM)
            await asyncio.sleep(0.05)
        await asyncio.sleep(self.options.pause)


class Haproxy(Proxy):
    name = "haproxy"
    RELOAD = signal.SIGUSR2

    def command(self):
        return [shutil.which("haproxy"), "-W", "-db", "-f", str(self.file)]

    def pid(self):
        return self.process.pid

    def text(self, round, application, certificate):
        extra = f"bind {HERE}:{self.extra}" if round % 2 else ""
        return f"""
global
  nbthread 2
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend clients
  bind {HERE}:{self.clear}
  {extra}
  bind {HERE}:{self.tls} ssl crt {certificate}.both
  stick-table type ip size 1k expire 10s store http_req_rate(1s)
  http-request track-sc0 src
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {100000 + round} }}
  http-request return status 200 content-type text/plain string "{round}" if {{ path /round/{round} }}
  use_backend sockets if {{ path /ws }}
  default_backend app
backend app
  server one {HERE}:{application}
backend sockets
  server one {HERE}:{self.applications[0]}
"""

    async def upgrade(self):
        """Its reload executes the binary anew."""
        os.kill(self.pid(), self.RELOAD)
        await asyncio.sleep(2 * self.options.pause)


async def phase(proxy, options, name, orders, order):
    clients = Clients(proxy.clear, proxy.tls, options.clients)
    tasks = clients.run(options.sockets)
    await asyncio.sleep(1)
    for round in range(1, orders + 1):
        await order(round)
        if any(task.done() and task.exception() for task in tasks):
            break
    await asyncio.sleep(3)
    clients.stop = True
    await asyncio.gather(*tasks)
    seen, kinds = clients.seen, clients.kinds
    others = {kind: count for kind, count in kinds.items() if kind not in ("refused", "on it")}
    print(
        f"| {proxy.name} | {orders} {name} | {seen['good']} | {seen['failed']} | {kinds['refused']} | {kinds['on it']} "
        f"| {seen['sockets']} |" + (f" {others}" if others else ""),
        flush=True,
    )


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default="target/release/gateway")
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--upgrades", type=int, default=20)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--sockets", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.15, help="seconds after each order")
    parser.add_argument("--only", choices=["gateway", "nginx", "haproxy"])
    options = parser.parse_args()
    options.gateway = str(pathlib.Path(options.gateway).absolute())
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        os.environ["GATEWAY_RUN_DIR"] = str(directory / "run")
        applications = [free_port(), free_port()]
        servers = [await asyncio.start_server(application, HERE, port) for port in applications]
        print("| proxy | orders | good | failed | refused | on it | sockets cut |\n|---|---|---|---|---|---|---|")
        for kind in (Gateway, Nginx, Haproxy):
            if options.only not in (None, kind.name):
                continue
            proxy = kind(options, directory, applications)
            await proxy.start()
            try:
                await phase(proxy, options, "reloads", options.reloads, proxy.reload)
                await phase(proxy, options, "upgrades", options.upgrades, lambda _: proxy.upgrade())
            finally:
                try:
                    os.kill(proxy.pid(), signal.SIGTERM)
                except OSError:
                    pass
                await asyncio.sleep(1)
        for server in servers:
            server.close()


asyncio.run(main())
