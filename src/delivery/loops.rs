//! How the background loops do. Each gives a sign when it comes round and when it works on; one that fails again and again, or gives no
//! sign for too long, ends readiness where the answers need its work (verdicts, ends of transfers), and is told of at `/readyz` where
//! they do not (destruction, messages, checkpoints): requests are answered as well without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// So many turns that failed one after the other are more than a mishap.
const FAILURES_MOST: u32 = 3;

/// How often the supervisor counts the time that loops give no sign ([`Loops::tick`]).
pub const TICK: Duration = Duration::from_secs(1);

/// Ticks for which a loop may give no sign, where nothing longer is asked for.
const SILENT_MOST: u64 = 120;

macro_rules! loops {
    ($($(#[doc = $doc:literal])+ $loop:ident = $name:literal,)+) => {
        /// A background loop.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Loop { $($(#[doc = $doc])+ $loop,)+ }

        impl Loop {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$loop,)+];

            /// For logs and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$loop => $name,)+ }
            }

            /// What `/readyz` says when it does not do its work.
            const fn ails(self) -> &'static str {
                match self { $(Self::$loop => concat!("background loop ", $name),)+ }
            }
        }
    };
}

loops! {
    /// Takes documents to the engines.
    ScanFirst = "scan-1",
    /// Does the same beside it.
    ScanSecond = "scan-2",
    /// Probes the engines.
    Engines = "engines",
    /// Counts what waits for a verdict.
    ScanBacklog = "scan-backlog",
    /// Ends transfers.
    Transfers = "transfers",
    /// Sends notifications.
    Notifications = "notifications",
    /// Ends access and destroys.
    Retention = "retention",
    /// Signs checkpoints of the log.
    Checkpoint = "checkpoint",
    /// Compares bytes with rows.
    Files = "files",
    /// Records counted refusals, and forgets what is over.
    Upkeep = "upkeep",
    /// Makes the indexes beside the log.
    Indexes = "indexes",
    /// Records that the server is there.
    Heartbeat = "heartbeat",
    /// Renews keys.
    Rotation = "rotation",
    /// Checks the whole log.
    LogCheck = "log-check",
    /// Takes commands.
    Commands = "commands",
}

impl Loop {
    /// Whether a server without its work should get no requests: what it takes in would not be checked, or what it hands out would not
    /// end when it must. Access ends without the others, and what they put off is done once they work again.
    const fn is_needed_to_serve(self) -> bool {
        matches!(self, Self::ScanFirst | Self::ScanSecond | Self::Engines | Self::Transfers)
    }
}

/// Why a loop does not do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// So many turns failed one after the other.
    Failing(u32),
    /// It gave no sign for so long.
    Silent(Duration),
}

/// The signs of all loops.
#[derive(Debug)]
pub struct Loops {
    pulses: Vec<Arc<Pulse>>,
    ticks: Arc<AtomicU64>,
}

/// The signs of one loop.
#[derive(Debug)]
pub struct Pulse {
    which: Loop,
    ticks: Arc<AtomicU64>,
    /// The tick of its last sign; [`u64::MAX`] while it does not run.
    seen: AtomicU64,
    patience: AtomicU64,
    failures: AtomicU32,
}

tokio::task_local! {
    static OWN: Arc<Pulse>;
}

/// A sign from within a turn that takes long. Outside of a loop it says nothing.
pub fn still_at_work() {
    let _: Result<(), _> = OWN.try_with(|pulse| pulse.at_work());
}

impl Default for Loops {
    fn default() -> Self {
        let ticks = Arc::new(AtomicU64::new(0));
        let pulses = Loop::ALL.iter().map(|which| Arc::new(Pulse::new(*which, Arc::clone(&ticks)))).collect();
        Self { pulses, ticks }
    }
}

impl Loops {
    /// The signs of one loop, to be given.
    pub fn pulse(&self, which: Loop) -> Arc<Pulse> {
        let found = self.pulses.iter().find(|pulse| pulse.which == which).map(Arc::clone);
        found.unwrap_or_else(|| Arc::new(Pulse::new(which, Arc::clone(&self.ticks))))
    }

    /// One more [`TICK`] has passed. Time is counted and not read from a clock: what stops the whole process is no loop's fault.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Loops that do not do their work.
    pub fn ailing(&self) -> Vec<(Loop, Ailment)> {
        self.pulses.iter().filter_map(|pulse| Some((pulse.which, pulse.ailment()?))).collect()
    }

    /// The first of those without which nothing is to be served, as `/readyz` says it.
    pub fn not_ready(&self) -> Option<&'static str> {
        self.first_ailing(Loop::is_needed_to_serve)
    }

    /// The first of the others, as `/readyz` says it.
    pub fn degraded(&self) -> Option<&'static str> {
        self.first_ailing(|which| !which.is_needed_to_serve())
    }

    fn first_ailing(&self, of: fn(Loop) -> bool) -> Option<&'static str> {
        self.ailing().into_iter().find(|(which, _)| of(*which)).map(|(which, _)| which.ails())
    }
}

