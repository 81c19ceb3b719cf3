"""Servers that hand out counted links, without and with TLS. Python's standard library only."""
import http.client
import itertools
import os
import ssl
import subprocess
import tempfile
import urllib.parse

from acting import dice_of
from serving import Answer, Server, document, expect, parameter

# The least grace that a policy takes: readers that fall silent are waited for.
POLICY = '[[rule]]\nname = "uses"\nwhen = { client = ["reader"] }\nlink = { lifetime = "2h", grace = "1s" }\n'
LIMITS = {"DAYLILY_LIMITS__CLIENT_REQUESTS": "1000000", "DAYLILY_LIMITS__REFUSED_REQUESTS": "100000", "DAYLILY_LIMITS__DRAIN": "1s"}
# From a letter in the database to a file of its own that no system's buffers hold.
SIZES = {"2 KB": 2_000, "60 KB": 60_000, "300 KB": 300_000, "3 MB": 3_000_000, "20 MB": 20_000_000}


class EitherServer(Server):
    """The server, over TLS where it has a certificate. Nobody's identity is checked: what is looked at is how transfers end."""

    tls = None

    def request(self, method, target, body=None, headers=None, timeout=60):
        if self.tls is None:
            return super().request(method, target, body, headers, timeout)
        target = urllib.parse.urlsplit(target).path if target.startswith("http") else target
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.tls)
        try:
            connection.request(method, target, body=body, headers={"Host": f"localhost:{self.port}", **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def encrypt(self, work, version=ssl.TLSVersion.TLSv1_3):
        """Gives it a certificate for its next start, which its own commands believe."""
        pem, key = certificate(work)
        self.environment |= {"DAYLILY_SERVER__TLS__CERTIFICATE": pem, "DAYLILY_SERVER__TLS__KEY": key, "SSL_CERT_FILE": pem}
        self.tls = anyone(version)


def certificate(work):
    certificate_file, key = os.path.join(work, "tls.pem"), os.path.join(work, "tls.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", key, "-out", certificate_file],
        check=True, capture_output=True, timeout=60,
    )
    os.chmod(key, 0o600)
    return certificate_file, key


def anyone(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


def path_of(url):
    return "/d/" + url.rsplit("/d/", 1)[1]


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
