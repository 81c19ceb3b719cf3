"""What clients do to a Daylily, each act noted in a history for the checker. Python's standard library only.

A server that goes away in the middle is no mistake here: the act is noted as `unknown` and `Gone` is raised.
"""
import base64
import http.client
import random
import socket

from checker import SYSTEM, load_document
from hooks import active, subscription
from serving import SCOPE, Failed, expect, parameter, sha256

# In two pieces, so that no scanner finds this file.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
# One client that delivers, reads all it delivered and listens for events.
ACTOR_SCOPE = f"{SCOPE} system/Subscription.cruds"
BROKEN = (OSError, http.client.HTTPException, ValueError)
ENDS = "urn:example:history|ends"


class Gone(Exception):
    """The server did not answer."""


class Actor:
    """A client whose acts are noted. `canary` stands in every file."""

    def __init__(self, client, history, canary):
        self.client, self.history, self.canary = client, history, canary
        # Creates without an answer, by key.
        self.open = {}
        # What was delivered: id and key, and the ids that have a one-time link.
        self.known, self.counted = [], set()
        # What somebody is about to revoke: a download of it may be cut at any byte.
        self.revoking = set()
        # What a create may be refused with.
        self.tolerates = {429, 503}
        history.note("canary", word=canary)

    def _call(self, op, method, target, body=None, headers=None, **fields):
        try:
            answer = self.client.call(method, target, body, headers)
        except (*BROKEN, Failed) as error:
            self.history.note(op, "unknown", **fields)
            raise Gone(str(error)) from None
        self.history.answered(op, answer, **fields)
        return answer

    def file(self, key, size, dice):
        """A text of at least `size` bytes that begins with the canary."""
        return f"{self.canary} {key}\n".encode() + base64.b64encode(dice.randbytes(max(size * 3 // 4, 1)))

    def create(self, key, data, raw=False, ends=False, **more):
        """A document with its file, inline or sent before. Its id; None where the answer is a refusal."""
        facts = {"key": key, "sha256": sha256(data), **({"ends": True} if ends else {}), **more}
        body = load_document(key, data)
        if ends:
            system, code = ENDS.split("|")
            body["category"] = [{"coding": [{"system": system, "code": code}]}]
        if raw:
            head = {"Content-Type": "text/plain", "Idempotency-Key": f"{key}-file"}
            answer = self._call("upload", "POST", "Binary", data, head, key=f"{key}-file", sha256=facts["sha256"])
            if answer.status not in (200, 201):
                return self._refused(answer)
            body["content"] = [{"attachment": {"contentType": "text/plain", "url": f"Binary/{answer.json()['id']}"}}]
        answer = self._call("create", "POST", "DocumentReference", body, {"Idempotency-Key": key}, **facts)
        return answer.json()["id"] if answer.status in (200, 201) else self._refused(answer)

    def _refused(self, answer):
        expect(answer.status in self.tolerates, f"a create was answered {answer.status} {answer.code()} {answer.body[:300]!r}")

    def read(self, identifier):
        return self._call("read", "GET", f"DocumentReference/{identifier}", id=identifier)

    def search(self, key):
        return self._call("search", "GET", f"DocumentReference?identifier={SYSTEM}%7C{key}")

    def revoke(self, identifier):
        self.revoking.add(identifier)
        reason = {"name": "reason", "valueString": "drawn by the dice"}
        body = {"resourceType": "Parameters", "parameter": [reason, {"name": "state", "valueBoolean": True}]}
        return self._call("revoke", "POST", f"DocumentReference/{identifier}/$revoke", body, id=identifier)

    def link(self, identifier, uses=0):
        """A link, or None where none can be had."""
        body = {"resourceType": "Parameters"}
        if uses:
            body["parameter"] = [{"name": "uses", "valuePositiveInt": uses}]
        try:
            answer = self.client.call("POST", f"DocumentReference/{identifier}/$issue-link", body)
        except (*BROKEN, Failed) as error:
            self.history.note("link", "unknown", id=identifier, uses=uses)
            raise Gone(str(error)) from None
        url = parameter(answer.json(), "url")["valueUrl"] if answer.status == 200 else None
        self.history.answered("link", answer, id=identifier, uses=uses, **({"url": url} if url else {}))
        return url

    def download(self, identifier, url, uses=0):
        """Follows a link; None where a revocation cut it."""
        fields = {"id": identifier, "url": url, "uses": uses}
        try:
            got = self.client.server.request("GET", url)
        except BROKEN as error:
            self.history.note("download", "unknown", **fields)
            if identifier in self.revoking:
                return None
            raise Gone(str(error)) from None
        self.history.answered("download", got, sha256=sha256(got.body), whole=True, **fields)
        return got

    def cut(self, identifier, url, uses=0):
        """Follows a link and goes away after a part."""
        try:
            with socket.create_connection(("127.0.0.1", self.client.server.port), timeout=30) as wire:
                target = url.split("/", 3)[3]
                wire.sendall(f"GET /{target} HTTP/1.1\r\nHost: localhost:{self.client.server.port}\r\n\r\n".encode())
                wire.recv(4096)
        except BROKEN as error:
            raise Gone(str(error)) from None
        finally:
            self.history.note("download", "unknown", id=identifier, url=url, uses=uses)

    def again(self):
        """Sends every create without an answer once more, with the same key and bytes, and once more after that: one document."""
        made = 0
        for key, (data, options) in list(self.open.items()):
            identifier = self.create(key, data, **options)
            expect(identifier, f"create {key}, sent again, is refused")
            expect(self.create(key, data, **options) == identifier, f"create {key}, sent a third time, is another document")
            self.open.pop(key, None)
            self.known.append((identifier, key))
            made += 1
        return made

    def deliver(self, key, data, **options):
        """As `create`, and remembered until it has an answer, for `again`."""
        self.open[key] = (data, options)
        identifier = self.create(key, data, **options)
        if identifier:
            self.open.pop(key, None)
            self.known.append((identifier, key))
        return identifier

    def act(self, dice, name):
        """Something drawn: half of the time a new document, inline or raw, of 1 KB to 300 KB; else one that is there is read,
        searched, downloaded (some break off), its one-time link used, or it is revoked."""
        if not self.known or dice.random() < 0.5:
            if dice.random() < 0.03:
                return self.deliver(name, EICAR, clean=False)
            size, raw = int(1000 * 300 ** dice.random()), dice.random() < 0.4
            return self.deliver(name, self.file(name, size, dice), raw=raw)
        identifier, key = dice.choice(self.known)
        choice = dice.random()
        if choice < 0.25:
            return self._fine("a read", self.read(identifier))
        if choice < 0.5:
            found = self.search(key)
            expect(found.status != 200 or len(found.json().get("entry", [])) == 1, "a search lost a document")
            return self._fine("a search", found)
        if choice < 0.65:
            return self._once(identifier)
        if choice < 0.9:
            url = self.link(identifier)
            if url and choice < 0.7:
                return self.cut(identifier, url)
            return self._fine("a download", self.download(identifier, url), 403, 410) if url else None
        return self._fine("a revocation", self.revoke(identifier), 403, 409, 410, 422)

    def _once(self, identifier):
        if identifier in self.counted:
            return None
        self.counted.add(identifier)
        url = self.link(identifier, uses=1)
        return self._fine("a one-time link", self.download(identifier, url, uses=1), 403, 409, 410) if url else None

    def _fine(self, what, answer, *allowed):
        if answer is not None:
            expect(answer.status in {200, *self.tolerates, *allowed}, f"{what} was answered {answer.status} {answer.code()}")


def listen(client, history, receiver):
    """Subscribes a client to all that gets ready."""
    made = client.made("POST", "Subscription", subscription(receiver.url))
    active(client, made["id"])
    history.note("subscribe", id=made["id"])
    return made["id"]


def noting(history, answer=lambda got: 200):
    """The answer function of a receiver whose deliveries are noted."""
    def answered(got):
        status = answer(got)
        history().deliver(got, status)
        return status
    return answered


def dice_of(*names):
    return random.Random("/".join(str(name) for name in names))
