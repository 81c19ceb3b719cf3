"""The server that is measured, on a fresh folder with the settings as they ship, and what is in it: clients, documents, links."""
import contextlib
import hashlib
import http.client
import json
import os
import random
import subprocess
import time

from hooks import LOOPBACK, SUBSCRIBER, active, subscription
from serving import BINARY, Server, document, expect, free_port, wait_for

from .measure import Process

# Beyond what ships: one load generator stands for many clients, a token must outlast the run, searches of a load that has just ended
# may still run when the next begins.
LIMITS = {"DAYLILY_LIMITS__CLIENT_REQUESTS": "1000000", "DAYLILY_LIMITS__TOKEN_LIFETIME": "1h", "DAYLILY_LIMITS__SEARCHES": "64"}
READERS, OWN, PAGE, PATIENTS = 8, 8, 20, 5
# A client may cause so many handshakes a minute.
HANDSHAKES = 10
MIB = 1 << 20


def text(dice, size):
    """Text that does not shrink: the shipped policy takes only types that it can check."""
    return dice.randbytes(size // 2 + 1).hex().encode()[:size]


def letter(data, patient=None, number=0, recipients=()):
    """A DocumentReference of about 2 KB without its content."""
    about = {
        "identifier": [{"use": "official", "system": "urn:example:documents", "value": f"D-{number:08}"}],
        "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5", "display": "Discharge summary"}],
                 "text": "Discharge summary"},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "11490-0", "display": "Physician discharge summary"}]}],
        "date": "2026-11-01T09:30:00Z",
        "author": [{"display": f"Dr. Example {number}, Department of Internal Medicine, Example Hospital"}],
        "description": "Summary of the stay with findings, medication at discharge, and what the practice should look at. " * 6,
        "context": {"period": {"start": "2026-10-20", "end": "2026-11-01"},
                    "facilityType": {"text": "Hospital, acute care"}, "practiceSetting": {"text": "Internal medicine"}},
    }
    if patient:
        about["subject"] = {"reference": f"Patient/{patient}", "display": "Example Patient"}
    if recipients:
        about["extension"] = [{"url": "urn:daylily:fhir/StructureDefinition/recipient",
                               "valueIdentifier": {"system": "urn:daylily:fhir/client", "value": one}} for one in recipients]
    return document(data, title=f"Discharge summary {number}.txt", **about)


