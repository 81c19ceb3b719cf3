//! Reading bodies: within a size, within a time, at least at a rate. A body that announces too much is refused unread.

use std::ops::Deref;
use std::pin::Pin;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::{BytesMut, Payload};
use actix_web::{HttpRequest, web::Bytes};
use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use metrics::counter;
use tokio::time::{Sleep, sleep};

use super::accept;
use super::exchange::Shared;
use super::ports::RawBody;
use crate::config::{Limits, write_size};
use crate::domain::holder::Holder;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::shares::Place;
use crate::telemetry::metrics::UPLOADED_BYTES;

/// `Content-Length`, where it was sent.
pub(super) fn announced(request: &HttpRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `Content-Type`, or nothing.
pub(super) fn content_type(request: &HttpRequest) -> &str {
    request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Refuses encodings: what is stored is what was sent.
fn not_encoded(request: &HttpRequest) -> Result<(), Refusal> {
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    match encoding.map(|value| value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        None | Some(true) => Ok(()),
        Some(false) => Err(accept::media_type_unsupported("application/fhir+json, without `Content-Encoding`")),
    }
}

/// A body of FHIR JSON.
///
/// # Errors
/// `media-type-unsupported`, `request-too-large`, `request-timeout`, `request-malformed`; `rate-limited`, `server-busy` where
/// there is no memory for it.
pub(super) async fn fhir(
    shared: &Shared,
    request: &HttpRequest,
    payload: Payload,
    holder: &Holder,
) -> Result<Whole, Refusal> {
    if !accept::is_fhir_body(content_type(request)) {
        return Err(accept::media_type_unsupported("application/fhir+json"));
    }
    whole(shared, request, payload, holder, shared.limits.json_body).await
}

/// The body of an operation, which may be left out.
pub(super) async fn fhir_or_none(
    shared: &Shared,
    request: &HttpRequest,
    payload: Payload,
    holder: &Holder,
) -> Result<Whole, Refusal> {
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    if announced(request).unwrap_or(0) == 0 && !chunked {
        return Ok(Whole::none());
    }
    fhir(shared, request, payload, holder).await
}

/// A form, as pairs in order.
pub(super) async fn form(
    shared: &Shared,
    request: &HttpRequest,
    payload: Payload,
    holder: &Holder,
) -> Result<Vec<(String, String)>, Refusal> {
    if !accept::is_form(content_type(request)) {
        return Err(accept::media_type_unsupported("application/x-www-form-urlencoded"));
    }
    let body = whole(shared, request, payload, holder, shared.limits.form_body).await?;
    if std::str::from_utf8(&body).is_err() {
        return Err(Refusal::new(Issue::new(Code::RequestMalformed).fill("part", "form")));
    }
    Ok(pairs(&body))
}

/// Pairs of a form or query, in order, repeated names too.
pub(super) fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// A body that was read whole, with its share of the memory for bodies as long as it is kept.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Bytes,
    _memory: Option<Place>,
}

impl Whole {
    /// No body.
    pub(super) fn none() -> Self {
        Self { bytes: Bytes::new(), _memory: None }
    }
}

impl Deref for Whole {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// How much memory a body takes, in its own length: itself, and what it is made into or from until that is stored or sent. What
/// reading needs in between is bounded by how many are read at a time (`delivery::read_body`).
const MEMORY_OF_BODY: u64 = 2;

/// Bytes of memory that a body of this length takes.
pub(super) fn memory_of(length: u64) -> u64 {
    length.saturating_mul(MEMORY_OF_BODY)
}

async fn whole(
    shared: &Shared,
    request: &HttpRequest,
    payload: Payload,
    holder: &Holder,
    most: u64,
) -> Result<Whole, Refusal> {
    not_encoded(request)?;
    let length = announced(request);
    if length.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    // One that comes in chunks may be as long as any.
    let span = allowed(&shared.limits, length.unwrap_or(most));
    // What is announced is taken at once, so that bodies which have come halfway never wait for each other.
    let expected = length.unwrap_or(ROOM_MOST.min(most));
    // Not waited for: one that waits holds up its connection as well.
    let _place = shared.bodies.try_take(holder)?;
    let memory = shared.body_memory.take_many(holder, memory_of(expected)).await?;
    let body = Collected { most, expected, bytes: BytesMut::new(), memory };
    within(span, body.collect(Paced::new(shared, payload))).await
}

/// Room that is made before a byte has come, whatever a head announces.
const ROOM_MOST: u64 = 64 * 1024;

/// How long a whole body of a length may take: its time, and what it needs at the least rate.
fn allowed(limits: &Limits, length: u64) -> Duration {
    limits.body_timeout.saturating_add(at_rate(length, limits.body_rate))
}

/// How long so many bytes take at a rate of so many a second.
fn at_rate(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(NANOS) / rate.max(1))
}

/// A whole body has so long, however it comes.
async fn within(span: Duration, collected: impl Future<Output = Result<Whole, Refusal>>) -> Result<Whole, Refusal> {
    tokio::time::timeout(span, collected).await.map_err(|_| timed_out())?
}

/// A body as far as it has come.
struct Collected {
    /// The longest that it may be.
    most: u64,
    /// As long as there is memory for.
    expected: u64,
    bytes: BytesMut,
    memory: Place,
}

impl Collected {
    async fn collect<P>(mut self, mut paced: Paced<P>) -> Result<Whole, Refusal>
    where
        P: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    {
        self.bytes.reserve(usize::try_from(self.expected.min(ROOM_MOST)).unwrap_or_default());
        while let Some(piece) = paced.next().await? {
            let length = u64::try_from(self.bytes.len() + piece.len()).unwrap_or(u64::MAX);
            if length > self.most {
                return Err(too_large(self.most));
            }
            if length > self.expected {
                // Twice as much each time, as the buffer itself grows.
                self.expected = self.expected.saturating_mul(2).clamp(length, self.most);
                self.memory.grow_to(memory_of(self.expected)).await?;
            }
            self.bytes.extend_from_slice(&piece);
        }
        Ok(Whole { bytes: self.bytes.freeze(), _memory: Some(self.memory) })
    }
}

fn too_large(most: u64) -> Refusal {
    Refusal::new(Issue::new(Code::RequestTooLarge).fill("part", "body").fill("limit", write_size(most)))
}

fn timed_out() -> Refusal {
    Refusal::of(Code::RequestTimeout).retry_after(1)
}

fn broken() -> Refusal {
    Refusal::new(Issue::new(Code::RequestMalformed).fill("part", "body"))
}

/// A body held to the least rate: at every moment it must be as far as the rate says since its grace, however it came there.
struct Paced<P> {
    payload: P,
    rate: u64,
    deadline: Pin<Box<Sleep>>,
}

/// Of a second.
const NANOS: u64 = 1_000_000_000;

impl<P: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Paced<P> {
    /// Its grace begins now.
    fn new(shared: &Shared, payload: P) -> Self {
        let limits = &shared.limits;
        Self { payload, rate: limits.body_rate, deadline: Box::pin(sleep(limits.body_grace)) }
    }

    /// # Errors
    /// `request-timeout`, `request-malformed`.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        // What is there already is taken first: a body is not late because the server was.
        let piece = tokio::select! {
            biased;
            piece = self.payload.next() => piece,
            () = self.deadline.as_mut() => return Err(timed_out()),
        };
        let piece = piece.transpose().map_err(|_| broken())?;
        if let Some(piece) = &piece {
            let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if let Some(later) = self.deadline.deadline().checked_add(at_rate(bytes, self.rate)) {
                self.deadline.as_mut().reset(later);
            }
        }
        Ok(piece)
    }
}

