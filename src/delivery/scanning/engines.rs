//! Which engines may be asked now. Each is probed at the start, now and then, and at once after it failed; while one is not fit, the documents
//! that need it wait without being opened, and all others go on. And: which file made an engine break off again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::delivery::Delivery;
use crate::domain::clock::Timestamp;
use crate::domain::id::FileId;
use crate::domain::policy::{AntivirusTerms, Unsuited};
use crate::domain::refusal::Code;
use crate::domain::verdict::Engine;
use crate::scan::{Condition, EngineFailure, Scanner};

/// Between two probes of an engine that is fit.
const PROBE_EVERY: Duration = Duration::from_secs(300);
/// Between two probes of one that is not: doubled from the first to the last.
const FIRST_AGAIN: Duration = Duration::from_secs(1);
const LAST_AGAIN: Duration = Duration::from_secs(30);
/// Times that an engine may break off on one file, being fit again each time, until the file is given up.
const BREAKS: u8 = 3;
/// Files whose breaks are remembered; more than these at once are no single bad files.
const REMEMBERED: usize = 1_000;

/// The engines of one server.
#[derive(Debug)]
pub(crate) struct Engines {
    watched: Vec<Watched>,
    breaks: Mutex<HashMap<(Engine, FileId), u8>>,
}

#[derive(Debug)]
struct Watched {
    scanner: Arc<dyn Scanner>,
    seen: Mutex<Seen>,
}

/// What the last probe, or a failure since, has shown.
#[derive(Debug, Default)]
struct Seen {
    condition: Option<Condition>,
    due: Duration,
    failures: u32,
    probing: bool,
}

impl Watched {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engines {
    pub(crate) fn new(scanners: Vec<Arc<dyn Scanner>>) -> Self {
        let watch = |scanner| Watched { scanner, seen: Mutex::default() };
        Self { watched: scanners.into_iter().map(watch).collect(), breaks: Mutex::default() }
    }

    fn find(&self, engine: Engine) -> Option<&Watched> {
        self.watched.iter().find(|watched| watched.scanner.engine() == engine)
    }

    pub(super) fn scanner(&self, engine: Engine) -> Option<&Arc<dyn Scanner>> {
        self.find(engine).map(|watched| &watched.scanner)
    }

    /// Whether its verdicts count now. An engine that was not probed yet is not ready.
    pub(super) fn is_ready(&self, engine: Engine) -> bool {
        let ready = |watched: &Watched| watched.seen().condition.as_ref().is_some_and(Condition::is_ready);
        self.find(engine).is_some_and(ready)
    }

    /// What an antivirus engine that works lacks for a rule. An engine without signatures suits every rule.
    pub(super) fn unsuited(&self, engine: Engine, terms: &AntivirusTerms, now: Timestamp) -> Option<Unsuited> {
        let watched = self.find(engine).filter(|_| engine.is_antivirus())?;
        match watched.seen().condition.as_ref()? {
            Condition::Ready { version, signatures } => terms.suit(version, *signatures, now).err(),
            Condition::Failing(_) | Condition::Unfit(_) => None,
        }
    }

    /// It gave no verdict: nothing more is asked of it before a probe has shown it fit.
    pub(super) fn failed(&self, engine: Engine, failure: EngineFailure, now: Duration) {
        let Some(watched) = self.find(engine) else { return };
        let mut seen = watched.seen();
        seen.condition = Some(Condition::Failing(failure));
        seen.due = now;
    }

    /// It broke off while it looked at this file. Whether that was once too often.
    pub(super) fn broke(&self, engine: Engine, file: FileId) -> bool {
        let mut breaks = self.breaks.lock().unwrap_or_else(PoisonError::into_inner);
        if breaks.len() >= REMEMBERED && !breaks.contains_key(&(engine, file)) {
            breaks.clear();
        }
        let count = breaks.entry((engine, file)).or_default();
        *count = count.saturating_add(1);
        let enough = *count >= BREAKS;
        if enough {
            breaks.remove(&(engine, file));
        }
        enough
    }

    /// It gave a verdict on this file.
    pub(super) fn spoke(&self, engine: Engine, file: FileId) {
        self.breaks.lock().unwrap_or_else(PoisonError::into_inner).remove(&(engine, file));
    }

