"""Receivers of webhooks, and Subscriptions that point at them. Python's standard library only, but for who verifies.

A receiver is a real HTTP server on a port of its own. What it answers is a function; what it got is kept in order.
"""
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from serving import expect, parameter, wait_for

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
TOPIC = "urn:daylily:fhir/SubscriptionTopic"
# The server may call this machine, without TLS: nothing else of the guard is switched off.
LOOPBACK = {"DAYLILY_EGRESS__ALLOW": "127.0.0.0/8", "DAYLILY_EGRESS__ALLOW_HTTP": "true"}
SUBSCRIBER = "system/DocumentReference.rs system/Binary.r system/Subscription.cruds"


class Got:
    """One request as it came. `headers` by lower-case name."""

    def __init__(self, method, path, headers, body):
        self.at, self.method, self.path, self.body = time.time(), method, path, body
        self.headers = {name.lower(): value for name, value in headers}

    @property
    def id(self):
        return self.headers.get("webhook-id")

    def bundle(self):
        return json.loads(self.body)

    def parameters(self):
        return self.bundle()["entry"][0]["resource"]

    def kind(self):
        return parameter(self.parameters(), "type")["valueCode"]

    def event(self):
        """Number and focus of its one event."""
        [event] = [one for one in self.parameters()["parameter"] if one["name"] == "notification-event"]
        values = {one["name"]: one for one in event["part"]}
        number = int(values["event-number"]["valueString"])
        focus = values["focus"]["valueReference"]["reference"].rsplit("/", 1)[-1] if "focus" in values else None
        return number, focus


class Receiver:
    """Takes what comes and answers what `answer(got)` says: a status, or None to close without an answer."""

    def __init__(self, answer=lambda got: 200):
        self.answer, self.got, self.lock = answer, [], threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def take(self):
                length = int(self.headers.get("Content-Length") or 0)
                got = Got(self.command, self.path, self.headers.items(), self.rfile.read(length))
                with receiver.lock:
                    receiver.got.append(got)
                status = receiver.answer(got)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_GET = take

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def all(self):
        with self.lock:
            return list(self.got)

    def events(self):
        """Every event delivery, in order of arrival."""
        return [got for got in self.all() if got.kind() == "event-notification"]

    def wait(self, what, seconds, holds):
        """Waits until something that came holds; answers it."""
        return wait_for(what, seconds, lambda: next((got for got in self.all() if holds(got)), None))


def subscription(endpoint, topic="document-ready", level="id-only", status="requested", filters=()):
    """A topic-based rest-hook Subscription of the backport guide."""
    body = {
        "resourceType": "Subscription", "status": status, "reason": "conformance", "criteria": f"{TOPIC}/{topic}",
        "channel": {
            "type": "rest-hook", "endpoint": endpoint, "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{BACKPORT}/backport-payload-content", "valueCode": level}]},
        },
    }
    if filters:
        body["_criteria"] = {"extension": [
            {"url": f"{BACKPORT}/backport-filter-criteria", "valueString": one} for one in filters
        ]}
    return body


def subscribe(client, receiver, seconds=30, **terms):
    """Makes a Subscription and waits until it is active. Answers its id and its secret."""
    made = client.made("POST", "Subscription", subscription(receiver.url, status="off", **terms))
    secret = new_secret(client, made["id"])
    made["status"] = "requested"
    client.made("PUT", f"Subscription/{made['id']}", made)
    active(client, made["id"], seconds)
    return made["id"], secret


def active(client, identifier, seconds=30):
    def probe():
        found = client.made("GET", f"Subscription/{identifier}")
        expect(found["status"] in ("requested", "active"), f"the Subscription is {found['status']}: {found.get('error')}")
        return found["status"] == "active"
    wait_for("the Subscription is active", seconds, probe)


def new_secret(client, identifier, **given):
    parameters = [{"name": name, "valueString": value} for name, value in given.items()]
    body = {"resourceType": "Parameters", **({"parameter": parameters} if parameters else {})}
    answer = client.call("POST", f"Subscription/{identifier}/$webhook-secret", body)
    expect(answer.status == 200, f"$webhook-secret: {answer.status} {answer.code()} {answer.body[:300]!r}")
    expect(answer.headers.get("cache-control") == "no-store", "a secret may be kept by a cache")
    return parameter(answer.json(), "secret")["valueString"]
