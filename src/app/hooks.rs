//! The way out and the registrations as sending notifications calls them.

use std::sync::Arc;

use ::metrics::{counter, gauge};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretSlice};

use super::failure::StartFailure;
use super::instance::Instance;
use crate::auth::scope::permissions;
use crate::delivery::Loop;
use crate::delivery::notifying::{Answer, Failed, Hooks, Notifier, Parcel, Part, Standing};
use crate::domain::clock::Timestamp;
use crate::domain::principal::Principal;
use crate::notify::egress::EgressRules;
use crate::notify::sender::{Answered, Method, Outgoing, Sender};
use crate::notify::signature::{Message, SECRET_PREFIX, Secret, message_id};
use crate::store::Client;
use crate::telemetry::metrics;
use crate::worker::Observed;

/// Sends notifications for an instance.
pub(super) fn notifier(instance: &Instance, rules: EgressRules) -> Result<Arc<Notifier>, StartFailure> {
    let sender = Sender::new(rules, Arc::clone(&instance.nature.clock))
        .map_err(|error| StartFailure::machine("outgoing requests cannot be set up", &error))?;
    let notifier = Notifier::new(Arc::clone(&instance.delivery), Arc::new(SignedHooks(sender)), Arc::new(Registered));
    Ok(Arc::new(notifier))
}

/// Messages signed as Standard Webhooks, over the guard.
#[derive(Debug)]
struct SignedHooks(Sender);

#[async_trait]
impl Hooks for SignedHooks {
    async fn send(&self, parcel: Parcel) -> Answer {
        let message = match parcel.part {
            Part::Event(number) => Message::Event(number),
            Part::Handshake(activation) => Message::Handshake(activation),
            Part::Deactivation(activation) => Message::Deactivation(activation),
        };
        let outgoing = Outgoing {
            method: if parcel.put { Method::Put } else { Method::Post },
            id: message_id(&parcel.subscription, message),
            url: parcel.url,
            content_type: parcel.content_type,
            headers: parcel.headers,
            body: parcel.body,
            secrets: parcel.secrets.iter().filter_map(secret).collect(),
            at: parcel.at,
            timeout: parcel.timeout,
        };
        match self.0.send(outgoing).await {
            Answered::Taken => Answer::Taken,
            Answered::Gone => Answer::Gone,
            Answered::Status(status, wished) => Answer::Status(status, wished),
            Answered::Silent(_) => Answer::Silent,
        }
    }
}

/// A secret as it was sealed: its bytes, or its text.
fn secret(opened: &SecretSlice<u8>) -> Option<Secret> {
    let bytes = opened.expose_secret();
    match std::str::from_utf8(bytes).ok().filter(|text| text.starts_with(SECRET_PREFIX)) {
        Some(text) => Secret::parse(text),
        None => Secret::from_bytes(bytes),
    }
}

/// Counts what sending did.
pub(super) fn observe(observed: Observed) {
    match observed {
        Observed::Ran(ran) => {
            let count = |outcome: &'static str, by: u32| {
                counter!(metrics::NOTIFICATIONS, "outcome" => outcome).increment(by.into())
            };
            count("taken", ran.taken);
            count("withheld", ran.withheld);
            count("given-up", u32::from(ran.given_up));
            match ran.failed {
                Some(Failed::Silent) => count("no-answer", 1),
                Some(Failed::Refused) => count("refused", 1),
                Some(Failed::Unable) => count("unable", 1),
                None => {}
            }
        }
        Observed::Backlog(events, oldest, hosts) => {
            let events = u32::try_from(events).unwrap_or(u32::MAX);
            gauge!(metrics::NOTIFICATIONS_WAITING).set(events);
            gauge!(metrics::NOTIFICATIONS_OLDEST).set(oldest.as_secs_f64());
            gauge!(metrics::NOTIFICATIONS_HOSTS_LEFT_ALONE).set(u32::try_from(hosts).unwrap_or(u32::MAX));
        }
    }
}

/// Counts a turn of a background loop that failed.
pub(super) fn loop_failed(which: Loop) {
    counter!(metrics::LOOP_FAILURES, "loop" => which.name()).increment(1);
}

/// Says when a checkpoint of the log last reached its folder.
pub(super) fn published(at: Timestamp) {
    gauge!(metrics::CHECKPOINT_TIME).set(u32::try_from(at.seconds()).map_or(f64::MAX, f64::from));
}

/// What a client may do by the scopes it is registered for.
#[derive(Debug)]
struct Registered;

impl Standing for Registered {
    fn principal(&self, client: &Client) -> Option<Principal> {
        let permissions = permissions(&client.scope);
        (!client.disabled && !permissions.is_empty()).then(|| Principal {
            client: client.id.clone(),
            number: client.number,
            reach: client.reach.clone(),
            permissions,
            attachment_url: client.attachment_url,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_bytes_and_as_text() {
        let text = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let bytes: Vec<u8> = (0..32).collect();
        let open = |bytes: &[u8]| secret(&SecretSlice::from(bytes.to_vec())).map(|secret| secret.as_bytes().to_vec());
        assert_eq!((open(text.as_bytes()), open(&bytes)), (Some(bytes.clone()), Some(bytes.clone())));
        assert_eq!(open(b"short"), None);
    }
}
