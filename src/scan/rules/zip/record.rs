//! The records of a zip archive, field by field (APPNOTE 4.3), and where stored content ends when its header does not say.

use std::io::{self, BufRead, Read};

use flate2::Crc;

use super::super::forward::Forward;
use super::super::inspect::Outcome;
use crate::domain::verdict::Finding;

/// Checksum and sizes, as they stand in both headers and in the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    /// CRC-32 of the content.
    pub(super) crc: u32,
    /// Bytes in the archive.
    pub(super) packed: u64,
    /// Bytes of the content.
    pub(super) size: u64,
}

/// Header before an entry (4.3.7).
#[derive(Debug)]
pub(super) struct Local {
    pub(super) encrypted: bool,
    /// The sums follow the content (flag bit 3).
    pub(super) described: bool,
    pub(super) method: u16,
    pub(super) sums: Sums,
    pub(super) name: Vec<u8>,
}

impl Local {
    pub(super) fn read(forward: &mut Forward<'_>) -> Outcome<Self> {
        forward.skip(6)?;
        let (flags, method) = (u16_of(forward)?, u16_of(forward)?);
        forward.skip(4)?;
        let mut sums = sums(forward)?;
        let (name, extra) = (u16_of(forward)?, u16_of(forward)?);
        let name = bytes(forward, name)?;
        let extra = bytes(forward, extra)?;
        zip64(&extra, &mut [&mut sums.size, &mut sums.packed]);
        Ok(Self { encrypted: is_encrypted(flags, method), described: flags & 8 != 0, method, sums, name })
    }

    /// Whether the header leaves the numbers open in part: a writer that knew the size but not yet the rest.
    pub(super) fn is_open(&self) -> bool {
        self.sums.crc == 0 && self.sums.packed == 0
    }
}

/// Record of the directory (4.3.12).
#[derive(Debug)]
pub(super) struct Central {
    pub(super) encrypted: bool,
    pub(super) method: u16,
    pub(super) sums: Sums,
    pub(super) name: Vec<u8>,
    /// Where the entry's own header is, from the start of the archive.
    pub(super) offset: u64,
}

impl Central {
    pub(super) fn read(forward: &mut Forward<'_>) -> Outcome<Self> {
        forward.skip(8)?;
        let (flags, method) = (u16_of(forward)?, u16_of(forward)?);
        forward.skip(4)?;
        let mut sums = sums(forward)?;
        let (name, extra, comment) = (u16_of(forward)?, u16_of(forward)?, u16_of(forward)?);
        forward.skip(8)?;
        let mut offset = u64::from(u32_of(forward)?);
        let name = bytes(forward, name)?;
        let extra = bytes(forward, extra)?;
        forward.skip(u64::from(comment))?;
        zip64(&extra, &mut [&mut sums.size, &mut sums.packed, &mut offset]);
        Ok(Self { encrypted: is_encrypted(flags, method), method, sums, name, offset })
    }
}

/// End record (4.3.16).
#[derive(Debug)]
pub(super) struct End {
    /// Entries of the directory; 65535: see the zip64 record.
    pub(super) entries: u16,
    pub(super) comment: Vec<u8>,
}

impl End {
    pub(super) fn read(forward: &mut Forward<'_>) -> Outcome<Self> {
        forward.skip(10)?;
        let entries = u16_of(forward)?;
        forward.skip(8)?;
        let length = u16_of(forward)?;
        Ok(Self { entries, comment: bytes(forward, length)? })
    }
}

/// Reads the descriptor behind an entry (4.3.9), in whichever of its four spellings says `sums`: with or without
/// signature, sizes in 32 or 64 bits. `false`: none does.
pub(super) fn descriptor(forward: &mut Forward<'_>, sums: Sums) -> Outcome<bool> {
    let spellings = spellings(sums);
    let ahead = forward.peek(24)?;
    let length = spellings.iter().find(|spelling| ahead.starts_with(spelling)).map(Vec::len);
    if let Some(length) = length {
        forward.consume(length);
    }
    Ok(length.is_some())
}

