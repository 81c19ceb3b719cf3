//! Every route, by who may call it. HEAD stands wherever GET does; every other method is answered 405 with `Allow`.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource};

use super::error::Told;
use super::files::of;
use super::{auth_routes, fhir_routes, files, operations};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Kind;

/// Context types, which may be PUT.
const CONTEXT: &str = "Patient|Practitioner|PractitionerRole|Organization|Encounter";
/// Types of this server's own definitions.
const DEFINITIONS: &str =
    "StructureDefinition|CodeSystem|ValueSet|SearchParameter|OperationDefinition|CapabilityStatement|Basic";

/// All of them.
pub(super) fn all(config: &mut ServiceConfig) {
    open(config);
    whoever_holds_a_link(config);
    clients(config);
    operators(config);
}

/// Open to everyone.
fn open(config: &mut ServiceConfig) {
    let types = format!("{{type:{DEFINITIONS}}}");
    config
        .service(get("/fhir/metadata", fhir_routes::metadata))
        .service(get("/fhir/.well-known/smart-configuration", auth_routes::smart_configuration))
        .service(get("/.well-known/openid-configuration", auth_routes::authorization_server))
        .service(get("/.well-known/oauth-authorization-server", auth_routes::authorization_server))
        .service(get("/auth/jwks", auth_routes::jwks))
        .service(refusing("/auth/token", "POST").route(web::post().to(auth_routes::token)))
        .service(get(&format!("/fhir/{types}"), fhir_routes::definitions))
        .service(get(&format!("/fhir/{types}/{{id}}"), fhir_routes::definition))
        .service(get("/errors/{code}", operations::error_page));
}

/// Whoever holds the link.
fn whoever_holds_a_link(config: &mut ServiceConfig) {
    config.service(get("/d/{token}", files::link));
}

/// Clients with an access token.
fn clients(config: &mut ServiceConfig) {
    let context = format!("/fhir/{{type:{CONTEXT}}}");
    let searchable = format!("/fhir/{{type:DocumentReference|{CONTEXT}}}");
    config
        .service(refusing("/fhir/Binary", "POST").route(web::post().to(fhir_routes::create_binary)))
        .service(get("/fhir/Binary/{id}", files::binary))
        .service(get("/fhir/Binary/{id}/_history/{version}", files::binary_history))
        .service(refusing(&format!("{searchable}/_search"), "POST").route(web::post().to(fhir_routes::search_form)))
        .service(
            refusing(&searchable, "GET, HEAD, POST")
                .route(web::get().to(fhir_routes::search))
                .route(web::head().to(fhir_routes::search))
                .route(web::post().to(fhir_routes::create)),
        )
        .service(get("/fhir/{type:DocumentReference}/{id}", fhir_routes::read))
        .service(
            refusing("/fhir/DocumentReference/{id}/{operation:\\$[a-z-]+}", "GET, HEAD, POST")
                .route(web::get().to(fhir_routes::operate))
                .route(web::head().to(fhir_routes::operate))
                .route(web::post().to(fhir_routes::operate)),
        )
        .service(
            refusing(&format!("{context}/{{id}}"), "GET, HEAD, PUT")
                .route(web::get().to(fhir_routes::read))
                .route(web::head().to(fhir_routes::read))
                .route(web::put().to(fhir_routes::put)),
        );
}

/// Whoever runs the server.
fn operators(config: &mut ServiceConfig) {
    config
        .service(get("/livez", operations::livez))
        .service(get("/readyz", operations::readyz))
        .service(get("/metrics", operations::metrics));
}

/// A resource that is only read.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: actix_web::Handler<Args> + Clone,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    refusing(path, "GET, HEAD").route(web::get().to(handler.clone())).route(web::head().to(handler))
}

/// A resource that refuses every method but those listed.
fn refusing(path: &str, methods: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| async move {
        Err::<actix_web::HttpResponse, _>(Told(refused(&request, methods)))
    }))
}

/// 405 with `Allow`. On a FHIR type it is the interaction that is not offered.
fn refused(request: &HttpRequest, methods: &'static str) -> Refusal {
    let kind = request.match_info().get("type").and_then(Kind::parse).or_else(|| {
        let pattern = request.match_pattern()?;
        Kind::parse(pattern.strip_prefix("/fhir/")?.split('/').next()?)
    });
    let interaction = match *request.method() {
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::GET | Method::HEAD => "search",
        _ => return not_allowed(methods),
    };
    match kind {
        Some(kind) => {
            let issue =
                Issue::new(Code::InteractionUnsupported).fill("interaction", interaction).fill("type", kind.as_str());
            Refusal::new(issue).with_allow(methods)
        }
        None => not_allowed(methods),
    }
}

/// 405 with `Allow`.
pub(super) fn not_allowed(methods: &'static str) -> Refusal {
    Refusal::new(Issue::new(Code::MethodNotAllowed).fill("method", "This method")).with_allow(methods)
}

/// What no route matches. Below a type that is served, it is the interaction that is not.
pub(super) async fn unknown(request: HttpRequest) -> Result<actix_web::HttpResponse, Told> {
    of(&request)?;
    Err(Code::PathUnknown.into())
}
