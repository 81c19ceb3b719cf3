//! What runs by itself: the safety check, notifications, ends of transfers, retention, checkpoints of the audit log,
//! the indexes beside it, and upkeep. Each is a loop over one use case
//! of `delivery`; nothing is decided here but when to look again. A loop that fails waits and goes on; it never ends by itself.

mod checkpoint;
mod files;
mod notify;
mod runner;
mod spool;

pub use checkpoint::{CheckpointError, Checkpointer, Published};
pub use notify::{Observe, Observed, Sending};
pub use spool::FileSpool;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::delivery::{Delivery, Scanned};
use crate::domain::audit::index::BLOCK;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::refusal::{Code, Refusal};

/// Documents that are looked at side by side.
const SCANS_AT_ONCE: usize = 2;

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

/// The loops of one server.
pub struct Workers {
    stop: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
    checkpointer: Arc<Mutex<Checkpointer>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({} loops)", self.loops.len())
    }
}

impl Workers {
    /// Starts every loop on the current runtime.
    pub fn start(delivery: &Arc<Delivery>, checkpointer: Checkpointer, counted: Counted, sending: Sending) -> Self {
        let (stop, stopped) = watch::channel(false);
        let checkpointer = Arc::new(Mutex::new(checkpointer));
        let mut loops = Vec::new();
        for _ in 0..SCANS_AT_ONCE {
            loops.push(tokio::spawn(scan_loop(Arc::clone(delivery), stopped.clone())));
        }
        let engines = Arc::clone(delivery);
        loops.push(tokio::spawn(runner::every("engines", ENGINES_EVERY, stopped.clone(), move || {
            let delivery = Arc::clone(&engines);
            async move {
                delivery.check_engines().await;
                Ok(())
            }
        })));
        let measured = Arc::clone(delivery);
        loops.push(tokio::spawn(runner::every("scan backlog", MEASURED_EVERY, stopped.clone(), move || {
            let delivery = Arc::clone(&measured);
            async move { delivery.measure_scans().await.map_err(words) }
        })));
        let transfers = Arc::clone(delivery);
        loops.push(tokio::spawn(runner::every("transfers", TRANSFERS_EVERY, stopped.clone(), move || {
            let delivery = Arc::clone(&transfers);
            async move {
                delivery.cut_closed().await;
                delivery.end_silent_attempts().await;
                Ok(())
            }
        })));
        loops.push(tokio::spawn(notify::send_all(sending, stopped.clone())));
        let retain = Arc::clone(delivery);
        loops.push(tokio::spawn(runner::every("retention", RETAIN_EVERY, stopped.clone(), move || {
            let delivery = Arc::clone(&retain);
            async move {
                // What cannot be merged now must not keep what is due from its end.
                let merged = delivery.merge_spool().await.map_err(words);
                retain_all(&delivery).await?;
                merged
            }
        })));
        let signer = Arc::clone(&checkpointer);
        loops.push(tokio::spawn(runner::every("checkpoint", CHECKPOINT_EVERY, stopped.clone(), move || {
            let signer = Arc::clone(&signer);
            async move { signer.lock().await.sign().await.map_err(|error| error.to_string()) }
        })));
        loops.push(tokio::spawn(files::compare_all(Arc::clone(delivery), stopped.clone())));
        let upkeep = Arc::clone(delivery);
        loops.push(tokio::spawn(runner::every("upkeep", UPKEEP_EVERY, stopped.clone(), move || {
            let (delivery, counted) = (Arc::clone(&upkeep), Arc::clone(&counted));
            async move { upkeep_round(&delivery, &counted).await }
        })));
        let indexes = Arc::clone(delivery);
        loops.push(tokio::spawn(runner::every("indexes", INDEXES_EVERY, stopped.clone(), move || {
            let delivery = Arc::clone(&indexes);
            async move { delivery.keep_indexes(BLOCK).await.map_err(words) }
        })));
        let beat = Arc::clone(delivery);
        loops.push(tokio::spawn(runner::every("heartbeat", HEARTBEAT_EVERY, stopped, move || {
            let delivery = Arc::clone(&beat);
            async move {
                let entry = Entry::new(Action::AuditHeartbeat, Outcome::Ok).server();
                delivery.record(&entry).await.map_err(words)
            }
        })));
        Self { stop, loops, checkpointer }
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

async fn scan_loop(delivery: Arc<Delivery>, mut stopped: watch::Receiver<bool>) {
    let mut seen = delivery.store().state_changes();
    let mut put_off = 0;
    while !*stopped.borrow() {
        let turn = runner::guarded(delivery.scan_next()).await;
        match turn.unwrap_or_else(|| Err(Refusal::of(Code::ServerFault))) {
            Ok(Scanned::Waiting) if put_off < PUT_OFF => {
                put_off += 1;
                continue;
            }
            Ok(Scanned::Idle | Scanned::Later | Scanned::Waiting) => put_off = 0,
            Ok(Scanned::Released | Scanned::HeldBack | Scanned::Lost) => continue,
            Err(refusal) => tracing::warn!(code = refusal.code().name(), "scan turn failed"),
        }
        tokio::select! {
            _ = stopped.changed() => {}
            () = tokio::time::sleep(SCAN_POLL) => {}
            count = delivery.store().state_changed(seen) => seen = count,
        }
    }
}

/// Rounds until nothing is due.
async fn retain_all(delivery: &Delivery) -> Result<(), String> {
    loop {
        let swept = delivery.retain_round().await.map_err(words)?;
        if swept.expired + swept.held_back + swept.purged == 0 {
            return Ok(());
        }
        tracing::info!(expired = swept.expired, held_back = swept.held_back, purged = swept.purged, "retention round");
    }
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
