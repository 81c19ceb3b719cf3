//! The check of the log at a start: from the note of the last full check on where there is a sound one, of the whole log otherwise. And
//! that note: in a file of its own in the data folder, beside the database and not in it, written after each full check.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::acknowledged::{Acknowledged, Given, Pending, full_check_mark, mark_beside};
use super::endings;
use super::failure::StartFailure;
use super::folder::{not_usable, write_durably};
use super::keyring::{KeyRing, Purpose};
use super::log_check::{self, Against, Checked, LogSource, Unreadable};
use crate::domain::audit::effect::{Expected, Recorded};
use crate::domain::audit::endings::Settled;
use crate::domain::audit::note::MAX_NOTE;
use crate::domain::audit::verify::Finding;
use crate::domain::audit::{Frontier, FullCheck, SigningKey};
use crate::domain::clock::Timestamp;
use crate::store::{AuditHead, AuditRow, EndingsStanding, StoreError};

/// The file.
const NOTE: &str = "log-check";
/// Lies beside it after a finding: no start goes on from the note until a check of the whole finds nothing.
const DOUBT: &str = "log-doubted";
/// Says that the log's end was found not to be what its summary says.
const CHANGED_END: &str = "log-end-changed";
/// A line on the log for so many pages.
const TELL_EVERY: u64 = 500 * log_check::PAGE as u64;

/// One log, and where what is known of it lies.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The data folder.
    pub data: &'a Path,
    /// The checkpoint folder.
    pub checkpoints: &'a Path,
    /// The log's name.
    pub origin: &'a str,
}

/// The note of the last full check; `None` when there is none, or none that this key signed for this log.
pub fn read_note(data: &Path, keys: &KeyRing) -> Option<FullCheck> {
    open_note(&note_bytes(data)?, keys)
}

/// The file as it stands, not yet believed.
pub fn note_bytes(data: &Path) -> Option<Vec<u8>> {
    let length = std::fs::metadata(note_path(data)).ok()?.len();
    (length <= MAX_NOTE as u64).then(|| std::fs::read(note_path(data)).ok())?
}

/// The note, if it is one of this log and key.
pub fn open_note(note: &[u8], keys: &KeyRing) -> Option<FullCheck> {
    let key = if keys.lacks(Purpose::LogCheck) { None } else { keys.log_check().ok() }?;
    FullCheck::open(note, key.verifying_key())
}

