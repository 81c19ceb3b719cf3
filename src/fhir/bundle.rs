//! A searchset Bundle, written by appending to one buffer: no tree, no second pass (FHIR R4 bundle.html, search.html).

use std::fmt::Write as _;

use crate::domain::clock::Timestamp;
use crate::domain::id::{RequestId, ResourceId};
use crate::domain::refusal::Issue;
use crate::domain::resource::{Body, Fill, Kind};

use super::base::Base;
use super::json::write_text;
use super::outcome;

/// What stands above the entries.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The parameters used, as a GET URL.
    pub self_url: &'a str,
    /// First page, where this is a later one.
    pub first: Option<&'a str>,
    /// Next page, if there is one.
    pub next: Option<&'a str>,
    /// Matches over all pages; `None` where `_total=none` asked not to tell.
    pub total: Option<u64>,
    /// When it was made.
    pub at: Timestamp,
}

/// A searchset under construction.
#[derive(Debug)]
pub struct SearchSet {
    out: String,
    entries: usize,
}

impl SearchSet {
    /// Opens the Bundle. `capacity` is the expected length of the whole, in bytes.
    pub fn begin(head: &Head<'_>, capacity: usize) -> Self {
        let mut out = String::with_capacity(capacity.saturating_add(1_024));
        // Writing to a String cannot fail.
        let _ = write!(out, "{{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"timestamp\":\"{}\"", head.at);
        if let Some(total) = head.total {
            let _ = write!(out, ",\"total\":{total}");
        }
        out.push_str(",\"link\":[{\"relation\":\"self\",\"url\":");
        write_text(head.self_url, &mut out);
        out.push('}');
        for (relation, url) in [("first", head.first), ("next", head.next)] {
            if let Some(url) = url {
                let _ = write!(out, ",{{\"relation\":\"{relation}\",\"url\":");
                write_text(url, &mut out);
                out.push('}');
            }
        }
        out.push(']');
        Self { out, entries: 0 }
    }

    fn entry(&mut self) {
        self.out.push_str(if self.entries == 0 { ",\"entry\":[" } else { "," });
        self.entries += 1;
    }

    /// Appends a match.
    pub fn matched(&mut self, base: &Base, kind: Kind, id: &ResourceId, body: &Body, fill: &dyn Fill) {
        self.entry();
        let _ = write!(self.out, "{{\"fullUrl\":");
        write_text(&base.resource(kind, id), &mut self.out);
        self.out.push_str(",\"resource\":");
        body.render(fill, &mut self.out);
        self.out.push_str(",\"search\":{\"mode\":\"match\"}}");
    }

    /// Appends what the reader should know, as an entry of mode `outcome`; nothing when there is nothing.
    pub fn warn(&mut self, warnings: &[Issue], request: &RequestId) {
        if warnings.is_empty() {
            return;
        }
        self.entry();
        self.out.push_str("{\"resource\":");
        outcome::write(warnings, request, &mut self.out);
        self.out.push_str(",\"search\":{\"mode\":\"outcome\"}}");
    }

    /// Closes the Bundle. An empty one has no `entry` at all (FHIR has no empty arrays).
    pub fn finish(mut self) -> String {
        self.out.push_str(if self.entries == 0 { "}" } else { "]}" });
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusal::{Code, Severity};
    use crate::fhir::render::Shown;

    fn head<'a>() -> Head<'a> {
        let at = Timestamp::parse("2026-11-23T14:02:05Z").unwrap();
        Head { self_url: "https://h/fhir/DocumentReference?_count=0", first: None, next: None, total: Some(0), at }
    }

    #[test]
    fn an_empty_set_has_no_entry() {
        assert_eq!(
            SearchSet::begin(&head(), 0).finish(),
            "{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"timestamp\":\"2026-11-23T14:02:05.000Z\",\"total\":0,\
             \"link\":[{\"relation\":\"self\",\"url\":\"https://h/fhir/DocumentReference?_count=0\"}]}"
        );
    }

    #[test]
    fn matches_and_warnings_are_entries_of_their_mode() {
        let next = "https://h/fhir/DocumentReference?_page=abc";
        let mut set = SearchSet::begin(&Head { next: Some(next), total: None, ..head() }, 0);
        let body = Body { text: "{\"resourceType\":\"Patient\"}".into(), splices: vec![] };
        let shown = Shown { version: 1, updated: head().at, state: None, addresses: &[] };
        set.matched(&Base::new("https://h"), Kind::Patient, &ResourceId::parse("1").unwrap(), &body, &shown);
        let warning = Issue::new(Code::ParameterIgnored).at_http("foo").severity(Severity::Warning);
        set.warn(&[warning], &RequestId::parse("r").unwrap());
        let text = set.finish();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["link"][1]["url"], next);
        assert_eq!(value["entry"][0]["fullUrl"], "https://h/fhir/Patient/1");
        assert_eq!(value["entry"][0]["resource"]["resourceType"], "Patient");
        assert_eq!(value["entry"][0]["search"]["mode"], "match");
        assert_eq!(value["entry"][1]["search"]["mode"], "outcome");
        assert_eq!(value["entry"][1]["resource"]["issue"][0]["severity"], "warning");
        assert!(value.get("total").is_none());
    }
}
