//! Withdrawals of many links at once, as far as one link or document is among what they concern.

use super::Fact;
use super::trail::Seen;
use crate::domain::audit::{Action, Outcome};

/// What is explained.
#[derive(Debug, Clone, Copy)]
pub(super) struct Concerned<'a> {
    /// Id of the document.
    pub(super) document: Option<&'a str>,
    /// Its subject.
    pub(super) patient: Option<&'a str>,
    /// Whom the link was given to.
    pub(super) client: Option<&'a str>,
}

impl Concerned<'_> {
    /// What an entry withdrew of it, by the name of what was withdrawn.
    pub(super) fn withdrawn(self, seen: &Seen) -> Option<Fact> {
        // One that closed the document is among its steps.
        let is_one = seen.action == Action::LinkRevoke && seen.outcome == Outcome::Ok && seen.text("to").is_none();
        if !is_one || seen.text("link").is_some() {
            return None;
        }
        let is = |name: &str, own: Option<&str>| own.is_some() && seen.text(name) == own;
        let of_document = seen.document() == self.document;
        let text = match (seen.document(), seen.text("registered"), seen.text("aim")) {
            (Some(_), ..) => of_document.then_some("all links of the document given until then"),
            (None, Some(_), _) => is("registered", self.client).then_some("all links of the client given until then"),
            (None, None, Some(_)) => Some("all links given until then"),
            (None, None, None) => is("patient", self.patient).then_some("all links of the patient given until then"),
        };
        text.map(|text| Fact { name: "withdrawn", at: Some(seen.at), by: seen.by(), text: text.to_owned() })
    }
}
