//! Rows of many documents, as copies of one: taking them in one by one would take minutes.

use std::path::Path;

use crate::support::altered;

/// 20,000 copies of the document `ID`, so that a search through all of them takes long.
const STATEMENTS: [&str; 3] = [
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO res (rid, kind, id, version, updated, \
        created, owner, custodian, state, since, decision, target, body) SELECT 1000000 + i, kind, 'many-' || i, version, updated, \
        created, owner, custodian, state, since, decision, target, body FROM res, n WHERE id = 'ID' AND kind = 1",
    "INSERT INTO doc SELECT r.rid, d.patient, d.custodian, d.status, d.kind_set, d.category_set, d.date_from, d.date_until, d.date_up \
        FROM res r, doc d WHERE r.rid > 1000000 AND d.rid = (SELECT rid FROM res WHERE id = 'ID' AND kind = 1)",
    "INSERT INTO access SELECT a.party, r.rid, a.role FROM res r, access a \
        WHERE r.rid > 1000000 AND a.rid = (SELECT rid FROM res WHERE id = 'ID' AND kind = 1)",
];

pub(super) fn make(database: &Path, id: &str) {
    for statement in STATEMENTS {
        assert!(altered(database, &statement.replace("ID", id)) > 0);
    }
}
