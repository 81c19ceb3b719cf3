//! Where key-encryption keys come from: a file, the output of a command, or the data folder, where one is made at first start.
//! A source that others can read, or that is missing beside existing data, is refused; nothing is ever made in its place.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::key::{Kek, key_line, parse_keys};
use crate::domain::clock::Entropy;
use crate::domain::refusal::{Code, Issue};

/// Where keys come from (`[keys]` in the settings).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `encryption-key-file`.
    File(PathBuf),
    /// `encryption-key-command`: a program and its arguments, run without a shell; its standard output is read like a file.
    Command(Vec<String>),
    /// Neither set: `keys/encryption.key` in the data folder, made when there is no data yet.
    Folder,
}

impl KeySource {
    /// A command line of words parted by white space; no quoting, no shell. `None` when it holds no word.
    pub fn command(line: &str) -> Option<Self> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        (!words.is_empty()).then_some(Self::Command(words))
    }
}

/// The key in the data folder.
const FOLDER_KEY: &str = "keys/encryption.key";
/// What is read of a source at most: far more than 64 keys take.
const MOST_BYTES: u64 = 64 * 1024;
/// How long a command may take to print its keys, and then to end.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
const COMMAND_NAME: &str = "the output of encryption-key-command";
pub(super) const RESTORE: &str = "restore the key from your copy; nothing was made in its place";

/// What a source held.
pub(super) struct Found {
    pub(super) keys: Vec<Kek>,
    pub(super) beside_data: bool,
    /// The source as it is named to the operator.
    pub(super) name: String,
}

pub(super) fn read(
    source: &KeySource,
    data_dir: &Path,
    existing_data: bool,
    entropy: &dyn Entropy,
) -> Result<Found, Issue> {
    let (name, text, beside_data) = match source {
        KeySource::Command(words) => (COMMAND_NAME.to_owned(), run(words)?, false),
        KeySource::File(path) => (shown(path), read_file(path, OFlags::empty())?, lies_in(path, data_dir)),
        KeySource::Folder => {
            let path = data_dir.join(FOLDER_KEY);
            if !existing_data && fs::symlink_metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
                make(data_dir, &path, entropy).map_err(|e| cannot_be(&shown(&path), "made", &e))?;
            }
            (shown(&path), read_file(&path, OFlags::NOFOLLOW)?, true)
        }
    };
    let keys = parse_keys(&text).map_err(|fault| unsafe_source(&name, &fault.to_string(), RESTORE))?;
    Ok(Found { keys, beside_data, name })
}

pub(super) fn unsafe_source(name: &str, fault: &str, cure: &str) -> Issue {
    Issue::new(Code::FolderUnsafe).fill("file", name).fill("fault", fault).fill("cure", cure)
}

fn cannot_be(name: &str, done: &str, error: &io::Error) -> Issue {
    // The kind only: the rest of an I/O error adds nothing for the operator and may hold more than it should.
    unsafe_source(name, &format!("cannot be {done}: {}", error.kind()), "mend what the message names, then start again")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn lies_in(path: &Path, folder: &Path) -> bool {
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

/// Reads a key file after checking what was opened, not what the name meant a moment before.
fn read_file(path: &Path, extra: OFlags) -> Result<Zeroizing<Vec<u8>>, Issue> {
    let name = shown(path);
    // Without waiting for a writer, should it be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | extra;
    let file: File = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd.into(),
        Err(rustix::io::Errno::NOENT) => return Err(unsafe_source(&name, "is missing", RESTORE)),
        Err(error) => return Err(cannot_be(&name, "read", &error.into())),
    };
    let meta = file.metadata().map_err(|e| cannot_be(&name, "read", &e))?;
    if !meta.is_file() {
        return Err(unsafe_source(&name, "is not a regular file", RESTORE));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(unsafe_source(&name, "can be read by others", &format!("run `chmod 600 {name}`")));
    }
    let owner = rustix::process::geteuid().as_raw();
    if meta.uid() != owner && meta.uid() != 0 {
        return Err(unsafe_source(&name, "belongs to another user", &format!("run `chown {owner} {name}`")));
    }
    read_bounded(file).map_err(|e| cannot_be(&name, "read", &e))
}

fn read_bounded(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for everything from the start: a vector that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(MOST_BYTES).unwrap_or_default() + 64));
    from.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

fn make(data_dir: &Path, path: &Path, entropy: &dyn Entropy) -> io::Result<()> {
    let folder = path.parent().unwrap_or(data_dir);
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let temporary = folder.join("encryption.key.new");
    // One left by a start that did not come to its end: never used, since it never got its name.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut bytes = Zeroizing::new([0; 32]);
    entropy.fill(bytes.as_mut_slice());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file: File = rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)?.into();
    file.write_all(key_line(&bytes).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()?;
    File::open(data_dir)?.sync_all()
}

/// Runs the key command. What it writes to standard error goes to ours; what it prints is never shown.
fn run(words: &[String]) -> Result<Zeroizing<Vec<u8>>, Issue> {
    let (program, arguments) = words.split_first().ok_or_else(|| failed("names no program"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&format!("cannot be had: the program does not start ({})", error.kind())))?;
    let outcome = output_of(&mut child);
    if outcome.is_err() {
        // Also ends the reader, which waits for the pipe.
        let (_, _) = (child.kill(), child.wait());
    }
    outcome
}

fn output_of(child: &mut Child) -> Result<Zeroizing<Vec<u8>>, Issue> {
    let pipe = child.stdout.take().ok_or_else(|| failed("cannot be read"))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || sender.send(read_bounded(pipe)));
    let text = receiver
        .recv_timeout(COMMAND_PATIENCE)
        .map_err(|_late| failed("did not come within 30 seconds"))?
        .map_err(|error| failed(&format!("cannot be read: {}", error.kind())))?;
    let step = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    while waited < COMMAND_PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(text),
            Ok(Some(_)) => return Err(failed("is not to be trusted: the program ended with a failure")),
            Ok(None) => std::thread::sleep(step),
            Err(error) => return Err(failed(&format!("cannot be had: {}", error.kind()))),
        }
        waited += step;
    }
    Err(failed("came, but the program did not end within 30 seconds"))
}

fn failed(fault: &str) -> Issue {
    unsafe_source(
        COMMAND_NAME,
        fault,
        "run the command of `[keys] encryption-key-command` by hand; no key was made in its place",
    )
}
