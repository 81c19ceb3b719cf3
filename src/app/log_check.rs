//! The whole audit log against its tree, its signed checkpoints and those in the checkpoint folder: at every start, and by command.
//! Reads in pages; nothing is kept but the verifier's own state.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::failure::StartFailure;
use super::log_effects::Effects;
use crate::domain::audit::effect::{Expected, Recorded};
use crate::domain::audit::note::{MAX_NOTE, SignedCheckpoint};
use crate::domain::audit::verify::{
    Finding, NoteFault, Report, Row, Source, StoredCheckpoint, TooLate, Trust, Undone, Verifier,
};
use crate::domain::audit::{Action, CellKey, Checkpoint, Frontier, FullCheck, Hash, VerifyingKey};
use crate::domain::clock::Timestamp;
use crate::domain::refusal::Issue;
use crate::store::sqlite::LogReader;
use crate::store::{AuditHead, AuditRow, EndingsStanding, Store, StoreError};

/// Rows that are read at once.
pub const PAGE: usize = 1_000;
/// Files of the checkpoint folder that are looked at: the newest, and a year of days and more.
const MOST_FILES: usize = 400;
/// What names of checkpoint files begin with.
const CHECKPOINT: &str = "checkpoint";
/// A file of that folder that is none: the public key.
const CHECKPOINT_KEY: &str = "checkpoint-key";

/// A file that cannot be read, and why.
pub type Unreadable = (PathBuf, std::io::Error);

/// Where the log is read from: a running store, or the folder of one, opened for reading.
#[async_trait]
pub trait LogSource: Send + Sync {
    /// Entries from `first` on, at most `limit`, in order.
    async fn rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError>;
    /// Size and frontier.
    async fn head(&self) -> Result<AuditHead, StoreError>;
    /// Signed checkpoints that are kept, by rising size.
    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError>;
    /// The newest of them.
    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError>;
    /// How endings stand.
    async fn endings(&self) -> Result<EndingsStanding, StoreError>;
    /// Whether the rows show, each, what entries say.
    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError>;
    /// Rows behind one, in order, at most `limit`, each of which an entry must have made.
    async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError>;
    /// Waits between two pieces of work, where there is time.
    async fn pause(&self) {}
    /// Whether the store is written to by this process meanwhile.
    fn is_serving(&self) -> bool {
        false
    }
}

/// A store as a source of its log.
#[derive(Debug, Clone, Copy)]
pub struct OfStore<'a>(pub &'a dyn Store);

#[async_trait]
impl LogSource for OfStore<'_> {
    async fn rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.0.audit_rows(first, limit).await
    }

    async fn head(&self) -> Result<AuditHead, StoreError> {
        self.0.audit_head().await
    }

    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        self.0.checkpoints().await
    }

    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        self.0.newest_checkpoint().await
    }

    async fn endings(&self) -> Result<EndingsStanding, StoreError> {
        self.0.endings().await
    }

    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError> {
        self.0.stand(expected).await
    }

    async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.0.recorded(after, limit).await
    }
}

/// What a log is checked against.
#[derive(Debug)]
pub struct Against {
    /// Name of the log.
    pub origin: String,
    /// Its key.
    pub key: VerifyingKey,
    /// Opens the cells.
    pub cells: CellKey,
    /// Checkpoints from outside the database, as read.
    pub outside: Vec<Vec<u8>>,
}

/// The outcome: the report, and the tree of the entries that were read, from which new checkpoints go on.
#[derive(Debug)]
pub struct Checked {
    /// What was found.
    pub report: Report,
    /// The tree.
    pub tree: Frontier,
    /// Time in microseconds and action of the last entry that is as it should be.
    pub last: Option<(u64, Action)>,
    /// Entries whose effects were too many to be compared.
    pub uncompared: u64,
}

