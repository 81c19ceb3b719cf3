//! Zip archives (PKWARE APPNOTE 6.3.10), read forwards: entry after entry, each inflated to its end, then the central
//! directory, which must name exactly the entries that were met, with their sizes and checksums. Readers that start at
//! either end then see the same archive, and overlapping or hidden entries have no place to be. Sizes that an archive
//! states are compared, never believed.

mod record;

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use self::record::{Central, End, Local, Sums};
use super::executable;
use super::forward::{Forward, Part};
use super::inspect::{Outcome, entry};
use super::kind::Package;
use super::limits::Account;
use crate::domain::verdict::Finding;

/// What was read of an entry, to compare with what the directory says of it.
#[derive(Debug, PartialEq, Eq)]
struct Met {
    method: u16,
    sums: Sums,
    listed: bool,
}

/// Walks a zip archive to its end.
pub(super) fn inspect(forward: &mut Forward<'_>) -> Outcome<Package> {
    let start = forward.offset();
    let mut package = Package::default();
    let mut met = BTreeMap::new();
    let mut listed = 0u64;
    // A marker that writers of split archives leave in an archive of one part (APPNOTE 8.5.4).
    if forward.peek(4)? == b"PK\x07\x08" {
        forward.skip(4)?;
    }
    loop {
        match forward.peek(4)? {
            b"PK\x03\x04" => {
                let at = forward.offset().saturating_sub(start);
                let number = met.len() as u64 + 1;
                let read = local(forward, number, &mut package)?;
                met.insert(at, read);
            }
            b"PK\x01\x02" => {
                listed += 1;
                central(forward, &mut met, &mut package)?;
            }
            // Zip64 end record and its locator (APPNOTE 4.3.14, 4.3.15).
            b"PK\x06\x06" => {
                forward.skip(4)?;
                let size = u64::from_le_bytes(forward.array()?);
                forward.skip(size)?;
            }
            b"PK\x06\x07" => forward.skip(20)?,
            // Archive decryption header, and a directory that is encrypted (APPNOTE 4.3.11, 7.3).
            b"PK\x06\x08" => return Err(Finding::Encrypted.into()),
            b"PK\x05\x05" => {
                forward.skip(4)?;
                let size = u16::from_le_bytes(forward.array()?);
                forward.skip(u64::from(size))?;
            }
            b"PK\x05\x06" => return end(forward, listed).map(|()| package),
            _ => return Err(Finding::Unreadable.into()),
        }
    }
}

/// One entry: header, content, descriptor.
fn local(forward: &mut Forward<'_>, number: u64, package: &mut Package) -> Outcome<Met> {
    let header = Local::read(forward)?;
    let account = forward.account;
    if header.encrypted {
        return Err(Finding::Encrypted.into());
    }
    if !account.affords(header.sums.size) {
        return Err(Finding::ArchiveBomb.into());
    }
    note_name(&header.name, number, package)?;
    let begin = forward.offset();
    let (crc, size) = match (header.method, header.described) {
        (0, false) => {
            let mut part = Part { forward: &mut *forward, left: header.sums.packed };
            content(number, (&header.name, account), &mut part, false)?
        }
        (0, true) => {
            let mut part = record::UntilDescriptor::new(&mut *forward);
            content(number, (&header.name, account), &mut part, false)?
        }
        (8, _) => {
            let mut decoder = DeflateDecoder::new(&mut *forward);
            content(number, (&header.name, account), &mut decoder, true)?
        }
        // Deflate64, bzip2, LZMA and others: no reader for them here.
        _ => return Err(Finding::Unreadable.into()),
    };
    let sums = Sums { crc, packed: forward.offset().saturating_sub(begin), size };
    let told = if header.described { record::descriptor(forward, sums)? } else { header.sums == sums };
    // Also where a header of an entry with a descriptor repeats the numbers: some readers take them from there.
    let early = !header.described || header.sums == Sums::default() || header.sums == sums || header.is_open();
    if told && early { Ok(Met { method: header.method, sums, listed: false }) } else { Err(Finding::Unreadable.into()) }
}

