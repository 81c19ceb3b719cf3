//! One request and its answer: id, caller's address, security headers, log line, metrics, panics. Everything that every answer has
//! is given here, to errors and unknown paths too.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpResponse};
use futures_util::FutureExt;
use metrics::{counter, gauge, histogram};

use super::arrival::{Line, Watches};
use super::authority::Authority;
use super::client_rate::ClientRate;
use super::error::{self, Told, value};
use super::peer::Proxies;
use super::ports::{Documents, Gate};
use super::probe::Probes;
use super::refusals::Refusals;
use super::{accept, cors, link_path, screen, wire};
use crate::config::{BaseUrl, Limits, Pages, WebOrigin};
use crate::domain::clock::{Clock, Entropy};
use crate::domain::id::{ClientId, LinkId, RequestId};
use crate::domain::refusal::{By, Code, Refusal};
use crate::failpoint::{self, Point};
use crate::shares::Places;
use crate::telemetry::Metrics;
use crate::telemetry::metrics as names;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) documents: Arc<dyn Documents>,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) base_url: BaseUrl,
    pub(super) behind_proxy: bool,
    pub(super) listens_on_loopback: bool,
    pub(super) proxies: Proxies,
    pub(super) origins: Vec<WebOrigin>,
    pub(super) pages: Pages,
    pub(super) limits: Limits,
    /// `None` where metrics have a listener of their own.
    pub(super) metrics: Option<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) downloads: Places,
    pub(super) watches: Arc<Watches>,
    pub(super) probes: Arc<Probes>,
    pub(super) uploads: Places,
    pub(super) waits: Places,
    pub(super) searches: Places,
    /// Bodies that are read whole and have not come yet, however short: each holds up its connection.
    pub(super) bodies: Places,
    /// Bytes of memory for bodies that are read whole.
    pub(super) body_memory: Places,
    pub(super) client_rate: ClientRate,
}

impl Shared {
    /// Whether `Host` may name this server: the base URL's name, loopback spellings being one. Any name behind a proxy, and
    /// literal addresses, which health checks use and which cannot be poisoned into anything.
    pub(super) fn answers_to(&self, authority: &Authority<'_>) -> bool {
        let name = authority.host;
        let local = name.eq_ignore_ascii_case("localhost") && (self.base_url.is_loopback() || self.listens_on_loopback);
        let own = self.base_url.as_str().split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        let own = own.and_then(Authority::parse).is_some_and(|own| own.host.eq_ignore_ascii_case(name));
        self.behind_proxy || local || own || authority.address().is_some()
    }
}

/// Which shape refusals have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    /// `/fhir`
    Fhir,
    /// `/auth`
    Auth,
    /// Links, pages, operations, unknown paths.
    Other,
}

/// One request, for handlers and for what is written about it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: RequestId,
    pub(super) surface: Surface,
    pub(super) is_link: bool,
    pub(super) html: bool,
    pub(super) address: IpAddr,
    /// The connection's own address.
    pub(super) socket: IpAddr,
    pub(super) client: RefCell<Option<ClientId>>,
    pub(super) case: Cell<Option<&'static str>>,
    /// The id of the link that was asked by, once it is known to be one of ours.
    pub(super) link: RefCell<Option<LinkId>>,
    /// The line of the download that answers it.
    pub(super) line: RefCell<Option<Arc<Line>>>,
    /// Seconds that a page has been asking again by itself, as its own address says.
    pub(super) waited: u32,
    method: Method,
    origin: Option<&'static str>,
    permitted: Option<String>,
    started: Duration,
}

impl Exchange {
    fn of(shared: &Shared, request: &ServiceRequest) -> Self {
        let headers = request.headers();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let id = text(HeaderName::from_static("x-request-id")).and_then(RequestId::parse);
        let path = below(shared.base_url.path(), request.uri().path());
        let socket = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
        Self {
            id: id.unwrap_or_else(|| RequestId::random(&*shared.entropy)),
            surface: surface(path),
            is_link: link_path::is_one(path),
            html: accept::prefers_html(text(header::ACCEPT)),
            address: shared.proxies.caller(socket, headers),
            socket,
            client: RefCell::new(None),
            case: Cell::new(None),
            link: RefCell::new(None),
            line: RefCell::new(None),
            waited: waited(request.query_string()),
            method: request.method().clone(),
            origin: headers.contains_key(header::ORIGIN).then_some("present"),
            permitted: text(header::ORIGIN)
                .and_then(|origin| cors::allowed(path, origin, &shared.origins))
                .map(str::to_owned),
            started: shared.clock.monotonic(),
        }
    }
}

