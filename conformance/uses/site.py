"""Servers that hand out counted links, without and with TLS. Python's standard library only."""
import itertools
import os
import tempfile

from acting import dice_of
from readers import EitherServer, path_of
from serving import document, expect, parameter

# The least grace that a policy takes: readers that fall silent are waited for.
POLICY = '[[rule]]\nname = "uses"\nwhen = { client = ["reader"] }\nlink = { lifetime = "2h", grace = "1s" }\n'
LIMITS = {"DAYLILY_LIMITS__CLIENT_REQUESTS": "1000000", "DAYLILY_LIMITS__REFUSED_REQUESTS": "100000", "DAYLILY_LIMITS__DRAIN": "1s"}
# From a letter in the database to a file of its own that no system's buffers hold.
SIZES = {"2 KB": 2_000, "60 KB": 60_000, "300 KB": 300_000, "3 MB": 3_000_000, "20 MB": 20_000_000}


class Site:
    """A server with a file of each size, and links of them. Uses count for each recipient by itself: each link has one of its own."""

    def __init__(self, way, seed):
        self.way, self.files, self.recipients = way, {}, itertools.count(1)
        self.folder = tempfile.TemporaryDirectory(prefix="daylily-uses-")
        work = self.folder.name
        policy = os.path.join(work, "policy.toml")
        with open(policy, "w", encoding="utf-8") as text:
            text.write(POLICY)
        self.server = EitherServer(os.path.join(work, "data"), os.path.join(work, "log"), {**LIMITS, "DAYLILY_POLICY__FILE": policy})
        try:
            if way != "plain":
                self.server.encrypt(work)
            self.server.start()
            self.client = self.server.add_client("reader", work)
            for size in SIZES.values():
                self._deliver(dice_of("file", seed, size).randbytes(size // 2).hex().encode())
        except BaseException:
            self.close()
            raise

    def _deliver(self, data):
        made = self.client.call("POST", "Binary", data, {"Content-Type": "text/plain", "Prefer": "return=minimal"}, timeout=120)
        expect(made.status == 201, f"a file is not taken: {made.status} {made.code()}")
        content = document(b"")
        identifier = made.headers["location"].split("/Binary/")[1].split("/")[0]
        content["content"][0]["attachment"] = {"contentType": "text/plain", "title": "Letter", "url": f"Binary/{identifier}"}
        identifier = self.client.made("POST", "DocumentReference", content)["id"]
        expect(self.client.settled(identifier) == "ready", "a document is not ready")
        self.files[len(data)] = (identifier, data)

    def link(self, size, uses=1):
        """The path of a link for a new recipient; `uses` 0: not limited."""
        body = {"resourceType": "Parameters", "parameter": [
            {"name": "recipient", "valueReference": {"reference": f"Practitioner/{next(self.recipients)}"}},
            *([{"name": "uses", "valuePositiveInt": uses}] if uses else []),
        ]}
        issued = self.client.made("POST", f"DocumentReference/{self.files[size][0]}/$issue-link", body)
        return path_of(parameter(issued, "url")["valueUrl"])

    def again(self, end):
        """Ends the server by `stop` or `kill` and starts it on what is there."""
        getattr(self.server, end)()
        self.server.start()

    def close(self):
        self.server.stop()
        self.folder.cleanup()
