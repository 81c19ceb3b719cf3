//! For whoever runs the server: whether it lives, whether it is ready, its metrics, and what each code means.

use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::error::Told;
use super::exchange::Shared;
use super::files::of;
use super::pages;
use super::pools::Pools;
use crate::domain::refusal::Code;
use crate::telemetry::Metrics;

/// Content type of Prometheus' text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/livez`: the process answers.
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `/readyz`: it can serve; 503 with the part that is missing, while starting, draining, or without its store.
pub(super) async fn readyz(shared: Data<Shared>) -> HttpResponse {
    match shared.documents.ready().await {
        Ok(None) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n"),
        // Still 200: reading goes on, and taking the server out of service would end that too.
        Ok(Some(less)) => {
            HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(format!("degraded: {less}\n"))
        }
        Err(part) => HttpResponse::ServiceUnavailable()
            .insert_header((header::RETRY_AFTER, 2))
            .content_type("text/plain; charset=utf-8")
            .body(format!("not ready: {part}\n")),
    }
}

/// `/metrics` on the main listener: for this machine only, by the connection itself and by what a trusted proxy says; to
/// everyone else, and where metrics have a listener of their own, there is nothing here.
pub(super) async fn metrics(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Told> {
    let exchange = of(&request)?;
    let local = exchange.socket.is_loopback() && exchange.address.is_loopback() && !forwarded(&request);
    match shared.metrics.as_ref().filter(|_| local) {
        Some(metrics) => Ok(metrics_text(metrics, &Pools::of(&shared))),
        None => Err(Code::PathUnknown.into()),
    }
}

/// A proxy on this machine that is not configured as one would make every caller look local.
fn forwarded(request: &HttpRequest) -> bool {
    ["x-forwarded-for", "forwarded", "x-real-ip", "via"].iter().any(|name| request.headers().contains_key(*name))
}

/// `/metrics` of the listener for metrics.
pub(super) async fn metrics_alone(metrics: Data<Metrics>, pools: Data<Pools>) -> HttpResponse {
    metrics_text(&metrics, &pools)
}

fn metrics_text(metrics: &Metrics, pools: &Pools) -> HttpResponse {
    pools.tell();
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type(METRICS_TEXT)
        .body(metrics.render())
}

/// `/errors/{code}`: what it means and what helps.
pub(super) async fn error_page(
    request: HttpRequest,
    shared: Data<Shared>,
    name: Path<String>,
) -> Result<HttpResponse, Told> {
    let code = Code::from_name(&name).ok_or(Code::PathUnknown)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "public, max-age=3600")).insert_header((header::VARY, "Accept"));
    if of(&request)?.html {
        response.insert_header((header::CONTENT_SECURITY_POLICY, pages::POLICY));
        return Ok(response.content_type("text/html; charset=utf-8").body(pages::code(&shared.pages, code)));
    }
    let entry = code.entry();
    let body = json!({ "code": entry.name, "status": entry.status, "message": entry.message, "cure": entry.cure });
    Ok(response.content_type("application/json").body(body.to_string()))
}
