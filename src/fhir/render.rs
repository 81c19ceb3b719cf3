//! What is set into stored text when a resource is shown: version, state, and where each attachment can be opened. String
//! appends only; the stored text is not parsed.

use std::fmt::Write as _;

use crate::domain::clock::Timestamp;
use crate::domain::lifecycle::State;
use crate::domain::resource::{Fill, SpliceKind};

use super::json::write_text;

/// The extension that shows the state of a document (`valueCode`).
pub const LIFECYCLE: &str = "urn:daylily:fhir/StructureDefinition/lifecycle";
const DATA_ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// Where one content entry can be opened.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A signed link or a handle.
    Url(String),
    /// Nowhere now.
    Absent(Absent),
}

impl std::fmt::Debug for Address {
    /// Without the url: whoever holds a link may open the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(_) => f.write_str("Url(…)"),
            Self::Absent(absent) => write!(f, "{absent:?}"),
        }
    }
}

/// Why there is no url (`http://terminology.hl7.org/CodeSystem/data-absent-reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Before release.
    TempUnknown,
    /// In quarantine.
    Masked,
    /// Afterwards, or not for this reader.
    NotPermitted,
}

impl Absent {
    /// What a document's state has instead of urls; `None` while its files can be opened.
    pub fn of(state: State) -> Option<Self> {
        match state {
            State::Created | State::Scanned => Some(Self::TempUnknown),
            State::Ready | State::Delivered => None,
            State::Quarantined => Some(Self::Masked),
            State::Expired | State::Revoked | State::Purged => Some(Self::NotPermitted),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::TempUnknown => "temp-unknown",
            Self::Masked => "masked",
            Self::NotPermitted => "not-permitted",
        }
    }
}

/// One version of a resource as one reader sees it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// `meta.versionId`
    pub version: u32,
    /// `meta.lastUpdated`
    pub updated: Timestamp,
    /// A document's state; `None` for other types.
    pub state: Option<State>,
    /// By content entry; an entry beyond the end has no url, for `temp-unknown`.
    pub addresses: &'a [Address],
}

impl Fill for Shown<'_> {
    fn fill(&self, kind: SpliceKind, out: &mut String) -> bool {
        match kind {
            SpliceKind::Meta => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\"versionId\":\"{}\",\"lastUpdated\":\"{}\"", self.version, self.updated);
            }
            SpliceKind::Lifecycle => {
                let Some(state) = self.state else { return false };
                let _ = write!(out, "{{\"url\":\"{LIFECYCLE}\",\"valueCode\":\"{state}\"}}");
            }
            SpliceKind::AttachmentUrl(at) => match self.addresses.get(usize::from(at)) {
                Some(Address::Url(url)) => {
                    out.push_str("\"url\":");
                    write_text(url, out);
                }
                Some(Address::Absent(absent)) => write_absent(*absent, out),
                None => write_absent(Absent::TempUnknown, out),
            },
        }
        true
    }
}

fn write_absent(absent: Absent, out: &mut String) {
    out.push_str("\"_url\":{\"extension\":[{\"url\":\"");
    out.push_str(DATA_ABSENT);
    out.push_str("\",\"valueCode\":\"");
    out.push_str(absent.code());
    out.push_str("\"}]}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(shown: Shown<'_>, kind: SpliceKind) -> String {
        let mut out = String::new();
        assert!(shown.fill(kind, &mut out));
        out
    }

    #[test]
    fn each_place_gets_its_member() {
        let addresses = [Address::Url("https://h/d/x".into()), Address::Absent(Absent::Masked)];
        let updated = Timestamp::parse("2026-11-23T14:02:05Z").unwrap();
        let shown = Shown { version: 3, updated, state: Some(State::Ready), addresses: &addresses };
        assert_eq!(filled(shown, SpliceKind::Meta), "\"versionId\":\"3\",\"lastUpdated\":\"2026-11-23T14:02:05.000Z\"");
        assert_eq!(
            filled(shown, SpliceKind::Lifecycle),
            "{\"url\":\"urn:daylily:fhir/StructureDefinition/lifecycle\",\"valueCode\":\"ready\"}"
        );
        assert_eq!(filled(shown, SpliceKind::AttachmentUrl(0)), "\"url\":\"https://h/d/x\"");
        assert!(filled(shown, SpliceKind::AttachmentUrl(1)).contains("\"valueCode\":\"masked\""));
        assert!(filled(shown, SpliceKind::AttachmentUrl(9)).contains("temp-unknown"));
    }

    #[test]
    fn only_open_states_have_urls() {
        for state in State::ALL {
            assert_eq!(Absent::of(*state).is_none(), state.is_open(), "{state}");
        }
    }
}
