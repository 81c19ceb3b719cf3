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
use crate::telemetry::metrics::REFUSALS_TOGETHER;

/// Networks that are limited apart; beyond it the idle ones are forgotten, and then all newcomers share one share.
const NETWORKS_MOST: usize = 50_000;

const MINUTE_MILLIS: i64 = 60_000;

/// Codes and minutes that are told apart without networks; beyond it, while nothing can be written, a code's newest minute takes all.
const MINUTES_MOST: usize = 1_024;

/// What stands in an entry for the networks without a place of their own.
const OTHERS: &str = "others";

/// What becomes one entry: code, network (`None`: those that found no place of their own), and minute.
type Row = (Code, Option<IpNet>, i64);
type Counts = HashMap<Row, u64>;

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
    counted: Mutex<Counts>,
    entries_most: usize,
    /// `None`: switched off.
    limiter: Option<RateLimiter<IpNet, HashMapStateStore<IpNet>, Monotonic, NoOpMiddleware<Nanos>>>,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals")
            .field("networks", &self.limiter.as_ref().map(RateLimiter::len))
            .finish_non_exhaustive()
    }
}

impl Refusals {
    /// `per_minute` refusals a minute of one network, 0 for as many as come; `entries_most` entries of networks waiting at a time.
    pub fn new(clock: Arc<dyn Clock>, per_minute: usize, entries_most: usize) -> Self {
        let rate = NonZeroU32::new(u32::try_from(per_minute).unwrap_or(u32::MAX));
        let limiter = rate.map(|rate| {
            RateLimiter::new(Quota::per_minute(rate), HashMapStateStore::default(), Monotonic(Arc::clone(&clock)))
        });
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
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.len() >= NETWORKS_MOST {
            limiter.retain_recent();
        }
        let key = if limiter.len() >= NETWORKS_MOST { IpNet::default() } else { network };
        limiter.check_key(&key).map_err(|until| {
            let now = Monotonic(Arc::clone(&self.clock)).now();
            let wait = until.wait_time_from(now) + Duration::from_millis(999);
            Refusal::of(Code::RateLimited).retry_after(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1))
        })
    }

    fn note(&self, code: Code, network: IpNet, minute: i64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_place(&counted, (code, Some(network), minute)) {
            metrics::counter!(REFUSALS_TOGETHER).increment(1);
        }
        self.add(&mut counted, (code, Some(network), minute), 1);
    }

    fn has_place(&self, counted: &Counts, row: Row) -> bool {
        counted.contains_key(&row) || counted.len() < self.entries_most
    }

    /// Adds to a row; where there is no place for its network, to that of all others of its code and minute. Nothing is left out.
    fn add(&self, counted: &mut Counts, row: Row, count: u64) {
        let (code, _, minute) = row;
        let together = (code, None, minute);
        let full = counted.len() >= self.entries_most.saturating_add(MINUTES_MOST) && !counted.contains_key(&together);
        let row = match row {
            row if self.has_place(counted, row) => row,
            _ if full => {
                counted.keys().filter(|key| key.0 == code && key.1.is_none()).max().copied().unwrap_or(together)
            }
            _ => together,
        };
        let sum = counted.entry(row).or_insert(0);
        *sum = sum.saturating_add(count);
    }

    /// The entries of minutes that are over; all of them with `everything` (at a stop). What is not [`Taken::written`] comes back.
    pub fn take(self: &Arc<Self>, everything: bool) -> Vec<(Entry, Taken)> {
        let now = self.clock.now().millis().div_euclid(MINUTE_MILLIS);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due: Vec<_> = counted.extract_if(|(_, _, minute), _| everything || *minute != now).collect();
        drop(counted);
        due.sort_unstable_by_key(|((code, network, minute), _)| (*minute, *code, *network));
        let taken = |(row, count)| (entry(row, count), Taken { refusals: Arc::clone(self), row, count });
        due.into_iter().map(taken).collect()
    }
}

/// What was taken out to be written. Dropped before it was, it is counted again.
#[derive(Debug)]
pub struct Taken {
    refusals: Arc<Refusals>,
    row: Row,
    count: u64,
}

impl Taken {
    /// Its entry is durable.
    pub fn written(mut self) {
        self.count = 0;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.count > 0 {
            let mut counted = self.refusals.counted.lock().unwrap_or_else(PoisonError::into_inner);
            self.refusals.add(&mut counted, self.row, self.count);
        }
    }
}

