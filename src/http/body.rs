//! Reading bodies: within a size, within a time, at least at a rate. A body that announces too much is refused unread.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{BytesMut, Payload};
use actix_web::{HttpRequest, web::Bytes};
use async_trait::async_trait;
use futures_util::StreamExt;
use metrics::counter;

use super::accept;
use super::exchange::Shared;
use super::ports::RawBody;
use crate::config::write_size;
use crate::domain::refusal::{Code, Issue, Refusal};
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
/// `media-type-unsupported`, `request-too-large`, `request-timeout`, `request-malformed`.
pub(super) async fn fhir(shared: &Shared, request: &HttpRequest, payload: Payload) -> Result<Bytes, Refusal> {
    if !accept::is_fhir_body(content_type(request)) {
        return Err(accept::media_type_unsupported("application/fhir+json"));
    }
    whole(shared, request, payload, shared.limits.json_body).await
}

/// The body of an operation, which may be left out.
pub(super) async fn fhir_or_none(shared: &Shared, request: &HttpRequest, payload: Payload) -> Result<Bytes, Refusal> {
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    if announced(request).unwrap_or(0) == 0 && !chunked {
        return Ok(Bytes::new());
    }
    fhir(shared, request, payload).await
}

/// A form, as pairs in order.
pub(super) async fn form(
    shared: &Shared,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Vec<(String, String)>, Refusal> {
    if !accept::is_form(content_type(request)) {
        return Err(accept::media_type_unsupported("application/x-www-form-urlencoded"));
    }
    let body = whole(shared, request, payload, shared.limits.form_body).await?;
    if std::str::from_utf8(&body).is_err() {
        return Err(Refusal::new(Issue::new(Code::RequestMalformed).fill("part", "form")));
    }
    Ok(pairs(&body))
}

/// Pairs of a form or query, in order, repeated names too.
pub(super) fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

async fn whole(shared: &Shared, request: &HttpRequest, payload: Payload, most: u64) -> Result<Bytes, Refusal> {
    not_encoded(request)?;
    let length = announced(request).unwrap_or(0);
    if length > most {
        return Err(too_large(most));
    }
    let collected =
        collect(payload, usize::try_from(length).unwrap_or(0), usize::try_from(most).unwrap_or(usize::MAX), most);
    tokio::time::timeout(shared.limits.body_timeout, collected).await.map_err(|_| timed_out())?
}

/// Room that is made before a byte has come, whatever a head announces.
const ROOM_MOST: usize = 64 * 1024;

async fn collect(mut payload: Payload, length: usize, most: usize, limit: u64) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::with_capacity(length.min(ROOM_MOST));
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| broken())?;
        if body.len() + piece.len() > most {
            return Err(too_large(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
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

/// A raw body, held to the least rate once its grace is over.
pub(super) struct Raw<'a> {
    shared: &'a Shared,
    payload: Payload,
    began: Duration,
    taken: u64,
}

impl<'a> Raw<'a> {
    /// Begins now.
    ///
    /// # Errors
    /// `media-type-unsupported` for an encoded body.
    pub(super) fn new(shared: &'a Shared, request: &HttpRequest, payload: Payload) -> Result<Self, Refusal> {
        not_encoded(request)?;
        Ok(Self { shared, payload, began: shared.clock.monotonic(), taken: 0 })
    }

    /// How long the next piece may take, so that the rate since the grace holds.
    fn patience(&self) -> Duration {
        let limits = &self.shared.limits;
        let paid = Duration::from_secs(self.taken / limits.body_rate.max(1));
        let due = limits.body_grace.saturating_add(paid);
        due.saturating_sub(self.shared.clock.monotonic().saturating_sub(self.began)).min(limits.body_timeout)
    }
}

#[async_trait(?Send)]
impl RawBody for Raw<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let patience = self.patience();
        let piece = tokio::time::timeout(patience, self.payload.next()).await.map_err(|_| timed_out())?;
        let piece = piece.transpose().map_err(|_| broken())?;
        if let Some(piece) = &piece {
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.taken = self.taken.saturating_add(length);
            counter!(UPLOADED_BYTES).increment(length);
        }
        Ok(piece)
    }
}
