//! From columns to values: each stored code, number and blob is read here and nowhere else. What cannot be read is an error that
//! names its table, column and row.

use std::cell::RefCell;
use std::fmt::Display;

use zstd::bulk::{Compressor, Decompressor};

use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, ResourceId};
use crate::domain::lifecycle::State;
use crate::domain::principal::{AttachmentUrl, ClientNumber};
use crate::domain::resource::{Body, Kind, Splice, SpliceKind};
use crate::store::StoreError;

/// Where a value stands, for the error that names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub table: &'static str,
    pub row: &'a dyn RowName,
}

/// The key of a row as an error shows it.
pub(super) trait RowName: std::fmt::Debug {
    fn name(&self) -> String;
}

impl<T: Display + std::fmt::Debug> RowName for T {
    fn name(&self) -> String {
        self.to_string()
    }
}

/// A place in a table.
pub(super) fn at<'a>(table: &'static str, row: &'a dyn RowName) -> Place<'a> {
    Place { table, row }
}

impl Place<'_> {
    /// The error for a column.
    pub(super) fn corrupt(&self, column: &'static str) -> StoreError {
        StoreError::Corrupt { table: self.table, column, row: self.row.name() }
    }

    pub(super) fn state(&self, column: &'static str, text: &str) -> Result<State, StoreError> {
        State::parse(text).ok_or_else(|| self.corrupt(column))
    }

    pub(super) fn kind(&self, column: &'static str, number: i64) -> Result<Kind, StoreError> {
        i32::try_from(number).ok().and_then(Kind::from_number).ok_or_else(|| self.corrupt(column))
    }

    pub(super) fn resource_id(&self, column: &'static str, text: &str) -> Result<ResourceId, StoreError> {
        ResourceId::parse(text).ok_or_else(|| self.corrupt(column))
    }

    pub(super) fn file_id(&self, column: &'static str, bytes: &[u8]) -> Result<FileId, StoreError> {
        Ok(FileId::from_bytes(self.fixed(column, bytes)?))
    }

    pub(super) fn fixed<const N: usize>(&self, column: &'static str, bytes: &[u8]) -> Result<[u8; N], StoreError> {
        <[u8; N]>::try_from(bytes).map_err(|_| self.corrupt(column))
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, column: &'static str, value: i64) -> Result<T, StoreError> {
        T::try_from(value).map_err(|_| self.corrupt(column))
    }

    pub(super) fn flag(&self, column: &'static str, value: i64) -> Result<bool, StoreError> {
        match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt(column)),
        }
    }

    pub(super) fn client(&self, column: &'static str, value: i64) -> Result<ClientNumber, StoreError> {
        self.number(column, value).map(ClientNumber)
    }

    pub(super) fn texts(&self, column: &'static str, json: &str) -> Result<Vec<String>, StoreError> {
        serde_json::from_str(json).map_err(|_| self.corrupt(column))
    }

    pub(super) fn attachment_url(&self, column: &'static str, text: &str) -> Result<AttachmentUrl, StoreError> {
        match text {
            "link" => Ok(AttachmentUrl::Link),
            "handle" => Ok(AttachmentUrl::Handle),
            _ => Err(self.corrupt(column)),
        }
    }

    pub(super) fn body(&self, column: &'static str, packed: &[u8]) -> Result<Body, StoreError> {
        unpack(packed).ok_or_else(|| self.corrupt(column))
    }
}

/// How a client wants urls, as it is stored.
pub(super) fn attachment_url_code(value: AttachmentUrl) -> &'static str {
    match value {
        AttachmentUrl::Link => "link",
        AttachmentUrl::Handle => "handle",
    }
}

/// A time from its column.
pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Layout of a packed body: format 1 | text length u32 | splices u16 | per splice offset u32, kind u8, number u16, comma u8 |
/// text, zstd. Numbers are big-endian.
const PACKED: u8 = 1;
/// Best ratio per microsecond on resources of some kilobytes.
const LEVEL: i32 = 3;
/// Far above any body that a request may have; what claims more is not ours.
const MAX_TEXT: u32 = 1 << 26;

thread_local! {
    /// One compressor and one decompressor a thread: making and clearing a context costs ten times what a resource of some
    /// kilobytes takes (a third of a search's processor time when each row had its own). `None` where memory was too short.
    static PACKING: RefCell<(Option<Compressor<'static>>, Option<Decompressor<'static>>)> =
        RefCell::new((Compressor::new(LEVEL).ok(), Decompressor::new().ok()));
}

