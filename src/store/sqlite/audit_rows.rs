//! The audit log as it is read, checkpoints, lists of files for the sweep, and what the store says of itself.

use diesel::prelude::*;

use super::rows::at;
use super::statement::sql;
use super::tx::Tx;
use crate::domain::audit::index::Block;
use crate::domain::audit::{Leaf, sparse};
use crate::domain::id::FileId;
use crate::store::{AuditBlock, AuditHead, AuditRow, Health, PAGE_BYTES, SealedEntry, StoreError};

/// Build options that `doctor` shows, because a build without them works too, only slower or less safely.
const OPTIONS: &str = "SELECT compile_options FROM pragma_compile_options WHERE compile_options LIKE 'THREADSAFE%' \
    OR compile_options LIKE 'ENABLE_QPSG%' OR compile_options LIKE 'DEFAULT_MEMSTATUS%' \
    OR compile_options LIKE 'COMPILER%' OR compile_options LIKE '%FDATASYNC%' ORDER BY 1";

/// Checkpoints that are looked at when one is added, beyond those that their distance keeps: the days that are kept, and some more.
const PRUNED_AT_ONCE: usize = 1_000;

type LeafRow = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// Entries from `first` on, with no more bytes than are read at once.
pub(super) fn entries(conn: &mut SqliteConnection, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let query = "SELECT seq, body, hash, cells FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?";
    let rows: Vec<LeafRow> = sql(query, [first.into(), limit.into()]).rows_until(conn, a_page())?;
    rows.into_iter().map(entry).collect()
}

/// The entries before `end`, with no more bytes than are read at once.
pub(super) fn entries_before(conn: &mut SqliteConnection, end: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let query = "SELECT seq, body, hash, cells FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?";
    let rows: Vec<LeafRow> = sql(query, [end.into(), limit.into()]).rows_until(conn, a_page())?;
    rows.into_iter().rev().map(entry).collect()
}

/// Says when the rows so far are a page.
fn a_page() -> impl FnMut(&LeafRow) -> bool {
    let mut bytes = 0_usize;
    move |(_, body, hash, cells)| {
        bytes = bytes.saturating_add(body.len()).saturating_add(hash.len()).saturating_add(cells.len());
        bytes >= PAGE_BYTES
    }
}

fn entry((seq, body, hash, cells): LeafRow) -> Result<AuditRow, StoreError> {
    Ok(AuditRow { seq: at("audit", &seq).number("seq", seq)?, body, hash, cells })
}

/// Number and stored hash of entries from `first` on.
pub(super) fn hashes(conn: &mut SqliteConnection, first: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let query = "SELECT seq, hash FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?";
    let rows: Vec<(i64, Vec<u8>)> = sql(query, [first.into(), limit.into()]).rows(conn)?;
    rows.into_iter().map(|(seq, hash)| Ok((at("audit", &seq).number("seq", seq)?, hash))).collect()
}

/// Blocks of the look-up by patient, from entry `first` on.
pub(super) fn blocks(conn: &mut SqliteConnection, first: u64, limit: usize) -> Result<Vec<AuditBlock>, StoreError> {
    let query = "SELECT first, after, leaf, pairs FROM audit_block WHERE first >= ? ORDER BY first LIMIT ?";
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let rows: Vec<(i64, i64, i64, Vec<u8>)> = sql(query, [first.into(), limit.into()]).rows(conn)?;
    // A number that is none makes a block for which no entry vouches.
    let number = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let block = |(first, after, leaf, pairs): (i64, i64, i64, Vec<u8>)| AuditBlock {
        block: Block { first: number(first), after: number(after), pairs },
        leaf: number(leaf),
    };
    Ok(rows.into_iter().map(block).collect())
}

/// Keeps a block instead of those that overlap it, and those that can be none.
pub(super) fn put_block(tx: &mut Tx<'_>, block: &Block, entry: SealedEntry) -> Result<u64, StoreError> {
    let leaf = tx.append(entry)?;
    let overlapping =
        "DELETE FROM audit_block WHERE first < ? AND after > ? OR first < 0 OR after <= first OR first >= ?";
    sql(overlapping, [block.after.into(), block.first.into(), leaf.into()]).run(tx.conn)?;
    let insert = "INSERT OR REPLACE INTO audit_block (first, after, leaf, pairs) VALUES (?, ?, ?, ?)";
    let values = [block.first.into(), block.after.into(), leaf.into(), block.pairs.as_slice().into()];
    sql(insert, values).run(tx.conn)?;
    Ok(leaf)
}

/// Size and frontier.
pub(super) fn head(conn: &mut SqliteConnection) -> Result<AuditHead, StoreError> {
    let query = "SELECT frontier, (SELECT coalesce(max(seq) + 1, 0) FROM audit) FROM audit_head WHERE id = 1";
    let Some((frontier, size)) = sql(query, []).row::<(Vec<u8>, i64)>(conn)? else { return Ok(AuditHead::default()) };
    Ok(AuditHead { size: at("audit", &size).number("seq", size)?, frontier })
}

