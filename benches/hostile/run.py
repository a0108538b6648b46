#!/usr/bin/env python3
"""Clients that are stuck, and floods of HTTP/2, while a well-behaved client goes on. What does it cost, who is cut, when?

    benches/hostile/run.py target/release/gateway               # everything, about three minutes
    benches/hostile/run.py target/release/gateway stuck floods  # parts of it: alone, stuck, floods

alone   each kind of stuck client once, on an idle gateway: it is cut at its own limit
stuck   a thousand of each kind at once; the well-behaved client asks over connections of its own all the while
floods  each flood from four connections for some seconds; requests that were taken back and reached the application,
        growth of the gateway's memory, the others' 99th percentile

Needs Python 3.9 and openssl. Exit status 1 where a bound is missed. Everything is on loopback, attackers on
the same cores as the gateway: times are those of a machine that is busy with its attackers.
"""

import asyncio
import multiprocessing
import os
import pathlib
import resource
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

HERE = "127.0.0.1"
HEADER, BODY, WRITE, IDLE, SHAKE = 3, 4, 5, 6, 2  # seconds; each kind of stuck client meets another one
THOUSAND = int(os.environ.get("STUCK", "1000"))
FLOOD_TIME = float(os.environ.get("FLOOD_TIME", "5"))
LARGE = 4 * 1024 * 1024

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def free_port():
    with socket.socket() as one:
        one.bind((HERE, 0))
        return one.getsockname()[1]


# The application: counts what reaches it, and can hold a request or answer at length.
def application(port, counter):
    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1]
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if length:
                    await reader.readexactly(int(length[0].split(b":")[1]))
                if path != b"/good":
                    with counter.get_lock():
                        counter.value += 1
                if path == b"/hold":
                    await asyncio.sleep(600)
                body = b"x" * LARGE if path == b"/large" else b"hello"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run():
        server = await asyncio.start_server(serve, HERE, port, backlog=4096)
        async with server:
            await server.serve_forever()

    lift()
    asyncio.run(run())


