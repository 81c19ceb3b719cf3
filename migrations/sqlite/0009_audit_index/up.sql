-- The look-up of entries by patient: a block for some thousand consecutive entries, made once they are there. `leaf` is the entry that
-- says the block's digest; `pairs` holds keyed tags, no text. What no block covers is looked up in the entries themselves.
DROP TABLE audit_subject;
CREATE TABLE audit_block (
  first INTEGER PRIMARY KEY,
  after INTEGER NOT NULL,
  leaf INTEGER NOT NULL,
  pairs BLOB NOT NULL
) STRICT;
-- The entry that gave the link; rows of before learn it from the log, which is gone through once more.
ALTER TABLE given_link ADD COLUMN leaf INTEGER;
DELETE FROM given_link_backlog;
INSERT INTO given_link_backlog (id, size) SELECT 1, seq + 1 FROM audit ORDER BY seq DESC LIMIT 1;
