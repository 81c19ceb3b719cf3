//! Refusals without an authenticated caller or an authentic link: counted by code, network and minute, so that an attack makes a
//! few audit entries and not a million; and answered 429 once a network has had too many.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock as RateClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;

use super::peer::prefix;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::refusal::{Code, Refusal};
use crate::telemetry::metrics::REFUSALS_UNCOUNTED;

/// Networks that are limited apart; beyond it the idle ones are forgotten, and then all newcomers share one share.
const NETWORKS_MOST: usize = 50_000;

const MINUTE_MILLIS: i64 = 60_000;

/// The injected clock as the limiter wants it.
#[derive(Debug, Clone)]
pub(super) struct Monotonic(pub(super) Arc<dyn Clock>);

impl RateClock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.monotonic())
    }
}

/// Counts and limits.
pub struct Refusals {
    clock: Arc<dyn Clock>,
    counted: Mutex<HashMap<(Code, IpNet, i64), u64>>,
    entries_most: usize,
    limiter: RateLimiter<IpNet, HashMapStateStore<IpNet>, Monotonic, NoOpMiddleware<Nanos>>,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("networks", &self.limiter.len()).finish_non_exhaustive()
    }
}

impl Refusals {
    /// `per_minute` refusals a minute of one network; `entries_most` entries waiting at a time.
    pub fn new(clock: Arc<dyn Clock>, per_minute: usize, entries_most: usize) -> Self {
        let rate = u32::try_from(per_minute).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(rate);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), Monotonic(Arc::clone(&clock)));
        Self { clock, counted: Mutex::default(), entries_most, limiter }
    }

    /// Whether a refusal is one of nobody known.
    pub fn concerns(code: Code) -> bool {
        matches!(
            code,
            Code::LinkInvalid
                | Code::TokenMissing
                | Code::TokenInvalid
                | Code::TokenExpired
                | Code::TokenRevoked
                | Code::CredentialsMisplaced
                | Code::ClientUnauthenticated
                | Code::AssertionRefused
        )
    }

    /// Counts one.
    ///
    /// # Errors
    /// `rate-limited` once the network has had too many this minute; told instead of the refusal itself. A good token or
    /// link from the same network is not touched by this.
    pub fn count(&self, code: Code, address: IpAddr) -> Result<(), Refusal> {
        let network = prefix(address);
        let minute = self.clock.now().millis().div_euclid(MINUTE_MILLIS);
        self.note(code, network, minute);
        if self.limiter.len() >= NETWORKS_MOST {
            self.limiter.retain_recent();
        }
        let key = if self.limiter.len() >= NETWORKS_MOST { IpNet::default() } else { network };
        self.limiter.check_key(&key).map_err(|until| {
            let now = Monotonic(Arc::clone(&self.clock)).now();
            let wait = until.wait_time_from(now) + Duration::from_millis(999);
            Refusal::of(Code::RateLimited).retry_after(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1))
        })
    }

    fn note(&self, code: Code, network: IpNet, minute: i64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counted.len() >= self.entries_most;
        match counted.get_mut(&(code, network, minute)) {
            Some(count) => *count += 1,
            None if full => metrics::counter!(REFUSALS_UNCOUNTED).increment(1),
            None => drop(counted.insert((code, network, minute), 1)),
        }
    }

    /// The entries of minutes that are over; all of them with `everything` (at a stop).
    pub fn drain(&self, everything: bool) -> Vec<Entry> {
        let now = self.clock.now().millis().div_euclid(MINUTE_MILLIS);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due: Vec<_> = counted.extract_if(|(_, _, minute), _| everything || *minute != now).collect();
        drop(counted);
        due.sort_unstable_by_key(|((code, network, minute), _)| (*minute, *code, *network));
        due.into_iter().map(|((code, network, minute), count)| entry(code, network, minute, count)).collect()
    }
}

fn entry(code: Code, network: IpNet, minute: i64, count: u64) -> Entry {
    let minute = Timestamp::from_millis(minute.saturating_mul(MINUTE_MILLIS));
    Entry::new(Action::AccessRefused, Outcome::Denied).server().code(code).counted(&network.to_string(), minute, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::FakeClock;

    #[test]
    fn a113_refusals_are_one_entry_a_code_network_and_minute_and_limited() {
        let clock = Arc::new(FakeClock::default());
        let refusals = Refusals::new(clock.clone(), 10, 100);
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let told: Vec<_> =
            (0..12).map(|_| refusals.count(Code::LinkInvalid, here).map_err(|refusal| refusal.status())).collect();
        assert_eq!(told.iter().filter(|answer| answer.is_err()).count(), 2);
        assert_eq!(told.last(), Some(&Err(429)));
        assert!(refusals.count(Code::LinkInvalid, "192.0.3.1".parse().unwrap()).is_ok());
        assert!(refusals.count(Code::TokenInvalid, "192.0.2.200".parse().unwrap()).is_err());
        assert!(refusals.drain(false).is_empty());
        clock.advance(Duration::from_secs(60));
        assert_eq!(refusals.drain(false).len(), 3);
        assert!(refusals.drain(true).is_empty() && refusals.count(Code::LinkInvalid, here).is_ok());
    }

    #[test]
    fn what_waits_is_bounded() {
        let refusals = Refusals::new(Arc::new(FakeClock::default()), 10, 2);
        for last in 0..5 {
            let _ = refusals.count(Code::LinkInvalid, format!("10.0.{last}.1").parse().unwrap());
        }
        assert_eq!(refusals.drain(true).len(), 2);
    }
}