impl Pulse {
    fn new(which: Loop, ticks: Arc<AtomicU64>) -> Self {
        let (seen, patience) = (AtomicU64::new(u64::MAX), AtomicU64::new(SILENT_MOST));
        Self { which, ticks, seen, patience, failures: AtomicU32::new(0) }
    }

    /// Which loop it is.
    pub fn which(&self) -> Loop {
        self.which
    }

    /// Lets the loop go on for so much longer without a sign.
    pub fn allow(&self, longer: Duration) {
        self.patience.store(SILENT_MOST.saturating_add(longer.as_secs()), Ordering::Relaxed);
    }

    /// It works, or rests.
    pub fn at_work(&self) {
        self.seen.store(self.ticks.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// A turn did what it should. Answers how many before it failed.
    pub fn came_round(&self) -> u32 {
        self.at_work();
        self.failures.swap(0, Ordering::Relaxed)
    }

    /// A turn failed. Answers how many have since one did what it should.
    pub fn failed(&self) -> u32 {
        self.at_work();
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// It was stopped.
    pub fn stopped(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.seen.store(u64::MAX, Ordering::Relaxed);
    }

    /// Runs a loop whose turns give signs by [`still_at_work`].
    pub async fn around<T>(self: Arc<Self>, work: impl Future<Output = T>) -> T {
        OWN.scope(self, work).await
    }

    fn ailment(&self) -> Option<Ailment> {
        let failures = self.failures.load(Ordering::Relaxed);
        // One that does not run was seen in the future, which is never long ago.
        let silent = self.ticks.load(Ordering::Relaxed).saturating_sub(self.seen.load(Ordering::Relaxed));
        if failures >= FAILURES_MOST {
            return Some(Ailment::Failing(failures));
        }
        let too_long = silent > self.patience.load(Ordering::Relaxed);
        too_long.then(|| Ailment::Silent(TICK.saturating_mul(u32::try_from(silent).unwrap_or(u32::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_gives_no_sign_is_told_of_until_it_gives_one() {
        let loops = Loops::default();
        let (retention, scan) = (loops.pulse(Loop::Retention), loops.pulse(Loop::ScanFirst));
        retention.at_work();
        scan.allow(Duration::from_secs(60));
        scan.at_work();
        (0..120).for_each(|_| loops.tick());
        assert_eq!(loops.ailing(), [], "loops that do not run are not waited for");
        loops.tick();
        assert_eq!(loops.ailing(), [(Loop::Retention, Ailment::Silent(Duration::from_secs(121)))]);
        assert_eq!((loops.not_ready(), loops.degraded()), (None, Some("background loop retention")));
        retention.at_work();
        (0..60).for_each(|_| loops.tick());
        assert_eq!(loops.ailing(), [(Loop::ScanFirst, Ailment::Silent(Duration::from_secs(181)))]);
        assert_eq!((loops.not_ready(), loops.degraded()), (Some("background loop scan-1"), None));
        scan.stopped();
        assert_eq!(loops.not_ready(), None);
    }

    #[test]
    fn a_loop_that_fails_again_and_again_is_told_of_until_a_turn_succeeds() {
        let loops = Loops::default();
        let upkeep = loops.pulse(Loop::Upkeep);
        assert_eq!((upkeep.failed(), upkeep.failed()), (1, 2));
        assert_eq!(loops.ailing(), [], "a mishap is none of readiness");
        upkeep.failed();
        upkeep.at_work();
        assert_eq!(loops.ailing(), [(Loop::Upkeep, Ailment::Failing(3))]);
        assert_eq!(upkeep.came_round(), 3);
        assert_eq!(loops.ailing(), []);
    }

    #[test]
    fn readiness_ends_with_the_loops_that_check_or_end_what_is_served_and_with_no_other() {
        let needed = ["scan-1", "scan-2", "engines", "transfers"];
        for which in Loop::ALL {
            let loops = Loops::default();
            (0..3).for_each(|_| _ = loops.pulse(*which).failed());
            let is_needed = needed.contains(&which.name());
            assert_eq!((loops.not_ready().is_some(), loops.degraded().is_some()), (is_needed, !is_needed), "{which:?}");
        }
    }

    #[tokio::test]
    async fn a_turn_gives_signs_for_its_own_loop() {
        let loops = Loops::default();
        let files = loops.pulse(Loop::Files);
        files.at_work();
        (0..200).for_each(|_| loops.tick());
        still_at_work();
        assert_eq!(loops.ailing().len(), 1);
        files.around(async { still_at_work() }).await;
        assert_eq!(loops.ailing(), []);
    }
}