def lift():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Gateway:
    def __init__(self, binary, directory):
        self.clear, self.tls, self.app, self.good = free_port(), free_port(), free_port(), free_port()
        self.counter = multiprocessing.Value("i", 0)
        # The well-behaved client has an application of its own: the other one is busy with what attackers ask for.
        self.applications = [
            multiprocessing.Process(target=application, args=(port, self.counter), daemon=True)
            for port in (self.app, self.good)
        ]
        for one in self.applications:
            one.start()
        cert, key = directory / "cert.pem", directory / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
             "-subj", "/CN=site.test", "-addext", "subjectAltName=DNS:site.test", "-keyout", key, "-out", cert],
            check=True, capture_output=True,
        )
        file = directory / "gateway.toml"
        file.write_text(
            f"""
[server]
listen = ["{HERE}:{self.clear}"]
header_timeout = "{HEADER}s"
body_timeout = "{BODY}s"
write_timeout = "{WRITE}s"
keepalive_timeout = "{IDLE}s"
keepalive_requests = 1000000
[tls]
listen = ["{HERE}:{self.tls}"]
handshake_timeout = "{SHAKE}s"
[[certificate]]
cert = "cert.pem"
key = "key.pem"
[admin]
listen = false
[access_log]
path = "access.log"
[upstream.app]
servers = ["{HERE}:{self.app}"]
[upstream.good]
servers = ["{HERE}:{self.good}"]
[[route]]
name = "good"
path = "/good"
upstream = "good"
[[route]]
name = "app"
path = "/*"
upstream = "app"
"""
        )
        self.process = subprocess.Popen([binary, "run", "-c", file], stdout=subprocess.DEVNULL,
                                        stderr=open(directory / "gateway.err", "w"))
        self.wait(self.clear)
        self.wait(self.app)
        self.wait(self.good)

    @staticmethod
    def wait(port):
        end = time.monotonic() + 20
        while True:
            try:
                return socket.create_connection((HERE, port), 0.5).close()
            except OSError:
                if time.monotonic() > end:
                    raise SystemExit(f"nobody listens on {port}")
                time.sleep(0.05)

    def status(self, what):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith(what):
                return int(line.split()[1]) / 1024
        return 0.0

    def rest(self):
        """Memory now; the peak counts from here."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.status("VmRSS:")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        for one in self.applications:
            one.terminate()


# The well-behaved client: a process of its own, a request each 5 ms over connections that stay, over TLS and in clear text.
def good(clear, tls, stop, results):
    lift()
    context = insecure(["http/1.1"])
    request = b"GET /good HTTP/1.1\r\nHost: site.test\r\n\r\n"
    times, failures = [], 0
    links = {}
    turn = 0
    while not stop.is_set():
        turn += 1
        port = (clear, tls)[turn % 2]
        begun = time.perf_counter()
        try:
            if port not in links:
                link = socket.create_connection((HERE, port), 5)
                link.settimeout(5)
                links[port] = context.wrap_socket(link, server_hostname="site.test") if port == tls else link
            link = links[port]
            link.sendall(request)
            answer = b""
            while not answer.endswith(b"hello"):
                part = link.recv(4096)
                if not part:
                    raise ConnectionError("closed")
                answer += part
            if b" 200 " not in answer[:20]:
                failures += 1
            # Every hundredth connection is a new one: newcomers must be served too.
            if turn % 100 in (0, 1):
                links.pop(port).close()
        except (OSError, ssl.SSLError):
            failures += 1
            links.pop(port, None)
        times.append(time.perf_counter() - begun)
        time.sleep(max(0.0, 0.005 - (time.perf_counter() - begun)))
    times.sort()
    pick = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1000 if times else float("nan")
    results.put((len(times), failures, pick(0.5), pick(0.99), pick(1.0)))


class Good:
    def __init__(self, gateway):
        self.stop, self.results = multiprocessing.Event(), multiprocessing.Queue()
        args = (gateway.clear, gateway.tls, self.stop, self.results)
        self.process = multiprocessing.Process(target=good, args=args, daemon=True)
        self.process.start()

    def done(self):
        self.stop.set()
        result = self.results.get(timeout=30)
        self.process.join()
        return result


def insecure(protocols):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    return context


# Stuck clients: each ends when the gateway closes, and says after how long.
HEAD = b"GET / HTTP/1.1\r\nHost: site.test\r\n"


async def until_closed(reader):
    try:
        while await reader.read(65536):
            pass
    except (ConnectionError, ssl.SSLError, OSError):
        pass


async def drip(reader, writer, first, byte, each=0.25):
    writer.write(first)

    async def go_on():
        try:
            while True:
                await asyncio.sleep(each)
                writer.write(byte)
                await writer.drain()
        except (ConnectionError, OSError, RuntimeError):
            pass

    dripping = asyncio.ensure_future(go_on())
    await until_closed(reader)
    dripping.cancel()


async def silent(gateway):
    reader, _ = await asyncio.open_connection(HERE, gateway.clear)
    await until_closed(reader)


async def header_drip(gateway):
    await drip(*await asyncio.open_connection(HERE, gateway.clear), HEAD + b"X: ", b"y")


async def body_stop(gateway):
    reader, writer = await asyncio.open_connection(HERE, gateway.clear)
    writer.write(b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 100000\r\n\r\nhello")
    await until_closed(reader)


async def body_drip(gateway):
    head = b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 100000\r\n\r\n"
    await drip(*await asyncio.open_connection(HERE, gateway.clear), head, b"y")


async def read_stall(gateway):
    loop = asyncio.get_running_loop()
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.setblocking(False)
    await loop.sock_connect(link, (HERE, gateway.clear))
    await loop.sock_sendall(link, b"GET /large HTTP/1.1\r\nHost: site.test\r\n\r\n")
    # Reading would be taking, and the end of the connection stands behind what is not taken: whether the gateway still
    # has it is asked of the kernel.
    ours = link.getsockname()[1]
    while ours in HELD.now(gateway.clear):
        await asyncio.sleep(0.2)
    link.close()


class Held:
    """The ports of clients whose connection the gateway's process still has: those of others have no inode."""

    def __init__(self):
        self.at, self.ports = 0.0, set()

    def now(self, port):
        if time.monotonic() - self.at > 0.2:
            self.ports = set()
            for line in open("/proc/net/tcp").readlines()[1:]:
                fields = line.split()
                if int(fields[1].split(":")[1], 16) == port and fields[9] != "0":
                    self.ports.add(int(fields[2].split(":")[1], 16))
            self.at = time.monotonic()
        return self.ports


