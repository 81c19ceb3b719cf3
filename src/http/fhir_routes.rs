//! `/fhir`: a request made into a call of [`Documents`](super::ports::Documents), its result into an answer. Who calls is asked first, then what.

use std::rc::Rc;

use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::accept::{self, FHIR_JSON, ShownAfterWrite};
use super::body::{self, Raw};
use super::content_digest;
use super::error::{Told, value};
use super::exchange::Shared;
use super::files::{http_date, in_memory, of, resource_id};
use super::ports::{Caller, NewUpload, Operation, OperationInput, ResourceText, Written};
use super::pretty::pretty;
use crate::domain::operator::Act;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Kind;

/// Longest `Idempotency-Key`, in characters (contract, Documents).
const KEY_MOST: usize = 128;

/// Longest text that is broken into lines on request: nobody reads a longer one by eye, and breaking it would hold its worker.
const PRETTY_MOST: usize = 256 * 1024;

type Answer = Result<HttpResponse, Told>;

/// A header as text.
pub(super) fn header_text(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// A parameter of the query; the first of its name.
pub(super) fn query_value(request: &HttpRequest, name: &str) -> Option<String> {
    let mut found = url::form_urlencoded::parse(request.query_string().as_bytes()).filter(|(key, _)| key == name);
    found.next().map(|(_, value)| value.into_owned())
}

/// Who calls. Noted for the log and for counting.
///
/// # Errors
/// `token-…`, `credentials-misplaced`, `network-not-allowed`; `rate-limited`.
pub(super) fn caller(request: &HttpRequest, shared: &Shared) -> Result<Caller, Refusal> {
    let exchange = of(request)?;
    let values: Vec<&[u8]> = request.headers().get_all(header::AUTHORIZATION).map(|value| value.as_bytes()).collect();
    let principal = shared.gate.principal(&values, exchange.address).map_err(|denied| {
        exchange.case.set(Some(denied.case));
        Rc::clone(&exchange).client.replace(denied.client);
        denied.refusal
    })?;
    exchange.client.replace(Some(principal.client.clone()));
    shared.client_rate.count(&principal.client)?;
    Ok(Caller { principal, request: exchange.id.clone(), address: exchange.address })
}

/// The caller of a route that answers FHIR JSON.
fn json_caller(request: &HttpRequest, shared: &Shared) -> Result<Caller, Refusal> {
    let caller = caller(request, shared)?;
    accept::fhir_json(header_text(request, header::ACCEPT), query_value(request, "_format").as_deref())?;
    Ok(caller)
}

fn kind(name: &str) -> Result<Kind, Refusal> {
    Kind::parse(name).ok_or_else(|| Refusal::of(Code::PathUnknown))
}

/// FHIR JSON, with line breaks where `_pretty=true` asks for them.
pub(super) fn json(request: &HttpRequest, status: StatusCode, text: String) -> HttpResponse {
    let is_pretty = text.len() <= PRETTY_MOST && query_value(request, "_pretty").as_deref() == Some("true");
    let text = if is_pretty { pretty(&text) } else { text };
    HttpResponse::build(status).content_type(FHIR_JSON).body(text)
}

fn resource(request: &HttpRequest, shown: ResourceText) -> HttpResponse {
    let (version, updated) = (shown.version, shown.updated);
    let mut response = json(request, StatusCode::OK, shown.text);
    versioned(&mut response, version, updated);
    in_memory(response, shown.memory)
}

fn versioned(response: &mut HttpResponse, version: u32, updated: crate::domain::clock::Timestamp) {
    response.headers_mut().insert(header::ETAG, value(&format!("W/\"{version}\"")));
    response.headers_mut().insert(header::LAST_MODIFIED, value(&http_date(updated)));
}

/// The answer to a write. `memory` is what was taken for the body that it was made of: the answer shows it again, and holds it as long.
fn written(request: &HttpRequest, shared: &Shared, written: Written, memory: impl Unpin + 'static) -> HttpResponse {
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let shown = written.resource;
    let location = format!("/fhir/{}/{}/_history/{}", shown.kind.as_str(), shown.id, shown.version);
    let mut response = match preferences(request).shown {
        ShownAfterWrite::Representation => json(request, status, shown.text),
        ShownAfterWrite::Outcome => json(request, status, written.outcome),
        ShownAfterWrite::Minimal => HttpResponse::new(status),
    };
    versioned(&mut response, shown.version, shown.updated);
    response.headers_mut().insert(header::LOCATION, value(&shared.base_url.join(&location)));
    in_memory(response, memory)
}

fn preferences(request: &HttpRequest) -> accept::Preferences {
    let lines: Vec<&str> = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok()).collect();
    accept::preferences(Some(&lines.join(",")))
}

