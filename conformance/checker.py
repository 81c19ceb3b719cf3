#!/usr/bin/env python3
"""Judges a data folder and the server on it by the history of what clients sent and were answered.

  checker HISTORY.jsonl DATA_FOLDER [--key CLIENT=FILE] [--log SERVER_LOG]…

What is judged, each failure named by its letter:

  C1  every document that was acknowledged is there: its bytes by link with the SHA-256 that was sent, or refused because its
      revocation was acknowledged (or may have been taken); a revocation that was acknowledged holds;
  C2  no document that is not in the history;
  C3  at most one document for an idempotency key, whatever was sent again;
  C4  every answer with patient data that clients got has its entry in the audit log, found by the request's id;
  C5  nothing was served that was not released before: by the log, and by what the history says was not clean;
  C6  no one-time link was good for more than one whole delivery;
  C7  nothing in the outbox is undelivered; each event has one id, one body, one document at every attempt, and comes in order;
      nothing counts as delivered that no receiver took;
  C8  `daylily audit verify` passes on the signed checkpoints, and never has fewer entries than were seen before;
  C9  rows, bytes and keys belong together, nothing temporary is left, and SQLite finds its file sound;
  C10 no planted word of the documents' contents stands in the folder or in a log.

A history is one JSON object a line: see `History`. A create, a use or a revocation without an answer is `unknown`, which is
never taken for a failure: both outcomes are allowed, no third one.
"""
import argparse
import base64
import collections
import glob
import json
import mmap
import os
import sqlite3
import sys
import threading
import time
import urllib.parse

from serving import Client, Failed, Server, document, expect, parameter, part, sha256, wait_for

# Each document of a history carries its idempotency key as an identifier of this system.
SYSTEM = "urn:example:history"
SETTLE = 90
# Actions of the log that hand out content.
HANDED_OUT = ("link.redeem", "binary.read", "document.content")
# What a client that got an answer of this operation must find in the log.
SEEN = ("create", "upload", "read", "search", "link", "download", "revoke")


def result_of(answer):
    """What an answer says. Of a 5xx nobody knows what was done before it, but that a busy server has begun nothing."""
    if answer is None or answer.status >= 500 and answer.code() != "server-busy":
        return "unknown"
    return "ok" if answer.status < 300 else "fail"


class History:
    """What was sent and what was answered, in order, in memory and (with `path`) in a file. Any thread may note.

    A line: `op`, `at` (seconds since 1970 when the answer came), `result` ok | fail | unknown, and by `op`:
      create    key, sha256, id (when ok), clean (false: must be held back), ends (true: retention may take it), request
      upload    key, sha256, id, request                   raw Binary
      read, search, revoke   id, request
      link      id, url, uses (0: not counted), request
      download  id, url, uses, sha256 (of what came), whole (true: every byte came), request
      subscribe id
      delivery  subscription, number, webhook, focus, sha256 (of the body), status (what the receiver answered)
      canary    word
    `request` is the X-Request-Id of the answer.
    """

    def __init__(self, path=None):
        self.lock = threading.Lock()
        self.lines = []
        self.file = open(path, "a", buffering=1, encoding="utf-8") if path else None

    @classmethod
    def read(cls, path):
        history = cls()
        with open(path, encoding="utf-8") as lines:
            history.lines = [json.loads(line) for line in lines if line.strip()]
        return history

    def note(self, op, result="ok", **fields):
        line = {"op": op, "at": time.time(), "result": result, **fields}
        with self.lock:
            self.lines.append(line)
            if self.file:
                self.file.write(json.dumps(line) + "\n")
        return line

    def answered(self, op, answer, **fields):
        """Notes an `Answer` (or None: none came); a create's `id` is taken from it."""
        result = result_of(answer)
        if answer:
            fields = {"status": answer.status, "request": answer.headers.get("x-request-id"), **fields}
        if result == "ok" and op in ("create", "upload"):
            fields["id"] = answer.json()["id"]
        return self.note(op, result, **fields)

    def all(self, op=None):
        with self.lock:
            return [line for line in self.lines if op is None or line["op"] == op]

    def deliver(self, got, status, subscription=""):
        """Notes what a receiver of `hooks.py` got and answered."""
        if got.kind() == "event-notification":
            number, focus = got.event()
            subscription = subscription or got.path
            self.note("delivery", "ok" if status and status < 300 else "fail", subscription=subscription, number=number,
                      webhook=got.id, focus=focus, sha256=sha256(got.body), status=status)


