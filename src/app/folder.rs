//! The data folder: made or checked, locked for one process, and named once for ever by its instance id. Only its owner can read
//! it; a folder that others can read is refused, not mended, since who could read it may have.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::domain::audit::leaf::is_tenant;
use crate::domain::clock::Entropy;
use crate::domain::id::base32;
use crate::domain::refusal::{Code, Issue};

/// The database.
pub const DATABASE: &str = "daylily.db";
const LOCK: &str = "lock";
pub(super) const INSTANCE: &str = "instance";
const BASE: &str = "base-url";
/// The public half of the log's first checkpoint key, for whoever verifies checkpoints elsewhere.
const LOG_KEY: &str = "checkpoint-key";

/// The data folder, looked at but not held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder {
    path: PathBuf,
}

/// The data folder, held by this process until it is dropped.
#[derive(Debug)]
pub struct LockedFolder {
    folder: DataFolder,
    made: bool,
    new: bool,
    instance: String,
    /// The operating system gives the lock back when this is closed, also after a crash.
    lock: File,
}

impl DataFolder {
    /// A folder that is there and fit to hold data.
    ///
    /// # Errors
    /// `folder-unsafe`.
    pub fn open(path: &Path) -> Result<Self, Issue> {
        let meta = fs::metadata(path).map_err(|error| not_usable(path, &error))?;
        if !meta.is_dir() {
            return Err(fault(path, "is not a folder", "give `--data-dir` the path of a folder"));
        }
        let owner = rustix::process::geteuid().as_raw();
        if meta.uid() != owner && owner != 0 {
            let cure = format!("run this as the user that owns it (id {})", meta.uid());
            return Err(fault(path, "belongs to another user", &cure));
        }
        if meta.mode() & 0o077 != 0 {
            let cure = format!("run `chmod 700 {}`", path.display());
            return Err(fault(path, "can be read by others", &cure));
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Whether it holds data.
    pub fn has_data(&self) -> bool {
        self.database().exists()
    }

    /// The user who owns it; the only one, with root, who may give commands.
    ///
    /// # Errors
    /// `folder-unsafe`.
    pub fn owner(&self) -> Result<u32, Issue> {
        fs::metadata(&self.path).map(|meta| meta.uid()).map_err(|error| not_usable(&self.path, &error))
    }

    /// The instance's id: the name of its audit log.
    ///
    /// # Errors
    /// `folder-unsafe` when it is missing or damaged; a new one would start another log beside the old.
    pub fn instance(&self) -> Result<String, Issue> {
        let path = self.path.join(INSTANCE);
        let text = read_small(&path).map_err(|error| not_usable(&path, &error))?;
        let id = text.trim_end();
        if is_tenant(id) {
            return Ok(id.to_owned());
        }
        Err(fault(&path, "is damaged", "restore it from your copy of the folder; nothing was made in its place"))
    }

    /// The base URL that the server last served this folder under.
    pub fn base_url(&self) -> Option<String> {
        read_small(&self.path.join(BASE)).ok().map(|text| text.trim_end().to_owned()).filter(|text| !text.is_empty())
    }

    /// Holds the folder for this process.
    ///
    /// # Errors
    /// `folder-locked` with the holder's process id; `folder-unsafe`.
    pub fn lock(self, entropy: &dyn Entropy) -> Result<LockedFolder, Issue> {
        self.hold(false, entropy)
    }

    /// Whether another process holds it, by process id (0 when that is not known).
    ///
    /// # Errors
    /// `folder-unsafe`.
    pub fn holder(&self) -> Result<Option<u32>, Issue> {
        let path = self.path.join(LOCK);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(not_usable(&path, &error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(pid_in(file))),
            Err(TryLockError::Error(error)) => Err(not_usable(&path, &error)),
        }
    }

    /// The process that wrote itself down as the holder, without asking for the lock: who asks keeps others from it meanwhile.
    pub fn held_by(&self) -> Option<u32> {
        File::open(self.path.join(LOCK)).ok().map(pid_in).filter(|pid| *pid != 0)
    }

    fn hold(self, made: bool, entropy: &dyn Entropy) -> Result<LockedFolder, Issue> {
        let path = self.path.join(LOCK);
        let unusable = |error: io::Error| not_usable(&path, &error);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = file.map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = pid_in(file);
                return Err(Issue::new(Code::FolderLocked).fill("pid", pid));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
        let new = !self.has_data();
        let instance = if new { self.name_instance(entropy)? } else { self.instance()? };
        Ok(LockedFolder { folder: self, made, new, instance, lock: file })
    }

    /// The id that is there (a first start that did not come to its end), or a new one.
    fn name_instance(&self, entropy: &dyn Entropy) -> Result<String, Issue> {
        if let Ok(instance) = self.instance() {
            return Ok(instance);
        }
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        let instance = format!("daylily-{}", base32(&bytes, 12));
        let path = self.path.join(INSTANCE);
        write_durably(&path, &format!("{instance}\n")).map_err(|error| not_usable(&path, &error))?;
        Ok(instance)
    }
}

impl LockedFolder {
    /// Makes the folder if it is not there, checks it, and holds it. An empty folder that others can read is closed to them first.
    ///
    /// # Errors
    /// `folder-locked`, `folder-unsafe`.
    pub fn prepare(path: &Path, entropy: &dyn Entropy) -> Result<Self, Issue> {
        let made = !path.exists();
        if made {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| not_usable(path, &error))?;
        }
        let empty = fs::read_dir(path).map_err(|error| not_usable(path, &error))?.next().is_none();
        if empty && fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o077 != 0) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|error| not_usable(path, &error))?;
        }
        DataFolder::open(path)?.hold(made, entropy)
    }

    /// The folder.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Whether the folder was made by this start.
    pub fn made(&self) -> bool {
        self.made
    }

    /// Whether it held no data before this start.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// The instance's id.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Remembers the base URL, so that commands know where the server is.
    ///
    /// # Errors
    /// `folder-unsafe`.
    pub fn remember_base(&self, base: &str) -> Result<(), Issue> {
        let path = self.folder.path.join(BASE);
        write_durably(&path, &format!("{base}\n")).map_err(|error| not_usable(&path, &error))
    }

    /// Writes the public half of the log's key into `checkpoints`, beside what it signed, so that others can verify it.
    ///
    /// # Errors
    /// `folder-unsafe`.
    pub fn publish_log_key(&self, checkpoints: &Path, line: &str) -> Result<(), Issue> {
        if !checkpoints.exists() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(checkpoints);
            made.map_err(|error| not_usable(checkpoints, &error))?;
        }
        let path = checkpoints.join(LOG_KEY);
        let wanted = format!("{line}\n");
        if read_small(&path).is_ok_and(|text| text == wanted) {
            return Ok(());
        }
        write_durably(&path, &wanted).map_err(|error| not_usable(&path, &error))
    }
}

