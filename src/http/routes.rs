//! Every route, by who may call it. HEAD stands wherever GET does; every other method is answered 405 with `Allow`.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource};

use super::error::Told;
use super::exchange::Surface;
use super::files::of;
use super::{auth_routes, confirm, fhir_routes, files, operations, probe};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Kind;
use crate::fhir::tables::ResourceType;

/// Context types, which may be PUT.
const CONTEXT: &str = "Patient|Practitioner|PractitionerRole|Organization|Encounter";
/// Types of this server's own definitions.
const DEFINITIONS: &str = "StructureDefinition|CodeSystem|SearchParameter|OperationDefinition|Basic";
/// An id in a path: never the name of an operation or of a history.
const ID: &str = "{id:[^$_/][^/]*}";

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
        .service(get(&format!("/fhir/{types}/{ID}"), fhir_routes::definition))
        .service(get("/errors/{code}", operations::error_page));
}

/// Whoever holds the link.
fn whoever_holds_a_link(config: &mut ServiceConfig) {
    let links = web::resource("/d/{token:.*}").default_service(web::to(confirm::another_method));
    let links = links.route(web::get().to(files::by_link)).route(web::head().to(files::by_link));
    config.service(links.route(web::post().to(confirm::pressed))).service(get("/probe/{token}", probe::download));
}

/// Clients with an access token.
fn clients(config: &mut ServiceConfig) {
    let context = format!("/fhir/{{type:{CONTEXT}}}");
    let searchable = format!("/fhir/{{type:DocumentReference|{CONTEXT}}}");
    config
        .service(refusing("/fhir/Binary", "POST").route(web::post().to(fhir_routes::create_binary)))
        .service(get(&format!("/fhir/Binary/{ID}"), files::binary))
        .service(get("/fhir/Binary/{id}/_history/{version}", files::binary_history))
        .service(refusing(&format!("{searchable}/_search"), "POST").route(web::post().to(fhir_routes::search_form)))
        .service(
            refusing(&searchable, "GET, HEAD, POST")
                .route(web::get().to(fhir_routes::search))
                .route(web::head().to(fhir_routes::search))
                .route(web::post().to(fhir_routes::create)),
        )
        .service(get(&format!("/fhir/{{type:DocumentReference}}/{ID}"), fhir_routes::read))
        .service(
            refusing("/fhir/DocumentReference/{id}/{operation:\\$lifecycle}", "GET, HEAD, POST")
                .route(web::get().to(fhir_routes::operate))
                .route(web::head().to(fhir_routes::operate))
                .route(web::post().to(fhir_routes::operate)),
        )
        .service(
            refusing("/fhir/DocumentReference/{id}/{operation:\\$issue-link|\\$revoke|\\$acknowledge}", "POST")
                .route(web::post().to(fhir_routes::operate)),
        )
        .service(refusing("/fhir/{type:Subscription}", "POST").route(web::post().to(fhir_routes::create)))
        .service(
            refusing(&format!("/fhir/{{type:Subscription}}/{ID}"), "GET, HEAD, PUT, DELETE")
                .route(web::get().to(fhir_routes::read))
                .route(web::head().to(fhir_routes::read))
                .route(web::put().to(fhir_routes::put))
                .route(web::delete().to(fhir_routes::delete)),
        )
        .service(
            refusing("/fhir/Subscription/{id}/$webhook-secret", "POST")
                .route(web::post().to(fhir_routes::webhook_secret)),
        )
        .service(
            refusing("/fhir/DocumentReference/{id}/{operation:\\$hold|\\$release-hold}", "POST")
                .route(web::post().to(fhir_routes::operators_only)),
        )
        .service(
            refusing(&format!("{context}/{ID}"), "GET, HEAD, PUT")
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
    let steps = fhir_steps(request.uri().path());
    let is_own = !steps.iter().any(|step| step.starts_with(['$', '_']));
    match (steps.first().filter(|name| is_own && ResourceType::parse(name).is_some()), steps.len()) {
        (Some(kind), length) => match interaction(request.method(), length > 1) {
            Some(interaction) => not_offered(interaction, kind).with_status(405).with_allow(methods),
            None => not_allowed(methods),
        },
        _ => not_allowed(methods),
    }
}

/// The RESTful interaction that a method means on a type or an instance (FHIR R4 http §3.1.0), where it is one.
fn interaction(method: &Method, on_instance: bool) -> Option<&'static str> {
    match (method, on_instance) {
        (&Method::GET | &Method::HEAD, true) => Some("read"),
        (&Method::GET | &Method::HEAD, false) => Some("search"),
        (&Method::POST, false) => Some("create"),
        (&Method::PUT, _) => Some("update"),
        (&Method::PATCH, _) => Some("patch"),
        (&Method::DELETE, _) => Some("delete"),
        _ => None,
    }
}

