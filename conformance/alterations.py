"""What somebody with the data folder in hand may do to the record: each kind of change, with the words by which it must be found."""
import glob
import hashlib
import os
import shutil
import sqlite3

# Not copied: made again by each start, and large.
LEFT_OUT = ("daylily.reserve", "control.sock", "lock")


class Copy:
    """A copy of the stopped server's data folder and of its checkpoint folder, open for changes."""

    def __init__(self, original, checkpoints, folder):
        self.folder, self.checkpoints = os.path.join(folder, "data"), os.path.join(folder, "checkpoints")
        shutil.copytree(original, self.folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
        shutil.copytree(checkpoints, self.checkpoints)
        self.connection = None

    @property
    def database(self):
        return os.path.join(self.folder, "daylily.db")

    def run(self, *statement):
        if self.connection is None:
            self.connection = sqlite3.connect(self.database, isolation_level=None)
        return self.connection.execute(*statement)

    def value(self, *statement):
        return self.run(*statement).fetchone()

    def file(self, *names):
        return os.path.join(self.checkpoints, *names)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Kind:
    """One kind of change. `change` is given the copy, the dice, the log's size and the older copy of everything.

    `start`: words of which one must stand in what a refused start says; None: a start goes on from what it finds (and says nothing
    untrue), so that it is not judged. `verify`: the exit statuses of `audit verify` that fit. `export`: whether an export of a patient
    rests on what is changed.
    """

    def __init__(self, name, change, words=("entr",), start=True, verify=(1,), export=True):
        self.name, self.change, self.words = name, change, words
        self.start, self.verify, self.export = start, verify, export


def flipped(data, dice):
    changed = bytearray(data)
    changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def at_random(size, dice):
    """The first entry, the last, or one between."""
    return dice.choice([0, size - 1, dice.randrange(size)])


def bit(column):
    def change(copy, dice, size, older):
        number = at_random(size, dice)
        [data] = copy.value(f"SELECT {column} FROM audit WHERE seq = ?", (number,))
        copy.run(f"UPDATE audit SET {column} = ? WHERE seq = ?", (flipped(data, dice), number))
    return change


def run(*statements):
    """Statements in which `{n}` is the log's size, `{m}` a place in the middle, `{o}` the older log's size."""
    def change(copy, dice, size, older):
        before = sqlite3.connect(os.path.join(older, "daylily.db"))
        [(had,)] = before.execute("SELECT count(*) FROM audit")
        before.close()
        for statement in statements:
            copy.run(statement.format(n=size, m=size // 3, o=had))
    return change


def body_and_hash(copy, dice, size, older):
    """The text changed and its hash made to fit: only the tree and what was signed tell."""
    number = at_random(size, dice)
    [body] = copy.value("SELECT body FROM audit WHERE seq = ?", (number,))
    changed = bytearray(body)
    changed[-1] ^= 1
    digest = hashlib.sha256(b"\x00" + bytes(changed)).digest()
    copy.run("UPDATE audit SET body = ?, hash = ? WHERE seq = ?", (bytes(changed), digest, number))


def forged_at_the_end(copy, dice, size, older):
    """One entry more, whole in itself: the last one's text under the next number."""
    body, cells = copy.value("SELECT body, cells FROM audit WHERE seq = ?", (size - 1,))
    body = body[:4] + size.to_bytes(8, "big") + body[12:]
    digest = hashlib.sha256(b"\x00" + body).digest()
    copy.run("INSERT INTO audit (seq, body, hash, cells) VALUES (?, ?, ?, ?)", (size, body, digest, cells))


def swapped(*columns):
    def change(copy, dice, size, older):
        first, second = size // 3, size - 2
        for column in columns:
            [one], [other] = (copy.value(f"SELECT {column} FROM audit WHERE seq = ?", (number,)) for number in (first, second))
            copy.run(f"UPDATE audit SET {column} = ? WHERE seq = ?", (other, first))
            copy.run(f"UPDATE audit SET {column} = ? WHERE seq = ?", (one, second))
    return change


def head_bit(copy, dice, size, older):
    [data] = copy.value("SELECT frontier FROM audit_head")
    copy.run("UPDATE audit_head SET frontier = ?", (flipped(data, dice),))


def tables_of_the_older(copy, dice, size, older):
    """The log's own tables put back from the older copy, all else as it is: the checkpoint folder tells."""
    copy.run("ATTACH ? AS older", (os.path.join(older, "daylily.db"),))
    for table in ("audit", "audit_head", "checkpoint"):
        copy.run(f"DELETE FROM main.{table}")
        copy.run(f"INSERT INTO main.{table} SELECT * FROM older.{table}")
    copy.run("DETACH older")


def other_character(text):
    lines = text.split("\n")
    at = next(number for number, line in enumerate(lines) if len(line) > 40)
    lines[at] = lines[at][:20] + ("A" if lines[at][20] != "A" else "B") + lines[at][21:]
    return "\n".join(lines)


def other_size(text):
    lines = text.split("\n")
    lines[1] = str(int(lines[1]) - 1)
    return "\n".join(lines)


def stored(changed):
    def change(copy, dice, size, older):
        at, note = copy.value("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        copy.run("UPDATE checkpoint SET note = ? WHERE size = ?", (changed(note), at))
    return change


def outside(changed, name="checkpoint"):
    """A file of the checkpoint folder: all that hold the newest one, since any of them tells."""
    def change(copy, dice, size, older):
        with open(copy.file(name), encoding="utf-8") as file:
            newest = file.read()
        for path in glob.glob(copy.file("checkpoint*")):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            if text == newest:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(changed(text))
    return change


def database_of_the_older(copy, dice, size, older):
    for path in glob.glob(copy.database + "*"):
        os.remove(path)
    for path in glob.glob(os.path.join(older, "daylily.db*")):
        shutil.copy(path, copy.folder)


def page_overwritten(copy, dice, size, older):
    copy.run("PRAGMA wal_checkpoint(TRUNCATE)")
    copy.close()
    with open(copy.database, "r+b") as file:
        length = file.seek(0, os.SEEK_END)
        for page in range(1, length // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)


def cut_file(copy, dice, size, older):
    copy.run("PRAGMA wal_checkpoint(TRUNCATE)")
    copy.close()
    os.truncate(copy.database, os.path.getsize(copy.database) // 2)


def removed(*names):
    def change(copy, dice, size, older):
        for path in [path for name in names for path in glob.glob(os.path.join(copy.folder, name))]:
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    return change


def checkpoints_removed(*names):
    def change(copy, dice, size, older):
        if not names:
            shutil.rmtree(copy.checkpoints)
        for path in [path for name in names for path in glob.glob(copy.file(name))]:
            os.remove(path)
    return change


def checkpoints_of_the_older(copy, dice, size, older):
    shutil.rmtree(copy.checkpoints)
    shutil.copytree(older + "-checkpoints", copy.checkpoints)


def other_key(copy, dice, size, older):
    """The encryption key replaced by another of the same form."""
    [path] = [path for path in glob.glob(os.path.join(copy.folder, "keys", "*")) if os.path.isfile(path)]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    words = text.split()
    key = words[-1]
    at = len(key) // 2
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(key, key[:at] + ("A" if key[at] != "A" else "B") + key[at + 1:]))


def renamed(copy, dice, size, older):
    with open(os.path.join(copy.folder, "instance"), "w", encoding="utf-8") as file:
        file.write("daylily-000000000000\n")


def text_file(change, *names):
    """A file of the checkpoint or data folder, line by line."""
    def changes(copy, dice, size, older):
        [path] = [path for name in names for path in (copy.file(name), os.path.join(copy.folder, name)) if os.path.exists(path)]
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(change(lines)))
    return changes


def log_kinds():
    """The log itself."""
    for column in ("body", "hash", "cells"):
        yield Kind(f"one bit of an entry's {column}", bit(column))
    yield Kind("an entry's text changed, its hash made to fit", body_and_hash)
    yield Kind("an entry's cells emptied", run("UPDATE audit SET cells = x'' WHERE seq = {m}"))
    yield Kind("an entry's cells marked as erased", run("UPDATE audit SET cells = CAST(x'010100' || zeroblob(32) AS BLOB) WHERE seq = {m}"))
    yield Kind("cells of two entries swapped", swapped("cells"))
    yield Kind("texts and cells of two entries swapped", swapped("body", "cells"))
    yield Kind("two entries swapped", swapped("body", "hash", "cells"))
    yield Kind("hashes of two entries swapped", swapped("hash"))
    yield Kind("the first entry removed", run("DELETE FROM audit WHERE seq = 0"))
    yield Kind("an entry in the middle removed", run("DELETE FROM audit WHERE seq = {m}"))
    yield Kind("a run of entries removed", run("DELETE FROM audit WHERE seq BETWEEN {m} AND {m} + 20"))
    yield Kind("the last entry removed", run("DELETE FROM audit WHERE seq = {n} - 1"), words=("entr", "summary"))
    yield Kind("an entry removed and the later ones moved up", run(
        "DELETE FROM audit WHERE seq = {m}", "UPDATE audit SET seq = -seq WHERE seq > {m}",
        "UPDATE audit SET seq = -seq - 1 WHERE seq < 0"), words=("entr", "summary"))
    yield Kind("the last entry renumbered", run("UPDATE audit SET seq = {n} + 5 WHERE seq = {n} - 1"), words=("entr", "summary"))
    yield Kind("an entry with a negative number", run(
        "INSERT INTO audit SELECT -1, body, hash, cells FROM audit WHERE seq = {m}"), words=("audit log",), verify=(3,))
    yield Kind("an entry doubled at the end", run(
        "INSERT INTO audit SELECT {n}, body, hash, cells FROM audit WHERE seq = {n} - 1"), words=("entr", "summary"))
    yield Kind("an entry forged at the end", forged_at_the_end, words=("entr", "summary"))
    yield Kind("the last 17 entries cut", run("DELETE FROM audit WHERE seq >= {n} - 17"), words=("entr", "summary"))
    yield Kind("all entries but the first cut", run("DELETE FROM audit WHERE seq > 0"), words=("entr", "summary"))
    yield Kind("all entries gone", run("DELETE FROM audit"), words=("entr", "summary"))
    yield Kind("the summary gone", run("DELETE FROM audit_head"), words=("summary", "entr"))
    yield Kind("one bit of the summary", head_bit, words=("summary", "tree"))
    yield Kind("entries, summary and checkpoints gone", run(
        "DELETE FROM audit", "DELETE FROM audit_head", "DELETE FROM checkpoint"), words=("entr", "checkpoint", "key", "log"),
        verify=(1, 3))
    yield Kind("the log's tables put back from an older copy", tables_of_the_older, words=("entr", "older"))
    yield Kind("the database put back from an older copy", database_of_the_older, words=("entr", "older"))


def checkpoint_kinds():
    """What was signed, in the database and in the folder outside."""
    yield Kind("one character of the newest stored checkpoint", stored(other_character), words=("checkpoint", "entr"))
    yield Kind("the size in a stored checkpoint's text", stored(other_size), words=("checkpoint", "entr"))
    yield Kind("a stored checkpoint that is none", stored(lambda note: "nothing"), words=("checkpoint",))
    yield Kind("a stored checkpoint under another size", run(
        "UPDATE checkpoint SET size = size - 1 WHERE size = (SELECT max(size) FROM checkpoint)"), words=("checkpoint",))
    yield Kind("a stored checkpoint of more entries than there are", run(
        "INSERT INTO checkpoint SELECT size + 1000, note FROM checkpoint ORDER BY size DESC LIMIT 1"),
        words=("checkpoint", "entr"))
    yield Kind("one character of the newest checkpoint outside", outside(other_character), words=("checkpoint", "entr"))
    yield Kind("the size of the newest checkpoint outside", outside(other_size), words=("checkpoint", "entr"))
    yield Kind("a checkpoint outside that is none", outside(lambda note: "nothing"), words=("checkpoint",))
    yield Kind("the checkpoint folder gone", checkpoints_removed(), words=("checkpoint",), verify=(1, 3))
    yield Kind("all checkpoints outside gone", checkpoints_removed("checkpoint", "checkpoint-2*"), words=("checkpoint",),
               verify=(1, 3))
    yield Kind("the checkpoint folder older", checkpoints_of_the_older, words=("checkpoint",), verify=(1, 3))


def folder_kinds():
    """Keys, name and database as a whole."""
    keys = ("key",)
    yield Kind("the encryption key another", other_key, words=keys, verify=(1, 3))
    yield Kind("the encryption key gone", removed("keys/*"), words=keys, verify=(1, 3))
    yield Kind("the sealed key of the cells gone", run("DELETE FROM server_key WHERE purpose = 'audit-cells'"),
               words=("key", "entr", "cells"), verify=(1, 3))
    yield Kind("the sealed key of the checkpoints gone", run("DELETE FROM server_key WHERE purpose = 'audit-checkpoint'"),
               words=("key", "checkpoint"), verify=(1, 3))
    yield Kind("sealed keys of two purposes swapped", run(
        "UPDATE server_key SET sealed = (SELECT other.sealed FROM server_key other WHERE other.purpose = 'cursor') "
        "WHERE purpose = 'audit-cells'"), words=("key", "entr", "cells"), verify=(1, 3))
    yield Kind("the log's name another", renamed, words=("key", "checkpoint", "instance", "log"), verify=(1, 3))
    yield Kind("the log's name gone", removed("instance"), words=("instance",), verify=(1, 3))
    yield Kind("pages of the database overwritten", page_overwritten, words=("damaged", "database", "entr"), verify=(1, 3))
    yield Kind("the database cut in half", cut_file, words=("damaged", "database", "entr"), verify=(1, 3))
    yield Kind("the database gone", removed("daylily.db*"), words=("daylily.db", "database"), verify=(1, 3))


def look_up_kinds():
    """What answers are found by, beside the log. `audit verify` and exports compare it with the entries. A log as short as this one's has
    no blocks of entries by patient; tests/it/record_attacks.rs alters those."""
    links = {
        "every given link gone": "DELETE FROM given_link",
        "one given link gone": "DELETE FROM given_link WHERE id = (SELECT max(id) FROM given_link)",
        "a given link of another reader": "UPDATE given_link SET reader = reader + 1",
        "a given link that ends later": "UPDATE given_link SET expires = expires + 3600000",
        "a given link that no entry gave": "UPDATE given_link SET leaf = NULL",
    }
    for name, statement in links.items():
        yield Kind(name, run(statement), start=False)


def access_kinds():
    """Rows that say who may see what, changed back: the entries tell, at a full check; withdrawals that endings tell of at any start."""
    words = ("entry ", "withdrawals")
    yield Kind("a withdrawal taken out", run("DELETE FROM revocation WHERE scope = 'document'"), words=words, export=False)
    yield Kind("a withdrawal of another document", run(
        "UPDATE revocation SET subject = subject + 1000 WHERE scope = 'document'"), words=words, start=False, export=False)
    yield Kind("a client switched on again", run("UPDATE client SET disabled = 0"), words=words, start=False, export=False)
    yield Kind("a withdrawn document opened again", run("UPDATE res SET state = 'ready' WHERE state = 'revoked'"),
               words=words, start=False, export=False)
    uses = ("uses of counted links",)
    yield Kind("a spent use of a link gone", run("DELETE FROM link_use", "DELETE FROM link_claim"), words=uses, start=False,
               export=False)
    yield Kind("a spent use of a link set back", run("UPDATE link_use SET used = 0"), words=uses, start=False, export=False)
    client = ("registered or changed a client",)
    for column, value in (("reach_all", "1 - reach_all"), ("scope", "scope || ' system/Basic.rs'"), ("keys", "'[]'"),
                          ("custodians", "'[\"Organization/x\"]'")):
        yield Kind(f"a client's {column} changed", run(f"UPDATE client SET {column} = {value}"), words=client, start=False, export=False)
    person = ("registered an operator or switched one off",)
    yield Kind("an operator switched on again", run("UPDATE operator SET disabled = 0"), words=person, start=False, export=False)
    yield Kind("an operator in another role", run("UPDATE operator SET role = 'privacy'"), words=person, start=False, export=False)
    yield Kind("an operator added", run(
        "INSERT INTO operator SELECT 'eve', role, password, 0, created FROM operator LIMIT 1"),
        words=("an operator whom no entry registered",), start=False, export=False)
    yield Kind("a withdrawal added", run(
        "INSERT INTO revocation (number, scope, subject, at, reason) SELECT max(number) + 500, 'document', 1, max(at), 'x' FROM revocation"),
        words=("no entry made it",), start=False, export=False)
    yield Kind("a withdrawal of long ago", run("UPDATE revocation SET at = 1000 WHERE scope = 'document'"), words=words, start=False,
               export=False)
    took = ("took in a document",)
    yield Kind("a document gone", run("DELETE FROM res WHERE kind = 1 AND state = 'ready'"), words=took, start=False, export=False)
    yield Kind("a document gone from what is searched", run("DELETE FROM doc"), words=took, start=False, export=False)
    issued = ("issued a link",)
    yield Kind("a link of more uses", run("UPDATE link SET uses = 100"), words=issued, start=False, export=False)
    yield Kind("a link that lasts longer", run("UPDATE link SET expires = expires + 3600000"), words=issued, start=False, export=False)
    yield Kind("a link whose row is gone", run("DELETE FROM link"), words=issued, start=False, export=False)
    yield Kind("a legal hold gone", run("DELETE FROM hold"), words=words, start=False, export=False)


def beside_kinds():
    """The note of the last full check, which costs a look and no more, and the endings."""
    yield Kind("an old entry changed behind the note of the last check", run("UPDATE audit SET cells = x'' WHERE seq = 3"))
    altered = {
        "the endings emptied": lambda lines: [],
        "the last ending cut": lambda lines: lines[:-2] + [""],
        "an ending taken out": lambda lines: lines[:1] + lines[2:],
        "two endings swapped": lambda lines: lines[1::-1] + lines[2:],
        "one character of an ending": lambda lines: [lines[0].replace("document", "documenu", 1)] + lines[1:],
        "a line added to the endings": lambda lines: lines[:-1] + ['{"resumed":99,"signature":""}', ""],
    }
    for name, change in altered.items():
        yield Kind(name, text_file(change, "endings"), words=("ending",), export=False)
    yield Kind("the endings gone", checkpoints_removed("endings"), words=("ending",), export=False)


def kinds():
    """Every kind of change, in groups."""
    for group in (log_kinds, checkpoint_kinds, folder_kinds, look_up_kinds, access_kinds, beside_kinds):
        yield from group()
