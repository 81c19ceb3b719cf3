//! The file itself: every byte that the rules read comes through here once, is hashed, and its end is kept for the
//! question whether a second format hides there.

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256};

/// Largest end of a zip archive: the end record and its longest comment (APPNOTE 4.3.16).
const TAIL: usize = 22 + 65_535;

/// Hashes what is read, remembers the end of it, and tells a failure of the storage from a failure to decompress.
pub(super) struct Source<'r> {
    inner: &'r mut dyn Read,
    digest: Context,
    read: u64,
    tail: Vec<u8>,
    failed: Option<io::ErrorKind>,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("read", &self.read).finish_non_exhaustive()
    }
}

impl<'r> Source<'r> {
    pub(super) fn new(inner: &'r mut dyn Read) -> Self {
        Self { inner, digest: Context::new(&SHA256), read: 0, tail: Vec::new(), failed: None }
    }

    /// Reads to the end. The inspection may have stopped early; the digest may not.
    pub(super) fn finish(&mut self) -> Result<(), io::ErrorKind> {
        let mut buffer = vec![0; 64 << 10];
        while self.failed.is_none() {
            match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.failed.map_or(Ok(()), Err)
    }

    /// Bytes read.
    pub(super) fn size(&self) -> u64 {
        self.read
    }

    /// Digest of all bytes read.
    pub(super) fn sha256(&self) -> [u8; 32] {
        let digest = self.digest.clone().finish();
        digest.as_ref().try_into().unwrap_or_default()
    }

    /// Whether the bytes read end as a zip archive does: an end record that names entries, whose comment reaches
    /// exactly to the last byte.
    pub(super) fn ends_as_zip(&self) -> bool {
        memchr::memmem::rfind_iter(&self.tail, b"PK\x05\x06").any(|at| {
            let record = self.tail.get(at..).unwrap_or_default();
            let number = |at: usize| {
                record.get(at..at + 2).map_or(0, |b| b.iter().rev().fold(0, |n, b| n * 256 + usize::from(*b)))
            };
            record.len() == 22 + number(20) && number(10) > 0
        })
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let excess = self.tail.len().saturating_sub(TAIL);
        // Moved rarely: only when as much again has come.
        if excess > TAIL {
            self.tail.drain(..excess);
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                self.digest.update(bytes);
                self.read = self.read.saturating_add(bytes.len() as u64);
                let kept = bytes.len().saturating_sub(TAIL);
                self.remember(bytes.get(kept..).unwrap_or_default());
                Ok(count)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failed = Some(error.kind());
                }
                Err(error)
            }
        }
    }
}