/// A raw body, of whatever length: its rate alone counts.
pub(super) struct Raw {
    paced: Paced<Payload>,
}

impl Raw {
    /// Begins now.
    ///
    /// # Errors
    /// `media-type-unsupported` for an encoded body.
    pub(super) fn new(shared: &Shared, request: &HttpRequest, payload: Payload) -> Result<Self, Refusal> {
        not_encoded(request)?;
        Ok(Self { paced: Paced::new(shared, payload) })
    }
}

#[async_trait(?Send)]
impl RawBody for Raw {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let piece = self.paced.next().await?;
        if let Some(piece) = &piece {
            counter!(UPLOADED_BYTES).increment(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::holder::Shares;
    use crate::domain::principal::ClientNumber;
    use crate::shares::Places;
    use futures_util::stream;
    use tokio::time::Instant;

    /// A body that comes in pieces of a size with a pause before each.
    fn coming(
        pieces: usize,
        size: usize,
        pause: Duration,
    ) -> Paced<impl Stream<Item = Result<Bytes, PayloadError>> + Unpin> {
        let coming = stream::unfold(0, move |sent| async move {
            sleep(pause).await;
            (sent < pieces).then(|| (Ok(Bytes::from(vec![0; size])), sent + 1))
        });
        // The defaults: ten seconds of grace, then 1 KiB/s.
        let deadline = Box::pin(sleep(Duration::from_secs(10)));
        Paced { payload: Box::pin(coming), rate: 1024, deadline }
    }

    /// What becomes of it, and after how many seconds.
    async fn taken(pieces: usize, size: usize, pause: Duration) -> (Result<usize, u16>, u64) {
        let (mut body, began, mut length) = (coming(pieces, size, pause), Instant::now(), 0);
        let ended = loop {
            match body.next().await {
                Ok(Some(piece)) => length += piece.len(),
                Ok(None) => break Ok(length),
                Err(refusal) => break Err(refusal.status()),
            }
        };
        (ended, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a205_a_body_keeps_its_rate_after_its_grace() {
        let second = Duration::from_secs(1);
        assert_eq!(taken(10_000, 1, second).await, (Err(408), 10), "one byte a second");
        assert_eq!(taken(10_000, 1023, Duration::from_secs(11)).await, (Err(408), 10), "nothing within the grace");
        assert_eq!(taken(100, 1024, second).await, (Ok(102_400), 101), "exactly the rate");
        // 1000 a second lose 24 of them each second; ten seconds of grace are 10,240 bytes, eaten up after about 427 seconds (less what the
        // timer rounds up).
        let (ended, seconds) = taken(10_000, 1000, second).await;
        assert!(ended == Err(408) && (370..=430).contains(&seconds), "{ended:?} {seconds}");
        assert_eq!(taken(1, 1 << 20, 5 * second).await, (Ok(1 << 20), 10));
        // What came ahead of its time is not lost.
        assert_eq!(taken(2, 1 << 20, 9 * second).await, (Ok(2 << 20), 27));
    }

    #[tokio::test(start_paused = true)]
    async fn a205_a_whole_body_has_its_time_and_what_its_length_takes_at_the_least_rate() {
        let second = Duration::from_secs(1);
        let defaults = Limits::default();
        assert_eq!(allowed(&defaults, 0), 30 * second);
        // 24 MiB at 1 KiB/s.
        assert_eq!(allowed(&defaults, 24 << 20), (30 + 24 * 1024) * second);
        let short = Limits { body_timeout: 5 * second, ..Limits::default() };
        for (limits, pieces, pause, ended, seconds) in [
            (&defaults, 29, second, Ok(29 * 2048), 30),
            // Thirty seconds were too few for a body of half a megabyte on a slow line.
            (&defaults, 300, second, Ok(300 * 2048), 301),
            (&defaults, 300, 4 * second, Err(408), 18),
            // 2048 bytes have five seconds and two; these come after eight.
            (&short, 1, 8 * second, Err(408), 7),
            (&short, 1, 3 * second, Ok(2048), 6),
        ] {
            let began = Instant::now();
            let length = pieces * 2048;
            let span = allowed(limits, u64::try_from(length).unwrap());
            let places = Places::new(1 << 20, Shares::default(), None);
            let memory = places.take(&Holder::Client(ClientNumber(1))).await.unwrap();
            let body = Collected { most: 1 << 20, expected: 1 << 20, bytes: BytesMut::new(), memory };
            let whole = within(span, body.collect(coming(pieces, 2048, pause))).await;
            assert_eq!(whole.map(|body| body.len()).map_err(|refusal| refusal.status()), ended, "{pieces} {pause:?}");
            assert_eq!(began.elapsed().as_secs(), seconds, "{pieces} {pause:?}");
        }
    }
}
