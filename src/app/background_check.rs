//! The check of the whole log while the server runs: once after each start and daily, in pages, each followed by a pause, so that it takes
//! a tenth of one core at most and no read waits for it. What it finds ends serving as it would at a start.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::failure::StartFailure;
use super::instance::{Instance, Nature, findings};
use super::keyring::KeyRing;
use super::log_check::{LogSource, OfStore};
use super::start_check::{self, Looked, Place};
use crate::delivery::{Delivery, Loop, still_at_work};
use crate::domain::audit::effect::{Expected, Recorded};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::store::{AuditHead, AuditRow, EndingsStanding, Store, StoreError};
use crate::vault::Vault;
use crate::worker::{Running, Supervisor, Workers};

/// Between the ends of two checks.
const EVERY: Duration = Duration::from_secs(86_400);
/// After one that could not be made.
const AGAIN: Duration = Duration::from_secs(600);
/// A pause is so many times as long as the work before it.
const REST: u32 = 9;

/// The loop of a running server.
#[derive(Debug)]
pub(super) struct BackgroundCheck {
    found: watch::Receiver<Option<StartFailure>>,
}

struct Checker {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    nature: Nature,
    delivery: Arc<Delivery>,
    data: PathBuf,
    checkpoints: PathBuf,
    origin: String,
}

impl BackgroundCheck {
    /// Begins at once.
    pub(super) fn start(instance: &Instance, workers: &mut Workers) -> Self {
        let checker = Arc::new(Checker {
            store: Arc::clone(&instance.store),
            vault: Arc::clone(&instance.vault),
            nature: instance.nature.clone(),
            delivery: Arc::clone(&instance.delivery),
            data: instance.folder.folder().path().to_owned(),
            checkpoints: instance.settings.audit.checkpoints.clone(),
            origin: instance.folder.instance().to_owned(),
        });
        let (tell, found) = watch::channel(None);
        let tell = Arc::new(tell);
        workers.also(|supervisor| {
            let supervised = supervisor.clone();
            supervisor.lasting(Loop::LogCheck, move |mut running| {
                let (checker, tell, supervisor) = (Arc::clone(&checker), Arc::clone(&tell), supervised.clone());
                async move {
                    let mut ending = running.clone();
                    tokio::select! {
                        () = ending.stop() => {}
                        () = checker.run(&tell, &supervisor, &mut running) => {}
                    }
                }
            })
        });
        Self { found }
    }

    /// What was found, as soon as something is.
    pub(super) async fn found(&self) -> StartFailure {
        let mut found = self.found.clone();
        loop {
            if let Some(failure) = found.borrow_and_update().clone() {
                return failure;
            }
            if found.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Checker {
    /// Checks again and again, until something is found.
    async fn run(&self, tell: &watch::Sender<Option<StartFailure>>, supervisor: &Supervisor, running: &mut Running) {
        loop {
            match self.check().await {
                Ok(None) => {
                    supervisor.note(running, Ok(()));
                    running.rest(EVERY).await;
                }
                Ok(Some(failure)) => {
                    tell.send_replace(Some(failure));
                    // Serving ends, and this loop with it.
                    return running.rest(Duration::MAX).await;
                }
                Err(_) => {
                    supervisor.note(running, Err("the log could not be checked in the background".to_owned()));
                    running.rest(AGAIN).await;
                }
            }
        }
    }

    async fn check(&self) -> Result<Option<StartFailure>, StartFailure> {
        let keys = KeyRing::open(&self.store.keys().await?, &self.vault, &self.origin, 0)?;
        let source = Paced { source: OfStore(self.store.as_ref()), nature: &self.nature, since: Mutex::new(None) };
        let place = Place { data: &self.data, checkpoints: &self.checkpoints, origin: &self.origin };
        let looked = match self.look(&source, &keys, place).await {
            Err(failure) if failure.is_damage() => {
                self.tell(&failure).await;
                return Ok(Some(failure));
            }
            looked => looked?,
        };
        if !looked.checked.report.valid {
            let failure = StartFailure::new(findings(&looked.checked.report));
            self.tell(&failure).await;
            return Ok(Some(failure));
        }
        if looked.sealable {
            let (full, key, data) = (looked.note(&self.origin), keys.log_check()?, self.data.clone());
            let kept = tokio::task::spawn_blocking(move || start_check::write_note(&data, &full, &key)).await;
            if !matches!(kept, Ok(Ok(()))) {
                tracing::error!("the note of the check could not be written");
            }
        }
        Ok(None)
    }

    /// Looks at everything that a start leaves out. A database that is found to be damaged must not be served from any more.
    async fn look(&self, source: &Paced<'_>, keys: &KeyRing, place: Place<'_>) -> Result<Looked, StartFailure> {
        self.store.check_pages().await?;
        start_check::whole(source, keys, place, &|_, _| {}).await
    }

    /// On the log, in the log where that can still be written, and at `/readyz`.
    async fn tell(&self, failure: &StartFailure) {
        self.delivery.distrust_log();
        if start_check::doubt(&self.data).is_err() {
            tracing::error!("the doubt about the log could not be kept");
        }
        let Some(issue) = failure.issues.first() else { return };
        tracing::error!(code = issue.code().name(), "the log is not what was recorded; serving ends");
        let entry = Entry::new(Action::AuditFinding, Outcome::Error).server().code(issue.code());
        if self.delivery.record(&entry.with("found", issue.message())).await.is_err() {
            tracing::error!("the finding could not be recorded");
        }
    }
}

/// A log that is read in short pieces with long pauses.
struct Paced<'a> {
    source: OfStore<'a>,
    nature: &'a Nature,
    /// When the last pause ended.
    since: Mutex<Option<Duration>>,
}

#[async_trait]
impl LogSource for Paced<'_> {
    async fn rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.pause().await;
        self.source.rows(first, limit).await
    }

    async fn pause(&self) {
        let clock = &self.nature.clock;
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since {
            let worked = clock.monotonic().saturating_sub(since);
            still_at_work();
            tokio::time::sleep(worked.saturating_mul(REST)).await;
            still_at_work();
        }
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock.monotonic());
    }

    fn is_serving(&self) -> bool {
        true
    }

    async fn head(&self) -> Result<AuditHead, StoreError> {
        self.source.head().await
    }

    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        self.source.checkpoints().await
    }

    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        self.source.newest_checkpoint().await
    }

    async fn endings(&self) -> Result<EndingsStanding, StoreError> {
        self.source.endings().await
    }

    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError> {
        self.source.stand(expected).await
    }

    async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.source.recorded(after, limit).await
    }
}
