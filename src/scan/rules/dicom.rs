//! DICOM objects (PS3.10): documents that they encapsulate (PS3.3 C.24.2: PDF, CDA, STL) are files like any other. Pixels
//! and the rest are not looked into.

use std::io::BufRead;

use flate2::bufread::DeflateDecoder;

use super::forward::{Forward, LOOK_AHEAD, Part};
use super::inspect::{Outcome, entry};

/// Encapsulated Document (0042,0011) in the byte orders, least significant byte first or last.
const TAG: [u8; 4] = [0x42, 0, 0x11, 0];
const TAG_BIG: [u8; 4] = [0, 0x42, 0, 0x11];

/// Transfer syntax whose data set is deflated as a whole (PS3.5 A.5).
const DEFLATED: &[u8] = b"1.2.840.10008.1.2.1.99\0";

/// Reads an object to its end.
pub(super) fn inspect(forward: &mut Forward<'_>) -> Outcome<()> {
    let head = forward.peek(LOOK_AHEAD)?;
    // The meta information begins with its own length: (0002,0000) UL, value at byte 140 (PS3.10, 7.1).
    let length = head.get(140..144).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let meta = length.and_then(|length| head.get(..(length as usize).saturating_add(144)));
    let deflated = meta.filter(|meta| memchr::memmem::find(meta, DEFLATED).is_some()).map(<[u8]>::len);
    let Some(length) = deflated else { return documents(forward) };
    forward.skip(length as u64)?;
    let account = forward.account;
    let mut decoder = DeflateDecoder::new(forward);
    documents(&mut Forward::unpacking(account, &mut decoder))
}

/// Looks for encapsulated documents, wherever they stand: sequences may hold them too.
fn documents(forward: &mut Forward<'_>) -> Outcome<()> {
    let account = forward.account;
    let mut number = 0;
    loop {
        let ahead = forward.peek(LOOK_AHEAD)?;
        if ahead.is_empty() {
            return Ok(());
        }
        let next = memchr::memchr2(TAG[0], TAG_BIG[0], ahead).unwrap_or(ahead.len());
        let (skip, size) = match ahead.get(next..).and_then(value) {
            Some((behind, size)) => (next.saturating_add(behind), size),
            None => (next.saturating_add(1).min(ahead.len()), 0),
        };
        forward.consume(skip);
        if size > 0 {
            number += 1;
            let mut part = Part { forward: &mut *forward, left: u64::from(size) };
            entry(number, &mut Forward::plain(account, &mut part), None)?;
        }
        if forward.peek(32)?.len() < 12 {
            return Ok(forward.drain()?);
        }
    }
}

/// Where the value of the element at the start of `bytes` begins and its length, if it is an encapsulated document. The
/// implicit form has too little to tell it from pixels, so that there the value has to look like a document.
fn value(bytes: &[u8]) -> Option<(usize, u32)> {
    let little = bytes.starts_with(&TAG);
    if !little && !bytes.starts_with(&TAG_BIG) {
        return None;
    }
    let explicit = matches!(bytes.get(4..8)?, b"OB\0\0" | b"UN\0\0");
    let at = if explicit { 8 } else { 4 };
    let size: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    let size = if little { u32::from_le_bytes(size) } else { u32::from_be_bytes(size) };
    let start = bytes.get(at + 4..)?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let document = start.starts_with(b"%PDF") || start.starts_with(b"<") || start.starts_with(b"PK\x03\x04");
    ((explicit || document) && size != u32::MAX).then_some((at + 4, size))
}
