//! The safety check of one document: claim, look, and what the verdicts mean. A scanner that fails, hangs or answers nonsense
//! leaves the document where it is, visible and tried again.

use std::sync::Arc;
use std::time::Duration;

use super::Delivery;
use super::failure::store_failure;
use super::offers::about_subject;
use crate::blob::ContentReader;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::FileId;
use crate::domain::lifecycle::{self, Actor, InvalidTransition, Stamp, State, Transition};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::FileFacts;
use crate::domain::verdict::{CleanScan, Engine, Finding, Verdict};
use crate::scan::{Scanner, Subject};
use crate::store::{ScanJob, StoreError};

/// First pause after a scan that did not succeed; doubled with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

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
    /// Somebody else had it, or the document has moved on.
    Lost,
}

impl Delivery {
    /// Takes the document that has waited longest and looks at its files.
    ///
    /// # Errors
    /// Failures of the store: nothing was decided, the lease brings the job back.
    pub async fn scan_next(&self) -> Result<Scanned, Refusal> {
        let now = self.clock.now();
        let Some(job) = self.store.claim_scan(now, self.terms.scan_lease).await.map_err(store_failure)? else {
            return Ok(Scanned::Idle);
        };
        if now > job.created.plus(job.decision.scan_within) {
            return self.finish(&job, lifecycle::quarantine_unscanned(State::Created, self.held(&job)), "scan").await;
        }
        if job.decision.waits_for_antivirus(&self.terms.engines) {
            tracing::warn!(code = Code::ScanEngineMissing.name(), document = %job.id, "document waits");
            return self.later(&job).await;
        }
        let mut proofs = Vec::new();
        for file in &job.files {
            match self.look_at(&job, file).await {
                Ok(Looked::Clean(proof)) => proofs.push(proof),
                Ok(Looked::Found(finding, place)) => {
                    let transition = lifecycle::quarantine(State::Created, finding, self.held(&job));
                    return self.finish(&job, transition, &place).await;
                }
                Ok(Looked::Nothing) | Err(_) => return self.later(&job).await,
            }
        }
        self.release(&job, proofs).await
    }

    async fn look_at(&self, job: &ScanJob, file: &FileFacts) -> Result<Looked, Refusal> {
        let mut verdicts = Vec::new();
        for engine in &job.decision.scan {
            let Some(scanner) = self.scanners.iter().find(|scanner| scanner.engine() == *engine) else {
                tracing::warn!(code = Code::ScanEngineMissing.name(), engine = engine.name(), "engine not configured");
                return Ok(Looked::Nothing);
            };
            let Some(verdict) = self.ask(Arc::clone(scanner), file).await? else {
                return Ok(Looked::Nothing);
            };
            if let Some(finding) = verdict.finding {
                return Ok(Looked::Found(finding, format!("{} {}", engine.name(), verdict.place)));
            }
            verdicts.push(verdict);
        }
        Ok(prove(file.file, file.sha256, &job.decision.scan, &verdicts))
    }

    async fn ask(&self, scanner: Arc<dyn Scanner>, file: &FileFacts) -> Result<Option<Verdict>, Refusal> {
        let content = self.content_of(file).await?;
        let (id, sha256, declared, size) = (file.file, file.sha256, file.media_type.clone(), file.size);
        let looked = tokio::task::spawn_blocking(move || {
            let subject = Subject { file: id, sha256, declared: &declared, size };
            scanner.scan(&subject, &mut ContentReader::new(content))
        });
        let cause = match tokio::time::timeout(self.terms.scan_timeout, looked).await {
            Ok(Ok(Ok(verdict))) => return Ok(Some(verdict)),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => "the engine broke off".to_owned(),
            Err(_) => "the engine took too long".to_owned(),
        };
        tracing::warn!(code = Code::ScanFailing.name(), file = %id, cause, "no verdict");
        Ok(None)
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
        match self.store.finish_scan(job, transitions.to_vec(), entries).await {
            Ok(_) => Ok(Scanned::Released),
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
        match self.store.finish_scan(job, vec![transition], vec![entry]).await {
            Ok(_) => Ok(Scanned::HeldBack),
            Err(StoreError::Changed) => Ok(Scanned::Lost),
            Err(error) => Err(store_failure(error)),
        }
    }

    async fn later(&self, job: &ScanJob) -> Result<Scanned, Refusal> {
        let due = self.clock.now().plus(pause(job.attempts)).min(self.last_chance(job));
        self.store.retry_scan(job, due).await.map_err(store_failure)?;
        Ok(Scanned::Later)
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
