-- Links that were given and whose time is not over: who holds which link of which document, written with the entry that offers or
-- issues it. `row` names the link's row, where it has one; `epoch` is the one that it carries.
CREATE TABLE given_link (
  document INTEGER NOT NULL,
  id TEXT NOT NULL,
  file BLOB NOT NULL,
  reader INTEGER NOT NULL,
  row INTEGER,
  epoch INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  PRIMARY KEY (document, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX given_link_id ON given_link (id);
CREATE INDEX given_link_expires ON given_link (expires);
-- Entries of the log below `size` may have given links that are not in `given_link` yet; no row: there are none.
CREATE TABLE given_link_backlog (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  size INTEGER NOT NULL
) STRICT;
INSERT INTO given_link_backlog (id, size) SELECT 1, seq + 1 FROM audit ORDER BY seq DESC LIMIT 1;

-- Numbers of revocations up to `number` may have been given out.
CREATE TABLE revocation_reserve (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  number INTEGER NOT NULL
) STRICT;
-- For a single link: who holds it, and of which document.
ALTER TABLE revocation ADD COLUMN reader INTEGER;
ALTER TABLE revocation ADD COLUMN document INTEGER;