/// Packs a body for its row.
pub(super) fn pack(body: &Body) -> Result<Vec<u8>, StoreError> {
    let too_long = || StoreError::Unavailable("text too long to be kept".into());
    let length = u32::try_from(body.text.len()).ok().filter(|length| *length <= MAX_TEXT).ok_or_else(too_long)?;
    let splices = u16::try_from(body.splices.len()).map_err(|_| too_long())?;
    let mut out = Vec::with_capacity(64 + body.text.len() / 2);
    out.push(PACKED);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&splices.to_be_bytes());
    for splice in &body.splices {
        let (kind, number) = match splice.kind {
            SpliceKind::Meta => (1u8, 0u16),
            SpliceKind::Lifecycle => (2, 0),
            SpliceKind::AttachmentUrl(number) => (3, number),
        };
        out.extend_from_slice(&splice.at.to_be_bytes());
        out.push(kind);
        out.extend_from_slice(&number.to_be_bytes());
        out.push(u8::from(splice.comma));
    }
    let text = PACKING.with_borrow_mut(|(packing, _)| packing.as_mut()?.compress(body.text.as_bytes()).ok());
    out.extend_from_slice(&text.ok_or_else(|| StoreError::Unavailable("a text cannot be packed".into()))?);
    Ok(out)
}

/// What a packed body says of itself in its first seven bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Announced {
    /// Bytes of its text.
    pub text: u64,
    /// Places in it where something is set in; no fewer than it has files.
    pub splices: u64,
}

/// What these bytes, or more, of a packed body announce.
pub(super) fn announced(packed: &[u8]) -> Option<Announced> {
    let rest = packed.strip_prefix(&[PACKED])?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (count, _) = rest.split_first_chunk::<2>()?;
    Some(Announced { text: u32::from_be_bytes(*length).into(), splices: u16::from_be_bytes(*count).into() })
}

fn unpack(packed: &[u8]) -> Option<Body> {
    let rest = packed.strip_prefix(&[PACKED])?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = Some(u32::from_be_bytes(*length)).filter(|length| *length <= MAX_TEXT)?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    let (head, text) = rest.split_at_checked(usize::from(u16::from_be_bytes(*count)).checked_mul(8)?)?;
    let (chunks, _) = head.as_chunks::<8>();
    let splices = chunks.iter().map(splice).collect::<Option<Vec<_>>>()?;
    // What is longer than it claims does not fit, and is refused.
    let claimed = usize::try_from(length).ok()?;
    let bytes = PACKING.with_borrow_mut(|(_, opening)| opening.as_mut()?.decompress(text, claimed).ok())?;
    let text = Some(bytes).filter(|bytes| u32::try_from(bytes.len()) == Ok(length)).map(String::from_utf8)?.ok()?;
    Some(Body { text, splices })
}

fn splice(bytes: &[u8; 8]) -> Option<Splice> {
    let [a, b, c, d, kind, high, low, comma] = *bytes;
    let number = u16::from_be_bytes([high, low]);
    let kind = match kind {
        1 => SpliceKind::Meta,
        2 => SpliceKind::Lifecycle,
        3 => SpliceKind::AttachmentUrl(number),
        _ => return None,
    };
    Some(Splice { at: u32::from_be_bytes([a, b, c, d]), kind, comma: comma == 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packed_body_reads_back(text in "\\PC{0,300}", at in 0u32..300, number in any::<u16>(), comma in any::<bool>()) {
            let splices = vec![
                Splice { at, kind: SpliceKind::Meta, comma },
                Splice { at, kind: SpliceKind::AttachmentUrl(number), comma },
                Splice { at, kind: SpliceKind::Lifecycle, comma: !comma },
            ];
            let body = Body { text, splices };
            prop_assert_eq!(unpack(&pack(&body).unwrap()), Some(body));
        }

        #[test]
        fn broken_bytes_are_no_body_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), at in 0usize..60) {
            let _ = unpack(&bytes);
            let mut packed = pack(&Body { text: "{\"a\":\"b\"}".repeat(4), splices: vec![] }).unwrap();
            let end = at % packed.len();
            packed.truncate(end);
            prop_assert_eq!(unpack(&packed), None);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let wrong = at("res", &7).state("state", "redy").unwrap_err();
        assert_eq!(wrong.to_string(), "res.state of row 7 cannot be read");
    }
}
