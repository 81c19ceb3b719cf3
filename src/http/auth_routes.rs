//! `/auth` and discovery: forms in, JSON out.

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::body;
use super::error::Told;
use super::exchange::Shared;
use super::files::of;
use super::peer::prefix;
use super::ports::TokenForm;
use crate::domain::holder::Holder;

/// How long discovery and keys may be kept: short, so that a rotation is seen soon.
const OPEN: &str = "public, max-age=300";

/// `POST /auth/token`.
pub(super) async fn token(request: HttpRequest, shared: Data<Shared>, payload: Payload) -> Result<HttpResponse, Told> {
    let exchange = of(&request)?;
    let form = body::form(&shared, &request, payload, &Holder::Network(prefix(exchange.address))).await?;
    let asked = TokenForm {
        form: &form,
        authorization_header: request.headers().contains_key(header::AUTHORIZATION),
        address: exchange.address,
        request: exchange.id.clone(),
    };
    let granted = shared.gate.token(asked).await.map_err(|denied| {
        exchange.case.set(Some(denied.case));
        exchange.client.replace(denied.client);
        denied.refusal
    })?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store")).insert_header((header::PRAGMA, "no-cache"));
    Ok(response.content_type("application/json").body(granted))
}

/// `/auth/jwks`.
pub(super) async fn jwks(shared: Data<Shared>) -> HttpResponse {
    open(shared.gate.jwks())
}

/// `/fhir/.well-known/smart-configuration`.
pub(super) async fn smart_configuration(shared: Data<Shared>) -> HttpResponse {
    open(shared.gate.smart_configuration())
}

/// `/.well-known/openid-configuration`.
pub(super) async fn authorization_server(shared: Data<Shared>) -> HttpResponse {
    open(shared.gate.authorization_server())
}

fn open(text: String) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, OPEN)).content_type("application/json").body(text)
}
