//! What a command reads: standard input, files, settings. Bounded; values are never repeated.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::arguments::Place;
use super::message::Failure;
use crate::config::{FlagValue, Settings, Sources, environment};
use crate::domain::text::is_plain;

/// The longest text that is read from a file or standard input.
const MOST_BYTES: u64 = 1024 * 1024;
/// The longest line that standard input may hold where one value is asked for.
const MOST_LINE: usize = 4_096;

/// The next line of standard input without its end; what follows stays for the next who asks. `None`: there is none, it is no
/// UTF-8, or too long. Wiped when it is let go: it may be a password.
pub(super) fn stdin_line() -> Option<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(MOST_LINE + 2));
    let longest = u64::try_from(MOST_LINE + 2).unwrap_or(u64::MAX);
    let read = io::stdin().lock().take(longest).read_line(&mut line).ok()?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    let text = text.strip_suffix('\r').unwrap_or(text);
    (read > 0 && text.len() <= MOST_LINE).then(|| Zeroizing::new(text.to_owned()))
}

/// What Ctrl-C types where it sends no signal.
pub(super) const INTERRUPT: u8 = 3;

/// How typing unseen ended.
pub(super) enum Typed {
    /// A line, without its end.
    Line(Zeroizing<String>),
    /// Ctrl-C.
    Interrupted,
    /// Nothing that can be a line: its end at once, no UTF-8, too long.
    Nothing,
}

/// A line that is typed at a terminal which gives [`INTERRUPT`] as a character. Wiped when it is let go.
pub(super) fn typed_line() -> Typed {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_LINE + 2));
    let mut byte = Zeroizing::new([0]);
    let mut stdin = io::stdin().lock();
    while bytes.len() <= MOST_LINE && matches!(stdin.read(&mut *byte), Ok(1)) {
        match *byte {
            [INTERRUPT] => return Typed::Interrupted,
            [b'\n'] => break,
            [other] => bytes.push(other),
        }
    }
    match std::str::from_utf8(&bytes) {
        Ok(line) if !line.is_empty() && line.len() <= MOST_LINE => Typed::Line(Zeroizing::new(line.to_owned())),
        _ => Typed::Nothing,
    }
}

/// One value from standard input: its next line.
pub(super) fn stdin_value(flag: &str) -> Result<String, Failure> {
    let line = stdin_line().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
    line.ok_or_else(|| {
        let cure = format!("give `{flag} -` and one line on standard input");
        Failure::flag(flag, "needs one line on standard input", &cure)
    })
}

/// A patient's reference from standard input. A reference that nothing can match is refused: `no link matched` would then read
/// as if there were nothing left to withdraw.
pub(super) fn stdin_patient() -> Result<String, Failure> {
    let line = stdin_value("--patient")?;
    if is_reference(&line) {
        return Ok(line);
    }
    Err(Failure::flag(
        "--patient",
        "must be a reference",
        "write it like Patient/4711, as the documents' subject has it",
    ))
}

/// `Type/id`, a URL or a URN: something on both sides of a separator, no blanks.
fn is_reference(text: &str) -> bool {
    let parts = text.split_once(['/', ':']);
    parts.is_some_and(|(before, after)| !before.is_empty() && !after.is_empty()) && !text.contains(char::is_whitespace)
}

/// A reason that a command asks for: kept in the record, so it must say something.
pub(super) fn reason(given: &str) -> Result<(), Failure> {
    if given.trim().is_empty() {
        return Err(Failure::flag("--reason", "must say why", "write it like `--reason \"lost laptop, ticket 4711\"`"));
    }
    words("--reason", given)
}

/// Words that are kept: one line of text, since a control character could drive the terminal of who reads them.
pub(super) fn words(flag: &str, given: &str) -> Result<(), Failure> {
    if is_plain(given) {
        return Ok(());
    }
    Err(Failure::flag(flag, "must be one line without control characters", "write it as plain words"))
}

