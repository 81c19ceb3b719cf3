-- A reference's text goes with the last that uses it. Its number is never used again: revocations go by it.
CREATE TABLE kept_target (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  text TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO kept_target (number, text) SELECT number, text FROM target;
DROP TABLE target;
ALTER TABLE kept_target RENAME TO target;
CREATE INDEX res_target ON res (target) WHERE target IS NOT NULL;
CREATE INDEX res_custodian ON res (custodian) WHERE custodian IS NOT NULL;
CREATE INDEX subscription_patient ON subscription (patient);
-- Texts that stayed behind until now.
DELETE FROM target WHERE number NOT IN (SELECT target FROM ref)
  AND number NOT IN (SELECT patient FROM doc WHERE patient IS NOT NULL)
  AND number NOT IN (SELECT custodian FROM doc WHERE custodian IS NOT NULL)
  AND number NOT IN (SELECT target FROM res WHERE target IS NOT NULL)
  AND number NOT IN (SELECT custodian FROM res WHERE custodian IS NOT NULL)
  AND number NOT IN (SELECT patient FROM subscription);
