ALTER TABLE given_link DROP COLUMN leaf;
DROP TABLE audit_block;
-- Empty: the texts are in the sealed cells alone.
CREATE TABLE audit_subject (
  patient INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (patient, seq)
) STRICT, WITHOUT ROWID;
