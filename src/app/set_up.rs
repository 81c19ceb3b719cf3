//! Whether a data folder is new. Only one with none of key, database, files and checkpoints is set up; in any other, what is missing is
//! named and nothing is made in its place. A set-up that was cut short leaves a mark, and the next start goes on with it.

use std::io;
use std::path::Path;

use super::folder::{DATABASE, write_durably};
use super::log_check;
use crate::domain::refusal::{Code, Issue};

/// Lies in the folder while it is set up.
const MARK: &str = "setting-up";
const KEY: &str = "keys/encryption.key";
const BLOBS: &str = "blobs";

/// Looks at a folder before anything is opened or made there.
///
/// # Errors
/// `folder-unsafe` with the part that is missing.
pub fn look(data: &Path, checkpoints: &Path) -> Result<(), Issue> {
    if data.join(MARK).exists() {
        return Ok(());
    }
    if data.join(DATABASE).exists() {
        let files = data.join(BLOBS);
        let named = data.join(super::folder::INSTANCE).exists();
        return if files.is_dir() || !named { Ok(()) } else { Err(missing(&files, "its database")) };
    }
    let keys = data.join(KEY).exists().then_some("its encryption key");
    let files = holds_files(&data.join(BLOBS)).then_some("its files");
    let published = log_check::newest_in_folder(checkpoints).is_ok_and(|newest| newest.is_some());
    match keys.or(files).or(published.then_some("a checkpoint of its log")) {
        Some(there) => Err(missing(&data.join(DATABASE), there)),
        None => Ok(()),
    }
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

fn missing(part: &Path, there: &str) -> Issue {
    let issue = Issue::new(Code::FolderUnsafe).fill("file", part.display());
    let issue = issue.fill("fault", format!("is missing, though {there} is there"));
    issue.fill(
        "cure",
        "put it back from your copy of the data folder, or name another `--data-dir`; nothing was made in its place",
    )
}
