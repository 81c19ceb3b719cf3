//! What the log says of notifications: to whom, of which Subscription, about which document, and how it ended. Everything of it lies
//! in erasable cells; addresses, headers and bodies are in none.

use std::sync::Arc;

use super::Answer;
use crate::delivery::offers::about_subject;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::refusal::Code;
use crate::domain::resource::{Kind, Stored};
use crate::domain::subscription::{Event, SubscriptionStatus};
use crate::store::{Client, Sent, StoredSubscription};

fn to(subscription: &StoredSubscription, receiver: Option<Arc<Client>>, outcome: Outcome) -> Entry {
    let entry = Entry::new(Action::NotificationSend, outcome).server().with("subscription", subscription.id.as_str());
    match receiver {
        Some(client) => entry.with("receiver", client.id.as_str()),
        None => entry,
    }
}

/// An attempt.
pub(super) fn sent(subscription: &StoredSubscription, receiver: Option<Arc<Client>>, answer: Answer) -> Entry {
    let entry = to(subscription, receiver, super::outcome(answer));
    match answer {
        Answer::Taken => entry,
        Answer::Gone => entry.code(Code::DeliveryErrorResponse).with("status", 410_u64),
        Answer::Status(status, _) => entry.code(Code::DeliveryErrorResponse).with("status", u64::from(status)),
        Answer::Silent => entry.code(Code::DeliveryNoResponse),
    }
}

/// No attempt, now or later.
pub(super) fn withheld(subscription: &StoredSubscription, receiver: Option<Arc<Client>>) -> Entry {
    to(subscription, receiver, Outcome::Denied).code(Code::DeliveryWithheld)
}

/// The event and the document that it is about.
pub(super) fn about(entry: Entry, event: &Event, stored: Option<&Stored>) -> Entry {
    let entry = entry.document(&event.document_id, u64::from(event.version)).with("event", event.number);
    let subject = stored.and_then(|stored| stored.document.as_ref()).and_then(|facts| facts.subject.as_ref());
    about_subject(entry, subject)
}

fn changed(subscription: &StoredSubscription, status: SubscriptionStatus) -> Entry {
    let entry = Entry::new(Action::SubscriptionUpdate, Outcome::Ok).server();
    let version = u64::from(subscription.version).saturating_add(1);
    let entry = entry.resource(Kind::Subscription.as_str(), &subscription.id, version);
    entry.states(Some(subscription.status.as_str()), status.as_str())
}

/// It went off by itself.
fn off(subscription: &StoredSubscription, code: Option<Code>) -> Entry {
    let entry = changed(subscription, SubscriptionStatus::Off);
    match code {
        Some(code) => entry.code(code),
        None => entry.reason("end"),
    }
}

/// Its handshake was answered, or it has none.
fn activated(subscription: &StoredSubscription) -> Entry {
    changed(subscription, SubscriptionStatus::Active)
}

/// A message was given up.
fn failed(subscription: &StoredSubscription, code: Code) -> Entry {
    changed(subscription, SubscriptionStatus::Error).code(code)
}

/// The change of status that a result makes, if any.
pub(super) fn change(subscription: &StoredSubscription, result: &Sent) -> Option<Entry> {
    match result {
        Sent::Activated => Some(activated(subscription)),
        Sent::HandshakeGivenUp => Some(failed(subscription, Code::HandshakeFailed)),
        Sent::GivenUp { code, .. } => Some(failed(subscription, *code)),
        Sent::Off { code } => Some(off(subscription, *code)),
        _ => None,
    }
}