class Site:
    """What the rows share. Everything is made when it is first asked for."""

    def __init__(self, work, seed):
        self.work, self.dice = work, random.Random(seed)
        self.keys = os.path.join(work, "keys")
        os.makedirs(self.keys)
        self.server = Server(os.path.join(work, "data"), os.path.join(work, "server.log"), {**LIMITS, **LOOPBACK})
        self.clients, self.kept, self.running = {}, {}, None

    def start(self, **settings):
        """Starts, or starts again when the settings are others than those it runs with."""
        if self.running == settings:
            return self
        self.server.stop()
        self.server.environment = {**os.environ, **LIMITS, **LOOPBACK, **settings}
        self.server.start()
        self.running = settings
        return self

    def stop(self):
        self.running = None
        return self.server.stop()

    @contextlib.contextmanager
    def serving_tls(self, certificate, key, log):
        """The same folder behind TLS, on a port of its own, while the plain server is stopped: the port."""
        port = free_port()
        settings = {"DAYLILY_SERVER__TLS__CERTIFICATE": certificate, "DAYLILY_SERVER__TLS__KEY": key,
                    "DAYLILY_SERVER__BASE_URL": f"https://localhost:{port}"}
        with open(log, "ab") as output:
            running = subprocess.Popen(
                [BINARY, "serve", "--data-dir", self.server.folder, "--listen", f"127.0.0.1:{port}"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**self.server.environment, **settings},
            )
        try:
            ready = ["curl", "--silent", "--fail", "--insecure", "--max-time", "2", "--output", "/dev/null",
                     f"https://localhost:{port}/readyz"]

            def is_ready():
                expect(running.poll() is None, f"the server with TLS ended with {running.poll()}")
                return subprocess.run(ready, timeout=10).returncode == 0
            wait_for("the server with TLS is ready", 60, is_ready, every=0.05)
            yield port
        finally:
            running.terminate()
            try:
                running.wait(timeout=40)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait(timeout=10)

    @property
    def process(self):
        return Process(self.server.process.pid)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def host(self):
        return {"Host": f"localhost:{self.server.port}"}

    def once(self, name, make):
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def client(self, name, *flags, **more):
        if name not in self.clients:
            self.clients[name] = self.server.add_client(name, self.keys, *flags, **more)
            # An hour, as the token lifetime of this run.
            client = self.clients[name]
            client._token = self.server.command("token", "--client", name, "--key", client.key).stdout.strip()
            client._until = time.monotonic() + 3000
        return self.clients[name]

    def headers(self, client):
        return {**self.host, "Authorization": f"Bearer {client.token()}", "Accept": "application/fhir+json"}

    def documents(self, client, bodies):
        """Creates documents and waits until all can be opened; their ids."""
        made = [client.made("POST", "DocumentReference", body)["id"] for body in bodies]
        for identifier in made:
            expect(client.settled(identifier, 120) == "ready", "a document is not ready")
        return made

    def own(self):
        """Clients with documents of their own: (client, id)."""
        def make():
            found = []
            for number in range(READERS):
                client = self.client(f"reader-{number}")
                bodies = [letter(text(self.dice, 2000), number=one) for one in range(OWN)]
                found += [(client, identifier) for identifier in self.documents(client, bodies)]
            return found
        return self.once("own", make)

    def charts(self, name, *flags):
        """A client whose patients have a page of documents each: (client, patients)."""
        def make():
            client, patients = self.client(name, *flags), [f"{name}-{number}" for number in range(PATIENTS)]
            for patient in patients:
                client.made("PUT", f"Patient/{patient}", {"resourceType": "Patient", "id": patient, "name": [{"family": "Example"}]})
                self.documents(client, [letter(text(self.dice, 2000), patient, one) for one in range(PAGE)])
            return client, patients
        return self.once(name, make)

    def file(self, size, number=0):
        """A file of a document: (id, bytes)."""
        def make():
            data = text(self.dice, size)
            [identifier] = self.documents(self.client("files"), [letter(data, number=number)])
            return identifier, data
        return self.once(("file", size, number), make)

    def big(self, size):
        """A large file, sent raw and claimed by a document: (id, path of the file, SHA-256)."""
        def make():
            client, path = self.client("files"), os.path.join(self.work, "large.txt")
            block = text(self.dice, MIB)
            with open(path, "wb") as file:
                for number in range(size // MIB):
                    # No two blocks are alike.
                    file.write(block[:-9] + b"%08d\n" % number)
            with open(path, "rb") as file:
                head = {"Authorization": f"Bearer {client.token()}", "Content-Type": "text/plain", "Content-Length": str(size),
                        "Prefer": "return=minimal"}
                binary = client.server.request("POST", "/fhir/Binary", file, head, 300)
            expect(binary.status == 201, f"the large file was taken with {binary.status} {binary.code()}")
            handle = "Binary/" + binary.headers["location"].split("/Binary/", 1)[1].split("/")[0]
            body = {"resourceType": "DocumentReference", "status": "current",
                    "content": [{"attachment": {"contentType": "text/plain", "title": "Large.txt", "url": handle}}]}
            [identifier] = self.documents(client, [body])
            with open(path, "rb") as file:
                digest = file_digest(file)
            return identifier, path, digest
        return self.once(("big", size), make)

    def link(self, identifier):
        """The path of the link that a read offers."""
        return self.link_of(self.client("files"), identifier)

    @staticmethod
    def link_of(client, identifier):
        url = client.made("GET", f"DocumentReference/{identifier}")["content"][0]["attachment"]["url"]
        expect("/d/" in url, "a read offers no link")
        return "/d/" + url.rsplit("/d/", 1)[1]

    def quiet(self, seconds=60):
        """Waits until the server has nothing left to do; how long that took."""
        begun = time.monotonic()
        def idle():
            before = self.process.cpu()
            time.sleep(0.2)
            return self.process.cpu() - before <= 0.02
        wait_for("the server has done its work", seconds, idle, every=0)
        return max(0.0, time.monotonic() - begun - 0.2)

    def subscribed(self, name, count, ports):
        """Subscriptions to `document-ready` at as many paths, shared out over clients and ports: the clients' names, (client, id)."""
        names = [f"ward-{name}-{number}" for number in range(-(-count // HANDSHAKES))]
        made = []
        for number in range(count):
            client = self.client(names[number % len(names)], scope=SUBSCRIBER)
            endpoint = f"http://127.0.0.1:{ports[number % len(ports)]}/hook/{name}-{number}"
            made.append((client, client.made("POST", "Subscription", subscription(endpoint))["id"]))
        for client, identifier in made:
            active(client, identifier, 120)
        return names, made


class Sender:
    """Creates over one kept connection."""

    def __init__(self, site, client):
        self.headers = {**site.headers(client), "Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
        self.connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=30)

    def create(self, body):
        self.connection.request("POST", "/fhir/DocumentReference", json.dumps(body).encode(), self.headers)
        answer = self.connection.getresponse()
        told = answer.read()
        expect(answer.status == 201, f"a create was answered {answer.status}: {told[:300]!r}")

    def close(self):
        self.connection.close()


def file_digest(file):
    digest = hashlib.sha256()
    while piece := file.read(MIB):
        digest.update(piece)
    return digest.hexdigest()


def certificate(work):
    """A certificate for localhost that signs itself: (certificate, key)."""
    paths = os.path.join(work, "tls.pem"), os.path.join(work, "tls.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]],
        check=True, capture_output=True, timeout=30,
    )
    return paths
