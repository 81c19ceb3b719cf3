//! A server that runs: folder, listener, use cases, workers, control socket, in the order in which they depend on each other, and taken
//! down in the reverse. `serve`, `demo` and tests start the same thing; tests bring clock and settings.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::background_check::BackgroundCheck;
use super::failure::StartFailure;
use super::folder::LockedFolder;
use super::gate::{Grants, KeySets};
use super::instance::{Found, Instance, Nature};
use super::operations::Commands;
use crate::auth::discovery::Endpoints;
use crate::auth::endpoint::TokenEndpoint;
use crate::auth::jwks::{FetchKeys, KeyCache};
use crate::auth::rate::TokenRate;
use crate::auth::token::Tokens;
use crate::config::{BaseUrl, Settings};
use crate::control::{Accepting, Listener, Operations, Place, StatusView};
use crate::delivery::{Delivery, Loop, Recorder};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::refusal::{Code, Issue};
use crate::failpoint::{self, Point};
use crate::http::ports::{Documents, Gate};
use crate::http::{HttpParts, Probes, Refusals, Served, Server, Taken, TokenGate};
use crate::notify::egress::{Egress, EgressRules};
use crate::store::Writing;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{ENDINGS_LEFT, FAILED_LOG_COPIES};
use crate::worker::{Checkpointer, Sending, Work, Workers, Written};

/// Between two looks at whether the database still takes writes.
const LOOK: Duration = Duration::from_millis(500);

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Start {
    /// How it runs. Port 0 takes a free one.
    pub settings: Settings,
    /// Time and chance.
    pub nature: Nature,
    /// A folder of this user alone for the control socket, where the data folder's name is too long for one.
    pub runtime_dir: Option<PathBuf>,
}

/// Why a server cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A commit failed.
    Disk,
    /// The log is not what was recorded.
    Log(StartFailure),
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    instance: Instance,
    server: Server,
    workers: Workers,
    check: BackgroundCheck,
    refusals: Arc<Refusals>,
    control: Listener,
    commands: Arc<Commands>,
    address: SocketAddr,
    draining: Arc<AtomicBool>,
}

