//! `Expect: 100-continue` (RFC 9110 §10.1.1): whoever asks before sending is told to go on only where the head alone does not decide. The
//! framework says "continue" to everybody before any route has looked; here a request whose credentials or announced length will be
//! refused gets its refusal instead, from the same routes as everyone, and its connection ends: nobody knows what comes on it next.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use actix_http::header::HeaderMap;
use actix_http::{ConnectionType, Payload, Request, Response};
use actix_web::HttpMessage as _;
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceFactory, ServiceResponse};
use actix_web::http::header;
use actix_web::web::Data;

use super::accept;
use super::connections::mapped;
use super::exchange::Shared;
use super::server::application;

type Answered = Pin<Box<dyn Future<Output = Result<ServiceResponse<BoxBody>, Response<BoxBody>>>>>;
type Routes = Rc<dyn Fn(Request) -> Answered>;
type Decided = Pin<Box<dyn Future<Output = Result<Request, Response<BoxBody>>>>>;

/// Makes a worker's [`Expectation`].
#[derive(Clone)]
pub(super) struct Expectations(pub(super) Data<Shared>);

/// Answers the requests that ask before they send.
pub(super) struct Expectation {
    shared: Data<Shared>,
    routes: Routes,
}

impl ServiceFactory<Request> for Expectations {
    type Response = Request;
    type Error = Response<BoxBody>;
    type Config = ();
    type Service = Expectation;
    type InitError = ();
    type Future = Pin<Box<dyn Future<Output = Result<Expectation, ()>>>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let shared = self.0.clone();
        let application = actix_service::IntoServiceFactory::into_factory(application(shared.clone()));
        Box::pin(made(shared, mapped(application)))
    }
}

async fn made<F>(shared: Data<Shared>, routes: F) -> Result<Expectation, ()>
where
    F: ServiceFactory<
            Request,
            Config = (),
            Response = ServiceResponse<BoxBody>,
            Error = Response<BoxBody>,
            InitError = (),
        >,
    F::Service: 'static,
    <F::Service as Service<Request>>::Future: 'static,
{
    let service = routes.new_service(()).await?;
    let routes: Routes = Rc::new(move |request| Box::pin(service.call(request)));
    Ok(Expectation { shared, routes })
}

impl Service<Request> for Expectation {
    type Response = Request;
    type Error = Response<BoxBody>;
    type Future = Decided;

    actix_web::dev::always_ready!();

    fn call(&self, request: Request) -> Self::Future {
        if !is_refused_by_its_head(&self.shared, &request) {
            return Box::pin(std::future::ready(Ok(request)));
        }
        let (request, _) = request.replace_payload(Payload::None);
        let answer = (self.routes)(request);
        Box::pin(async move {
            let mut response = answer.await.map_or_else(|response| response, Response::from);
            response.head_mut().set_connection_type(ConnectionType::Close);
            Err(response)
        })
    }
}

/// Whether the routes will refuse a request whatever its body is: credentials that do not hold where some are needed, or a length
/// beyond what its route takes. Each of these they look at before the body.
fn is_refused_by_its_head(shared: &Shared, request: &Request) -> bool {
    let path = request.path();
    let below = path.strip_prefix(shared.base_url.path()).unwrap_or(path);
    let headers = request.headers();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_file = below == "/fhir/Binary" && !accept::is_fhir_body(kind);
    let most = match (is_file, accept::is_form(kind)) {
        (true, _) => shared.documents.largest_file(),
        (false, true) => shared.limits.form_body,
        (false, false) => shared.limits.json_body,
    };
    announced.is_some_and(|length| length > most)
        || (below.starts_with("/fhir/") && !is_known(shared, request, headers))
}

fn is_known(shared: &Shared, request: &Request, headers: &HeaderMap) -> bool {
    let Some(socket) = request.peer_addr() else { return false };
    let values: Vec<&[u8]> = headers.get_all(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).collect();
    shared.gate.principal(&values, shared.proxies.caller(socket.ip(), headers)).is_ok()
}
