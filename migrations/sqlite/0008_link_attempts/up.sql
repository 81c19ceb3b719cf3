-- A claim is one use under way: what its reader's system has acknowledged, over all of its attempts. Claims of before are no
-- longer held by anybody: those whose last byte may have left count as used.
INSERT INTO link_use (file, reader, recipient, used, last)
  SELECT file, reader, recipient, count(*), max(opened) FROM link_claim WHERE closing = 1 GROUP BY file, reader, recipient
  ON CONFLICT (file, reader, recipient) DO UPDATE SET used = used + excluded.used, last = max(last, excluded.last);
DROP TABLE link_claim;
-- `received`, `again`, `reached`, `resets` (numbers of attempts): ranges of bytes, each two 64-bit numbers, big-endian. `sum`: bytes that were handed out. `spent`: the use is
-- counted; the row stays a while, since a reset may still give it back, once (`given_back`). `kept_until`: so long it waits for its address.
CREATE TABLE link_claim (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  file BLOB NOT NULL,
  reader INTEGER NOT NULL,
  recipient BLOB NOT NULL,
  opened INTEGER NOT NULL,
  address BLOB NOT NULL,
  received BLOB NOT NULL,
  again BLOB NOT NULL,
  reached BLOB NOT NULL,
  sum INTEGER NOT NULL,
  given_back INTEGER NOT NULL,
  resets BLOB NOT NULL,
  kept_until INTEGER,
  spent INTEGER NOT NULL
) STRICT;
CREATE INDEX link_claim_use ON link_claim (file, reader, recipient);
-- One GET of a claim, while it runs: what it reserves. `closing`: the piece that makes the file whole may have left.
CREATE TABLE link_attempt (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  claim INTEGER NOT NULL,
  first INTEGER NOT NULL,
  after INTEGER NOT NULL,
  closing INTEGER NOT NULL
) STRICT;
CREATE INDEX link_attempt_claim ON link_attempt (claim);
