//! The file `endings` in the checkpoint folder: what has ended, outside what a backup of the data folder brings back. Appended to while
//! serving, checked by `audit verify`, replayed by a restore.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::domain::audit::endings::{self, Ending, Endings};
use crate::domain::audit::verify::Finding;
use crate::domain::audit::{SigningKey, VerifyingKey};
use crate::store::{EndingRows, Ledger, StoreError};

/// Its name in the folder.
pub const ENDINGS: &str = "endings";

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
        return Some(Finding::EndingsChanged { line });
    }
    let (have, kept) = (read.chain.number, last.saturating_sub(waiting));
    (have < kept).then_some(Finding::EndingsShortened { have, kept })
}

/// Hands what ends in this store to the file of a folder from now on.
///
/// # Errors
/// The store cannot be read or written. A folder that cannot be written is none: endings wait.
pub async fn keep(store: &dyn EndingRows, folder: &Path, key: SigningKey) -> Result<(), StoreError> {
    store.keep_endings(std::sync::Arc::new(FileLedger::new(folder, key))).await
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
    fn append(&self, endings: &[Ending]) -> io::Result<()> {
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

    fn has(&self, ending: &Ending) -> bool {
        self.with(|known| Ok(known.endings.contains(ending))).unwrap_or(false)
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