HELD = Held()


async def idle(gateway):
    reader, writer = await asyncio.open_connection(HERE, gateway.clear)
    writer.write(HEAD + b"\r\n")
    await until_closed(reader)


async def silent_tls(gateway):
    reader, _ = await asyncio.open_connection(HERE, gateway.tls)
    await until_closed(reader)


def half_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        insecure(["h2"]).wrap_bio(incoming, outgoing, server_hostname="site.test").do_handshake()
    except ssl.SSLWantReadError:
        pass
    whole = outgoing.read()
    return whole[: len(whole) // 2]


async def half_tls(gateway):
    reader, writer = await asyncio.open_connection(HERE, gateway.tls)
    writer.write(HALF_HELLO)
    await until_closed(reader)


async def tls_drip(gateway):
    await drip(*await asyncio.open_connection(HERE, gateway.tls), HALF_HELLO, b"y")


async def over_h2(gateway, bytes_):
    reader, writer = await asyncio.open_connection(HERE, gateway.tls, ssl=CONTEXT, server_hostname="site.test",
                                                   ssl_handshake_timeout=60)
    begun = time.monotonic()
    writer.write(bytes_)
    await until_closed(reader)
    return begun


async def half_preface(gateway):
    return await over_h2(gateway, PREFACE[:10])


async def half_block(gateway):
    return await over_h2(gateway, PREFACE + frame(4, 0, 0) + frame(1, 1, 1, block("/")))


async def idle_h2(gateway):
    return await over_h2(gateway, PREFACE + frame(4, 0, 0))


CONTEXT = insecure(["h2"])
HALF_HELLO = half_hello()

STUCK = [
    ("silent", silent, HEADER),
    ("header drip", header_drip, HEADER),
    ("body that stops", body_stop, BODY),
    ("body drip", body_drip, None),  # by the pace that a body must keep: see PACE
    ("read stall", read_stall, WRITE),
    ("idle keep-alive", idle, IDLE),
    ("silent TLS", silent_tls, SHAKE),
    ("half ClientHello", half_tls, SHAKE),
    ("ClientHello drip", tls_drip, SHAKE),
    ("half preface", half_preface, HEADER),
    ("half field block", half_block, HEADER),
    ("idle HTTP/2", idle_h2, IDLE + 2),  # GOAWAY, and two seconds to leave
]
# Nobody may hold on for longer, whatever it does.
LAST = 20


async def timed(kind, gateway, patience):
    begun = time.monotonic()
    try:
        begun = await asyncio.wait_for(kind(gateway), patience) or begun
    except (OSError, ssl.SSLError):
        pass
    except asyncio.TimeoutError:
        return None
    return time.monotonic() - begun


def alone(gateway):
    print("\n## One stuck client of each kind, on an idle gateway\n\n| client | its limit | cut after |\n|---|---|---|")
    failed = 0

    async def all_of_them():
        return await asyncio.gather(*(timed(kind, gateway, 40) for _, kind, _ in STUCK))

    for (name, _, limit), took in zip(STUCK, asyncio.run(all_of_them())):
        good_enough = took is not None and (limit is None or took <= limit + 1.5)
        failed += not good_enough
        shown = "never" if took is None else f"{took:.1f} s"
        print(f"| {name} | {'pace' if limit is None else f'{limit} s'} | {shown}{'' if good_enough else ' **FAILED**'} |")
    return failed


def thousand(gateway):
    print(f"\n## {THOUSAND} of each at once\n")
    before = gateway.rest()
    well = Good(gateway)
    time.sleep(1)

    async def all_of_them():
        tasks = []
        for place in range(THOUSAND):
            for number, (_, kind, _) in enumerate(STUCK):
                tasks.append((number, asyncio.ensure_future(timed(kind, gateway, 60))))
            if place % 10 == 9:
                await asyncio.sleep(0.02)
        await asyncio.wait([task for _, task in tasks])
        return [(number, task.result()) for number, task in tasks]

    took = asyncio.run(all_of_them())
    asked, failures, half, p99, worst = well.done()
    peak = gateway.status("VmHWM:")
    failed = failures > 0
    print("| client | cut | median | latest |\n|---|---|---|---|")
    for number, (name, _, _) in enumerate(STUCK):
        times = sorted(time for which, time in took if which == number and time is not None)
        held = THOUSAND - len(times)
        failed += held > 0
        middle = f"{times[len(times) // 2]:.1f} s | {times[-1]:.1f} s" if times else "- | -"
        print(f"| {name} | {len(times)}{f', {held} held on **FAILED**' if held else ''} | {middle} |")
    print(f"\nThe well-behaved client: {asked} requests, {failures} failed; median {half:.1f} ms, "
          f"p99 {p99:.1f} ms, slowest {worst:.1f} ms. The gateway: {before:.0f} MiB before, {peak:.0f} MiB at most.")
    return failed


# Floods of HTTP/2.
def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(text):
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def block(path, method="GET"):
    return (b"\x82" if method == "GET" else b"\x83") + b"\x87\x41" + literal("site.test") + b"\x44" + literal(path)


def ids(turn):
    return turn * 2 + 1


def headers(turn, path="/", end=True, method="GET"):
    return frame(1, 5 if end else 4, ids(turn), block(path, method))


def bomb(turn):
    """A field of 4,000 bytes is put into the table once, and named a thousand times a request."""
    if turn == 0:
        name = b"\x40" + literal("x") + b"\x7f" + varint(3900 - 127) + b"y" * 3900
        return frame(1, 5, 1, block("/") + name)
    return frame(1, 5, ids(turn), block("/") + b"\xbe" * 10000)


def varint(rest):
    out = bytearray()
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    out.append(rest)
    return bytes(out)


RESET = struct.pack(">I", 8)
FLOODS = [
    # name, what is sent in one turn, whether requests are taken back (few may then reach the application)
    ("rapid reset", lambda t: headers(t, "/hold") + frame(3, 0, ids(t), RESET), True),
    ("MadeYouReset: window of nothing", lambda t: headers(t, "/hold") + frame(8, 0, ids(t), bytes(4)), True),
    ("MadeYouReset: window beyond all", lambda t: headers(t, "/hold") + frame(8, 0, ids(t), b"\x7f\xff\xff\xff"), True),
    ("MadeYouReset: data after the end", lambda t: headers(t, "/hold") + frame(0, 0, ids(t), b"x"), True),
    ("MadeYouReset: head after the end", lambda t: headers(t, "/hold") + frame(1, 5, ids(t), block("/hold")), True),
    ("MadeYouReset: depends on itself",
     lambda t: headers(t, "/hold") + frame(2, 0, ids(t), struct.pack(">IB", ids(t), 1)), True),
    ("MadeYouReset: length of PRIORITY", lambda t: headers(t, "/hold") + frame(2, 0, ids(t), bytes(4)), True),
    ("MadeYouReset: body longer than said",
     lambda t: frame(1, 4, ids(t), block("/hold", "POST") + b"\x5c\x011") + frame(0, 1, ids(t), b"xxxx"), True),
    ("CONTINUATION", lambda t: frame(1, 1, 1, block("/")) if t == 0 else frame(9, 0, 1, b"\x40\x01a\x01b" * 100), False),
    ("empty CONTINUATION", lambda t: frame(1, 1, 1, block("/")) if t == 0 else frame(9, 0, 1), False),
    ("HPACK bomb", bomb, False),
    ("SETTINGS", lambda t: frame(4, 0, 0, struct.pack(">HI", 4, 65535 + t % 2)), False),
    ("PING", lambda t: frame(6, 0, 0, bytes(8)), False),
    ("empty DATA", lambda t: headers(0, "/hold", False, "POST") if t == 0 else frame(0, 0, 1), False),
    ("PRIORITY", lambda t: frame(2, 0, ids(t), struct.pack(">IB", 0, 1)), False),
    ("WINDOW_UPDATE", lambda t: frame(8, 0, 0, struct.pack(">I", 1)), False),
    ("unknown frames", lambda t: frame(0xbe, 0, 0, b"x" * 8), False),
    ("zero window, large answers", lambda t: headers(t, "/large"), False),
    ("held streams", lambda t: headers(t, "/hold"), False),
]


def attacker(port, which, until, results):
    lift()
    _, turn_of, _ = FLOODS[which]
    window = struct.pack(">HI", 4, 0) if "window, large" in FLOODS[which][0] else b""
    connections = sent = 0
    codes = {}
    while time.time() < until:
        connections += 1
        try:
            link = insecure(["h2"]).wrap_socket(socket.create_connection((HERE, port), 5), server_hostname="site.test")
            link.settimeout(2)
            link.sendall(PREFACE + frame(4, 0, 0, window))
            turn = 0
            while time.time() < until:
                # Some at once, so that a write is worth its while.
                link.sendall(b"".join(turn_of(turn + more) for more in range(50)))
                turn += 50
                sent += 50
                link.setblocking(False)
                try:
                    while True:
                        got = link.recv(65536)
                        if not got:
                            raise ConnectionError
                        note(got, codes)
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
                link.settimeout(2)
                if FLOODS[which][0] in ("zero window, large answers", "held streams") and turn >= 200:
                    time.sleep(max(0.0, min(1.0, until - time.time())))
                    turn_of = lambda _: frame(6, 0, 0, bytes(8)) if _ % 50 == 0 else b""
        except (OSError, ssl.SSLError, ConnectionError):
            try:
                link.settimeout(0.5)
                while got := link.recv(65536):
                    note(got, codes)
            except (OSError, ssl.SSLError, UnboundLocalError):
                pass
        turn_of = FLOODS[which][1]
        time.sleep(0.01)
    results.put((connections, sent, codes))


def note(got, codes):
    at = got.find(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00")
    if at >= 0 and len(got) >= at + 17:
        code = struct.unpack(">I", got[at + 13:at + 17])[0]
        codes[code] = codes.get(code, 0) + 1


def floods(gateway):
    print(f"\n## Floods: four connections at a time for {FLOOD_TIME:.0f} s\n")
    print("| flood | sent | connections | GOAWAY codes | reached the application | memory | others: failed, p99, slowest |")
    print("|---|---|---|---|---|---|---|")
    failed = 0
    for which, (name, _, taken_back) in enumerate(FLOODS):
        before = gateway.rest()
        with gateway.counter.get_lock():
            gateway.counter.value = 0
        well = Good(gateway)
        results = multiprocessing.Queue()
        until = time.time() + FLOOD_TIME
        attackers = [multiprocessing.Process(target=attacker, args=(gateway.tls, which, until, results)) for _ in range(4)]
        for one in attackers:
            one.start()
        told = [results.get(timeout=60) for _ in attackers]
        for one in attackers:
            one.join()
        asked, failures, _, p99, worst = well.done()
        grown = gateway.status("VmHWM:") - before
        reached = gateway.counter.value
        connections, sent = sum(one[0] for one in told), sum(one[1] for one in told)
        codes = sorted({code for one in told for code in one[2]})
        # The share of what was taken back that the application has seen.
        bad = grown > 100 or p99 > 100 or failures or (taken_back and reached > max(sent / 20, connections * 300))
        failed += bool(bad)
        print(f"| {name} | {sent} | {connections} | {', '.join(map(str, codes)) or '-'} | {reached} | "
              f"+{grown:.0f} MiB | {failures} of {asked}, {p99:.1f} ms, {worst:.1f} ms{' **FAILED**' if bad else ''} |",
              flush=True)
        time.sleep(0.5)
    return failed


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    lift()
    parts = sys.argv[2:] or ["alone", "stuck", "floods"]
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(sys.argv[1], pathlib.Path(directory))
        try:
            failed = sum({"alone": alone, "stuck": thousand, "floods": floods}[part](gateway) for part in parts)
            print(f"\nThe gateway still runs: {gateway.process.poll() is None}; bounds missed: {failed}")
        finally:
            gateway.stop()
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
