//! What is stored of a Subscription, and what is shown of it.

use super::header::HeaderLine;
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::refusal::Code;
use crate::domain::subscription::SubscriptionStatus;
use crate::fhir::json::{Object, Value, parse};

/// Elements that are this server's: not taken from a client.
const OWN: [&str; 6] = ["id", "status", "_status", "error", "_error", "text"];

/// A Subscription as one reader sees it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its id.
    pub id: &'a ResourceId,
    /// Its version.
    pub version: u32,
    /// When that version was made.
    pub updated: Timestamp,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// Why it failed.
    pub error: Option<Code>,
    /// Header lines as their writer has just sent them; `None`: masked.
    pub sent: Option<&'a [HeaderLine]>,
}

pub(super) fn stored(body: &Object<'static>, headers: &[HeaderLine]) -> String {
    let mut kept = body.clone();
    for own in OWN {
        kept.remove(own);
    }
    if let Some(meta) = kept.get_mut("meta").and_then(Value::as_object_mut) {
        for own in ["versionId", "_versionId", "lastUpdated", "_lastUpdated"] {
            meta.remove(own);
        }
    }
    put_headers(&mut kept, headers.iter().map(HeaderLine::masked).collect());
    kept.to_json()
}

fn put_headers(body: &mut Object<'static>, lines: Vec<String>) {
    let Some(channel) = body.get_mut("channel").and_then(Value::as_object_mut) else { return };
    if channel.has("header") {
        channel.insert("header", lines.into_iter().map(Value::from).collect::<Vec<_>>().into());
    }
}

impl Shown<'_> {
    /// The resource as JSON, from the stored text.
    pub fn render(&self, stored: &str) -> String {
        let mut body = match parse(stored.as_bytes()).map(Value::into_owned) {
            Ok(Value::Object(body)) => body,
            _ => Object::new(),
        };
        let mut meta = Object::new();
        meta.insert("versionId", self.version.to_string().into());
        meta.insert("lastUpdated", self.updated.to_string().into());
        if let Some(Value::Object(sent)) = body.remove("meta") {
            sent.iter().for_each(|(name, value)| drop(meta.insert(name.to_owned(), value.clone())));
        }
        if let Some(sent) = self.sent {
            put_headers(&mut body, sent.iter().map(HeaderLine::plain).collect());
        }
        let mut shown = Object::new();
        shown.insert("resourceType", "Subscription".into());
        shown.insert("id", self.id.to_string().into());
        shown.insert("meta", meta.into());
        body.remove("resourceType");
        shown.insert("status", self.status.as_str().into());
        body.iter().for_each(|(name, value)| drop(shown.insert(name.to_owned(), value.clone())));
        if let Some(error) = self.error {
            shown.insert("error", error_text(error).into());
        }
        shown.to_json()
    }
}

/// `Subscription.error`: the sentence of the code; nothing of what a receiver answered.
pub fn error_text(code: Code) -> String {
    let sentence = code.entry().message.replace("Event {n}", "An event");
    let sentence = sentence.replace("answered {status}", "did not answer with 2xx");
    format!("{}: {sentence}", code.name())
}
