"""Honest readers whose network fails them once: all of them get the file."""
from concurrent.futures import ThreadPoolExecutor

from serving import expect
from uses.readers import WINDOW

# What a reader's system may take in while the reader itself has fallen silent.
HELD = 6 * WINDOW
BESIDE = 8


class Plan:
    """One reader: where it breaks off, how, and what it does then."""

    def __init__(self, play, number):
        self.silent = bool(number % 2) and play.size > 2 * HELD
        self.mend = ("whole", "range with If-Range", "range as curl -C -")[number // 2 % 3]
        self.at = play.dice.randrange(1, play.size - HELD if self.silent else play.size)


def honest(play, number):
    plan = Plan(play, number)
    wire = play.wire(window=WINDOW if plan.silent else None)
    wire.ask(play.path)
    reply = wire.reply(plan.at)
    expect(reply.status == 200, f"a first GET is answered {reply.status} {reply.code or ''}")
    play.note(f"breaks off after {len(reply.body)} of {play.size} by {'silence' if plan.silent else 'a reset'}, then {plan.mend}")
    play.ledger.take(reply)
    play.tag = reply.headers["etag"]
    if not plan.silent:
        wire.reset()
    is_whole = _mend(play, plan, bytes(reply.body))
    # A silent one's connection was there until now, with what it never read.
    wire.close()
    if is_whole:
        play.spent()
    else:
        # What a reset or silent connection had brought is the reader's word, so the use may be open still; the bound holds.
        play.exhaust()


def _mend(play, plan, have):
    """After a reset at once; after silence the whole is there again once the grace is over. Whether it was taken whole."""
    ask = play.patient if plan.silent else play.get
    is_whole = plan.mend == "whole" or len(have) == play.size
    if is_whole:
        reply, have = ask(), b""
    else:
        reply = ask(ask=f"{len(have)}-", tagged="If-Range" in plan.mend)
    play.taken(reply, "an honest reader")
    expect(have + reply.body == play.data, "what an honest reader has is not the file")
    return is_whole


def side_by_side(numbers, run):
    """Many of them side by side, since the silent ones wait."""
    with ThreadPoolExecutor(BESIDE) as pool:
        return list(pool.map(run, numbers))
