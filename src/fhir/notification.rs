//! What is sent to a Subscription's channel, as bytes: the notification Bundles of the Subscriptions R5 Backport guide for R4 and
//! the cut-down DocumentReference. Pure and repeatable: the same arguments give the same text, so that a message is the same at
//! every attempt. Never in it: a link, a token, another recipient; titles and names only where policy says `complete`.
//! When and whether something is sent is not decided here. Source: contract, Notifications; backport guide 1.1.0, notifications on
//! R4; FHIR R4 bundle.html (history).

mod document;
#[cfg(test)]
mod tests;

use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::resource::Kind;
use crate::domain::subscription::{Event, Level, SubscriptionStatus, Topic};

use super::base::Base;
use super::json::{Object, Value};

pub use document::{ACCESS_REFERENCE, DocumentNote, EXPIRES, FileNote, cut_down};

const BUNDLE_PROFILE: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-notification-r4";
const STATUS_PROFILE: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-status-r4";

/// The access reference of an event, `<subscription id>/<event number>` (contract, Notifications). It gives no right.
pub fn access_reference(subscription: &ResourceId, number: u64) -> String {
    format!("{subscription}/{number}")
}

/// Where a plain Subscription's resource is PUT: `[endpoint]/DocumentReference/[id]`, a query kept behind it. `None`: the endpoint
/// is no URL that can have a path.
pub fn plain_address(endpoint: &str, document: &ResourceId) -> Option<String> {
    let mut url = url::Url::parse(endpoint).ok()?;
    url.path_segments_mut().ok()?.pop_if_empty().extend([Kind::DocumentReference.as_str(), document.as_str()]);
    Some(url.into())
}

/// The channel of one topic-based Subscription.
#[derive(Debug, Clone, Copy)]
pub struct Channel<'a> {
    /// Own addresses: the configured ones, nothing of a request.
    pub base: &'a Base,
    /// The Subscription's id.
    pub subscription: &'a ResourceId,
    /// Its topic.
    pub topic: Topic,
    /// How much is told.
    pub level: Level,
}

/// What one notification says about the channel.
struct Head {
    kind: &'static str,
    status: SubscriptionStatus,
    counter: u64,
    at: Timestamp,
    /// Which message of the Subscription it is, for its ids: no two messages have the same.
    seed: String,
}

