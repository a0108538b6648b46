#!/usr/bin/env python3
"""What the cache promises, shown with a binary: one fetch for a stampede, nobody's answer for somebody else, no wrong byte
after `kill -9`, memory for each answer. Needs nothing but Python.

    benches/cache/prove.py stampede|identity|crash|memory [--gateway target/release/gateway]
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request


def say(text):
    print(text, flush=True)


class Gateway:
    """A gateway as a process, with the lines of its file from `[upstream…]` on."""

    def __init__(self, binary, text, threads=None):
        self.folder = tempfile.mkdtemp(prefix="cache-prove-")
        self.binary = binary
        self.file = os.path.join(self.folder, "gateway.toml")
        threads = f"threads = {threads}\n" if threads else ""
        with open(self.file, "w") as file:
            file.write(
                f'[server]\nlisten = ["127.0.0.1:0"]\nmax_connections = 20000\nmax_connections_per_client = 20000\nkeepalive_requests = 1000000\n{threads}'
                '[admin]\nlisten = "127.0.0.1:0"\n[access_log]\nenabled = false\n' + text
            )
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.binary, "run", "-c", self.file], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        for line in self.process.stderr:
            found = re.search(r"serves on http://127\.0\.0\.1:(\d+).*admin on http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port, self.admin = int(found[1]), int(found[2])
                return
            if line.startswith("error"):
                sys.exit(line + self.process.stderr.read())
        sys.exit("the gateway did not start")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.kill()
        shutil.rmtree(self.folder)

    def metric(self, name):
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics").read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024


async def answer(reader):
    """Reads an answer: status, fields, body; IncompleteReadError where it breaks off."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    status = int(lines[0].split(" ")[1])
    if "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    elif fields.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = b"" if status in (204, 304) else await reader.read()
    return status, fields, body


