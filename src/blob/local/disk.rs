//! The file system: names, folders, syncs. Every step that can fail on a sick disk goes through [`Disk::step`], where tests let
//! it fail.
//!
//! A sync that failed is never tried again on the same file: the kernel may have dropped the pages and report success the
//! second time. The attempt fails and the file goes.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::super::{BlobError, Space};
use crate::domain::id::FileId;
use crate::failpoint::{self, Point};

/// `blobs` in the data folder.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    temporary: PathBuf,
    /// Begins the temporary names of this process, so that a sweep leaves them alone.
    instance: FileId,
    /// A bit for each of the 2²⁰ folders `ab/cd`: made, and its own name and its parent's durable.
    folders: Box<[AtomicU64]>,
    /// Files that this process placed; `None` once nobody asks any more.
    placed: Mutex<Option<HashSet<FileId>>>,
    #[cfg(test)]
    pub(super) faults: super::tests::faults::Faults,
}

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Write,
    SyncFile,
    MakeFolder,
    Rename,
    SyncFolder,
    Open,
    Remove,
    Read,
}

impl Step {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Create => "make a file",
            Self::Write => "write a file",
            Self::SyncFile => "sync a file",
            Self::MakeFolder => "make a folder",
            Self::Rename => "rename a file",
            Self::SyncFolder => "sync a folder",
            Self::Open => "open a file",
            Self::Remove => "remove a file",
            Self::Read => "read a folder",
        }
    }
}

impl Disk {
    pub(super) fn open(data_dir: &Path, instance: FileId) -> Result<Self, BlobError> {
        let root = data_dir.join("blobs");
        let temporary = root.join("tmp");
        let folders = std::iter::repeat_with(AtomicU64::default).take((1 << 20) / 64).collect();
        let disk = Self {
            root,
            temporary,
            instance,
            folders,
            placed: Mutex::new(Some(HashSet::new())),
            #[cfg(test)]
            faults: Default::default(),
        };
        disk.make_folder(&disk.root)?;
        disk.make_folder(&disk.temporary)?;
        disk.sync_folder(data_dir)?;
        disk.sync_folder(&disk.root)?;
        Ok(disk)
    }

    /// Whether this process placed a file, or may have.
    pub(super) fn placed_here(&self, file: FileId) -> bool {
        let placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        placed.as_ref().is_none_or(|placed| placed.contains(&file))
    }

