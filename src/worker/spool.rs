//! The spool of revocations as a file of its own in the data folder: appended, synced, read at start.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::delivery::Spool;

/// Longest spool that is read at start; each line is some kilobytes at most.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// A file with a line for each revocation that waits.
#[derive(Debug)]
pub struct FileSpool {
    path: PathBuf,
}

impl FileSpool {
    /// At `path`; the file is made when it is needed.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Spool for FileSpool {
    fn append(&self, line: &str) -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        // Begins a line of its own: an earlier one that a crash cut off must not swallow this one.
        file.write_all(format!("\n{line}\n").as_bytes())?;
        file.sync_all()?;
        // The name must outlive a power cut too.
        match self.path.parent() {
            Some(folder) => std::fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    fn lines(&self) -> std::io::Result<Vec<String>> {
        let length = match std::fs::metadata(&self.path) {
            Ok(data) => data.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if length > MOST_BYTES {
            return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
        }
        // A line that a crash cut off may end within a character.
        let text = String::from_utf8_lossy(&std::fs::read(&self.path)?).into_owned();
        Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    fn clear(&self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_until_they_are_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let spool = FileSpool::new(folder.path().join("revocations.spool"));
        assert!(spool.lines().unwrap().is_empty());
        spool.append("one").unwrap();
        spool.append("two").unwrap();
        assert_eq!(spool.lines().unwrap(), ["one", "two"]);
        std::fs::write(folder.path().join("revocations.spool"), b"one\n{\"reason\":\"gr\xc3").unwrap();
        assert_eq!(spool.lines().unwrap().len(), 2, "cut off within a character, and still read");
        spool.clear().unwrap();
        spool.clear().unwrap();
        assert!(spool.lines().unwrap().is_empty());
    }
}
