//! The file `endings` in the checkpoint folder: what has ended, outside what a backup of the data folder brings back. Appended to while
//! serving, checked by `audit verify`, replayed by a restore.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::acknowledged::{Acknowledged, mark_beside};
use super::failure::StartFailure;
use super::folder::{not_usable, write_durably};
use super::log_check::{self, LogSource};
use crate::delivery::{Spool, spooled_number};
use crate::domain::audit::effect::Expected;
use crate::domain::audit::endings::{self, Ended, Endings, LinksOf};
use crate::domain::audit::verify::Finding;
use crate::domain::audit::{SigningKey, VerifyingKey};
use crate::domain::clock::Timestamp;
use crate::store::{Ledger, Store};
use crate::worker::FileSpool;

/// Its name in the folder.
pub const ENDINGS: &str = "endings";
/// The file of revocations that the database did not take, in the data folder.
pub(super) const SPOOL: &str = "revocations.spool";
/// How often a revocation is looked for.
const LOOKS: u32 = 3;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Reads the file of a folder. One that is not there says nothing.
///
/// # Errors
/// It cannot be read.
pub fn read(folder: &Path, key: &VerifyingKey) -> io::Result<Endings> {
    match std::fs::read(folder.join(ENDINGS)) {
        Ok(text) => Ok(endings::read(&text, key)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Endings::default()),
        Err(error) => Err(error),
    }
}

/// What is wrong with the file, as the database knows it: altered, or it ends before the last ending that it was given.
pub fn check(read: &Endings, (last, waiting): (u64, u64)) -> Option<Finding> {
    if let Some(line) = read.wrong {
        return Some(Finding::EndingsChanged { line, rest: read.rest });
    }
    let (have, kept) = (read.chain.number, last.saturating_sub(waiting));
    (have < kept).then_some(Finding::EndingsShortened { have, kept })
}

/// What is wrong with the file of a folder, or with the database as the file knows it. The database is asked first: what it was told of
/// lies in the file by then.
///
/// # Errors
/// The store or the file cannot be read.
pub async fn finding(
    source: &dyn LogSource,
    (data, folder): (&Path, &Path),
    key: &VerifyingKey,
) -> Result<Option<Finding>, StartFailure> {
    let standing = source.endings().await?;
    let found = read(folder, key).map_err(|error| not_usable(&folder.join(ENDINGS), &error))?;
    if let Some(finding) = check(&found, standing) {
        return Ok(Some(finding));
    }
    let mut told: BTreeSet<u32> = found.endings.iter().filter_map(|ending| wide_revocation(&ending.ended)).collect();
    for look in 0..LOOKS {
        if look > 0 {
            // One that the database does not take is told of here, waits in the spool, and is written: between two of these, it is looked for again.
            tokio::time::sleep(PAUSE).await;
        }
        told = without_spooled(told, data)?;
        let asked: Vec<u32> = told.iter().copied().collect();
        let stand = source.stand(asked.iter().map(|number| Expected::Revocation(*number, None)).collect()).await?;
        told = asked.into_iter().zip(stand).filter(|(_, stands)| !stands).map(|(number, _)| number).collect();
        let (Some(first), Some(last)) = (told.first().copied(), told.last().copied()) else { return Ok(None) };
        if look + 1 == LOOKS {
            let count = u64::try_from(told.len()).unwrap_or(u64::MAX);
            return Ok(Some(Finding::RevocationsGone { count, first, last }));
        }
    }
    Ok(None)
}

/// The number of a revocation whose row is never forgotten.
fn wide_revocation(ended: &Ended) -> Option<u32> {
    match ended {
        Ended::Links(_, LinksOf::Link(_)) => None,
        Ended::Links(number, _) => Some(*number),
        _ => None,
    }
}

fn without_spooled(mut numbers: BTreeSet<u32>, data: &Path) -> Result<BTreeSet<u32>, StartFailure> {
    if !numbers.is_empty() {
        let spool = data.join(SPOOL);
        let lines = FileSpool::new(spool.clone()).lines().map_err(|error| not_usable(&spool, &error))?;
        lines.iter().filter_map(|line| spooled_number(line)).for_each(|number| {
            numbers.remove(&number);
        });
    }
    Ok(numbers)
}

