//! A file as `std::io::Read` and `Seek`, for scan engines and archive readers.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::{BlobError, CHUNK, OpenContent, to_u64};

/// Reads an open file from where it was last moved to. Holds one chunk (64 KiB) and no more. Blocks: not for HTTP workers.
#[derive(Debug)]
pub struct ContentReader {
    content: Arc<dyn OpenContent>,
    at: u64,
    window: Bytes,
    window_at: u64,
}

impl ContentReader {
    /// At the beginning.
    pub fn new(content: Arc<dyn OpenContent>) -> Self {
        Self { content, at: 0, window: Bytes::new(), window_at: 0 }
    }

    /// What is left of the window from the present place.
    fn ahead(&self) -> Bytes {
        let skip = self.at.checked_sub(self.window_at).and_then(|skip| usize::try_from(skip).ok());
        match skip {
            Some(skip) if skip < self.window.len() => self.window.slice(skip..),
            _ => Bytes::new(),
        }
    }
}

impl Read for ContentReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut ahead = self.ahead();
        if ahead.is_empty() && self.at < self.content.size() {
            let start = self.at - self.at % to_u64(CHUNK);
            self.window = self.content.read(start, CHUNK).map_err(to_io)?;
            self.window_at = start;
            ahead = self.ahead();
        }
        let count = ahead.len().min(out.len());
        ahead.copy_to_slice(out.get_mut(..count).unwrap_or_default());
        self.at = self.at.saturating_add(to_u64(count));
        Ok(count)
    }
}

impl Seek for ContentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.content.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// Damage becomes `InvalidData`; the [`BlobError`] is inside for who wants it.
fn to_io(error: BlobError) -> io::Error {
    let kind = match &error {
        BlobError::Damaged(_) => io::ErrorKind::InvalidData,
        BlobError::Missing => io::ErrorKind::NotFound,
        BlobError::Unavailable { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
