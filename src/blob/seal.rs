//! The format of sealed content. A header of 32 bytes, then chunks of 64 KiB of plaintext (the last one shorter, and empty only
//! when the file is), each sealed by itself with AES-256-GCM and followed by its tag of 16 bytes.
//!
//! The key seals one attempt to store one file. Nonce: number of the chunk. Authenticated with each chunk: the header (format,
//! version, id of the file), the number of the chunk, whether it is the last. So a chunk opens at its own place in its own
//! file only, and a file that was cut ends without a last chunk.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;

use super::{BlobError, to_u64};
use crate::domain::content::DataKey;
use crate::domain::id::FileId;

/// Bytes of plaintext in a chunk.
pub const CHUNK: usize = 64 * 1024;
/// The largest content that may be kept with its row.
pub const INLINE_MOST: usize = CHUNK;

pub(super) const HEADER: usize = 32;
pub(super) const TAG: usize = 16;
/// Format and version, then the id, then the exponent of the chunk size and zeros.
const MAGIC: &[u8; 8] = b"DAYLILY\x01";
const CHUNK_EXPONENT: u8 = 16;

/// The header of a file: follows wholly from its id.
pub(super) fn header(file: FileId) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let parts = MAGIC.iter().chain(file.as_bytes()).chain([&CHUNK_EXPONENT]);
    header.iter_mut().zip(parts).for_each(|(slot, byte)| *slot = *byte);
    header
}

/// Chunks of a content of `size` bytes: at least one.
pub(super) fn chunks_of(size: u64) -> u64 {
    size.div_ceil(to_u64(CHUNK)).max(1)
}

/// Where a chunk begins in the sealed bytes.
pub(super) fn sealed_offset(chunk: u64) -> u64 {
    to_u64(HEADER).saturating_add(chunk.saturating_mul(to_u64(CHUNK + TAG)))
}

/// Length of the sealed bytes of a content of `size` bytes.
pub(super) fn sealed_length(size: u64) -> u64 {
    to_u64(HEADER).saturating_add(size).saturating_add(chunks_of(size).saturating_mul(to_u64(TAG)))
}

/// Seals or opens the chunks of one file.
pub(super) struct ChunkCipher {
    key: LessSafeKey,
    header: [u8; HEADER],
}

impl ChunkCipher {
    pub(super) fn new(file: FileId, key: &DataKey) -> Result<Self, BlobError> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_unspecified| BlobError::Cipher)?;
        Ok(Self { key: LessSafeKey::new(key), header: header(file) })
    }

    /// Opens a chunk in place.
    pub(super) fn open(&self, chunk: u64, last: bool, body: &mut [u8], tag: &[u8]) -> Result<(), BlobError> {
        self.key
            .open_in_place_separate_tag(nonce(chunk), Aad::from(self.aad(chunk, last)), tag, body)
            .map(|_plain| ())
            .map_err(|_unspecified| BlobError::Damaged("a part of it does not open"))
    }

    fn seal(&self, chunk: u64, last: bool, body: &mut [u8]) -> Result<[u8; TAG], BlobError> {
        self.key
            .seal_in_place_separate_tag(nonce(chunk), Aad::from(self.aad(chunk, last)), body)
            .ok()
            .and_then(|tag| tag.as_ref().try_into().ok())
            .ok_or(BlobError::Cipher)
    }

    fn aad(&self, chunk: u64, last: bool) -> [u8; HEADER + 9] {
        let mut aad = [0; HEADER + 9];
        let number = chunk.to_be_bytes();
        let last = u8::from(last);
        let parts = self.header.iter().chain(&number).chain([&last]);
        aad.iter_mut().zip(parts).for_each(|(slot, byte)| *slot = *byte);
        aad
    }
}

fn nonce(chunk: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(4).zip(chunk.to_be_bytes()).for_each(|(slot, byte)| *slot = byte);
    Nonce::assume_unique_for_key(nonce)
}

/// Hashes, counts and seals a content as it comes. Holds the chunk that is not known to be the last or not, and what is
/// sealed and not yet taken.
pub(super) struct Sealing {
    cipher: ChunkCipher,
    sha256: digest::Context,
    sha1: digest::Context,
    size: u64,
    /// Number of the chunk that is being filled. Only ever counts up: no nonce comes twice.
    chunk: u64,
    /// Sealed bytes, then the plaintext of the chunk that is being filled.
    buffer: Vec<u8>,
    /// Where that plaintext begins.
    filling: usize,
}

