//! The safety check: one trait, and the engines behind it. An engine sees decrypted bytes and says a
//! [`Verdict`]; it knows neither the store nor documents, and it decides nothing about them: `domain::lifecycle` does.
//!
//! Only an engine that has read every byte may say "clean", and its verdict carries the digest of what it read, so that
//! a verdict never speaks for other bytes than those it saw.

pub mod rules;

use std::fmt::Debug;
use std::io::{Read, Seek};

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
    #[error("the engine {} gave no verdict: {why}", engine.name())]
    Engine {
        /// The engine.
        engine: Engine,
        /// What failed, in fixed words.
        why: &'static str,
    },
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

    /// Looks at one file.
    ///
    /// # Errors
    /// [`ScanError`] when there is no verdict; [`ScanError::retry`] says whether to try again.
    fn scan(&self, subject: &Subject<'_>, content: &mut dyn ReadSeek) -> Result<Verdict, ScanError>;
}
