DROP INDEX subscription_patient;
DROP INDEX res_custodian;
DROP INDEX res_target;
CREATE TABLE kept_target (
  number INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO kept_target (number, text) SELECT number, text FROM target;
DROP TABLE target;
ALTER TABLE kept_target RENAME TO target;