class Documents:
    """The documents of a history: by id, and by key those of which nobody knows whether they are there."""

    def __init__(self, history):
        self.by_id, self.by_key = {}, {}
        for line in history.all("create"):
            known = self.by_key.setdefault(line["key"], {"key": line["key"], "ids": set(), "open": False})
            known.update({name: line[name] for name in ("sha256", "clean", "ends") if name in line})
            if line["result"] == "ok":
                known["ids"].add(line["id"])
                self.by_id[line["id"]] = known
            elif line["result"] == "unknown":
                known["open"] = True
        self.revoked = collections.defaultdict(set)
        for line in history.all("revoke"):
            self.revoked[line["id"]].add(line["result"])


class Judge:
    """Judges a running server. Nothing it asks changes what it judges, but that links are issued and one-time links spent."""

    def __init__(self, server, client, history, logs=(), size=0):
        self.server, self.client, self.history, self.logs = server, client, history, list(logs)
        self.documents = Documents(history)
        self.troubles = []
        self.figures = collections.Counter()
        # The log's size that was seen last; it never shrinks.
        self.size = size
        # What earlier rounds have seen: links that are spent, documents that were released, lines whose entries were found.
        self.spent, self.released, self.checked, self.since = set(), set(), 0, None

    def trouble(self, letter, what):
        self.troubles.append(f"{letter}: {what}")

    def holds(self, condition, letter, what):
        if not condition:
            self.trouble(letter, what)
        return condition

    def everything(self, only=None, deep=True):
        """All of it; `only`: ids whose bytes and spent links are looked at again (None: every one); `deep`: every page of the
        database and every byte of the folder too. May be called again and again: of the log only what is new is exported.
        Fails with all that does not hold; answers figures."""
        self.documents = Documents(self.history)
        self.figures.clear()
        self.tidy()
        self.search()
        self.content(only)
        self.links(only)
        self.outbox()
        self.audit()
        self.storage(deep)
        if deep:
            self.words()
        return self.verdict()

    def verdict(self):
        if self.troubles:
            more = f" … and {len(self.troubles) - 8} more" if len(self.troubles) > 8 else ""
            raise Failed("; ".join(self.troubles[:8]) + more)
        return dict(self.figures)

    def tidy(self):
        """Waits until what a start sweeps is swept."""
        pattern = os.path.join(self.server.folder, "blobs", "**", "*.tmp")
        try:
            wait_for("no temporary file", 30, lambda: not glob.glob(pattern, recursive=True))
        except Failed:
            self.trouble("C9", "temporary files are left after the start")

    # C2, C3: what a search finds is what the history holds.

    def search(self):
        found = collections.defaultdict(list)
        for entry in self._pages("DocumentReference?_count=1000"):
            keys = [one["value"] for one in entry.get("identifier", []) if one.get("system") == SYSTEM]
            found[keys[0] if keys else ""].append(entry["id"])
        known = self.documents
        for key, ids in found.items():
            self.holds(len(ids) == len(set(ids)), "C2", f"a search gives a document twice ({key})")
            record = known.by_key.get(key)
            if record is None:
                self.trouble("C2", f"document {ids[0]} is in no history (key {key!r})")
                continue
            self.holds(len(set(ids)) == 1, "C3", f"key {key} made {len(set(ids))} documents")
            may = record["ids"] or record["open"]
            self.holds(may, "C2", f"document {ids[0]} is there, and its create was refused ({key})")
            self.holds(not record["ids"] or set(ids) == record["ids"], "C3", f"key {key}: answered {record['ids']}, found {ids}")
            # From here on it is known to be there.
            for identifier in ids:
                known.by_id.setdefault(identifier, record)
        here = {identifier for ids in found.values() for identifier in ids}
        for identifier, record in known.by_id.items():
            if identifier not in here and not record.get("ends"):
                self.trouble("C1", f"acknowledged document {identifier} is in no search")
        for key, record in known.by_key.items():
            self.holds(len(record["ids"]) <= 1, "C3", f"key {key} was answered with {len(record['ids'])} ids")
        self.figures["documents"] = len(here)

    def _pages(self, target):
        while target:
            bundle = self.client.made("GET", target)
            for entry in bundle.get("entry", []):
                if entry["resource"]["resourceType"] == "DocumentReference":
                    yield entry["resource"]
            target = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)

    # C1: bytes.

    def content(self, only=None):
        for identifier, record in list(self.documents.by_id.items()):
            if only is None or identifier in only:
                try:
                    self._document(identifier, record)
                except Failed as failure:
                    self.trouble("C1", str(failure))
                self.figures["read back"] += 1

    def _document(self, identifier, record):
        answer = self.client.call("GET", f"DocumentReference/{identifier}")
        if answer.status in (404, 410) and record.get("ends"):
            return
        expect(answer.status == 200, f"{identifier} is not to be read: {answer.status} {answer.code()}")
        state = self.client.settled(identifier, SETTLE)
        revoked = self.documents.revoked[identifier]
        expect(state != "revoked" or revoked, f"{identifier} is revoked, and nobody revoked it")
        if record.get("ends"):
            return self._ending(identifier, record)
        expect("ok" not in revoked or state in ("revoked", "purged"), f"the acknowledged revocation of {identifier} is gone ({state})")
        if state == "revoked":
            return self._closed(identifier)
        if record.get("clean") is False:
            if state != "quarantined":
                self.trouble("C5", f"{identifier} is not clean and is {state}")
            return self._closed(identifier)
        expect(state in ("ready", "delivered"), f"a clean document is {state} ({identifier})")
        got = self.server.request("GET", self.client.link(identifier))
        expect(got.status == 200, f"the bytes of {identifier} are not to be had: {got.status} {got.code()}")
        expect(sha256(got.body) == record["sha256"], f"{identifier} has other bytes")

    def _ending(self, identifier, record):
        """Its bytes as they were, or not at all: the time may be over at any moment."""
        answer = self.client.call("POST", f"DocumentReference/{identifier}/$issue-link", {"resourceType": "Parameters"})
        if answer.status == 200:
            answer = self.server.request("GET", parameter(answer.json(), "url")["valueUrl"])
            expect(answer.status != 200 or sha256(answer.body) == record["sha256"], f"{identifier} has other bytes")
        expect(answer.status in (200, 404, 409, 410), f"a link of the ending document {identifier} was answered {answer.status}")

    def _closed(self, identifier):
        answer = self.client.call("POST", f"DocumentReference/{identifier}/$issue-link", {"resourceType": "Parameters"})
        expect(answer.status in (403, 404, 409, 410, 422), f"a link of the closed document {identifier} was answered {answer.status}")

    # C6: one-time links.

    def links(self, only=None):
        whole, wanted, counted = collections.Counter(), {}, {}
        for line in self.history.all("create"):
            if line["result"] == "ok":
                wanted[line["id"]] = line["sha256"]
        for line in self.history.all("link"):
            if line["result"] == "ok" and line.get("uses") == 1:
                counted[line["url"]] = line["id"]
        for line in self.history.all("download"):
            if line["result"] == "ok" and line.get("whole"):
                expected = wanted.get(line["id"]) or self.documents.by_id.get(line["id"], {}).get("sha256")
                self.holds(line["sha256"] == expected, "C1", f"a download of {line['id']} gave other bytes")
                if line.get("uses") == 1:
                    whole[line["url"]] += 1
        for url, times in whole.items():
            self.holds(times <= 1, "C6", f"a one-time link was good {times} times")
        for url, identifier in counted.items():
            if whole[url] < 2 and (only is None or identifier in only or url not in self.spent):
                self._spend(url, identifier, whole[url])
                self.spent.add(url)
        self.figures["one-time links"] = len(counted)

    def _spend(self, url, identifier, spent):
        """A link whose file arrived is used up; one that was cut gives the file once more at most."""
        got = self._settled_link(url)
        if got.status == 200:
            self.holds(not spent, "C6", f"a spent one-time link of {identifier} worked again")
            self.history.note("download", "ok", id=identifier, url=url, uses=1, whole=True, sha256=sha256(got.body),
                              request=got.headers.get("x-request-id"))
            got = self._settled_link(url)
        self.holds(got.status in (404, 410), "C6", f"a spent link of {identifier} was answered {got.status} {got.code()}")

    def _settled_link(self, url):
        def probe():
            got = self.server.request("GET", url)
            return got if got.status not in (409, 429, 503) else None
        return wait_for("a claim is closed", SETTLE, probe)

    # C7: what was to be told.

    def outbox(self, seconds=SETTLE):
        waiting = ("SELECT count(*) FROM outbox o JOIN subscription s ON s.rid = o.subscription "
                   "WHERE o.state = 0 AND s.status <> 'off'")
        try:
            wait_for("the outbox is empty", seconds, lambda: self._one(waiting) == 0, every=0.1)
        except Failed:
            self.trouble("C7", f"{self._one(waiting)} events are still in the outbox after {seconds} s")
        lines = self.history.all("delivery")
        bodies, focuses, first, taken = {}, {}, {}, collections.defaultdict(list)
        for line in lines:
            name = (line["subscription"], line["number"])
            seen = (line["webhook"], line["focus"], line["sha256"])
            self.holds(bodies.setdefault(name, seen) == seen, "C7", f"event {name} came with two ids, documents or bodies")
            if line["focus"] is not None:
                place = (line["subscription"], line["focus"])
                self.holds(focuses.setdefault(place, line["number"]) == line["number"], "C7", f"{place} was numbered twice")
            if name not in first:
                first[name] = True
                taken[line["subscription"]].append(line["number"])
        for subscription, numbers in taken.items():
            self.holds(numbers == sorted(numbers), "C7", f"events of {subscription} came out of order")
        self._delivered(lines)
        self.figures["events"], self.figures["deliveries"] = len(bodies), len(lines)

    def _delivered(self, lines):
        if not self.history.all("subscribe"):
            return
        taken = {line["focus"] for line in lines if line["result"] == "ok"}
        rows = self._rows("SELECT r.id, o.state FROM outbox o JOIN res r ON r.rid = o.document")
        for identifier, state in rows:
            if state == 1:
                self.holds(identifier in taken, "C7", f"{identifier} counts as told, and nobody was told")
        numbered = {identifier for identifier, _ in rows}
        untold = [identifier for identifier, record in self.documents.by_id.items()
                  if record.get("clean") is not False and not record.get("ends")
                  and not self.documents.revoked[identifier] and identifier not in numbered]
        self.holds(not untold, "C7", f"{len(untold)} documents have no event, {untold[:3]}")
        unknown = {line["focus"] for line in lines if line["focus"]} - set(self.documents.by_id)
        self.holds(not unknown, "C7", f"documents were told that nobody made, {sorted(unknown)[:3]}")

    # C4, C5, C8: the log.

    def audit(self):
        done = self.server.command("audit", "verify", "--json", seconds=300, check=False)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            return self.trouble("C8", f"audit verify exited {done.returncode}: {done.stderr[-300:]}")
        self.holds(report.get("valid") is True and done.returncode == 0, "C8", f"audit verify: {report}")
        self.holds(report.get("size", 0) >= self.size, "C8", f"the log has {report.get('size')} entries, {self.size} were seen")
        self.size = report.get("size", 0)
        lines, requests = self.history.all(), set()
        since = ["--from", self.since] if self.since else []
        # A minute of overlap: an entry is older than its answer, and a wall clock may be set.
        self.since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
        for line in self.server.command("audit", "export", *since, seconds=300).stdout.splitlines():
            self._entry(json.loads(line), requests)
        # Of a download the entry that comes before its first byte is asked for: the one of its end comes too late.
        missing = [line for line in lines[self.checked:]
                   if line["op"] in SEEN and line["result"] == "ok" and line.get("request")
                   and (line["request"], line["op"] == "download") not in requests]
        self.holds(not missing, "C4", f"{len(missing)} answered requests have no entry, {missing[:2]}")
        self.checked = len(lines)
        self.figures["entries"] = self.size

    def _entry(self, entry, requests):
        subject = entry.get("subject", {})
        if entry.get("tech", {}).get("request") and entry["outcome"] in ("ok", "attempted"):
            requests.add((entry["tech"]["request"], False))
            requests.add((entry["tech"]["request"], entry["outcome"] == "attempted"))
        if entry["action"] == "lifecycle.transition" and subject.get("to") == "ready":
            self.released.add(subject.get("resource", "").rsplit("/", 1)[-1])
        if entry["action"] in HANDED_OUT and entry["outcome"] in ("ok", "attempted") and subject.get("document"):
            identifier = subject["document"]
            self.holds(identifier in self.released, "C5", f"{identifier} was handed out before it was released")
            record = self.documents.by_id.get(identifier, {})
            self.holds(record.get("clean") is not False, "C5", f"{identifier} is not clean and was handed out")

    def tell_end(self):
        """Of a server that was stopped in order: its log verifies and has all that it had."""
        report = json.loads(self.server.command("audit", "verify", "--json", seconds=300).stdout)
        expect(report["valid"] is True and report["size"] >= self.size, f"C8: audit verify after the stop: {report}")

    # C9: rows, bytes, keys.

    def storage(self, deep=True):
        try:
            wait_for("bytes and rows agree", 30, lambda: not list(storage_troubles(self.server.folder, False)))
        except Failed:
            pass  # What is wrong is told below.
        for letter, what in storage_troubles(self.server.folder, deep):
            self.trouble(letter, what)

    # C10: words that must be nowhere.

    def words(self):
        words = [line["word"] for line in self.history.all("canary")]
        for letter, what in word_troubles(words, self.server.folder, [self.server.log, *self.logs]):
            self.trouble(letter, what)

    def _rows(self, query):
        return rows_of(self.server.folder, query)

    def _one(self, query):
        return self._rows(query)[0][0]


