//! Reading: positional, chunk by chunk, each opened in place where it was read to.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};

use super::super::seal::{
    CHUNK, ChunkCipher, HEADER, INLINE_MOST, TAG, chunks_of, header, sealed_length, sealed_offset,
};
use super::super::{BlobError, OpenContent, READ_MOST, to_u64};
use crate::domain::content::DataKey;
use crate::domain::id::FileId;

const CUT: BlobError = BlobError::Damaged("it is not as long as it was");
const WRONG_HEADER: BlobError = BlobError::Damaged("its header is not that of this file");

/// Content of a file on disk.
pub(super) struct FileContent {
    file: File,
    cipher: ChunkCipher,
    size: u64,
}

impl FileContent {
    /// Checks the length and the header of what was opened.
    pub(super) fn open(file: File, id: FileId, key: &DataKey, size: u64) -> Result<Self, BlobError> {
        let meta = file.metadata().map_err(|e| BlobError::io("look at a file", e))?;
        if !meta.is_file() {
            return Err(BlobError::Damaged("it is not a regular file"));
        }
        if meta.len() != sealed_length(size) {
            return Err(CUT);
        }
        let mut found = [0; HEADER];
        file.read_exact_at(&mut found, 0).map_err(read_error)?;
        if found != header(id) {
            return Err(WRONG_HEADER);
        }
        Ok(Self { file, cipher: ChunkCipher::new(id, key)?, size })
    }

    /// Opens the chunks from `first` up to and without `end`: their plaintext in one piece. Ciphertext and tags are read apart
    /// from each other, so that nothing has to be moved afterwards.
    fn open_chunks(&self, first: u64, end: u64) -> Result<BytesMut, BlobError> {
        let from = first.saturating_mul(to_u64(CHUNK));
        let to = end.saturating_mul(to_u64(CHUNK)).min(self.size);
        let length = usize::try_from(to.saturating_sub(from)).map_err(|_too_long| CUT)?;
        let count = usize::try_from(end - first).map_err(|_too_long| CUT)?;
        let mut plain = BytesMut::zeroed(length);
        let mut tags = vec![[0; TAG]; count];
        let mut slices = Vec::with_capacity(2 * count);
        for (body, tag) in plain.chunks_mut(CHUNK).zip(&mut tags) {
            slices.extend([IoSliceMut::new(body), IoSliceMut::new(tag)]);
        }
        read_scattered(&self.file, &mut slices, sealed_offset(first)).map_err(read_error)?;
        let last = chunks_of(self.size) - 1;
        for (number, (body, tag)) in (first..end).zip(plain.chunks_mut(CHUNK).zip(&tags)) {
            self.cipher.open(number, number == last, body, tag)?;
        }
        Ok(plain)
    }
}

impl OpenContent for FileContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, len: usize) -> Result<Bytes, BlobError> {
        let len = len.min(READ_MOST);
        let end = offset.saturating_add(to_u64(len)).min(self.size);
        if offset >= end {
            return Ok(Bytes::new());
        }
        let chunk = to_u64(CHUNK);
        let plain = self.open_chunks(offset / chunk, end.div_ceil(chunk))?.freeze();
        let skip = usize::try_from(offset % chunk).unwrap_or_default();
        let take = usize::try_from(end - offset).unwrap_or_default();
        let range = skip..skip.saturating_add(take);
        if range.end > plain.len() { Err(CUT) } else { Ok(plain.slice(range)) }
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Fills all of `slices` from `offset` on, however little each system call gives.
fn read_scattered(file: &File, slices: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<()> {
    let (mut left, mut at) = (slices, offset);
    while !left.is_empty() {
        match rustix::io::preadv(file, left, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                at = at.saturating_add(to_u64(count));
                IoSliceMut::advance_slices(&mut left, count);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn read_error(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CUT,
        io::ErrorKind::IsADirectory => BlobError::Damaged("it is not a regular file"),
        _ => BlobError::io("read a file", error),
    }
}

/// Content that lay with its row: opened whole.
pub(super) struct MemoryContent(Bytes);

impl MemoryContent {
    pub(super) fn open(id: FileId, key: &DataKey, size: u64, sealed: &[u8]) -> Result<Self, BlobError> {
        // What lies with a row is one chunk.
        if size > to_u64(INLINE_MOST) || to_u64(sealed.len()) != sealed_length(size) {
            return Err(CUT);
        }
        let (found, rest) = sealed.split_at_checked(HEADER).ok_or(CUT)?;
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(CUT)?;
        if found != header(id) {
            return Err(WRONG_HEADER);
        }
        let mut plain = BytesMut::from(body);
        ChunkCipher::new(id, key)?.open(0, true, &mut plain, tag)?;
        Ok(Self(plain.freeze()))
    }
}

impl OpenContent for MemoryContent {
    fn size(&self) -> u64 {
        to_u64(self.0.len())
    }

    fn read(&self, offset: u64, len: usize) -> Result<Bytes, BlobError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let end = start.saturating_add(len.min(READ_MOST)).min(self.0.len());
        Ok(self.0.slice(start..end))
    }
}

impl fmt::Debug for MemoryContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryContent").field("size", &self.size()).finish_non_exhaustive()
    }
}
