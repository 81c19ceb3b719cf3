"""The rows on large files: one stream, a range, eight at once, the same with TLS on both sides, and what memory it takes."""
import os
import statistics
import subprocess
import time

from serving import expect, sha256

from .measure import alternating, paired, sampled
from .rows import Figure

MIB = 1 << 20
AT_ONCE = 8
# Eight clients on slow lines: so many bytes a second each, for so many seconds.
SLOW, SLOW_FOR = 20 * MIB, 3


def curl(url, *more):
    return ["curl", "--silent", "--show-error", "--insecure", "--output", "/dev/null", "--max-time", "120",
            "--write-out", "%{http_code} %{size_download} %{time_total}", *more, url]


def speed(url, size, *more, status=200):
    """Bytes a second of one curl."""
    done = subprocess.run(curl(url, *more), capture_output=True, text=True, timeout=130)
    expect(done.returncode == 0, f"curl: {done.stderr[-300:]}")
    code, length, seconds = done.stdout.split()
    expect((int(code), int(length)) == (status, size), f"curl got {code} with {length} bytes instead of {size}")
    return size / float(seconds)


def together(url, size):
    """Bytes a second of eight curls at once, all together."""
    begun = time.monotonic()
    running = [subprocess.Popen(curl(url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(AT_ONCE)]
    for one in running:
        out, wrong = one.communicate(timeout=130)
        expect(one.returncode == 0 and out.split()[1] == str(size), f"curl: {out} {wrong[-300:]}")
    return AT_ONCE * size / (time.monotonic() - begun)


def per_second(values):
    return f"{statistics.median(values) / MIB:,.0f} MiB/s"


class Large:
    """Rows on a file of 400 MB (64 MB in a smoke run)."""

    def __init__(self, site, peers, smoke, rounds):
        self.site, self.peers = site, peers
        self.size = 64 * MIB if smoke else 400 * MIB
        self.streams, self.crowds = (1, 1) if smoke else (3 * rounds, rounds)

    def all(self):
        """One stream, a range of it, eight at once, memory; then the same behind TLS."""
        site, nginx = self.site.start(), self.peers.nginx()
        identifier, path, digest = site.big(self.size)
        served = os.path.join(nginx.work, "files", "large.txt")
        if not os.path.exists(served):
            os.link(path, served)
        link = site.link(identifier)
        self.right(site.server.request("GET", link, timeout=120), digest)
        ours, theirs = site.address + link, f"{nginx.address}/plain/large.txt"
        whole, crowd = self.whole, self.crowd
        yield from self.pair("400 MB, one stream", 0.70, whole(ours), whole(theirs), self.streams)
        part, asked = self.size // 4, f"{self.size // 2}-{self.size // 2 + self.size // 4 - 1}"
        ranged = lambda url: speed(url, part, "--range", asked, status=206)
        yield from self.pair("a range of 100 MB of it", 0.70, lambda: ranged(ours), lambda: ranged(theirs), self.streams)
        yield from self.pair("eight at once", 0.85, crowd(ours), crowd(theirs), self.crowds)
        yield from self.memory(ours)
        yield from self.secured(identifier, nginx)

    @staticmethod
    def right(answer, digest):
        expect(answer.status == 200 and sha256(answer.body) == digest, f"the large file comes back otherwise: {answer.status}")

    def pair(self, what, goal, ours, theirs, pairs):
        mine, other = alternating(pairs, ours, theirs)
        ratio = paired(mine, other)
        yield Figure(self.named(what), f"nginx, {per_second(other)}", per_second(mine), ratio, f"≥ {goal:.2f}", ratio >= goal)

    def whole(self, url):
        return lambda: speed(url, self.size)

    def crowd(self, url):
        return lambda: together(url, self.size)

    def named(self, what):
        return what.replace("400 MB", f"{self.size // MIB} MB").replace("100 MB", f"{self.size // 4 // MIB} MB")

    def memory(self, url):
        """What eight downloads add to the resident memory, with fast clients and with slow ones."""
        process = self.site.process
        idle = process.resident()
        grown = []
        for limit in ([], ["--limit-rate", str(SLOW), "--max-time", str(SLOW_FOR)]):
            running = [subprocess.Popen(curl(url, *limit), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(AT_ONCE)]
            most = process.resident()
            while any(one.poll() is None for one in running):
                most = max(most, sampled(0.05, 0.01, process.resident))
            grown.append((most - idle) / MIB)
        fast, slow = grown
        yield Figure(self.named("eight 400 MB downloads at once, resident memory"), f"idle, {idle / MIB:.0f} MiB",
                     f"+{fast:.1f} MiB with fast clients, +{slow:.1f} with slow ones", f"+{max(grown):.1f} MiB", "≤ 16 MiB",
                     max(grown) <= 16)

    def secured(self, identifier, nginx):
        """The same folder served with TLS; links do not name the scheme."""
        site, link = self.site, self.site.link(identifier)
        certificate, key = self.peers.certificate()
        site.stop()
        log = os.path.join(site.work, "tls.log")
        with site.serving_tls(certificate, key, log) as port:
            ours, theirs = f"https://localhost:{port}{link}", f"https://localhost:{nginx.tls}/plain/large.txt"
            whole, crowd = self.whole, self.crowd
            yield from self.pair("400 MB, one stream, TLS on both", 0.85, whole(ours), whole(theirs), self.streams)
            part, asked = self.size // 4, f"0-{self.size // 4 - 1}"
            ranged = lambda url: speed(url, part, "--range", asked, status=206)
            yield from self.pair("a range of 100 MB of it, TLS on both", 0.85, lambda: ranged(ours), lambda: ranged(theirs), self.streams)
            yield from self.pair("eight at once, TLS on both", 0.85, crowd(ours), crowd(theirs), self.crowds)
        site.start()
