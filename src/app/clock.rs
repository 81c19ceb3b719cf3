//! The system's clocks, the only file that reads them; and the clock that access goes by, which never shows less than it has shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::clock::{Clock, Timestamp};

/// Wall clock and monotonic clock of this machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    begin: Instant,
}

impl SystemClock {
    /// Its monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place where the clocks are read")]
    pub fn new() -> Self {
        Self { begin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the clocks are read")]
    fn now_micros(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.begin.elapsed()
    }
}

/// Another clock, held at the highest time that it has shown: what was closed by it stays closed when it is set back.
#[derive(Debug)]
pub struct HeldClock {
    inner: Arc<dyn Clock>,
    highest: AtomicU64,
}

impl HeldClock {
    /// Over `inner`; what was seen in earlier runs comes by [`Clock::raise`].
    pub fn new(inner: Arc<dyn Clock>) -> Self {
        Self { inner, highest: AtomicU64::new(0) }
    }
}

impl Clock for HeldClock {
    fn now_micros(&self) -> u64 {
        let now = self.inner.now_micros();
        self.highest.fetch_max(now, Ordering::AcqRel).max(now)
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.inner.wall()
    }

    fn raise(&self, time: Timestamp) {
        let micros = u64::try_from(time.millis()).unwrap_or(0).saturating_mul(1_000);
        self.highest.fetch_max(micros, Ordering::AcqRel);
    }

    fn accept_wall(&self) {
        self.highest.store(self.inner.now_micros(), Ordering::Release);
    }
}