    /// From now on every file may be one that this process placed.
    pub(super) fn forget_placed(&self) {
        *self.placed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Does one step; in tests, perhaps fails instead.
    fn step<T>(&self, step: Step, work: impl FnOnce() -> io::Result<T>) -> Result<T, BlobError> {
        #[cfg(test)]
        self.faults.meet(step).map_err(|e| BlobError::io(step.name(), e))?;
        work().map_err(|e| BlobError::io(step.name(), e))
    }

    /// Makes an empty temporary file.
    pub(super) fn create(self: &std::sync::Arc<Self>, name: FileId) -> Result<Draft, BlobError> {
        let path = self.temporary.join(format!("{}-{name}", self.instance));
        let open = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?))
        };
        let file = match self.step(Step::Create, open) {
            // The folder was cleared away while the server ran.
            Err(BlobError::Unavailable { source, .. }) if source.kind() == ErrorKind::NotFound => {
                self.make_folder(&self.temporary)?;
                self.step(Step::Create, open)?
            }
            other => other?,
        };
        Ok(Draft { disk: std::sync::Arc::clone(self), file, path: Some(path) })
    }

    /// Opens the bytes of a file for reading; never follows a link, never waits for a pipe's writer.
    pub(super) fn open_object(&self, file: FileId) -> Result<File, BlobError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = self.object(file);
        let opened = self.step(Step::Open, || Ok(rustix::fs::open(&path, flags, Mode::empty())));
        match opened? {
            Ok(fd) => Ok(fd.into()),
            Err(Errno::NOENT) => Err(BlobError::Missing),
            Err(Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => Err(BlobError::Damaged("it is not a regular file")),
            Err(error) => Err(BlobError::io(Step::Open.name(), error.into())),
        }
    }

    pub(super) fn delete(&self, file: FileId) -> Result<(), BlobError> {
        let path = self.object(file);
        let removed = self.step(Step::Remove, || match fs::remove_file(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            other => other.map(|()| true),
        })?;
        failpoint::here(Point::PurgeUnlinked);
        if removed { self.sync_folder(&self.folder_of(file)) } else { Ok(()) }
    }

    /// The ids after `after` in order. Names sort as ids do, so only the folders that a page needs are read.
    pub(super) fn list(&self, after: Option<FileId>, most: usize) -> Result<Vec<FileId>, BlobError> {
        let start = after.map(|file| file.to_string()).unwrap_or_default();
        let mut found = Vec::new();
        for outer in self.names_from(&self.root, start.get(..2).unwrap_or_default(), 2)? {
            let folder = self.root.join(&outer);
            let inner_start = if start.starts_with(&outer) { start.get(2..4).unwrap_or_default() } else { "" };
            for inner in self.names_from(&folder, inner_start, 2)? {
                let prefix = format!("{outer}{inner}");
                let names = self.names_from(&folder.join(&inner), &start, 26)?;
                let files =
                    names.iter().filter(|name| name.starts_with(&prefix)).filter_map(|name| FileId::parse(name));
                found.extend(files.filter(|file| Some(*file) > after));
                if found.len() >= most {
                    found.truncate(most);
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Names of `length` bytes in a folder, from `start` on, sorted; others are not ours.
    fn names_from(&self, folder: &Path, start: &str, length: usize) -> Result<Vec<String>, BlobError> {
        let mut names = self.step(Step::Read, || {
            let entries = match fs::read_dir(folder) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return Ok(vec![]);
                }
                other => other?,
            };
            let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().unwrap_or_default()));
            names
                .filter(|name| name.as_ref().map_or(true, |name| name.len() == length && name.as_str() >= start))
                .collect()
        })?;
        names.sort_unstable();
        Ok::<Vec<String>, BlobError>(names)
    }

    pub(super) fn sweep(&self) -> Result<u64, BlobError> {
        let ours = self.instance.to_string();
        let entries = self.step(Step::Read, || fs::read_dir(&self.temporary))?;
        let mut removed = 0;
        for entry in entries {
            let entry = entry.map_err(|e| BlobError::io(Step::Read.name(), e))?;
            if !entry.file_name().to_string_lossy().starts_with(&ours) {
                self.step(Step::Remove, || fs::remove_file(entry.path()))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    pub(super) fn space(&self) -> Result<Space, BlobError> {
        let stat = rustix::fs::statvfs(&self.root).map_err(|e| BlobError::io("ask for free space", e.into()))?;
        let block = if stat.f_frsize == 0 { stat.f_bsize } else { stat.f_frsize };
        Ok(Space {
            total: stat.f_blocks.saturating_mul(block),
            available: stat.f_bavail.saturating_mul(block),
            // File systems without a table of inodes say that they have none at all.
            more_files: stat.f_files == 0 || stat.f_favail > 0,
        })
    }

    fn folder_of(&self, file: FileId) -> PathBuf {
        let name = file.to_string();
        let (outer, inner) = (name.get(..2).unwrap_or_default(), name.get(2..4).unwrap_or_default());
        self.root.join(outer).join(inner)
    }

    pub(super) fn object(&self, file: FileId) -> PathBuf {
        self.folder_of(file).join(file.to_string())
    }

    /// Makes `ab/cd` durable, once per process: also one that is there already may have been made a moment before a kill and
    /// never have reached the disk.
    fn ready_folder(&self, file: FileId) -> Result<(), BlobError> {
        let [a, b, c, ..] = *file.as_bytes();
        // The first four characters of the name are the first 20 bits of the id.
        let prefix = (usize::from(a) << 12) | (usize::from(b) << 4) | (usize::from(c) >> 4);
        let (slot, bit) = (self.folders.get(prefix / 64), 1u64 << (prefix % 64));
        if slot.is_some_and(|slot| slot.load(Ordering::Acquire) & bit != 0) {
            return Ok(());
        }
        self.make_folders(file)?;
        slot.map(|slot| slot.fetch_or(bit, Ordering::Release));
        Ok(())
    }

    fn make_folders(&self, file: FileId) -> Result<(), BlobError> {
        let inner = self.folder_of(file);
        let outer = inner.parent().unwrap_or(&self.root);
        self.make_folder(outer)?;
        self.make_folder(&inner)?;
        self.sync_folder(&self.root)?;
        self.sync_folder(outer)
    }

    fn make_folder(&self, folder: &Path) -> Result<(), BlobError> {
        self.step(Step::MakeFolder, || match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        })
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), BlobError> {
        self.step(Step::SyncFolder, || File::open(folder)?.sync_all())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), BlobError> {
        let renamed = self.step(Step::Rename, || {
            match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                // File systems that do not know the flag.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
                }
                other => Ok(other?),
            }
        });
        match renamed {
            Err(BlobError::Unavailable { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                Err(BlobError::Exists)
            }
            other => other,
        }
    }
}

/// A file that is removed when dropped, unless it was kept.
#[derive(Debug)]
pub(super) struct Draft {
    disk: std::sync::Arc<Disk>,
    file: File,
    path: Option<PathBuf>,
}

impl Draft {
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.disk.step(Step::Write, || self.file.write_all(bytes))
    }

    /// Makes the bytes durable, then their name. Still removed when dropped: whoever receives it says [`Draft::keep`].
    pub(super) fn place(&mut self, file: FileId) -> Result<(), BlobError> {
        // The length is part of what fdatasync makes durable.
        self.disk
            .step(Step::SyncFile, || failpoint::or_fail(Point::BlobSyncing).and_then(|()| self.file.sync_data()))?;
        failpoint::here(Point::BlobSynced);
        let target = self.disk.object(file);
        // Before the name is there: who lists names finds none that is not known.
        if let Some(placed) = self.disk.placed.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            placed.insert(file);
        }
        self.disk.ready_folder(file)?;
        let from = self.path.clone().unwrap_or_default();
        match self.disk.rename(&from, &target) {
            // The folder was removed while the server ran.
            Err(BlobError::Unavailable { source, .. }) if source.kind() == ErrorKind::NotFound => {
                self.disk.make_folders(file)?;
                self.disk.rename(&from, &target)?;
            }
            other => other?,
        }
        self.path = Some(target);
        failpoint::here(Point::BlobRenamed);
        self.disk.sync_folder(&self.disk.folder_of(file))?;
        failpoint::here(Point::BlobPlaced);
        Ok(())
    }

    pub(super) fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nothing can be done about a failure here; the sweep or the reconciliation at the next start finds the file.
            let _: io::Result<()> = fs::remove_file(path);
        }
    }
}
