//! The file `endings` in the checkpoint folder: what has ended, outside what a backup of the data folder brings back. Appended to while
//! serving, checked by `audit verify`, replayed by a restore.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::acknowledged::{Acknowledged, mark_beside};
use super::failure::StartFailure;
use super::folder::{not_usable, write_durably};
use super::instance::sha256;
use super::log_check::{self, LogSource};
use super::log_effects::ToRedo;
use crate::delivery::{Spool, spooled_number};
use crate::domain::audit::effect::Expected;
use crate::domain::audit::endings::{Ended, Ending, Endings, LinksOf, Place, Reading, Settled};
use crate::domain::audit::verify::Finding;
use crate::domain::audit::{SigningKey, VerifyingKey};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ClientId, FileId};
use crate::store::{EndingsStanding, Ledger, Store};
use crate::worker::FileSpool;

/// Its name in the folder.
pub const ENDINGS: &str = "endings";
/// The file of revocations that the database did not take, in the data folder.
pub(super) const SPOOL: &str = "revocations.spool";
/// How often a revocation is looked for.
const LOOKS: u32 = 3;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes that are read at once.
const PIECE: u64 = 256 << 10;
/// Endings at the file's end that are kept at a start, to know which of those that wait in the database stand there already. One that is
/// told twice does no harm.
const KEPT: usize = 16_384;

/// Most uses that are kept of those that the database does not show: one that is kept is a finding.
const MOST_USES: usize = 100_000;

/// The file of a folder under way. One that is not there says nothing.
struct Pieces {
    file: Option<File>,
    reading: Reading,
}

impl Pieces {
    /// Begins at a place; at the beginning where the file does not reach that far.
    fn begin(folder: &Path, key: &VerifyingKey, from: Place) -> io::Result<Self> {
        let mut file = match File::open(folder.join(ENDINGS)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { file: None, reading: Reading::begin(key, Place::default()) });
            }
            Err(error) => return Err(error),
        };
        let reaches = file.metadata()?.len() >= from.length;
        let from = if reaches { from } else { Place::default() };
        file.seek(SeekFrom::Start(from.length))?;
        Ok(Self { file: Some(file), reading: Reading::begin(key, from) })
    }

    /// The endings that the next bytes sign; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Vec<Ending>>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(PIECE).read_to_end(&mut bytes)?;
        Ok((!bytes.is_empty()).then(|| self.reading.feed(&bytes)))
    }
}

/// Reads the file of a folder from a place on, and keeps the last endings, at most `most`.
///
/// # Errors
/// It cannot be read.
pub fn read(folder: &Path, key: &VerifyingKey, from: Place, most: usize) -> io::Result<Endings> {
    let mut pieces = Pieces::begin(folder, key, from)?;
    let mut endings = Vec::new();
    while let Some(signed) = pieces.next()? {
        endings.extend(signed);
        endings.drain(..endings.len().saturating_sub(most));
    }
    Ok(Endings { endings, ..pieces.reading.finish() })
}

/// What is wrong with the file, as the database knows it: altered, or it ends before the last ending that it was given.
pub fn check(read: &Endings, standing: EndingsStanding) -> Option<Finding> {
    if let Some(line) = read.wrong {
        return Some(Finding::EndingsChanged { line, rest: read.rest });
    }
    let (have, kept) = (read.chain.number, standing.last.saturating_sub(standing.waiting));
    (have < kept).then_some(Finding::EndingsShortened { have, kept })
}

/// What a look at the file found.
#[derive(Debug)]
pub struct Told {
    /// What is wrong with it, or with the database as the file knows it.
    pub findings: Vec<Finding>,
    /// What an acknowledgement does again.
    pub to_redo: Vec<ToRedo>,
}

