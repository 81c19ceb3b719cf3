//! Starts the listeners: main, and for metrics where one is set. What all workers share is made once, outside their factory.

use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{App, Error, HttpServer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::admission::{Admission, WAITING_MOST};
use super::arrival::Watches;
use super::client_rate::ClientRate;
use super::connections::Connections;
use super::exchange::{Shared, exchange};
use super::peer::Proxies;
use super::pools::Pools;
use super::ports::{Documents, Gate};
use super::probe::Probes;
use super::refusals::Refusals;
use super::{operations, routes, send_queue};
use crate::config::{BaseUrl, Settings, Tls};
use crate::domain::clock::{Clock, Entropy};
use crate::domain::holder::Shares;
use crate::shares::Places;
use crate::telemetry::Metrics;

/// What the server is made of.
#[derive(Debug)]
pub struct HttpParts {
    /// Use cases.
    pub documents: Arc<dyn Documents>,
    /// Who may call.
    pub gate: Arc<dyn Gate>,
    /// Settings of the process.
    pub settings: Arc<Settings>,
    /// The base URL that holds ([`Settings::base_url`] with the port listened on).
    pub base_url: BaseUrl,
    /// The recorder's metrics.
    pub metrics: Metrics,
    /// Counts refusals of nobody known; the caller drains it each minute.
    pub refusals: Arc<Refusals>,
    /// Test downloads of operators.
    pub probes: Arc<Probes>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for request ids.
    pub entropy: Arc<dyn Entropy>,
}

/// Why the server did not start. Texts name settings, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum StartFailed {
    /// A listener could not be used.
    #[error("the listener cannot be used: {0}")]
    Listen(#[from] std::io::Error),
    /// Certificate or key.
    #[error("`[server] tls` cannot be used: {0}")]
    Tls(String),
}

/// A running server.
pub struct Server {
    handles: Vec<ServerHandle>,
    running: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
    watches: Arc<Watches>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listeners", &self.handles.len()).finish_non_exhaustive()
    }
}

impl Server {
    /// Takes no more connections, lets running requests finish within `[limits] drain`, then ends.
    pub async fn stop(self) {
        self.watches.stop();
        for handle in &self.handles {
            handle.stop(true).await;
        }
        for task in self.running {
            if let Ok(Err(error)) = task.await {
                tracing::error!(kind = ?error.kind(), "listener ended with an error");
            }
        }
        self.watches.ended().await;
    }

    /// Cuts everything at once (a second signal).
    pub async fn abort(self) {
        for handle in &self.handles {
            handle.stop(false).await;
        }
    }
}

/// Starts to serve on bound listeners: the main one, and one for metrics where `[server] metrics-listen` is set. Must run within
/// a Tokio runtime; signals are the caller's.
///
/// # Errors
/// [`StartFailed`].
pub fn start(
    parts: HttpParts,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
) -> Result<Server, StartFailed> {
    let shared = shared(&parts, metrics_listener.is_none());
    let watches = Arc::clone(&shared.watches);
    let pools = Pools::of(&shared);
    let mut servers = vec![main_server(&parts, shared, listener)?];
    if let Some(listener) = metrics_listener {
        servers.push(metrics_server(parts.metrics, pools, listener)?);
    }
    let handles = servers.iter().map(actix_web::dev::Server::handle).collect();
    let running = servers.into_iter().map(tokio::spawn).collect();
    Ok(Server { handles, running, watches })
}

pub(super) fn shared(parts: &HttpParts, metrics_here: bool) -> Data<Shared> {
    let (settings, limits) = (&parts.settings, &parts.settings.limits);
    let shares = Shares { caller: limits.caller_share, link: limits.link_share };
    let places = |size| Places::new(size, shares, Some(limits.turn_wait));
    let count = |number| places(u64::try_from(number).unwrap_or(u64::MAX));
    Data::new(Shared {
        documents: Arc::clone(&parts.documents),
        gate: Arc::clone(&parts.gate),
        base_url: parts.base_url.clone(),
        behind_proxy: settings.server.behind_proxy,
        listens_on_loopback: settings.listens_on_loopback(),
        proxies: Proxies { trusted: settings.server.trusted_proxies.clone(), header: settings.server.forwarded_header },
        origins: settings.links.origins.clone(),
        pages: settings.pages.clone(),
        limits: limits.clone(),
        metrics: metrics_here.then(|| parts.metrics.clone()),
        clock: Arc::clone(&parts.clock),
        entropy: Arc::clone(&parts.entropy),
        refusals: Arc::clone(&parts.refusals),
        downloads: count(limits.downloads),
        watches: Arc::new(Watches::new(count(connections(limits.connections)), Arc::clone(&parts.clock))),
        probes: Arc::clone(&parts.probes),
        uploads: count(limits.uploads),
        waits: count(limits.waits),
        searches: count(searches(limits.searches)),
        bodies: count(connections(limits.connections)),
        body_memory: places(limits.body_memory),
        client_rate: ClientRate::new(Arc::clone(&parts.clock), limits.client_requests),
    })
}

