//! All loops run here: run, rest, run again, until stopped. A turn that fails or panics is counted and told, and the next comes after a
//! longer rest; a loop that ends is begun anew. How each does stands in [`Loops`], where readiness and `doctor` look.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::delivery::{Loop, Loops, Pulse, TICK};

/// The longest pause after failures in a row.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause after a loop ended for the first time; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A loop that rests gives a sign this often.
const SIGN_EVERY: Duration = Duration::from_secs(10);

/// Told of each turn that failed, by its loop.
pub type ObserveLoop = Arc<dyn Fn(Loop) + Send + Sync>;

/// What work comes to; `None` when it panicked: one turn is lost, its loop is not. What a turn had claimed comes back with its
/// lease, and everything that counts is changed in transactions, so nothing half done is left to go on with.
pub(super) async fn guarded<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// Runs loops until they are stopped.
#[derive(Clone)]
pub struct Supervisor {
    loops: Arc<Loops>,
    stopped: watch::Receiver<bool>,
    observe: ObserveLoop,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Supervisor")
    }
}

/// One loop as it sees itself.
#[derive(Debug, Clone)]
pub struct Running {
    pulse: Arc<Pulse>,
    stopped: watch::Receiver<bool>,
}

impl Supervisor {
    /// Over the signs in `loops`; ends when `stopped` says so.
    pub(super) fn new(loops: Arc<Loops>, stopped: watch::Receiver<bool>, observe: ObserveLoop) -> Self {
        Self { loops, stopped, observe }
    }

    /// For a loop that somebody else ends, before the others.
    #[must_use]
    pub fn until(&self, stopped: watch::Receiver<bool>) -> Self {
        Self { stopped, ..self.clone() }
    }

    /// Whether all loops are to end.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Counts a turn that panicked beside its loop.
    pub(super) fn broke_off(&self, which: Loop) {
        (self.observe)(which);
    }

    /// Counts the time that loops give no sign.
    pub(super) fn tick(&self) -> JoinHandle<()> {
        let (loops, mut stopped) = (Arc::clone(&self.loops), self.stopped.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    () = tokio::time::sleep(TICK) => loops.tick(),
                }
            }
        })
    }

    /// Runs `work` every `period`; after failures the pause doubles.
    pub fn every<W, F>(&self, which: Loop, period: Duration, work: W) -> JoinHandle<()>
    where
        W: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (supervisor, work) = (self.clone(), Arc::new(work));
        self.lasting(which, move |mut running| {
            let (supervisor, work) = (supervisor.clone(), Arc::clone(&work));
            async move {
                while !running.is_stopped() {
                    let turn = guarded(async { work().await }).await;
                    let failures = supervisor.note(&running, turn.unwrap_or_else(|| Err("panicked".to_owned())));
                    let pause = period.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE.max(period));
                    running.rest(pause).await;
                }
            }
        })
    }

    /// Runs a loop that gives signs by itself and ends when it is stopped. One that ends before that is begun anew.
    pub fn lasting<W, F>(&self, which: Loop, begin: W) -> JoinHandle<()>
    where
        W: Fn(Running) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut running = Running { pulse: self.loops.pulse(which), stopped: self.stopped.clone() };
        let supervisor = self.clone();
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            while !running.is_stopped() {
                running.at_work();
                let ended = guarded(Arc::clone(&running.pulse).around(begin(running.clone()))).await;
                if running.is_stopped() {
                    break;
                }
                let cause = if ended.is_some() { "ended" } else { "panicked" };
                (supervisor.observe)(which);
                let failures = running.pulse.failed();
                tracing::error!(worker = which.name(), failures, cause, "a loop broke off and begins anew");
                pause = if failures <= 1 { FIRST_PAUSE } else { pause.saturating_mul(2).min(LONGEST_PAUSE) };
                running.rest(pause).await;
            }
            running.pulse.stopped();
        })
    }

    /// Takes note of what a turn came to. Answers how many failed in a row.
    pub fn note(&self, running: &Running, turn: Result<(), String>) -> u32 {
        let pulse = &running.pulse;
        let worker = pulse.which().name();
        match turn {
            Ok(()) => {
                let failures = pulse.came_round();
                if failures > 0 {
                    tracing::info!(worker, failures, "works again");
                }
                0
            }
            Err(cause) => {
                (self.observe)(pulse.which());
                let failures = pulse.failed();
                // Told once when failures begin and once when they end.
                if failures == 1 {
                    tracing::error!(worker, cause, "failed; trying again");
                }
                failures
            }
        }
    }
}

