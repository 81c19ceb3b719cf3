//! One loop: run, wait, run again, until stopped. Failures are told once when they begin and once when they end.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

/// The longest pause after failures in a row.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What work comes to; `None` when it panicked: one turn is lost, its loop is not. What a turn had claimed comes back with its
/// lease, and everything that counts is changed in transactions, so nothing half done is left to go on with.
pub(super) async fn guarded<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// Runs `work` every `period`; after failures the pause doubles.
pub(super) async fn every<W, F>(name: &'static str, period: Duration, mut stopped: watch::Receiver<bool>, work: W)
where
    W: Fn() -> F,
    F: Future<Output = Result<(), String>>,
{
    let mut failures: u32 = 0;
    while !*stopped.borrow() {
        match guarded(async { work().await }).await.unwrap_or_else(|| Err("panicked".to_owned())) {
            Ok(()) if failures > 0 => {
                tracing::info!(worker = name, failures, "works again");
                failures = 0;
            }
            Ok(()) => {}
            Err(cause) => {
                if failures == 0 {
                    tracing::error!(worker = name, cause, "failed; trying again");
                }
                failures = failures.saturating_add(1);
            }
        }
        let pause = period.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE.max(period));
        tokio::select! {
            _ = stopped.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn f19_a_turn_that_panics_ends_no_loop() {
        let (stop, stopped) = watch::channel(false);
        let (runs, seen) = (AtomicU32::new(0), tokio::sync::Notify::new());
        let work = || async {
            if runs.fetch_add(1, Ordering::Relaxed) == 2 {
                seen.notify_one();
                return Ok(());
            }
            panic!("a turn")
        };
        let running = every("test", Duration::from_millis(1), stopped, work);
        let ending = async {
            seen.notified().await;
            stop.send_replace(true);
        };
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(running, ending) }).await.unwrap();
        assert!(runs.load(Ordering::Relaxed) >= 3);
    }

    #[tokio::test]
    async fn a_loop_that_fails_goes_on_until_it_is_stopped() {
        let (stop, stopped) = watch::channel(false);
        let (runs, seen) = (AtomicU32::new(0), tokio::sync::Notify::new());
        let work = || async {
            if runs.fetch_add(1, Ordering::Relaxed) == 3 {
                seen.notify_one();
            }
            Err("broken".to_owned())
        };
        let running = every("test", Duration::from_millis(1), stopped, work);
        let ending = async {
            seen.notified().await;
            stop.send_replace(true);
        };
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(running, ending) }).await.unwrap();
        assert!(runs.load(Ordering::Relaxed) >= 4);
    }
}
