//! The safety check of one document: claim, look, and what the verdicts mean. A scanner that fails, hangs or answers nonsense
//! leaves the document where it is, visible and tried again.

mod cut;
mod engines;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

pub(crate) use self::engines::Engines;

use self::cut::Hold;
use super::Delivery;
use super::failure::store_failure;
use super::offers::about_subject;
use super::still_at_work;
use crate::blob::ContentReader;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::FileId;
use crate::domain::lifecycle::{self, Actor, Evidence, InvalidTransition, Stamp, State, Transition};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::FileFacts;
use crate::domain::verdict::{CleanScan, Engine, Finding, Verdict};
use crate::failpoint::{self, Point};
use crate::scan::{EngineFailure, ScanError, Scanner, Subject};
use crate::store::{ScanJob, StoreError, UNENDED_MOST};

/// First pause after a scan that did not succeed; doubled with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Longest pause of a document that waits for an engine: soon after the engine's return its turn comes.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// An engine that ends by its own deadline says more than one that is given up.
const GRACE: Duration = Duration::from_secs(2);

/// What [`ScanWatch`] is told of a scan that gave no verdict.
pub const NO_VERDICT: &str = "none";

/// Counts scans. Nothing in it names a document.
pub trait ScanWatch: Send + Sync + std::fmt::Debug {
    /// An engine looked at a file for so long, and said `clean`, a finding's name, or [`NO_VERDICT`].
    fn scanned(&self, engine: Engine, said: &'static str, took: Duration);
    /// What waits for its verdict: documents, and the age of the oldest.
    fn backlog(&self, documents: u64, oldest: Duration);
}

/// Turns side by side at most, far above what workers there are: all of them are one that goes alone.
pub(super) const TURNS: u32 = 1_024;

/// What became of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// Nothing was due.
    Idle,
    /// Released.
    Released,
    /// Held back.
    HeldBack,
    /// No verdict; tried again later.
    Later,
    /// Put off unopened, because an engine that it needs is not there.
    Waiting,
    /// Somebody else had it, or the document has moved on.
    Lost,
}

impl Delivery {
    /// Takes the document that has waited longest and looks at its files.
    ///
    /// # Errors
    /// Failures of the store: nothing was decided, the lease brings the job back.
    pub async fn scan_next(&self) -> Result<Scanned, Refusal> {
        let turn = self.turns.acquire().await.ok();
        let now = self.clock.now();
        let Some(job) = self.store.claim_scan(now, self.terms.scan_lease).await.map_err(store_failure)? else {
            return Ok(Scanned::Idle);
        };
        if job.unended >= UNENDED_MOST {
            let transition = lifecycle::quarantine_unscanned(State::Created, self.held(&job));
            return self.finish(&job, transition, "no turn of the safety check came to its end").await;
        }
        // What may have been the end of an earlier process goes alone, so that it takes no other job with it.
        let _alone = if job.unended > 0 {
            drop(turn);
            self.turns.acquire_many(TURNS).await.ok()
        } else {
            turn
        };
        match AssertUnwindSafe(self.turn(&job)).catch_unwind().await {
            Ok(done) => done,
            Err(_) => {
                tracing::error!(document = %job.id, "a turn of the safety check panicked");
                let due = self.clock.now().plus(pause(job.attempts)).min(self.last_chance(&job));
                self.store.scan_broke_off(&job, due).await.map_err(store_failure)?;
                Ok(Scanned::Later)
            }
        }
    }

    /// One turn of a claimed job.
    async fn turn(&self, job: &ScanJob) -> Result<Scanned, Refusal> {
        failpoint::here(Point::ScanClaimed);
        let until = job.created.plus(job.decision.scan_within);
        if self.clock.now() > until {
            let due = Some(self.end_of_keeping(until, job.decision.quarantine_keep));
            let stamp = Stamp { due, ..self.held(job) };
            return self.finish(job, lifecycle::quarantine_unscanned(State::Created, stamp), "scan").await;
        }
        let Some(engines) = self.engines_for(job) else {
            return self.wait(job).await;
        };
        let mut proofs = Vec::new();
        for file in &job.files {
            match self.look_at(&engines, file).await {
                Ok(Looked::Clean(proof)) => proofs.push(proof),
                Ok(Looked::Found(finding, place)) => {
                    let evidence = Evidence { file: file.file, sha256: file.sha256, place: place.clone() };
                    let transition = lifecycle::quarantine(State::Created, finding, self.held(job));
                    let transition = transition.map(|transition| transition.with_evidence(evidence));
                    return self.finish(job, transition, &place).await;
                }
                Ok(Looked::Never(place)) => {
                    let transition = lifecycle::quarantine_unscanned(State::Created, self.held(job));
                    return self.finish(job, transition, &place).await;
                }
                Ok(Looked::Nothing) | Err(_) => return self.later(job).await,
            }
        }
        self.release(job, proofs).await
    }

