"""The servers that this one is set against: nginx, SeaweedFS, and a bare loop that commits rows (Rust, `peer.rs`)."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse

from serving import Failed, expect, free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def port_answers(port):
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Started:
    """A process that is stopped by its own id."""

    def __init__(self, name, command, log, **more):
        self.name, self.log = name, log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(command, **{"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, **more})

    def alive(self):
        if self.process.poll() is not None:
            with open(self.log, errors="replace") as log:
                raise Failed(f"{self.name} ended with {self.process.returncode}: {log.read()[-1500:]}")
        return True

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10)


CONFIG = """
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 8192;
pid {work}/nginx.pid; error_log {work}/nginx.error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 60s;
  types {{ text/plain txt; }} default_type text/plain;
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {work}/files;
    location /plain/ {{ alias {work}/files/; }}
    location /linked/ {{
      secure_link $arg_md5,$arg_expires;
      secure_link_md5 "$secure_link_expires$uri {secret}";
      if ($secure_link = "") {{ return 403; }}
      if ($secure_link = "0") {{ return 410; }}
      alias {work}/files/;
    }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl backlog=4096;
    ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; ssl_session_tickets off;
    root {work}/files;
    location /plain/ {{ alias {work}/files/; }}
  }}
}}
"""


class Nginx:
    """nginx with one worker, as Debian builds it: static files, and the same behind `secure_link`."""

    def __init__(self, work, certificate, key):
        self.work = os.path.join(work, "nginx")
        os.makedirs(os.path.join(self.work, "files"))
        # Workers of a root-started nginx run as nobody, unless there is no master.
        self.port, self.tls, self.secret = free_port(), free_port(), "a-secret-of-the-bench"
        built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, timeout=10, check=True).stderr
        expect("http_secure_link_module" in built, "this nginx was built without secure_link")
        self.version = built.split("nginx/", 1)[1].split()[0]
        config = os.path.join(self.work, "nginx.conf")
        with open(config, "w") as file:
            file.write(CONFIG.format(work=self.work, port=self.port, tls=self.tls, secret=self.secret, certificate=certificate, key=key))
        command = ["nginx", "-c", config, "-p", self.work, "-e", os.path.join(self.work, "start.log")]
        self.started = Started("nginx", command, os.path.join(self.work, "output.log"))
        wait_for("nginx listens", 10, lambda: self.started.alive() and port_answers(self.port))

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    def file(self, name, data):
        with open(os.path.join(self.work, "files", name), "wb") as file:
            file.write(data)

    def linked(self, name):
        """Path and query of a link that ends in an hour."""
        expires, path = int(time.time()) + 3600, f"/linked/{name}"
        digest = hashlib.md5(f"{expires}{path} {self.secret}".encode()).digest()
        return f"{path}?md5={base64.urlsafe_b64encode(digest).decode().rstrip('=')}&expires={expires}"

    def stop(self):
        self.started.stop()


class Seaweed:
    """SeaweedFS as an S3 server (its release binary, `weed`). Its ports and those 10,000 above them."""

    KEY, SECRET, BUCKET = "benchkey", "bench-secret-of-this-run", "daylily"

    def __init__(self, work):
        self.folder = os.path.join(work, "seaweed")
        os.makedirs(self.folder)
        with open(os.path.join(self.folder, "s3.json"), "w") as file:
            json.dump({"identities": [{"name": "bench", "credentials": [{"accessKey": self.KEY, "secretKey": self.SECRET}],
                                       "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}, file)
        base = self._ports()
        self.port = base
        # By default it tells its maker and opens more listeners.
        self.started = Started("weed", [
            os.environ.get("WEED") or shutil.which("weed"), "-logtostderr=true", "mini", f"-dir={self.folder}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.port={base}", f"-master.port={base + 1}", f"-volume.port={base + 2}", f"-filer.port={base + 3}", "-admin.ui=false",
            "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            f"-s3.config={self.folder}/s3.json", f"-bucket={self.BUCKET}",
        ], os.path.join(self.folder, "log"))
        wait_for("SeaweedFS is ready", 40, lambda: self.started.alive() and self._healthy(), every=0.1)

    @staticmethod
    def _ports():
        for base in range(21300, 40000, 97):
            if not any(port_answers(one + more) for one in range(base, base + 4) for more in (0, 10_000)):
                return base
        raise Failed("no free ports for SeaweedFS")

    def _healthy(self):
        try:
            return self.call("GET", "/healthz")[0] == 200
        except OSError:
            return False

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    def call(self, method, target, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, target, body=body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def put(self, name, data):
        status, told = self.call("PUT", self.presigned("PUT", name), data)
        expect(status == 200, f"SeaweedFS took a file with {status}: {told[:300]!r}")

    def presigned(self, method, name):
        """Path and query, signed as AWS Signature Version 4 says for a presigned URL."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        day, path = stamp[:8], f"/{self.BUCKET}/{name}"
        scope = f"{day}/us-east-1/s3/aws4_request"
        query = "&".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in sorted({
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{self.KEY}/{scope}", "X-Amz-Date": stamp,
            "X-Amz-Expires": "3600", "X-Amz-SignedHeaders": "host",
        }.items()))
        canonical = f"{method}\n{path}\n{query}\nhost:127.0.0.1:{self.port}\n\nhost\nUNSIGNED-PAYLOAD"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.SECRET}".encode()
        for part in (day, "us-east-1", "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return f"{path}?{query}&X-Amz-Signature={hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()}"

    def stop(self):
        self.started.stop()


def peer_binary():
    """The compiled peer; built beside the server when `BENCH_PEER` names none."""
    named = os.environ.get("BENCH_PEER")
    if named:
        return named
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--example", "bench-peer"], cwd=ROOT, check=True, timeout=1800)
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    return os.path.join(target, "release", "examples", "bench-peer")


class Peer:
    """A part of `peer.rs`: a line in, a line of JSON out."""

    def __init__(self, work, binary, *words):
        self.started = Started(
            f"bench-peer {words[0]}", [binary, *words], os.path.join(work, f"peer-{words[0]}.log"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )

    def ask(self, line):
        process = self.started.process
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return self.first()

    def first(self):
        """The next line that it says."""
        told = self.started.process.stdout.readline()
        expect(told, f"{self.started.name} said nothing")
        return json.loads(told)

    def stop(self):
        self.started.stop()