/// What the page wrote there; anything else is none.
fn waited(query: &str) -> u32 {
    let value = query.strip_prefix(super::pages::WAITED).and_then(|rest| rest.strip_prefix('='));
    value.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The path below the base URL's own.
pub(super) fn below<'a>(base: &str, path: &'a str) -> &'a str {
    path.strip_prefix(base).filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

fn surface(path: &str) -> Surface {
    let under = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match path {
        _ if under("/fhir") => Surface::Fhir,
        _ if under("/auth") => Surface::Auth,
        _ => Surface::Other,
    }
}

/// Lowers the gauge of running requests however the request ends.
struct Running;

impl Running {
    fn begin() -> Self {
        gauge!(names::REQUESTS_RUNNING).increment(1.0);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        gauge!(names::REQUESTS_RUNNING).decrement(1.0);
    }
}

/// The outermost layer around every route.
pub(super) async fn exchange(
    shared: Data<Shared>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let _running = Running::begin();
    let exchange = Rc::new(Exchange::of(&shared, &request));
    request.extensions_mut().insert(Rc::clone(&exchange));
    let refused = wire::refusal(&shared.limits, request.request()).or_else(|| screen::refuse(&shared, &request));
    if let Some(refusal) = refused {
        let response =
            ServiceResponse::new(request.into_parts().0, actix_web::ResponseError::error_response(&Told(refusal)));
        return Ok(finish(&shared, &exchange, response));
    }
    if exchange.method == Method::OPTIONS {
        let response = request.into_response(HttpResponse::NoContent().finish());
        return Ok(finish(&shared, &exchange, response));
    }
    let handled = async {
        let method = exchange.method.as_str().as_bytes();
        failpoint::here_for(Point::HandlerBegun, method);
        let answer = next.call(request).await;
        failpoint::here_for(Point::AnswerReady, method);
        answer
    };
    match AssertUnwindSafe(handled).catch_unwind().await {
        Ok(Ok(response)) => Ok(finish(&shared, &exchange, response.map_into_boxed_body())),
        Ok(Err(failed)) => {
            let code = if failed.as_response_error().status_code().is_server_error() {
                Code::ServerFault
            } else {
                Code::PathUnknown
            };
            Err(broken(&shared, &exchange, code))
        }
        Err(_) => {
            counter!(names::PANICS).increment(1);
            Err(broken(&shared, &exchange, Code::ServerFault))
        }
    }
}

/// The answer where nothing is left of the request but what was noted of it.
fn broken(shared: &Shared, exchange: &Exchange, code: Code) -> Error {
    let response = actix_web::ResponseError::error_response(&Told(code.into()));
    let response = complete(shared, exchange, response, "unmatched");
    InternalError::from_response(code.name(), response).into()
}

fn finish(shared: &Shared, exchange: &Exchange, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let (request, response) = response.into_parts();
    let route = request.match_pattern().map_or_else(|| "unmatched".to_owned(), |pattern| plain_route(&pattern));
    let response = complete(shared, exchange, response, &route);
    ServiceResponse::new(request, response)
}

/// Renders a refusal, adds what every answer has, writes the line.
fn complete(
    shared: &Shared,
    exchange: &Exchange,
    mut response: HttpResponse<BoxBody>,
    route: &str,
) -> HttpResponse<BoxBody> {
    let told = response.extensions_mut().remove::<Told>().map(|told| told.0);
    let refusal = told.map(|refusal| limited(shared, exchange, refusal));
    if let Some(refusal) = &refusal {
        counter!(names::REFUSALS, "code" => refusal.code().name()).increment(1);
        response = error::render(shared, exchange, refusal);
    }
    common(shared, exchange, response.headers_mut());
    if let Some(line) = exchange.line.borrow_mut().take() {
        let (least, most) = head_length(&response);
        line.head_is(least, most);
    }
    note(shared, exchange, &response, refusal.as_ref(), route);
    response
}

