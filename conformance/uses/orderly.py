"""Readers that do as HTTP allows and must get what their uses give, no more and no less: pipelines, pools, three uses, prefetches."""
import time

from serving import expect
from uses.readers import BUSY, CLOSED, USED, side_by_side

PAUSES = (0.0, 0.02, 0.3)
PREFETCHES = ({"Sec-Purpose": "prefetch"}, {"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"})


def _answers(play, wire, count):
    """The answers to requests that were sent in one segment, until the server closes."""
    replies = []
    for _ in range(count):
        reply = wire.reply()
        replies.append(reply)
        play.note(f"answer {len(replies)}: {reply.status} {reply.code or ''} {len(reply.body)} bytes")
        if reply.told() == CLOSED:
            break
    return replies


def _together(play, count):
    wire = play.wire()
    play.note(f"{count} GETs in one segment")
    wire.send(wire.request(play.path) * count)
    first, *rest = _answers(play, wire, count)
    play.taken(first, "the first of a pipeline")
    # They were asked before anything was received, so busy is true as well.
    wrong = [reply.told() for reply in rest if reply.told() not in (USED, BUSY, CLOSED)]
    expect(not wrong, f"after the first of a pipeline: {wrong}")
    wire.close()


def _behind(play):
    """Behind another file's GET by a link that is not counted."""
    other = min(size for size in play.site.files if size != play.size)
    wire = play.wire()
    play.note(f"behind a GET of {other} bytes, in one segment")
    wire.send(wire.request(play.site.link(other, uses=0)) + wire.request(play.path))
    first, second = wire.reply(), wire.reply()
    expect(first.whole and bytes(first.body) == play.site.files[other][1], "the other file is not whole")
    play.taken(second, "the second of a pipeline")
    wire.close()


def _old(play):
    wire = play.wire()
    play.note("HTTP/1.0")
    wire.send(wire.request(play.path, version="1.0"))
    play.taken(wire.reply(), "HTTP/1.0")
    wire.close()


def _half_closed(play):
    """A reader that has nothing more to say may be served or not; it is never served twice."""
    wire = play.wire()
    play.note("half closed")
    wire.ask(play.path)
    wire.half_close()
    reply = wire.reply()
    wire.close()
    play.note(f"{reply.status} {len(reply.body)} bytes")
    if reply.whole:
        return play.ledger.take(reply)
    return play.taken(play.patient(), "whoever comes after a half-closed reader")


def pipeline(play, number):
    acts = (lambda: _together(play, 2), lambda: _together(play, 5), lambda: _behind(play), lambda: _old(play), lambda: _half_closed(play))
    acts[number % len(acts)]()
    play.spent()


def pool(play, number):
    """A client that keeps its connections: once it has the whole, every further answer is `link-used`, after whatever pause."""
    pause = PAUSES[number % len(PAUSES)]
    kept = play.wire()
    kept.ask(play.path)
    reply = kept.reply()
    play.taken(reply, "a pooling client")
    play.note(f"whole on a kept connection, then {pause} s")
    time.sleep(pause)
    if number % 2:
        play.spent()
    told = _on(kept, play.path, "HEAD" if number % 4 > 1 else "GET")
    play.note(f"the same connection: {told}")
    expect(told in (USED, CLOSED), f"on the same connection: {told}")
    play.spent("127.0.0.1", "127.0.0.2")
    expect(reply.headers.get("connection") == "close", "a last use is answered without Connection: close")
    kept.close()


def _on(wire, path, method):
    try:
        wire.ask(path, method=method)
        return wire.reply(method=method).told()
    except OSError:
        return CLOSED


def _in_turn(play, broken):
    for at in range(play.uses):
        if at == broken:
            play.get(most=play.size // 3, end="reset")
        reply = play.get()
        play.taken(reply, f"use {at + 1} of {play.uses}")


def _beside(play):
    """Twice as many readers as uses at once: as many get it as there are uses, the others are told so."""
    replies = side_by_side([lambda last=last: play.patient(source=f"127.0.0.{last}") for last in range(2, 2 + 2 * play.uses)])
    whole = [reply for reply in replies if reply.whole and reply.good]
    expect(all(reply.body == play.data for reply in whole), "other bytes than the file's")
    other = [reply.told() for reply in replies if reply not in whole]
    expect(len(whole) == play.uses and set(other) == {USED}, f"{len(whole)} of {play.uses} uses were served, others told {other}")


def three(play, number):
    """Three uses: one after the other, side by side from many addresses, with a broken one in between."""
    kind = number % 3
    if kind == 1:
        _beside(play)
    else:
        _in_turn(play, broken=1 if kind else None)
    play.spent()


def _told_off(play, headers, method):
    wire = play.wire()
    wire.ask(play.path, headers, method)
    reply = wire.reply(method=method)
    wire.close()
    play.note(f"{method} {headers}: {reply.status} {reply.code}")
    expect(reply.told() == (503, "link-prefetch"), f"a prefetch is answered {reply.status} {reply.code or ''}")
    fit = "no-store" in reply.headers.get("cache-control", "") and "retry-after" not in reply.headers
    expect(fit, f"a prefetch is told {reply.headers}")


def prefetch(play, number):
    """Prefetches count nothing; two bytes to look at the file are the beginning of the use."""
    if number % 2:
        peek = play.get(ask="0-1", most=2)
        expect(peek.status == 206, f"bytes=0-1 is answered {peek.status}")
        play.ledger.take(peek)
    for at in range(5):
        _told_off(play, PREFETCHES[at % len(PREFETCHES)], ("GET", "HEAD")[at // 3])
    expect(play.get(method="HEAD").status == 200, "HEAD after prefetches is refused")
    play.taken(play.get(), "who comes after")
    play.spent()