/// Hands what ends in this store to the file of a folder from now on. A file that was altered, and acknowledged as it is, goes on behind
/// what of it is sound.
///
/// # Errors
/// The store cannot be read or written; the file is not what was written, and nobody acknowledged that. A folder that cannot be written
/// is none: endings wait.
pub async fn keep(
    store: &dyn Store,
    folder: &Path,
    key: SigningKey,
    acknowledged: &Acknowledged,
) -> Result<(), StartFailure> {
    let unusable = |error: &io::Error| not_usable(&folder.join(ENDINGS), error);
    let standing = store.endings().await?;
    let found = read(folder, key.verifying_key()).map_err(|error| unusable(&error))?;
    if let Some(finding) = check(&found, standing) {
        if !mark_beside(&finding).is_some_and(|mark| acknowledged.has(&mark)) {
            return Err(log_check::issue_of(&finding).into());
        }
        go_on(folder, &found, standing, &key).map_err(|error| unusable(&error))?;
    }
    Ok(store.keep_endings(std::sync::Arc::new(FileLedger::new(folder, key))).await?)
}

/// Writes the file anew: what of it is sound, and a line behind which numbers go on that were never given.
fn go_on(folder: &Path, found: &Endings, (last, waiting): (u64, u64), key: &SigningKey) -> io::Result<()> {
    let path = folder.join(ENDINGS);
    let text = if found.length == 0 { Vec::new() } else { std::fs::read(&path)? };
    let sound = text.get(..usize::try_from(found.length).unwrap_or(usize::MAX)).ok_or(io::ErrorKind::InvalidData)?;
    let mut chain = found.chain;
    let given = chain.number.saturating_add(found.beyond).max(last.saturating_sub(waiting));
    let line = chain.resumed(given, key);
    write_durably(&path, &format!("{}{line}", String::from_utf8_lossy(sound)))
}

/// The file, as it is written.
#[derive(Debug)]
pub struct FileLedger {
    path: PathBuf,
    key: SigningKey,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was read when it was first needed; `None`: not read yet.
    read: Option<Endings>,
}

impl FileLedger {
    /// The file of a folder; read when it is first needed.
    pub fn new(folder: &Path, key: SigningKey) -> Self {
        Self { path: folder.join(ENDINGS), key, state: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Endings) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &mut state.read {
            Some(known) => known,
            none => {
                let folder = self.path.parent().unwrap_or(Path::new("."));
                none.insert(read(folder, self.key.verifying_key())?)
            }
        };
        act(known)
    }
}

impl Ledger for FileLedger {
    fn append(&self, endings: &[(Ended, Timestamp)]) -> io::Result<()> {
        self.with(|known| {
            // A file that was altered is evidence: nothing is written into it, and `audit verify` tells of it.
            if known.wrong.is_some() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the file of endings is not what was written"));
            }
            let mut chain = known.chain;
            let lines = chain.group(endings, &self.key).ok_or(io::ErrorKind::InvalidInput)?;
            let mut file = open(&self.path, known.length)?;
            // What a crash cut off was never answered for.
            file.set_len(known.length)?;
            file.seek(SeekFrom::Start(known.length))?;
            file.write_all(lines.as_bytes())?;
            file.sync_all()?;
            if known.length == 0 {
                self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
            }
            known.length = known.length.saturating_add(u64::try_from(lines.len()).unwrap_or_default());
            known.chain = chain;
            // Asked for before anything is appended only.
            known.endings = Vec::new();
            Ok(())
        })
    }

    fn last(&self) -> u64 {
        self.with(|known| Ok(known.chain.number)).unwrap_or(0)
    }

    fn has(&self, ended: &Ended, at: Timestamp) -> bool {
        let is_it = |known: &mut Endings| known.endings.iter().any(|one| one.at == at && one.ended == *ended);
        self.with(|known| Ok(is_it(known))).unwrap_or(false)
    }
}

/// Opens it for appending. One that became shorter meanwhile is not filled up: what is missing must be seen.
fn open(path: &Path, length: u64) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.len() < length {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file of endings became shorter"));
    }
    Ok(file)
}