    /// Counts what waits for the safety check.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn measure_scans(&self) -> Result<(), Refusal> {
        let (documents, oldest) = self.store.scan_backlog(self.clock.now()).await.map_err(store_failure)?;
        self.watch.backlog(documents, oldest);
        Ok(())
    }

    /// The engines that must all say clean. Where the rule requires an antivirus engine and names none, those that are set up are
    /// meant. `None`: one of them is not set up, or not fit now.
    fn engines_for(&self, job: &ScanJob) -> Option<Vec<Engine>> {
        let mut engines = job.decision.scan.clone();
        let missing = job.decision.waits_for_antivirus(&self.terms.engines);
        if job.decision.require_antivirus && !engines.iter().any(|engine| engine.is_antivirus()) {
            engines.extend(self.terms.engines.iter().filter(|engine| engine.is_antivirus()));
        }
        if missing || engines.iter().any(|engine| self.engines.scanner(*engine).is_none()) {
            tracing::warn!(code = Code::ScanEngineMissing.name(), document = %job.id, rule = job.decision.rule, "document waits");
            return None;
        }
        // What is wrong with an engine is told once, by its probe.
        let ready = engines.iter().all(|engine| self.engines.is_ready(*engine));
        let unsuited =
            engines.iter().find_map(|engine| self.engines.unsuited(*engine, &job.decision.antivirus, self.clock.now()));
        if let Some(unsuited) = unsuited.filter(|_| ready) {
            let cause = unsuited.words();
            tracing::warn!(code = Code::ScanFailing.name(), document = %job.id, rule = job.decision.rule, cause, "document waits");
        }
        (ready && unsuited.is_none()).then_some(engines)
    }

    async fn look_at(&self, engines: &[Engine], file: &FileFacts) -> Result<Looked, Refusal> {
        let mut verdicts = Vec::new();
        for engine in engines {
            still_at_work();
            let Some(scanner) = self.engines.scanner(*engine) else { return Ok(Looked::Nothing) };
            match self.ask(Arc::clone(scanner), file).await? {
                Asked::Said(Verdict { finding: Some(finding), place, .. }) => {
                    return Ok(Looked::Found(finding, format!("{} {place}", engine.name())));
                }
                Asked::Said(verdict) => verdicts.push(verdict),
                Asked::Nothing => return Ok(Looked::Nothing),
                Asked::BrokeAgain => return Ok(Looked::Never(format!("{} broke off each time", engine.name()))),
            }
        }
        Ok(prove(file.file, file.sha256, engines, &verdicts))
    }

    async fn ask(&self, scanner: Arc<dyn Scanner>, file: &FileFacts) -> Result<Asked, Refusal> {
        let content = self.content_of(file).await?;
        let (id, sha256, declared, size) = (file.file, file.sha256, file.media_type.clone(), file.size);
        let engine = scanner.engine();
        let begun = self.clock.monotonic();
        let hold = Hold::default();
        let mut lent = hold.lend(ContentReader::new(content));
        let looked = tokio::task::spawn_blocking(move || {
            let subject = Subject { file: id, sha256, declared: &declared, size };
            failpoint::here_for(Point::ScanBegun, &sha256);
            let said = scanner.scan(&subject, &mut lent);
            failpoint::here_for(Point::ScanRead, &sha256);
            said
        });
        let looked = tokio::time::timeout(self.terms.scan_timeout.saturating_add(GRACE), looked).await;
        let error = match looked {
            Ok(Ok(Ok(verdict))) => {
                self.engines.spoke(engine, id);
                let said = verdict.finding.map_or("clean", Finding::name);
                self.watch.scanned(engine, said, self.clock.monotonic().saturating_sub(begun));
                return Ok(Asked::Said(verdict));
            }
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => ScanError::Engine { engine, failure: EngineFailure::Broken },
            Err(_) => ScanError::Engine { engine, failure: EngineFailure::Late },
        };
        self.watch.scanned(engine, NO_VERDICT, self.clock.monotonic().saturating_sub(begun));
        tracing::warn!(code = Code::ScanFailing.name(), file = %id, cause = %error, "no verdict");
        let ScanError::Engine { failure, .. } = error else { return Ok(Asked::Nothing) };
        // All others flow: only an engine that does not do as it should is looked at before it is asked again.
        if !matches!(failure, EngineFailure::Busy | EngineFailure::Error) {
            self.engines.failed(engine, failure, self.clock.monotonic());
        }
        let again = failure == EngineFailure::Broken && self.engines.broke(engine, id);
        Ok(if again { Asked::BrokeAgain } else { Asked::Nothing })
    }

    fn held(&self, job: &ScanJob) -> Stamp {
        let at = self.clock.now();
        Stamp { at, actor: Actor::Server, due: Some(at.plus(job.decision.quarantine_keep)) }
    }

    async fn release(&self, job: &ScanJob, proofs: Vec<CleanScan>) -> Result<Scanned, Refusal> {
        let at = self.clock.now();
        let files: Vec<_> = job.files.iter().map(|file| (file.file, file.sha256)).collect();
        let due = Some(job.decision.due(job.created, at));
        let stamp = Stamp { at, actor: Actor::Server, due };
        let Ok(transitions) = lifecycle::release(State::Created, &files, proofs, stamp) else {
            return self.later(job).await;
        };
        let entries = transitions.iter().map(|transition| self.recorder.seal(&self.step_entry(job, transition, None)));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        failpoint::here(Point::ScanReleasing);
        match self.store.finish_scan(job, transitions.to_vec(), entries).await {
            Ok(_) => {
                self.pace.note(job.created, at);
                Ok(Scanned::Released)
            }
            Err(StoreError::Changed) => Ok(Scanned::Lost),
            Err(error) => Err(store_failure(error)),
        }
    }

    async fn finish(
        &self,
        job: &ScanJob,
        transition: Result<Transition, InvalidTransition>,
        place: &str,
    ) -> Result<Scanned, Refusal> {
        let Ok(transition) = transition else {
            return Ok(Scanned::Lost);
        };
        let entry = self.recorder.seal(&self.step_entry(job, &transition, Some(place)))?;
        failpoint::here(Point::ScanHolding);
        match self.store.finish_scan(job, vec![transition], vec![entry]).await {
            Ok(_) => {
                failpoint::here(Point::ScanHeld);
                self.blobs.forget(None);
                self.pace.note(job.created, self.clock.now());
                Ok(Scanned::HeldBack)
            }
            Err(StoreError::Changed) => Ok(Scanned::Lost),
            Err(error) => Err(store_failure(error)),
        }
    }

    async fn later(&self, job: &ScanJob) -> Result<Scanned, Refusal> {
        let due = self.clock.now().plus(pause(job.attempts)).min(self.last_chance(job));
        self.store.retry_scan(job, due).await.map_err(store_failure)?;
        Ok(Scanned::Later)
    }

    /// Puts a job off that was not begun.
    async fn wait(&self, job: &ScanJob) -> Result<Scanned, Refusal> {
        let due = self.clock.now().plus(pause(job.attempts).min(LONGEST_WAIT)).min(self.last_chance(job));
        self.store.retry_scan(job, due).await.map_err(store_failure)?;
        Ok(Scanned::Waiting)
    }

    /// The moment at which a document without verdict is held back: the job must be due then at the latest.
    fn last_chance(&self, job: &ScanJob) -> Timestamp {
        job.created.plus(job.decision.scan_within).plus(Duration::from_secs(1)).max(self.clock.now().plus(FIRST_PAUSE))
    }

    fn step_entry(&self, job: &ScanJob, transition: &Transition, place: Option<&str>) -> Entry {
        let (from, to) = (transition.from(), transition.to());
        let entry = Entry::new(Action::LifecycleTransition, Outcome::Ok).server();
        let entry = entry.resource("DocumentReference", &job.id, 0).states(Some(from.as_str()), to.as_str());
        let entry = about_subject(entry, job.subject.as_ref()).reason(transition.reason());
        match place {
            Some(place) => entry.with("place", place),
            None => entry,
        }
    }
}

/// What looking at one file gave.
enum Looked {
    Clean(CleanScan),
    Found(Finding, String),
    Nothing,
    /// There will be no verdict.
    Never(String),
}

/// What asking one engine gave.
enum Asked {
    Said(Verdict),
    Nothing,
    BrokeAgain,
}

fn prove(file: FileId, sha256: [u8; 32], engines: &[Engine], verdicts: &[Verdict]) -> Looked {
    match Verdict::clean_for(file, sha256, engines, verdicts) {
        Some(proof) => Looked::Clean(proof),
        None => Looked::Nothing,
    }
}

/// Doubling pause after `attempts` tries.
fn pause(attempts: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempts.min(8)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_bounded() {
        assert_eq!(pause(0), Duration::from_secs(2));
        assert_eq!(pause(3), Duration::from_secs(16));
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