fn not_offered(interaction: &str, kind: &str) -> Refusal {
    Refusal::new(Issue::new(Code::InteractionUnsupported).fill("interaction", interaction).fill("type", kind))
}

/// The steps of a path behind `/fhir`, wherever the base puts that.
fn fhir_steps(path: &str) -> Vec<&str> {
    path.split('/').skip_while(|step| *step != "fhir").skip(1).take(STEPS_MOST).collect()
}

/// Steps of a path that are looked at.
const STEPS_MOST: usize = 5;

/// 405 with `Allow`.
pub(super) fn not_allowed(methods: &'static str) -> Refusal {
    Refusal::new(Issue::new(Code::MethodNotAllowed).fill("method", "This method")).with_allow(methods)
}

/// What no route matches. Below `/fhir` it may be a type, an operation or an interaction of R4 that this server does not offer;
/// an id that cannot be one is just not there.
pub(super) async fn unknown(request: HttpRequest) -> Result<actix_web::HttpResponse, Told> {
    let exchange = of(&request)?;
    if exchange.surface != Surface::Fhir {
        return Err(Code::PathUnknown.into());
    }
    Err(unknown_below_fhir(request.method(), &fhir_steps(request.uri().path())).into())
}

fn unknown_below_fhir(method: &Method, steps: &[&str]) -> Refusal {
    let unsupported = |interaction: &str, kind: &str| not_offered(interaction, kind).with_status(404);
    let operation = steps.iter().any(|step| step.starts_with('$'));
    match steps {
        [] if *method == Method::POST => unsupported("batch and transaction", "the base"),
        [] => unsupported("search", "the base"),
        [first, ..] if first.starts_with('$') => unsupported("this operation", "the base"),
        ["_history", ..] => unsupported("history", "the base"),
        ["_search", ..] => unsupported("search", "the base"),
        [name, rest @ ..] => match ResourceType::parse(name).map(ResourceType::as_str) {
            None => Refusal::of(Code::PathUnknown),
            Some(kind) if operation => unsupported("this operation", kind),
            Some(kind) if rest.contains(&"_history") => unsupported("history", kind),
            Some(kind) if rest.contains(&"_search") => unsupported("search", kind),
            Some(kind) if rest.len() < 2 && Kind::parse(kind).is_none() => {
                unsupported(interaction(method, !rest.is_empty()).unwrap_or("any interaction"), kind)
            }
            Some(_) if rest.len() == 1 => Refusal::of(Code::ResourceNotFound),
            Some(_) => Refusal::of(Code::PathUnknown),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_offered_is_named_as_fhir_names_it() {
        for (method, path, code, text) in [
            (Method::GET, "/fhir", "interaction-unsupported", "search on the base"),
            (Method::POST, "/fhir", "interaction-unsupported", "batch and transaction on the base"),
            (Method::GET, "/sub/fhir/Observation/1", "interaction-unsupported", "read on Observation"),
            (Method::POST, "/fhir/Observation", "interaction-unsupported", "create on Observation"),
            (Method::GET, "/fhir/Patient/1/_history", "interaction-unsupported", "history on Patient"),
            (
                Method::POST,
                "/fhir/DocumentReference/$unknown",
                "interaction-unsupported",
                "operation on DocumentReference",
            ),
            (Method::POST, "/fhir/$versions", "interaction-unsupported", "operation on the base"),
            (Method::GET, "/fhir/Nonsense", "path-unknown", "Nothing"),
            (Method::GET, "/fhir/DocumentReference/_x", "resource-not-found", "No such"),
            (Method::GET, "/fhir/Patient/1/2", "path-unknown", "Nothing"),
        ] {
            let refusal = unknown_below_fhir(&method, &fhir_steps(path));
            assert_eq!((refusal.status(), refusal.code().name()), (404, code), "{path}");
            assert!(refusal.first().message().contains(text), "{path}: {}", refusal.first().message());
        }
    }
}
