//! The use cases: what this product does, one file per journey step that decides something or touches two collaborators.
//! A use case takes a [`Caller`] and parsed input, asks `domain` for the decision, `store` and `blob` for the effect, and
//! returns domain values or a [`Refusal`]. No HTTP, no SQL, no file system here, and no decision about access but through
//! [`crate::domain::principal::AccessScope`] and [`crate::domain::lifecycle::State`].

mod acknowledge;
pub mod administration;
mod backfill;
mod binaries;
mod caller;
mod clock_rules;
mod confirming;
mod context;
mod counting;
mod cutting;
mod declining;
mod documents;
mod download;
mod endings;
mod explain;
mod failure;
mod indexes;
mod issuing;
mod judged;
mod lifecycle;
mod line;
mod links;
mod loops;
pub mod notifying;
mod offers;
pub mod oversight;
mod pace;
mod reading;
mod reconciling;
mod recorder;
mod rendering;
mod retention;
mod scanning;
mod sealing;
mod search;
mod spool;
mod still_open;
mod subscriptions;
mod touched;
mod transfer;
mod uncommitted;

pub use acknowledge::Acknowledge;
pub use binaries::{NewUpload, Upload};
pub use caller::Caller;
pub use clock_rules::{Confirmed, clock_issue};
pub use confirming::{Confirm, ConfirmedLink};
pub use context::PutContext;
pub use documents::CreatedResource;
pub use download::{Arrival, Download, Followed, Opened};
pub use explain::{Explanation, Fact, Question};
pub use failure::{blob_failure, store_failure};
pub use issuing::{IssueLink, IssuedLink};
pub use lifecycle::Lifecycle;
pub use line::Line;
pub use links::RevokeLinks;
pub use loops::{Ailment, Loop, Loops, Pulse, TICK, still_at_work};
pub use offers::ReadResource;
pub use reading::read_body;
pub use reconciling::Reconciled;
pub use recorder::Recorder;
pub use rendering::rendered;
pub use retention::Swept;

pub use scanning::{NO_VERDICT, ScanWatch, Scanned};
pub use sealing::{Sealed, Sealing};
pub use search::{SearchRequest, Searched};
pub use spool::{Spool, spooled_number};
pub use subscriptions::{EndpointCheck, PutSubscription, ShownSubscription};
pub use transfer::Transfer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::blob::Blobs;
use crate::domain::clock::{Clock, Entropy, Timestamp};
use crate::domain::clock_watch::Standing;
use crate::domain::cursor::CursorKey;
use crate::domain::link::LinkKeys;
use crate::domain::policy::{Policy, Unsuited};
use crate::domain::verdict::Engine;
use crate::fhir::base::Base;
use crate::scan::Scanner;
use crate::store::{Revocations, Store, Writing};

/// What the use cases go by, taken from the settings once.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Where this server is. Generated URLs use this and nothing of a request.
    pub base: Base,
    /// Whether references that dangle are refused.
    pub strict_references: bool,
    /// Engines that are configured.
    pub engines: Vec<Engine>,
    /// How long a Binary waits for a document that claims it.
    pub unclaimed: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency: Duration,
    /// Largest file that is shown as a Binary resource, in bytes.
    pub fhir_form_most: u64,
    /// Longest `wait` of `$lifecycle`.
    pub wait_most: Duration,
    /// Uploads stop when this many hundredths of the disk are used.
    pub disk_stop_percent: u8,
    /// Lease of a scan job; a worker that dies gives the job back after it.
    pub scan_lease: Duration,
    /// How long one engine may look at one file.
    pub scan_timeout: Duration,
    /// Whether bytes that no row names stay: rows may have been lost with an older database that two operators acknowledged.
    pub keep_strange_bytes: bool,
}

/// The policy in force, parsed.
#[derive(Debug)]
pub struct PolicyInForce {
    /// The rules.
    pub policy: Policy,
    /// First six hexadecimal digits of the digest, for people.
    pub short_digest: String,
}

/// The use cases with the parts that they need. One per server; cheap to share.
#[derive(Debug)]
pub struct Delivery {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) engines: scanning::Engines,
    watch: Arc<dyn ScanWatch>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) terms: Terms,
    pub(crate) cursors: CursorKey,
    policy: RwLock<Arc<PolicyInForce>>,
    link_keys: RwLock<Arc<LinkKeys>>,
    transfers: download::Transfers,
    counts: counting::Counts,
    pub(crate) sealing: Arc<dyn Sealing>,
    endpoints: Arc<dyn EndpointCheck>,
    handshakes: subscriptions::HandshakeRate,
    revoking: Arc<spool::Revoking>,
    watching: clock_rules::Watching,
    endings: endings::Endings,
    /// Set once the log was found not to be what was recorded.
    log_distrusted: AtomicBool,
    rounds: tokio::sync::Mutex<indexes::Rounds>,
    /// Up to which entry the look-up by patient has blocks.
    blocks_until: AtomicU64,
    /// Whether a row of given links was not what its entry says.
    given_is_false: AtomicBool,
    /// Turns of the safety check that may run.
    turns: Semaphore,
    pace: pace::Pace,
    removals: uncommitted::Removals,
    loops: Arc<Loops>,
    looked: retention::Looked,
}

