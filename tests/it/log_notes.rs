//! What a start with a note of the last full check reads, and that note and tail say what a full check says.

use std::sync::Mutex;

use async_trait::async_trait;
use daylily::app::log_check::{LogSource, check, check_since};
use daylily::domain::audit::Frontier;
use daylily::domain::audit::effect::{Expected, Recorded};
use daylily::store::{AuditHead, AuditRow, EndingsStanding, StoreError};

use crate::support::*;

/// A log in memory, cut at a size, that counts what is read of it.
#[derive(Default)]
struct Counting {
    rows: Vec<AuditRow>,
    checkpoints: Vec<(u64, String)>,
    read: Mutex<Vec<u64>>,
    checkpoints_read: Mutex<usize>,
}

impl Counting {
    fn cut(&self, size: usize) -> Self {
        let until = u64::try_from(size).unwrap();
        let checkpoints = self.checkpoints.iter().filter(|(size, _)| *size <= until).cloned().collect();
        Self { rows: self.rows[..size].to_vec(), checkpoints, ..Self::default() }
    }
}

#[async_trait]
impl LogSource for Counting {
    async fn rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let rows: Vec<AuditRow> = self.rows.iter().filter(|row| row.seq >= first).take(limit).cloned().collect();
        self.read.lock().unwrap().extend(rows.iter().map(|row| row.seq));
        Ok(rows)
    }

    async fn head(&self) -> Result<AuditHead, StoreError> {
        let tree: Frontier = self.rows.iter().map(|row| row.hash.as_slice().try_into().unwrap()).collect();
        Ok(AuditHead { size: tree.size(), frontier: tree.encode() })
    }

    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        *self.checkpoints_read.lock().unwrap() += self.checkpoints.len();
        Ok(self.checkpoints.clone())
    }

    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        *self.checkpoints_read.lock().unwrap() += 1;
        Ok(self.checkpoints.last().cloned())
    }

    async fn endings(&self) -> Result<EndingsStanding, StoreError> {
        Ok(EndingsStanding::default())
    }

    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError> {
        Ok(vec![true; expected.len()])
    }

    async fn recorded(&self, _: Option<Recorded>, _: usize) -> Result<Vec<Recorded>, StoreError> {
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_split_note_and_tail_say_what_a_full_check_says_and_nothing_before_is_read() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.ready_link(&source, &pdf(1, 500)).await;
    daylily.stop().await;
    let (reader, against) = daylily.log_to_check().await;
    let rows = LogSource::rows(&reader, 0, 10_000).await.unwrap();
    let checkpoints = LogSource::checkpoints(&reader).await.unwrap();
    let outside = vec![std::fs::read(daylily.settings().audit.checkpoints.join("checkpoint")).unwrap()];
    let log = Counting { rows, checkpoints, ..Counting::default() };
    let whole = check(&log, against(outside.clone()), &|_, _| {}).await.unwrap();
    assert!(whole.report.valid, "{:?}", whole.report.findings);
    for split in 0..=log.rows.len() {
        let early = check(&log.cut(split), against(Vec::new()), &|_, _| {}).await.unwrap();
        assert!(early.report.valid, "{split}: {:?}", early.report.findings);
        let note = early.note("any");
        let late = Counting { rows: log.rows.clone(), checkpoints: log.checkpoints.clone(), ..Counting::default() };
        let gone_on = check_since(&late, against(outside.clone()), &note).await.unwrap();
        let gone_on = gone_on.unwrap_or_else(|| panic!("{split}: no check from the note"));
        assert_eq!(
            (gone_on.tree, gone_on.last, gone_on.report.root),
            (whole.tree.clone(), whole.last, whole.report.root)
        );
        let first = late.read.lock().unwrap().first().copied();
        assert!(first.is_none_or(|first| first >= split as u64), "{split}: entry {first:?} was read");
        assert_eq!(*late.checkpoints_read.lock().unwrap(), 1, "{split}: the newest checkpoint only");
        // The first entry after the note, altered: nothing is said from the note, so that all is looked at.
        if split < late.rows.len() {
            let mut altered = late.cut(late.rows.len());
            altered.rows[split].body[10] ^= 1;
            assert!(check_since(&altered, against(outside.clone()), &note).await.unwrap().is_none(), "{split}");
            assert!(!check(&altered, against(outside.clone()), &|_, _| {}).await.unwrap().report.valid);
        }
    }
}
