//! Bytes on their way out: by link (`/d/{token}`), and as a Binary with a token. Headers as the contract's table of links has them.

use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metrics::{counter, gauge};

use super::accept::{self, BinaryForm};
use super::arrival::Eye;
use super::body::memory_of;
use super::error::Told;
use super::exchange::{Exchange, Shared, below};
use super::fhir_routes::{caller, header_text, json, query_value};
use super::ports::{Asked, Download, Followed, Line, OpenFile, Pieces};
use super::preconditions::{self, Judged};
use super::range::{Wanted, if_range_holds, wanted};
use super::{confirm, disposition, link_path, prefetch};
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, ResourceId};
use crate::domain::link;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::FileFacts;
use crate::shares::Place;
use crate::telemetry::metrics::{DOWNLOADED_BYTES, DOWNLOADS, DOWNLOADS_RUNNING};

/// `Cache-Control` of bytes: nobody keeps them.
const KEEP_NOTHING: &str = "private, no-store";

/// Asks proxies that know it to take no more than their reader does: what they hold cannot be withdrawn, and is not received.
pub(super) const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// `GET`, `HEAD` `/d/{token}`. Query and `Authorization` mean nothing here.
pub(super) async fn by_link(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Told> {
    let exchange = of(&request)?;
    let token = token(&request, &shared).ok_or(Code::LinkInvalid)?;
    let head = request.method() == Method::HEAD;
    let id = link::id_of(&token);
    let asked = download(&request, &exchange, token, head);
    let opened = if prefetch::says_so(request.headers()) {
        Err(shared.documents.decline_prefetch(asked).await)
    } else {
        shared.documents.open_link(asked).await
    };
    if !opened.as_ref().is_err_and(|refusal| refusal.code() == Code::LinkInvalid) {
        exchange.link.replace(Some(id));
    }
    match opened? {
        Followed::File(file) => send(&shared, &request, file).await,
        Followed::Confirm(facts) if head || exchange.html => confirm::page(&shared, &request, &facts),
        Followed::Confirm(_) => Err(Code::LinkConfirmRequired.into()),
    }
}

/// The text of the link that a request names, if it can be one.
pub(super) fn token(request: &HttpRequest, shared: &Shared) -> Option<String> {
    link_path::token(below(shared.base_url.path(), request.uri().path())).map(str::to_owned)
}

/// A request for what a link names.
pub(super) fn download(request: &HttpRequest, exchange: &Exchange, token: String, head: bool) -> Download {
    Download {
        token,
        request: exchange.id.clone(),
        address: exchange.address,
        head,
        confirmation: confirm::cookie(request),
    }
}

/// `GET`, `HEAD` `/fhir/Binary/{id}`.
pub(super) async fn binary(request: HttpRequest, shared: Data<Shared>, id: Path<String>) -> Result<HttpResponse, Told> {
    binary_version(request, shared, id.as_str(), "1").await
}

/// `GET`, `HEAD` `/fhir/Binary/{id}/_history/{version}`: the bytes of a Binary never change, so it has one version.
pub(super) async fn binary_history(
    request: HttpRequest,
    shared: Data<Shared>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Told> {
    binary_version(request, shared, &path.0, &path.1).await
}

async fn binary_version(
    request: HttpRequest,
    shared: Data<Shared>,
    id: &str,
    version: &str,
) -> Result<HttpResponse, Told> {
    let caller = caller(&request, &shared)?;
    caller.principal.may_open_content()?;
    let file = FileId::parse(id).filter(|_| version == "1").ok_or(Code::ResourceNotFound)?;
    let head = request.method() == Method::HEAD;
    let opened = shared.documents.open_handle(&caller, file, head).await?;
    let format = query_value(&request, "_format");
    let form = accept::binary_form(header_text(&request, header::ACCEPT), format.as_deref(), &opened.facts.media_type);
    let is_large = opened.facts.size > shared.limits.binary_form;
    match form {
        Ok(BinaryForm::Raw) => send(&shared, &request, opened).await,
        Ok(BinaryForm::Resource) if !is_large => resource(&shared, &request, opened).await,
        Ok(BinaryForm::Resource) => Err(opened.content.decline(accept::unsupported()).await.into()),
        Err(refusal) => Err(opened.content.decline(refusal).await.into()),
    }
}

async fn resource(shared: &Shared, request: &HttpRequest, opened: OpenFile) -> Result<HttpResponse, Told> {
    let updated = opened.facts.created;
    let memory = match shared.body_memory.take_many(&opened.holder, memory_of(opened.facts.size)).await {
        Ok(memory) => memory,
        Err(turned) => return Err(opened.content.decline(turned.into()).await.into()),
    };
    let text = opened.content.as_resource().await?;
    let mut response = json(request, StatusCode::OK, text);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, super::error::value("W/\"1\""));
    headers.insert(header::LAST_MODIFIED, super::error::value(&http_date(updated)));
    Ok(in_memory(response, memory))
}

/// An HTTP date (RFC 9110 §5.6.7).
pub(super) fn http_date(moment: Timestamp) -> String {
    moment.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The media type as a header: only what is plainly one, anything else is bytes.
fn media_type(declared: &str) -> &str {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    let plain =
        declared.len() <= 127 && declared.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    if plain { declared } else { "application/octet-stream" }
}

/// The strong tag of a file: from what its bytes are, so that parts of one version are never joined with another's.
fn etag(facts: &FileFacts) -> String {
    format!("\"{}\"", hex::encode(facts.sha256))
}

/// The answer of an opened file. What is refused here, conditions first (RFC 9110 §13.2.2), is refused before a use is claimed.
async fn send(shared: &Data<Shared>, request: &HttpRequest, file: OpenFile) -> Result<HttpResponse, Told> {
    let size = file.facts.size;
    let (tag, modified) = (etag(&file.facts), http_date(file.facts.created));
    match preconditions::judge(request.headers(), &tag, file.facts.created) {
        Judged::Met => {}
        Judged::Unchanged => return unchanged(file, &tag, &modified).await,
        Judged::Failed => return Err(file.content.decline(Code::PreconditionFailed.into()).await.into()),
    }
    let head = request.method() == Method::HEAD;
    // RFC 9110 §14.2: Range has no meaning with any method but GET.
    let usable = !head && if_range_holds(header_text(request, header::IF_RANGE), &tag, &modified);
    let range = header_text(request, header::RANGE).filter(|_| usable);
    let tagged = header_text(request, header::IF_RANGE) == Some(tag.as_str());
    let (partial, part) = match wanted(range, size) {
        Wanted::Whole => (false, 0..size),
        Wanted::Part(part) => (true, part),
        Wanted::Unsatisfiable => {
            let refusal = Refusal::of(Code::RangeNotSatisfiable).with_length(size);
            return Err(file.content.decline(refusal).await.into());
        }
    };
    let mut response = described(&file, (&tag, &modified), partial.then_some(&part));
    if head {
        // Recorded as asked for; nothing is sent and nothing used.
        drop(file.content.begin(Asked { range: 0..0, partial: false, tagged: false }, None).await?);
        return Ok(response.body(Length(size)));
    }
    let place = match shared.downloads.take(&file.holder).await {
        Ok(place) => place,
        Err(turned) => return Err(file.content.decline(turned.into()).await.into()),
    };
    let left = part.end - part.start;
    let grace = file.facts.document.as_ref().map(|document| document.decision.link.grace);
    let eye = Eye::open(&shared.watches, request, left, grace, file.holder);
    let line = eye.line().cloned().map(|line| -> Arc<dyn Line> { line });
    let pieces = file.content.begin(Asked { range: part, partial, tagged }, line).await?;
    if pieces.is_last() {
        response.force_close();
    }
    of(request)?.line.replace(eye.line().map(Arc::clone));
    Ok(response.body(Sending::new(pieces, eye, left, left == size, place)))
}

/// The head of an answer with bytes; `part`: those of a 206.
fn described(file: &OpenFile, (tag, modified): (&str, &str), part: Option<&Range<u64>>) -> HttpResponseBuilder {
    let facts = &file.facts;
    let mut response = HttpResponse::build(if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    let media = media_type(&facts.media_type);
    response
        .insert_header((header::CONTENT_TYPE, media))
        .insert_header((
            header::CONTENT_DISPOSITION,
            disposition::attachment(file.file_name.as_deref().or(facts.title.as_deref()), media),
        ))
        .insert_header((header::CACHE_CONTROL, KEEP_NOTHING))
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; frame-ancestors 'none'"))
        .insert_header((HeaderName::from_static("repr-digest"), format!("sha-256=:{}:", STANDARD.encode(facts.sha256))))
        .insert_header((header::ETAG, tag))
        .insert_header((header::LAST_MODIFIED, modified))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        // A proxy that read ahead would hold bytes that a revocation no longer reaches, and would take them for the reader.
        .insert_header(UNBUFFERED);
    if let Some(context) = &file.security_context {
        response.insert_header((HeaderName::from_static("x-security-context"), super::error::value(context)));
    }
    if let Some(part) = part {
        let (last, size) = (part.end.saturating_sub(1), facts.size);
        response.insert_header((header::CONTENT_RANGE, format!("bytes {}-{last}/{size}", part.start)));
    }
    response
}

/// 304, with what a 200 would say of the bytes (RFC 9110 §15.4.5).
async fn unchanged(file: OpenFile, tag: &str, modified: &str) -> Result<HttpResponse, Told> {
    file.content.unchanged().await?;
    let mut response = HttpResponse::NotModified();
    response.insert_header((header::CACHE_CONTROL, KEEP_NOTHING));
    Ok(response.insert_header((header::ETAG, tag)).insert_header((header::LAST_MODIFIED, modified)).finish())
}

/// What the exchange noted of a request.
pub(super) fn of(request: &HttpRequest) -> Result<Rc<Exchange>, Refusal> {
    request.extensions().get::<Rc<Exchange>>().cloned().ok_or_else(|| Refusal::of(Code::ServerFault))
}

/// The id of a resource in a path; what cannot be one is not there.
pub(super) fn resource_id(text: &str) -> Result<ResourceId, Refusal> {
    ResourceId::parse(text).ok_or_else(|| Refusal::of(Code::ResourceNotFound))
}

/// An answer that lies in memory as a whole, with what was taken for it: that is given back once it is sent, or nobody waits for it.
pub(super) fn in_memory(response: HttpResponse, memory: impl Unpin + 'static) -> HttpResponse {
    response.map_body(|_, body| BoxBody::new(InMemory { body, _memory: memory }))
}

/// A body that lies in memory as a whole until it is sent.
struct InMemory<M> {
    body: BoxBody,
    _memory: M,
}

impl<M: Unpin> MessageBody for InMemory<M> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// No body, but the length of the one that GET would send.
struct Length(u64);

impl MessageBody for Length {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

/// A transfer as a body of exact length. An error in the middle breaks the connection: the reader sees that it is not whole.
struct Sending {
    /// Taken out when the transfer is over.
    pieces: Option<(Box<dyn Pieces>, Eye)>,
    length: u64,
    sent: u64,
    whole: bool,
    was_cut: bool,
    _place: Place,
}

/// Why a transfer was cut, for the connection's log only.
#[derive(Debug, thiserror::Error)]
#[error("transfer cut: {0}")]
struct Cut(&'static str);

impl Sending {
    fn new(pieces: Box<dyn Pieces>, eye: Eye, length: u64, whole: bool, place: Place) -> Self {
        gauge!(DOWNLOADS_RUNNING).increment(1.0);
        Self { pieces: Some((pieces, eye)), length, sent: 0, whole, was_cut: false, _place: place }
    }
}

impl MessageBody for Sending {
    type Error = Cut;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        let this = &mut *self;
        let Some((pieces, eye)) = &mut this.pieces else { return Poll::Ready(None) };
        match std::task::ready!(pieces.poll_piece(context)) {
            Ok(None) => Poll::Ready(None),
            Ok(Some(piece)) => {
                let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                this.sent = this.sent.saturating_add(length);
                if this.sent >= this.length {
                    eye.last_piece();
                }
                counter!(DOWNLOADED_BYTES).increment(length);
                Poll::Ready(Some(Ok(piece)))
            }
            Err(code) => {
                this.was_cut = true;
                tracing::warn!(code = code.name(), "transfer cut");
                Poll::Ready(Some(Err(Cut(code.name()))))
            }
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        gauge!(DOWNLOADS_RUNNING).decrement(1.0);
        match self.pieces.take() {
            Some((pieces, eye)) if !self.was_cut && self.sent == self.length => eye.watch(pieces),
            Some((pieces, eye)) => eye.broken(pieces),
            None => {}
        }
        let outcome = match (self.was_cut, self.sent == self.length, self.whole) {
            (true, ..) => "cut",
            (_, false, _) => "broken",
            (_, _, false) => "part",
            (_, _, true) => "complete",
        };
        counter!(DOWNLOADS, "outcome" => outcome).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a125_a_media_type_that_is_none_is_bytes() {
        assert_eq!(media_type("application/pdf"), "application/pdf");
        for odd in ["text/html\r\nX: y", "pdf", "", "a/b; charset=x", "/x", "x/"] {
            assert_eq!(media_type(odd), "application/octet-stream", "{odd:?}");
        }
    }

    #[test]
    fn dates_are_as_rfc_9110_writes_them() {
        // RFC 9110 §5.6.7's example.
        let moment = Timestamp::parse("1994-11-06T08:49:37Z").unwrap();
        assert_eq!(http_date(moment), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
