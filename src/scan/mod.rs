//! The safety check: one trait, and the engines behind it. An engine sees decrypted bytes and says a
//! [`Verdict`]; it knows neither the store nor documents, and it decides nothing about them: `domain::lifecycle` does.
//!
//! Only an engine that has read every byte may say "clean", and its verdict carries the digest of what it read, so that
//! a verdict never speaks for other bytes than those it saw.

pub mod clamd;
pub mod rules;

use std::fmt::Debug;
use std::io::{Read, Seek};

use crate::domain::clock::Timestamp;
use crate::domain::id::FileId;
use crate::domain::verdict::{Engine, Verdict};

/// Plaintext of one file, forwards and with seeking. Engines may seek, the built-in rules read forwards only.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek + ?Sized> ReadSeek for T {}

/// The file that is looked at, and what was said of it when it came.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its id, which the verdict repeats.
    pub file: FileId,
    /// SHA-256 that the store holds for it. An engine reports what it read, not this.
    pub sha256: [u8; 32],
    /// Declared media type; case and parameters do not matter.
    pub declared: &'a str,
    /// Size in bytes that the store holds for it.
    pub size: u64,
}

/// Why no verdict came. The texts hold nothing of the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The content could not be read to its end (storage, decryption).
    #[error("the content could not be read: {0:?}")]
    Read(std::io::ErrorKind),
    /// The content had another length than the store holds; size and bytes read.
    #[error("the content has {read} bytes where {recorded} are recorded")]
    Size {
        /// Bytes that the store holds for it.
        recorded: u64,
        /// Bytes that were read.
        read: u64,
    },
    /// The engine did not answer, or not in words that it is known for. For engines outside this process.
    #[error("the engine {} gave no verdict: {}", engine.name(), failure.words())]
    Engine {
        /// The engine.
        engine: Engine,
        /// What failed.
        failure: EngineFailure,
    },
}

/// How an engine outside this process fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineFailure {
    /// No connection.
    Unreachable,
    /// All connections that this server allows itself are in use.
    Busy,
    /// It closed the connection before it had answered.
    Broken,
    /// Its time was over.
    Late,
    /// What it answered is not what it is known to answer.
    Nonsense,
    /// It answered that it could not look.
    Error,
}

impl EngineFailure {
    /// Fixed words, after the engine's name.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unreachable => "does not answer",
            Self::Busy => "has too many files at once",
            Self::Broken => "closed the connection before it had answered",
            Self::Late => "took too long",
            Self::Nonsense => "answered in words that it is not known for",
            Self::Error => "answered that it could not look",
        }
    }
}

/// What an engine calls clean though nobody could know: it is not fit to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The EICAR test file.
    TestVirus,
    /// An archive that asks for a password.
    Locked,
    /// An archive beyond its own limits.
    Deep,
}

impl Fault {
    /// What it calls clean.
    pub fn words(self) -> &'static str {
        match self {
            Self::TestVirus => "the test virus",
            Self::Locked => "a password-protected archive",
            Self::Deep => "an archive that is nested too deep to look into",
        }
    }
}

/// Whether an engine may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It answers, and is fit.
    Ready {
        /// Its version, as it says it.
        version: String,
        /// When its official signatures were made; `None`: it has none, or none that it tells of.
        signatures: Option<Timestamp>,
    },
    /// It does not answer, or not as it should.
    Failing(EngineFailure),
    /// It answers, but calls clean what it has not looked into.
    Unfit(Fault),
}

impl Condition {
    /// Whether its verdicts count.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// What is wrong, in fixed words after the engine's name; `None`: nothing.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Ready { .. } => None,
            Self::Failing(failure) => Some(failure.words().to_owned()),
            Self::Unfit(fault) => Some(format!("answers, but calls {} clean", fault.words())),
        }
    }
}

impl ScanError {
    /// Whether the same scan may succeed later. A length that differs will not change by waiting.
    pub fn retry(&self) -> bool {
        match self {
            Self::Read(_) | Self::Engine { .. } => true,
            Self::Size { .. } => false,
        }
    }
}

/// An engine that looks into a file.
///
/// Contract, for every engine:
/// - [`Scanner::scan`] blocks; callers run it on a thread that may block. It keeps no state between files, so that
///   several files may be looked at at once.
/// - It reads `content` from the position it is given, which is the start, to its end, and `Verdict::sha256` is the
///   digest of all those bytes, also when it found something early. Engines that send the bytes elsewhere compute it
///   while sending.
/// - It holds no more than a bounded part of the file in memory.
/// - What it could not look into is a finding (`Encrypted`, `ArchiveBomb`, `Unreadable`, `TooLarge`), never "clean"; an
///   engine's own limit counts as such. A failure of the engine or of the storage is an error, never a finding.
/// - `Verdict::place` and errors repeat nothing of the content and no names inside of it.
pub trait Scanner: Send + Sync + Debug {
    /// Which engine it is.
    fn engine(&self) -> Engine;

    /// Finds out whether it may be asked: with files that are known to it, never by what it says of itself. Blocks, for seconds at most.
    fn probe(&self) -> Condition;

    /// Looks at one file.
    ///
    /// # Errors
    /// [`ScanError`] when there is no verdict; [`ScanError::retry`] says whether to try again.
    fn scan(&self, subject: &Subject<'_>, content: &mut dyn ReadSeek) -> Result<Verdict, ScanError>;
}