impl Running {
    /// Starts everything; answers when requests are taken.
    ///
    /// # Errors
    /// [`StartFailure`]; nothing keeps running then.
    pub async fn start(start: Start) -> Result<Self, StartFailure> {
        super::set_up::look(&start.settings.data_dir, &start.settings.audit.checkpoints)?;
        let folder = LockedFolder::prepare(&start.settings.data_dir, start.nature.entropy.as_ref())?;
        // Before the data are touched: an address that is taken is the likeliest mistake.
        let listener = bind(start.settings.server.listen)?;
        let metrics_listener = start.settings.server.metrics_listen.map(bind).transpose()?;
        let address = local_address(&listener)?;
        let base = start.settings.base_url(address.port());
        let instance = Box::pin(Instance::open(folder, start.settings, base, start.nature)).await?;
        instance.delivery.tidy().await?;
        failpoint::here(Point::StartTidied);
        // So that the first documents need not wait, and the first lines tell how the engines do.
        instance.delivery.check_engines().await;
        instance.folder.remember_base(instance.base.as_str())?;
        let fetch = way_out(&instance.settings)?;
        let status = StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            base: instance.base.as_str().to_owned(),
            listen: address.to_string(),
            pid: std::process::id(),
            writing: None,
            endings_left: 0,
            log_not_copied: false,
        };
        let allow_http = instance.settings.egress.allow_http;
        let (keys, probes) = ((Arc::clone(&fetch), allow_http), probes(&instance));
        let commands = Commands::new(Arc::clone(&instance.delivery), keys, status, Arc::clone(&probes), None);
        let commands = Arc::new(commands);
        let (draining, refusals) = (Arc::new(AtomicBool::new(true)), refusals(&instance));
        let parts = http_parts(&instance, fetch, &draining, (&refusals, probes))?;
        let entry = Entry::new(Action::ServerStart, Outcome::Ok).server().with("version", env!("CARGO_PKG_VERSION"));
        instance.delivery.record(&entry).await?;
        let mut workers = start_workers(&instance, &refusals).await?;
        let control = start_control(&instance, start.runtime_dir.as_deref(), &commands, &workers)?;
        let server = crate::http::start(parts, listener, metrics_listener)
            .map_err(|error| StartFailure::machine("the listener cannot be used", &error))?;
        draining.store(false, Ordering::Release);
        workers.also(|supervisor| super::rotation::run(&instance, supervisor));
        let check = BackgroundCheck::start(&instance, &mut workers);
        Ok(Self { instance, server, workers, check, refusals, control, commands, address, draining })
    }

    /// Returns when nothing can be served any more: the database takes no more writes until a restart, and every access is recorded
    /// before it is answered; or the log was found not to be what was recorded.
    pub async fn failed(&self) -> Ended {
        let store = self.delivery().store();
        let disk = async {
            while store.writing() != Writing::Ended {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = disk => Ended::Disk,
            failure = self.check.found() => Ended::Log(failure),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is reached.
    pub fn base(&self) -> &BaseUrl {
        &self.instance.base
    }

    /// How it runs.
    pub fn settings(&self) -> &Settings {
        &self.instance.settings
    }

    /// The folder.
    pub fn folder(&self) -> &LockedFolder {
        &self.instance.folder
    }

    /// What the start found and made.
    pub fn found(&self) -> &Found {
        &self.instance.found
    }

    /// Whether the checkpoints lie in the data folder, where whoever puts back an older one puts back theirs with it.
    pub fn checkpoints_within_data(&self) -> bool {
        super::folder::lies_within(&self.settings().audit.checkpoints, self.folder().folder().path())
    }

    /// Whether the encryption key lies beside the data.
    pub fn key_beside_data(&self) -> bool {
        self.instance.vault.beside_data()
    }

    /// The use cases.
    pub fn delivery(&self) -> &Arc<Delivery> {
        &self.instance.delivery
    }

    /// What commands do here.
    pub fn operations(&self) -> Arc<dyn Operations> {
        Arc::clone(&self.commands) as Arc<dyn Operations>
    }

    /// Ends in order: not ready any more, no new requests, running ones finish within `[limits] drain`, workers end after their step, a last
    /// entry and a last checkpoint, the database closed, the folder let go.
    pub async fn stop(self) {
        self.draining.store(true, Ordering::Release);
        self.server.stop().await;
        self.instance.delivery.downloads_ended().await;
        self.control.stop().await;
        let (counted, taken): (Vec<_>, Vec<_>) = self.refusals.take(true).into_iter().unzip();
        match self.instance.delivery.record_all(&counted).await {
            Ok(()) => taken.into_iter().for_each(Taken::written),
            Err(refusal) => tracing::error!(code = refusal.code().name(), "counted refusals could not be recorded"),
        }
        let entry = Entry::new(Action::ServerStop, Outcome::Ok).server();
        if let Err(refusal) = self.instance.delivery.record(&entry).await {
            tracing::error!(code = refusal.code().name(), "the stop could not be recorded");
        }
        self.workers.stop().await;
        if let Err(refusal) = self.instance.delivery.keep_clock().await {
            tracing::error!(code = refusal.code().name(), "the highest time seen could not be kept");
        }
        self.instance.store.close().await;
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartFailure> {
    TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener)).map_err(|error| {
        match error.kind() {
            std::io::ErrorKind::AddrInUse => Issue::new(Code::ListenTaken).fill("address", address).into(),
            _ => {
                let issue = Issue::new(Code::ListenTaken)
                    .message_text(format!("{address} cannot be listened on: {}", error.kind()))
                    .cure_text("give `--listen` an address of this machine, with a port above 1023");
                issue.into()
            }
        }
    })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartFailure> {
    listener.local_addr().map_err(|error| StartFailure::machine("the listener has no address", &error))
}

/// What may be called; `base`: this server's own address, which notifications must not call.
pub(super) fn egress_rules(settings: &Settings, base: Option<&BaseUrl>) -> EgressRules {
    let own = base.and_then(|base| url::Url::parse(base.as_str()).ok());
    let own = own.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    EgressRules { allow: settings.egress.allow.clone(), allow_http: settings.egress.allow_http, own }
}

/// The way out, for key sets.
pub(super) fn way_out(settings: &Settings) -> Result<Arc<dyn FetchKeys>, StartFailure> {
    let egress = Egress::new(egress_rules(settings, None))
        .map_err(|error| StartFailure::machine("outgoing requests cannot be set up", &error))?;
    Ok(Arc::new(KeySets(egress)))
}

fn refusals(instance: &Instance) -> Arc<Refusals> {
    let limits = &instance.settings.limits;
    Arc::new(Refusals::new(Arc::clone(&instance.nature.clock), limits.refused_requests, limits.refusal_entries))
}

fn probes(instance: &Instance) -> Arc<Probes> {
    Arc::new(Probes::new(Arc::clone(&instance.nature.clock), Arc::clone(&instance.nature.entropy)))
}

fn http_parts(
    instance: &Instance,
    fetch: Arc<dyn FetchKeys>,
    draining: &Arc<AtomicBool>,
    (refusals, probes): (&Arc<Refusals>, Arc<Probes>),
) -> Result<HttpParts, StartFailure> {
    let metrics = Metrics::install().map_err(|error| StartFailure::machine("metrics cannot be set up", &error))?;
    let gate: Arc<dyn Gate> = Arc::new(TokenGate::new(token_endpoint(instance, fetch)?));
    let documents: Arc<dyn Documents> = Arc::new(Served::new(Arc::clone(&instance.delivery), Arc::clone(draining)));
    Ok(HttpParts {
        documents,
        gate,
        settings: Arc::new(instance.settings.clone()),
        base_url: instance.base.clone(),
        metrics,
        refusals: Arc::clone(refusals),
        probes,
        clock: Arc::clone(&instance.nature.clock),
        entropy: Arc::clone(&instance.nature.entropy),
    })
}

fn token_endpoint(instance: &Instance, fetch: Arc<dyn FetchKeys>) -> Result<TokenEndpoint, StartFailure> {
    let (clock, entropy) = (&instance.nature.clock, &instance.nature.entropy);
    let endpoints = Arc::new(Endpoints::at(instance.base.as_str()));
    let keys = instance.keys.tokens(clock.now())?;
    let lifetime = instance.settings.limits.token_lifetime;
    let tokens = Tokens::new(keys, Arc::clone(&endpoints), lifetime, Arc::clone(clock), Arc::clone(entropy));
    let recorder = Recorder::new(instance.keys.cells()?, Arc::clone(entropy), Arc::clone(&instance.store));
    Ok(TokenEndpoint {
        endpoints,
        clients: Arc::new(Arc::clone(&instance.store)),
        keys: Arc::new(KeyCache::new(fetch, Arc::clone(clock))),
        tokens: Arc::new(tokens),
        entries: Arc::new(Grants(recorder)),
        rate: TokenRate::new(Arc::clone(clock)),
        clock: Arc::clone(clock),
    })
}

async fn start_workers(instance: &Instance, refusals: &Arc<Refusals>) -> Result<Workers, StartFailure> {
    let mut checkpointer = Checkpointer::new(
        Arc::clone(&instance.store),
        Arc::clone(&instance.nature.clock),
        instance.keys.checkpoint()?,
        instance.settings.audit.checkpoints.clone(),
        instance.found.tree.clone(),
    )
    .telling(Arc::new(super::hooks::published));
    // Before anything is served: a log that was ever served from knows a checkpoint that lies outside of it.
    if let Err(error) = checkpointer.sign_first().await {
        tracing::error!(cause = error, "no checkpoint was signed at the start; trying again");
    }
    let refusals = Arc::clone(refusals);
    let metrics = Metrics::install().map_err(|error| StartFailure::machine("metrics cannot be set up", &error))?;
    let store = Arc::clone(&instance.store);
    let counted = Arc::new(move || {
        // Samples of requests pile up until they are put into their buckets; nobody may ever come to scrape.
        metrics.run_upkeep();
        ::metrics::gauge!(ENDINGS_LEFT).set(u32::try_from(store.endings_left()).map_or(f64::MAX, f64::from));
        ::metrics::counter!(FAILED_LOG_COPIES).absolute(store.log_copies().failed);
        let written = |taken: Taken| -> Written { Box::new(move || taken.written()) };
        refusals.take(false).into_iter().map(|(entry, taken)| (entry, written(taken))).collect()
    });
    let sending = Sending {
        notifier: super::hooks::notifier(instance, egress_rules(&instance.settings, Some(&instance.base)))?,
        clock: Arc::clone(&instance.nature.clock),
        drain: instance.settings.limits.drain,
        observe: Arc::new(super::hooks::observe),
    };
    let observe = Arc::new(super::hooks::loop_failed);
    Ok(Workers::start(&instance.delivery, Work { checkpointer, counted, sending, observe }))
}

fn start_control(
    instance: &Instance,
    runtime: Option<&Path>,
    commands: &Arc<Commands>,
    workers: &Workers,
) -> Result<Listener, StartFailure> {
    let folder = instance.folder.folder();
    let failed = |error: &std::io::Error| StartFailure::machine("the control socket cannot be made", error);
    let place = Place::choose(folder.path(), runtime, &std::env::temp_dir()).map_err(|error| failed(&error))?;
    let operations = Arc::clone(commands) as Arc<dyn Operations>;
    let run = |stopped, accept: Accepting| {
        workers.supervisor().until(stopped).lasting(Loop::Commands, move |running| running.waiting(accept()))
    };
    Listener::start(folder.path(), place, (folder.owner()?, operations), run).map_err(|error| failed(&error))
}

/// What commands do on a folder that no server holds.
///
/// # Errors
/// The way out cannot be set up.
pub fn local_commands(instance: &Instance) -> Result<Arc<dyn Operations>, StartFailure> {
    let status = StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        base: instance.base.as_str().to_owned(),
        listen: String::new(),
        pid: std::process::id(),
        writing: None,
        endings_left: 0,
        log_not_copied: false,
    };
    let fetch = way_out(&instance.settings)?;
    let allow_http = instance.settings.egress.allow_http;
    let probes = probes(instance);
    let (delivery, pending) = (Arc::clone(&instance.delivery), instance.found.pending.clone());
    Ok(Arc::new(Commands::new(delivery, (fetch, allow_http), status, probes, pending)))
}
