//! One data folder, opened for writing with everything that lies in it: vault, database, files, secrets, policy, and the use cases over
//! them. What a server needs beyond that (listener, workers) is in [`super::running`]; a command without a server needs no more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;

use super::acknowledged::{Acknowledged, Pending};
use super::clock::HeldClock;
use super::failure::StartFailure;
use super::folder::LockedFolder;
use super::keyring::KeyRing;
use super::log_check::{self, OfStore};
use super::start_check::{self, Looked, Place};
use crate::blob::{Blobs, LocalBlobs};
use crate::config::{BaseUrl, Limits, References, SecretSource, Settings, policy_text};
use crate::delivery::administration::NewPolicy;
use crate::delivery::{Delivery, Parts, PolicyInForce, Recorder, Terms};
use crate::domain::audit::Frontier;
use crate::domain::audit::verify::Report;
use crate::domain::clock::{Clock, Entropy};
use crate::domain::content::FileKeys;
use crate::domain::cursor::CursorKey;
use crate::domain::lifecycle::Actor;
use crate::domain::refusal::{Code, Issue};
use crate::fhir::base::Base;
use crate::store::sqlite::{OpenError, Settings as StoreSettings, SqliteStore};
use crate::store::{Health, Store, StoreError};
use crate::vault::{KeySource, Vault};
use crate::worker::FileSpool;

/// Lease of a scan job beyond the engines' own time: reading a large file from a slow disk.
const SCAN_LEASE: Duration = Duration::from_secs(300);

/// Time and chance, so that tests bring their own.
#[derive(Debug, Clone)]
pub struct Nature {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

/// An opened folder.
#[derive(Debug)]
pub struct Instance {
    /// The folder, held.
    pub folder: LockedFolder,
    /// How it runs.
    pub settings: Settings,
    /// Where it is reached.
    pub base: BaseUrl,
    /// Time and chance.
    pub nature: Nature,
    /// Opens and seals keys.
    pub vault: Arc<Vault>,
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Bytes.
    pub blobs: Arc<dyn Blobs>,
    /// The server's secrets.
    pub keys: KeyRing,
    /// The use cases.
    pub delivery: Arc<Delivery>,
    /// What was found.
    pub found: Found,
}

/// What an opening found and made.
#[derive(Debug, Clone)]
pub struct Found {
    /// The database's health after opening.
    pub health: Health,
    /// Whether the log was new.
    pub new_log: bool,
    /// Short digest of the active policy, and whether this opening made the shipped or given one active.
    pub policy: (String, Seeded),
    /// What was found wrong with the log and waits for two operators; only where the opening did not refuse.
    pub pending: Option<Arc<Pending>>,
    /// The tree of the log as it was checked.
    pub tree: Frontier,
    /// Digest of the policy file in the settings where it differs from the active policy.
    pub differing_policy: bool,
}

/// What an opening does where the log does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFinding {
    /// It does not come about.
    Refuse,
    /// It goes on, for what two operators need to acknowledge the finding; nothing is served.
    Acknowledge,
}

/// Whether an opening made a policy active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeded {
    /// The shipped one.
    Shipped,
    /// That of `[policy] file`.
    File,
    /// None: there was one.
    No,
}

impl Instance {
    /// Opens a folder, whose log is checked first: a log that does not verify is not added to.
    ///
    /// # Errors
    /// [`StartFailure`].
    pub async fn open(
        folder: LockedFolder,
        settings: Settings,
        base: BaseUrl,
        nature: Nature,
    ) -> Result<Self, StartFailure> {
        Self::open_with(folder, settings, base, nature, OnFinding::Refuse).await
    }