/// What is wrong with the file of a folder from a place on, or with the database as the file knows it; and from where a later look may go
/// on. The database is asked first: what it was told of lies in the file by then. Lines that a finding names are counted from that place.
///
/// # Errors
/// The store or the file cannot be read.
pub async fn finding(
    source: &dyn LogSource,
    (data, folder): (&Path, &Path),
    (key, from): (&VerifyingKey, Settled),
) -> Result<(Told, Settled), StartFailure> {
    let path = folder.join(ENDINGS);
    let standing = source.endings().await?;
    let mut pieces = Pieces::begin(folder, key, from.place).map_err(|error| not_usable(&path, &error))?;
    pieces.reading = pieces.reading.settling(standing.last.saturating_sub(standing.waiting));
    let mut gone = Gone::default();
    let mut revocations = from.revocations;
    gone.look_for(source, revocations.iter().copied()).await?;
    for look in 0..LOOKS {
        if look > 0 {
            // What the database does not take is told of here, waits in the spool, and is written: between two of these, it is looked for
            // again. A use that was given back is told of after it is given back.
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            let read = tokio::task::spawn_blocking(move || pieces.next().map(|signed| (pieces, signed))).await;
            let read = read.map_err(|error| StartFailure::machine("the file of endings cannot be read", &error))?;
            let (now, signed) = read.map_err(|error| not_usable(&path, &error))?;
            pieces = now;
            let Some(signed) = signed else { break };
            let wide: Vec<u32> = signed.iter().filter_map(|ending| wide_revocation(&ending.ended)).collect();
            revocations.extend(&wide);
            gone.look_for(source, wide.into_iter()).await?;
            gone.look_for_uses(source, &signed).await?;
            source.pause().await;
        }
        gone.look_again(source, data).await?;
        if gone.is_empty() {
            break;
        }
    }
    if source.is_serving() && source.endings().await?.waiting > 0 {
        // Where the file cannot be written, what waits may say that a use was given back.
        gone.uses.clear();
    }
    let settled = Settled { place: pieces.reading.settled(), revocations };
    let unread = standing.unread.map(|(count, first)| Finding::EndingsUnread { count, first });
    let told = match check(&pieces.reading.finish(), standing).or(unread) {
        Some(found) => Told { findings: vec![found], to_redo: Vec::new() },
        None => gone.told(),
    };
    Ok((told, settled))
}

/// What uses are counted by, in the file: a file, a client, the digest of a recipient.
type CountedBy = (FileId, ClientId, Vec<u8>);

/// What the file tells of and the database does not show.
#[derive(Debug, Default)]
struct Gone {
    /// Revocations whose rows are never forgotten.
    revocations: BTreeSet<u32>,
    /// How many uses are spent, and when the last began. A later line may say that one was given back.
    uses: BTreeMap<CountedBy, (u64, Timestamp)>,
}

impl Gone {
    fn is_empty(&self) -> bool {
        self.revocations.is_empty() && self.uses.is_empty()
    }

    async fn look_for(
        &mut self,
        source: &dyn LogSource,
        revocations: impl Iterator<Item = u32>,
    ) -> Result<(), StartFailure> {
        self.revocations.extend(without_row(source, revocations).await?);
        Ok(())
    }

    async fn look_for_uses(&mut self, source: &dyn LogSource, signed: &[Ending]) -> Result<(), StartFailure> {
        let mut last = BTreeMap::new();
        for Ending { at, ended, .. } in signed {
            if let Ended::Use { file, client, recipient, used } = ended {
                last.insert((*file, client.clone(), recipient.clone()), (*used, *at));
            }
        }
        self.uses.retain(|by, _| !last.contains_key(by));
        let unspent = unspent(source, last).await?;
        let room = MOST_USES.saturating_sub(self.uses.len());
        self.uses.extend(unspent.into_iter().take(room));
        Ok(())
    }

    /// What is neither in the database nor on its way there.
    async fn look_again(&mut self, source: &dyn LogSource, data: &Path) -> Result<(), StartFailure> {
        let revocations = without_spooled(std::mem::take(&mut self.revocations), data)?;
        self.look_for(source, revocations.into_iter()).await?;
        self.uses = unspent(source, std::mem::take(&mut self.uses)).await?;
        Ok(())
    }

    fn told(self) -> Told {
        let (mut findings, mut to_redo) = (Vec::new(), Vec::new());
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        if let (Some(first), Some(last)) = (self.revocations.first().copied(), self.revocations.last().copied()) {
            findings.push(Finding::RevocationsGone { count: count(self.revocations.len()), first, last });
        }
        if !self.uses.is_empty() {
            let lines: Vec<String> = self.uses.iter().map(|(by, (used, _))| use_of(by, *used).to_text()).collect();
            let digest = sha256(lines.join("\n").as_bytes());
            let finding = Finding::UsesGone { count: count(self.uses.len()), digest };
            let mark = mark_beside(&finding).unwrap_or_default();
            findings.push(finding);
            let again = |(by, (used, at))| ToRedo { mark: mark.clone(), expected: spent(&by, used), at };
            to_redo.extend(self.uses.into_iter().map(again));
        }
        Told { findings, to_redo }
    }
}

