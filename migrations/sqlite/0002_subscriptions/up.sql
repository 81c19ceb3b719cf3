-- Subscriptions. Id, version and owner's text are in `res` (kind 8), whose row outlives the Subscription as a tombstone.
CREATE TABLE subscription (
  rid INTEGER PRIMARY KEY,
  owner INTEGER NOT NULL,
  status TEXT NOT NULL,
  error TEXT,
  -- Events so far, the highest number that was given out.
  counter INTEGER NOT NULL,
  activation INTEGER NOT NULL,
  -- What is matched: the topic's number or 0 for every version, and the only subject that a filter names or 0 for any.
  topic INTEGER NOT NULL,
  patient INTEGER NOT NULL,
  level TEXT NOT NULL,
  filters TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  payload TEXT,
  headers BLOB NOT NULL,
  ends INTEGER,
  -- Milliseconds.
  timeout INTEGER NOT NULL,
  handshake_at INTEGER NOT NULL,
  handshake_attempts INTEGER NOT NULL,
  -- The claim: until when (0: none), for how many milliseconds it is renewed, and its fencing token.
  leased_until INTEGER NOT NULL,
  lease INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  -- When to look at it again; derived from the rest (`outbox_turns`).
  due INTEGER
) STRICT;
CREATE INDEX subscription_match ON subscription (topic, patient) WHERE status <> 'off';
CREATE INDEX subscription_due ON subscription (due) WHERE due IS NOT NULL;
CREATE INDEX subscription_owner ON subscription (owner);
-- Place 0 is the current secret.
CREATE TABLE subscription_secret (
  subscription INTEGER NOT NULL,
  place INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  until INTEGER,
  PRIMARY KEY (subscription, place)
) STRICT, WITHOUT ROWID;

-- One line per event and Subscription: state 0 waits, 1 delivered, 2 withheld, 3 dropped. What is over stays, so that the access
-- reference of a message can be looked up, until `forget`.
CREATE TABLE outbox (
  subscription INTEGER NOT NULL,
  number INTEGER NOT NULL,
  topic INTEGER,
  at INTEGER NOT NULL,
  document INTEGER NOT NULL,
  version INTEGER NOT NULL,
  expires INTEGER,
  state INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  forget INTEGER,
  PRIMARY KEY (subscription, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX outbox_document ON outbox (document, version, subscription);
CREATE INDEX outbox_waiting ON outbox (subscription, number, next_at, at) WHERE state = 0;
CREATE INDEX outbox_forget ON outbox (forget) WHERE forget IS NOT NULL;
-- The bodies of messages that were tried and not taken; never changed while they wait.
CREATE TABLE outbox_body (
  subscription INTEGER NOT NULL,
  number INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (subscription, number)
) STRICT, WITHOUT ROWID;
