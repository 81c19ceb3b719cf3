//! Resources as the store keeps them: serialized once, with the places where what changes (version, state, links) is set in
//! when they are shown. Nothing here reads JSON.

use std::sync::Arc;

use super::clock::Timestamp;
use super::id::{ClientId, FileId, ResourceId};
use super::lifecycle::State;
use super::policy::{Coding, Decision};
use super::principal::ClientNumber;

macro_rules! kinds {
    ($($(#[$meta:meta])* $variant:ident = $number:literal,)*) => {
        /// A resource type that this server keeps. The number is what the store writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($(#[$meta])* $variant = $number,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$variant,)*];

            /// The FHIR name.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => stringify!($variant),)* }
            }

            /// Kind of a FHIR name, letter by letter.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $(stringify!($variant) => Some(Kind::$variant),)* _ => None }
            }

            /// The number that the store writes.
            pub fn number(self) -> i32 {
                match self { $(Kind::$variant => $number,)* }
            }

            /// Kind of a number.
            pub fn from_number(number: i32) -> Option<Self> {
                match number { $($number => Some(Kind::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// A document.
    DocumentReference = 1,
    /// The bytes of a file as a resource.
    Binary = 2,
    /// Context: whom a document is about.
    Patient = 3,
    /// Context: who wrote it.
    Practitioner = 4,
    /// Context: in which role.
    PractitionerRole = 5,
    /// Context: who keeps it.
    Organization = 6,
    /// Context: when it was made.
    Encounter = 7,
    /// Who wants to be told of what.
    Subscription = 8,
}

impl Kind {
    /// Types that documents refer to; their senders choose the id.
    pub fn is_context(self) -> bool {
        !matches!(self, Self::DocumentReference | Self::Binary | Self::Subscription)
    }
}

/// What is set into stored text when it is shown. Each splice stands at a place between members (never inside a value) where a
/// whole member with its comma goes in, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceKind {
    /// Inside `meta`, first: `"versionId":"…","lastUpdated":"…"` (followed by a comma when `comma`).
    Meta,
    /// Inside the top-level `extension` array, first: the lifecycle extension object.
    Lifecycle,
    /// Inside `content[n].attachment`, first: `"url":"…"` or `"_url":{…}`.
    AttachmentUrl(u16),
}

/// A place in stored text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Splice {
    /// Byte offset in the text.
    pub at: u32,
    /// What goes there.
    pub kind: SpliceKind,
    /// Whether something follows in the same object or array, so that a comma must end what is set in.
    pub comma: bool,
}

/// A resource as text, with its splices in rising order of offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Compact JSON, without what is spliced in.
    pub text: String,
    /// Where something goes in.
    pub splices: Vec<Splice>,
}

/// An identifier as a token: system and value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identifier {
    /// `system`, if any.
    pub system: Option<String>,
    /// `value`.
    pub value: String,
}

/// A reference's target as it is compared: relative (`Patient/1`) for this server's own base, else the literal text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target(pub String);

impl Target {
    /// Type and id where the target is local (`Patient/1`, version part dropped).
    pub fn local(&self) -> Option<(&str, &str)> {
        let mut parts = self.0.split('/');
        let (kind, id) = (parts.next()?, parts.next()?);
        let rest = parts.next();
        (kind.chars().next().is_some_and(char::is_uppercase) && rest.is_none_or(|step| step == "_history"))
            .then_some((kind, id))
    }
}

/// A span of time as search compares it: `[from, until)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First millisecond inside.
    pub from: Timestamp,
    /// First millisecond after.
    pub until: Timestamp,
}

/// What search can find a resource by. For context resources only `identifiers` is filled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// `identifier` (and `masterIdentifier`).
    pub identifiers: Vec<Identifier>,
    /// `subject`.
    pub subject: Option<Target>,
    /// `context.encounter`.
    pub encounters: Vec<Target>,
    /// `custodian`.
    pub custodian: Option<Target>,
    /// `status`, a code of the required binding.
    pub status: Option<String>,
    /// `type`.
    pub kind: Vec<Coding>,
    /// `category`.
    pub category: Vec<Coding>,
    /// `date`.
    pub date: Option<Span>,
    /// Every other reference of the resource (author, authenticator, related, …): what it refers to is visible to whoever
    /// sees it.
    pub references: Vec<Target>,
}

/// A file that goes with a document or a Binary, stored already but named by no committed row.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Its id, and its Binary's.
    pub file: FileId,
    /// Which content entry it is (0-based).
    pub content: u16,
    /// Declared media type, as sent.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// SHA-1 of the bytes (FHIR `attachment.hash`).
    pub sha1: [u8; 20],
    /// The file's key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// The sealed bytes where they are small enough to live in the database; `None`: they are in the blob store.
    pub inline: Option<Vec<u8>>,
    /// `attachment.title`, for `Content-Disposition`; never logged.
    pub title: Option<String>,
}

