#!/usr/bin/env python3
"""Ten million clients who ask once, over people who go on with what they do: memory, and whom it harms.

    benches/limits/flood.py [--gateway PATH] [--clients 10000000]

Needs wrk. Everything runs on loopback and stops by itself; some minutes. Clients are told apart by `X-Forwarded-For`, which
the gateway believes of loopback. Half of the flood comes from IPv6 /64s of a hundred /48s, a quarter from every address of
IPv4 /24s, a quarter from IPv4 addresses anywhere. People were there before it, each asking at half of what the limit admits;
strangers come while it lasts, once each, from networks that take no part in it.
"""

import argparse
import multiprocessing
import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from compare import ROOT, Stack, free_port, wait_for

RATE, BURST, PEOPLE = 10, 10, 60
# Requests that are sent together: the flood should be limited by the gateway, not by wrk.
TOGETHER = 8

SCRIPT = """
local n = tonumber(os.getenv("FLOOD_FROM"))
local function address(i)
  local kind = i % 4
  if kind < 2 then
    local k = math.floor(i / 4) * 2 + kind
    return string.format("2001:db8:%x:%x::1", k % 100, math.floor(k / 100))
  elseif kind == 2 then
    local k = math.floor(i / 4)
    return string.format("10.%d.%d.%d", math.floor(k / 65536) % 256, math.floor(k / 256) % 256, k % 256)
  else
    local k = (math.floor(i / 4) * 2654435761) % 4194304
    return string.format("%d.%d.%d.%d", 64 + math.floor(k / 65536), math.floor(k / 256) % 256, k % 256, math.floor(i / 16777216) * 7 % 256)
  end
end
function request()
  local all = {}
  for j = 1, TOGETHER do
    all[j] = "GET / HTTP/1.1\\r\\nHost: a\\r\\nX-Forwarded-For: " .. address(n) .. "\\r\\n\\r\\n"
    n = n + 1
  end
  return table.concat(all)
end
"""


def start(stack, binary):
    port, folder = free_port(), stack.folder()
    (folder / "gateway.toml").write_text(f"""[server]
listen = ["127.0.0.1:{port}"]
threads = 1
keepalive_requests = 1000000000
trusted_proxies = ["127.0.0.1"]
[admin]
listen = false
[access_log]
enabled = false
[rate_limit.api]
rate = "{RATE}/s"
burst = {BURST}
[[route]]
name = "all"
path = "/*"
rate_limit = ["api"]
respond = {{ body = "ok" }}
""")
    process = stack.start(0, [binary, "run", "-c", folder / "gateway.toml"])
    wait_for(port, process)
    return port, process.pid


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def people(port, stop, flooded, results):
    """Those who were there before, then strangers in between; how many of each were refused."""
    known = [f"198.51.{n // 200}.{n % 200}" for n in range(PEOPLE // 2)]
    known += [f"2001:db9:{n:x}::1" for n in range(PEOPLE - len(known))]
    asked, refused, turn = {"people": 0, "strangers": 0}, {"people": 0, "strangers": 0}, 0
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask(who, address):
            s.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n".encode())
            status = int(s.recv(65536)[9:12])
            asked[who] += 1
            refused[who] += status == 429

        due = time.monotonic()
        while not stop.is_set():
            due = max(due + 2 / RATE / PEOPLE, time.monotonic() - 0.5)
            time.sleep(max(0, due - time.monotonic()))
            ask("people", known[turn % PEOPLE])
            if flooded.is_set() and turn % 10 == 0:
                ask("strangers", f"203.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(1, 255)}")
            turn += 1
    results.put((asked, refused))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default=str(ROOT / "target/release/gateway"))
    parser.add_argument("--clients", type=int, default=10_000_000)
    o = parser.parse_args()
    if not shutil.which("wrk") or not Path(o.gateway).exists():
        raise SystemExit("needs wrk, and the gateway: give --gateway PATH")
    with Stack() as stack:
        port, pid = start(stack, o.gateway)
        script = stack.folder() / "flood.lua"
        script.write_text(SCRIPT.replace("TOGETHER", str(TOGETHER)))
        before = most = resident(pid)
        stop, flooded, results = multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Queue()
        crowd = multiprocessing.Process(target=people, args=(port, stop, flooded, results))
        crowd.start()
        time.sleep(5)
        flooded.set()
        answered = refused = started = 0
        began = time.monotonic()
        while answered < o.clients:
            flood = subprocess.Popen(
                ["taskset", "-c", "1", "wrk", "-t1", "-c32", "-d10s", "-s", script, f"http://127.0.0.1:{port}/"],
                env={"FLOOD_FROM": str(started), "PATH": "/usr/bin:/bin"},
                stdout=subprocess.PIPE,
                text=True,
            )
            while flood.poll() is None:
                most = max(most, resident(pid))
                time.sleep(0.5)
            text = flood.stdout.read()
            requests = int(re.search(r"(\d+) requests in", text)[1])
            answered += requests
            started += requests + 32 * TOGETHER  # what was sent and not answered in time
            found = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
            refused += int(found[1]) if found else 0
            print(f"{answered} clients, {most:.0f} MiB", flush=True)
        took = time.monotonic() - began
        stop.set()
        asked, harmed = results.get()
        crowd.join()
    print(f"\n{answered} clients asked once each, in {took:.0f} s; {100 * refused / answered:.0f} % of them were refused")
    print(f"memory: {before:.0f} MiB before, {most:.0f} MiB at most")
    for who, count in asked.items():
        print(f"{who}: {count} requests, {harmed[who]} refused")
    if harmed["people"]:
        raise SystemExit("people were harmed")


if __name__ == "__main__":
    main()