/// Digests and length of a content that came to its end.
pub(super) struct Summary {
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
    pub(super) sha1: [u8; 20],
}

impl Sealing {
    pub(super) fn new(file: FileId, key: &DataKey) -> Result<Self, BlobError> {
        let cipher = ChunkCipher::new(file, key)?;
        let buffer = cipher.header.to_vec();
        Ok(Self {
            cipher,
            sha256: digest::Context::new(&digest::SHA256),
            sha1: digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            size: 0,
            chunk: 0,
            filling: buffer.len(),
            buffer,
        })
    }

    /// Takes the next bytes of plaintext.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.sha256.update(bytes);
        self.sha1.update(bytes);
        self.size = self.size.saturating_add(to_u64(bytes.len()));
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.buffer.len() - self.filling == CHUNK {
                self.seal_chunk(false)?;
            }
            let room = CHUNK - (self.buffer.len() - self.filling);
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.buffer.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    /// Hands what is sealed so far to `write`, and forgets it.
    pub(super) fn drain(&mut self, write: impl FnOnce(&[u8]) -> Result<(), BlobError>) -> Result<(), BlobError> {
        write(self.buffer.get(..self.filling).unwrap_or_default())?;
        self.buffer.drain(..self.filling);
        self.filling = 0;
        Ok(())
    }

    /// Seals the last chunk; gives what was sealed and not drained, and the summary.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Summary), BlobError> {
        self.seal_chunk(true)?;
        let sha256 = self.sha256.finish().as_ref().try_into().map_err(|_length| BlobError::Cipher)?;
        let sha1 = self.sha1.finish().as_ref().try_into().map_err(|_length| BlobError::Cipher)?;
        Ok((self.buffer, Summary { size: self.size, sha256, sha1 }))
    }

    fn seal_chunk(&mut self, last: bool) -> Result<(), BlobError> {
        let next = self.chunk.checked_add(1).ok_or(BlobError::Cipher)?;
        let body = self.buffer.get_mut(self.filling..).unwrap_or_default();
        let tag = self.cipher.seal(self.chunk, last, body)?;
        self.buffer.extend_from_slice(&tag);
        self.filling = self.buffer.len();
        self.chunk = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format is on people's disks: the expected bytes come from another implementation (Python's `cryptography`, by the
    /// three lines below).
    #[test]
    fn the_format_is_what_another_implementation_writes() {
        // from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        // header = b"DAYLILY\x01" + bytes(range(16)) + bytes([16]) + bytes(7)
        // AESGCM(bytes([7]) * 32).encrypt(bytes(12), b"hello", header + bytes(8) + b"\x01").hex()
        let id: [u8; 16] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let file = FileId::from_bytes(id);
        let mut sealing = Sealing::new(file, &DataKey::from_slice(&[7; 32]).unwrap()).unwrap();
        sealing.push(b"hello").unwrap();
        let (sealed, summary) = sealing.finish().unwrap();
        assert_eq!(hex::encode(&sealed[HEADER..]), "09bdc8de94cc12f7463e7efeb179b75a684fa5b314");
        assert_eq!(hex::encode(&sealed[..HEADER]), "4441594c494c5901000102030405060708090a0b0c0d0e0f1000000000000000");
        // `printf hello | sha1sum`, `… | sha256sum`.
        assert_eq!(hex::encode(summary.sha1), "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
        assert_eq!(hex::encode(summary.sha256), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    }

    #[test]
    fn lengths_are_those_of_the_chunks() {
        let chunk = to_u64(CHUNK);
        for (size, chunks) in [(0, 1), (1, 1), (chunk - 1, 1), (chunk, 1), (chunk + 1, 2), (2 * chunk, 2)] {
            assert_eq!(chunks_of(size), chunks);
            let mut sealing =
                Sealing::new(FileId::from_bytes([0; 16]), &DataKey::from_slice(&[0; 32]).unwrap()).unwrap();
            sealing.push(&vec![0; usize::try_from(size).unwrap()]).unwrap();
            assert_eq!(to_u64(sealing.finish().unwrap().0.len()), sealed_length(size));
        }
    }
}
