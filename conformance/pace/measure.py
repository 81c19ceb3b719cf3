"""How things are measured: load by wrk, two sides second by second, a process's CPU and memory. Standard library only."""
import json
import os
import re
import statistics
import subprocess
import time

from serving import expect

HERE = os.path.dirname(os.path.abspath(__file__))


class Load:
    """What one run of wrk saw."""

    def __init__(self, told):
        self.requests, self.seconds = told["requests"], told["microseconds"] / 1e6
        self.bytes, self.p50, self.p99 = told["bytes"], told["p50"], told["p99"]
        self.wrong = {name: told[name] for name in ("connect", "read", "write", "status", "timeout") if told[name]}

    @property
    def rate(self):
        return self.requests / self.seconds


class Target:
    """Requests that wrk sends in turn to one address."""

    def __init__(self, work, name, address, requests):
        """`requests`: (method, path, headers, name of the body's file or None)."""
        self.name, self.address, self.file = name, address, os.path.join(work, f"requests-{name}")
        with open(self.file, "w") as file:
            for method, path, headers, body in requests:
                file.write(f"{method} {path}{' ' + body if body else ''}\n")
                file.writelines(f"{key}: {value}\n" for key, value in headers.items())
                file.write("\n")

    def begun(self, connections, seconds):
        """wrk with one thread, which ends after so long, or at an interrupt."""
        return subprocess.Popen(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s",
             "-s", os.path.join(HERE, "rotate.lua"), self.address, "--", self.file],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def load(self, connections, seconds):
        """A run of wrk. Any answer that is an error, and any lost connection, fails."""
        return self.ended(self.begun(connections, seconds), seconds + 60)

    def ended(self, process, seconds=60):
        """What a run came to that ends within so long, or else is stopped."""
        try:
            out, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        lines = [line for line in out.splitlines() if line.startswith('{"requests"')]
        expect(process.returncode == 0 and lines, f"wrk on {self.name}: {out[-500:]} {errors[-500:]}")
        load = Load(json.loads(lines[0]))
        expect(load.requests > 0, f"wrk on {self.name}: no answer at all")
        expect(not load.wrong, f"wrk on {self.name}: {load.wrong} of {load.requests}")
        return load


class Process:
    """CPU and memory of a running process, its threads and children that it has not yet waited for left out."""

    def __init__(self, pid):
        self.pid = pid

    def cpu(self):
        """Seconds of user and system time of all its threads, those that ended included."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return (int(fields[11]) + int(fields[12])) / ticks

    def resident(self, what="VmRSS"):
        """Bytes of resident memory."""
        with open(f"/proc/{self.pid}/status") as file:
            return int(re.search(rf"^{what}:\s+(\d+) kB", file.read(), re.M).group(1)) * 1024


def alternating(pairs, *sides):
    """Runs each side in turn, `pairs` times; the results by side. The order turns round each time."""
    results = [[] for _ in sides]
    for pair in range(pairs):
        order = list(enumerate(sides))
        for number, side in order if pair % 2 == 0 else reversed(order):
            results[number].append(side())
    return results


def paired(ours, theirs):
    """The median of the ratios of results that were measured side by side."""
    return statistics.median(one / other for one, other in zip(ours, theirs))


def sampled(seconds, every, probe):
    """The largest of what `probe` says until `seconds` are over."""
    most, end = probe(), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(every)
        most = max(most, probe())
    return most


def percentile(values, hundredths):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * hundredths // 100)]


def quantity(value):
    """A figure in few digits."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"
