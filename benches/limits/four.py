#!/usr/bin/env python3
"""Four gateways, one Redis, one key of 1000/s: what they admit together in every window, and how often Redis is asked.

    benches/limits/four.py [--gateway PATH] [--redis PATH] [--seconds 10]

Needs redis-server, or another server that speaks the same. Everything runs on loopback and stops by itself.

"depth" is the least burst B for which in every window of w seconds no more than B + 1000·w were admitted for certain, that is,
sent after it began and answered before it ended; "bound" is what docs/shared-limits.md promises. Redis calls are all that the
gateways make, heartbeats and news of bans too.
"""

import argparse
import multiprocessing
import random
import shutil
import socket
import statistics
import time
from pathlib import Path

from compare import ROOT, Redis, Stack, free_port, wait_for

RATE = 1000
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def gateway(stack, binary, redis, keys):
    port, folder = free_port(), stack.folder()
    (folder / "gateway.toml").write_text(f"""[server]
listen = ["127.0.0.1:{port}"]
threads = 1
keepalive_requests = 1000000000
[admin]
listen = false
[access_log]
enabled = false
[redis]
url = "redis://127.0.0.1:{redis.port}"
timeout = "200ms"
[rate_limit.key]
key = "route"
rate = "{RATE}/s"
burst = {RATE - 1}
headers = "none"
{keys}
[[route]]
name = "all"
path = "/*"
rate_limit = ["key"]
respond = {{ body = "ok" }}
""")
    wait_for(port, stack.start(0, [binary, "run", "-c", folder / "gateway.toml"]))
    return port


def send(port, rate, begin, seconds, results):
    """Asks so often, at moments that have nothing to do with each other; when each was sent and answered, and how."""
    done = []
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due = begin
        while due < begin + seconds:
            time.sleep(max(0, due - time.monotonic()))
            due += random.expovariate(rate)
            sent = time.monotonic()
            s.sendall(ASK)
            answer = s.recv(65536)  # head and body are one write, well below a segment of loopback
            done.append((sent, time.monotonic(), int(answer[9:12])))
    results.put(done)


def depth(passed):
    """Windows begin where a request was sent and end where one was answered. From the last beginning to the first: a request
    makes a window that ends with its answer, and adds one to every window that ends then or later. A tree of maxima."""
    NOT_YET = 2.0**40
    order = sorted(range(len(passed)), key=lambda request: passed[request][1])
    place_of = {request: place for place, request in enumerate(order)}
    size = 1
    while size < len(passed):
        size *= 2
    tree, add = [-NOT_YET] * (2 * size), [0.0] * (2 * size)
    for place, request in enumerate(order):
        tree[size + place] = -RATE * passed[request][1] - NOT_YET
    for node in range(size - 1, 0, -1):
        tree[node] = max(tree[2 * node], tree[2 * node + 1])

    def raise_all(first, last, by):
        low, high = first + size, last + size
        while low < high:
            for node in ([low] if low & 1 else []) + ([high - 1] if high & 1 else []):
                tree[node] += by
                add[node] += by
            low, high = (low + 1) // 2, high // 2
        for node in (first + size, last + size - 1):
            node //= 2
            while node:
                tree[node] = max(tree[2 * node], tree[2 * node + 1]) + add[node]
                node //= 2

    deepest = 0.0
    for request in sorted(range(len(passed)), key=lambda request: -passed[request][0]):
        place = place_of[request]
        raise_all(place, place + 1, NOT_YET)
        raise_all(place, size, 1)
        deepest = max(deepest, tree[1] + RATE * passed[request][0])
    return deepest


def run(o, keys, load):
    with Stack() as stack:
        redis = Redis(stack, o.redis)
        ports = [gateway(stack, o.gateway, redis, keys) for _ in range(4)]
        time.sleep(2.5)  # until each knows of the others
        results, begin, calls = multiprocessing.Queue(), time.monotonic() + 0.2, redis.operations()
        senders = [
            multiprocessing.Process(target=send, args=(port, load * RATE / 4, begin, o.seconds, results)) for port in ports
        ]
        for sender in senders:
            sender.start()
        done = [request for _ in senders for request in results.get()]
        for sender in senders:
            sender.join()
        calls = redis.operations() - calls
    odd = [status for _, _, status in done if status not in (200, 429)]
    if odd:
        raise SystemExit(f"neither admitted nor refused: {odd[:5]}")
    return done, calls


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default=str(ROOT / "target/release/gateway"))
    parser.add_argument("--redis", default=shutil.which("redis-server"))
    parser.add_argument("--seconds", type=int, default=10)
    o = parser.parse_args()
    for name in ("gateway", "redis"):
        if not getattr(o, name) or not Path(getattr(o, name)).exists():
            raise SystemExit(f"there is no {name}: give --{name} PATH")
    begin = time.monotonic()
    moments = [(begin + 1, begin + 1), (begin, begin), (begin, begin), (begin + 0.001, begin + 1.5)]
    assert round(depth(moments), 3) == 2, depth(moments)

    print("| limit | asked, times 1000/s | requests | admitted | depth | bound | Redis calls per request | p99, ms |")
    print("|---|---|---|---|---|---|---|---|")
    broken = False
    for keys, load, bound in (
        ("", 0.95, 1100),
        ("", 3, 1100),
        ("strict = true", 3, 1000),
        ("exact = true", 3, 1000),
    ):
        done, calls = run(o, keys, load)
        passed = [(sent, there) for sent, there, status in done if status == 200]
        deep = depth(passed)
        broken |= deep > bound
        p99 = statistics.quantiles((there - sent for sent, there, _ in done), n=100)[98] * 1e3
        row = (keys or "leased", load, len(done), len(passed), f"{deep:.0f}", bound, f"{calls / len(done):.3f}", f"{p99:.1f}")
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    if broken:
        raise SystemExit("more was admitted than is promised")


if __name__ == "__main__":
    main()