    /// The same, with what is done where the log does not verify.
    ///
    /// # Errors
    /// [`StartFailure`].
    pub async fn open_with(
        folder: LockedFolder,
        settings: Settings,
        base: BaseUrl,
        nature: Nature,
        on_finding: OnFinding,
    ) -> Result<Self, StartFailure> {
        let nature = Nature { clock: Arc::new(HeldClock::new(nature.clock)), entropy: nature.entropy };
        let path = folder.folder().path().to_owned();
        let source = key_source(&settings.keys.encryption);
        if folder.is_new() {
            super::set_up::begin(&path).map_err(|error| super::folder::not_usable(&path, &error))?;
        }
        let vault = Arc::new(Vault::open(&source, &path, !folder.is_new(), Arc::clone(&nature.entropy))?);
        let store = open_store(&folder, &settings.limits, &nature, on_finding)?;
        if let Some(record) = store.clock_record().await? {
            nature.clock.raise(record.highest);
        }
        let health = store.health().await?;
        let mut keys = KeyRing::open(&store.keys().await?, &vault, folder.instance(), health.documents)?;
        let new_log = store.audit_head().await?.size == 0;
        let now = nature.clock.now();
        if new_log {
            super::set_up::expect_new(&path)?;
            keys.complete(store.as_ref(), &vault, nature.entropy.as_ref(), now).await?;
        }
        let place = Place { data: &path, checkpoints: &settings.audit.checkpoints, origin: folder.instance() };
        let looked = Box::pin(look(store.as_ref(), &keys, place, on_finding)).await?;
        if !new_log {
            keys.complete(store.as_ref(), &vault, nature.entropy.as_ref(), now).await?;
        }
        keep_note(&looked, &keys, place)?;
        super::rotation::renew(&mut keys, store.as_ref(), &vault, &nature).await?;
        folder.publish_log_key(&settings.audit.checkpoints, &keys.checkpoint()?.verifying_key().to_string())?;
        let blobs = open_blobs(&path, &settings.limits, &vault, &nature)?;
        keep_endings(store.as_ref(), &looked, &keys, place).await?;
        let seed = policy_seed(store.as_ref(), &settings).await?;
        let parts = Parts {
            store: Arc::clone(&store),
            blobs: Arc::clone(&blobs),
            scanners: super::scanners::of(&settings, &nature.clock),
            watch: Arc::new(super::scanners::Counted),
            recorder: Recorder::new(keys.cells()?, Arc::clone(&nature.entropy), Arc::clone(&store)),
            clock: Arc::clone(&nature.clock),
            entropy: Arc::clone(&nature.entropy),
            terms: Terms { keep_strange_bytes: looked.acknowledged, ..terms(&settings, &base) },
            cursors: CursorKey::new(&*keys.cursor()?)?,
            policy: seed.in_force,
            link_keys: keys.links(now)?,
            spool: Arc::new(FileSpool::new(path.join(super::endings::SPOOL))),
            sealing: Arc::new(super::sealing::VaultSealing(Arc::clone(&vault))),
            endpoints: super::endpoints::GuardedEndpoints::by(&settings, terms(&settings, &base).base.root()),
        };
        let delivery = taken_up(Delivery::new(parts)).await?;
        let digest = match seed.apply {
            Some(new) => delivery.apply_policy(&Actor::Server, new).await?,
            None => delivery.policy().short_digest.clone(),
        };
        // Something stands in the log by now: one that is found empty was lost.
        super::set_up::end(&path).map_err(|error| super::folder::not_usable(&path, &error))?;
        let found = Found {
            health,
            new_log,
            policy: (digest, seed.seeded),
            tree: looked.checked.tree,
            differing_policy: seed.differs,
            pending: looked.pending.map(Arc::new),
        };
        Ok(Self { folder, settings, base, nature, vault, store, blobs, keys, delivery, found })
    }
}

/// The use cases, once they know what an earlier process left.
async fn taken_up(delivery: Delivery) -> Result<Arc<Delivery>, StartFailure> {
    let delivery = Arc::new(delivery);
    delivery.recall_spool().await?;
    delivery.gather_given_links().await?;
    delivery.watch_clock().await?;
    Ok(delivery)
}

fn key_source(source: &SecretSource) -> KeySource {
    match source {
        SecretSource::DataFolder => KeySource::Folder,
        SecretSource::File(path) => KeySource::File(path.clone()),
        SecretSource::Command(words) => KeySource::Command(words.clone()),
    }
}

/// The vault of a folder, for commands that only read.
///
/// # Errors
/// Those of [`Vault::open`].
pub fn open_vault(settings: &Settings, path: &Path, entropy: &Arc<dyn Entropy>) -> Result<Vault, Issue> {
    Vault::open(&key_source(&settings.keys.encryption), path, true, Arc::clone(entropy))
}