impl Running {
    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        // Nobody is there any more who could stop it.
        *self.stopped.borrow() || self.stopped.has_changed().is_err()
    }

    /// Ends when the loop is to end.
    pub async fn stop(&mut self) {
        let _: Result<_, _> = self.stopped.wait_for(|stopped| *stopped).await;
    }

    /// Gives a sign.
    pub fn at_work(&self) {
        self.pulse.at_work();
    }

    /// Waits, giving signs, until the time is over or the loop is to end.
    pub async fn rest(&mut self, pause: Duration) {
        let mut left = pause;
        while !left.is_zero() && !self.is_stopped() {
            let piece = left.min(SIGN_EVERY);
            self.at_work();
            tokio::select! {
                () = self.stop() => {}
                () = tokio::time::sleep(piece) => {}
            }
            left = left.saturating_sub(piece);
        }
        self.at_work();
    }

    /// Gives signs for work that waits for others and gives none.
    pub async fn waiting<T>(self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(SIGN_EVERY) => self.at_work(),
            }
        }
    }

    /// Lets the loop go on for so much longer without a sign.
    pub fn allow(&self, longer: Duration) {
        self.pulse.allow(longer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::delivery::Ailment;

    struct Watched {
        loops: Arc<Loops>,
        stop: watch::Sender<bool>,
        supervisor: Supervisor,
        told: Arc<AtomicU32>,
    }

    fn watched() -> Watched {
        let (loops, told) = (Arc::new(Loops::default()), Arc::new(AtomicU32::new(0)));
        let (stop, stopped) = watch::channel(false);
        let counted = Arc::clone(&told);
        let observe = Arc::new(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
        Watched { supervisor: Supervisor::new(Arc::clone(&loops), stopped, observe), loops, stop, told }
    }

    /// A turn that does as told until it was run so often, and is well from then on.
    fn ill_until(
        times: u32,
        ill: fn() -> Result<(), String>,
    ) -> (Arc<AtomicU32>, impl Fn() -> Result<(), String> + Clone) {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        (runs, move || if counted.fetch_add(1, Ordering::Relaxed) < times { ill() } else { Ok(()) })
    }

    /// Time is the runtime's own and paused: it moves on when everything waits.
    async fn until(condition: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never");
    }

    #[tokio::test(start_paused = true)]
    async fn f19_turns_that_panic_or_fail_are_told_of_counted_and_end_no_loop() {
        for ill in [(|| panic!("a turn")) as fn() -> Result<(), String>, || Err("broken".to_owned())] {
            let watched = watched();
            let (runs, turn) = ill_until(5, ill);
            let task = watched.supervisor.every(Loop::Retention, Duration::from_secs(1), move || {
                let turn = turn.clone();
                async move { turn() }
            });
            until(|| runs.load(Ordering::Relaxed) >= 3).await;
            assert!(matches!(watched.loops.ailing()[..], [(Loop::Retention, Ailment::Failing(3..))]));
            until(|| watched.loops.ailing().is_empty()).await;
            assert_eq!((runs.load(Ordering::Relaxed), watched.told.load(Ordering::Relaxed)), (6, 5));
            watched.stop.send_replace(true);
            task.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_or_ends_begins_anew_and_is_seen_meanwhile() {
        for ill in [(|| panic!("a loop")) as fn() -> Result<(), String>, || Err("ends".to_owned())] {
            let watched = watched();
            let (runs, turn) = ill_until(4, ill);
            let supervisor = watched.supervisor.clone();
            let task = watched.supervisor.lasting(Loop::Notifications, move |mut running| {
                let (turn, supervisor) = (turn.clone(), supervisor.clone());
                async move {
                    if turn().is_ok() {
                        supervisor.note(&running, Ok(()));
                        running.stop().await;
                    }
                }
            });
            until(|| runs.load(Ordering::Relaxed) >= 4).await;
            assert_eq!(watched.loops.degraded(), Some("background loop notifications"));
            until(|| watched.loops.ailing().is_empty()).await;
            assert_eq!(watched.told.load(Ordering::Relaxed), 4);
            watched.stop.send_replace(true);
            task.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_hangs_is_seen_and_one_that_rests_long_is_not() {
        let watched = watched();
        let ticking = watched.supervisor.tick();
        let day = Duration::from_secs(86_400);
        let resting = watched.supervisor.every(Loop::Files, day, || async { Ok(()) });
        let hanging = watched.supervisor.every(Loop::Checkpoint, TICK, std::future::pending);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(matches!(watched.loops.ailing()[..], [(Loop::Checkpoint, Ailment::Silent(_))]));
        watched.stop.send_replace(true);
        resting.await.unwrap();
        ticking.await.unwrap();
        hanging.abort();
    }
}
