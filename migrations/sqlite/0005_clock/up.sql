-- What outlives a stop of what the server knows about its clock: one row. `log_floor`: the newest time in the audit log when an
-- operator set the highest time seen back; times of the log up to it say nothing about the clock any more.
CREATE TABLE clock (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  highest INTEGER NOT NULL,
  cleared INTEGER NOT NULL,
  jump_from INTEGER,
  jump_to INTEGER,
  log_floor INTEGER NOT NULL
) STRICT;

-- What a recipient said became of a document; the last word of each counts.
CREATE TABLE acknowledgement (
  rid INTEGER NOT NULL,
  reader INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (rid, reader)
) STRICT, WITHOUT ROWID;