impl Checked {
    /// What a check of the whole log found whole, to go on from.
    pub fn note(&self, origin: &str) -> FullCheck {
        let newest =
            self.report.newest.as_ref().and_then(|fitting| SignedCheckpoint::parse(fitting.note.as_bytes()).ok());
        let newest = newest.map(|signed| signed.unverified().clone());
        FullCheck { origin: origin.to_owned(), tree: self.tree.clone(), last: self.last, newest, endings: None }
    }
}

/// Checks the whole log as it stands when the check begins; entries that come meanwhile belong to the next check. `progress` is told
/// the number of entries read and the number of all, after each page.
///
/// # Errors
/// The store cannot be read.
pub async fn check(
    source: &dyn LogSource,
    against: Against,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Checked, StoreError> {
    check_whole(source, against, None, progress).await
}

/// The same, also against the note of an earlier full check, which vouches for entries as a checkpoint does.
///
/// # Errors
/// The store cannot be read.
pub async fn check_whole(
    source: &dyn LogSource,
    against: Against,
    note: Option<&FullCheck>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Checked, StoreError> {
    // The head first: it is the end of what is read, and whatever is signed before it vouches for no more.
    let checkpoints = source.checkpoints().await?;
    let head = source.head().await?;
    let trust = Trust { origin: against.origin, keys: vec![against.key], cell_key: Some(against.cells.clone()) };
    let mut verifier = Verifier::new(trust);
    if feed_checkpoints(&mut verifier, &checkpoints, &against.outside).is_err() {
        tracing::error!("checkpoints came after entries");
    }
    let mut effects = Effects::of_all(against.cells);
    let parts = (verifier, &mut effects);
    let (checked, root) = read_through(source, parts, (Frontier::new(), note), &head, progress).await?;
    let mut checked = match note {
        Some(note) => compare_note(checked, note, root),
        None => checked,
    };
    let compared = effects.finish(source).await?;
    checked.report.add(compared.found);
    checked.uncompared = compared.uncompared;
    Ok(checked)
}

/// Checks what came after an earlier full check, whose note this is, and that the newest checkpoints, stored and outside, go on from there.
/// `None`: this says nothing, and the whole is to be checked. A finding is one of the whole check's to word.
///
/// # Errors
/// The store cannot be read.
pub async fn check_since(
    source: &dyn LogSource,
    against: Against,
    note: &FullCheck,
) -> Result<Option<Checked>, StoreError> {
    let stored = source.newest_checkpoint().await?;
    let head = source.head().await?;
    let trust = Trust { origin: against.origin, keys: vec![against.key], cell_key: Some(against.cells.clone()) };
    let mut verifier = Verifier::resume(trust, &note.tree, note.last);
    let size = |note: &[u8]| SignedCheckpoint::parse(note).ok().map(|signed| signed.unverified().clone());
    let (inside, outside) = (stored.as_ref().and_then(|(_, note)| size(note.as_bytes())), against.outside.last());
    let outside = outside.and_then(|note| size(note));
    let known = outside.as_ref().map(|outside| outside.size) >= inside.as_ref().map(|inside| inside.size);
    let unread = (stored.is_some() && inside.is_none()) || (!against.outside.is_empty() && outside.is_none());
    if unread || !known || head.size < note.tree.size() {
        return Ok(None);
    }
    // One that is older than the note is known only where the note names it.
    let is_ahead = |checkpoint: &Checkpoint| checkpoint.size >= note.tree.size();
    let is_known = |checkpoint: &Checkpoint| is_ahead(checkpoint) || note.newest.as_ref() == Some(checkpoint);
    if !inside.iter().chain(&outside).all(is_known) {
        return Ok(None);
    }
    let stored: Vec<(u64, String)> = stored.into_iter().filter(|_| inside.as_ref().is_some_and(is_ahead)).collect();
    let given = against.outside.last().filter(|_| outside.as_ref().is_some_and(is_ahead)).cloned();
    if feed_checkpoints(&mut verifier, &stored, given.as_slice()).is_err() {
        return Ok(None);
    }
    let mut effects = Effects::since(against.cells);
    let parts = (verifier, &mut effects);
    let (mut checked, _) = read_through(source, parts, (note.tree.clone(), None), &head, &|_, _| {}).await?;
    checked.report.add(effects.finish(source).await?.found);
    Ok(checked.report.valid.then_some(checked))
}

/// Reads from where `tree` ends to the head; answers the root at the size of `note`, too, where that was passed.
async fn read_through(
    source: &dyn LogSource,
    (mut verifier, effects): (Verifier, &mut Effects),
    (mut tree, note): (Frontier, Option<&FullCheck>),
    head: &AuditHead,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Checked, Option<Hash>), StoreError> {
    let (mut next, mut root) = (tree.size(), None);
    // A summary that says nothing while entries are there is looked at with all of them.
    while next < head.size || head.size == 0 {
        let rows = source.rows(next, PAGE).await?;
        let Some(last) = rows.last().map(|row| row.seq) else { break };
        for row in rows.iter().filter(|row| row.seq < head.size || head.size == 0) {
            let seq = i64::try_from(row.seq).unwrap_or(i64::MAX);
            verifier.row(Row { seq, body: &row.body, leaf_hash: &row.hash, cells: &row.cells });
            tree.append(row.hash.as_slice().try_into().unwrap_or_default());
            if note.is_some_and(|note| note.tree.size() == tree.size()) {
                root = Some(tree.root());
            }
        }
        effects.read(source, &rows, head.size).await?;
        next = last.saturating_add(1);
        progress(next.min(head.size), head.size);
    }
    let frontier = (next > 0 || !head.frontier.is_empty()).then_some(head.frontier.as_slice());
    let last = verifier.last();
    Ok((Checked { report: verifier.finish(frontier), tree, last, uncompared: 0 }, root))
}

/// Adds what the note of an earlier full check says against a log that was now read whole.
fn compare_note(mut checked: Checked, note: &FullCheck, root: Option<Hash>) -> Checked {
    let (have, vouched, source) = (checked.report.size, note.tree.size(), Source::FullCheck);
    let findings = &mut checked.report.findings;
    match root {
        None if have < vouched => findings.push(Finding::Shortened { have, vouched, source: Some(source) }),
        Some(root) if root != note.tree.root() => {
            checked.report.unfit.push((vouched, source));
            // Where entries are known to be wrong, the root cannot fit: that is said already.
            if findings.is_empty() {
                findings.push(Finding::Rewritten { intact: 0, size: vouched, source });
            }
        }
        _ => {}
    }
    checked.report.valid = checked.report.findings.is_empty();
    checked
}

/// Whether a checkpoint was published and where they are published there is none as new. A checkpoint lies in the folder before the
/// database knows of it, so the database is asked first.
///
/// # Errors
/// The store or the folder cannot be read.
pub async fn unpublished(source: &dyn LogSource, folder: &Path) -> Result<Option<Finding>, StartFailure> {
    let Some((known, _)) = source.newest_checkpoint().await? else { return Ok(None) };
    let there = in_folder(folder).map_err(|(path, error)| super::folder::not_usable(&path, &error))?;
    let sizes = there.iter().filter_map(|note| SignedCheckpoint::parse(note).ok()).map(|note| note.unverified().size);
    let found = sizes.max();
    Ok((found < Some(known)).then_some(Finding::Unpublished { known, found }))
}

fn feed_checkpoints(verifier: &mut Verifier, stored: &[(u64, String)], outside: &[Vec<u8>]) -> Result<(), TooLate> {
    for (size, note) in stored {
        let parsed = SignedCheckpoint::parse(note.as_bytes());
        let root = parsed.as_ref().map(|signed| signed.unverified().root).unwrap_or_default();
        let size = i64::try_from(*size).unwrap_or(i64::MAX);
        verifier.stored_checkpoint(StoredCheckpoint { size, root: &root, note: note.as_bytes() })?;
    }
    outside.iter().try_for_each(|note| verifier.outside_checkpoint(note))
}

/// The checkpoints that lie in a folder: the newest ones by name, the newest of all last. A folder that is not there has none.
///
/// # Errors
/// A file that cannot be read, with its path.
pub fn in_folder(folder: &Path) -> Result<Vec<Vec<u8>>, Unreadable> {
    let mut names = names_in(folder)?;
    if names.len() > MOST_FILES {
        let newest = names.pop();
        names.truncate(MOST_FILES - 1);
        names.extend(newest);
    }
    names.iter().map(|name| read_note(&folder.join(name))).collect()
}

/// The newest of them.
///
/// # Errors
/// As [`in_folder`].
pub fn newest_in_folder(folder: &Path) -> Result<Option<Vec<u8>>, Unreadable> {
    names_in(folder)?.last().map(|name| read_note(&folder.join(name))).transpose()
}

fn names_in(folder: &Path) -> Result<Vec<String>, Unreadable> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err((folder.to_owned(), error)),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(CHECKPOINT) && name != CHECKPOINT_KEY).collect();
    // `checkpoint` before `checkpoint-2026-11-23`: reversed, the newest day is first and the newest of all last.
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(names)
}

