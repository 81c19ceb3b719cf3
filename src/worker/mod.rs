//! What runs by itself: the safety check, notifications, ends of transfers, retention, checkpoints of the audit log,
//! the indexes beside it, and upkeep. Each is a loop over one use case
//! of `delivery`; nothing is decided here but when to look again. All run under [`Supervisor`].

mod checkpoint;
mod files;
mod notify;
mod spool;
mod supervisor;

pub use checkpoint::{CheckpointError, Checkpointer, Published};
pub use notify::{Observe, Observed, Sending};
pub use spool::FileSpool;
pub use supervisor::{ObserveLoop, Running, Supervisor};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::delivery::{Delivery, Loop, Scanned, still_at_work};
use crate::domain::audit::index::BLOCK;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::refusal::{Code, Refusal};

use self::supervisor::guarded;

/// The longest a loop sleeps when nothing wakes it.
const SCAN_POLL: Duration = Duration::from_secs(1);
/// Documents that are put off in one go while an engine is gone: those that do not need it come to their turn, and the disk has rest.
const PUT_OFF: usize = 50;
/// How often the backlog of the safety check is measured.
const MEASURED_EVERY: Duration = Duration::from_secs(10);
const ENGINES_EVERY: Duration = Duration::from_secs(1);
const RETAIN_EVERY: Duration = Duration::from_secs(1);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How often running transfers are judged; a revocation does not wait for it.
const TRANSFERS_EVERY: Duration = Duration::from_millis(250);
/// How often a piece of the indexes beside the log is made, and compared with the log.
const INDEXES_EVERY: Duration = Duration::from_secs(5);
const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// An entry that says nothing happened, so that silence is visible (heartbeat).
const HEARTBEAT_EVERY: Duration = Duration::from_secs(300);

/// Hands over what was counted since the last call: refusals without an authenticated caller, by code, network and minute. Each entry
/// comes with what is to be called once it is durable; dropped before that, it is handed over again.
pub type Counted = Arc<dyn Fn() -> Vec<(Entry, Written)> + Send + Sync>;
/// Told that an entry is durable.
pub type Written = Box<dyn FnOnce() + Send>;

/// What the loops call besides `delivery`.
pub struct Work {
    /// Signs checkpoints.
    pub checkpointer: Checkpointer,
    /// Hands over what was counted.
    pub counted: Counted,
    /// Sends notifications.
    pub sending: Sending,
    /// Is told of turns that failed.
    pub observe: ObserveLoop,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

/// The loops of one server.
pub struct Workers {
    stop: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
    supervisor: Supervisor,
    checkpointer: Arc<Mutex<Checkpointer>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({} loops)", self.loops.len())
    }
}

impl Workers {
    /// Starts every loop on the current runtime.
    pub fn start(delivery: &Arc<Delivery>, work: Work) -> Self {
        let (stop, stopped) = watch::channel(false);
        let supervisor = Supervisor::new(Arc::clone(delivery.loops()), stopped, work.observe);
        let checkpointer = Arc::new(Mutex::new(work.checkpointer));
        let mut loops = vec![supervisor.tick()];
        loops.extend(scanning(delivery, &supervisor));
        loops.extend(keeping(delivery, &supervisor, work.counted));
        let (sending, notifying) = (work.sending, supervisor.clone());
        loops.push(supervisor.lasting(Loop::Notifications, move |running| {
            notify::send_all(sending.clone(), notifying.clone(), running)
        }));
        let signer = Arc::clone(&checkpointer);
        loops.push(supervisor.every(Loop::Checkpoint, CHECKPOINT_EVERY, move || {
            let signer = Arc::clone(&signer);
            async move { signer.lock().await.sign().await.map_err(|error| error.to_string()) }
        }));
        Self { stop, loops, supervisor, checkpointer }
    }

    /// Runs further loops, until [`Workers::stop`].
    pub fn also(&mut self, run: impl FnOnce(&Supervisor) -> JoinHandle<()>) {
        self.loops.push(run(&self.supervisor));
    }

    /// Runs loops that somebody else ends.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Ends the loops after the step that each is in, and signs a last checkpoint.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.loops {
            if task.await.is_err() {
                tracing::error!("a loop broke off");
            }
        }
        if let Err(error) = self.checkpointer.lock().await.finish().await {
            tracing::error!(cause = %error, "last checkpoint not signed");
        }
    }
}

