//! What is looked at before a database is used: that its pages are sound and that its schema is the one that this program made.
//! Nothing is mended here. A start does not walk what grows without end: contents that lie with their rows are sealed one by one and are
//! checked whenever they are read; the log and what is made from it are read from the last full check on, and whole in the background.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::open::OpenError;
use super::statement::sql;
use crate::store::StoreError;

/// Tables that are not walked at a start: sealed contents, the log, and what is made from it.
const NOT_WALKED: [&str; 4] = ["content", "audit", "audit_block", "given_link"];
/// Those among them that nobody reads from end to end otherwise.
const WALKED_LATER: [&str; 2] = ["audit_block", "given_link"];

/// Every column, index and trigger with its shape. Texts of statements are not compared: SQLite writes them anew when a table is
/// changed, and not in each version alike.
const SHAPES: &str = "\
    SELECT 'column ' || t.name || '.' || c.name, c.type || ' ' || c.\"notnull\" || ' ' || c.pk || ' ' || coalesce(c.dflt_value, '') \
      FROM sqlite_schema t, pragma_table_xinfo(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite@_%' ESCAPE '@' \
    UNION ALL SELECT 'index ' || i.name, i.tbl_name || ' ' || (SELECT l.\"unique\" || ' ' || l.partial FROM pragma_index_list(i.tbl_name) l \
      WHERE l.name = i.name) || ' ' || (SELECT group_concat(coalesce(x.name, 'expression'), ',') FROM pragma_index_info(i.name) x) \
      FROM sqlite_schema i WHERE i.type = 'index' AND i.name NOT LIKE 'sqlite@_%' ESCAPE '@' \
    UNION ALL SELECT o.type || ' ' || o.name, o.tbl_name FROM sqlite_schema o WHERE o.type IN ('trigger', 'view')";

type Shapes = BTreeSet<(String, String)>;

/// Walks the pages of the tables that a start must know to be sound, with their indexes (`PRAGMA quick_check`).
///
/// # Errors
/// [`OpenError::Damaged`] when one is not sound; [`OpenError::Store`] when the database cannot be read.
pub(super) fn check_pages(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    let tables: Vec<(String,)> =
        sql("SELECT name FROM sqlite_schema WHERE type = 'table'", []).rows(conn).map_err(told)?;
    let tables = tables.iter().map(|(table,)| table.as_str()).filter(|table| !NOT_WALKED.contains(table));
    for table in tables {
        walk(conn, table).map_err(told)?;
    }
    Ok(())
}

/// Walks the pages of what a start leaves out and nobody reads from end to end.
///
/// # Errors
/// [`StoreError::Damaged`] when one is not sound; otherwise the database cannot be read.
pub(super) fn check_later(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    WALKED_LATER.iter().try_for_each(|table| walk(conn, table))
}

fn walk(conn: &mut SqliteConnection, table: &str) -> Result<(), StoreError> {
    let check = "SELECT quick_check FROM pragma_quick_check(?)";
    let found: Option<String> = sql(check, [table.into()]).one(conn)?;
    if found.as_deref() == Some("ok") {
        return Ok(());
    }
    tracing::error!(table, found, "the database is damaged");
    Err(StoreError::Damaged("its pages are not what was written".into()))
}

/// Holds the schema against the one that the migrations make in an empty database. An index more than needed is nobody's harm.
///
/// # Errors
/// [`OpenError::Schema`] names what is missing, changed or not known here.
pub(super) fn check_schema(conn: &mut SqliteConnection, made: &mut SqliteConnection) -> Result<(), OpenError> {
    let (wanted, found) = (shapes(made)?, shapes(conn)?);
    let missing = wanted.difference(&found).next().map(|(name, _)| format!("{name} is missing or changed"));
    let foreign = || found.difference(&wanted).find(|(name, _)| !name.starts_with("index "));
    let drift = missing.or_else(|| foreign().map(|(name, _)| format!("{name} is not known here")));
    drift.map_or(Ok(()), |what| Err(OpenError::Schema { what }))
}

fn shapes(conn: &mut SqliteConnection) -> Result<Shapes, OpenError> {
    let rows: Vec<(String, Option<String>)> = sql(SHAPES, []).rows(conn).map_err(told)?;
    Ok(rows.into_iter().map(|(name, shape)| (name, shape.unwrap_or_default())).collect())
}

/// A failure of SQLite that says that its file is damaged.
pub(super) fn told(error: StoreError) -> OpenError {
    if matches!(error, StoreError::Damaged(_)) { OpenError::Damaged } else { error.into() }
}

/// Whether SQLite's words mean a damaged file (its result codes do not come through diesel).
pub(super) fn is_damage(text: &str) -> bool {
    ["malformed", "file is not a database", "unsupported file format"].iter().any(|word| text.contains(word))
}
