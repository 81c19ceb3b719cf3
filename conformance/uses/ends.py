"""The server goes while files are on their way, by SIGTERM and by kill -9, and comes back.

Who had the whole gets no second one; who had not gets it, as far as twice the length of the file allows.
"""
import threading

from serving import expect
from uses.readers import USED, WINDOW


class Caught:
    """A reader that the end of the server meets: what it had before, and what its system still brought it after."""

    def __init__(self, play, most, window=None):
        self.play, self.wire = play, play.wire(window=window)
        self.wire.ask(play.path)
        self.reply = self.wire.reply(most)
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


def _begun(play, most, window=None):
    caught = Caught(play, most, window)
    expect(caught.reply.status == 200, f"a GET is answered {caught.reply.status} {caught.reply.code or ''}")
    return caught


def _while_reading(caught):
    """SIGTERM while a thread reads on; whether it got the whole."""
    read = []
    reading = threading.Thread(target=lambda: read.append(caught.finish()), daemon=True)
    reading.start()
    caught.play.note("SIGTERM while it reads")
    caught.play.site.again("stop")
    reading.join(timeout=60)
    expect(read, "a reader never ends")
    return read[0]


def stop(play, number):
    """SIGTERM, in turn with a reader that has everything, one that reads on meanwhile, and one that is stuck in the middle."""
    way, place = number % 3, play.dice.random()
    if way == 1:
        # Anywhere, or within the last bytes.
        most = int(play.size * place) if play.dice.random() < 0.5 else play.size - 1 - int(place * min(play.size - 1, 1000))
        caught = _begun(play, most)
        return _again(caught, _while_reading(caught), True)
    caught = _begun(play, int(play.size * place * 0.4), WINDOW) if way else _begun(play, None)
    if not way and place < 0.5:
        caught.wire.close()
    play.note("SIGTERM")
    play.site.again("stop")
    return _again(caught, caught.finish(), True)


def kill(play, number):
    """kill -9, in turn: after the whole, in the middle, twice in the middle."""
    way, sure = number % 3, play.size > 10_000_000
    if way == 0:
        caught = _begun(play, None)
        if play.dice.random() < 0.5:
            caught.wire.close()
        play.note("kill -9")
        play.site.again("kill")
        return _again(caught, caught.finish(), True)
    for _ in range(way):
        caught = Caught(play, int(play.size * (0.2 + 0.3 * play.dice.random())), WINDOW)
        if caught.reply.told() == USED and play.steps and not sure:
            # The last bytes were on their way into the system when it was killed: the use stays spent.
            return caught.finish()
        expect(caught.reply.status == 200, f"a GET is answered {caught.reply.status} {caught.reply.code or ''}")
        play.note("kill -9")
        play.site.again("kill")
        if caught.finish():
            return play.spent()
    if way == 1:
        return _again(caught, False, sure)
    # Two attempts were under way for all of the file: no third is begun, but for what is missing.
    reply = play.patient()
    expect(reply.told() == USED, f"a third attempt after two that were killed is answered {reply.status} {reply.code or ''}")
    return play.ledger.take(play.patient(ask=f"{play.ledger.seen.find(0)}-"))
