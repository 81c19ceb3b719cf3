//! `webhook listen`: a local receiver that says what came in words that a person understands, checks signatures, and fails on purpose.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::{Webhook, WebhookListen};
use super::input;
use super::message::{Failure, Tone, one_line};
use super::terminal::Terminal;
use crate::app::Nature;
use crate::domain::clock::Clock;
use crate::domain::refusal::{Code, Issue};
use crate::domain::subscription::TOPIC_PREFIX;
use crate::http::receiver::{Check, FailOnPurpose, Failure as How, Received, Receiver};
use crate::notify::signature::{self, Secret};

/// How long one wait for a request lasts.
const WAIT: Duration = Duration::from_secs(3_600);

/// Runs it, until it is interrupted.
pub(super) async fn run(command: Webhook, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let Webhook::Listen(listen) = command;
    let failing = fail_on_purpose(&listen.fail)?;
    let secrets = secrets(&listen)?;
    let address: SocketAddr = listen.listen.parse().map_err(|_| {
        Failure::flag("--listen", "must be an address with a port", "write it like `--listen 127.0.0.1:9000`")
    })?;
    if !address.ip().is_loopback() {
        return Err(Failure::flag("--listen", "must be an address of this machine alone", "use 127.0.0.1"));
    }
    let checked = !secrets.is_empty();
    let receiver = TcpListener::bind(address)
        .and_then(|listener| Receiver::start(listener, check(secrets, Arc::clone(&nature.clock)), failing))
        .map_err(|_| Failure::new(vec![Issue::new(Code::ListenTaken).fill("address", address)]))?;
    terminal.tell(&format!("Listening on http://{} for notifications; Ctrl-C ends.", receiver.address()));
    if !checked {
        terminal.cure("note", "signatures are not checked; give the Subscription's secret with --secret-file");
    }
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            received = receiver.next(WAIT) => {
                if let Some(received) = received {
                    show(&received, terminal, nature);
                }
            }
        }
    }
    receiver.stop().await;
    Ok(0)
}

