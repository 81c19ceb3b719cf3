//! Links that a person confirms (contract, Links, Confirm): the page with the button, its cookie, and what the button answers with.
//! A mail scanner's or a preview's GET gets the page at most and uses nothing up; the bytes come from a link of a minute that is
//! bound to the cookie. Whether a link is to be confirmed, and what the cookie's secret opens, is decided elsewhere.

use actix_web::body::None as NoBody;
use actix_web::cookie::time::Duration as Span;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{Told, value};
use super::exchange::Shared;
use super::fhir_routes::header_text;
use super::ports::Download;
use super::{files, pages};
use crate::domain::clock::Entropy;
use crate::domain::link;
use crate::domain::refusal::{Code, Refusal};

/// The cookie's name over https: the prefix keeps other hosts of the domain from planting one (RFC 6265bis §4.1.3.2).
const NAME_HTTPS: &str = "__Host-daylily-confirm";
/// Its name on a machine of one's own.
const NAME: &str = "daylily-confirm";
/// For how long the page may stay open before the button needs it again.
const COOKIE_SECONDS: i64 = 600;
/// Letters of the secret: 256 bits.
const SECRET_LENGTH: usize = 43;

/// The secret of the page's cookie, where the request brings one.
pub(super) fn cookie(request: &HttpRequest) -> Option<String> {
    let found = request.cookie(NAME_HTTPS).or_else(|| request.cookie(NAME))?;
    let secret = found.value();
    let plain =
        secret.len() == SECRET_LENGTH && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    plain.then(|| secret.to_owned())
}

/// The page, for a browser's GET; for anyone's HEAD its head alone, without a length.
pub(super) async fn page(shared: &Shared, asked: Download) -> Result<HttpResponse, Told> {
    let reference = link::id_of(&asked.token);
    // A page opened again keeps its cookie, so that another one of it that is still open goes on working.
    let secret = asked.cookie.clone().unwrap_or_else(|| new_secret(&*shared.entropy));
    let head = asked.head;
    let facts = shared.documents.to_confirm(asked).await?;
    let text = pages::confirm(&shared.pages, &facts, reference.as_str());
    let mut response = answer(shared, StatusCode::OK, &secret);
    if head {
        return Ok(response.content_type("text/html; charset=utf-8").body(NoBody::new()));
    }
    Ok(response.content_type("text/html; charset=utf-8").body(text))
}

/// `POST /d/{token}`: the button.
pub(super) async fn pressed(
    request: HttpRequest,
    shared: Data<Shared>,
    token: Path<String>,
) -> Result<HttpResponse, Told> {
    let token = token.into_inner();
    if token.len() > files::TOKEN_MOST {
        return Err(Code::LinkInvalid.into());
    }
    let exchange = files::of(&request)?;
    let reference = link::id_of(&token);
    let asked = files::download(&request, &exchange, token, false);
    let facts = shared.documents.to_confirm(asked.clone()).await;
    if !facts.as_ref().is_err_and(|refusal| refusal.code() == Code::LinkInvalid) {
        exchange.link.replace(Some(reference.clone()));
    }
    let facts = facts?;
    if !is_from_the_page(&request, &shared) {
        return Err(Refusal::of(Code::LinkConfirmRequired).into());
    }
    let Some(secret) = asked.cookie.clone() else {
        if !exchange.html {
            return Err(Refusal::of(Code::LinkConfirmRequired).into());
        }
        let text = pages::no_cookie(&shared.pages, &facts, reference.as_str());
        let mut response = answer(&shared, StatusCode::FORBIDDEN, &new_secret(&*shared.entropy));
        response.insert_header(("daylily-error", Code::LinkConfirmRequired.name()));
        return Ok(response.content_type("text/html; charset=utf-8").body(text));
    };
    let token = shared.documents.confirm(asked, &secret).await?;
    let to = format!("{}/d/{}", shared.base_url.path(), token.as_str());
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, value(&to))).body(NoBody::new()))
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

fn new_secret(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
