"""Readers that want more of a one-time file than its use gives: by ranges, pieces, resets, from many addresses.

Whatever they do, together they are handed at most twice the file's length for one use, and what was never handed out before.
"""
from serving import expect
from uses.readers import USED, side_by_side

PASSES = 8
ADDRESSES = tuple(f"127.0.0.{last}" for last in range(2, 10))
PIECES = 200
RESETS = 100
SERVED = 5


def spread(size, count):
    """So many ranges side by side, the whole file together."""
    edges = [size * at // count for at in range(count + 1)]
    return [(first, end - 1) for first, end in zip(edges, edges[1:])]


def text_of(pairs):
    return [f"{first}-{end}" for first, end in pairs]


def plans(size, dice):
    """Ways to ask for a file in ranges, each with its name; most leave a byte out for as long as they can."""
    last, half = size - 1, size // 2
    ends = [(last - size * step // 16, last) for step in range(1, 16)]
    windows = [(at, min(at + size // 3, last - 1)) for at in range(0, last - 1, size // 7)]
    drawn = [sorted((dice.randrange(last), dice.randrange(last))) for _ in range(24)]
    singles = [(at, at) for at in range(last - 15, last)]
    return {
        "the last byte once, then all before it": text_of([(last, last)] + [(0, last - 1)] * 5),
        "all but the last byte": text_of([(0, last - 1)] * 5),
        "all but the first byte": text_of([(1, last)] * 5),
        "all but the first byte, from the end": [f"-{last}"] * 5,
        "the halves, four times each": text_of([(0, half - 1)] * 4 + [(half, last)] * 4),
        "the halves in turn, the second first": text_of([(half, last), (0, half - 1)] * 4),
        "the whole as a range": ["0-"] * 4,
        "several ranges, which are answered by the whole": ["0-1,3-4"] * 4,
        "longer and longer ends": text_of(ends),
        "backwards": text_of(ends[::-1] + [(0, last - 1)]),
        "windows that overlap": text_of(windows),
        "drawn by the dice": text_of(drawn),
        "single bytes at the end": text_of([(0, last - 16), *singles, (0, last - 1)]),
        "a hole in the middle": text_of([(0, half - 1), (half + 1, last)] * 3),
    }


def besiege(play, plan, **how):
    """Asks a plan's ranges over and over, until a whole pass is refused, or long enough: mending what a reader has stays allowed."""
    for _ in range(PASSES):
        served = 0
        for ask in plan:
            reply = play.patient(ask=ask, **how)
            if reply.good:
                served += 1
                play.ledger.take(reply)
            else:
                expect(reply.told() == USED, f"a range is answered {reply.status} {reply.code or ''}")
        if not served:
            return


def ranges(play, number):
    ways = plans(play.size, play.dice)
    name = list(ways)[number % len(ways)]
    tagged, end = play.dice.random() < 0.5, play.dice.choice(("close", "close", "reset"))
    play.note(name)
    besiege(play, ways[name], tagged=tagged, end=end, late=play.dice.random() < 0.3)
    play.exhaust()
    play.spent()


def every_other_first(size, dice):
    pieces = text_of(spread(size, PIECES))
    first, then = pieces[::2], pieces[1::2]
    dice.shuffle(first)
    dice.shuffle(then)
    return first + then


def pieces(play, number):
    """In turn: an honest reader takes all pieces once; a hostile one all but one, again and again."""
    order = every_other_first(play.size, play.dice)
    if number % 2:
        order.remove(play.dice.choice(order[1:]))
        besiege(play, order, tagged=play.dice.random() < 0.5)
        return play.exhaust()
    for at, ask in enumerate(order):
        reply = play.patient(ask=ask, tagged=bool(at % 2))
        play.taken(reply, f"piece {at} of {PIECES}")
    expect(0 not in play.ledger.seen and play.ledger.handed == play.size, f"the pieces are not the file: {play.ledger.told()}")
    return play.spent()


def resets(play, number):
    """Whole reads, each reset after its last byte: one is forgiven, the second spends the use, and so it stays. In turn by readers
    whose system acknowledges what they read, and by such that have it and are gone before; every other one of these asks for a range."""
    how = {"end": "reset", "late": number % 2 == 1, "ask": "0-" if number % 4 == 3 else None}
    for at in range(RESETS):
        reply = play.patient(**how)
        if reply.told() == USED:
            expect(play.ledger.wholes == 2, f"a reset gives the use back once: {play.ledger.wholes} whole files")
            continue
        expect(play.ledger.wholes < 2, f"read {at + 1} that is reset is a third whole file")
        play.taken(reply, "a reader that resets")
    expect(play.ledger.wholes == 2, f"a reader that resets gets {play.ledger.wholes} whole files")
    play.spent()


def _one_of_eight(play, source, ask):
    """Asks for its part as long as it gets it, within reason; others may be busy with the use meanwhile."""
    def act():
        for _ in range(SERVED):
            reply = play.patient(ask=ask, source=source)
            if not reply.good:
                return expect(reply.told() == USED, f"one of eight is answered {reply.status} {reply.code or ''}")
            play.ledger.take(reply)
    return act


def eight(play, number):
    """Eight addresses, in turn side by side and one after the other, with ranges that never make the whole."""
    last, half = play.size - 1, play.size // 2
    asks = text_of([(0, last - 1), (1, last), (0, half), (half, last), (2, last), (0, last - 2), (last, last), (half, last - 1)])
    play.dice.shuffle(asks)
    acts = [_one_of_eight(play, source, ask) for source, ask in zip(ADDRESSES, asks)]
    if number % 2:
        for act in acts:
            act()
    else:
        side_by_side(acts)
    play.exhaust()
    play.spent(*ADDRESSES[:2])
