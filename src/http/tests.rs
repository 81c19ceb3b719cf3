//! The surface of HTTP with a narrow stand-in behind it: shapes of refusals, headers on every answer, methods, ranges. Whole
//! journeys run on the composed server, in `tests/`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::clock::Clock;

/// A clock that a test moves.
#[derive(Debug, Default)]
pub(super) struct FakeClock(AtomicU64);

impl FakeClock {
    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now_micros(&self) -> u64 {
        1_795_000_000_000_000 + self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

mod every_route;
mod places;
mod refused;
mod surface;

pub(super) fn clock() -> Arc<FakeClock> {
    Arc::default()
}
