"""The rows on requests: reads, searches, creates, files of 300 KB by link. A row may be slow; what it may not do is answer wrongly."""
import base64
import json
import os
import statistics

from serving import expect, sha256

from .measure import Target, alternating, paired, quantity
from .site import PAGE, letter, text

SMALL = b"thirty-six bytes of a static file..\n"
FILE = 300_000
COLD = 64


class Figure:
    """One line of the table."""

    def __init__(self, work, against, figure, ratio, goal, met):
        self.work, self.against, self.figure, self.ratio, self.goal, self.met = work, against, figure, ratio, goal, met

    def cells(self):
        met = {True: "yes", False: "NO", None: "–"}[self.met]
        ratio = self.ratio if isinstance(self.ratio, str) else f"{self.ratio:.3f}" if self.ratio < 0.1 else f"{self.ratio:.2f}"
        return [self.work, self.against, self.figure, ratio, self.goal, met]


def load_figure(loads):
    rate = statistics.median(load.rate for load in loads)
    p50, p99 = (statistics.median(getattr(load, name) for load in loads) / 1000 for name in ("p50", "p99"))
    return f"{quantity(rate)}/s, p50 {p50:.2f} p99 {p99:.1f} ms"


def rates(loads):
    return [load.rate for load in loads]


def middle(loads):
    return quantity(statistics.median(rates(loads)))


