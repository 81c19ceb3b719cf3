//! How often a client may ask for a token: counted before any signature is looked at, because that is what costs.
//!
//! Counted per claimed client and caller's network together, so that nobody can use up another's share by claiming its id.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as RateClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::domain::clock::Clock;

/// Token requests at once.
pub const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// Token requests a minute after that.
pub const PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(119);

/// Callers that are counted apart; when there are more, the idle ones are forgotten first.
const MAX_CALLERS: usize = 10_000;

/// The injected clock as the limiter wants it.
#[derive(Debug, Clone)]
struct Monotonic(Arc<dyn Clock>);

impl RateClock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.monotonic())
    }
}

/// Counts token requests.
pub struct TokenRate {
    limiter: RateLimiter<[u8; 32], HashMapStateStore<[u8; 32]>, Monotonic, NoOpMiddleware<Nanos>>,
    clock: Monotonic,
}

impl fmt::Debug for TokenRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRate").field("callers", &self.limiter.len()).finish_non_exhaustive()
    }
}

impl TokenRate {
    /// With the limits above.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let clock = Monotonic(clock);
        let quota = Quota::per_minute(PER_MINUTE).allow_burst(BURST);
        Self { limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()), clock }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// How many seconds to wait, at least one.
    pub fn count(&self, client: &str, peer: IpAddr) -> Result<(), u32> {
        if self.limiter.len() >= MAX_CALLERS {
            self.limiter.retain_recent();
            if self.limiter.len() >= MAX_CALLERS {
                return Err(1);
            }
        }
        let key = super::jose::sha256(format!("{}\n{client}", network(peer)).as_bytes());
        self.limiter.check_key(&key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now()) + Duration::from_millis(999);
            u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1)
        })
    }
}

/// One IPv4 address, or the /64 that one IPv6 host can fill at will.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fakes::FakeClock;

    #[test]
    fn a_burst_is_allowed_then_the_rate_and_nobody_uses_up_anothers_share() {
        let clock = Arc::new(FakeClock::default());
        let rate = TokenRate::new(clock.clone());
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..BURST.get() {
            assert_eq!(rate.count("a", here), Ok(()));
        }
        assert_eq!(rate.count("a", here), Err(1));
        assert_eq!((rate.count("b", here), rate.count("a", there)), (Ok(()), Ok(())));
        clock.advance(Duration::from_millis(501));
        assert_eq!((rate.count("a", here), rate.count("a", here)), (Ok(()), Err(1)));
    }

    #[test]
    fn one_ipv6_host_cannot_be_many_callers() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(network("2001:db8::1".parse().unwrap()), network("2001:db8:0:1::1".parse().unwrap()));
    }
}
