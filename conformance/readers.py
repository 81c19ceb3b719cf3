"""Readers of downloads on connections of their own, piece by piece, without and with TLS. Python's standard library only."""
import http.client
import os
import socket
import ssl
import subprocess
import urllib.parse

from serving import Answer, Server, expect

PATIENCE = 30.0


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


class Reader:
    """One connection, read piece by piece: nothing is taken from the socket that was not asked for."""

    # What its system takes at a time; nothing: as much as it likes.
    window = None

    def __init__(self, server):
        self.host = f"localhost:{server.port}"
        self.socket = socket.socket()
        if self.window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.window)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        self.come, self.gone, self.inside = ssl.MemoryBIO(), ssl.MemoryBIO(), None
        if server.tls is not None:
            self.inside = server.tls.wrap_bio(self.come, self.gone, server_hostname="localhost")
            self._until(self.inside.do_handshake)

    def _flush(self):
        if self.gone.pending:
            self.socket.sendall(self.gone.read())

    def _until(self, act):
        while True:
            try:
                done = act()
                self._flush()
                return done
            except ssl.SSLWantReadError:
                self._flush()
                piece = self.socket.recv(16 * 1024)
                if not piece:
                    self.come.write_eof()
                self.come.write(piece)

    def send(self, data):
        if self.inside is None:
            self.socket.sendall(data)
        else:
            self._until(lambda: self.inside.write(data))

    def receive(self, most=16 * 1024):
        if self.inside is None:
            return self.socket.recv(most)
        try:
            return self._until(lambda: self.inside.read(most))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def ask(self, path, connection="keep-alive"):
        self.send(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: {connection}\r\n\r\n".encode())

    def take(self, least):
        got = 0
        while got < least:
            piece = self.receive()
            expect(piece, f"the answer ended after {got} bytes")
            got += len(piece)
        return got

    def take_whole(self):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.receive()
            expect(piece, "no whole head")
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        expect(head.startswith(b"HTTP/1.1 200"), head[:60])
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        while len(body) < length:
            piece = self.receive()
            expect(piece, f"the file ended after {len(body)} of {length}")
            body += piece
        expect(len(body) == length, "more than the file")
        return length

    def goodbye(self):
        """close_notify, without waiting for the other side's."""
        if self.inside is not None:
            try:
                self.inside.unwrap()
            except ssl.SSLError:
                pass
            self._flush()

    def close(self):
        self.socket.close()


def path_of(url):
    return "/d/" + url.rsplit("/d/", 1)[1]


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