class Rows:
    """`run`: pairs of seconds, and whatever else the arguments say. Peers are started when a row first needs them."""

    def __init__(self, site, peers, pairs, seconds):
        self.site, self.peers, self.pairs, self.seconds = site, peers, pairs, seconds

    def target(self, name, address, requests):
        return Target(self.site.work, name, address, requests)

    def load(self, target, connections):
        return lambda: target.load(connections, self.seconds)

    def static(self):
        """nginx's static file of 36 bytes."""
        nginx = self.peers.nginx()
        nginx.file("small.txt", SMALL)
        return self.target("nginx-small", nginx.address, [("GET", "/plain/small.txt", {"Host": "localhost"}, None)])

    def commit(self):
        """The p50 of a commit of one row of 2 KB, now, in milliseconds."""
        return self.peers.bare().ask("probe 300 2000")["p50"] / 1000

    # Rows

    def read(self):
        """Audited reads of one resource of 2 KB with a token."""
        site = self.site.start()
        own = site.own()
        client, identifier = own[0]
        body = client.call("GET", f"DocumentReference/{identifier}")
        expect(body.status == 200 and body.json()["id"] == identifier, "a read answers something else")
        ours = self.target("read", site.address, [
            ("GET", f"/fhir/DocumentReference/{identifier}", site.headers(client), None) for client, identifier in own])
        static = self.static()
        for connections, goal in ((64, 1 / 6), (16, 1 / 10)):
            ours.load(connections, 1)
            before, probe = site.process.cpu(), self.commit()
            mine, other = alternating(self.pairs, self.load(ours, connections), self.load(static, connections))
            self.sized(mine, len(body.body), "read")
            cpu = (site.process.cpu() - before) / sum(load.requests for load in mine) * 1e6
            ratio = paired(rates(mine), rates(other))
            p50 = statistics.median(load.p50 for load in mine) / 1000
            figure = f"{load_figure(mine)}; {cpu:.0f} µs CPU; commit p50 {probe:.2f} ms"
            yield Figure(f"authenticated, audited read, {connections} connections", f"nginx, 36 bytes, {middle(other)}/s",
                         figure, ratio, f"≥ {goal:.3f}", ratio >= goal)
            if connections == 16:
                yield Figure("its p50 at 16 connections", "a commit's p50", f"{p50:.2f} ms against {probe:.2f} ms", p50 / probe, "(≤ 3)", None)

    def search(self):
        """Searches that find 20 documents, with signed links, with handles instead, and against nginx."""
        site = self.site.start()
        sides = []
        for name, flags, mark in (("linked", (), "/d/"), ("handled", ("--attachment-url", "handle"), "/Binary/")):
            client, patients = site.charts(name, *flags)
            path = f"/fhir/DocumentReference?patient=Patient/{patients[0]}&_count={PAGE}"
            answer = client.call("GET", path)
            found = [entry for entry in answer.json()["entry"] if entry["search"]["mode"] == "match"]
            urls = [entry["resource"]["content"][0]["attachment"]["url"] for entry in found]
            expect(len(found) == PAGE and all(mark in url for url in urls), f"a search finds {len(found)}, {urls[:1]}")
            sides.append(self.target(name, site.address, [
                ("GET", f"/fhir/DocumentReference?patient=Patient/{patient}&_count={PAGE}", site.headers(client), None)
                for patient in patients]))
        linked, handled = sides
        static, cpu = self.static(), [[], []]

        def metered(target, into):
            def run():
                before = site.process.cpu()
                load = target.load(16, self.seconds)
                into.append((site.process.cpu() - before) / load.requests * 1e6)
                return load
            return run

        linked.load(16, 1), handled.load(16, 1)
        probe = self.commit()
        one, two, three = alternating(self.pairs, metered(linked, cpu[0]), metered(handled, cpu[1]), self.load(static, 16))
        ratio, cost = paired(rates(one), rates(two)), [with_links - without for with_links, without in zip(*cpu)]
        yield Figure("search of 20 with signed links, 16 connections", f"without links, {load_figure(two)}",
                     f"{load_figure(one)}; commit p50 {probe:.2f} ms",
                     ratio, "≥ 0.85", ratio >= 0.85)
        link = statistics.median(cost) / PAGE
        with_links, without = (statistics.median(one) for one in cpu)
        yield Figure("CPU of one signed link in a search", "the search without", f"{with_links:.0f} against {without:.0f} µs a search",
                     f"{link:.2f} µs", "≤ 0.5 µs", link <= 0.5)
        ratio = paired(rates(one), rates(three))
        yield Figure("search of 20 with signed links, 16 connections", f"nginx, 36 bytes, {middle(three)}/s", load_figure(one),
                     ratio, "≥ 0.040", ratio >= 1 / 25)

    def create(self):
        """Creates by 16 clients with 20 KB inline, against rows with the same bytes in one SQLite."""
        site, bodies, size = self.site.start(), [], 0
        for number in range(16):
            path = os.path.join(site.work, f"body-{number}.json")
            with open(path, "wb") as file:
                size = file.write(json.dumps(letter(text(site.dice, 20_000), number=number)).encode())
            bodies.append(path)
        clients = [site.client(f"reader-{number}") for number in range(4)]
        more = {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
        ours = self.target("create", site.address, [
            ("POST", "/fhir/DocumentReference", {**site.headers(clients[number % 4]), **more}, path)
            for number, path in enumerate(bodies)])
        bare, drained = self.peers.bare(), []

        def create():
            load = ours.load(16, self.seconds)
            drained.append(load.requests / (load.seconds + site.quiet()))
            return load

        ours.load(16, 1)
        site.quiet()
        probe = self.commit()
        mine, other = alternating(self.pairs, create, lambda: bare.ask(f"run 16 {self.seconds * 1000} {size}"))
        bare_rates = [run["rows"] / run["seconds"] for run in other]
        group = statistics.median(run["rows"] / run["groups"] for run in other)
        ratio = paired(rates(mine), bare_rates)
        figure = f"{load_figure(mine)}; {quantity(statistics.median(drained))}/s until all were checked and ready; commit p50 {probe:.2f} ms"
        bare_rate = quantity(statistics.median(bare_rates))
        yield Figure("create, 16 clients, 20 KB content", f"bare commits of {size} bytes in groups of {group:.1f}, {bare_rate}/s",
                     figure, ratio, "≥ 0.40", ratio >= 0.40)

    def link300(self):
        """Files of 300 KB by link: one again and again; many, each decrypted anew."""
        nginx, site = self.peers.nginx(), self.site.start()
        files = [site.file(FILE, number) for number in range(COLD)]
        for number, (_, data) in enumerate(files):
            nginx.file(f"file-{number}.txt", data)
        names = [f"file-{number}.txt" for number in range(COLD)]
        linked = lambda count: self.target(f"nginx-linked-{count}", nginx.address, [
            ("GET", nginx.linked(name), {"Host": "localhost"}, None) for name in names[:count]])
        hot = self.by_link("link-hot", files[:1])
        mine, other = alternating(self.pairs, self.load(hot, 16), self.load(linked(1), 16))
        self.sized(mine, FILE, "download")
        self.sized(other, FILE, "nginx's download")
        ratio = paired(rates(mine), rates(other))
        yield Figure("300 KB by link, hot, 16 connections", f"nginx secure_link, {middle(other)}/s",
                     load_figure(mine), ratio, "≥ 0.50", ratio >= 0.50)
        yield from self.seaweed(hot, files[0][1])
        yield from self.cold(files, linked(COLD))

    def cold(self, files, linked):
        """The server keeps no opened file in memory."""
        self.site.start(DAYLILY_LIMITS__CONTENT_CACHE="0B")
        cold = self.by_link("link-cold", files)
        mine, other = alternating(self.pairs, self.load(cold, 16), self.load(linked, 16))
        self.sized(mine, FILE, "download")
        ratio = paired(rates(mine), rates(other))
        yield Figure("300 KB by link, each decrypted anew, 16 connections", f"nginx secure_link, {middle(other)}/s",
                     load_figure(mine), ratio, "≥ 0.25", ratio >= 0.25)

    def seaweed(self, hot, data):
        seaweed = self.peers.seaweed()
        if seaweed is None:
            yield Figure("300 KB by link, hot, 16 connections", "SeaweedFS presigned GET", "not run: no weed here",
                         "–", "≥ 3", None)
            return
        seaweed.put("file.txt", data)
        path = seaweed.presigned("GET", "file.txt")
        status, body = seaweed.call("GET", path)
        expect(status == 200 and body == data, f"SeaweedFS answers {status}")
        expect(seaweed.call("GET", path[:-1] + ("0" if path[-1] != "0" else "1"))[0] == 403, "SeaweedFS takes a wrong signature")
        theirs = self.target("seaweed", seaweed.address, [("GET", path, {"Host": f"127.0.0.1:{seaweed.port}"}, None)])
        theirs.load(16, 1)
        mine, other = alternating(self.pairs, self.load(hot, 16), self.load(theirs, 16))
        self.sized(other, FILE, "SeaweedFS's download")
        ratio = paired(rates(mine), rates(other))
        yield Figure("300 KB by link, hot, 16 connections", f"SeaweedFS presigned GET, {load_figure(other)}",
                     load_figure(mine), ratio, "≥ 3", ratio >= 3)

    def by_link(self, name, files):
        site, requests = self.site, []
        for number, (identifier, data) in enumerate(files):
            path = site.link(identifier)
            if number == 0:
                answer = site.server.request("GET", path)
                expect(answer.status == 200 and sha256(answer.body) == sha256(data), "a link gives other bytes")
            requests.append(("GET", path, site.host, None))
        target = self.target(name, site.address, requests)
        target.load(16, 1)
        return target

    @staticmethod
    def sized(loads, size, what):
        """wrk counts bytes with heads: every answer must have been about as long as the one that was looked at."""
        for load in loads:
            mean = load.bytes / load.requests
            expect(size <= mean * 1.02 and mean <= size * 1.02 + 2000, f"a {what} has {mean:.0f} bytes in the mean instead of {size}")
