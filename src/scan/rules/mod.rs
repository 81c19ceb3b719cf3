//! The built-in rules: what can be said of a file without virus signatures. One pass over the bytes (a second one
//! for PDFs that are encrypted without a password), a bounded account ([`Limits`]), no file system, no network, no time.
//!
//! What the rules refuse, and where: another kind than declared (`kind`), programs (`executable`), script in markup
//! (`markup`) and PDF (`pdf`), Office macros (`compound`, `zip`, `markup`), archive bombs, contradicting, encrypted and sealed
//! archives (`zip`, `tape`, `limits`), the EICAR test file anywhere at any level (`forward`).
//!
//! What they do not see: viruses by signature (that is what an antivirus engine is for), exploits of image and font
//! decoders, macros of Excel 4 in old binary workbooks, encryption inside old binary Office files, and what DICOM objects
//! carry besides encapsulated documents.
//!
//! A doubt is decided for "not clean" where a viewer could be made to see what the rules did not, and for "clean" where
//! only an odd but honest program is in question.

mod base64_run;
mod compound;
mod dicom;
mod executable;
mod forward;
mod inspect;
mod kind;
mod limits;
mod markup;
mod pdf;
mod source;
mod tape;
mod test_file;
mod wide;
mod zip;

#[cfg(test)]
mod tests;

use std::io;

use self::forward::{Forward, LOOK_AHEAD};
use self::inspect::Stop;
use self::kind::Seen;
pub use self::limits::Limits;
use self::limits::{Account, Trip};
use self::pdf::lock::Lock;
use self::source::Source;
pub use self::test_file::harmless_test_file;
use super::{Condition, ReadSeek, ScanError, Scanner, Subject};
use crate::domain::verdict::{Engine, Finding, Verdict};

/// The engine `rules`.
#[derive(Debug, Clone, Default)]
pub struct RuleScanner {
    limits: Limits,
}

impl RuleScanner {
    /// With limits of its own.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl Scanner for RuleScanner {
    fn engine(&self) -> Engine {
        Engine::Rules
    }

    /// They are part of this program: always there.
    fn probe(&self) -> Condition {
        Condition::Ready { version: env!("CARGO_PKG_VERSION").to_owned(), signatures: None }
    }

    fn scan(&self, subject: &Subject<'_>, content: &mut dyn ReadSeek) -> Result<Verdict, ScanError> {
        let first = self.pass(subject, content, None)?;
        if first.finding != Some(Finding::Encrypted) {
            return Ok(first);
        }
        let read = |error: io::Error| ScanError::Read(error.kind());
        let Some(lock) = Lock::find(content).map_err(read)? else { return Ok(first) };
        content.rewind().map_err(read)?;
        self.pass(subject, content, Some(&lock))
    }
}

impl RuleScanner {
    /// Reads the file once; with `lock`, as those do who open it.
    fn pass(
        &self,
        subject: &Subject<'_>,
        content: &mut dyn ReadSeek,
        lock: Option<&Lock>,
    ) -> Result<Verdict, ScanError> {
        let mut account = Account::new(&self.limits, subject.size);
        account.lock = lock;
        let mut plain = content;
        let mut source = Source::new(&mut plain);
        let found = look(&account, &mut source, subject.declared);
        source.finish().map_err(ScanError::Read)?;
        if source.size() != subject.size {
            return Err(ScanError::Size { recorded: subject.size, read: source.size() });
        }
        let finding = match (account.tripped.get(), found) {
            (Some(Trip::Eicar), _) => Some(Finding::Malware),
            (Some(Trip::Bomb), _) => Some(Finding::ArchiveBomb),
            (None, Ok(seen)) => hides_zip(seen, &source).then_some(Finding::TypeMismatch),
            (None, Err(Stop::Found(finding))) => Some(finding),
            // The storage did not fail, so the damage is in the file.
            (None, Err(Stop::Broken)) => Some(Finding::Unreadable),
        };
        let place = finding.map(|_| account.place.get().to_string()).unwrap_or_default();
        Ok(Verdict { engine: Engine::Rules, file: subject.file, sha256: source.sha256(), finding, place })
    }
}

/// The inspection of the whole file, and whether it is what was declared.
fn look(account: &Account<'_>, source: &mut dyn io::Read, declared: &str) -> Result<Seen, Stop> {
    let declared = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut forward = Forward::plain(account, source);
    let head = forward.peek(LOOK_AHEAD)?.to_vec();
    let seen = inspect::inspect(&mut forward, Some(&declared))?;
    if seen.fits(&declared, &head) { Ok(seen) } else { Err(Finding::TypeMismatch.into()) }
}

/// A second format behind the first: zip readers start at the end of a file, so that a picture or a PDF with an archive
/// behind it is both (GIFAR).
fn hides_zip(seen: Seen, source: &Source<'_>) -> bool {
    let archive = matches!(seen, Seen::Zip(_) | Seen::Gzip | Seen::Tar);
    !archive && source.ends_as_zip()
}
