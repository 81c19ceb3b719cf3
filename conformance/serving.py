"""A built Daylily as a process, and clients of it. Python's standard library only.

Nothing here waits without a deadline. What is started is stopped by its own process id. `DAYLILY` names the binary.
"""
import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

BINARY = os.environ.get("DAYLILY", "target/release/daylily")
# What the clients of these runs may do; the server grants what it serves of it.
SCOPE = " ".join(
    ["system/DocumentReference.crus", "system/Binary.cr"]
    + [f"system/{name}.crus" for name in ("Patient", "Practitioner", "PractitionerRole", "Organization", "Encounter")]
)
# Tokens live five minutes; a new one is taken well before.
TOKEN_FOR = 150.0


class Failed(Exception):
    """What did not hold, in a sentence."""


def expect(holds, what):
    if not holds:
        raise Failed(what)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, seconds, probe, every=0.02):
    """Asks `probe` until it answers something true, which is returned; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        expect(time.monotonic() < deadline, f"{what}: not within {seconds} s")
        time.sleep(every)


class Answer:
    """A response, read whole. `headers` answers by lower-case name."""

    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers}

    def json(self):
        return json.loads(self.body)

    def code(self):
        return self.headers.get("daylily-error")


class Server:
    """One data folder and, between `start` and `stop` or `kill`, the server on it."""

    def __init__(self, folder, log, environment=None, port=None):
        self.folder, self.log, self.port = folder, log, port or free_port()
        self.environment = {**os.environ, **(environment or {})}
        self.process = None

    @property
    def base(self):
        return f"http://localhost:{self.port}"

    def start(self, seconds=60):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--data-dir", self.folder, "--listen", f"127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
            )
        wait_for("the server is ready", seconds, self._is_ready)
        return self

    def _is_ready(self):
        ended = self.process.poll()
        expect(ended is None, f"the server ended with {ended} instead of getting ready; its log is {self.log}")
        try:
            return self.request("GET", "/readyz", timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def kill(self):
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self, seconds=60):
        """SIGTERM: drains. Answers the exit code."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"the server did not drain within {seconds} s of SIGTERM") from None

    def command(self, *arguments, text="", check=True, seconds=60, folder=None):
        """`daylily …` on this data folder."""
        done = subprocess.run(
            [BINARY, *arguments, "--data-dir", folder or self.folder],
            input=text, capture_output=True, text=True, timeout=seconds, env=self.environment,
        )
        if check and done.returncode != 0:
            raise Failed(f"daylily {' '.join(arguments[:2])} exited {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done

    def add_client(self, name, keys, *flags, scope=SCOPE):
        """Registers a client with a key pair of its own, whose private half is written under `keys`."""
        key = os.path.join(keys, f"{name}.key")
        self.command("client", "add", "--id", name, "--scope", scope, "--generate-key", key, *flags)
        return Client(self, name, key)

    def request(self, method, target, body=None, headers=None, timeout=60):
        """One request on a connection of its own. `target`: a path, or a URL of this server."""
        if target.startswith("http"):
            parts = urllib.parse.urlsplit(target)
            expect(parts.port == self.port, "a URL of another server was given out")
            target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, target, body=body, headers={"Host": f"localhost:{self.port}", **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()


class Client:
    """A registered client. `call` brings its token along."""

    def __init__(self, server, name, key):
        self.server, self.name, self.key = server, name, key
        self._token, self._until = None, 0.0

    def token(self):
        if time.monotonic() >= self._until:
            done = self.server.command("token", "--client", self.name, "--key", self.key)
            self._token, self._until = done.stdout.strip(), time.monotonic() + TOKEN_FOR
        return self._token

    def call(self, method, target, body=None, headers=None, timeout=60):
        if not isinstance(body, (bytes, str, type(None))):
            body = json.dumps(body).encode()
            headers = {"Content-Type": "application/fhir+json", **(headers or {})}
        target = target if target.startswith(("/", "http")) else f"/fhir/{target}"
        return self.server.request(
            method, target, body, {"Authorization": f"Bearer {self.token()}", **(headers or {})}, timeout
        )

    def made(self, method, target, body=None, headers=None, timeout=120):
        """The resource of a call that must succeed."""
        answer = self.call(method, target, body, headers, timeout)
        expect(answer.status in (200, 201), f"{method} {target}: {answer.status} {answer.code()} {answer.body[:500]!r}")
        return answer.json()

    def state(self, identifier):
        """The lifecycle state of a document."""
        for extension in self.made("GET", f"DocumentReference/{identifier}").get("extension", []):
            if extension["url"] == "urn:daylily:fhir/StructureDefinition/lifecycle":
                return extension["valueCode"]
        raise Failed("a document without its lifecycle state")

    def settled(self, identifier, seconds=60):
        """The state once the safety check is over."""
        def probe():
            state = self.state(identifier)
            return state if state not in ("created", "scanned") else None
        return wait_for("the safety check", seconds, probe)

    def link(self, identifier, **parameters):
        """A link of `$issue-link`: its URL."""
        names = {"lifetime": "valueString", "content": "valuePositiveInt", "file-name": "valueString",
                 "uses": "valuePositiveInt"}
        given = [{"name": name, names[name]: value} for name, value in parameters.items()]
        body = {"resourceType": "Parameters", "parameter": given} if given else {"resourceType": "Parameters"}
        issued = self.made("POST", f"DocumentReference/{identifier}/$issue-link", body)
        return parameter(issued, "url")["valueUrl"]


def parameter(parameters, name):
    """The first parameter of that name."""
    for found in parameters.get("parameter", []):
        if found["name"] == name:
            return found
    raise Failed(f"no parameter {name}")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def document(data, title="Letter", media="text/plain", **elements):
    """A DocumentReference with its file inline."""
    attachment = {"contentType": media, "data": base64.b64encode(data).decode(), "title": title}
    return {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}], **elements}


def part(run):
    """Runs one part as a program: 0 when it held, 1 with what did not."""
    try:
        run()
    except Failed as failure:
        print(f"FAIL: {failure}", file=sys.stderr)
        return 1
    return 0