fn entry((code, network, minute): Row, count: u64) -> Entry {
    let minute = Timestamp::from_millis(minute.saturating_mul(MINUTE_MILLIS));
    let network = network.map_or_else(|| OTHERS.to_owned(), |network| network.to_string());
    Entry::new(Action::AccessRefused, Outcome::Denied).server().code(code).counted(&network, minute, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::FakeClock;

    #[test]
    fn a113_refusals_are_one_entry_a_code_network_and_minute_and_limited() {
        let clock = Arc::new(FakeClock::default());
        let refusals = Arc::new(Refusals::new(clock.clone(), 10, 100));
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let told: Vec<_> =
            (0..12).map(|_| refusals.count(Code::LinkInvalid, here).map_err(|refusal| refusal.status())).collect();
        assert_eq!(told.iter().filter(|answer| answer.is_err()).count(), 2);
        assert_eq!(told.last(), Some(&Err(429)));
        assert!(refusals.count(Code::LinkInvalid, "192.0.3.1".parse().unwrap()).is_ok());
        assert!(refusals.count(Code::TokenInvalid, "192.0.2.200".parse().unwrap()).is_err());
        assert!(refusals.take(false).is_empty());
        clock.advance(Duration::from_secs(60));
        assert_eq!(written(refusals.take(false)).len(), 3);
        assert!(refusals.take(true).is_empty() && refusals.count(Code::LinkInvalid, here).is_ok());
    }

    fn written(taken: Vec<(Entry, Taken)>) -> Vec<(Row, u64)> {
        let row = |(_, taken): (Entry, Taken)| {
            let row = (taken.row, taken.count);
            taken.written();
            row
        };
        taken.into_iter().map(row).collect()
    }

    fn sum(rows: &[(Row, u64)]) -> u64 {
        rows.iter().map(|(_, count)| count).sum()
    }

    #[test]
    fn a_network_is_counted_and_not_limited_where_the_limit_is_off() {
        let refusals = Arc::new(Refusals::new(Arc::new(FakeClock::default()), 0, 100));
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..100_000).all(|_| refusals.count(Code::LinkInvalid, here).is_ok()));
        assert_eq!(sum(&written(refusals.take(true))), 100_000);
    }

    #[test]
    fn a113_what_waits_is_bounded_and_what_is_over_is_one_entry_a_code_and_minute_with_its_count() {
        let clock = Arc::new(FakeClock::default());
        let refusals = Arc::new(Refusals::new(clock.clone(), 10, 600));
        for at in 0..5_000_u32 {
            let _ = refusals.count(Code::LinkInvalid, IpAddr::from((0x0a00_0000 + at * 256).to_be_bytes()));
        }
        let _ = refusals.count(Code::TokenInvalid, "192.0.2.1".parse().unwrap());
        clock.advance(Duration::from_secs(60));
        let rows = written(refusals.take(false));
        assert_eq!((rows.len(), sum(&rows)), (602, 5_001));
        let together: Vec<_> = rows.iter().filter(|((_, network, _), _)| network.is_none()).collect();
        assert_eq!(together.iter().map(|(row, count)| (row.0, *count)).collect::<Vec<_>>().len(), 2);
        assert!(together.iter().any(|(row, count)| row.0 == Code::LinkInvalid && *count == 4_400), "{together:?}");
    }

    #[test]
    fn f12_a_write_that_fails_loses_no_count_however_long_it_fails() {
        let clock = Arc::new(FakeClock::default());
        let refusals = Arc::new(Refusals::new(clock.clone(), 10, 20));
        let mut counted = 0;
        for minute in 0..2_000_u32 {
            for at in 0..3_u32 {
                let _ =
                    refusals.count(Code::LinkInvalid, IpAddr::from((0x0a00_0000 + (minute + at) * 256).to_be_bytes()));
                counted += 1;
            }
            clock.advance(Duration::from_secs(60));
            // Taken and not written.
            drop(refusals.take(false));
        }
        let waiting = refusals.counted.lock().unwrap().len();
        assert!(waiting <= 20 + MINUTES_MOST + 1, "{waiting}");
        assert_eq!(sum(&written(refusals.take(true))), counted);
        assert!(refusals.take(true).is_empty());
    }
}
