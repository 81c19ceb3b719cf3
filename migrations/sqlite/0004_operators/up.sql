-- People who may act, what waits for a second of them, legal holds, and what engines found in what is held back.
CREATE TABLE operator (
  id TEXT PRIMARY KEY,
  role TEXT NOT NULL,
  -- Argon2id, PHC string format.
  password TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- The first of two people's word. `since` is when the document was held back: held back again, the word is no longer about it.
CREATE TABLE approval (
  rid INTEGER NOT NULL,
  operator TEXT NOT NULL,
  since INTEGER NOT NULL,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (rid, operator)
) STRICT, WITHOUT ROWID;
-- Stays when it is released. Numbers are never used again.
CREATE TABLE hold (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  rid INTEGER NOT NULL,
  authority TEXT,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  at INTEGER NOT NULL,
  released INTEGER
) STRICT;
CREATE INDEX hold_active ON hold (rid) WHERE released IS NULL;
CREATE TABLE evidence (
  rid INTEGER PRIMARY KEY,
  file BLOB NOT NULL,
  sha256 BLOB NOT NULL,
  place TEXT NOT NULL
) STRICT;
CREATE INDEX res_quarantined ON res (since) WHERE state = 'quarantined';
