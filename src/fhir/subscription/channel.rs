//! `channel`: how, where, how much, with which header lines.

use std::time::Duration;

use super::extension::{self, CHANNEL_TYPE, CONTENT, HEARTBEAT, MAX_COUNT, TIMEOUT};
use super::header::{self, HeaderLine};
use super::{DEFAULT_TIMEOUT, Findings, MAX_ENDPOINT, MAX_TIMEOUT};
use crate::domain::refusal::{Code, Issue};
use crate::domain::subscription::Level;
use crate::fhir::json::{Object, Value};

const CHANNEL: &str = "Subscription.channel";
const ENDPOINT: &str = "Subscription.channel.endpoint";
const PAYLOAD: &str = "Subscription.channel.payload";
const TYPE: &str = "Subscription.channel.type";
const OFFERED_PAYLOAD: &str = "application/fhir+json, with fhirVersion=4.0 if any";

pub(super) struct Channel {
    pub(super) endpoint: String,
    pub(super) payload: Option<String>,
    pub(super) level: Option<Level>,
    pub(super) headers: Vec<HeaderLine>,
    pub(super) timeout: Duration,
}

pub(super) fn read(object: &Object<'static>, by_topic: bool, found: &mut Findings) -> Channel {
    let empty = Object::new();
    let channel = object.object("channel").unwrap_or(&empty);
    kind(channel, found);
    let level = level(channel, by_topic, found);
    let payload = payload(channel, by_topic, found);
    let endpoint = endpoint(channel, level == Some(Level::FullResource) || (!by_topic && payload.is_some()), found);
    let timeout = times(channel, found);
    Channel { endpoint, payload, level, headers: header::read(channel, found), timeout }
}

fn kind(channel: &Object<'static>, found: &mut Findings) {
    if channel.text("type").is_some_and(|kind| kind != "rest-hook") {
        found.unsupported(TYPE, "rest-hook");
    }
    for (at, _) in extension::of(channel.object("_type"), CHANNEL_TYPE) {
        found.unsupported(&format!("{TYPE}.extension[{at}]"), "rest-hook, without a channel type of one's own");
    }
}

fn level(channel: &Object<'static>, by_topic: bool, found: &mut Findings) -> Option<Level> {
    let element = channel.object("_payload");
    if !by_topic {
        for (at, _) in extension::of(element, CONTENT) {
            let place = format!("{PAYLOAD}.extension[{at}]");
            found.unsupported(&place, "it with a topic as criteria alone");
        }
        return None;
    }
    if extension::of(element, CONTENT).next().is_none() {
        found.missing(PAYLOAD, "the extension backport-payload-content: empty, id-only or full-resource");
        return None;
    }
    let code = extension::single(element, (CONTENT, "valueCode"), PAYLOAD, found).and_then(Value::as_str)?;
    let level = Level::from_name(code);
    if level.is_none() {
        let names = Level::ALL.map(Level::name).join(", ");
        let issue = Issue::new(Code::CodeNotAllowed).at(&format!("{PAYLOAD}.extension.value"));
        found.add(issue.fill("codes", names).fill("nearest", ""));
    }
    level
}

fn payload(channel: &Object<'static>, by_topic: bool, found: &mut Findings) -> Option<String> {
    let Some(text) = channel.text("payload") else {
        if by_topic {
            found.missing(PAYLOAD, "application/fhir+json");
        }
        return None;
    };
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/fhir+json"));
    let known = parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim_matches('"');
        (name.eq_ignore_ascii_case("fhirVersion") && value == "4.0")
            || (name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8"))
    });
    if !(is_json && known) {
        found.unsupported(PAYLOAD, OFFERED_PAYLOAD);
    }
    Some(text.to_owned())
}

/// What the text of an endpoint shows; whether it may be called is asked of the guard of the way out.
fn endpoint(channel: &Object<'static>, holds_resource: bool, found: &mut Findings) -> String {
    let Some(text) = channel.text("endpoint") else {
        found.missing(ENDPOINT, "the https address that is called");
        return String::new();
    };
    let clean = text.len() <= MAX_ENDPOINT && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\');
    match url::Url::parse(text).ok().filter(|_| clean).filter(is_address) {
        None => found.malformed(ENDPOINT, "web address", "https://receiver.example.net/hooks"),
        // Plain http is for trying things out, where the operator allows it; metadata of documents never goes over it.
        Some(url) if url.scheme() == "http" && holds_resource => {
            found.add(Issue::new(Code::EndpointRefused).at(ENDPOINT));
        }
        Some(_) => {}
    }
    text.to_owned()
}

fn is_address(url: &url::Url) -> bool {
    let web = ["http", "https"].contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty());
    web && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

fn times(channel: &Object<'static>, found: &mut Findings) -> Duration {
    let at = |at: usize| format!("{CHANNEL}.extension[{at}]");
    for (index, one) in extension::of(Some(channel), HEARTBEAT) {
        if extension::typed(one, "valueUnsignedInt", &at(index), found).is_some() {
            found.term(&at(index), "absent: heartbeats are not sent");
        }
    }
    // One event per notification is within any maximum.
    extension::single(Some(channel), (MAX_COUNT, "valuePositiveInt"), CHANNEL, found);
    let Some(value) = extension::single(Some(channel), (TIMEOUT, "valueUnsignedInt"), CHANNEL, found) else {
        return DEFAULT_TIMEOUT;
    };
    let seconds = value.as_i64().and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    if seconds == 0 {
        found.term(&format!("{CHANNEL}.extension.value"), "a timeout from 1 to 30 seconds");
    }
    Duration::from_secs(seconds).min(MAX_TIMEOUT)
}
