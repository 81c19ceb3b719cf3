//! The end of the audit log as the writer holds it: next number, last time, frontier. Appending builds the leaf (`domain::audit`)
//! and its row; the frontier is written once a batch.

use diesel::prelude::*;

use super::open::OpenError;
use super::statement::sql;
use crate::domain::audit::leaf::is_tenant;
use crate::domain::audit::tree::leaf_hash;
use crate::domain::audit::{Action, Frontier, Hash, Leaf, Outcome};
use crate::store::{SealedEntry, StoreError};

/// Rows that are read at once.
const ROWS: u64 = 1_000;

/// Place and summary of the log's end. A copy is taken before a job that may fail and put back when it did.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    frontier: Frontier,
    last_micros: u64,
}

impl Log {
    /// From the stored rows, after the cheap checks: the summary's size is the number of leaves, and the last leaf hashes to
    /// what is stored for it. The whole is verified by who reads the rows.
    pub(super) fn load(conn: &mut SqliteConnection) -> Result<Self, OpenError> {
        check_numbers(conn)?;
        let stored: Option<Vec<u8>> = sql("SELECT frontier FROM audit_head WHERE id = 1", []).one(conn)?;
        let last = sql("SELECT seq, body, hash FROM audit ORDER BY seq DESC LIMIT 1", []);
        let last: Option<(i64, Vec<u8>, Vec<u8>)> = last.row(conn)?;
        let (stored, (seq, body, hash)) = match (stored, last) {
            (None, None) => return Ok(Self::default()),
            (Some(stored), Some(last)) => (stored, last),
            _ => return Err(OpenError::AuditLog),
        };
        let frontier = Frontier::decode(&stored).ok_or(OpenError::AuditLog)?;
        let leaf = Leaf::decode(&body).map_err(|_| OpenError::AuditLog)?;
        let of_this_place = u64::try_from(seq).is_ok_and(|seq| leaf.seq == seq && frontier.size() == seq + 1);
        if !of_this_place || leaf_hash(&body).as_slice() != hash {
            return Err(OpenError::AuditLog);
        }
        // With an odd size the last root is the last leaf itself.
        if frontier.size() % 2 == 1 && frontier.roots().last().is_none_or(|root| root.as_slice() != hash) {
            return Err(OpenError::AuditLog);
        }
        Ok(Self { frontier, last_micros: leaf.time_micros })
    }

    /// From the rows alone, where the summary says something else; it is written anew. Only rows without a gap make a log that can go on.
    pub(super) fn of_rows(conn: &mut SqliteConnection) -> Result<Self, OpenError> {
        let mut log = Self::default();
        loop {
            let query = "SELECT seq, body, hash FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?";
            let rows: Vec<(i64, Vec<u8>, Vec<u8>)> = sql(query, [log.size().into(), ROWS.into()]).rows(conn)?;
            if rows.is_empty() {
                break;
            }
            for (seq, body, hash) in rows {
                let hash: Hash = hash.try_into().map_err(|_| OpenError::AuditLog)?;
                if u64::try_from(seq) != Ok(log.size()) {
                    return Err(OpenError::AuditLog);
                }
                let micros = Leaf::decode(&body).map_or(0, |leaf| leaf.time_micros);
                log.frontier.append(hash);
                log.last_micros = log.last_micros.max(micros);
            }
        }
        if log.size() == 0 {
            return Err(OpenError::AuditLog);
        }
        log.save(conn)?;
        Ok(log)
    }

    /// Whether both are one log as it stood at one moment.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.frontier == other.frontier
    }

    /// Number of leaves.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Appends a leaf with its row, and answers its number.
    pub(super) fn append(
        &mut self,
        conn: &mut SqliteConnection,
        tenant: &str,
        now_micros: u64,
        entry: SealedEntry,
    ) -> Result<u64, StoreError> {
        let unknown =
            || StoreError::Corrupt { table: "audit", column: "action or outcome", row: entry.action.to_owned() };
        let leaf = Leaf {
            seq: self.frontier.size(),
            time_micros: self.last_micros.max(now_micros),
            tenant,
            action: Action::from_code(entry.action).ok_or_else(unknown)?,
            outcome: Outcome::from_code(entry.outcome).ok_or_else(unknown)?,
            commitment: entry.commitment,
        };
        let body = leaf.encode();
        let hash = leaf_hash(&body);
        let (seq, micros) = (leaf.seq, leaf.time_micros);
        let values = [seq.into(), body.into(), hash.as_slice().into(), entry.cells.into()];
        sql("INSERT INTO audit (seq, body, hash, cells) VALUES (?, ?, ?, ?)", values).run(conn)?;
        self.frontier.append(hash);
        self.last_micros = micros;
        Ok(seq)
    }

    /// Writes the frontier.
    pub(super) fn save(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let replace = "INSERT INTO audit_head (id, frontier) VALUES (1, ?) \
            ON CONFLICT (id) DO UPDATE SET frontier = excluded.frontier";
        sql(replace, [self.frontier.encode().into()]).run(conn).map(drop)
    }
}

/// Refuses a log with a number that is none: reading in order begins at 0 and would never come across it.
pub(super) fn check_numbers(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    // A search by key: `min` with a condition on it would read the whole table.
    let below: Option<i64> = sql("SELECT seq FROM audit WHERE seq < 0 LIMIT 1", []).one(conn)?;
    if below.is_some() { Err(OpenError::AuditLog) } else { Ok(()) }
}

/// Whether an entry can become a leaf. What may not fail in a batch is asked before it is handed over.
pub(super) fn check_entry(entry: &SealedEntry) -> Result<(), StoreError> {
    match (Action::from_code(entry.action), Outcome::from_code(entry.outcome)) {
        (Some(_), Some(_)) => Ok(()),
        _ => Err(StoreError::Unavailable("not an action or outcome of the audit log".into())),
    }
}

/// Checks the tenant that every leaf carries.
pub(super) fn check_tenant(tenant: &str) -> Result<(), OpenError> {
    is_tenant(tenant).then_some(()).ok_or(OpenError::Tenant)
}
