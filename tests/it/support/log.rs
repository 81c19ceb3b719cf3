//! The audit log as an auditor sees it: opened beside the server with the key of its cells, and verified whole.

use std::sync::Arc;

use daylily::app::log_check::{self, Against};
use daylily::app::{DataFolder, KeyRing, Nature, open_log, open_vault};
use daylily::config::Settings;
use daylily::delivery::Recorder;
use daylily::domain::audit::cell::Cells;
use daylily::domain::audit::verify::Report;
use daylily::domain::audit::{CellKey, Entry, Group, Leaf};
use daylily::store::SealedEntry;
use daylily::store::sqlite::LogReader;
use diesel::prelude::*;
use serde_json::Value;

use super::TestDaylily;

/// An entry, opened.
#[derive(Debug, Clone)]
pub struct LogEntry {
    pub seq: u64,
    pub action: String,
    pub outcome: String,
    /// Every cell that could be opened, in one object by group.
    pub cells: Value,
}

impl LogEntry {
    /// `action outcome`.
    pub fn what(&self) -> String {
        format!("{} {}", self.action, self.outcome)
    }

    /// A text or number of any group.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.cells.as_object()?.values().find_map(|group| group.get(name))
    }
}

struct Opened {
    reader: LogReader,
    keys: KeyRing,
    origin: String,
}

async fn open(settings: &Settings, nature: &Nature) -> Opened {
    let folder = DataFolder::open(&settings.data_dir).unwrap();
    let origin = folder.instance().unwrap();
    let vault = open_vault(settings, folder.path(), &nature.entropy).unwrap();
    let reader = open_log(&folder.database()).unwrap();
    let keys = KeyRing::open(&reader.keys().await.unwrap(), &vault, &origin, 0).unwrap();
    Opened { reader, keys, origin }
}

/// `audit verify` of a folder.
async fn check_folder(settings: &Settings, nature: &Nature) -> Report {
    let outside = log_check::in_folder(&settings.audit.checkpoints).unwrap();
    let log = open(settings, nature).await;
    let key = log.keys.checkpoint().unwrap().verifying_key().clone();
    let against = Against { origin: log.origin.clone(), key, cells: log.keys.cells().unwrap(), outside };
    log_check::check(&log.reader, against, &|_, _| {}).await.unwrap().report
}

fn opened(body: &[u8], cells: &[u8], key: &CellKey) -> LogEntry {
    let leaf = Leaf::decode(body).unwrap();
    let cells = Cells::decode(cells).unwrap();
    let groups = Group::ALL.iter().filter_map(|group| {
        let object = cells.open(*group, key)?;
        Some((group.name().to_owned(), serde_json::from_slice(&object.to_canonical()).unwrap()))
    });
    LogEntry {
        seq: leaf.seq,
        action: leaf.action.code().to_owned(),
        outcome: leaf.outcome.code().to_owned(),
        cells: Value::Object(groups.collect()),
    }
}

impl TestDaylily {
    /// Size of the log now.
    pub async fn log_size(&self) -> u64 {
        self.running().delivery().store().audit_head().await.unwrap().size
    }

    /// Entries from `first` on.
    pub async fn log_since(&self, first: u64) -> Vec<LogEntry> {
        let log = open(self.settings(), &self.nature()).await;
        let key = log.keys.cells().unwrap();
        let store = self.running().delivery().store();
        let rows = store.audit_rows(first, 10_000).await.unwrap();
        rows.iter().map(|row| opened(&row.body, &row.cells, &key)).collect()
    }

    /// An entry as the server itself would seal it, for what a test does to the store behind its back.
    pub async fn sealed(&self, entry: &Entry) -> SealedEntry {
        let (nature, store) = (self.nature(), self.running().delivery().store());
        let cells = open(self.settings(), &nature).await.keys.cells().unwrap();
        Recorder::new(cells, nature.entropy, Arc::clone(store)).seal(entry).unwrap()
    }

    /// The log as it lies in the folder, and what it is checked against.
    pub async fn log_to_check(&self) -> (LogReader, impl Fn(Vec<Vec<u8>>) -> Against + use<>) {
        let log = open(self.settings(), &self.nature()).await;
        let key = log.keys.checkpoint().unwrap().verifying_key().clone();
        let (cells, origin) = (log.keys.cells().unwrap(), log.origin);
        let against =
            move |outside| Against { origin: origin.clone(), key: key.clone(), cells: cells.clone(), outside };
        (log.reader, against)
    }

    /// Verifies the whole log beside the server.
    pub async fn verify(&self) {
        let report = check_folder(self.settings(), &self.nature()).await;
        assert!(report.valid, "{:?}", report.findings);
    }
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

impl TestDaylily {
    /// A number `n` of the database, asked beside the server in a read transaction of its own.
    pub fn stored_rows(&self, query: &str) -> i64 {
        counted(&self.data().join("daylily.db"), query)
    }
}

/// A number `n` from a database, whether a server holds it or not.
pub fn counted(database: &std::path::Path, query: &str) -> i64 {
    let mut database = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    diesel::sql_query("PRAGMA busy_timeout = 20000").execute(&mut database).unwrap();
    diesel::sql_query(query).get_result::<Count>(&mut database).unwrap().n
}

/// Runs a statement on a database that no server holds.
pub fn altered(database: &std::path::Path, statement: &str) -> usize {
    let mut database = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    diesel::sql_query(statement).execute(&mut database).unwrap()
}

/// Holds the database's lock for writing until it is dropped, so that the server's own writes fail.
pub fn held_for_writing(database: &std::path::Path) -> SqliteConnection {
    let mut database = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    diesel::sql_query("PRAGMA busy_timeout = 60000").execute(&mut database).unwrap();
    diesel::sql_query("BEGIN IMMEDIATE").execute(&mut database).unwrap();
    database
}