def rows_of(folder, *queries):
    """Reads beside the server, which SQLite allows a reader."""
    [database] = glob.glob(os.path.join(folder, "*.db"))
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
    try:
        answers = [connection.execute(query).fetchall() for query in queries]
    finally:
        connection.close()
    return answers[0] if len(answers) == 1 else answers


def spelt(number):
    """An id as its file is named: Crockford's base 32, most significant bits first, filled up with zeros."""
    bits = f"{int.from_bytes(number, 'big'):0{8 * len(number)}b}"
    bits += "0" * (-len(bits) % 5)
    return "".join("0123456789abcdefghjkmnpqrstvwxyz"[int(bits[at:at + 5], 2)] for at in range(0, len(bits), 5))


def storage_troubles(folder, deep=True):
    """C9, of a folder whose server is quiet: yields (letter, sentence)."""
    rows, inline, spare, keyless, state, sound = rows_of(
        folder,
        "SELECT id FROM file WHERE key IS NOT NULL AND inline IS NULL",
        "SELECT count(*) FROM file WHERE inline IS NOT NULL AND inline NOT IN (SELECT number FROM content)",
        "SELECT count(*) FROM content WHERE number NOT IN (SELECT inline FROM file WHERE inline IS NOT NULL)",
        # A purged document has no key, text or bytes left; one that is not has its keys.
        "SELECT count(*) FROM res r JOIN file f ON f.rid = r.rid WHERE r.kind = 1 AND (r.state = 'purged') <> (f.key IS NULL)",
        "SELECT count(*) FROM res WHERE kind = 1 AND state = 'purged' AND body IS NOT NULL",
        "PRAGMA integrity_check" if deep else "SELECT 'ok'",
    )
    rows = {spelt(row[0]) for row in rows}
    blobs = os.path.join(folder, "blobs")
    files = [path for path in glob.glob(os.path.join(blobs, "**"), recursive=True) if os.path.isfile(path)]
    placed = {os.path.basename(path) for path in files if os.path.dirname(path) != os.path.join(blobs, "tmp")}
    if rows - placed:
        yield "C9", f"{len(rows - placed)} rows without their file, {sorted(rows - placed)[:3]}"
    if placed - rows:
        yield "C9", f"{len(placed - rows)} files without a row, {sorted(placed - rows)[:3]}"
    if len(files) != len(placed):
        yield "C9", f"{len(files) - len(placed)} temporary files are left"
    for count, what in ((inline, "rows without their bytes in the database"), (spare, "bytes in the database without a row"),
                        (keyless, "files whose key does not fit their document's state"), (state, "purged documents with a text")):
        if count[0][0]:
            yield "C9", f"{count[0][0]} {what}"
    if sound != [("ok",)]:
        yield "C9", f"SQLite: {sound[:3]}"