/// Looks at the log; where it does not verify, the opening may end here.
async fn look(
    store: &dyn Store,
    keys: &KeyRing,
    place: Place<'_>,
    on_finding: OnFinding,
) -> Result<Looked, StartFailure> {
    let looked = start_check::look(&OfStore(store), keys, place).await?;
    if !looked.checked.report.valid && on_finding == OnFinding::Refuse {
        return Err(StartFailure::new(findings(&looked.checked.report)));
    }
    Ok(looked)
}

/// Keeps the note of a check of the whole log.
fn keep_note(looked: &Looked, keys: &KeyRing, place: Place<'_>) -> Result<(), StartFailure> {
    if !looked.sealable {
        return Ok(());
    }
    let kept = start_check::write_note(place.data, &looked.note(place.origin), &keys.log_check()?);
    kept.map_err(|error| super::folder::not_usable(place.data, &error).into())
}

/// Hands what ends to the file in the checkpoint folder; where a finding waits for two operators, endings wait too.
async fn keep_endings(
    store: &dyn Store,
    looked: &Looked,
    keys: &KeyRing,
    place: Place<'_>,
) -> Result<(), StartFailure> {
    if looked.pending.is_some() {
        return Ok(());
    }
    let acknowledged = Acknowledged::read(&OfStore(store), place.data, keys).await?;
    super::endings::keep(store, place.checkpoints, (keys.checkpoint()?, looked.endings.place), &acknowledged).await
}

fn open_blobs(
    path: &Path,
    limits: &Limits,
    vault: &Arc<Vault>,
    nature: &Nature,
) -> Result<Arc<dyn Blobs>, StartFailure> {
    let file_keys: Arc<dyn FileKeys> = Arc::clone(vault) as Arc<dyn FileKeys>;
    let inline = usize::try_from(limits.inline_threshold).unwrap_or(usize::MAX);
    let blobs = LocalBlobs::open(path, inline, file_keys, Arc::clone(&nature.entropy));
    let blobs = blobs.map_err(|error| StartFailure::machine("the files cannot be opened", &error))?;
    Ok(Arc::new(blobs.with_cache(usize::try_from(limits.content_cache).unwrap_or(usize::MAX))))
}

/// Bytes of the disk that are kept for the log of what was done, or a 64th of a small disk.
const RESERVE: u64 = 64 << 20;

/// Opens the database. Where its log does not end as its summary says, that is kept to be acknowledged, and only who acknowledges goes on.
fn open_store(
    folder: &LockedFolder,
    limits: &Limits,
    nature: &Nature,
    on_finding: OnFinding,
) -> Result<Arc<dyn Store>, StartFailure> {
    let settings = StoreSettings {
        readers: u32::try_from(limits.database_readers).unwrap_or(u32::MAX),
        queue: limits.write_queue,
        search_time: std::time::Duration::from_millis(u64::try_from(limits.search_time).unwrap_or(u64::MAX)),
        reserve: RESERVE,
        ..StoreSettings::default()
    };
    let database = folder.folder().database();
    let open = |settings| SqliteStore::open(&database, Arc::clone(&nature.clock), folder.instance(), settings);
    let opened = match open(settings) {
        Err(OpenError::AuditLog) if on_finding == OnFinding::Acknowledge => {
            let data = folder.folder().path();
            let kept = start_check::keep_changed_end(data, nature.clock.now());
            kept.map_err(|error| super::folder::not_usable(data, &error))?;
            open(StoreSettings { changed_end: true, ..settings })
        }
        opened => opened,
    };
    opened.map(|store| store as Arc<dyn Store>).map_err(|error| open_failure(&error))
}

pub(super) fn open_failure(error: &OpenError) -> StartFailure {
    match error {
        OpenError::Newer { found } => {
            let issue = Issue::new(Code::DataNewer).fill("found", found).fill("known", env!("CARGO_PKG_VERSION"));
            issue.fill("version", "that wrote it").into()
        }
        OpenError::AuditLog => {
            let issue =
                Issue::new(Code::AuditMismatch).message_text("the audit log's end is not what its summary says");
            issue.into()
        }
        OpenError::Damaged | OpenError::Store(StoreError::Damaged(_)) => damaged(),
        OpenError::Schema { what } => unsound(&format!("is not as this program made it: {what}")),
        other => StartFailure::machine("the database cannot be opened", other),
    }
}

