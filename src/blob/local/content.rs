//! Reading: positional, chunk by chunk, each opened in place where it was read to.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::super::seal::{
    CHUNK, ChunkCipher, HEADER, INLINE_MOST, TAG, chunks_of, header, sealed_length, sealed_offset,
};
use super::super::{BlobError, OpenContent, READ_MOST, to_u64};
use super::cache::Cache;
use crate::domain::content::DataKey;
use crate::domain::id::FileId;

const CUT: BlobError = BlobError::Damaged("it is not as long as it was");
const WRONG_HEADER: BlobError = BlobError::Damaged("its header is not that of this file");

/// Content of a file on disk.
pub(super) struct FileContent {
    file: File,
    cipher: ChunkCipher,
    id: FileId,
    size: u64,
    cache: Option<Arc<Cache>>,
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
        let content = Self { file, cipher: ChunkCipher::new(id, key)?, id, size, cache: None };
        content.check_nothing()?;
        Ok(content)
    }

    /// Nobody reads a chunk of an empty file, so that it is one is checked here: a row that was made to say so opens nothing.
    fn check_nothing(&self) -> Result<(), BlobError> {
        if self.size > 0 {
            return Ok(());
        }
        let mut tag = [0; TAG];
        self.file.read_exact_at(&mut tag, sealed_offset(0)).map_err(read_error)?;
        self.cipher.open(0, true, &mut [], &tag)
    }

    /// Spans that are asked for again are kept there.
    pub(super) fn kept_in(self, cache: Option<Arc<Cache>>) -> Self {
        Self { cache, ..self }
    }

    /// The bytes from `offset` to `end` out of a span that is kept, or is now worth keeping: it is read to its end again.
    fn kept(&self, offset: u64, end: u64) -> Option<Result<Bytes, BlobError>> {
        let cache = self.cache.as_ref().filter(|cache| cache.takes(self.size))?;
        let span = to_u64(READ_MOST);
        let number = offset / span;
        let (from, to) = (number * span, self.size.min((number + 1) * span));
        if end > to {
            return None;
        }
        let part = |plain: &Bytes| part_of(plain, offset - from, end - offset);
        if let Some(plain) = cache.get((self.id, number)) {
            return Some(part(&plain));
        }
        if end < to || !cache.wants((self.id, number)) {
            return None;
        }
        let chunk = to_u64(CHUNK);
        let opened = self.open_chunks(from / chunk, to.div_ceil(chunk));
        Some(opened.and_then(|plain| part(&cache.keep((self.id, number), plain))))
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
        if let Some(kept) = self.kept(offset, end) {
            return kept;
        }
        let chunk = to_u64(CHUNK);
        let plain = self.open_chunks(offset / chunk, end.div_ceil(chunk))?.freeze();
        part_of(&plain, offset % chunk, end - offset)
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent").field("size", &self.size).finish_non_exhaustive()
    }
}

/// `take` bytes of `plain` behind its first `skip`.
fn part_of(plain: &Bytes, skip: u64, take: u64) -> Result<Bytes, BlobError> {
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let range = skip..skip.saturating_add(usize::try_from(take).unwrap_or(usize::MAX));
    if range.end > plain.len() { Err(CUT) } else { Ok(plain.slice(range)) }
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
