DROP TABLE link_attempt;
DROP TABLE link_claim;
CREATE TABLE link_claim (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  file BLOB NOT NULL,
  reader INTEGER NOT NULL,
  recipient BLOB NOT NULL,
  opened INTEGER NOT NULL,
  closing INTEGER NOT NULL
) STRICT;
CREATE INDEX link_claim_use ON link_claim (file, reader, recipient);