def forms(word):
    """A word as it may be found: itself, and in base64 at each of the three offsets."""
    raw = word.encode()
    found = {raw}
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        found.add(coded[4 if shift else 0:-4])
    return found


def word_troubles(words, folder, logs):
    """C10: yields (letter, sentence) for each planted word that stands somewhere."""
    paths = [path for path in glob.glob(os.path.join(folder, "**"), recursive=True, include_hidden=True) if os.path.isfile(path)]
    wanted = [form for word in words for form in forms(word)]
    for path in [*paths, *logs] if wanted else ():
        try:
            if os.path.getsize(path) == 0:
                continue
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if any(data.find(form) >= 0 for form in wanted):
                    yield "C10", f"a planted word stands in {os.path.basename(path)}"
        except FileNotFoundError:
            continue


def load_document(key, data, media="text/plain"):
    """The body of a create that a `Judge` can find again."""
    return document(data, media=media, identifier=[{"system": SYSTEM, "value": key}])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("history")
    arguments.add_argument("folder")
    arguments.add_argument("--key", required=True, metavar="CLIENT=FILE", help="a client that sees all, and its private key")
    arguments.add_argument("--log", action="append", default=[])
    given = arguments.parse_args()
    name, key = given.key.split("=", 1)
    # Links of the history say where the server was.
    with open(os.path.join(given.folder, "base-url"), encoding="utf-8") as base:
        port = urllib.parse.urlsplit(base.read().strip()).port
    server = Server(given.folder, given.log[0] if given.log else os.devnull, port=port)
    server.start()
    try:
        figures = Judge(server, Client(server, name, key), History.read(given.history), given.log).everything()
    finally:
        server.stop()
    print(", ".join(f"{count} {what}" for what, count in figures.items()))


if __name__ == "__main__":
    sys.exit(part(main))
