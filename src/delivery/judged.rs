//! What a link says when it is judged whether it opens: told by its text, or, for who has only its reference, by the index.

use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, LinkId};
use crate::domain::link::{LinkNumber, VerifiedLink};
use crate::domain::principal::ClientNumber;
use crate::store::{GivenLink, LinkRow};

/// A link as it is judged.
pub(super) struct Judged<'a> {
    pub id: &'a LinkId,
    pub file: FileId,
    pub reader: ClientNumber,
    pub epoch: u32,
    pub row: Option<LinkNumber>,
    pub expires: Timestamp,
    pub expired: bool,
}

impl<'a> Judged<'a> {
    /// By its text.
    pub(super) fn by_text((link, expired): (&'a VerifiedLink, bool)) -> Self {
        let claims = link.claims();
        let (file, reader, epoch) = (claims.file, claims.reader, claims.epoch);
        Self { id: link.id(), file, reader, epoch, row: claims.row, expires: claims.expires, expired }
    }

    /// By the index.
    pub(super) fn given(link: &'a GivenLink, now: Timestamp) -> Self {
        let (file, reader, epoch) = (link.file, link.subject.reader, link.epoch);
        let expired = now > link.expires;
        Self { id: &link.id, file, reader, epoch, row: link.row, expires: link.expires, expired }
    }

    /// Whether a row that has its number is its own: numbers come again once a row is forgotten.
    pub(super) fn has(&self, row: &LinkRow) -> bool {
        (row.counted.file, row.counted.reader) == (self.file, self.reader)
    }
}
