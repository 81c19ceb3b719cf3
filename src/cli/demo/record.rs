//! The last two steps: the record of all this, and a copy of it in which one byte was changed.

use async_trait::async_trait;

use super::super::audit::OpenLog;
use super::super::words::number;
use super::steps::{Broken, Held};
use crate::app::Nature;
use crate::app::log_check::{self, Against, Checked, LogSource};
use crate::config::Settings;
use crate::domain::audit::effect::{Expected, Recorded};
use crate::domain::refusal::Code;
use crate::store::{AuditHead, AuditRow, EndingsStanding, StoreError};

/// A copy of a log in which one byte of one entry is another.
struct Changed<'a> {
    source: &'a dyn LogSource,
    entry: u64,
}

#[async_trait]
impl LogSource for Changed<'_> {
    async fn rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let mut rows = self.source.rows(first, limit).await?;
        for row in rows.iter_mut().filter(|row| row.seq == self.entry) {
            if let Some(byte) = row.body.last_mut() {
                *byte ^= 1;
            }
        }
        Ok(rows)
    }

    async fn head(&self) -> Result<AuditHead, StoreError> {
        self.source.head().await
    }

    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        self.source.checkpoints().await
    }

    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        self.source.newest_checkpoint().await
    }

    async fn endings(&self) -> Result<EndingsStanding, StoreError> {
        self.source.endings().await
    }

    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError> {
        self.source.stand(expected).await
    }

    async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.source.recorded(after, limit).await
    }
}

/// The log of the demo, opened beside the running server.
pub(super) struct Record {
    log: OpenLog,
    outside: Vec<Vec<u8>>,
}

impl Record {
    pub(super) async fn open(settings: &Settings, nature: &Nature) -> Result<Self, Broken> {
        let unreadable = |saw: &str| Broken::new("a record that can be read", saw);
        let outside =
            log_check::in_folder(&settings.audit.checkpoints).map_err(|_| unreadable("no checkpoint folder"))?;
        let log = OpenLog::open(settings, nature).await;
        let log = log.map_err(|failure| unreadable(failure.issues.first().map_or("", |issue| issue.message())))?;
        Ok(Self { log, outside })
    }

    fn against(&self) -> Result<Against, Broken> {
        self.log.against(self.outside.clone()).map_err(|_| Broken::new("the keys of the record", "none"))
    }

    async fn check(&self, source: &dyn LogSource) -> Result<Checked, Broken> {
        let checked = log_check::check(source, self.against()?, &|_, _| {}).await;
        checked.map_err(|error| Broken::new("a record that can be read", error.to_string()))
    }

    /// The whole record verifies.
    pub(super) async fn whole(&self) -> Result<Held, Broken> {
        let report = self.check(&self.log.reader).await?.report;
        if !report.valid {
            let saw = report.findings.first().map(|finding| log_check::issue_of(finding).message().to_owned());
            return Err(Broken::new("a record without a flaw", saw.unwrap_or_default()));
        }
        let line = format!("The record of all this: {} entries, none changed, none missing", number(report.size));
        Ok(Held::new("audit-verify", line, "audit verify"))
    }

    /// One byte of the middle entry is changed in a copy: noticed, and the entry named.
    pub(super) async fn changed(&self) -> Result<Held, Broken> {
        let head = self.log.reader.head().await;
        let entry = head.map_err(|error| Broken::new("a record that can be read", error.to_string()))?.size / 2;
        let report = self.check(&Changed { source: &self.log.reader, entry }).await?.report;
        let first = report.findings.first();
        let named =
            first.is_some_and(|finding| finding.code() == Code::AuditMismatch && finding.entry() == Some(entry));
        if report.valid || !named || !report.others_intact() {
            let saw =
                first.map_or_else(|| "nothing".to_owned(), |finding| log_check::issue_of(finding).message().to_owned());
            return Err(Broken::new(format!("a finding at entry {entry}, all others intact"), saw));
        }
        let line = format!("One byte was changed in a copy of the record: noticed, at entry {}", number(entry));
        Ok(Held::new("audit-mismatch", line, "audit-mismatch"))
    }
}
