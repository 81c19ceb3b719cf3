//! Sends one message to a receiver and says what became of it, in classes: an answer's body, its headers and the address that was called
//! go no further (a Subscription must not become a way to look around inside a network). Nothing here is logged.
//!
//! Connections are kept, since a new one for each message costs three times as much, but none lives longer than [`CLIENT_LIFE`]:
//! every connection belongs to a client that is replaced then, and opening one looks its name up, vets every address and calls
//! exactly those. So an address is at most that old when it is used, and a name that begins to point elsewhere is noticed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};

use super::egress::{EgressError, EgressRules, Vetting, guarded, refusal, vet_url};
use super::signature::{self, Secret};
use crate::domain::clock::{Clock, Timestamp};

/// Time for a connection, TLS included.
pub const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Most time for one attempt, whatever was asked for.
pub const MOST_TIME: Duration = Duration::from_secs(30);
/// Most bytes of an answer's body that are read, and dropped, so that the connection can be kept.
pub const MOST_ANSWER_BYTES: usize = 64 * 1024;
/// How long connections are kept at most: addresses are vetted again after it.
pub const CLIENT_LIFE: Duration = Duration::from_secs(30);
/// From this age on a client that is used is replaced beside the messages under way: making one takes tens of milliseconds, which
/// a message would wait for.
const RENEWED_FROM: Duration = Duration::from_secs(20);
/// How long an idle connection is kept: less than common servers wait before they close theirs.
const IDLE_TIME: Duration = Duration::from_secs(4);
/// Idle connections of one host: as many as are used at once.
const IDLE_MOST: usize = 4;
/// Clients side by side: hosts are spread over them, so that not all connections are renewed at the same moment.
const CLIENTS: usize = 4;
/// Longest `Retry-After` that is read.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// How it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// To the endpoint.
    Post,
    /// To the resource's own place below the endpoint (a plain Subscription with payload).
    Put,
}

/// A message, ready.
pub struct Outgoing {
    /// How.
    pub method: Method,
    /// Where.
    pub url: String,
    /// `Content-Type`; `None` for an empty body.
    pub content_type: Option<String>,
    /// The subscriber's own header lines, name and value.
    pub headers: Vec<(String, SecretString)>,
    /// `webhook-id`.
    pub id: String,
    /// Whole body.
    pub body: Vec<u8>,
    /// Secrets to sign with, the current one first.
    pub secrets: Vec<Secret>,
    /// Wall clock of this attempt.
    pub at: Timestamp,
    /// Most time, from the look-up of the name to the end of the answer.
    pub timeout: Duration,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({})", self.id)
    }
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// The name has no address, or an address that may not be called: one class, or a Subscription could tell them apart.
    Address,
    /// No connection, TLS, or one that broke.
    Connection,
    /// Time was over.
    Time,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// 2xx.
    Taken,
    /// 410: never again.
    Gone,
    /// Any other status, and how long the receiver asks to be left alone.
    Status(u16, Option<Duration>),
    /// None.
    Silent(Silence),
}

/// The sender.
pub struct Sender {
    vetting: Vetting,
    clock: Arc<dyn Clock>,
    clients: Vec<Arc<Slot>>,
}

/// The client of some hosts, with its age.
#[derive(Default)]
struct Slot {
    kept: Mutex<Option<(reqwest::Client, Duration)>>,
    renewing: AtomicBool,
}