/// Counts a refusal of nobody known; too many of them become 429.
fn limited(shared: &Shared, exchange: &Exchange, refusal: Refusal) -> Refusal {
    if !Refusals::concerns(refusal.code()) || exchange.client.borrow().is_some() {
        return refusal;
    }
    match shared.refusals.count(refusal.code(), exchange.address) {
        Ok(()) => refusal,
        Err(limited) => limited,
    }
}

/// Headers of every answer. What a handler set itself stays.
fn common(shared: &Shared, exchange: &Exchange, headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-request-id"), value(exchange.id.as_str()));
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ];
    for (name, text) in fixed {
        if !headers.contains_key(name) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(text));
        }
    }
    if shared.base_url.is_https() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if exchange.origin.is_some()
        && let Some(permitted) = &exchange.permitted
    {
        cors::permit(headers, permitted, exchange.method == Method::OPTIONS);
    }
}

/// Bytes of an answer's head as the framework will write it, at least and at most (RFC 9112 §2.1): its headers, and those that the
/// framework adds.
fn head_length(response: &HttpResponse<BoxBody>) -> (u64, u64) {
    const STATUS_LINE: usize = "HTTP/1.1 200 \r\n".len();
    const DATE: usize = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len();
    const CONNECTION: usize = "connection: keep-alive\r\n".len();
    let reason = response.status().canonical_reason().unwrap_or_default().len();
    let lines = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let length = match response.body().size() {
        BodySize::Sized(length) => format!("content-length: {length}\r\n").len(),
        _ => 0,
    };
    let least = STATUS_LINE + reason + lines.sum::<usize>() + length + DATE + "\r\n".len();
    let wide = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    (wide(least), wide(least + CONNECTION))
}

/// One line and the metrics; never path, query, address or header values.
fn note(
    shared: &Shared,
    exchange: &Exchange,
    response: &HttpResponse<BoxBody>,
    refusal: Option<&Refusal>,
    route: &str,
) {
    let took = shared.clock.monotonic().saturating_sub(exchange.started);
    let (status, method) = (response.status().as_u16(), method(&exchange.method));
    let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
    counter!(names::REQUESTS, &labels).increment(1);
    histogram!(names::REQUEST_SECONDS, "route" => route.to_owned(), "method" => method).record(took.as_secs_f64());
    let request = exchange.id.as_str();
    let (client, link) = (exchange.client.borrow(), exchange.link.borrow());
    let (client, link) = (client.as_ref().map(ClientId::as_str), link.as_ref().map(LinkId::as_str));
    let (ms, case) = (u64::try_from(took.as_millis()).unwrap_or(u64::MAX), exchange.case.get());
    match refusal.map(|refusal| (refusal.code().name(), refusal.code().entry().by)) {
        None => tracing::info!(status, request, route, method, client, link, ms, "answered"),
        Some((code, By::Caller)) => {
            tracing::info!(code, status, request, route, method, client, link, ms, case, "refused");
        }
        Some((code, _)) => tracing::warn!(code, status, request, route, method, client, link, ms, case, "refused"),
    }
}

/// The pattern of a route without the expressions in it: `/fhir/{type:A|B}/{id:[^/]*}` is `/fhir/{type}/{id}` to people.
fn plain_route(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut in_expression = false;
    let mut braces = 0u32;
    for c in pattern.chars() {
        match c {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            ':' if braces == 1 => in_expression = true,
            _ => {}
        }
        in_expression &= braces > 0;
        if !in_expression {
            plain.push(c);
        }
    }
    plain
}

/// A method as label: callers can make up any number of others.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fhir => "fhir",
            Self::Auth => "auth",
            Self::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_written_without_its_expressions() {
        for (pattern, plain) in [
            ("/fhir/{type:A|B}/{id:[^$_/][^/]*}", "/fhir/{type}/{id}"),
            ("/fhir/D/{id}/{operation:\\$a|\\$b}", "/fhir/D/{id}/{operation}"),
            ("/d/{token}", "/d/{token}"),
            ("/x/{n:[0-9]{1,3}}/y", "/x/{n}/y"),
        ] {
            assert_eq!(plain_route(pattern), plain);
        }
    }
}