/// The safety check and what belongs to it.
fn scanning(delivery: &Arc<Delivery>, supervisor: &Supervisor) -> Vec<JoinHandle<()>> {
    let scan = |which| {
        let (delivery, supervised) = (Arc::clone(delivery), supervisor.clone());
        supervisor.lasting(which, move |running| scan_loop(Arc::clone(&delivery), supervised.clone(), running))
    };
    let engines = Arc::clone(delivery);
    let measured = Arc::clone(delivery);
    vec![
        scan(Loop::ScanFirst),
        scan(Loop::ScanSecond),
        supervisor.every(Loop::Engines, ENGINES_EVERY, move || {
            let delivery = Arc::clone(&engines);
            async move {
                delivery.check_engines().await;
                Ok(())
            }
        }),
        supervisor.every(Loop::ScanBacklog, MEASURED_EVERY, move || {
            let delivery = Arc::clone(&measured);
            async move { delivery.measure_scans().await.map_err(words) }
        }),
    ]
}

/// What ends, what is compared, and what is kept beside the log.
fn keeping(delivery: &Arc<Delivery>, supervisor: &Supervisor, counted: Counted) -> Vec<JoinHandle<()>> {
    let (transfers, retain, files) = (Arc::clone(delivery), Arc::clone(delivery), Arc::clone(delivery));
    let (upkeep, indexes, beat) = (Arc::clone(delivery), Arc::clone(delivery), Arc::clone(delivery));
    let (comparing, stopping) = (supervisor.clone(), supervisor.clone());
    vec![
        supervisor.every(Loop::Transfers, TRANSFERS_EVERY, move || {
            let delivery = Arc::clone(&transfers);
            async move {
                delivery.cut_closed().await;
                delivery.end_silent_attempts().await;
                Ok(())
            }
        }),
        supervisor.every(Loop::Retention, RETAIN_EVERY, move || {
            let (delivery, stopping) = (Arc::clone(&retain), stopping.clone());
            async move {
                // What cannot be merged now must not keep what is due from its end.
                let merged = delivery.merge_spool().await.map_err(words);
                retain_all(&delivery, &stopping).await?;
                merged
            }
        }),
        supervisor
            .lasting(Loop::Files, move |running| files::compare_all(Arc::clone(&files), comparing.clone(), running)),
        supervisor.every(Loop::Upkeep, UPKEEP_EVERY, move || {
            let (delivery, counted) = (Arc::clone(&upkeep), Arc::clone(&counted));
            async move { upkeep_round(&delivery, &counted).await }
        }),
        supervisor.every(Loop::Indexes, INDEXES_EVERY, move || {
            let delivery = Arc::clone(&indexes);
            async move { delivery.keep_indexes(BLOCK).await.map_err(words) }
        }),
        supervisor.every(Loop::Heartbeat, HEARTBEAT_EVERY, move || {
            let delivery = Arc::clone(&beat);
            async move {
                let entry = Entry::new(Action::AuditHeartbeat, Outcome::Ok).server();
                delivery.record(&entry).await.map_err(words)
            }
        }),
    ]
}

async fn scan_loop(delivery: Arc<Delivery>, supervisor: Supervisor, mut running: Running) {
    // A look of one engine at one file gives no sign.
    running.allow(delivery.terms().scan_timeout);
    let mut seen = delivery.store().state_changes();
    let mut put_off = 0;
    while !running.is_stopped() {
        let turn = guarded(delivery.scan_next()).await.unwrap_or_else(|| Err(Refusal::of(Code::ServerFault)));
        supervisor.note(&running, turn.as_ref().map(|_| ()).map_err(|refusal| refusal.code().name().to_owned()));
        match turn {
            Ok(Scanned::Waiting) if put_off < PUT_OFF => {
                put_off += 1;
                continue;
            }
            Ok(Scanned::Idle | Scanned::Later | Scanned::Waiting) => put_off = 0,
            Ok(Scanned::Released | Scanned::HeldBack | Scanned::Lost) => continue,
            Err(_) => {}
        }
        tokio::select! {
            () = running.stop() => {}
            () = tokio::time::sleep(SCAN_POLL) => {}
            count = delivery.store().state_changed(seen) => seen = count,
        }
    }
}

/// Rounds until nothing is due or the server stops: what is due then waits for the next start.
async fn retain_all(delivery: &Delivery, supervisor: &Supervisor) -> Result<(), String> {
    let stop = || {
        still_at_work();
        supervisor.is_stopped()
    };
    while !stop() {
        let swept = delivery.retain_round(&stop).await.map_err(words)?;
        if swept.expired + swept.held_back + swept.purged == 0 {
            return Ok(());
        }
        tracing::info!(expired = swept.expired, held_back = swept.held_back, purged = swept.purged, "retention round");
    }
    Ok(())
}

async fn upkeep_round(delivery: &Delivery, counted: &Counted) -> Result<(), String> {
    let (entries, written): (Vec<_>, Vec<_>) = counted().into_iter().unzip();
    delivery.record_all(&entries).await.map_err(words)?;
    written.into_iter().for_each(|written| written());
    delivery.store().forget_expired(delivery.now()).await.map_err(|error| error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(refusal: Refusal) -> String {
    refusal.code().name().to_owned()
}