/// One checkpoint file, as it stands.
///
/// # Errors
/// It cannot be read, with its path.
pub fn read_note(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let mut note = Vec::new();
    let limit = u64::try_from(MAX_NOTE).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut note));
    read.map(|_| note).map_err(|error| (path.to_owned(), error))
}

/// What is said of a finding in what lies beside the entries: the file of endings, the summary, the rows that decide access.
fn told_beside(finding: &Finding) -> String {
    const FILE: &str = "the file `endings` in the checkpoint folder";
    match finding {
        Finding::EndingsChanged { line, .. } => format!("{FILE} is not what was written, from line {line} on"),
        Finding::EndingsShortened { have, kept } => {
            format!("{FILE} has {have} endings, and {kept} were written to it")
        }
        Finding::Undone { seq, what } => {
            let says = match what {
                Undone::Revocation => "withdrew links, and the database does not say so any more",
                Undone::Client => "switched a client off or on, and the database says otherwise",
                Undone::Link => "issued a link, and the database does not have it as it was issued any more",
                Undone::Registered => {
                    "registered or changed a client, and the database has other things registered of it"
                }
                Undone::Operator => "registered an operator or switched one off, and the database says otherwise",
                Undone::Created => "took in a document, and the database does not have it any more",
                Undone::Document => "closed a document, and the database says otherwise",
                Undone::Holds(_) => "laid a legal hold on a document, and the database does not have it any more",
            };
            format!("entry {seq} {says}")
        }
        Finding::EndingsUnread { count, first } => {
            format!("{count} endings that wait in the database for {FILE} cannot be read, the first is number {first}")
        }
        Finding::EndChanged { at } => {
            let at = Timestamp::from_millis(*at);
            format!("the audit log's end was not what its summary says, found at {at}")
        }
        Finding::RevocationsGone { count, .. } => {
            format!("{FILE} tells of {count} withdrawals of links that are not in the database any more")
        }
        Finding::UnrecordedRevocation { number } => {
            format!("the database has withdrawal {number} of links, and no entry made it")
        }
        Finding::UnrecordedOperator { .. } => "the database has an operator whom no entry registered".to_owned(),
        Finding::UsesGone { count, .. } => {
            format!("{FILE} tells of {count} uses of counted links that are not spent in the database any more")
        }
        _ => "the record is not what was written".to_owned(),
    }
}

