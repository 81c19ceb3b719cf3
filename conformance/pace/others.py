"""What one caller costs another that does what it always does: the other's p99 beside each hostile way, as a ratio to its undisturbed one."""
import collections
import contextlib
import http.client
import multiprocessing
import resource
import signal
import socket
import threading
import time

from serving import expect

from .measure import Target, percentile
from .rows import Figure
from .site import letter, text

CONNECTIONS = 64
READERS = 512
MIB = 1 << 20
GOAL = 3
# More than a server has places for, and where they come from: an address has its share.
SILENT = 4500
HOSTILE = "127.0.0.66"


class Others:
    def __init__(self, site, smoke):
        self.site, self.turns = site, 10 if smoke else 150

    def all(self):
        # As it ships: the share of one client is what is measured.
        site = self.site.start(DAYLILY_LIMITS__SEARCHES="0")
        self.hostile, self.calm = site.client("hostile"), site.client("calm")
        # More than what a connection's buffers hold.
        [self.stalled, self.own] = [*site.documents(self.hostile, [letter(text(site.dice, 4 * MIB))]),
                                    *site.documents(self.calm, [letter(text(site.dice, 2000))])]
        alone = self.measured()
        ways = {"stalled readers of a link": self.readers, "slow uploads": self.uploads, "waits": self.waits,
                "JSON bodies of 24 MiB": self.bodies, "searches": self.searches, "searches through everything": self.wide}
        for name, way in ways.items():
            before = site.process.resident()
            with way():
                p99 = self.measured()
                grown = (site.process.resident() - before) / MIB
            yield Figure(f"read, search, download beside {name}", "alone", f"p99 {p99:.1f} ms ({alone:.1f} alone), {grown:+.0f} MiB", p99 / alone,
                         f"<= {GOAL}", p99 / alone <= GOAL)
            site.quiet()
        yield from self.connections()

    def connections(self):
        """What the connections of one address cost another that connects for each request."""
        least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, min(most, 2 * SILENT)), most))
        alone = self.connected()
        ways = {"silent": b"", "idle": f"GET /livez HTTP/1.1\r\nHost: localhost:{self.site.server.port}\r\n\r\n".encode(), "half a head": b"GET / HT"}
        for name, sent in ways.items():
            with self.held(sent, SILENT, HOSTILE, name == "idle"), self.connecting(sent):
                p99 = self.connected()
            yield Figure(f"connect and read beside {SILENT:,} connections ({name}) and more all the while", "alone", f"p99 {p99:.1f} ms ({alone:.1f} alone)",
                         p99 / alone, f"<= {GOAL}", p99 / alone <= GOAL)

    def connected(self):
        took = []
        for _ in range(3 * self.turns):
            begun = time.monotonic()
            answer = self.site.server.request("GET", f"/fhir/DocumentReference/{self.own}", None, self.site.headers(self.calm), 60)
            took.append(1000 * (time.monotonic() - begun))
            expect(answer.status == 200, f"the other's read is {answer.status}")
        return percentile(took, 99)

    def connecting(self, sent):
        kept = collections.deque(maxlen=100)

        def send():
            one = socket.create_connection(("127.0.0.1", self.site.server.port), 5, (HOSTILE, 0))
            kept.append(one)
            one.sendall(sent)
            time.sleep(0.01)
        return self.repeated(2, send)

    def measured(self):
        """The p99 of one honest caller's requests, in milliseconds; all of them answered."""
        link = self.site.link_of(self.calm, self.own)
        connection = http.client.HTTPConnection("127.0.0.1", self.site.server.port, timeout=30)
        headers, took = self.site.headers(self.calm), []
        for _ in range(self.turns):
            for path in (f"/fhir/DocumentReference/{self.own}", f"/fhir/DocumentReference?_id={self.own}", link):
                begun = time.monotonic()
                connection.request("GET", path, headers=self.site.host if path == link else headers)
                answer = connection.getresponse()
                answer.read()
                took.append(1000 * (time.monotonic() - begun))
                expect(answer.status == 200, f"the other's {path.split('?')[0][:30]} is {answer.status} {answer.headers.get('Daylily-Error')}")
        connection.close()
        return percentile(took, 99)

    def head(self, method, path, more=""):
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.site.headers(self.hostile).items())
        return f"{method} {path} HTTP/1.1\r\n{lines}{more}\r\n".encode()

    @contextlib.contextmanager
    def held(self, request, number, address="127.0.0.1", answered=False):
        """So many connections that send this and wait, each until it is answered where it is to be."""
        sockets = []
        try:
            for _ in range(number):
                one = socket.socket()
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.settimeout(30)
                one.bind((address, 0))
                sockets.append(one)
                one.connect(("127.0.0.1", self.site.server.port))
                one.sendall(request)
                if answered:
                    expect(one.recv(1000).startswith(b"HTTP/1.1 200"), "a connection of the crowd was not answered")
            time.sleep(0.5)
            yield
        finally:
            for one in sockets:
                one.close()

    @contextlib.contextmanager
    def repeated(self, number, send):
        """So many threads that go on with this, however they are answered; in a process of their own, so that the other's requests are
        measured and not this interpreter's lock."""
        def work():
            while True:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    send()

        def crowd():
            threads = [threading.Thread(target=work, daemon=True) for _ in range(number)]
            for thread in threads:
                thread.start()
            threading.Event().wait()
        process = multiprocessing.get_context("fork").Process(target=crowd, daemon=True)
        process.start()
        time.sleep(0.5)
        try:
            yield
        finally:
            process.terminate()
            process.join(60)

    @contextlib.contextmanager
    def asked(self, name, path, connections):
        """So many connections that search all the while, by wrk: each is answered, none with an error."""
        server = self.site.server
        target = Target(self.site.work, name, server.base, [("GET", path, self.site.headers(self.hostile), None)])
        running = target.begun(connections, 600)
        try:
            time.sleep(0.5)
            yield
            expect(running.poll() is None, f"wrk on {name} ended by itself")
        finally:
            running.send_signal(signal.SIGINT)
        target.ended(running)

    def readers(self):
        return self.held(self.head("GET", self.site.link_of(self.hostile, self.stalled)), READERS)

    def uploads(self):
        return self.held(self.head("POST", "/fhir/Binary", "Content-Type: text/plain\r\nContent-Length: 1000000\r\n") + b"slow", CONNECTIONS)

    def waits(self):
        return self.held(self.head("GET", f"/fhir/DocumentReference/{self.stalled}/$lifecycle?wait=30s"), 256)

    def bodies(self):
        length = 24 * MIB - 1
        head = self.head("POST", "/fhir/Patient", f"Content-Type: application/fhir+json\r\nContent-Length: {length}\r\n")
        body = memoryview(b" " * length)

        def send():
            with socket.create_connection(("127.0.0.1", self.site.server.port), 30) as one:
                one.sendall(head)
                one.sendall(body)
                one.recv(100)
        return self.repeated(CONNECTIONS, send)

    def searches(self):
        return self.asked("searches", f"/fhir/DocumentReference?_id={self.stalled}", CONNECTIONS)

    def wide(self):
        return self.asked("wide", "/fhir/DocumentReference?status=current", 6)