/// The text of a file.
pub(super) fn file(flag: &str, path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(_) if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST_BYTES => {
            Err(Failure::file(flag, "larger than 1 MiB", "give the right file"))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(unreadable(flag, &error)),
    }
}

/// The text of a file that holds a secret: refused when others can read it.
pub(super) fn secret_file(flag: &str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let meta = fs::metadata(path).map_err(|error| unreadable(flag, &error))?;
    if meta.mode() & 0o077 != 0 {
        let cure = format!("run `chmod 600 {}`; who could read it may have its key", path.display());
        return Err(Failure::file(flag, "it can be read by others", &cure));
    }
    file(flag, path).map(Zeroizing::new)
}

/// Writes a new file that only its owner can read; one that is there is never replaced.
pub(super) fn new_secret_file(flag: &str, path: &Path, text: &str) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::flag(flag, "names a file that is there already", "give the path of a new file")
        }
        _ => unreadable(flag, &error),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| unreadable(flag, &error))
}

pub(super) fn unreadable(flag: &str, error: &io::Error) -> Failure {
    let (why, cure) = match error.kind() {
        io::ErrorKind::NotFound => ("missing", "give the path of a file that is there"),
        io::ErrorKind::PermissionDenied => ("no permission", "run this as a user that may read it"),
        io::ErrorKind::InvalidData => ("not UTF-8", "save it as UTF-8 text"),
        io::ErrorKind::IsADirectory => ("it is a folder", "give the path of a file"),
        _ => ("the disk did not give it", "look at the disk that it lies on"),
    };
    Failure::file(flag, why, cure)
}

/// The settings of a command: file, variables, flags.
pub(super) fn settings(place: &Place, flags: Vec<FlagValue>, dev: bool) -> Result<Settings, Failure> {
    let file = match &place.config {
        Some(path) => Some((path.display().to_string(), file("--config", path)?)),
        None => None,
    };
    let sources =
        Sources { file, environment: environment(), flags, data_dir: place.data_dir.clone().unwrap_or_default(), dev };
    Settings::load(&sources).map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_patient_is_a_reference_and_a_reason_is_not_empty() {
        for good in ["Patient/p1", "http://ehr.example/fhir/Patient/1", "urn:uuid:0f6c2a7e-5b1d-4c39-9e55-0d2b1c7f4a10"]
        {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["p1", "4711", "Patient/", "/p1", "Patient/p1 and more", "Patient p1"] {
            assert!(!is_reference(bad), "{bad}");
        }
        assert_eq!(reason("  ").unwrap_err().exit, 2);
        assert!(reason("lost laptop").is_ok());
        for steering in ["lost\u{9b}2J", "lost\nlaptop", "\u{202e}pot"] {
            assert_eq!(reason(steering).unwrap_err().exit, 2, "{steering:?}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_and_refused_when_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        new_secret_file("--generate-key", &path, "secret\n").unwrap();
        assert_eq!(secret_file("--key", &path).unwrap().as_str(), "secret\n");
        assert_eq!(new_secret_file("--generate-key", &path, "other").unwrap_err().exit, 2);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = secret_file("--key", &path).unwrap_err();
        assert!(refused.issues[0].cure().contains("chmod 600"), "{refused:?}");
        assert_eq!(secret_file("--key", &folder.path().join("none")).unwrap_err().exit, 2);
    }

    #[test]
    fn settings_come_from_the_file_and_their_mistakes_end_with_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daylily.toml");
        fs::write(&path, "[server]\nlisen = \"127.0.0.1:1\"\n").unwrap();
        let place = Place { data_dir: None, config: Some(path.clone()) };
        let failure = settings(&place, Vec::new(), false).unwrap_err();
        assert_eq!(failure.exit, 2);
        fs::write(&path, "[server]\nlisten = \"127.0.0.1:9\"\n").unwrap();
        assert_eq!(settings(&place, Vec::new(), false).unwrap().server.listen.port(), 9);
    }
}