fn idempotency(request: &HttpRequest) -> Result<Option<&str>, Refusal> {
    let name = "Idempotency-Key";
    let mut values = request.headers().get_all("idempotency-key");
    let Some(first) = values.next() else { return Ok(None) };
    let plain =
        first.to_str().ok().filter(|text| (1..=KEY_MOST).contains(&text.chars().count()) && values.next().is_none());
    plain.map(Some).ok_or_else(|| {
        let issue = Issue::new(Code::ParameterMalformed).at_http(name);
        issue
            .fill("fault", "must be 1 to 128 visible ASCII characters, once")
            .fill("example", "8e03978e-40d5-43dd")
            .into()
    })
}

/// `If-Match`: one version, weak or strong; `*` asks for nothing that could differ.
fn if_match(request: &HttpRequest) -> Result<Option<u32>, Refusal> {
    let Some(text) = header_text(request, header::IF_MATCH).map(str::trim).filter(|text| *text != "*") else {
        return Ok(None);
    };
    let inner = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.and_then(|version| version.parse().ok()).map(Some).ok_or_else(|| {
        let issue = Issue::new(Code::ParameterMalformed).at_http("If-Match");
        issue.fill("fault", "is not one entity tag of a version").fill("example", "W/\"3\"").into()
    })
}

/// `GET`, `HEAD` `[type]/[id]`.
pub(super) async fn read(request: HttpRequest, shared: Data<Shared>, path: Path<(String, String)>) -> Answer {
    let caller = json_caller(&request, &shared)?;
    let (kind, id) = (kind(&path.0)?, resource_id(&path.1)?);
    let shown = shared.documents.read(&caller, kind, &id, &shared.body_memory).await?;
    Ok(resource(&request, shown))
}

/// `GET`, `HEAD` `[type]?…`.
pub(super) async fn search(request: HttpRequest, shared: Data<Shared>, path: Path<String>) -> Answer {
    let caller = json_caller(&request, &shared)?;
    let parameters = body::pairs(request.query_string().as_bytes());
    found(&request, &shared, &caller, &path, parameters).await
}

/// `POST [type]/_search`: parameters of the form and of the query count alike.
pub(super) async fn search_form(
    request: HttpRequest,
    shared: Data<Shared>,
    path: Path<String>,
    payload: Payload,
) -> Answer {
    let caller = json_caller(&request, &shared)?;
    let mut parameters = body::pairs(request.query_string().as_bytes());
    parameters.extend(body::form(&shared, &request, payload, &caller.holder()).await?);
    found(&request, &shared, &caller, &path, parameters).await
}

async fn found(
    request: &HttpRequest,
    shared: &Shared,
    caller: &Caller,
    name: &str,
    parameters: Vec<(String, String)>,
) -> Answer {
    if parameters.len() > shared.limits.query_parameters {
        let issue = Issue::new(Code::RequestTooLarge).fill("part", "number of parameters");
        return Err(Refusal::from(issue.fill("limit", shared.limits.query_parameters)).into());
    }
    let strict = preferences(request).strict;
    let _place = shared.searches.take(&caller.holder()).await?;
    let bundle = shared.documents.search(caller, kind(name)?, parameters, strict, &shared.body_memory).await?;
    Ok(in_memory(json(request, StatusCode::OK, bundle.text), bundle.memory))
}

/// `POST [type]`.
pub(super) async fn create(request: HttpRequest, shared: Data<Shared>, path: Path<String>, payload: Payload) -> Answer {
    let caller = json_caller(&request, &shared)?;
    let (kind, key) = (kind(&path)?, idempotency(&request)?);
    let body = body::fhir(&shared, &request, payload, &caller.holder()).await?;
    let result = shared.documents.create(&caller, kind, &body, key).await?;
    Ok(written(&request, &shared, result, body))
}

/// `POST Binary`: FHIR JSON is the resource, anything else the bytes themselves.
pub(super) async fn create_binary(request: HttpRequest, shared: Data<Shared>, payload: Payload) -> Answer {
    let caller = json_caller(&request, &shared)?;
    let (media, key) = (body::content_type(&request).to_owned(), idempotency(&request)?);
    let _place = shared.uploads.take(&caller.holder()).await?;
    if accept::is_fhir_body(&media) {
        let body = body::fhir(&shared, &request, payload, &caller.holder()).await?;
        let result = shared.documents.create(&caller, Kind::Binary, &body, key).await?;
        return Ok(written(&request, &shared, result, body));
    }
    if media.is_empty() || accept::is_fhir_type(&media) {
        return Err(accept::media_type_unsupported("application/fhir+json, or the media type of the file").into());
    }
    let head = NewUpload {
        media_type: media,
        security_context: header_text(&request, HeaderName::from_static("x-security-context")).map(str::to_owned),
        idempotency: key.map(str::to_owned),
        length: body::announced(&request),
        sha256: content_digest::announced(request.headers())?,
    };
    let mut raw = Raw::new(&shared, &request, payload)?;
    let result = shared.documents.upload(&caller, head, &mut raw).await?;
    Ok(written(&request, &shared, result, ()))
}

