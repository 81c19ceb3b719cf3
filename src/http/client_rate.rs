//! How many requests one client may make: a program that runs wild is slowed down before it slows down the others.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as RateClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::refusals::Monotonic;
use crate::domain::clock::Clock;
use crate::domain::id::ClientId;
use crate::domain::refusal::{Code, Refusal};

/// Counts requests of clients that have proved who they are; so there are no more counters than registered clients.
pub(super) struct ClientRate {
    clock: Monotonic,
    /// `None`: switched off.
    limiter: Option<RateLimiter<ClientId, DashMapStateStore<ClientId>, Monotonic, NoOpMiddleware<Nanos>>>,
}

impl fmt::Debug for ClientRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRate")
            .field("clients", &self.limiter.as_ref().map(RateLimiter::len))
            .finish_non_exhaustive()
    }
}

impl ClientRate {
    /// `per_minute` requests a minute, and as many at once after a pause; 0 for as many as come.
    pub(super) fn new(clock: Arc<dyn Clock>, per_minute: usize) -> Self {
        let clock = Monotonic(clock);
        let rate = NonZeroU32::new(u32::try_from(per_minute).unwrap_or(u32::MAX));
        let limiter =
            rate.map(|rate| RateLimiter::new(Quota::per_minute(rate), DashMapStateStore::default(), clock.clone()));
        Self { clock, limiter }
    }

    /// Counts one.
    ///
    /// # Errors
    /// `rate-limited`, with how long to wait.
    pub(super) fn count(&self, client: &ClientId) -> Result<(), Refusal> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(client).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now()) + Duration::from_millis(999);
            Refusal::of(Code::RateLimited).retry_after(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::FakeClock;

    #[test]
    fn one_client_that_runs_wild_is_told_to_wait_and_the_others_are_not() {
        let clock = Arc::new(FakeClock::default());
        let rate = ClientRate::new(clock.clone(), 60);
        let (wild, calm) = (ClientId::parse("wild").unwrap(), ClientId::parse("calm").unwrap());
        assert_eq!((0..61).filter(|_| rate.count(&wild).is_ok()).count(), 60);
        let refused = rate.count(&wild).unwrap_err();
        assert_eq!((refused.status(), refused.retry_after_seconds()), (429, Some(1)));
        assert!(rate.count(&calm).is_ok());
        clock.advance(Duration::from_secs(1));
        assert!(rate.count(&wild).is_ok() && rate.count(&wild).is_err());
    }

    #[test]
    fn a_client_is_not_limited_where_the_limit_is_off() {
        let rate = ClientRate::new(Arc::new(FakeClock::default()), 0);
        let client = ClientId::parse("bench").unwrap();
        assert!((0..100_000).all(|_| rate.count(&client).is_ok()));
    }
}