fn spellings(sums: Sums) -> Vec<Vec<u8>> {
    let crc = sums.crc.to_le_bytes();
    let long = [&crc[..], &sums.packed.to_le_bytes(), &sums.size.to_le_bytes()].concat();
    let mut plain = vec![long];
    if let (Ok(packed), Ok(size)) = (u32::try_from(sums.packed), u32::try_from(sums.size)) {
        plain.push([&crc[..], &packed.to_le_bytes(), &size.to_le_bytes()].concat());
    }
    let signed: Vec<_> = plain.iter().map(|spelling| [&SIGNATURE[..], spelling].concat()).collect();
    signed.into_iter().chain(plain).collect()
}

const SIGNATURE: [u8; 4] = *b"PK\x07\x08";

/// Stored content that ends where a descriptor with a signature says exactly what was read so far.
pub(super) struct UntilDescriptor<'a, 'r> {
    forward: &'a mut Forward<'r>,
    crc: Crc,
    read: u64,
}

impl<'a, 'r> UntilDescriptor<'a, 'r> {
    pub(super) fn new(forward: &'a mut Forward<'r>) -> Self {
        Self { forward, crc: Crc::new(), read: 0 }
    }
}

impl Read for UntilDescriptor<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let sums = Sums { crc: self.crc.sum(), packed: self.read, size: self.read };
        let ahead = self.forward.peek(4096)?;
        let at_signature = ahead.starts_with(&SIGNATURE);
        if at_signature && spellings(sums).iter().take(2).any(|spelling| ahead.starts_with(spelling)) {
            return Ok(0);
        }
        // Up to the next signature, or to where one may begin at the end of the view.
        let next = memchr::memmem::find(ahead.get(1..).unwrap_or_default(), &SIGNATURE).map(|at| at + 1);
        let step = next.unwrap_or_else(|| ahead.len().saturating_sub(SIGNATURE.len() - 1).max(1));
        let count = step.min(ahead.len()).min(buffer.len());
        if count == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = ahead.get(..count).unwrap_or_default();
        self.crc.update(bytes);
        if let Some(to) = buffer.get_mut(..count) {
            to.copy_from_slice(bytes);
        }
        self.read = self.read.saturating_add(count as u64);
        self.forward.consume(count);
        Ok(count)
    }
}

/// Traditional, strong and AES encryption, and masked headers (4.4.4, 7.2, appendix E of AE-x).
fn is_encrypted(flags: u16, method: u16) -> bool {
    flags & (1 | 1 << 6 | 1 << 13) != 0 || method == 99
}

/// Numbers that do not fit stand in the zip64 field, in order (4.5.3).
fn zip64(extra: &[u8], numbers: &mut [&mut u64]) {
    let mut rest = extra;
    while let Some(([id_low, id_high, size_low, size_high], after)) = rest.split_first_chunk() {
        let size = usize::from(u16::from_le_bytes([*size_low, *size_high]));
        let (mut field, next) = after.split_at_checked(size).unwrap_or((after, &[]));
        if [*id_low, *id_high] == [1, 0] {
            for number in numbers.iter_mut().filter(|number| ***number == u64::from(u32::MAX)) {
                if let Some((value, more)) = field.split_first_chunk() {
                    **number = u64::from_le_bytes(*value);
                    field = more;
                }
            }
        }
        rest = next;
    }
}

fn sums(forward: &mut Forward<'_>) -> Outcome<Sums> {
    Ok(Sums { crc: u32_of(forward)?, packed: u64::from(u32_of(forward)?), size: u64::from(u32_of(forward)?) })
}

fn u16_of(forward: &mut Forward<'_>) -> Outcome<u16> {
    Ok(u16::from_le_bytes(forward.array()?))
}

fn u32_of(forward: &mut Forward<'_>) -> Outcome<u32> {
    Ok(u32::from_le_bytes(forward.array()?))
}

/// A field of up to 65,535 bytes.
fn bytes(forward: &mut Forward<'_>, length: u16) -> Outcome<Vec<u8>> {
    let mut field = Vec::new();
    forward.take(u64::from(length)).read_to_end(&mut field)?;
    if field.len() == usize::from(length) { Ok(field) } else { Err(Finding::Unreadable.into()) }
}
