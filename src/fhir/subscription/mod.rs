//! A Subscription as its owner writes it, understood: both of R4's forms, with the extensions of the Subscriptions R5 Backport guide.
//! What is not understood is refused, never ignored: a term that is dropped would tell a receiver more than was asked for. Whether
//! an endpoint may be called is asked elsewhere; here is what its text shows. Source: FHIR R4 subscription.html; backport guide 1.1.0.

mod channel;
mod criteria;
mod extension;
mod header;
mod secret;
mod shown;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::query::Filter;
use crate::domain::refusal::{Code, Issue, MAX_ISSUES, Refusal};
use crate::domain::subscription::{Form, SubscriptionStatus};

use super::base::Base;
use super::json::{Object, Value};
use super::tables::ResourceType;
use super::validate::{self, Expectation};

pub use header::{HeaderLine, MASK, MAX_HEADER_BYTES, MAX_HEADERS, from_sealed, host_of, keep, to_sealed};
pub use secret::{MAX_OVERLAP, overlap, secret_answer};
pub use shown::{Shown, error_text};

/// Time for one attempt where `backport-timeout` is absent.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time for one attempt; a longer `backport-timeout` is stored as this.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest `channel.endpoint`, in bytes.
pub const MAX_ENDPOINT: usize = 2_048;
/// Most filters of one Subscription.
pub const MAX_FILTERS: usize = 20;

/// What a Subscription is read against.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Own addresses.
    pub base: &'a Base,
    /// Now: `end` lies after it.
    pub now: Timestamp,
}

/// A Subscription that may be accepted.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// `requested` (also where `active` was written) or `off`.
    pub status: SubscriptionStatus,
    /// Topic or plain.
    pub form: Form,
    /// Conditions on the document.
    pub filters: Vec<Filter>,
    /// Where to send, as written.
    pub endpoint: String,
    /// `channel.payload` as written.
    pub payload: Option<String>,
    /// Header lines in order; an update may hold masked ones.
    pub headers: Vec<HeaderLine>,
    /// When it goes off by itself.
    pub end: Option<Timestamp>,
    /// Most time for one attempt.
    pub timeout: Duration,
    body: Object<'static>,
}

impl Submitted {
    /// Reads a body.
    ///
    /// # Errors
    /// Whatever validation finds; then every mistake of `reference`'s refusal table: `criteria-malformed`, `topic-unknown`,
    /// `filter-unsupported`, `channel-unsupported`, `endpoint-refused`, `channel-header-refused`, `subscription-term-refused`,
    /// `element-missing`, `value-malformed`.
    pub fn read(body: &[u8], expectation: Expectation<'_>, rules: &Rules<'_>) -> Result<Self, Refusal> {
        let resource = validate::read(body, expectation)?;
        if resource.resource_type != ResourceType::Subscription {
            let issue = Issue::new(Code::ResourceMismatch).fill("part", "`resourceType`");
            return Err(issue.fill("expected", "a resource of type Subscription").into());
        }
        let mut found = Findings::default();
        let object = resource.into_owned().object;
        extension::foreign(&object, &mut found);
        let status = status(&object, &mut found);
        let end = end(&object, rules.now, &mut found);
        let criteria = criteria::read(&object, rules, &mut found);
        let channel = channel::read(&object, criteria.by_topic, &mut found);
        let form = match (criteria.topic, channel.level) {
            (Some(topic), Some(level)) => Form::Topic(topic, level),
            _ => Form::Plain { payload: channel.payload.is_some() },
        };
        found.refusal().map_or(Ok(()), Err)?;
        let mut read = Self {
            status,
            form,
            filters: criteria.filters,
            endpoint: channel.endpoint,
            payload: channel.payload,
            headers: channel.headers,
            end,
            timeout: channel.timeout,
            body: object,
        };
        read.settle_timeout();
        Ok(read)
    }

    /// The resource as its owner wrote it, for storing: without `id`, `meta.versionId`, `meta.lastUpdated`, `status`, `error`, and
    /// with every header value masked.
    pub fn stored_text(&self) -> String {
        shown::stored(&self.body, &self.headers)
    }

    /// An effective time above the maximum is shown as what it is.
    fn settle_timeout(&mut self) {
        let seconds = self.timeout.as_secs();
        let channel = self.body.get_mut("channel").and_then(Value::as_object_mut);
        let extensions = channel.and_then(|channel| channel.get_mut("extension")).and_then(Value::as_array_mut);
        for one in extensions.into_iter().flatten().filter_map(Value::as_object_mut) {
            if one.text("url") == Some(extension::TIMEOUT) {
                one.insert("valueUnsignedInt", seconds.into());
            }
        }
    }
}

/// All mistakes of one body.
#[derive(Debug, Default)]
struct Findings(Vec<Issue>);

impl Findings {
    fn add(&mut self, issue: Issue) {
        if self.0.len() < MAX_ISSUES {
            self.0.push(issue);
        }
    }

    fn missing(&mut self, path: &str, meaning: &str) {
        let issue = Issue::new(Code::ElementMissing).at(path).fill("source", "this kind of Subscription");
        self.add(issue.fill("meaning", meaning));
    }

    fn malformed(&mut self, path: &str, datatype: &str, example: &str) {
        self.add(Issue::new(Code::ValueMalformed).at(path).fill("datatype", datatype).fill("example", example));
    }

    fn unsupported(&mut self, path: &str, offered: &str) {
        self.add(Issue::new(Code::ChannelUnsupported).at(path).fill("offered", offered));
    }

    fn term(&mut self, path: &str, allowed: &str) {
        self.add(Issue::new(Code::SubscriptionTermRefused).at(path).fill("allowed", allowed));
    }

    /// What could be read is refused by its rules: 422, whatever code leads.
    fn refusal(self) -> Option<Refusal> {
        Refusal::of_all(self.0).map(|refusal| refusal.with_status(422))
    }
}

fn status(object: &Object<'_>, found: &mut Findings) -> SubscriptionStatus {
    match object.text("status") {
        Some("off") => SubscriptionStatus::Off,
        Some("error") => {
            found.term("Subscription.status", "requested or off");
            SubscriptionStatus::Off
        }
        // `active` is what a client means that sends back what it read; only a handshake makes it so.
        _ => SubscriptionStatus::Requested,
    }
}

fn end(object: &Object<'_>, now: Timestamp, found: &mut Findings) -> Option<Timestamp> {
    let end = Timestamp::parse(object.text("end")?)?;
    if end <= now {
        found.term("Subscription.end", "in the future, or absent");
    }
    Some(end)
}