impl Drop for LockedFolder {
    fn drop(&mut self) {
        // The pid of a process that is gone would only mislead.
        let _ = self.lock.set_len(0);
    }
}

fn pid_in(mut lock: File) -> u32 {
    let mut text = String::new();
    let _ = (&mut lock).take(32).read_to_string(&mut text);
    text.trim().parse().unwrap_or_default()
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(4_096).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a path lies below a folder; as it is written where it is not there.
pub fn lies_within(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(path).starts_with(real(folder))
}

/// Written beside, synced, put in place, folder synced.
pub(super) fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn fault(path: &Path, fault: &str, cure: &str) -> Issue {
    Issue::new(Code::FolderUnsafe).fill("file", path.display()).fill("fault", fault).fill("cure", cure)
}

/// An I/O failure in words: its kind only.
pub(super) fn not_usable(path: &Path, error: &io::Error) -> Issue {
    let (what, cure) = match error.kind() {
        io::ErrorKind::NotFound => ("is missing", "give the right `--data-dir`, or make one with `daylily serve`"),
        io::ErrorKind::PermissionDenied => ("cannot be opened by this user", "run this as the user that owns it"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            ("is not a folder", "give `--data-dir` the path of a folder")
        }
        io::ErrorKind::StorageFull => ("cannot be written: the disk is full", "make room on its disk"),
        io::ErrorKind::ReadOnlyFilesystem => ("lies on a disk that cannot be written", "mount it for writing"),
        _ => ("cannot be used", "look at the disk that it lies on"),
    };
    fault(path, what, cure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::SystemEntropy;

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_held_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/data");
        let held = LockedFolder::prepare(&path, &SystemEntropy).unwrap();
        assert!(held.made() && held.is_new() && held.instance().starts_with("daylily-"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join(LOCK)).unwrap().mode() & 0o777, 0o600);
        let second = LockedFolder::prepare(&path, &SystemEntropy).unwrap_err();
        assert_eq!(second.code(), Code::FolderLocked);
        assert!(second.message().contains(&std::process::id().to_string()), "{second:?}");
        assert_eq!(held.folder().holder().unwrap(), Some(std::process::id()));
        let (folder, instance) = (held.folder().clone(), held.instance().to_owned());
        drop(held);
        assert_eq!(folder.holder().unwrap(), None);
        assert_eq!(LockedFolder::prepare(&path, &SystemEntropy).unwrap().instance(), instance);
    }

    #[test]
    fn a_folder_that_others_can_read_is_refused_unless_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        drop(LockedFolder::prepare(folder.path(), &SystemEntropy).unwrap());
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let refused = LockedFolder::prepare(folder.path(), &SystemEntropy).unwrap_err();
        assert_eq!(refused.code(), Code::FolderUnsafe);
        assert!(refused.cure().contains("chmod 700"));
    }

    #[test]
    fn data_without_the_name_of_its_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(folder.path().join(DATABASE), b"data").unwrap();
        let refused = LockedFolder::prepare(folder.path(), &SystemEntropy).unwrap_err();
        assert!(refused.message().ends_with("instance is missing"), "{refused:?}");
        fs::write(folder.path().join(INSTANCE), b"../../etc\n").unwrap();
        assert!(LockedFolder::prepare(folder.path(), &SystemEntropy).unwrap_err().message().ends_with("is damaged"));
    }

    #[test]
    fn what_is_remembered_is_read_back() {
        let parent = tempfile::tempdir().unwrap();
        let held = LockedFolder::prepare(&parent.path().join("d"), &SystemEntropy).unwrap();
        assert_eq!(held.folder().base_url(), None);
        held.remember_base("http://localhost:8080").unwrap();
        assert_eq!(held.folder().base_url().as_deref(), Some("http://localhost:8080"));
    }
}