/// A finding as a message: which entry, or how many there should be.
pub fn issue_of(finding: &Finding) -> Issue {
    let issue = Issue::new(finding.code());
    match finding {
        Finding::Shortened { have, vouched, source } => {
            let when = match source {
                Some(Source::Stored) => "the database",
                Some(Source::FullCheck) => "the last full check",
                Some(Source::Outside(_)) => "the checkpoint folder",
                None => "the stored tree",
            };
            let issue = issue.fill("n", have).fill("m", vouched);
            match source {
                Some(_) => issue.fill("when", when),
                None => {
                    let text = format!("the log has {have} entries, but its own tree has {vouched}");
                    issue.message_text(text)
                }
            }
        }
        Finding::Missing { first, last } if first == last => issue.message_text(format!("entry {first} is missing")),
        Finding::Missing { first, last } => issue.message_text(format!("entries {first} to {last} are missing")),
        Finding::Repeated { seq } => issue.message_text(format!("there is a second entry {seq}")),
        Finding::Rewritten { intact, size, .. } => issue.message_text(format!(
            "entries between {intact} and {size} are not what was recorded: a signed checkpoint says otherwise"
        )),
        Finding::Fork { size, .. } => {
            issue.message_text(format!("two different signed checkpoints of {size} entries exist; keep both"))
        }
        Finding::Unpublished { known, found: None } => issue.fill("m", known),
        Finding::Unpublished { known, found: Some(found) } => issue.message_text(format!(
            "the log published a checkpoint of {known} entries, but the newest in the checkpoint folder has {found}"
        )),
        Finding::Tree => issue.message_text("the stored tree is not that of the entries"),
        Finding::ErasureUnrecorded { first, last } => {
            issue.message_text(format!("cells of entries {first} to {last} are erased, and no entry says so"))
        }
        Finding::ErasuresTooMany => issue.message_text("more separate erasures than are checked"),
        Finding::Hidden { seq } => issue
            .message_text(format!("entry {seq} is not found under the patient whom it names: the look-up was changed")),
        Finding::Lookup { first, after } => issue.message_text(format!(
            "the look-up by patient of entries {first} to {} is not what was recorded of it: it was changed",
            after.saturating_sub(1)
        )),
        Finding::LinkHidden { seq } => issue
            .message_text(format!("a link of entry {seq} is not in the index of given links: the index was changed")),
        Finding::LinkStrange { seq: Some(seq) } => {
            issue.message_text(format!("the index of given links has a link that entry {seq} did not give"))
        }
        Finding::LinkStrange { seq: None } => {
            issue.message_text("the index of given links has a link that names no entry")
        }
        Finding::Strange { seq } => {
            issue.message_text(format!("the look-up by patient names entry {seq}, which does not name that patient"))
        }
        Finding::Checkpoint { fault, .. } => match fault {
            NoteFault::UnknownSigner | NoteFault::OtherLog => issue,
            NoteFault::Malformed => issue.message_text("a checkpoint is damaged"),
            NoteFault::BadSignature => issue.message_text("a checkpoint's signature does not fit"),
            NoteFault::RowDiffers => issue.message_text("a stored checkpoint is not the one that was signed"),
        },
        Finding::Entry { seq, .. } => issue.fill("n", seq),
        _ => issue.message_text(told_beside(finding)),
    }
}

#[async_trait]
impl LogSource for LogReader {
    async fn rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        Self::rows(self, first, limit).await
    }

    async fn head(&self) -> Result<AuditHead, StoreError> {
        Self::head(self).await
    }

    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        Self::checkpoints(self).await
    }

    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        Self::newest_checkpoint(self).await
    }

    async fn endings(&self) -> Result<EndingsStanding, StoreError> {
        Self::endings(self).await
    }

    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError> {
        Self::stand(self, expected).await
    }

    async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        Self::recorded(self, after, limit).await
    }
}

/// The log of a database, opened for reading.
///
/// # Errors
/// As opening a store.
pub fn open_log(database: &Path) -> Result<LogReader, StartFailure> {
    LogReader::open(database).map_err(|error| super::instance::open_failure(&error))
}
