//! Room that is kept for the log of what was done: a file of nothing beside the database, given up when the disk is full. What it
//! sets free is for the log and for all that ends access; uploads stay refused until the file stands again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// The reserve is at most this part of its disk.
const PART: u64 = 64;
/// It is made only where this many times its size are free: making it must not be what fills the disk.
const TIMES: u64 = 2;
/// Bytes of a block of `st_blocks`.
const BLOCK: u64 = 512;

/// The file.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// Bytes; 0 for none.
    size: u64,
    missing: AtomicBool,
}

impl Reserve {
    /// Makes the reserve of a database, or finds that there is no room for it. At most `most` bytes.
    pub(super) fn hold(database: &Path, most: u64) -> Self {
        let path = database.with_extension("reserve");
        let total = room(database).map_or(0, |(total, _)| total);
        let reserve = Self { path, size: most.min(total / PART), missing: AtomicBool::new(false) };
        reserve.renew();
        reserve
    }

    /// Whether it was given up, and there was no room for it since.
    pub(super) fn is_missing(&self) -> bool {
        self.missing.load(Ordering::Acquire)
    }

    /// Makes it again where there is room. A file system that cannot set room aside has none.
    pub(super) fn renew(&self) {
        if self.size == 0 || self.stands() {
            return self.missing.store(false, Ordering::Release);
        }
        let free = room(&self.path).map_or(0, |(_, free)| free);
        let made = if free < self.size.saturating_mul(TIMES) { Err(Errno::NOSPC.into()) } else { self.make() };
        if made.is_err() {
            let _: io::Result<()> = fs::remove_file(&self.path);
        }
        let unknown = matches!(&made, Err(error) if error.kind() == io::ErrorKind::Unsupported);
        self.missing.store(made.is_err() && !unknown, Ordering::Release);
    }

    /// Gives its room to whoever writes next.
    pub(super) fn give_up(&self) {
        if self.size == 0 || self.missing.swap(true, Ordering::AcqRel) {
            return;
        }
        match fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::warn!(bytes = self.size, "the disk is full: the reserve was given up, uploads are refused")
            }
            Err(error) => tracing::error!(%error, "the disk is full, and the reserve cannot be removed"),
        }
    }

    fn stands(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.blocks().saturating_mul(BLOCK) >= self.size)
    }

    fn make(&self) -> io::Result<()> {
        let file: File = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&self.path)?;
        Ok(fallocate(&file, FallocateFlags::empty(), 0, self.size)?)
    }
}

/// Bytes of the disk that a file is to lie on, and those that are free.
fn room(file: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(file.parent()?).ok()?;
    Some((stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_takes_room_and_gives_it_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("daylily.db");
        let reserve = Reserve::hold(&database, 1 << 20);
        let path = folder.path().join("daylily.reserve");
        assert!(!reserve.is_missing());
        assert!(fs::metadata(&path).unwrap().blocks() * BLOCK >= 1 << 20);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        reserve.give_up();
        assert!(reserve.is_missing() && !path.exists());
        reserve.renew();
        assert!(!reserve.is_missing() && path.exists());
    }

    #[test]
    fn none_is_held_where_none_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::hold(&folder.path().join("daylily.db"), 0);
        reserve.give_up();
        assert!(!reserve.is_missing());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
