"""The rows on being told: webhooks, one after another and many at once; and downloads that were not received."""
import socket
import statistics
import time

from serving import expect, parameter, wait_for

from .rows import Figure
from .site import Sender, letter, text

RATE, FOR = 50, 4
SUBSCRIPTIONS, HOSTS = 200, 10
# A client that quits has taken so much of the body.
QUITS_AT = 64 * 1024
QUIT_SIZES = (100_000, 300_000)


class Told:
    """Rows with receivers of their own."""

    def __init__(self, site, peers, smoke, rounds):
        self.site, self.peers, self.smoke = site, peers, smoke
        self.rounds = 1 if smoke else rounds
        self.subscriptions = 20 if smoke else SUBSCRIPTIONS
        self.quits = 20 if smoke else 200

    def body(self, recipients, number):
        return letter(text(self.site.dice, 1000), number=number, recipients=recipients)

    def all(self):
        """Time on the way at 50 a second; then as many as can be, over many Subscriptions."""
        yield from self.delay()
        yield from self.throughput()

    def arrived(self, receiver, count, seconds):
        """What the receiver says once so many events have come."""
        def whole():
            told = receiver.ask("tell")
            return told if told["events"] >= count else None
        try:
            return wait_for("every event at the receiver", seconds, whole, every=0.1)
        finally:
            told = receiver.ask("tell")
            expect(told["disordered"] == 0, f"{told['disordered']} events out of order, {told['events']} of {count} came")

    def delay(self):
        receiver = self.peers.receiver(1)
        names, made = self.once("one", 1, receiver)
        sender, runs = Sender(self.site, self.site.client("source")), []
        count = RATE * (1 if self.smoke else FOR)
        # The first find everything cold.
        for one in range(10):
            sender.create(self.body(names, one))
        self.site.quiet()
        for _ in range(self.rounds):
            receiver.ask("begin")
            begin = time.monotonic()
            for one in range(count):
                pause = begin + one / RATE - time.monotonic()
                if pause > 0:
                    # The rate is the load.
                    time.sleep(pause)
                sender.create(self.body(names, one))
            runs.append(self.arrived(receiver, count, 30))
        sender.close()
        self.end(made)
        p50, p99 = (statistics.median(run[name] for run in runs) / 1000 for name in ("p50", "p99"))
        most = max(run["most"] for run in runs) / 1000
        yield Figure("webhook, from the event's time to its receipt, 50/s", "–", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, most {most:.1f} ms",
                     "–", "p50 ≤ 2, p99 ≤ 10 ms", p50 <= 2 and p99 <= 10)

    def throughput(self):
        receiver = self.peers.receiver(HOSTS)
        names, made = self.once("many", self.subscriptions, receiver)
        sender, rates, documents = Sender(self.site, self.site.client("source")), [], 10 if self.smoke else 100
        for _ in range(self.rounds):
            self.site.quiet()
            receiver.ask("begin")
            for one in range(documents):
                sender.create(self.body(names, one))
            count = documents * self.subscriptions
            told = self.arrived(receiver, count, 120)
            rates.append(count / told["seconds"])
        sender.close()
        self.end(made)
        rate = statistics.median(rates)
        yield Figure(f"webhook deliveries over {self.subscriptions} Subscriptions, each in order", "–",
                     f"{documents * self.subscriptions} events at {rate:,.0f}/s",
                     f"{rate:,.0f}/s", "≥ 5,000/s", rate >= 5000)

    def once(self, name, count, receiver):
        if not hasattr(receiver, "ports"):
            receiver.ports = receiver.first()["ports"]
        self.site.start()
        return self.site.subscribed(name, count, receiver.ports)

    @staticmethod
    def end(made):
        for client, identifier in made:
            answer = client.call("DELETE", f"Subscription/{identifier}")
            expect(answer.status in (200, 204), f"a Subscription could not be deleted: {answer.status} {answer.code()}")

    # Downloads that were not received

    def quit(self):
        """Clients that quit at 64 KiB of a file with one use, each with a link of its own: never counted; the whole download that follows is."""
        site = self.site.start()
        client = site.client("files")
        wholes, begun = 0, time.monotonic()
        for number, size in enumerate(QUIT_SIZES):
            data = text(site.dice, size)
            [identifier] = site.documents(client, [letter(data, number=number)])
            for reader in range(self.quits):
                link = self.counted_link(client, identifier, reader)
                self.quits_early(link, size)
                wholes += self.whole(link, data)
        took = time.monotonic() - begun
        quits = len(QUIT_SIZES) * self.quits
        yield Figure(f"{quits} downloads of 100 and 300 KB that the client quit at 64 KiB", "–",
                     f"0 counted, {wholes} of {quits} whole ones afterwards counted, {took:.0f} s",
                     f"0 of {quits}", f"0 of {quits}", wholes == quits)

    @staticmethod
    def counted_link(client, identifier, reader):
        """For a recipient of its own: uses count for each by itself."""
        recipient = {"name": "recipient", "valueReference": {"reference": f"Practitioner/{reader}"}}
        body = {"resourceType": "Parameters", "parameter": [{"name": "uses", "valuePositiveInt": 1}, recipient]}
        issued = client.made("POST", f"DocumentReference/{identifier}/$issue-link", body)
        return "/d/" + parameter(issued, "url")["valueUrl"].rsplit("/d/", 1)[1]

    def get(self, link):
        """A GET on a socket of its own: the socket, the status, what came of the body so far."""
        peer = socket.create_connection(("127.0.0.1", self.site.server.port), timeout=20)
        peer.sendall(f"GET {link} HTTP/1.1\r\nHost: localhost:{self.site.server.port}\r\n\r\n".encode())
        came = b""
        while b"\r\n\r\n" not in came:
            piece = peer.recv(4096)
            expect(piece, "the server closed instead of answering")
            came += piece
        head, _, body = came.partition(b"\r\n\r\n")
        return peer, int(head.split(b" ", 2)[1]), body

    def free(self, link):
        """The answer to a GET, once the claim before it is closed: (socket, status, body so far)."""
        def probe():
            peer, status, body = self.get(link)
            if status != 409:
                return peer, status, body
            peer.close()
            return None
        return wait_for("the claim of a download is closed", 30, probe, every=0.005)

    def quits_early(self, link, size):
        """One that quits."""
        peer, status, body = self.free(link)
        with peer:
            expect(status == 200, f"a counted link was answered {status}")
            while len(body) < min(QUITS_AT, size):
                piece = peer.recv(min(16_384, QUITS_AT - len(body)))
                expect(piece, "the server closed in the middle")
                body += piece

    def whole(self, link, data):
        """A download to its end; 1 when it was counted: the link is spent."""
        peer, status, body = self.free(link)
        with peer:
            expect(status == 200, f"after those that quit the link was answered {status}")
            while len(body) < len(data):
                piece = peer.recv(65_536)
                expect(piece, "the server closed in the middle")
                body += piece
            expect(body == data, "a counted link gives other bytes")
        peer, status, _ = self.free(link)
        peer.close()
        return int(status == 410)