/// What names of entries say. Both headers of an entry come here, so that neither can hide behind the other.
fn note_name(name: &[u8], number: u64, package: &mut Package) -> Outcome<()> {
    let lower = name.to_ascii_lowercase();
    let file = lower.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default();
    let within = |folder: &[u8]| lower.starts_with(folder);
    package.content_types |= lower == b"[content_types].xml";
    package.word |= within(b"word/");
    package.sheet |= within(b"xl/");
    package.slides |= within(b"ppt/");
    package.mimetype |= number == 1 && lower == b"mimetype";
    // Office macros, Excel 4 macro sheets, and Basic and scripts of OpenDocument.
    let basic = package.mimetype && (within(b"basic/") || within(b"scripts/"));
    if matches!(file, b"vbaproject.bin" | b"vbadata.xml") || within(b"xl/macrosheets/") || basic {
        return Err(Finding::Macro.into());
    }
    if package.content_types && lower.windows(9).any(|part| part == b"/activex/") {
        return Err(Finding::ActiveScript.into());
    }
    if executable::is_run_by_name(name) { Err(Finding::Executable.into()) } else { Ok(()) }
}

/// One record of the directory: it names an entry that was met, once, and says of it what was seen.
fn central(forward: &mut Forward<'_>, met: &mut BTreeMap<u64, Met>, package: &mut Package) -> Outcome<()> {
    let record = Central::read(forward)?;
    if record.encrypted {
        return Err(Finding::Encrypted.into());
    }
    if !forward.account.affords(record.sums.size) {
        return Err(Finding::ArchiveBomb.into());
    }
    note_name(&record.name, 0, package)?;
    match met.get_mut(&record.offset) {
        // Entries that share bytes: many names for one piece, or an entry within another.
        None => Err(Finding::ArchiveBomb.into()),
        Some(entry) if entry.listed => Err(Finding::ArchiveBomb.into()),
        Some(entry) if entry.method == record.method && entry.sums == record.sums => {
            entry.listed = true;
            Ok(())
        }
        Some(_) => Err(Finding::Unreadable.into()),
    }
}

/// The end record: counts agree, and nothing is behind it but zeros.
fn end(forward: &mut Forward<'_>, listed: u64) -> Outcome<()> {
    let end = End::read(forward)?;
    let counted = end.entries == u16::MAX || u64::from(end.entries) == listed;
    let hidden = memchr::memmem::find(&end.comment, b"PK\x05\x06").is_some();
    let mut buffer = [0; 4096];
    loop {
        match forward.read(&mut buffer)? {
            0 if counted && !hidden => return Ok(()),
            count if count > 0 && buffer.iter().take(count).all(|byte| *byte == 0) => {}
            _ => return Err(Finding::Unreadable.into()),
        }
    }
}

/// Inspects the content of an entry; gives its checksum and true size.
fn content(
    number: u64,
    (name, account): (&[u8], &Account<'_>),
    inner: &mut dyn Read,
    unpacks: bool,
) -> Outcome<(u32, u64)> {
    let mut counted = Counted { inner, crc: Crc::new() };
    let mut inside =
        if unpacks { Forward::unpacking(account, &mut counted) } else { Forward::plain(account, &mut counted) };
    entry(number, &mut inside, opened_as(name))?;
    let size = inside.offset();
    drop(inside);
    Ok((counted.crc.sum(), size))
}

/// Pages and drawings are known to a desktop by their names: a page may begin with plain words.
fn opened_as(name: &[u8]) -> Option<&'static str> {
    let ending = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default().to_ascii_lowercase();
    match ending.as_slice() {
        b"html" | b"htm" | b"shtml" | b"xhtml" | b"xht" => Some("text/html"),
        b"svg" | b"xml" => Some("text/xml"),
        _ => None,
    }
}

/// Sums up what an entry really holds.
struct Counted<'a> {
    inner: &'a mut dyn Read,
    crc: Crc,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.crc.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
