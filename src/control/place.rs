//! Where the socket is. A Unix socket's path holds 107 bytes at most: a data folder with a longer name has its socket in the user's
//! runtime folder, under a name made from the folder's own, and a file in the folder says where.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

/// Name of the socket in the data folder.
pub const SOCKET_NAME: &str = "control.sock";

/// Name of the file that says where the socket is when it is elsewhere.
const POINTER_NAME: &str = "control.path";

/// `sun_path` is 108 bytes with its end (unix(7)).
const LONGEST: usize = 107;

/// Where a listener is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The socket.
    pub socket: PathBuf,
    /// The file that points at it, when it is not in the folder.
    pub pointer: Option<PathBuf>,
}

impl Place {
    /// The place for a data folder; `runtime` is a folder of this user alone (`XDG_RUNTIME_DIR`), `fallback` where one may be made
    /// (`/tmp`).
    ///
    /// # Errors
    /// When no place is short enough, or what is there belongs to somebody else.
    pub fn choose(data_dir: &Path, runtime: Option<&Path>, fallback: &Path) -> io::Result<Self> {
        let direct = data_dir.join(SOCKET_NAME);
        if direct.as_os_str().len() <= LONGEST {
            return Ok(Self { socket: direct, pointer: None });
        }
        let whole = fs::canonicalize(data_dir)?;
        let digest = digest::digest(&digest::SHA256, whole.as_os_str().as_bytes());
        let name = hex::encode(digest.as_ref().get(..8).unwrap_or_default());
        let folder = match runtime {
            Some(runtime) => runtime.to_owned(),
            None => own_folder(fallback)?,
        };
        let socket = folder.join(format!("daylily-{name}.sock"));
        if socket.as_os_str().len() > LONGEST {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        Ok(Self { socket, pointer: Some(data_dir.join(POINTER_NAME)) })
    }

    /// Writes the pointer, if there is one to be written; removes a socket and a pointer that a crash left.
    pub(super) fn prepare(&self, data_dir: &Path) -> io::Result<()> {
        for left in [&self.socket, &data_dir.join(POINTER_NAME)] {
            remove(left)?;
        }
        match &self.pointer {
            Some(pointer) => {
                let mut options = fs::OpenOptions::new();
                let mut file = options.write(true).create_new(true).mode(0o600).open(pointer)?;
                io::Write::write_all(&mut file, self.socket.as_os_str().as_bytes())
            }
            None => Ok(()),
        }
    }
}

/// The socket of a running server, as far as the folder says.
pub fn find(data_dir: &Path) -> PathBuf {
    let pointer = fs::read(data_dir.join(POINTER_NAME)).ok().filter(|bytes| bytes.len() <= LONGEST);
    pointer.map_or_else(|| data_dir.join(SOCKET_NAME), |bytes| PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)))
}

/// Removes socket and pointer.
pub fn forget(place: &Place) {
    for path in std::iter::once(&place.socket).chain(&place.pointer) {
        if let Err(error) = remove(path) {
            tracing::warn!(cause = %error.kind(), "the control socket was not removed");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A folder of this user alone below `parent`.
fn own_folder(parent: &Path) -> io::Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let folder = parent.join(format!("daylily-{uid}"));
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(&folder)?;
    let ours = meta.is_dir() && meta.uid() == uid && meta.mode() & 0o077 == 0;
    if ours { Ok(folder) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}
