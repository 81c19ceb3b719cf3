"""A one-time link under many GETs side by side: never two whole files, never a use lost on a transfer that was cut."""
import asyncio
import time

from serving import document, expect, parameter, sha256
from uses.site import path_of

KINDS = ("one", "two", "cut")
SMALL, LARGE = 20_000, 3_000_000
# A GET that met the one before it asks again; what it is told to wait is 1 s at least, which no test waits for.
PATIENCE = 30.0


class Reply:
    def __init__(self, status, code, body, whole):
        self.status, self.code, self.body, self.whole = status, code, body, whole


async def fetch(port, path, most=None):
    """GET on a connection of its own. `most`: closes after so many bytes of the body, with what is left unread (a reset)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        length = int(headers.get("content-length", 0))
        body = b""
        while len(body) < length and (most is None or len(body) < most):
            piece = await reader.read(65536)
            if not piece:
                break
            body += piece
        return Reply(status, headers.get("daylily-error"), body, len(body) == length)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass


async def crowd(port, paths, size):
    async def one(path):
        try:
            return await asyncio.wait_for(fetch(port, path), PATIENCE)
        except (OSError, asyncio.IncompleteReadError):
            return Reply(0, "broken", b"", False)
    return await asyncio.gather(*(one(paths[at % len(paths)]) for at in range(size)))


def issue(client, identifier):
    body = {"resourceType": "Parameters", "parameter": [{"name": "uses", "valuePositiveInt": 1}]}
    issued = client.made("POST", f"DocumentReference/{identifier}/$issue-link", body)
    expect(parameter(issued, "uses")["valueInteger"] == 1, "the link's uses are not told")
    return path_of(parameter(issued, "url")["valueUrl"])


def judge(kind, replies, digest):
    """Exactly one whole file; everything else refused in the two ways that there are."""
    whole = [reply for reply in replies if reply.status == 200 and reply.whole]
    expect(all(sha256(reply.body) == digest for reply in whole), f"{kind}: other bytes")
    other = [(reply.status, reply.code) for reply in replies if not (reply.status == 200 and reply.whole)]
    wrong = [one for one in other if one not in ((409, "link-busy"), (410, "link-used"))]
    expect(not wrong, f"{kind}: {wrong[:3]}")
    return len(whole)


async def _refused(port, path):
    reply = await fetch(port, path)
    expect((reply.status, reply.code) == (410, "link-used"), f"after the use: {reply.status} {reply.code}")


async def play(kind, port, client, made, size):
    identifier, digest = made
    links = [issue(client, identifier) for _ in range(2 if kind == "two" else 1)]
    if kind == "cut":
        reply = await fetch(port, links[0], most=100_000)
        expect(reply.status == 200 and not reply.whole, "the first transfer was not cut")
    # A cut one is given back once the server has seen the reset; until then the link is busy.
    deadline = time.monotonic() + PATIENCE
    while True:
        whole = judge(kind, await crowd(port, links, size), digest)
        if whole or kind != "cut":
            break
        expect(time.monotonic() < deadline, "a cut transfer has cost the use")
    expect(whole == 1, f"{kind}: {whole} whole files")
    for link in links:
        await _refused(port, link)


def rounds(site, dice, count, size):
    """`count` rounds of the three kinds in turn. Uses count per file and recipient: each round has a file of its own."""
    for number in range(count):
        kind = KINDS[number % 3]
        data = dice.randbytes((LARGE if kind == "cut" else SMALL) // 2).hex().encode()
        identifier = site.client.made("POST", "DocumentReference", document(data))["id"]
        expect(site.client.settled(identifier) == "ready", "a document is not ready")
        yield kind, lambda: asyncio.run(play(kind, site.server.port, site.client, (identifier, sha256(data)), size))