/// A file of a committed document or Binary, with what opening it depends on. One look-up by [`FileId`] gives all of it.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// Its id.
    pub file: FileId,
    /// Which content entry it is.
    pub content: u16,
    /// Declared media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// SHA-1 of the bytes (FHIR `attachment.hash`).
    pub sha1: [u8; 20],
    /// The wrapped key; `None` once destroyed.
    pub wrapped_key: Option<Vec<u8>>,
    /// Whether the sealed bytes are in the database.
    pub is_inline: bool,
    /// `attachment.title`.
    pub title: Option<String>,
    /// When it was stored.
    pub created: Timestamp,
    /// The client that stored it.
    pub owner: ClientNumber,
    /// The document that it belongs to; `None`: a Binary that no document claims yet.
    pub document: Option<DocumentFacts>,
}

/// The store's number for a document, for keys of caches and revocations. Never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentNumber(pub i64);

/// The store's number for a reference target that documents have as subject. Never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatientNumber(pub i64);

/// What access to a document's files depends on.
#[derive(Debug, Clone)]
pub struct DocumentFacts {
    /// The store's number.
    pub number: DocumentNumber,
    /// Its id.
    pub id: ResourceId,
    /// Current version.
    pub version: u32,
    /// Where it stands.
    pub state: State,
    /// When it came there.
    pub since: Timestamp,
    /// The client that delivered it.
    pub owner: ClientNumber,
    /// Its subject, if any.
    pub patient: Option<PatientNumber>,
    /// Its subject as text, for the audit entry's lookup.
    pub subject: Option<Target>,
    /// What policy decided for it.
    pub decision: Arc<Decision>,
    /// When it is due for its next step by itself.
    pub due: Option<Timestamp>,
}

impl DocumentFacts {
    /// The state that decides about access at `now`: what can be opened ends by the clock, whether or not the step to `expired`
    /// has been written yet (contract, Lifecycle).
    pub fn state_at(&self, now: Timestamp) -> State {
        if self.state.is_open() && self.due.is_some_and(|due| due <= now) { State::Expired } else { self.state }
    }
}

/// A resource as read.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its type.
    pub kind: Kind,
    /// Its id.
    pub id: ResourceId,
    /// Its version, counted from 1.
    pub version: u32,
    /// When this version was made.
    pub updated: Timestamp,
    /// Its text; empty once it is purged.
    pub body: Body,
    /// For a DocumentReference: the state that this version shows. It is that of `document` in the current version.
    pub version_state: Option<State>,
    /// For a DocumentReference, and a Binary that one claims: what access depends on now.
    pub document: Option<DocumentFacts>,
    /// For a DocumentReference: its files, by content entry.
    pub files: Vec<FileBrief>,
}

/// A file as a read or search needs it to make a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBrief {
    /// Its id.
    pub file: FileId,
    /// Which content entry it is.
    pub content: u16,
}

/// One step of a document's life, as `$lifecycle` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// State before; `None` for the creation.
    pub from: Option<State>,
    /// State after.
    pub to: State,
    /// When.
    pub at: Timestamp,
    /// Who (`server`, `client/…`, `os:…`).
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// The client that a row belongs to, both ways of naming it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Registered id.
    pub id: ClientId,
    /// The store's number.
    pub number: ClientNumber,
}

/// What is set in where a place in the text is due.
pub trait Fill {
    /// Appends what belongs at `kind` to `out` and says whether anything was appended.
    fn fill(&self, kind: SpliceKind, out: &mut String) -> bool;
}

impl Body {
    /// The text with everything set in; one pass, one buffer, nothing parsed.
    pub fn render(&self, fill: &dyn Fill, out: &mut String) {
        out.reserve(self.text.len() + 256 * self.splices.len());
        let mut done = 0;
        for splice in &self.splices {
            let at = usize::try_from(splice.at).unwrap_or(usize::MAX);
            out.push_str(self.text.get(done..at).unwrap_or_default());
            if fill.fill(splice.kind, out) && splice.comma {
                out.push(',');
            }
            done = at;
        }
        out.push_str(self.text.get(done..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Version;

    impl Fill for Version {
        fn fill(&self, kind: SpliceKind, out: &mut String) -> bool {
            match kind {
                SpliceKind::Meta => out.push_str("\"versionId\":\"2\""),
                _ => return false,
            }
            true
        }
    }

    #[test]
    fn what_is_not_filled_leaves_no_comma() {
        let text = "{\"meta\":{\"tag\":[]},\"a\":[{\"title\":\"x\"}]}".to_owned();
        let splices = vec![
            Splice { at: 9, kind: SpliceKind::Meta, comma: true },
            Splice { at: 25, kind: SpliceKind::AttachmentUrl(0), comma: true },
        ];
        let mut out = String::new();
        Body { text, splices }.render(&Version, &mut out);
        assert_eq!(out, "{\"meta\":{\"versionId\":\"2\",\"tag\":[]},\"a\":[{\"title\":\"x\"}]}");
    }

    #[test]
    fn a_local_target_is_a_type_and_an_id() {
        assert_eq!(Target("Patient/1".into()).local(), Some(("Patient", "1")));
        assert_eq!(Target("Patient/1/_history/2".into()).local(), Some(("Patient", "1")));
        assert_eq!(Target("urn:uuid:1".into()).local(), None);
        assert_eq!(Target("https://other/Patient/1".into()).local(), None);
    }
}