/// One worker's application. Where the base URL has a path, everything is served below it, and at the root too, since some
/// proxies strip it.
pub(super) fn application(
    shared: Data<Shared>,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>,
> {
    let below = shared.base_url.path().to_owned();
    let app = App::new().app_data(shared).wrap(from_fn(exchange)).default_service(web::to(routes::unknown));
    app.configure(move |config| {
        if !below.is_empty() {
            config.service(web::scope(&below).configure(routes::all));
        }
        routes::all(config);
    })
}

fn main_server(
    parts: &HttpParts,
    shared: Data<Shared>,
    listener: TcpListener,
) -> Result<actix_web::dev::Server, StartFailed> {
    let limits = &parts.settings.limits;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    cut_stalled(&listener, limits.write_stall);
    send_queue::keep_small(&listener);
    let tls = parts.settings.server.tls.as_ref().map(tls_config).transpose()?;
    let trusted = if shared.behind_proxy { shared.proxies.trusted.clone() } else { Vec::new() };
    let admission = Arc::new(Admission::new(connections(limits.connections), limits, trusted));
    let connections = Connections { shared, workers, admission, tls };
    Ok(connections.serve(listener)?)
}

fn metrics_server(
    metrics: Metrics,
    pools: Pools,
    listener: TcpListener,
) -> Result<actix_web::dev::Server, StartFailed> {
    let (metrics, pools) = (Data::new(metrics), Data::new(pools));
    let app = move || App::new().app_data(metrics.clone()).app_data(pools.clone());
    let make = move || app().route("/metrics", web::get().to(operations::metrics_alone));
    Ok(HttpServer::new(make).workers(1).max_connections(16).disable_signals().listen(listener)?.run())
}

/// A reader that takes nothing is cut by the kernel: the framework polls a body only while its buffer has room, so nothing above
/// the socket would notice (`TCP_USER_TIMEOUT`, RFC 5482; on Linux it covers closed windows too). Connections inherit it from
/// the listener, those under TLS too.
fn cut_stalled(listener: &TcpListener, stall: Duration) {
    let millis = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
    #[cfg(target_os = "linux")]
    if rustix::net::sockopt::set_tcp_user_timeout(listener, millis).is_err() {
        tracing::warn!("readers that take nothing cannot be cut on this system");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (listener, millis);
}

/// Searches that run at a time: as set, or as many as keep the processors busy while some wait for their commit.
fn searches(wanted: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if wanted > 0 { wanted } else { processors.saturating_mul(2).max(4) }
}

/// Files that the process keeps open beside connections: database, log, workers, sockets of its own.
const OTHER_FILES: u64 = 128;

/// Files that one connection may need.
const FILES_EACH: u64 = 4;

/// Connections at a time: what settings say, as far as the limit on open files goes. That is raised as far as the system lets
/// it first; a connection may need three more: the file that it sends, the descriptor by which its end is watched, and
/// that of a watch that outlives it; and beside them some wait for their place, and as many are closing.
fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let others = 2 * u64::try_from(WAITING_MOST).unwrap_or(u64::MAX);
    let room = files.map_or(u64::MAX, |files| {
        let files = files.saturating_sub(OTHER_FILES);
        // No more wait, and no more are closing, than there are places.
        (files.saturating_sub(others) / FILES_EACH).max(files / (FILES_EACH + 2))
    });
    let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
    if room < wanted {
        tracing::warn!(
            wanted,
            connections = room,
            "fewer connections than settings say: raise the limit on open files"
        );
    }
    wanted.min(room)
}

/// TLS 1.2 and 1.3, HTTP/1.1 only.
fn tls_config(tls: &Tls) -> Result<ServerConfig, StartFailed> {
    let failed = |what: &str| StartFailed::Tls(what.to_owned());
    let chain = CertificateDer::pem_file_iter(&tls.certificate).map_err(|_| failed("certificate file not readable"))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|_| failed("certificate file is no PEM"))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|_| failed("key file not readable, or no PEM key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|_| failed("no protocol version"))?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(|_| failed("certificate and key do not fit"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