    /// Takes those whose probe is due, once each.
    fn take_due(&self, now: Duration) -> Vec<&Watched> {
        let due = |watched: &&Watched| {
            let mut seen = watched.seen();
            let due = !seen.probing && (seen.condition.is_none() || seen.due <= now);
            seen.probing |= due;
            due
        };
        self.watched.iter().filter(due).collect()
    }
}

impl Watched {
    fn found(&self, condition: Condition, now: Duration) {
        let mut seen = self.seen();
        let engine = self.scanner.engine().name();
        let was_ready = seen.condition.as_ref().is_some_and(Condition::is_ready);
        match condition.trouble() {
            Some(trouble) => {
                let again = FIRST_AGAIN.saturating_mul(1 << seen.failures.min(8)).min(LAST_AGAIN);
                seen.due = now.saturating_add(again);
                if seen.failures == 0 || seen.condition.as_ref() != Some(&condition) {
                    tracing::warn!(code = Code::ScanFailing.name(), engine, trouble, "documents wait for this engine");
                }
                seen.failures = seen.failures.saturating_add(1);
            }
            None => {
                seen.due = now.saturating_add(PROBE_EVERY);
                let had_failed = std::mem::take(&mut seen.failures) > 0;
                if !was_ready && had_failed {
                    tracing::info!(engine, "the engine is ready");
                }
            }
        }
        seen.condition = Some(condition);
        seen.probing = false;
    }
}

impl Delivery {
    /// Probes the engines that are due for it. Called every second; costs nothing where none is due.
    pub async fn check_engines(&self) {
        let mut probes = Vec::new();
        for watched in self.engines.take_due(self.clock.monotonic()) {
            let scanner = Arc::clone(&watched.scanner);
            probes.push((watched, tokio::task::spawn_blocking(move || scanner.probe())));
        }
        for (watched, probe) in probes {
            let condition = probe.await.unwrap_or(Condition::Failing(EngineFailure::Broken));
            watched.found(condition, self.clock.monotonic());
        }
    }

    /// How every engine does, in the order of the settings. An engine that was not probed yet is shown as one that does not answer.
    pub fn engine_conditions(&self) -> Vec<(Engine, Condition)> {
        let unknown = Condition::Failing(EngineFailure::Unreachable);
        let show = |watched: &Watched| {
            (watched.scanner.engine(), watched.seen().condition.clone().unwrap_or_else(|| unknown.clone()))
        };
        self.engines.watched.iter().map(show).collect()
    }
}

impl Delivery {
    /// What an antivirus engine that works lacks for the policy in force: documents that come now wait for it.
    pub fn unsuited_engine(&self) -> Option<Unsuited> {
        let (policy, now) = (self.policy(), self.clock.now());
        let rules = policy.policy.rules.iter().map(|rule| &rule.decision);
        std::iter::once(&policy.policy.default).chain(rules).find_map(|decision| {
            let asked = |engine: &&Engine| decision.require_antivirus || decision.scan.contains(engine);
            Engine::ALL.iter().filter(asked).find_map(|engine| self.engines.unsuited(*engine, &decision.antivirus, now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::rules::RuleScanner;

    fn engines() -> Engines {
        Engines::new(vec![Arc::new(RuleScanner::default())])
    }

    #[test]
    fn an_engine_is_asked_only_between_a_good_probe_and_a_failure() {
        let engines = engines();
        let at = Duration::from_secs;
        assert!(!engines.is_ready(Engine::Rules), "not before it was probed");
        assert!(!engines.is_ready(Engine::Clamd), "not what is not there");
        let watched = engines.take_due(at(0)).pop().unwrap();
        assert!(engines.take_due(at(0)).is_empty(), "one probe at a time");
        watched.found(watched.scanner.probe(), at(0));
        assert!(engines.is_ready(Engine::Rules));
        assert!(engines.take_due(at(299)).is_empty());
        engines.failed(Engine::Rules, EngineFailure::Broken, at(10));
        assert!(!engines.is_ready(Engine::Rules));
        assert_eq!(engines.take_due(at(10)).len(), 1, "looked at again at once");
    }

    #[test]
    fn probes_of_an_engine_that_is_gone_grow_rare() {
        let engines = engines();
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let watched = engines.take_due(now).pop().unwrap();
            watched.found(Condition::Failing(EngineFailure::Unreachable), now);
            let due = watched.seen().due;
            assert!(engines.take_due(due - Duration::from_millis(1)).is_empty());
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn the_third_break_on_one_file_is_one_too_many() {
        let engines = engines();
        let [one, other] = [1, 2].map(|byte| FileId::from_bytes([byte; 16]));
        assert!(!engines.broke(Engine::Clamd, one));
        assert!(!engines.broke(Engine::Clamd, one));
        assert!(!engines.broke(Engine::Clamd, other), "each file by itself");
        assert!(engines.broke(Engine::Clamd, one));
        assert!(!engines.broke(Engine::Clamd, other));
        engines.spoke(Engine::Clamd, other);
        assert!(!engines.broke(Engine::Clamd, other), "a verdict makes it forgotten");
    }
}
