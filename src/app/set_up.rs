//! Whether a data folder is new. Only one with none of key, database, files and checkpoints is set up; in any other, what is missing is
//! named and nothing is made in its place. A set-up that was cut short leaves a mark, and the next start goes on with it.

use std::io::{self, Read};
use std::path::Path;

use super::endings::ENDINGS;
use super::folder::{DATABASE, write_durably};
use super::log_check;
use crate::domain::refusal::{Code, Issue};

/// Lies in the folder while it is set up.
const MARK: &str = "setting-up";
const KEY: &str = "keys/encryption.key";
/// What a database begins with.
const HEADER: &[u8; 16] = b"SQLite format 3\0";
const BLOBS: &str = "blobs";

/// Looks at a folder before anything is opened or made there.
///
/// # Errors
/// `folder-unsafe` with the part that is missing.
pub fn look(data: &Path, checkpoints: &Path) -> Result<(), Issue> {
    if data.join(MARK).exists() {
        return Ok(());
    }
    let database = data.join(DATABASE);
    if database.exists() {
        if !is_database(&database) {
            return Err(empty(&database, "is no database: it is empty, or was overwritten"));
        }
        let files = data.join(BLOBS);
        let named = data.join(super::folder::INSTANCE).exists();
        return if files.is_dir() || !named { Ok(()) } else { Err(missing(&files, "its database")) };
    }
    let keys = data.join(KEY).exists().then_some("its encryption key");
    let files = holds_files(&data.join(BLOBS)).then_some("its files");
    let published = log_check::newest_in_folder(checkpoints);
    // What cannot be read may hold one.
    let published = published.map_err(|(path, error)| super::folder::not_usable(&path, &error))?.is_some();
    let published = published.then_some("a checkpoint of its log");
    let ended = checkpoints.join(ENDINGS).exists().then_some("its file of endings");
    match keys.or(files).or(published).or(ended) {
        Some(there) => Err(missing(&data.join(DATABASE), there)),
        None => Ok(()),
    }
}

/// Refuses a database without an entry, but while it is set up.
pub(super) fn expect_new(data: &Path) -> Result<(), Issue> {
    if data.join(MARK).exists() {
        return Ok(());
    }
    let fault = "has no audit log, though it was not just set up: it was emptied, or is another's";
    Err(empty(&data.join(DATABASE), fault))
}

/// Whether a file begins as every database does (sqlite.org/fileformat.html, 1.3).
fn is_database(path: &Path) -> bool {
    let mut begin = [0; HEADER.len()];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *HEADER
}

/// Marks a new folder before anything is made in it.
pub(super) fn begin(data: &Path) -> io::Result<()> {
    write_durably(&data.join(MARK), "")
}

/// Everything is there.
pub(super) fn end(data: &Path) -> io::Result<()> {
    match std::fs::remove_file(data.join(MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn holds_files(blobs: &Path) -> bool {
    std::fs::read_dir(blobs).is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != "tmp"))
}

fn empty(database: &Path, fault: &str) -> Issue {
    let issue = Issue::new(Code::FolderUnsafe).fill("file", database.display()).fill("fault", fault);
    issue.fill("cure", "keep it aside and put the database back from your copy of the data folder; nothing was changed")
}

fn missing(part: &Path, there: &str) -> Issue {
    let issue = Issue::new(Code::FolderUnsafe).fill("file", part.display());
    let issue = issue.fill("fault", format!("is missing, though {there} is there"));
    issue.fill(
        "cure",
        "put it back from your copy of the data folder, or name another `--data-dir`; nothing was made in its place",
    )
}