fn use_of((file, client, recipient): &CountedBy, used: u64) -> Ended {
    Ended::Use { file: *file, client: client.clone(), recipient: recipient.clone(), used }
}

fn spent((file, client, recipient): &CountedBy, used: u64) -> Expected {
    Expected::Use { file: *file, client: client.clone(), recipient: recipient.clone(), used }
}

/// Which of these uses are not spent in the database.
async fn unspent(
    source: &dyn LogSource,
    uses: BTreeMap<CountedBy, (u64, Timestamp)>,
) -> Result<BTreeMap<CountedBy, (u64, Timestamp)>, StartFailure> {
    let stand = source.stand(uses.iter().map(|(by, (used, _))| spent(by, *used)).collect()).await?;
    Ok(uses.into_iter().zip(stand).filter(|(_, stands)| !stands).map(|(one, _)| one).collect())
}

/// Which of these revocations are not in the database.
async fn without_row(source: &dyn LogSource, numbers: impl Iterator<Item = u32>) -> Result<Vec<u32>, StartFailure> {
    let asked: Vec<u32> = numbers.collect();
    let stand = source.stand(asked.iter().map(|number| Expected::Revocation(*number, None)).collect()).await?;
    Ok(asked.into_iter().zip(stand).filter(|(_, stands)| !stands).map(|(number, _)| number).collect())
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

/// Hands what ends in this store to the file of a folder from now on, which is read from a place on. A file that was altered, and
/// acknowledged as it is, goes on behind what of it is sound.
///
/// # Errors
/// The store cannot be read or written; the file is not what was written, and nobody acknowledged that. A folder that cannot be written
/// is none: endings wait.
pub async fn keep(
    store: &dyn Store,
    folder: &Path,
    (key, from): (SigningKey, Place),
    acknowledged: &Acknowledged,
) -> Result<(), StartFailure> {
    let standing = store.endings().await?;
    let read_from = |from| {
        let found = read(folder, key.verifying_key(), from, KEPT);
        found.map_err(|error| not_usable(&folder.join(ENDINGS), &error))
    };
    let mut found = read_from(from)?;
    if check(&found, standing).is_some() {
        found = read_from(Place::default())?;
    }
    if let Some(finding) = check(&found, standing) {
        if !mark_beside(&finding).is_some_and(|mark| acknowledged.has(&mark)) {
            return Err(log_check::issue_of(&finding).into());
        }
        go_on(folder, &found, standing, &key).map_err(|error| not_usable(&folder.join(ENDINGS), &error))?;
        found = read_from(Place::default())?;
    }
    Ok(store.keep_endings(std::sync::Arc::new(FileLedger::going_on(folder, key, found))).await?)
}

/// Writes the file anew: what of it is sound, and a line behind which numbers go on that were never given.
fn go_on(folder: &Path, found: &Endings, standing: EndingsStanding, key: &SigningKey) -> io::Result<()> {
    let path = folder.join(ENDINGS);
    let text = if found.length == 0 { Vec::new() } else { std::fs::read(&path)? };
    let sound = text.get(..usize::try_from(found.length).unwrap_or(usize::MAX)).ok_or(io::ErrorKind::InvalidData)?;
    let mut chain = found.chain;
    let given = chain.number.saturating_add(found.beyond).max(standing.last.saturating_sub(standing.waiting));
    let line = chain.resumed(given, key);
    write_durably(&path, &format!("{}{line}", String::from_utf8_lossy(sound)))
}

/// The file, as it is written.
#[derive(Debug)]
pub struct FileLedger {
    path: PathBuf,
    key: SigningKey,
    state: Mutex<Endings>,
}

impl FileLedger {
    /// The file of a folder behind what was read of it.
    fn going_on(folder: &Path, key: SigningKey, read: Endings) -> Self {
        Self { path: folder.join(ENDINGS), key, state: Mutex::new(read) }
    }

    fn state(&self) -> MutexGuard<'_, Endings> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for FileLedger {
    fn append(&self, endings: &[(Ended, Timestamp)]) -> io::Result<()> {
        let mut known = self.state();
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
    }

    fn last(&self) -> u64 {
        self.state().chain.number
    }

    fn has(&self, ended: &Ended, at: Timestamp) -> bool {
        self.state().endings.iter().any(|one| one.at == at && one.ended == *ended)
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