/// What [`Delivery`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Bytes.
    pub blobs: Arc<dyn Blobs>,
    /// Engines.
    pub scanners: Vec<Arc<dyn Scanner>>,
    /// Counts what they say.
    pub watch: Arc<dyn ScanWatch>,
    /// Makes audit entries durable.
    pub recorder: Recorder,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Settings.
    pub terms: Terms,
    /// Seals page cursors.
    pub cursors: CursorKey,
    /// The policy in force.
    pub policy: PolicyInForce,
    /// Signs links.
    pub link_keys: LinkKeys,
    /// Where revocations wait that the database does not take.
    pub spool: Arc<dyn Spool>,
    /// Seals what Subscriptions keep secret.
    pub sealing: Arc<dyn Sealing>,
    /// Says which endpoints of Subscriptions may be called.
    pub endpoints: Arc<dyn EndpointCheck>,
}

impl Delivery {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let revoking = spool::Revoking::new(Arc::clone(&parts.store) as Arc<dyn Revocations>, parts.spool);
        let removals = uncommitted::Removals::new(Arc::clone(&parts.blobs));
        Self {
            store: parts.store,
            blobs: parts.blobs,
            engines: scanning::Engines::new(parts.scanners),
            watch: parts.watch,
            recorder: parts.recorder,
            clock: parts.clock,
            entropy: parts.entropy,
            terms: parts.terms,
            cursors: parts.cursors,
            policy: RwLock::new(Arc::new(parts.policy)),
            link_keys: RwLock::new(Arc::new(parts.link_keys)),
            transfers: download::Transfers::default(),
            counts: counting::Counts::default(),
            sealing: parts.sealing,
            endpoints: parts.endpoints,
            handshakes: subscriptions::HandshakeRate::default(),
            revoking: Arc::new(revoking),
            watching: clock_rules::Watching::default(),
            endings: endings::Endings::default(),
            log_distrusted: AtomicBool::new(false),
            rounds: tokio::sync::Mutex::default(),
            blocks_until: AtomicU64::new(0),
            given_is_false: AtomicBool::new(false),
            turns: Semaphore::new(usize::try_from(scanning::TURNS).unwrap_or(1)),
            pace: pace::Pace::default(),
            removals,
            loops: Arc::default(),
            looked: retention::Looked::default(),
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<PolicyInForce> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes another policy the one in force; the store has recorded it already.
    pub(crate) fn set_policy(&self, policy: PolicyInForce) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// The keys that links are signed and accepted with.
    pub fn link_keys(&self) -> Arc<LinkKeys> {
        Arc::clone(&self.link_keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other link keys, after a rotation.
    pub fn set_link_keys(&self, keys: LinkKeys) {
        *self.link_keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Now, by the wall clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Downloads that run now.
    pub fn running_downloads(&self) -> usize {
        self.transfers.count(|_| true)
    }

    /// Whether requests can be answered now: the database answers, and the place of the files does. `Ok` with a word where
    /// only uploads are refused, or wait for an engine of the safety check, or work beside the requests is put off.
    ///
    /// # Errors
    /// What does not answer.
    pub async fn health(&self) -> Result<Option<&'static str>, &'static str> {
        if self.log_distrusted.load(Ordering::Acquire) {
            return Err("audit log: it is not what was recorded");
        }
        let writing = self.store.writing();
        if let Some(trouble) = writing.trouble() {
            return Err(trouble);
        }
        self.store.audit_head().await.map_err(|_| "database")?;
        let space = self.blobs.space().await.map_err(|_| "files")?;
        if let Some(ailing) = self.loops.not_ready() {
            return Err(ailing);
        }
        let full = space.is_some_and(|space| space.used_percent() >= self.terms.disk_stop_percent);
        let full = full || writing == Writing::Short;
        let clock = match self.clock_standing() {
            Some(Standing::Jumped(_)) => Some("the clock jumped, nothing is destroyed until it is confirmed"),
            Some(Standing::Behind { .. }) => Some("the clock was set back, access goes by the highest time seen"),
            Some(Standing::Sound | Standing::Settling { .. }) | None => None,
        };
        let failing = self.engine_conditions().iter().any(|(_, condition)| !condition.is_ready());
        let failing = failing.then_some("a scan engine fails, new documents wait");
        let unsuited = || self.unsuited_engine().map(Unsuited::words);
        let untold = (self.store.endings_left() > 0).then_some("what ended is not told outside the database");
        let full = full.then_some("disk nearly full, uploads are refused");
        let copies = self.store.log_copies().are_failing();
        let copies = copies.then_some("the database's write-ahead log is not copied, and grows");
        Ok(full.or(clock).or(untold).or(copies).or(failing).or_else(unsuited).or_else(|| self.loops.degraded()))
    }

    /// Ends readiness: the log is not what was recorded.
    pub fn distrust_log(&self) {
        self.log_distrusted.store(true, Ordering::Release);
    }

    /// How the background loops do.
    pub fn loops(&self) -> &Arc<Loops> {
        &self.loops
    }

    /// The terms.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The store, for what needs no decision (health, counts).
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}