/// `PUT [type]/[id]`.
pub(super) async fn put(
    request: HttpRequest,
    shared: Data<Shared>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Answer {
    let caller = json_caller(&request, &shared)?;
    let (kind, version) = (kind(&path.0)?, if_match(&request)?);
    let Some(id) = crate::domain::id::ResourceId::parse(&path.1) else {
        let issue = Issue::new(Code::ParameterMalformed).at_http("id");
        return Err(
            Refusal::from(issue.fill("fault", "is not 1 to 64 of A-Z a-z 0-9 - .").fill("example", "pat-1")).into()
        );
    };
    let body = body::fhir(&shared, &request, payload, &caller.holder()).await?;
    let result = shared.documents.put(&caller, kind, &id, &body, version).await?;
    Ok(written(&request, &shared, result, body))
}

/// `POST DocumentReference/[id]/$…`; `$lifecycle` by GET too.
pub(super) async fn operate(
    request: HttpRequest,
    shared: Data<Shared>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Answer {
    let caller = json_caller(&request, &shared)?;
    let operation = match &*path.1 {
        "$issue-link" => Operation::IssueLink,
        "$revoke" => Operation::Revoke,
        "$lifecycle" => Operation::Lifecycle,
        "$acknowledge" => Operation::Acknowledge,
        _ => return Err(Code::PathUnknown.into()),
    };
    let id = resource_id(&path.0)?;
    let _place = match operation {
        Operation::Lifecycle => Some(shared.waits.take(&caller.holder()).await?),
        _ => None,
    };
    let by_query = request.method() != Method::POST;
    let body = if by_query {
        body::Whole::none()
    } else {
        body::fhir_or_none(&shared, &request, payload, &caller.holder()).await?
    };
    let query = body::pairs(request.query_string().as_bytes());
    // HEAD asks how things are, and has nowhere to put what came of a wait.
    let left_out =
        |name: &str| matches!(name, "_format" | "_pretty") || (name == "wait" && request.method() == Method::HEAD);
    let query = query.into_iter().filter(|(name, _)| !left_out(name)).collect();
    let input = if by_query { OperationInput::Query(query) } else { OperationInput::Body(&body) };
    let told = shared.documents.operate(&caller, &id, operation, input, &shared.body_memory).await?;
    Ok(in_memory(json(&request, StatusCode::OK, told.text), told.memory))
}

/// `POST DocumentReference/[id]/$hold`, `$release-hold`: acts of people with a role, by command; no token of a client gives one
/// (contract, Who may do what). Told without looking at any document.
pub(super) async fn operators_only(request: HttpRequest, shared: Data<Shared>) -> Answer {
    json_caller(&request, &shared)?;
    Err(Refusal::from(Issue::new(Code::RoleInsufficient).fill("roles", Act::Hold.roles_in_words())).into())
}

/// `DELETE Subscription/[id]`.
pub(super) async fn delete(request: HttpRequest, shared: Data<Shared>, path: Path<(String, String)>) -> Answer {
    let caller = json_caller(&request, &shared)?;
    shared.documents.delete_subscription(&caller, &resource_id(&path.1)?).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// `POST Subscription/[id]/$webhook-secret`: the answer is shown once and must not be kept on its way.
pub(super) async fn webhook_secret(
    request: HttpRequest,
    shared: Data<Shared>,
    path: Path<String>,
    payload: Payload,
) -> Answer {
    let caller = json_caller(&request, &shared)?;
    let id = resource_id(&path)?;
    let body = body::fhir_or_none(&shared, &request, payload, &caller.holder()).await?;
    let text = shared.documents.webhook_secret(&caller, &id, &body).await?;
    let mut response = json(&request, StatusCode::OK, text);
    response.headers_mut().insert(header::CACHE_CONTROL, value("no-store"));
    Ok(response)
}

/// `GET`, `HEAD` `metadata`.
pub(super) async fn metadata(request: HttpRequest, shared: Data<Shared>) -> Answer {
    accept::fhir_json(header_text(&request, header::ACCEPT), query_value(&request, "_format").as_deref())?;
    let mut response = json(&request, StatusCode::OK, shared.documents.metadata());
    response.headers_mut().insert(header::CACHE_CONTROL, value("public, max-age=300"));
    Ok(response)
}

/// `GET`, `HEAD` `{definition type}/{id}`: public, like what it defines.
pub(super) async fn definition(request: HttpRequest, shared: Data<Shared>, path: Path<(String, String)>) -> Answer {
    accept::fhir_json(header_text(&request, header::ACCEPT), query_value(&request, "_format").as_deref())?;
    let text = shared.documents.definition(&path.0, &path.1).ok_or(Code::ResourceNotFound)?;
    Ok(json(&request, StatusCode::OK, text))
}

/// `GET`, `HEAD` `{definition type}?url=…`.
pub(super) async fn definitions(request: HttpRequest, shared: Data<Shared>, path: Path<String>) -> Answer {
    accept::fhir_json(header_text(&request, header::ACCEPT), query_value(&request, "_format").as_deref())?;
    let url = query_value(&request, "url");
    let text = shared.documents.definitions(&path, url.as_deref()).ok_or(Code::PathUnknown)?;
    Ok(json(&request, StatusCode::OK, text))
}
