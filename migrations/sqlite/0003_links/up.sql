-- Links that are counted, bound, confirmed or have a file name of their own; all others are stateless. `recipient` is a digest
-- (empty: none named); the name itself is in erasable cells of the audit log alone.
CREATE TABLE link (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  file BLOB NOT NULL,
  reader INTEGER NOT NULL,
  recipient BLOB NOT NULL,
  uses INTEGER NOT NULL,
  network TEXT,
  confirm INTEGER NOT NULL,
  file_name TEXT,
  expires INTEGER NOT NULL
) STRICT;
CREATE INDEX link_file ON link (file);
CREATE INDEX link_expires ON link (expires);
-- Uses count per file and recipient across links. `last`: when the newest of them began.
CREATE TABLE link_use (
  file BLOB NOT NULL,
  reader INTEGER NOT NULL,
  recipient BLOB NOT NULL,
  used INTEGER NOT NULL,
  last INTEGER NOT NULL,
  PRIMARY KEY (file, reader, recipient)
) STRICT, WITHOUT ROWID;
-- Uses under way. `closing`: the last byte may have left.
CREATE TABLE link_claim (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  file BLOB NOT NULL,
  reader INTEGER NOT NULL,
  recipient BLOB NOT NULL,
  opened INTEGER NOT NULL,
  closing INTEGER NOT NULL
) STRICT;
CREATE INDEX link_claim_use ON link_claim (file, reader, recipient);