impl Slot {
    fn younger_than(&self, age: Duration, now: Duration) -> Option<reqwest::Client> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(_, since)| now.saturating_sub(*since) < age).map(|(client, _)| client.clone())
    }

    /// Keeps a new client, unless somebody else was faster: then its connections are the ones to share.
    fn replace(&self, client: reqwest::Client, now: Duration) -> reqwest::Client {
        if let Some(faster) = self.younger_than(RENEWED_FROM, now) {
            return faster;
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((client.clone(), now));
        client
    }

    /// Makes a new client beside what runs, one at a time.
    fn renew(self: &Arc<Self>, vetting: Vetting, now: Duration) {
        if self.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let slot = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Ok(client) = build(vetting) {
                slot.replace(client, now);
            }
            slot.renewing.store(false, Ordering::Release);
        });
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    /// Over the guard with these rules.
    ///
    /// # Errors
    /// TLS could not be set up (no system certificates).
    pub fn new(rules: EgressRules, clock: Arc<dyn Clock>) -> Result<Self, EgressError> {
        Self::over(Vetting::new(Arc::new(rules)), clock)
    }

    fn over(vetting: Vetting, clock: Arc<dyn Clock>) -> Result<Self, EgressError> {
        let clients = (0..CLIENTS).map(|_| Arc::default()).collect();
        let sender = Self { vetting, clock, clients };
        sender.build().map_err(|_| EgressError::NoAnswer("TLS cannot be set up".to_owned()))?;
        Ok(sender)
    }

    /// Signs a message for this moment and sends it, once.
    pub async fn send(&self, message: Outgoing) -> Answered {
        let timeout = message.timeout.min(MOST_TIME);
        match tokio::time::timeout(timeout, self.exchange(message, timeout)).await {
            Ok(answered) => answered,
            Err(_) => Answered::Silent(Silence::Time),
        }
    }

    async fn exchange(&self, message: Outgoing, timeout: Duration) -> Answered {
        let Ok(url) = vet_url(&message.url, &self.vetting.rules) else {
            return Answered::Silent(Silence::Address);
        };
        let Some(headers) = headers(&message) else { return Answered::Silent(Silence::Address) };
        let Some(client) = self.client(url.host_str().unwrap_or_default()).await else {
            return Answered::Silent(Silence::Connection);
        };
        let request = match message.method {
            Method::Post => client.post(url),
            Method::Put => client.put(url),
        };
        match request.headers(headers).body(message.body).timeout(timeout).send().await {
            Ok(response) => judged(response, message.at).await,
            Err(error) => Answered::Silent(silence(&error)),
        }
    }

    /// The client of a host, a new one when the last is too old: its connections end when the messages under way have.
    async fn client(&self, host: &str) -> Option<reqwest::Client> {
        let mut hasher = DefaultHasher::new();
        host.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % u64::try_from(CLIENTS).ok()?).ok()?;
        let now = self.clock.monotonic();
        let slot = self.clients.get(place)?;
        let vetting = self.vetting.clone();
        if let Some(client) = slot.younger_than(CLIENT_LIFE, now) {
            if slot.younger_than(RENEWED_FROM, now).is_none() {
                slot.renew(vetting, now);
            }
            return Some(client);
        }
        // Reads the system's certificates: not beside other tasks.
        let client = tokio::task::spawn_blocking(move || build(vetting)).await.ok()?.ok()?;
        Some(slot.replace(client, now))
    }

    fn build(&self) -> reqwest::Result<reqwest::Client> {
        build(self.vetting.clone())
    }
}

fn build(vetting: Vetting) -> reqwest::Result<reqwest::Client> {
    guarded(vetting)
        .pool_max_idle_per_host(IDLE_MOST)
        .pool_idle_timeout(IDLE_TIME)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIME)
        .build()
}

/// The subscriber's lines first; ours cannot be replaced by them.
fn headers(message: &Outgoing) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        let mut value = HeaderValue::from_str(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    if let Some(content_type) = &message.content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).ok()?);
    }
    let signature = signature::sign(&message.secrets, &message.id, message.at, &message.body);
    headers.insert(signature::ID_HEADER, HeaderValue::from_str(&message.id).ok()?);
    headers.insert(signature::TIMESTAMP_HEADER, HeaderValue::from(message.at.seconds()));
    headers.insert(signature::SIGNATURE_HEADER, HeaderValue::from_str(&signature).ok()?);
    Some(headers)
}

/// Reads the status, and drops the body so that the connection can be used again; one that does not end costs its connection.
async fn judged(mut response: reqwest::Response, now: Timestamp) -> Answered {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > MOST_ANSWER_BYTES {
            break;
        }
    }
    match status {
        200..=299 => Answered::Taken,
        410 => Answered::Gone,
        _ => Answered::Status(status, retry_after),
    }
}

/// `Retry-After`: seconds, or an HTTP date (RFC 9110 §10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let pause = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().ok()?)
    } else {
        let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        Timestamp::from_millis(date.timestamp_millis()).since(now)
    };
    Some(pause.min(MOST_RETRY_AFTER))
}

fn silence(error: &reqwest::Error) -> Silence {
    if refusal(error).is_some() {
        return Silence::Address;
    }
    if error.is_timeout() { Silence::Time } else { Silence::Connection }
}

#[cfg(test)]
mod tests;
