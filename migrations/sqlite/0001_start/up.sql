-- Times are milliseconds since 1970 in UTC unless a name says otherwise. What changes by itself (state, due) stands in `res`
-- alone, outside every covering index; a lifecycle change rewrites no text and no index of a search.

-- The audit log: one row a leaf, never changed; cells may be erased.
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  body BLOB NOT NULL,
  hash BLOB NOT NULL,
  cells BLOB NOT NULL
) STRICT;
CREATE TABLE audit_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  frontier BLOB NOT NULL
) STRICT;
CREATE TABLE audit_subject (
  patient INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (patient, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoint (
  size INTEGER PRIMARY KEY,
  note TEXT NOT NULL
) STRICT;

-- The server's own state.
CREATE TABLE server_key (
  purpose TEXT NOT NULL,
  number INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  created INTEGER NOT NULL,
  retires INTEGER,
  PRIMARY KEY (purpose, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE policy (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  text TEXT NOT NULL,
  digest BLOB NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;

-- Client ids as they occur, registered or only named as recipient.
CREATE TABLE party (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE
) STRICT;
-- `number` is the party's number.
CREATE TABLE client (
  number INTEGER PRIMARY KEY REFERENCES party (number),
  name TEXT,
  scope TEXT NOT NULL,
  reach_all INTEGER NOT NULL,
  custodians TEXT NOT NULL,
  attachment_url TEXT NOT NULL,
  allow_ip TEXT NOT NULL,
  key_source TEXT NOT NULL,
  keys TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  created INTEGER NOT NULL
) STRICT;
CREATE TABLE assertion (
  client INTEGER NOT NULL,
  jti BLOB NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (client, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX assertion_until ON assertion (until);
CREATE TABLE idempotency (
  client INTEGER NOT NULL,
  key TEXT NOT NULL,
  request BLOB NOT NULL,
  until INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_until ON idempotency (until);

-- Revocations; numbers are never used again, also when a single link's row is forgotten.
CREATE TABLE revocation (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  scope TEXT NOT NULL,
  subject INTEGER,
  link TEXT,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL
) STRICT;

-- Texts of references, once each.
CREATE TABLE target (
  number INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE decision (
  number INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  text TEXT NOT NULL
) STRICT;

-- Every resource, for ever: what is purged stays as a tombstone and keeps its id.
CREATE TABLE res (
  rid INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  created INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  custodian INTEGER,
  state TEXT,
  since INTEGER NOT NULL,
  due INTEGER,
  decision INTEGER,
  -- For a Binary: the document that claimed it.
  document INTEGER,
  -- For a context resource: its own reference.
  target INTEGER,
  body INTEGER,
  UNIQUE (kind, id)
) STRICT;
CREATE INDEX res_updated ON res (kind, updated);
CREATE INDEX res_due ON res (kind, due) WHERE due IS NOT NULL;
CREATE INDEX res_document ON res (document) WHERE document IS NOT NULL;
CREATE TABLE body (
  number INTEGER PRIMARY KEY,
  packed BLOB NOT NULL
) STRICT;
CREATE TABLE ver (
  rid INTEGER NOT NULL,
  version INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  state TEXT,
  body INTEGER,
  PRIMARY KEY (rid, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE step (
  rid INTEGER NOT NULL,
  number INTEGER NOT NULL,
  from_state TEXT,
  to_state TEXT NOT NULL,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (rid, number)
) STRICT, WITHOUT ROWID;

-- Who sees a document whatever its custodian: role 1 its source, 2 a recipient, 3 both.
CREATE TABLE access (
  party INTEGER NOT NULL,
  rid INTEGER NOT NULL,
  role INTEGER NOT NULL,
  PRIMARY KEY (party, rid)
) STRICT, WITHOUT ROWID;

-- What documents are found by. Absent dates sort last both ways: the smallest number in `date_from`, the largest in `date_up`.
CREATE TABLE doc (
  rid INTEGER PRIMARY KEY,
  patient INTEGER,
  custodian INTEGER,
  status TEXT,
  kind_set INTEGER NOT NULL,
  category_set INTEGER NOT NULL,
  date_from INTEGER NOT NULL,
  date_until INTEGER NOT NULL,
  date_up INTEGER NOT NULL
) STRICT;
CREATE INDEX doc_patient ON doc
  (patient, date_from DESC, rid DESC, date_until, date_up, kind_set, category_set, status, custodian);
CREATE INDEX doc_date ON doc (date_from DESC, rid DESC, date_until, kind_set, category_set, status, custodian);
CREATE INDEX doc_date_up ON doc (date_up, rid DESC, date_from, date_until);
CREATE INDEX doc_custodian ON doc (custodian, date_from DESC, rid DESC);

-- Codes, and the sets of codes that occur together; a document has one number for each set. Empty text stands for none.
CREATE TABLE term (
  number INTEGER PRIMARY KEY,
  code TEXT NOT NULL,
  system TEXT NOT NULL,
  UNIQUE (code, system)
) STRICT;
CREATE INDEX term_system ON term (system);
CREATE TABLE term_set (
  number INTEGER PRIMARY KEY,
  terms TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE term_set_member (
  term INTEGER NOT NULL,
  term_set INTEGER NOT NULL,
  PRIMARY KEY (term, term_set)
) STRICT, WITHOUT ROWID;
CREATE TABLE identifier (
  value TEXT NOT NULL,
  system TEXT NOT NULL,
  rid INTEGER NOT NULL,
  PRIMARY KEY (value, system, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX identifier_rid ON identifier (rid);
-- References of documents: role 1 subject, 2 custodian, 3 encounter, 4 any other.
CREATE TABLE ref (
  target INTEGER NOT NULL,
  role INTEGER NOT NULL,
  rid INTEGER NOT NULL,
  PRIMARY KEY (target, role, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX ref_rid ON ref (rid);

-- Files. `key` is nulled first when one is destroyed; `content` names the row with the bytes if they live here.
CREATE TABLE file (
  id BLOB PRIMARY KEY,
  rid INTEGER,
  content INTEGER NOT NULL,
  media_type TEXT NOT NULL,
  size INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  sha1 BLOB NOT NULL,
  key BLOB,
  inline INTEGER,
  title TEXT,
  created INTEGER NOT NULL,
  owner INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX file_rid ON file (rid) WHERE rid IS NOT NULL;
CREATE TABLE content (
  number INTEGER PRIMARY KEY,
  bytes BLOB NOT NULL
) STRICT;

CREATE TABLE scan_job (
  rid INTEGER PRIMARY KEY,
  due INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  attempts INTEGER NOT NULL
) STRICT;
CREATE INDEX scan_job_due ON scan_job (due);
CREATE TABLE receipt (
  rid INTEGER NOT NULL,
  reader INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  PRIMARY KEY (rid, reader)
) STRICT, WITHOUT ROWID;
