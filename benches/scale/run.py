#!/usr/bin/env python3
"""What a request costs as the file grows: instructions a request, for more and more routes, servers and limiter keys.

    benches/scale/run.py --gateway target/release/gateway

Needs valgrind (apt). The gateway starts under callgrind, which counts nothing until everything is warm: the start, however long
the file, is no part of the figure. Requests go through the whole file in turn. A line that stays flat is what is wanted.
"""

import argparse
import contextlib
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time

HERE = "127.0.0.1"
# Requests that are counted, and those before them under the same conditions: callgrind looks at code anew once it counts.
COUNTED, FIRST = 2_000, 100
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"


def free_port():
    with socket.socket() as one:
        one.bind((HERE, 0))
        return one.getsockname()[1]


def origin():
    """A server that answers on every address of the loopback, as many servers as one likes; its port."""
    listener = socket.create_server(("0.0.0.0", 0), backlog=1024)

    def serve(one):
        data = b""
        with contextlib.suppress(ConnectionError):  # the gateway has ended
            while part := one.recv(65536):
                data += part
                while (end := data.find(b"\r\n\r\n")) >= 0:
                    data = data[end + 4 :]
                    one.sendall(ANSWER)

    def accept():
        while True:
            one, _ = listener.accept()
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(one,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def routes(size):
    """Fixed answers, each under a host and a prefix of its own."""
    each = (
        f'[[route]]\nname = "r{n}"\nhost = "h{n % 100}.example"\npath = "/r{n}/*"\nrespond = {{ status = 200, body = "x" }}\n'
        for n in range(size)
    )
    return "".join(each), lambda n: (f"h{n % size % 100}.example", f"/r{n % size}/a", "")


def servers(size):
    """One upstream, the default strategy."""
    port = origin()
    listed = ", ".join(f'"127.1.{n // 250}.{n % 250 + 1}:{port}"' for n in range(size))
    text = f'[upstream.app]\nservers = [{listed}]\n[[route]]\nname = "all"\npath = "/*"\nupstream = "app"\n'
    return text, lambda n: ("a", "/", "")


def keys(size):
    """A rate limit by a header field that says something else each time."""
    text = (
        '[rate_limit.each]\nrate = "1000000/s"\nkey = "header:X-Key"\n'
        '[[route]]\nname = "all"\npath = "/*"\nrate_limit = ["each"]\nrespond = { status = 200, body = "x" }\n'
    )
    return text, lambda n: ("a", "/", f"X-Key: {n % size}\r\n")


CURVES = {
    "routes": (routes, [10, 100, 1_000, 10_000]),
    "servers": (servers, [1, 10, 100, 1_000]),
    "keys": (keys, [100, 1_000, 10_000, 100_000]),
}


class Client:
    """One connection, one request after the other."""

    def __init__(self, port, request):
        self.connection = socket.create_connection((HERE, port), 1)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.settimeout(60)
        self.request, self.number = request, 0

    def ask(self, requests):
        for _ in range(requests):
            host, path, fields = self.request(self.number)
            self.number += 1
            self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode())
            data = b""
            while not data.endswith(b"\r\n\r\nx"):
                part = self.connection.recv(65536)
                if not part:
                    raise SystemExit(f"cut after {data!r}")
                data += part
            if not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{path}: {data!r}")


def connect(port, request, process):
    end = time.monotonic() + 300
    while True:
        try:
            return Client(port, request)
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("the gateway does not start under valgrind")
            time.sleep(0.2)


def instructions(gateway, directory, text, request, warm):
    """What the gateway executes for a request, after so many that are not counted."""
    port = free_port()
    file, out = directory / "gateway.toml", directory / "callgrind.out"
    file.write_text(
        f'[server]\nlisten = ["{HERE}:{port}"]\nthreads = 1\nkeepalive_requests = 1000000000\n'
        f"[admin]\nlisten = false\n[access_log]\nenabled = false\n{text}"
    )
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    process = subprocess.Popen([*command, gateway, "run", "-c", file], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def control(*what):
        subprocess.run(["callgrind_control", *what, str(process.pid)], capture_output=True, check=True)

    try:
        client = connect(port, request, process)
        client.ask(warm)
        control("-i", "on")
        client.ask(FIRST)
        control("-z")
        client.ask(COUNTED)
        control("-d")
    finally:
        process.kill()
        process.wait()
    dump = out.with_name(f"{out.name}.1").read_text()
    return int(re.search(r"^(?:summary|totals): (\d+)", dump, re.M).group(1)) / COUNTED


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--curves", default=",".join(CURVES))
    parser.add_argument("--largest", type=int, default=100_000)
    args = parser.parse_args()
    print("| what grows | how many | instructions a request |\n|---|---|---|")
    for name in args.curves.split(","):
        make, sizes = CURVES[name]
        for size in (size for size in sizes if size <= args.largest):
            text, request = make(size)
            # What is done once for each (a counter, a bucket, a connection) is done before what is measured begins; servers
            # are met by chance.
            before = size * (5 if name == "servers" else 1)
            with tempfile.TemporaryDirectory() as folder:
                each = instructions(args.gateway, pathlib.Path(folder), text, request, before)
            print(f"| {name} | {size} | {each:.0f} |", flush=True)


if __name__ == "__main__":
    main()
