//! From the listener to the framework's HTTP/1.1: TLS where there is a certificate, then the [`Wire`], then the application. HTTP/2
//! is not spoken: none is offered by ALPN, none is upgraded to, and its preface is refused.

use std::fmt;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_server::{GracefulShutdownSignal, Server, ServerBuilder};
use actix_service::{Service as _, ServiceFactoryExt as _, apply_fn_factory, map_config};
use actix_tls::accept::TlsError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::{AppConfig, ServiceFactory, ServiceResponse, fn_service};
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};
use tokio::io::{AsyncRead, AsyncWrite};

use super::admission::{Admission, Admitted, Answering, Answers, Counted};
use super::arrival::Connection;
use super::exchange::Shared;
use super::expectation::Expectations;
use super::server::application;
use super::wire::{Patience, Wire};

/// How long a connection may take to end after its last answer.
const DISCONNECT: Duration = Duration::from_secs(1);

/// Connections that may wait to be taken; the system has a limit of its own too (`net.core.somaxconn`).
const QUEUE: i32 = 1024;

/// What all connections of a listener have in common.
#[derive(Clone)]
pub(super) struct Connections {
    /// What every worker's application shares.
    pub(super) shared: Data<Shared>,
    /// Workers that take connections.
    pub(super) workers: usize,
    /// Who has a connection.
    pub(super) admission: Arc<Admission>,
    /// How to speak TLS; `None`: not at all.
    pub(super) tls: Option<ServerConfig>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("workers", &self.workers)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

impl Connections {
    /// Takes connections of a listener. Where none can be had (no more open files) the listener rests for half a second. It takes more
    /// than there are places, so that nobody waits in the system's queue behind one that has its share.
    ///
    /// # Errors
    /// Of the listener.
    pub(super) fn serve(self, listener: TcpListener) -> std::io::Result<Server> {
        let limits = &self.shared.limits;
        let builder = ServerBuilder::new()
            .workers(self.workers)
            .max_concurrent_connections(self.admission.taken_most() / self.workers.max(1) + 1)
            .shutdown_timeout(limits.drain.as_secs())
            .disable_signals();
        let stopping = builder.graceful_shutdown_signal();
        // A worker would take nothing more while so many handshakes do not end; here places are their bound.
        actix_tls::accept::max_concurrent_tls_connect(usize::MAX);
        // Whoever comes in a crowd waits in the system's queue; beyond it their own system would try again after a second.
        rustix::net::listen(&listener, QUEUE)?;
        let builder = match self.tls.clone() {
            None => builder.listen("http", listener, move || self.plain(&stopping))?,
            Some(tls) => builder.listen("https", listener, move || self.encrypted(&stopping, tls.clone()))?,
        };
        Ok(builder.run())
    }

