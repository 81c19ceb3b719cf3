//! What one message holds and where it goes. The text of an event depends on nothing that happens after it, so that it can be made
//! again after a crash and is the same.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::hooks::{Parcel, Part};
use crate::delivery::failure::store_failure;
use crate::delivery::{Delivery, Sealed};
use crate::domain::clock::Timestamp;
use crate::domain::policy::NotifyContent;
use crate::domain::principal::AccessScope;
use crate::domain::refusal::Refusal;
use crate::domain::resource::{FileFacts, Kind};
use crate::domain::subscription::{Event, Form, Level, Topic};
use crate::fhir::notification::{Channel, DocumentNote, FileNote, cut_down, plain_address};
use crate::store::StoredSubscription;

impl Delivery {
    fn channel<'a>(&'a self, subscription: &'a StoredSubscription, topic: Topic, level: Level) -> Channel<'a> {
        Channel { base: &self.terms.base, subscription: &subscription.id, topic, level }
    }

    /// The body of an event's message; `None`: there is nothing that could be told any more.
    pub(super) async fn event_body(
        &self,
        subscription: &StoredSubscription,
        event: &Event,
        scope: &AccessScope,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let told = match subscription.terms.form {
            Form::Plain { payload: false } => Some(String::new()),
            Form::Topic(topic, level @ (Level::Empty | Level::IdOnly)) => {
                Some(self.channel(subscription, topic, level).event(event, None))
            }
            Form::Topic(topic, Level::FullResource) => {
                let shown = self.shown_version(event, scope).await?;
                let channel = self.channel(subscription, topic, Level::FullResource);
                let noted = shown.as_ref().map(Shown::note);
                Some(channel.event(event, noted.as_ref().map(Noted::as_note).as_ref()))
            }
            Form::Plain { payload: true } => {
                let shown = self.shown_version(event, scope).await?;
                shown.map(|shown| cut_down(&subscription.id, event, &shown.note().as_note()))
            }
        };
        Ok(told.map(String::into_bytes))
    }

    /// The version of the document that the event made, as far as it is still there.
    async fn shown_version(&self, event: &Event, scope: &AccessScope) -> Result<Option<Shown>, Refusal> {
        let read = self.store.read_version(Kind::DocumentReference, &event.document_id, event.version, scope).await;
        let Some(stored) = read.map_err(store_failure)? else { return Ok(None) };
        let mut files = Vec::new();
        for brief in &stored.files {
            files.extend(self.store.file(brief.file).await.map_err(store_failure)?);
        }
        let complete = stored.document.as_ref().is_some_and(|facts| facts.decision.notify == NotifyContent::Complete);
        Ok(Some(Shown { text: stored.body.text, files, complete }))
    }

    /// Body of a handshake; `None` where R4 has no such message (a plain Subscription whose receiver is a FHIR endpoint).
    pub(super) fn handshake_body(&self, subscription: &StoredSubscription) -> Option<Vec<u8>> {
        match subscription.terms.form {
            Form::Topic(topic, level) => {
                let channel = self.channel(subscription, topic, level);
                let text = channel.handshake(subscription.counter, subscription.activation, subscription.updated);
                Some(text.into_bytes())
            }
            Form::Plain { payload: false } => Some(Vec::new()),
            Form::Plain { payload: true } => None,
        }
    }

    /// Body of the word that it is off; `None` for a plain Subscription, which has no such message.
    pub(super) fn deactivation_body(&self, subscription: &StoredSubscription, at: Timestamp) -> Option<Vec<u8>> {
        match subscription.terms.form {
            Form::Topic(topic, level) => {
                Some(self.channel(subscription, topic, level).deactivation(subscription.counter, at).into_bytes())
            }
            Form::Plain { .. } => None,
        }
    }

    /// A message ready to be signed, with everything that is kept sealed opened for it; `None`: its address cannot be made.
    pub(super) fn parcel(
        &self,
        subscription: &StoredSubscription,
        part: Part,
        document: Option<&Event>,
        body: Vec<u8>,
    ) -> Result<Option<Parcel>, Refusal> {
        let (terms, at) = (&subscription.terms, self.clock.now());
        let put = document.filter(|_| terms.form == Form::Plain { payload: true });
        let url = match put {
            Some(event) => plain_address(&terms.endpoint, &event.document_id),
            None => Some(terms.endpoint.clone()),
        };
        let Some(url) = url else { return Ok(None) };
        let mut secrets = Vec::new();
        for secret in subscription.secrets.iter().filter(|secret| secret.until.is_none_or(|until| until > at)) {
            secrets.push(self.sealing.open(Sealed::WebhookSecret, &subscription.id, &secret.sealed)?);
        }
        let content_type = terms.payload.clone().filter(|_| !body.is_empty());
        Ok(Some(Parcel {
            subscription: subscription.id.clone(),
            part,
            put: put.is_some(),
            url,
            content_type,
            headers: self.header_lines(subscription)?,
            body,
            secrets,
            at,
            timeout: terms.timeout,
        }))
    }

    fn header_lines(&self, subscription: &StoredSubscription) -> Result<Vec<(String, SecretString)>, Refusal> {
        if subscription.terms.headers.is_empty() {
            return Ok(Vec::new());
        }
        let opened = self.sealing.open(Sealed::WebhookHeaders, &subscription.id, &subscription.terms.headers)?;
        Ok(split_lines(opened.expose_secret()))
    }
}

/// `Name: value` lines: split at the first colon, blanks around both taken off.
fn split_lines(opened: &[u8]) -> Vec<(String, SecretString)> {
    let text = std::str::from_utf8(opened).unwrap_or_default();
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), SecretString::from(value.trim())))
    };
    text.lines().filter_map(line).collect()
}

/// What is known of a document's version.
struct Shown {
    text: String,
    files: Vec<Arc<FileFacts>>,
    complete: bool,
}

/// The same as the renderer wants it.
struct Noted<'a> {
    shown: &'a Shown,
    files: Vec<FileNote<'a>>,
}

impl Shown {
    fn note(&self) -> Noted<'_> {
        let files = self.files.iter().map(|facts| FileNote {
            file: facts.file,
            media_type: &facts.media_type,
            size: facts.size,
            sha256: facts.sha256,
            title: facts.title.as_deref(),
        });
        Noted { shown: self, files: files.collect() }
    }
}

impl Noted<'_> {
    fn as_note(&self) -> DocumentNote<'_> {
        DocumentNote { text: &self.shown.text, files: &self.files, complete: self.shown.complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_are_split_at_the_first_colon() {
        let lines = split_lines(b"Authorization: Bearer a:b:c\nX-Tenant:7");
        let plain: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(plain, [("Authorization", "Bearer a:b:c"), ("X-Tenant", "7")]);
        assert!(split_lines(b"").is_empty());
    }
}