/// Keeps the note of a check that found the whole log as it should be.
///
/// # Errors
/// The file cannot be written.
pub fn write_note(data: &Path, full: &FullCheck, key: &SigningKey) -> std::io::Result<()> {
    write_durably(&note_path(data), &full.seal(key))?;
    match std::fs::remove_file(data.join(DOUBT)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps that the log's end was not what its summary says, until two operators acknowledge it.
///
/// # Errors
/// The file cannot be written.
pub fn keep_changed_end(data: &Path, at: Timestamp) -> std::io::Result<()> {
    write_durably(&data.join(CHANGED_END), &at.millis().to_string())
}

/// What was kept of it.
fn changed_end(data: &Path) -> Option<Finding> {
    let at = std::fs::read_to_string(data.join(CHANGED_END)).ok()?;
    Some(Finding::EndChanged { at: at.trim().parse().unwrap_or_default() })
}

/// Has the next start look at the whole log, whatever the note says.
///
/// # Errors
/// The file cannot be written.
pub fn doubt(data: &Path) -> std::io::Result<()> {
    write_durably(&data.join(DOUBT), "")
}

fn note_path(data: &Path) -> PathBuf {
    data.join(NOTE)
}

/// What a look at the log came to. The report has only what nobody acknowledged.
#[derive(Debug)]
pub struct Looked {
    /// The outcome.
    pub checked: Checked,
    /// Up to where the file of endings was found whole.
    pub endings: Settled,
    /// What waits for two operators.
    pub pending: Option<Pending>,
    /// Whether two operators acknowledged something of this log.
    pub acknowledged: bool,
    /// Whether the whole log was read and is whole, so that the next check may go on from here.
    pub sealable: bool,
}

impl Looked {
    /// The note of a check of the whole.
    pub fn note(&self, origin: &str) -> FullCheck {
        FullCheck { endings: Some(self.endings.clone()), ..self.checked.note(origin) }
    }
}

/// Looks at the log: from the note on, or, where that says nothing, at all of it.
///
/// # Errors
/// The store or the checkpoint folder cannot be read.
pub async fn look(source: &dyn LogSource, keys: &KeyRing, place: Place<'_>) -> Result<Looked, StartFailure> {
    let note = if place.data.join(DOUBT).exists() { None } else { read_note(place.data, keys) };
    if let Some(note) = note
        && let Some(looked) = look_since(source, keys, place, &note).await?
    {
        return Ok(looked);
    }
    let size = source.head().await?.size;
    if size > 0 {
        tracing::info!(entries = size, "the whole log is verified first: no note of an earlier check to go on from");
    }
    whole(source, keys, place, &|done, of| {
        if done % TELL_EVERY == 0 {
            tracing::info!(entries = done, of, "verifying the log");
        }
    })
    .await
}

/// Looks at what came after a note; `None` where that says nothing, or there is something to be worded.
async fn look_since(
    source: &dyn LogSource,
    keys: &KeyRing,
    place: Place<'_>,
    note: &FullCheck,
) -> Result<Option<Looked>, StartFailure> {
    let (key, from) = (keys.checkpoint()?, note.endings.clone().unwrap_or_default());
    let beside = (place.data, place.checkpoints);
    let (told, endings) = endings::finding(source, beside, (key.verifying_key(), from)).await?;
    let acknowledged = Acknowledged::read(source, place.data, keys).await?;
    let is_new = |finding: &Finding| !mark_beside(finding).is_some_and(|mark| acknowledged.has(&mark));
    if told.findings.iter().chain(&changed_end(place.data)).any(is_new) {
        return Ok(None);
    }
    let newest = log_check::newest_in_folder(place.checkpoints).map_err(unreadable)?;
    let against = against(keys, place.origin, newest.into_iter().collect())?;
    let checked = log_check::check_since(source, against, note).await?;
    let acknowledged = !acknowledged.is_empty();
    Ok(checked.map(|checked| Looked { checked, endings, pending: None, acknowledged, sealable: false }))
}

/// Looks at the whole log.
///
/// # Errors
/// As [`look`].
pub async fn whole(
    source: &dyn LogSource,
    keys: &KeyRing,
    place: Place<'_>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Looked, StartFailure> {
    let acknowledged = Acknowledged::read(source, place.data, keys).await?;
    let note = read_note(place.data, keys).filter(|note| !acknowledged.has(&full_check_mark(note)));
    let mut outside = log_check::in_folder(place.checkpoints).map_err(unreadable)?;
    outside.retain(|note| !acknowledged.has_note(note));
    // Before the entries, which take long: a withdrawal that is gone lets somebody in.
    let (key, from) = (keys.checkpoint()?, Settled::default());
    let beside = (place.data, place.checkpoints);
    let (told, endings) = endings::finding(source, beside, (key.verifying_key(), from)).await?;
    let asked = Unacknowledged { source, acknowledged: &acknowledged };
    let against = against(keys, place.origin, outside.clone())?;
    let mut checked = log_check::check_whole(&asked, against, note.as_ref(), progress).await?;
    checked.report.add(log_check::unpublished(source, place.checkpoints).await?);
    checked.report.add(told.findings);
    checked.report.add(changed_end(place.data));
    let stored = asked.checkpoints().await?;
    let given = Given { source, outside: &outside, stored: &stored, note: note.as_ref() };
    let holes = pass_over(&mut checked, &given, &acknowledged).await?;
    if holes && let Some(tree) = Frontier::decode(&source.head().await?.frontier) {
        // With entries missing the rows make no tree; what is appended goes on from the summary.
        checked.tree = tree;
    }
    let valid = checked.report.valid;
    let pending = if valid || keys.lacks(Purpose::LogCheck) {
        None
    } else {
        Some(Pending::of(&checked.report, &given, (place, keys, &acknowledged), told.to_redo).await?)
    };
    Ok(Looked { checked, endings, pending, acknowledged: !acknowledged.is_empty(), sealable: valid && !holes })
}

/// Takes what was acknowledged out of the report; answers whether entries are missing with two operators' knowledge.
async fn pass_over(
    checked: &mut Checked,
    given: &Given<'_>,
    acknowledged: &Acknowledged,
) -> Result<bool, StartFailure> {
    let (mut left, mut holes) = (Vec::new(), false);
    for finding in std::mem::take(&mut checked.report.findings) {
        if given.marks(&finding).await?.iter().all(|mark| acknowledged.has(mark)) {
            holes |= matches!(finding, Finding::Missing { .. });
        } else {
            left.push(finding);
        }
    }
    checked.report.valid = left.is_empty() && checked.report.more == 0;
    checked.report.findings = left;
    Ok(holes)
}

fn unreadable((path, error): Unreadable) -> StartFailure {
    not_usable(&path, &error).into()
}

fn against(keys: &KeyRing, origin: &str, outside: Vec<Vec<u8>>) -> Result<Against, StartFailure> {
    let key = keys.checkpoint()?.verifying_key().clone();
    Ok(Against { origin: origin.to_owned(), key, cells: keys.cells()?, outside })
}

/// A log without the checkpoints that two operators acknowledged not to fit.
struct Unacknowledged<'a> {
    source: &'a dyn LogSource,
    acknowledged: &'a Acknowledged,
}

#[async_trait]
impl LogSource for Unacknowledged<'_> {
    async fn rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.source.rows(first, limit).await
    }

    async fn head(&self) -> Result<AuditHead, StoreError> {
        self.source.head().await
    }

    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        let mut all = self.source.checkpoints().await?;
        all.retain(|(_, note)| !self.acknowledged.has_note(note.as_bytes()));
        Ok(all)
    }

    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        self.source.newest_checkpoint().await
    }

    async fn endings(&self) -> Result<EndingsStanding, StoreError> {
        self.source.endings().await
    }

    fn is_serving(&self) -> bool {
        self.source.is_serving()
    }

    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError> {
        self.source.stand(expected).await
    }

    async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.source.recorded(after, limit).await
    }
}