fn secrets(listen: &WebhookListen) -> Result<Vec<Secret>, Failure> {
    let (flag, text) = match (&listen.secret, &listen.secret_file) {
        (Some(_), _) => ("--secret", zeroize::Zeroizing::new(input::stdin_value("--secret")?)),
        (None, Some(path)) => ("--secret-file", input::secret_file("--secret-file", path)?),
        (None, None) => return Ok(Vec::new()),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let read: Option<Vec<_>> = lines.map(Secret::parse).collect();
    read.filter(|secrets| !secrets.is_empty()).ok_or_else(|| {
        Failure::flag(flag, "must hold a webhook secret", "use the whsec_… that $webhook-secret answered")
    })
}

/// Checks as Standard Webhooks say; the demo uses the same.
pub(super) fn check(secrets: Vec<Secret>, clock: Arc<dyn Clock>) -> Check {
    Arc::new(move |heads, body| {
        if secrets.is_empty() {
            return None;
        }
        let signed = (heads.id.as_str(), heads.timestamp.as_str(), heads.signature.as_str());
        Some(signature::verify(&secrets, signed, body, clock.now()).map_err(|error| error.to_string()))
    })
}

/// `status=500`, `retry-after=30`, `hang`, `close`, `every=3`, `first=2`. One way to fail; without any it is status 500.
fn fail_on_purpose(given: &[String]) -> Result<Vec<FailOnPurpose>, Failure> {
    let wrong = || {
        Failure::flag(
            "--fail",
            "is not a way to fail",
            "use status=500, hang or close, with every=3 or first=2, and retry-after=30 with a status",
        )
    };
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let (mut how, mut wait, mut first, mut every) = (None, None, None, None);
    for word in given.iter().flat_map(|each| each.split(',')) {
        match word.split_once('=') {
            None if word == "hang" && how.is_none() => how = Some(How::Hang),
            None if word == "close" && how.is_none() => how = Some(How::Close),
            Some(("status", status)) if how.is_none() => {
                let status = status.parse().ok().filter(|status| (300..600).contains(status));
                how = Some(How::Status(status.ok_or_else(wrong)?, None));
            }
            Some(("retry-after", seconds)) => wait = Some(seconds.parse().map_err(|_| wrong())?),
            Some(("first", count)) => first = Some(count.parse().map_err(|_| wrong())?),
            Some(("every", count)) => every = Some(count.parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        }
    }
    let how = match (how.unwrap_or(How::Status(500, None)), wait) {
        (How::Status(status, _), wait) => How::Status(status, wait),
        (other, None) => other,
        (_, Some(_)) => return Err(wrong()),
    };
    Ok(vec![FailOnPurpose { how, first, every }])
}

fn show(received: &Received, terminal: &Terminal, nature: &Nature) {
    let told = Told::of(received);
    if terminal.json {
        terminal.say_json(&told.to_json(received));
        return;
    }
    let verified = match &received.verified {
        Some(Ok(())) => terminal.out(Tone::Good, "signature verified"),
        Some(Err(why)) => terminal.out(Tone::Bad, &format!("NOT verified: {why}")),
        None => terminal.out(Tone::Dim, "signature not checked"),
    };
    let answered = match received.answered {
        Some(status) => format!("answered {status}"),
        None => "not answered".to_owned(),
    };
    let moment = terminal.zone.time(nature.clock.now());
    terminal.say(&format!("{moment}  {}; {verified}; {answered}", one_line(&told.words())));
}

/// What a notification says, as far as it can be read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    kind: Option<String>,
    topic: Option<String>,
    status: Option<String>,
    number: Option<String>,
    focus: Option<String>,
    access: Option<String>,
    method: String,
}

impl Told {
    fn of(received: &Received) -> Self {
        let body: Value = serde_json::from_slice(&received.body).unwrap_or(Value::Null);
        let mut told = Self { method: received.method.clone(), ..Self::default() };
        if let (Some("DocumentReference"), Some(id)) =
            (body.get("resourceType").and_then(Value::as_str), body.get("id"))
        {
            told.focus = id.as_str().map(|id| format!("DocumentReference/{id}"));
        }
        let status = body.pointer("/entry/0/resource/parameter").and_then(Value::as_array);
        for parameter in status.into_iter().flatten() {
            told.take(parameter);
            for part in parameter.get("part").and_then(Value::as_array).into_iter().flatten() {
                told.take(part);
            }
        }
        told
    }

    fn take(&mut self, parameter: &Value) {
        let text = |name: &str| parameter.get(name).and_then(Value::as_str).map(str::to_owned);
        match parameter.get("name").and_then(Value::as_str) {
            Some("type") => self.kind = text("valueCode"),
            Some("status") => self.status = text("valueCode"),
            Some("topic") => {
                self.topic =
                    text("valueCanonical").map(|url| url.strip_prefix(TOPIC_PREFIX).unwrap_or(&url).to_owned());
            }
            Some("event-number") => self.number = text("valueString"),
            Some("access-reference") => self.access = text("valueString"),
            Some("focus") => {
                let reference = parameter.pointer("/valueReference/reference").and_then(Value::as_str);
                // Type and id are enough for a line.
                let short = |url: &str| {
                    url.rsplit('/').take(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("/")
                };
                self.focus = reference.map(short);
            }
            _ => {}
        }
    }

    fn words(&self) -> String {
        let of =
            |words: &str, more: &Option<String>| more.as_ref().map(|more| format!("{words}{more}")).unwrap_or_default();
        match (self.kind.as_deref(), self.status.as_deref(), &self.number) {
            (Some("handshake"), ..) => "handshake: is anybody there?".to_owned(),
            (Some("event-notification"), Some("off"), None) => {
                "the Subscription is off; nothing more will come".to_owned()
            }
            (Some(_), _, Some(number)) => {
                let topic = self.topic.as_deref().unwrap_or("something happened");
                format!("event {number}: {topic}{}{}", of(", ", &self.focus), of(", access reference ", &self.access))
            }
            (Some(kind), ..) => kind.to_owned(),
            (None, ..) => match &self.focus {
                Some(focus) => format!("{} of {focus}", self.method),
                None => format!("{} without a notification: look what is new", self.method),
            },
        }
    }

    fn to_json(&self, received: &Received) -> Value {
        let verified = received.verified.as_ref();
        json!({
            "request": received.number, "method": received.method, "webhook-id": received.heads.id,
            "type": self.kind, "status": self.status, "topic": self.topic, "event-number": self.number, "focus": self.focus,
            "access-reference": self.access, "verified": verified.map(Result::is_ok),
            "why": verified.and_then(|verified| verified.as_ref().err()), "answered": received.answered,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(words: &[&str]) -> Option<FailOnPurpose> {
        let given: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        fail_on_purpose(&given).ok()?.into_iter().next()
    }

    fn received(body: &str) -> Received {
        Received {
            number: 1,
            method: "POST".to_owned(),
            path: "/".to_owned(),
            heads: crate::http::receiver::Heads::default(),
            body: body.to_owned().into(),
            verified: None,
            answered: Some(204),
        }
    }

    #[test]
    fn ways_to_fail_are_read() {
        let fail = |how, first, every| Some(FailOnPurpose { how, first, every });
        assert_eq!(
            failing(&["status=503", "retry-after=30", "first=2"]),
            fail(How::Status(503, Some(30)), Some(2), None)
        );
        assert_eq!(failing(&["hang"]), fail(How::Hang, None, None));
        assert_eq!(failing(&["close,every=3"]), fail(How::Close, None, Some(3)));
        assert_eq!(failing(&["every=3"]), fail(How::Status(500, None), None, Some(3)));
        assert!(fail_on_purpose(&[]).unwrap().is_empty());
        for wrong in ["", "status=200", "status=x", "every=0", "hang,close", "hang,retry-after=3", "sleep"] {
            assert_eq!(fail_on_purpose(&[wrong.to_owned()]).unwrap_err().exit, 2, "{wrong}");
        }
    }

    #[test]
    fn notifications_are_said_in_words() {
        let event = include_str!("webhook/ntf-event-id-only.json");
        let told = Told::of(&received(event));
        assert_eq!(told.kind.as_deref(), Some("event-notification"));
        assert!(told.words().starts_with("event "), "{}", told.words());
        assert!(told.words().contains("DocumentReference/"), "{}", told.words());
        let handshake = include_str!("webhook/ntf-handshake.json");
        assert_eq!(Told::of(&received(handshake)).words(), "handshake: is anybody there?");
        let off = include_str!("webhook/ntf-deactivation-dsubm.json");
        assert_eq!(Told::of(&received(off)).words(), "the Subscription is off; nothing more will come");
        assert_eq!(Told::of(&received("")).words(), "POST without a notification: look what is new");
    }
}