class Origin:
    """An application: `respond(path, writer)` is called for each request, and counted."""

    def __init__(self, respond):
        self.respond, self.requests = respond, 0

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                while (await reader.readline()).strip():
                    pass
                self.requests += 1
                if not await self.respond(line.decode().split(" ")[1], writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def start(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        return self


def cached(port, cache, route=""):
    return (
        f'[upstream.app]\nservers = ["127.0.0.1:{port}"]\n[cache.c]\n{cache}\n'
        f'[[route]]\nname = "all"\npath = "/*"\nupstream = "app"\ncache = "c"\n{route}'
    )


async def stampede(options):
    first, rest = b"a" * 50_000, b"b" * 150_000
    length = len(first) + len(rest)
    head = f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v\"\r\nContent-Length: {length}\r\n\r\n".encode()
    sent, begun, all_begun = {}, 0, asyncio.Event()

    async def respond(path, writer):
        breaks = path == "/breaks" and origin.requests == 1
        await asyncio.sleep(1)
        sent.setdefault(path, time.monotonic())
        writer.write(head + first)
        await writer.drain()
        # The rest comes when everybody has the beginning: who would wait for the whole would wait for ever.
        await asyncio.wait_for(all_begun.wait(), 100)
        if breaks:
            return False
        writer.write(rest)
        await writer.drain()
        return True

    origin = await Origin(respond).start()
    gateway = Gateway(options.gateway, cached(origin.port, ""))

    async def client(path, go):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1 << 18)
        await go.wait()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        begin = await reader.readexactly(1)
        at = time.monotonic()
        nonlocal begun
        begun += 1
        if begun == options.clients:
            all_begun.set()
        body = begin + await reader.read()
        while not reader.at_eof():
            body += await reader.read()
        writer.close()
        return at, body == first + rest

    for path, expected in [("/cold", 1), ("/breaks", 2)]:
        origin.requests, begun = 0, 0
        all_begun.clear()
        go = asyncio.Event()
        clients = [asyncio.create_task(client(path, go)) for _ in range(options.clients)]
        await asyncio.sleep(2)  # until all are connected
        go.set()
        done = await asyncio.gather(*clients)
        late = sorted((at - sent[path]) * 1000 for at, _ in done)
        right = sum(right for _, right in done)
        say(
            f"{path}: {options.clients} clients, {origin.requests} fetches (expected {expected}), {right} whole answers; the "
            f"first byte before the rest was sent, after the application's: median {statistics.median(late):.0f} ms, last {late[-1]:.0f} ms"
        )
        assert (origin.requests, right) == (expected, options.clients)
    gateway.stop()


async def identity(options):
    app = subprocess.Popen(
        [options.gateway, "demo", "--api", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    text = ""
    while "uids" not in text:
        line = app.stdout.readline()
        text += line
        if not line:
            sys.exit(text)
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)", text)[1])
    uids = re.search(r"uids: +(\S+) \(user\), (\S+)", text).groups()
    gateway = Gateway(
        options.gateway,
        f'[upstream.app]\nservers = ["127.0.0.1:{port}"]\n'
        '[cache.c]\ndefault_ttl = "30s"\nstale_while_revalidate = "60s"\n'
        f'disk = {{ path = "{tempfile.mkdtemp()}/disk", size = "64MB" }}\n'
        'bypass = ["header:firebase-uid", "query:firebase_uid", "header:authorization", "cookie:*"]\n'
        '[[route]]\nname = "api"\npath = ["/api/*", "/s/*"]\nupstream = "app"\ncache = "c"\n',
    )
    personal = ["/api/favorites", "/api/notifications", "/api/subscriptions/status"]

    async def ask(reader, writer, path, fields=""):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n".encode())
        return await answer(reader)

    async def clicks():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        _, _, body = await ask(reader, writer, "/api/shortener")
        return next(link["clicks"] for link in json.loads(body)["data"] if link["short_code"] == "d001")

    own = {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for uid in uids:
        for path in personal:
            status, _, own[uid, path] = await ask(reader, writer, path, f"firebase-uid: {uid}\r\n")
            assert status == 200, (path, status)
    assert own[uids[0], personal[0]] != own[uids[1], personal[0]]
    before = await clicks()
    counts = {"hit": 0, "wrong": 0, "followed": 0, "refused": 0}
    each = options.requests // options.connections

    async def client(side):
        dice = random.Random(side)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        for turn in range(each):
            uid, path, kind = uids[(side + turn) % 2], dice.choice(personal), turn % 5
            if kind == 0:
                _, _, body = await ask(reader, writer, path, f"firebase-uid: {uid}\r\n")
                counts["wrong"] += body != own[uid, path]
            elif kind == 1:
                _, _, body = await ask(reader, writer, f"{path}?firebase_uid={uid}")
                counts["wrong"] += body != own[uid, path]
            elif kind == 2:
                status, fields, _ = await ask(reader, writer, f"/api/deals?limit={dice.randint(1, 20)}")
                counts["hit"] += "; hit" in fields.get("cache-status", "")
                assert status == 200, status
            elif kind == 3:
                status, _, _ = await ask(reader, writer, "/s/d001")
                assert status == 302, status
                counts["followed"] += 1
            else:
                status, _, _ = await ask(reader, writer, path)
                counts["wrong"] += status != 401
                counts["refused"] += status == 401
        writer.close()

    begun = time.monotonic()
    await asyncio.gather(*(client(side) for side in range(options.connections)))
    took = time.monotonic() - begun
    counted = await clicks() - before
    say(
        f"{each * options.connections} requests of two users and of nobody in {took:.0f} s: {counts['wrong']} answers of "
        f"somebody else; {counts['hit']} hits, {counts['refused']} refused without a name; "
        f"{counts['followed']} links followed, {counted} counted by the application"
    )
    app.kill()
    gateway.stop()
    assert counts["wrong"] == 0 and counts["followed"] == counted and counts["hit"] > 0


def body_of(path):
    dice = random.Random(path)
    return hashlib.sha256(path.encode()).digest() * dice.choice([1, 32, 300, 3000, 50_000 if dice.random() < 0.05 else 64])


async def truthful(path, writer):
    body = body_of(path)
    writer.write(f"HTTP/1.1 200 OK\r\nCache-Control: max-age=6000\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    return True


async def crash(options):
    origin = await Origin(truthful).start()
    disk = tempfile.mkdtemp() + "/disk"
    gateway = Gateway(options.gateway, cached(origin.port, f'disk = {{ path = "{disk}", size = "2GB" }}'))
    dice = random.Random(7)
    asked = warm = checked = damaged = 0
    paths = []

    async def get(path):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n".encode())
        try:
            return await answer(reader)
        finally:
            writer.close()

    for round in range(options.rounds):
        for path in dice.sample(paths, min(len(paths), 300)):
            status, fields, body = await get(path)
            assert body == body_of(path), f"round {round}: {path} is not what the application said"
            asked += 1
            warm += "; hit" in fields["cache-status"]
        new = [f"/{round}/{number}" for number in range(400)]

        async def fill(side):
            for path in new[side::8]:
                try:
                    _, _, body = await get(path)
                    assert body == body_of(path), path
                except (OSError, asyncio.IncompleteReadError):
                    return

        clients = [asyncio.create_task(fill(side)) for side in range(8)]
        await asyncio.sleep(dice.uniform(0.05, 0.6))
        gateway.kill()
        await asyncio.gather(*clients)
        paths += new
        if options.damage:
            for folder, _, files in os.walk(disk + "/entries"):
                for file in dice.sample(files, len(files) // 20):
                    with open(os.path.join(folder, file), "r+b") as damaged_file:
                        at = dice.randrange(os.fstat(damaged_file.fileno()).st_size)
                        damaged_file.seek(at)
                        byte = damaged_file.read(1)[0]
                        damaged_file.seek(at)
                        damaged_file.write(bytes([byte ^ 1 << dice.randrange(8)]))
                        damaged += 1
        gateway.start()
        checked += 1
    say(
        f"killed {checked} times while filling: {asked} answers asked for afterwards, {warm} from the cache, none wrong"
        + (f"; {damaged} files damaged on purpose" if damaged else "")
    )
    gateway.stop()
    assert warm > 0


async def memory(options):
    body = b"x" * 1024

    async def respond(_, writer):
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=6000\r\nETag: \"abcdef\"\r\n"
            b"Content-Length: 1024\r\n\r\n" + body
        )
        return True

    origin = await Origin(respond).start()
    for name, lines in [
        ("memory", 'size = "4GB"'),
        ("disk", f'size = "40MB"\nmax_object = "1MB"\ndisk = {{ path = "{tempfile.mkdtemp()}/disk", size = "4GB" }}'),
    ]:
        gateway = Gateway(options.gateway, cached(origin.port, lines))

        async def fill(side, count):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            for number in range(side, count, 16):
                # Twice where memory is full: what is asked for once is not kept then.
                for _ in range(1 if name == "memory" else 2):
                    writer.write(f"GET /some/page/number-{number} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
                    await answer(reader)
            writer.close()

        await asyncio.gather(*(fill(side, 1000) for side in range(16)))
        before, first = gateway.memory(), 1000
        await asyncio.gather(*(fill(side, options.entries) for side in range(16)))
        if name == "memory":
            kept = gateway.metric('gateway_cache_entries{')
            each = (gateway.memory() - before) / (kept - first)
            told = gateway.metric('gateway_cache_bytes{') / kept
            say(f"memory: {kept:.0f} answers of 1 KiB, {each:.0f} bytes of memory for each; counted as {told:.0f}")
        else:
            while gateway.metric("gateway_cache_tier_entries") < options.entries * 0.9:
                await asyncio.sleep(0.5)
            kept = gateway.metric("gateway_cache_tier_entries")
            gateway.kill()
            gateway.start()
            empty = Gateway(options.gateway, cached(origin.port, 'size = "40MB"\nmax_object = "1MB"'))
            begun = time.monotonic()
            while gateway.metric("gateway_cache_tier_entries") < kept:
                await asyncio.sleep(0.05)
            took = time.monotonic() - begun
            each = (gateway.memory() - empty.memory()) / kept
            say(f"disk: {kept:.0f} answers, {each:.0f} bytes of memory for each; the index was there after {took:.1f} s")
            empty.stop()
        gateway.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["stampede", "identity", "crash", "memory"])
    parser.add_argument("--gateway", default="target/release/gateway")
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--damage", action="store_true", help="change files at random after each kill")
    parser.add_argument("--entries", type=int, default=200_000)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(globals()[options.what](options))


if __name__ == "__main__":
    main()
