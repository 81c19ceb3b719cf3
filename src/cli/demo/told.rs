//! The receiver of the demo: it asks to be told, answers the first message, and checks the signature of every one. It is the receiver
//! of `webhook listen`, on a port of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::actor::Actor;
use super::journey::{FHIR, silent, text};
use super::steps::{Broken, Held, expect};
use crate::app::Nature;
use crate::cli::webhook;
use crate::domain::subscription::Topic;
use crate::http::receiver::{Received, Receiver};
use crate::notify::signature::Secret;

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Messages that may come before the one that is waited for.
const MESSAGES_MOST: usize = 50;

const EXTENSION: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content";

/// Step 4: a Subscription, its secret, and the first message. The Subscription is made `off`, so that the receiver knows the secret
/// before anything is sent to it.
pub(super) async fn subscribe(receiver: &Actor, nature: &Nature) -> Result<(Receiver, Held), Broken> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|_| Broken::new("a free port", "none"))?;
    let address = listener.local_addr().map_err(|_| Broken::new("a free port", "none"))?;
    let mut subscription = json!({
        "resourceType": "Subscription",
        "status": "off",
        "reason": "the demo's receiver imports letters",
        "criteria": Topic::Ready.canonical(),
        "channel": {
            "type": "rest-hook",
            "endpoint": format!("http://{address}/hook"),
            "payload": "application/fhir+json",
            "_payload": { "extension": [{ "url": EXTENSION, "valueCode": "id-only" }] },
        },
    });
    let made = receiver.post("Subscription", FHIR, subscription.to_string().into_bytes()).await;
    let made = made.map_err(silent("201"))?;
    expect("201", &made.words())?;
    let id = text(&made.json(), "/id");
    let asked = json!({ "resourceType": "Parameters" }).to_string().into_bytes();
    let shown = receiver.post(&format!("Subscription/{id}/$webhook-secret"), FHIR, asked).await;
    let shown = shown.map_err(silent("200"))?;
    expect("200", &shown.words())?;
    let secret = Secret::parse(&text(&shown.json(), "/parameter/0/valueString"));
    let secret = secret.ok_or_else(|| Broken::new("a signing secret", "none"))?;
    let check = webhook::check(vec![secret], Arc::clone(&nature.clock));
    let listening = Receiver::start(listener, check, Vec::new());
    let listening = listening.map_err(|_| Broken::new("a receiver that listens", "none"))?;
    if let Some(object) = subscription.as_object_mut() {
        object.insert("id".to_owned(), json!(id));
        object.insert("status".to_owned(), json!("requested"));
    }
    let put = receiver.put(&format!("Subscription/{id}"), FHIR, subscription.to_string().into_bytes()).await;
    expect("200", &put.map_err(silent("200"))?.words())?;
    message(&listening, "handshake").await?;
    let line = "The receiver asked to be told about new documents and answered a test call";
    Ok((listening, Held::new("subscribed", line, "Subscription")))
}

/// Step 9: the message about the letter, with a genuine signature, and nothing in it but where to look.
pub(super) async fn told(listening: &Receiver, document: &str) -> Result<Held, Broken> {
    let received = message(listening, "event-notification").await?;
    let body = String::from_utf8_lossy(&received.body).into_owned();
    if !body.contains(&format!("DocumentReference/{document}")) {
        return Err(Broken::new("a message about the letter", "one about another document"));
    }
    if body.contains("/d/") || body.contains("Letter") {
        return Err(Broken::new("no link and no title in the message", "one of them"));
    }
    let line = "The receiver was told at once; the signature on the message is genuine";
    Ok(Held::new("told", line, "Standard Webhooks"))
}

/// The next verified message of a kind.
async fn message(listening: &Receiver, kind: &str) -> Result<Received, Broken> {
    for _ in 0..MESSAGES_MOST {
        let Some(received) = listening.next(PATIENCE).await else { break };
        match &received.verified {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return Err(Broken::new("a genuine signature", "another")),
        }
        if kind_of(&received) == kind {
            return Ok(received);
        }
    }
    Err(Broken::late(format!("a message ({kind})"), "none in time"))
}

/// `handshake`, `event-notification`.
fn kind_of(received: &Received) -> String {
    let bundle: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    let parameters = bundle.pointer("/entry/0/resource/parameter").and_then(Value::as_array).cloned();
    let kind =
        parameters.unwrap_or_default().into_iter().find(|one| one.get("name").is_some_and(|name| name == "type"));
    kind.map(|kind| text(&kind, "/valueCode")).unwrap_or_default()
}
