#!/usr/bin/env python3
"""Load on a gateway before the stand-in application: what it takes, how it gives way, whether it comes back.

    make load                          every kind, some seconds a step
    make load LOAD=soak SECONDS=3600   one kind; a soak that deserves the name

    ramp    more and more clients: where throughput stops growing and waiting begins
    spike   twenty times the clients for a while: whether it comes back at once
    stress  more than the application can do, at fixed rates: what is still answered, how the rest is refused
    soak    half of what it can do, for long: whether memory, descriptors or times grow

The load comes from h2load (Debian's nghttp2-client), which writes a line for each request; tables and pictures are made
of those. Everything runs on this machine and shares its cores: compare runs with each other, not with other machines.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
KINDS = ["ramp", "spike", "stress", "soak"]
TICKS = os.sysconf("SC_CLK_TCK")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Site:
    """The stand-in, which takes the time that the application takes, and the gateway before it: two processes."""

    def __init__(self, binary, directory):
        self.port, self.admin, *api = free_ports(6)
        self.log = directory / "access.log"
        addresses = ",".join(f"127.0.0.1:{port}" for port in api)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": (directory / "stand-in.log").open("w")}
        self.application = subprocess.Popen([binary, "demo", "--latency", "--api", addresses], **quiet)
        environment = {
            **os.environ,
            "GATEWAY_RUN_DIR": str(directory / "run"),
            "LOAD_PORT": str(self.port),
            "LOAD_ADMIN": str(self.admin),
            "LOAD_LOG": str(self.log),
            **{f"LOAD_API_{number}": str(port) for number, port in enumerate(api, 1)},
        }
        quiet["stderr"] = (directory / "gateway.log").open("w")
        self.gateway = subprocess.Popen([binary, "run", "-c", HERE / "gateway.toml"], env=environment, **quiet)
        ask = [binary, "health", "--admin", f"127.0.0.1:{self.admin}"]
        for _ in range(100):
            answer = subprocess.run(ask, capture_output=True, text=True)
            if answer.stdout.startswith("ok; api 4 of 4"):
                return
            time.sleep(0.1)
        self.stop()
        said = "".join((directory / name).read_text() for name in ("stand-in.log", "gateway.log"))
        raise SystemExit(f"the site does not come up: {answer.stdout}{answer.stderr}{said}")

    def stop(self):
        for process in (self.gateway, self.application):
            process.terminate()
        for process in (self.gateway, self.application):
            process.wait(30)

    def usage(self):
        """CPU seconds so far, resident MiB, descriptors."""
        place = pathlib.Path(f"/proc/{self.gateway.pid}")
        fields = place.joinpath("stat").read_text().rsplit(") ", 1)[1].split()
        resident = next(line for line in place.joinpath("status").read_text().splitlines() if line.startswith("VmRSS"))
        cpu = (int(fields[11]) + int(fields[12])) / TICKS
        return cpu, int(resident.split()[1]) / 1024, len(list(place.joinpath("fd").iterdir()))


class Step:
    """What one run of h2load saw: for each request when it began (s since the epoch), status, seconds."""

    def __init__(self, name, requests, seconds, cpu, resident, descriptors):
        self.name, self.requests, self.seconds = name, requests, seconds
        self.cpu, self.resident, self.descriptors = cpu, resident, descriptors

    def good(self):
        return [request for request in self.requests if 200 <= request[1] < 400]

    def percentile(self, share):
        times = sorted(seconds for _, status, seconds in self.requests if 200 <= status < 400)
        return times[min(len(times) - 1, int(len(times) * share))] * 1000 if times else float("nan")

    def row(self):
        refused = sum(status in (429, 503) for _, status, _ in self.requests)
        failed = len(self.requests) - len(self.good()) - refused
        answered = len(self.good())
        return [
            self.name,
            f"{answered / self.seconds:.0f}",
            f"{refused / self.seconds:.0f}",
            str(failed),
            f"{self.percentile(0.5):.1f}",
            f"{self.percentile(0.95):.1f}",
            f"{self.percentile(0.99):.1f}",
            f"{self.cpu / max(1, len(self.requests)) * 1e6:.0f}",
            f"{self.resident:.0f}",
            str(self.descriptors),
        ]


HEAD = ["step", "answered/s", "refused/s", "failed", "p50 ms", "p95 ms", "p99 ms", "CPU µs/request", "MiB", "fds"]


def load(site, directory, name, clients, seconds, rate=None):
    """`rate`: requests in a second by all clients together; without it each asks as soon as it was answered."""
    log = directory / "requests.tsv"
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "-t1", f"-c{clients}", f"-D{seconds}", "-i", HERE / "paths", f"--log-file={log}"]
    command += ["-B", f"http://127.0.0.1:{site.port}"]
    if rate:
        command += [f"--rps={rate / clients:.3f}"]
    before, _, _ = site.usage()
    began = time.time()
    ran = subprocess.run(command, capture_output=True, text=True)
    took = time.time() - began
    cpu, resident, descriptors = site.usage()
    if ran.returncode:
        raise SystemExit(f"h2load: {ran.stderr}{ran.stdout}")
    requests = []
    for line in log.read_text().splitlines():
        start, status, microseconds = line.split("\t")[:3]
        requests.append((int(start) / 1e6, int(status), int(microseconds) / 1e6))
    step = Step(name, requests, took, cpu - before, resident, descriptors)
    print("  " + "  ".join(f"{name} {value}" for name, value in zip(HEAD, step.row())), flush=True)
    return step


def ramp(site, directory, seconds):
    return [load(site, directory, f"{clients} clients", clients, seconds) for clients in (1, 4, 16, 64, 128, 256)]


def spike(site, directory, seconds):
    names = ["before", "spike", "after"]
    return [load(site, directory, name, clients, seconds) for name, clients in zip(names, (10, 200, 10))]


def capacity(site, directory, seconds):
    step = load(site, directory, "what it can do", 48, seconds)
    return len(step.good()) / step.seconds


def stress(site, directory, seconds):
    most = capacity(site, directory, seconds)
    # Each client asks five times a second or so, all of them at the same moment: as many as their share is of what fits
    # into servers and queue.
    return [
        load(site, directory, f"{share:.0%} of it", int(400 * share), seconds, rate=most * share)
        for share in (0.5, 1, 1.5, 2, 3)
    ]


def soak(site, directory, seconds):
    rate = capacity(site, directory, min(seconds, 10)) / 2
    parts = 6
    return [load(site, directory, f"part {part + 1}", 50, max(1, seconds * 2 // parts), rate=rate) for part in range(parts)]


def table(steps):
    rows = [HEAD, ["---"] + ["---:"] * (len(HEAD) - 1)] + [step.row() for step in steps]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def picture(kind, steps, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (rates, times) = pyplot.subplots(2, 1, figsize=(10, 7), sharex=True)
    start = min(request[0] for step in steps for request in step.requests)
    every = max(0.5, sum(step.seconds for step in steps) / 200)
    answered, refused, slow = {}, {}, {}
    for step in steps:
        for began, status, seconds in step.requests:
            bucket = int((began - start) / every)
            if 200 <= status < 400:
                answered[bucket] = answered.get(bucket, 0) + 1
                slow.setdefault(bucket, []).append(seconds * 1000)
            else:
                refused[bucket] = refused.get(bucket, 0) + 1
    buckets = range(max(answered.keys() | refused.keys()) + 1)
    x = [bucket * every for bucket in buckets]
    rates.plot(x, [answered.get(bucket, 0) / every for bucket in buckets], label="answered")
    rates.plot(x, [refused.get(bucket, 0) / every for bucket in buckets], label="refused or failed", color="tab:red")
    rates.set_ylabel("requests/s")
    rates.set_ylim(bottom=0)
    rates.legend(loc="upper left")
    for share, label in ((0.5, "p50"), (0.99, "p99")):
        points = [(bucket * every, sorted(slow[bucket])) for bucket in buckets if bucket in slow]
        values = [times_[min(len(times_) - 1, int(len(times_) * share))] for _, times_ in points]
        times.plot([when for when, _ in points], values, label=label)
    times.set_yscale("log")
    times.set_ylabel("ms")
    times.set_xlabel("s")
    times.legend(loc="upper left")
    for step in steps:
        at = min(request[0] for request in step.requests) - start
        for plot in (rates, times):
            plot.axvline(at, color="grey", linewidth=0.5)
        rates.annotate(step.name, (at, 1), xycoords=("data", "axes fraction"), xytext=(3, 4), textcoords="offset points", fontsize=8)
    rates.set_title(kind, pad=20)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--seconds", type=int, default=5, help="of each step")
    parser.add_argument("--binary", default="target/release/gateway")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/load"))
    options = parser.parse_args()
    kinds = KINDS if "all" in options.kinds else options.kinds
    options.out.mkdir(parents=True, exist_ok=True)
    report = [f"# Load, {time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, {options.seconds} s a step"]
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        for kind in kinds:
            print(kind, flush=True)
            site = Site(options.binary, directory)
            try:
                steps = globals()[kind](site, directory, options.seconds)
            finally:
                site.stop()
            picture(kind, steps, options.out / f"{kind}.png")
            report += [f"## {kind}", table(steps), f"![{kind}]({kind}.png)"]
            failed += sum(int(step.row()[3]) for step in steps)
    text = "\n\n".join(report) + "\n"
    (options.out / "report.md").write_text(text)
    print(f"\n{text}\n{options.out}/report.md and the pictures beside it; docs/runbooks/load-test.md says how to read them")
    if failed:
        print(f"{failed} requests failed that were neither answered nor refused in order", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
