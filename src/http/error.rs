//! The one place where a refusal becomes an answer: an OperationOutcome under `/fhir`, an OAuth error under `/auth`, elsewhere
//! problem+json, or a page for a browser. Status and headers are the same in every shape.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::json;

use super::accept::FHIR_JSON;
use super::exchange::{Exchange, Shared, Surface};
use super::pages;
use crate::domain::refusal::{Code, OauthError, Refusal};
use crate::shares::Turned;

/// A refusal on its way to the exchange, which renders it.
#[derive(Debug, Clone)]
pub(super) struct Told(pub(super) Refusal);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code().name())
    }
}

impl From<Refusal> for Told {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<Turned> for Told {
    fn from(turned: Turned) -> Self {
        Self(turned.into())
    }
}

impl From<Code> for Told {
    fn from(code: Code) -> Self {
        Self(code.into())
    }
}

impl ResponseError for Told {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Bare: what it looks like depends on the request, which only the exchange knows.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::new(self.status_code());
        response.extensions_mut().insert(self.clone());
        response
    }
}

/// The answer of a refusal, complete but for what every answer has.
pub(super) fn render(shared: &Shared, exchange: &Exchange, refusal: &Refusal) -> HttpResponse<BoxBody> {
    let told = Told(refusal.clone());
    let mut response = HttpResponse::build(told.status_code());
    head(&mut response, shared, exchange, refusal);
    match exchange.surface {
        Surface::Fhir => response.content_type(FHIR_JSON).body(shared.documents.outcome(refusal, &exchange.id)),
        Surface::Auth => response.content_type("application/json").body(oauth(shared, refusal)),
        Surface::Other if exchange.html => {
            let link = exchange.link.borrow();
            let reference = link.as_ref().map_or(exchange.id.as_str(), |link| link.as_str());
            let reader = pages::Reader { reference, is_link: exchange.is_link, waited: exchange.waited };
            let page = pages::refusal(&shared.pages, refusal, reader);
            response.insert_header((header::CONTENT_SECURITY_POLICY, pages::POLICY));
            response.content_type("text/html; charset=utf-8").body(page)
        }
        Surface::Other => {
            response.content_type("application/problem+json").body(problem(shared, refusal, exchange.id.as_str()))
        }
    }
}

fn head(response: &mut HttpResponseBuilder, shared: &Shared, exchange: &Exchange, refusal: &Refusal) {
    response.insert_header((HeaderName::from_static("daylily-error"), refusal.code().name()));
    response.insert_header((header::LINK, format!("<{}>; rel=\"help\"", page_of(shared, refusal.code()))));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if exchange.surface != Surface::Fhir {
        response.insert_header((header::PRAGMA, "no-cache"));
    }
    if exchange.surface == Surface::Other {
        response.insert_header((header::VARY, "Accept"));
    }
    if let Some(seconds) = refusal.retry_after_seconds() {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    if let Some(methods) = refusal.allow() {
        response.insert_header((header::ALLOW, methods));
    }
    if let Some(length) = refusal.length() {
        response.insert_header((header::CONTENT_RANGE, format!("bytes */{length}")));
    }
    if let Some(challenge) = challenge(exchange.surface, refusal) {
        response.insert_header((header::WWW_AUTHENTICATE, challenge));
    }
}

/// RFC 6750 §3: no `error` where no token was sent.
fn challenge(surface: Surface, refusal: &Refusal) -> Option<String> {
    let error = refusal.code().entry().oauth;
    if surface != Surface::Fhir
        || !(matches!(refusal.status(), 401 | 403) || refusal.code() == Code::CredentialsMisplaced)
    {
        return None;
    }
    match (error, refusal.scope()) {
        (OauthError::None, _) if refusal.status() == 401 => Some("Bearer realm=\"fhir\"".to_owned()),
        (OauthError::None, _) => None,
        (error, None) => Some(format!("Bearer realm=\"fhir\", error=\"{}\"", error.as_str())),
        (error, Some(scope)) => {
            Some(format!("Bearer realm=\"fhir\", error=\"{}\", scope=\"{}\"", error.as_str(), quotable(scope)))
        }
    }
}

/// `%x20-21 %x23-5B %x5D-7E` (RFC 6749 §5.2).
fn quotable(text: &str) -> String {
    let quote = |c: char| if c == '"' || c == '`' { '\'' } else { c };
    text.chars().map(quote).filter(|c| matches!(c, ' '..='~') && *c != '\\').collect()
}

/// Where a code is explained.
fn page_of(shared: &Shared, code: Code) -> String {
    shared.base_url.join(&format!("/errors/{}", code.name()))
}

fn oauth(shared: &Shared, refusal: &Refusal) -> String {
    let entry = refusal.code().entry();
    let error = match entry.oauth {
        OauthError::None if refusal.status() >= 500 => OauthError::ServerError,
        OauthError::None => OauthError::InvalidRequest,
        known => known,
    };
    let description = format!("{} {}", refusal.first().message(), refusal.first().cure());
    json!({
        "error": error.as_str(),
        "error_description": quotable(&description),
        "error_uri": page_of(shared, refusal.code()),
    })
    .to_string()
}

fn problem(shared: &Shared, refusal: &Refusal, request: &str) -> String {
    json!({
        "type": page_of(shared, refusal.code()),
        "title": pages::heading(refusal.code()),
        "status": refusal.status(),
        "detail": refusal.first().message(),
        "code": refusal.code().name(),
        "cure": refusal.first().cure(),
        "request": request,
    })
    .to_string()
}

/// A header value of our own making; what cannot stand in a header is left out.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
