"""The server goes while files are on their way, by SIGTERM and by kill -9, and comes back.

Who had the whole gets no second one; who had not gets it, as far as twice the length of the file allows.
"""
import threading

from serving import expect
from uses.readers import WINDOW

USED = (410, "link-used")


class Caught:
    """A reader that the end of the server meets: what it had before, and what its system still brought it after."""

    def __init__(self, play, most, window=None):
        self.play, self.wire = play, play.wire(window=window)
        self.wire.ask(play.path)
        self.reply = self.wire.reply(most)
        expect(self.reply.status == 200, f"a first GET is answered {self.reply.status} {self.reply.code or ''}")
        play.note(f"read {len(self.reply.body)} of {play.size}")

    def finish(self):
        """Reads what comes until no more does."""
        self.wire.body(self.reply)
        self.wire.close()
        self.play.ledger.take(self.reply)
        self.play.note(f"had {len(self.reply.body)} in the end")
        return self.reply.whole


def _again(caught, whole, sure):
    """What the restarted server says. `sure`: whoever had not the whole gets it now."""
    play = caught.play
    if whole:
        return play.spent()
    reply = play.patient()
    if not sure and reply.told() == USED:
        return None
    play.taken(reply, "who had not the whole before the end")
    return play.spent()


def stop(play, number):
    """SIGTERM with a reader that has everything, one that reads on meanwhile, and one that is stuck in the middle."""
    way = number % 3
    if way == 0:
        caught = Caught(play, None)
        if play.dice.random() < 0.5:
            caught.wire.close()
    else:
        caught = Caught(play, int(play.size * play.dice.random() * (0.9 if way == 1 else 0.4)), None if way == 1 else WINDOW)
    if way == 1:
        read = []
        reading = threading.Thread(target=lambda: read.append(caught.finish()), daemon=True)
        reading.start()
        play.note("SIGTERM while it reads")
        play.site.again("stop")
        reading.join(timeout=60)
        expect(read, "a reader never ends")
        return _again(caught, read[0], True)
    play.note("SIGTERM")
    play.site.again("stop")
    return _again(caught, caught.finish(), True)


def kill(play, number):
    """kill -9, in turn: after the whole, in the middle, twice in the middle."""
    way = number % 3
    if way == 0:
        caught = Caught(play, None)
        caught.wire.close()
        play.note("kill -9")
        play.site.again("kill")
        return _again(caught, caught.finish(), True)
    for at in range(way):
        caught = Caught(play, int(play.size * (0.2 + 0.3 * play.dice.random())), WINDOW)
        play.note("kill -9")
        play.site.again("kill")
        if caught.finish():
            return play.spent()
    if way == 1:
        return _again(caught, False, play.size > 10_000_000)
    # Two attempts were under way for all of the file: no third is begun, but for what is missing.
    reply = play.patient()
    expect(reply.told() == USED, f"a third attempt after two that were killed is answered {reply.status} {reply.code or ''}")
    play.ledger.take(play.patient(ask=f"{play.ledger.seen.find(0)}-"))
    return None