    fn plain(
        &self,
        stopping: &GracefulShutdownSignal,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = actix_http::error::DispatchError,
        InitError = (),
    > + use<> {
        let patience = Patience::of(&self.shared.limits);
        self.admitted()
            .map_err(actix_http::error::DispatchError::Io)
            .and_then(fn_service(move |stream: Admitted| async move {
                let (connection, peer) = (Connection::of(stream.socket(), 0), prepared(stream.socket()));
                let seat = Rc::clone(stream.seat());
                Ok((Wire::new(stream, patience, connection, Some(seat)), Protocol::Http1, peer))
            }))
            .and_then(self.http(stopping))
    }

    fn encrypted(
        &self,
        stopping: &GracefulShutdownSignal,
        tls: ServerConfig,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = TlsError<std::io::Error, actix_http::error::DispatchError>,
        InitError = (),
    > + use<> {
        let patience = Patience::of(&self.shared.limits);
        let mut acceptor = Acceptor::new(tls);
        acceptor.set_handshake_timeout(self.shared.limits.head_timeout);
        self.admitted()
            .map_err(TlsError::Tls)
            .and_then(acceptor.map_init_err(|never: ()| never).map_err(TlsError::into_service_error))
            .and_then(fn_service(move |stream: TlsStream<Admitted>| async move {
                let (admitted, session) = stream.get_ref();
                let goodbye = goodbye(session.negotiated_cipher_suite());
                let (connection, peer) = (Connection::of(admitted.socket(), goodbye), prepared(admitted.socket()));
                let seat = Rc::clone(admitted.seat());
                Ok((Wire::new(stream, patience, connection, Some(seat)), Protocol::Http1, peer))
            }))
            .and_then(self.http(stopping).map_err(TlsError::Service))
    }

    fn admitted(
        &self,
    ) -> impl ServiceFactory<TcpStream, Config = (), Response = Admitted, Error = std::io::Error, InitError = ()> + use<>
    {
        let admission = Arc::clone(&self.admission);
        fn_service(move |stream: TcpStream| {
            let admission = Arc::clone(&admission);
            async move { admission.admit(stream).await }
        })
    }

    fn http<S>(
        &self,
        stopping: &GracefulShutdownSignal,
    ) -> impl ServiceFactory<
        (Wire<S>, Protocol, Option<std::net::SocketAddr>),
        Config = (),
        Response = (),
        Error = actix_http::error::DispatchError,
        InitError = (),
    > + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (limits, stopping) = (&self.shared.limits, stopping.clone());
        let application = application(self.shared.clone());
        let application = actix_service::IntoServiceFactory::into_factory(application);
        let application = mapped(application);
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(limits.keep_alive)
            // Heads have their time on the wire, where one that is late is answered as everything else is.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT)
            .h1_allow_half_closed(false)
            .expect(Expectations(self.shared.clone()))
            .on_connect_ext(|wire: &Wire<S>, noted: &mut actix_http::Extensions| wire.note(noted))
            .finish(application)
    }
}

/// An application that does not ask what the framework believes to know of its host, and whose connections are told when an answer
/// has ended.
pub(super) fn mapped<F>(
    application: F,
) -> impl ServiceFactory<
    actix_http::Request,
    Config = (),
    Response = ServiceResponse<BoxBody>,
    Error = actix_http::Response<BoxBody>,
    InitError = (),
    Service = impl actix_web::dev::Service<
        actix_http::Request,
        Response = ServiceResponse<BoxBody>,
        Error = actix_http::Response<BoxBody>,
        Future = impl Future + 'static,
    >,
    Future = impl Future + 'static,
>
where
    F: ServiceFactory<
            actix_http::Request,
            Config = AppConfig,
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
        > + 'static,
{
    let application = application.map_err(|error| error.as_response_error().error_response().into());
    let application = map_config(application, |()| AppConfig::default());
    apply_fn_factory(application, |request: actix_http::Request, service| {
        let answering = request.conn_data::<Rc<Answers>>().map(Answering::begin);
        let answer = service.call(request);
        async move {
            let counted = |body| Counted { body, answering }.boxed();
            match answer.await {
                Ok(response) => Ok(response.map_body(|_, body| counted(body))),
                Err(response) => Err(actix_http::Response::map_body(response, |_, body| counted(body))),
            }
        }
    })
}

/// Bytes of the record by which a peer says that it will send no more (`close_notify`): head, alert of two bytes, and what the
/// protection adds (RFC 8446 §5.2, RFC 5288 §3, RFC 7905 §2). It says nothing of what the peer has read.
fn goodbye(suite: Option<SupportedCipherSuite>) -> u64 {
    const HEAD_AND_TAG: u64 = 5 + 16;
    const CHACHA: [CipherSuite; 2] = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    match suite {
        // The true type of the record is one byte more.
        Some(SupportedCipherSuite::Tls13(_)) => HEAD_AND_TAG + 2 + 1,
        Some(suite) if CHACHA.contains(&suite.suite()) => HEAD_AND_TAG + 2,
        // AES-GCM writes half of its nonce.
        _ => HEAD_AND_TAG + 2 + 8,
    }
}

/// Sends small answers at once; whom it comes from.
fn prepared(stream: &TcpStream) -> Option<std::net::SocketAddr> {
    if stream.set_nodelay(true).is_err() {
        tracing::debug!("small answers to a connection may wait");
    }
    stream.peer_addr().ok()
}