/// Keeps a signed checkpoint, and of the older ones a selection; the newest always stays.
pub(super) fn add_checkpoint(tx: &mut Tx<'_>, size: u64, note: String) -> Result<(), StoreError> {
    sql("INSERT OR REPLACE INTO checkpoint (size, note) VALUES (?, ?)", [size.into(), note.into()]).run(tx.conn)?;
    let rows: Vec<(i64,)> = sql("SELECT size FROM checkpoint ORDER BY size", []).rows(tx.conn)?;
    let sizes: Vec<u64> = rows.into_iter().filter_map(|(size,)| u64::try_from(size).ok()).collect();
    let near = sparse::by_distance(&sizes);
    let others = sizes.iter().filter(|size| !near.contains(size)).take(PRUNED_AT_ONCE);
    let mut dated = Vec::new();
    for size in others {
        // One whose entry does not read is left for the check to tell of.
        if let Some(day) = day_of(tx.conn, size.saturating_sub(1))? {
            dated.push((*size, day));
        }
    }
    let daily = sparse::by_day(&dated);
    for (size, _) in dated.iter().filter(|(size, _)| !daily.contains(size)) {
        sql("DELETE FROM checkpoint WHERE size = ?", [(*size).into()]).run(tx.conn)?;
    }
    Ok(())
}

/// The day of an entry, counted from 1970.
fn day_of(conn: &mut SqliteConnection, seq: u64) -> Result<Option<i64>, StoreError> {
    let body: Option<Vec<u8>> = sql("SELECT body FROM audit WHERE seq = ?", [seq.into()]).one(conn)?;
    let micros = body.and_then(|body| Leaf::decode(&body).ok().map(|leaf| leaf.time_micros));
    Ok(micros.and_then(|micros| i64::try_from(micros / 86_400_000_000).ok()))
}

/// Signed checkpoints.
pub(super) fn checkpoints(conn: &mut SqliteConnection) -> Result<Vec<(u64, String)>, StoreError> {
    let rows: Vec<(i64, String)> = sql("SELECT size, note FROM checkpoint ORDER BY size", []).rows(conn)?;
    rows.into_iter().map(|(size, note)| Ok((at("checkpoint", &size).number("size", size)?, note))).collect()
}

/// The newest of them.
pub(super) fn newest_checkpoint(conn: &mut SqliteConnection) -> Result<Option<(u64, String)>, StoreError> {
    let row = sql("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1", []).row::<(i64, String)>(conn)?;
    row.map(|(size, note)| Ok((at("checkpoint", &size).number("size", size)?, note))).transpose()
}

/// The sealed bytes of a file that lives in the database.
pub(super) fn inline(conn: &mut SqliteConnection, file: FileId) -> Result<Option<Vec<u8>>, StoreError> {
    let query = "SELECT c.bytes FROM file f JOIN content c ON c.number = f.inline WHERE f.id = ?";
    sql(query, [file.as_bytes().as_slice().into()]).one(conn)
}

/// For each file whether its bytes should be in the blob store.
pub(super) fn known(conn: &mut SqliteConnection, files: &[FileId]) -> Result<Vec<bool>, StoreError> {
    let query = "SELECT 1 FROM file WHERE id = ? AND key IS NOT NULL AND inline IS NULL";
    let is_known = |file: &FileId| Ok(sql(query, [file.as_bytes().as_slice().into()]).one::<i64>(conn)?.is_some());
    files.iter().map(is_known).collect()
}

/// Files whose bytes should be in the blob store, by rising id.
pub(super) fn in_blobs(
    conn: &mut SqliteConnection,
    after: Option<FileId>,
    limit: usize,
) -> Result<Vec<FileId>, StoreError> {
    let after = after.map_or_else(Vec::new, |file| file.as_bytes().to_vec());
    let query = "SELECT id FROM file WHERE id > ? AND key IS NOT NULL AND inline IS NULL ORDER BY id LIMIT ?";
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let rows: Vec<(Vec<u8>,)> = sql(query, [after.into(), limit.into()]).rows(conn)?;
    rows.into_iter().map(|(id,)| at("file", &hex::encode(&id)).file_id("id", &id)).collect()
}

/// What the store says of itself; the log's size is added by who knows the file.
pub(super) fn health(conn: &mut SqliteConnection, log_bytes: u64) -> Result<Health, StoreError> {
    let query = "SELECT sqlite_version(), (SELECT count(*) FROM __diesel_schema_migrations), \
        (SELECT count(*) FROM doc), (SELECT count(*) FROM scan_job)";
    let row: Option<(String, i64, i64, i64)> = sql(query, []).row(conn)?;
    let (version, schema, documents, waiting) = row.unwrap_or_default();
    let options: Vec<(String,)> = sql(OPTIONS, []).rows(conn)?;
    let options = options.into_iter().map(|(option,)| option).collect::<Vec<_>>().join(" ");
    let place = at("sqlite_schema", &version);
    Ok(Health {
        schema: place.number("migrations", schema)?,
        documents: place.number("documents", documents)?,
        waiting: place.number("waiting", waiting)?,
        log_bytes,
        description: format!("SQLite {version} ({options})"),
    })
}
