//! The system's clocks. The only file that reads them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::clock::Clock;

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