impl Channel<'_> {
    /// The first message: `requested`, no event. `counter` is the events so far, `activation` the count of requests so far (it
    /// makes the ids), `at` when it was asked for: all three are the same at every attempt of one handshake.
    pub fn handshake(&self, counter: u64, activation: u64, at: Timestamp) -> String {
        let seed = format!("handshake/{activation}");
        self.bundle(&Head { kind: "handshake", status: SubscriptionStatus::Requested, counter, at, seed }, None, None)
    }

    /// The message of one event. The counter that it tells is the event's own number, and its time the event's, so that the text
    /// depends on nothing that happens later. `document` is needed for [`Level::FullResource`]; without it the entry names the
    /// version and has no resource (backport guide: it SHALL then have request and response).
    pub fn event(&self, event: &Event, document: Option<&DocumentNote<'_>>) -> String {
        let head = Head {
            kind: "event-notification",
            status: SubscriptionStatus::Active,
            counter: event.number,
            at: event.at,
            seed: format!("event/{}", event.number),
        };
        let entry = (self.level == Level::FullResource).then(|| self.focus_entry(event, document));
        self.bundle(&head, Some(self.told(event)), entry)
    }

    /// The last message: it went `off` (IHE DSUBm, deactivation): type `event-notification` without an event.
    pub fn deactivation(&self, counter: u64, at: Timestamp) -> String {
        let seed = format!("deactivation/{counter}/{}", at.millis());
        self.bundle(
            &Head { kind: "event-notification", status: SubscriptionStatus::Off, counter, at, seed },
            None,
            None,
        )
    }

    fn bundle(&self, head: &Head, event: Option<Object<'static>>, focus: Option<Object<'static>>) -> String {
        let mut entries = vec![Value::from(self.status_entry(head, event))];
        entries.extend(focus.map(Value::from));
        let bundle = object([
            ("resourceType", "Bundle".into()),
            ("id", uuid(self.subscription, &head.seed, "bundle").into()),
            ("meta", profile(BUNDLE_PROFILE)),
            ("type", "history".into()),
            ("timestamp", head.at.to_string().into()),
            ("entry", entries.into()),
        ]);
        bundle.to_json()
    }

    fn status_entry(&self, head: &Head, event: Option<Object<'static>>) -> Object<'static> {
        let id = uuid(self.subscription, &head.seed, "status");
        let address = self.base.resource(Kind::Subscription, self.subscription);
        let mut parameters = vec![named("subscription", "valueReference", reference(&address))];
        if self.level != Level::Empty {
            parameters.push(named("topic", "valueCanonical", self.topic.canonical().into()));
        }
        parameters.extend([
            named("status", "valueCode", head.status.as_str().into()),
            named("type", "valueCode", head.kind.into()),
            // Numbers are strings: R5 has integer64, which R4 and JSON cannot hold.
            named("events-since-subscription-start", "valueString", head.counter.to_string().into()),
        ]);
        parameters.extend(event.map(Value::from));
        let status = object([
            ("resourceType", "Parameters".into()),
            ("id", id.clone().into()),
            ("meta", profile(STATUS_PROFILE)),
            ("parameter", parameters.into()),
        ]);
        object([
            ("fullUrl", format!("urn:uuid:{id}").into()),
            ("resource", status.into()),
            ("request", request("GET", format!("{address}/$status"))),
            ("response", object([("status", "200".into())]).into()),
        ])
    }

    fn told(&self, event: &Event) -> Object<'static> {
        let mut parts = vec![
            named("event-number", "valueString", event.number.to_string().into()),
            named("timestamp", "valueInstant", event.at.to_string().into()),
        ];
        if self.level != Level::Empty {
            let address = self.base.resource(Kind::DocumentReference, &event.document_id);
            let access = access_reference(self.subscription, event.number);
            parts.extend([
                named("focus", "valueReference", reference(&address)),
                // The guide's parts are an open slicing; the contract wants the access reference in id-only too.
                named("access-reference", "valueString", access.into()),
            ]);
        }
        object([("name", "notification-event".into()), ("part", parts.into())])
    }

    /// Every topic is a new version of a document that was there before, so the entry mirrors an update.
    fn focus_entry(&self, event: &Event, document: Option<&DocumentNote<'_>>) -> Object<'static> {
        let mut entry = Object::new();
        entry.insert("fullUrl", self.base.resource(Kind::DocumentReference, &event.document_id).into());
        if let Some(document) = document {
            entry.insert("resource", document::resource(self.subscription, event, document).into());
        }
        entry.insert("request", request("PUT", format!("DocumentReference/{}", event.document_id)));
        let response = object([
            ("status", "200".into()),
            ("etag", format!("W/\"{}\"", event.version).into()),
            ("lastModified", event.at.to_string().into()),
        ]);
        entry.insert("response", response.into());
        entry
    }
}

fn object<const N: usize>(members: [(&'static str, Value<'static>); N]) -> Object<'static> {
    members.into_iter().collect()
}

fn named(name: &'static str, kind: &'static str, value: Value<'static>) -> Value<'static> {
    object([("name", name.into()), (kind, value)]).into()
}

fn reference(address: &str) -> Value<'static> {
    object([("reference", address.to_owned().into())]).into()
}

fn request(method: &'static str, url: String) -> Value<'static> {
    object([("method", method.into()), ("url", url.into())]).into()
}

fn profile(canonical: &'static str) -> Value<'static> {
    object([("profile", vec![Value::from(canonical)].into())]).into()
}

/// A UUID of a message and a part of it: version 8 (RFC 9562 §5.8), the first bytes of a digest of what it names.
fn uuid(subscription: &ResourceId, seed: &str, part: &str) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    let named = format!("daylily notification\n{subscription}\n{seed}\n{part}");
    let mut bytes = [0; 16];
    for (byte, made) in bytes.iter_mut().zip(digest(&SHA256, named.as_bytes()).as_ref()) {
        *byte = *made;
    }
    let number = (u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62)) | (0x8 << 76) | (0b10 << 62);
    let mut text = format!("{number:032x}");
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}
