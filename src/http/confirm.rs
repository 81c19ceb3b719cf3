//! Links that a person confirms (contract, Links, Confirm): the page with the button, its cookie, and what the button answers with.
//! A mail scanner's or a preview's GET gets the page at most and uses nothing up; the bytes come from a link of a minute that is
//! bound to the cookie. Whether a link is to be confirmed, and what the cookie's secret opens, is decided elsewhere.

use actix_web::body::None as NoBody;
use actix_web::cookie::time::Duration as Span;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{Method, StatusCode, header};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::error::{Told, value};
use super::exchange::Shared;
use super::fhir_routes::header_text;
use super::ports::{Confirm, Download, Followed};
use super::{files, pages, routes};
use crate::domain::link;
use crate::domain::refusal::Code;

/// The cookie's name over https: the prefix keeps other hosts of the domain from planting one (RFC 6265bis §4.1.3.2).
const NAME_HTTPS: &str = "__Host-daylily-confirm";
/// Its name on a machine of one's own.
const NAME: &str = "daylily-confirm";
/// For how long the page may stay open before the button needs it again.
const COOKIE_SECONDS: i64 = 600;
/// Letters of the secret: 128 bits.
const SECRET_LENGTH: usize = 22;
const HTML: &str = "text/html; charset=utf-8";
/// What a link takes that needs no confirming; what is no link says the same.
const METHODS: &str = "GET, HEAD";
/// What a link takes whose page has the button.
const METHODS_TO_CONFIRM: &str = "GET, HEAD, POST";

/// The secret of the page's cookie, where the request brings one.
pub(super) fn cookie(request: &HttpRequest) -> Option<String> {
    let found = request.cookie(NAME_HTTPS).or_else(|| request.cookie(NAME))?;
    let secret = found.value();
    let plain =
        secret.len() == SECRET_LENGTH && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    plain.then(|| secret.to_owned())
}

/// The page, for a browser's GET; for anyone's HEAD its head alone, without a length.
pub(super) fn page(shared: &Shared, request: &HttpRequest, facts: &Confirm) -> Result<HttpResponse, Told> {
    if let Some(spent) = &facts.spent {
        return Err(spent.clone().into());
    }
    // A page opened again keeps its cookie, so that another one of it that is still open goes on working.
    let secret = cookie(request).unwrap_or_else(|| facts.cookie.clone());
    let mut response = answer(shared, StatusCode::OK, &secret);
    if request.method() == Method::HEAD {
        return Ok(response.content_type(HTML).body(NoBody::new()));
    }
    Ok(response.content_type(HTML).body(pages::confirm(&shared.pages, facts)))
}

/// `POST /d/{token}`: the button. A link without one, and what is no link, answer as to any other method.
pub(super) async fn pressed(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Told> {
    let exchange = files::of(&request)?;
    let Some(token) = files::token(&request, &shared) else { return Err(routes::not_allowed(METHODS).into()) };
    let id = link::id_of(&token);
    let mut asked = files::download(&request, &exchange, token, false);
    if !is_from_the_page(&request, &shared) {
        asked.confirmation = None;
    }
    let confirmed = shared.documents.confirm_link(asked.clone()).await;
    if !confirmed.as_ref().is_err_and(|refusal| refusal.code() == Code::LinkInvalid) {
        exchange.link.replace(Some(id));
    }
    match confirmed {
        Ok(link) => {
            // A path alone: whoever came by another spelling of this host stays where the cookie is.
            let base = shared.base_url.as_str();
            let below = link.url.strip_prefix(base).unwrap_or(&link.url);
            let to = format!("{}{below}", shared.base_url.path());
            Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, value(&to))).finish())
        }
        Err(refusal) if matches!(refusal.code(), Code::LinkInvalid | Code::MethodNotAllowed) => {
            Err(routes::not_allowed(METHODS).into())
        }
        Err(refusal) if refusal.code() == Code::LinkConfirmRequired && exchange.html => {
            without_cookie(&shared, asked).await
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Any method that no link takes: 405 with those that this one does.
pub(super) async fn another_method(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Told> {
    let exchange = files::of(&request)?;
    let Some(token) = files::token(&request, &shared) else { return Err(routes::not_allowed(METHODS).into()) };
    let asked = files::download(&request, &exchange, token, false);
    let is_to_confirm = shared.documents.decline_method(asked).await?;
    Err(routes::not_allowed(if is_to_confirm { METHODS_TO_CONFIRM } else { METHODS }).into())
}

/// The page that says what is missing, with a new cookie and the button.
async fn without_cookie(shared: &Shared, asked: Download) -> Result<HttpResponse, Told> {
    match shared.documents.open_link(Download { head: true, ..asked }).await? {
        Followed::Confirm(facts) => {
            let mut response = answer(shared, StatusCode::FORBIDDEN, &facts.cookie);
            response.insert_header(("daylily-error", Code::LinkConfirmRequired.name()));
            Ok(response.content_type(HTML).body(pages::no_cookie(&shared.pages, &facts)))
        }
        Followed::File(_) => Err(routes::not_allowed(METHODS).into()),
    }
}

/// Whether the page itself sent this, as far as the browser says (Fetch Metadata; RFC 6454 §7). What says nothing still needs the
/// cookie, which no other site can make a browser send.
fn is_from_the_page(request: &HttpRequest, shared: &Shared) -> bool {
    if let Some(site) = header_text(request, header::HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let host = header_text(request, header::HOST).unwrap_or_default();
    header_text(request, header::ORIGIN).is_none_or(|origin| {
        let scheme = if shared.base_url.is_https() { "https" } else { "http" };
        let named = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        let own = shared.base_url.as_str().strip_suffix(shared.base_url.path()).unwrap_or_default();
        own == origin || (!shared.behind_proxy && named.is_some_and(|named| named.eq_ignore_ascii_case(host)))
    })
}

fn answer(shared: &Shared, status: StatusCode, secret: &str) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::CONTENT_SECURITY_POLICY, pages::POLICY))
        .insert_header((header::VARY, "Accept"))
        // Not `no-referrer`: that makes browsers hide the page's origin from the button's POST, too (Fetch, append a request `Origin`).
        .insert_header((header::REFERRER_POLICY, "strict-origin"))
        .insert_header(("x-robots-tag", "noindex"))
        .cookie(cookie_of(shared, secret));
    response
}

/// The cookie: for this server alone, out of reach of scripts and of other sites' requests, gone after ten minutes.
fn cookie_of(shared: &Shared, secret: &str) -> Cookie<'static> {
    let https = shared.base_url.is_https();
    let below = format!("{}/d", shared.base_url.path());
    // The `__Host-` prefix asks for the whole host; without TLS it is not to be had, and the path is as narrow as it can be.
    let (name, path) = if https { (NAME_HTTPS, "/".to_owned()) } else { (NAME, below) };
    let cookie = Cookie::build(name, secret.to_owned()).path(path).secure(https).http_only(true);
    cookie.same_site(SameSite::Strict).max_age(Span::seconds(COOKIE_SECONDS)).finish()
}
