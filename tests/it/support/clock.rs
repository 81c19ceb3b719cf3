//! Time that stands still until a test moves it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use daylily::domain::clock::{Clock, Timestamp};

/// Microseconds that a test has let pass since a fixed moment, and how far it has set the wall clock off.
#[derive(Debug, Default)]
pub struct TestClock {
    passed: AtomicU64,
    off: AtomicI64,
}

impl TestClock {
    /// Time passes: both clocks move together, as a server watches it.
    pub fn advance(&self, span: Duration) {
        self.passed.fetch_add(u64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Somebody sets the wall clock forward.
    pub fn set_forward(&self, span: Duration) {
        self.off.fetch_add(i64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Somebody sets the wall clock back.
    pub fn set_back(&self, span: Duration) {
        self.off.fetch_sub(i64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_micros(&self) -> u64 {
        let begin = Timestamp::parse("2026-11-23T10:00:00Z").unwrap().millis();
        let wall = u64::try_from(begin).unwrap() * 1_000 + self.passed.load(Ordering::SeqCst);
        wall.saturating_add_signed(self.off.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.passed.load(Ordering::SeqCst))
    }
}
