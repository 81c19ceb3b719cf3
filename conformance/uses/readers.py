"""Readers over sockets of their own, and what they were really handed. Python's standard library only."""
import socket
import struct
import threading
import time

from serving import Failed, expect

PATIENCE = 30.0
# What a TLS record or a head may add where lengths are compared.
SLACK = 1024
# Small enough that a file of 60 KB does not lie whole in the reader's system while the reader looks away.
WINDOW = 8 * 1024
# What a link answers, and how a connection that answers no more is told.
BUSY, USED, CLOSED = (409, "link-busy"), (410, "link-used"), (0, "closed")


class Reply:
    """An answer as far as it was read: `first` is where in the file its body begins."""

    def __init__(self, status, headers):
        self.status, self.headers, self.body = status, headers, bytearray()
        self.code = headers.get("daylily-error")
        self.length = int(headers.get("content-length", 0))
        self.first = 0
        if status == 206:
            self.first = int(headers["content-range"].split(" ")[1].split("-")[0])

    @property
    def good(self):
        return self.status in (200, 206)

    @property
    def whole(self):
        return self.good and len(self.body) == self.length

    def told(self):
        return (self.status, self.code)


class Wire:
    """One connection. It reads no more of a body than was asked for, but for what came with the head."""

    def __init__(self, server, source=None, window=None, late=False):
        self.host, self.rest, self.late = f"localhost:{server.port}", b"", late
        raw = socket.socket()
        try:
            raw.settimeout(PATIENCE)
            if window:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            if source:
                raw.bind((source, 0))
            raw.connect(("127.0.0.1", server.port))
            self.socket = server.tls.wrap_socket(raw, server_hostname="localhost") if server.tls else raw
        except BaseException:
            raw.close()
            raise

    def request(self, path, headers=None, method="GET", version="1.1"):
        """The bytes of a request."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        return f"{method} {path} HTTP/{version}\r\nHost: {self.host}\r\n{lines}\r\n".encode()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, path, headers=None, method="GET"):
        self.send(self.request(path, headers, method))

    def _receive(self, most):
        if self.late:
            # Read, but acknowledged some 40 ms later, or never when it is reset before. The system forgets this at each turn.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        try:
            return self.socket.recv(most)
        except TimeoutError:
            raise Failed(f"nothing came for {PATIENCE:.0f} s") from None
        except OSError:
            # A reset, or TLS that ends without its goodbye.
            return b""

    def head(self):
        """The head of the next answer; one of status 0 when the connection is closed instead."""
        while b"\r\n\r\n" not in self.rest:
            piece = self._receive(512)
            if not piece:
                return Reply(0, {"daylily-error": "closed"})
            self.rest += piece
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        status, *lines = head.decode("latin-1").split("\r\n")
        return Reply(int(status.split(" ")[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)})

    def body(self, reply, most=None):
        """Reads on until `most` bytes of the body are there, or all, or no more come."""
        least = reply.length if most is None else min(most, reply.length)
        missing = reply.length - len(reply.body)
        reply.body += self.rest[:missing]
        self.rest = self.rest[missing:]
        while len(reply.body) < least:
            piece = self._receive(min(least - len(reply.body), 1 << 18))
            if not piece:
                break
            reply.body += piece
        return reply

    def reply(self, most=None, method="GET"):
        reply = self.head()
        return reply if method == "HEAD" else self.body(reply, most)

    def half_close(self):
        """No more will be sent. The socket's own call: that of TLS would stop reading as well."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Ledger:
    """What the readers of a link were handed, byte by byte, together."""

    def __init__(self, data, uses):
        self.data, self.handed, self.seen, self.wholes = data, 0, bytearray(len(data)), 0
        self.most = uses * 2 * len(data) + SLACK
        self.lock = threading.Lock()

    def take(self, reply):
        """Counts an answer. Past twice the file's length for each use nothing may come but what never came before."""
        if not reply.good:
            return
        first, end = reply.first, reply.first + len(reply.body)
        with self.lock:
            expect(self.data[first:end] == reply.body, "other bytes than the file's")
            fresh = self.seen.count(0, first, end)
            self.seen[first:end] = b"\1" * (end - first)
            self.handed += end - first
            self.wholes += end - first == len(self.data)
            expect(self.handed <= self.most or fresh == end - first, f"handed out for one use: {self.told()}")

    def told(self):
        return f"{self.handed} bytes, {self.handed / len(self.data):.2f} times the file, {self.wholes} whole"


class Round:
    """One round: a file, a link of it, its ledger, and what was done so far."""

    def __init__(self, site, size, dice, uses, steps):
        self.site, self.size, self.dice, self.uses, self.steps = site, size, dice, uses, steps
        self.data = site.files[size][1]
        self.path = site.link(size, uses)
        self.ledger = Ledger(self.data, uses)
        self.tag = None

    def note(self, step):
        self.steps.append(step)

    def wire(self, source=None, window=None, late=False):
        return Wire(self.site.server, source, window, late)

    def get(self, ask=None, tagged=False, most=None, end="close", source=None, method="GET", late=False):
        """One request on a connection of its own; `ask` is a Range. Ends in order or by a reset; `late`: hardly acknowledged."""
        wire = self.wire(source, late=late)
        try:
            headers = {"Range": f"bytes={ask}"} if ask else {}
            if tagged and self.tag:
                headers["If-Range"] = self.tag
            wire.ask(self.path, headers, method)
            reply = wire.reply(most, method)
        finally:
            getattr(wire, end)()
        self.tag = reply.headers.get("etag", self.tag)
        told = f"{len(reply.body)} bytes" if reply.good else f"{reply.status} {reply.code}"
        self.note(f"{method} {ask or 'whole'}{' If-Range' * tagged}{f' from {source}' if source else ''}{' late' * late}, {end}: {told}")
        return reply

    def patient(self, **asked):
        """As `get`, again as long as the link is busy."""
        deadline = time.monotonic() + PATIENCE
        while True:
            reply = self.get(**asked)
            if reply.told() != BUSY:
                return reply
            self.steps.pop()
            expect(time.monotonic() < deadline, "the link stays busy")
            time.sleep(0.01)

    def taken(self, reply, what="an honest reader"):
        """An answer that must be a whole one of the file."""
        told = f"{reply.status} {reply.code or ''}, {len(reply.body)} bytes of {reply.length}"
        expect(reply.whole, f"{what} is answered {told}")
        self.ledger.take(reply)

    def spent(self, *sources):
        """All that is asked now is told, at once, that the link is used up."""
        for source in sources or (None,):
            for method in ("GET", "HEAD"):
                reply = self.get(source=source, method=method)
                expect(reply.told() == USED, f"after the last use {method} is answered {reply.status} {reply.code or ''}")

    def exhaust(self):
        """Whoever takes the whole as long as there is some gets no more than the bound."""
        for _ in range(4):
            reply = self.patient()
            if reply.told() == USED:
                return
            self.taken(reply, "the rest of the use")
        raise Failed(f"the link is never used up: {self.ledger.told()}")


def side_by_side(acts):
    """Runs all at once, each in a thread of its own; answers what they answered, or raises what one of them raised."""
    answers, wrong, gate = [None] * len(acts), [], threading.Barrier(len(acts))

    def one(at):
        try:
            gate.wait(timeout=PATIENCE)
            answers[at] = acts[at]()
        except BaseException as error:  # handed on below
            wrong.append(error)
    threads = [threading.Thread(target=one, args=(at,), daemon=True) for at in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=4 * PATIENCE)
        expect(not thread.is_alive(), "a reader is never answered")
    if wrong:
        raise wrong[0]
    return answers