/// A database whose file is not what was written to it.
pub(super) fn damaged() -> StartFailure {
    unsound("is damaged: its pages are not what was written")
}

/// A database that must not be served, and is not mended.
fn unsound(fault: &str) -> StartFailure {
    let issue = Issue::new(Code::FolderUnsafe).fill("file", super::folder::DATABASE).fill("fault", fault);
    issue.fill("cure", "keep a copy of the data folder and restore it from your backup; nothing was changed").into()
}

/// What a check found, as issues: the first finding, and how many there are.
pub fn findings(report: &Report) -> Vec<Issue> {
    let many = || Issue::new(Code::AuditMismatch).message_text("more was found in the log than can be listed");
    let none_listed = report.findings.is_empty() && report.more > 0;
    report.findings.first().map(log_check::issue_of).or_else(|| none_listed.then(many)).into_iter().collect()
}

fn terms(settings: &Settings, base: &BaseUrl) -> Terms {
    Terms {
        base: Base::new(base.as_str()),
        strict_references: settings.fhir.references == References::Strict,
        engines: settings.scan.engines.clone(),
        unclaimed: settings.limits.unclaimed_binary,
        idempotency: settings.limits.idempotency_key_lifetime,
        fhir_form_most: settings.limits.binary_form,
        wait_most: settings.limits.wait_max,
        disk_stop_percent: settings.limits.disk_stop,
        scan_lease: settings.scan.timeout.saturating_add(SCAN_LEASE),
        scan_timeout: settings.scan.timeout,
        keep_strange_bytes: false,
    }
}

/// The policy to begin with.
struct Seed {
    in_force: PolicyInForce,
    apply: Option<NewPolicy>,
    seeded: Seeded,
    differs: bool,
}

/// The active policy of the store; with none, the file's or the shipped one, which is to be applied.
async fn policy_seed(store: &dyn Store, settings: &Settings) -> Result<Seed, StartFailure> {
    let given = match &settings.policy.file {
        Some(path) => Some((path.display().to_string(), read_policy(path)?)),
        None => None,
    };
    if let Some(active) = store.policy().await? {
        // A text that was once applied was without mistakes; a later version may know it as one.
        let policy = parse("the active policy", &active.text)?;
        let differs = given.is_some_and(|(_, text)| sha256(text.as_bytes()) != active.digest);
        let in_force = PolicyInForce { policy, short_digest: short(&active.digest) };
        return Ok(Seed { in_force, apply: None, seeded: Seeded::No, differs });
    }
    let seeded = if given.is_some() { Seeded::File } else { Seeded::Shipped };
    let (name, text) = given.unwrap_or_else(|| ("the shipped policy".to_owned(), policy_text::SHIPPED.to_owned()));
    let digest = sha256(text.as_bytes());
    let in_force = PolicyInForce { policy: parse(&name, &text)?, short_digest: short(&digest) };
    let reason = if seeded == Seeded::Shipped { "shipped" } else { "first policy, from the settings" };
    let apply = NewPolicy { policy: parse(&name, &text)?, text, digest, reason: reason.to_owned() };
    Ok(Seed { in_force, apply: Some(apply), seeded, differs: false })
}

fn read_policy(path: &Path) -> Result<String, StartFailure> {
    std::fs::read_to_string(path).map_err(|error| {
        let issue = Issue::new(Code::FileUnreadable)
            .fill("flag", "[policy] file")
            .fill("why", error.kind())
            .fill("cure", "give the path of a policy file");
        issue.into()
    })
}

fn parse(name: &str, text: &str) -> Result<crate::domain::policy::Policy, StartFailure> {
    policy_text::parse(name, text).map_err(|mistakes| StartFailure {
        issues: mistakes.iter().map(crate::config::Mistake::to_issue).collect(),
        exit: 2,
    })
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

fn short(digest: &[u8; 32]) -> String {
    hex::encode(digest.get(..3).unwrap_or_default())
}

impl Instance {
    /// Ends in order when no server runs on it: the database closed, the folder let go.
    pub async fn close(self) {
        self.store.close().await;
    }
}
