//! How many handshakes one client may cause: without a limit this server would be its scanner, or its flood.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::principal::ClientNumber;
use crate::domain::refusal::{Code, Issue, Refusal};

/// Handshakes that one client may cause in [`WINDOW`].
pub(super) const MOST: usize = 10;
/// Over which time they are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Handshakes of the last minute by client: no more entries than registered clients, [`MOST`] times each.
#[derive(Debug, Default)]
pub(in crate::delivery) struct HandshakeRate(Mutex<HashMap<ClientNumber, VecDeque<Duration>>>);

impl HandshakeRate {
    /// Counts one at `now`, by the clock that only runs forward.
    pub(super) fn count(&self, client: ClientNumber, now: Duration) -> Result<(), Refusal> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = clients.entry(client).or_default();
        while recent.front().is_some_and(|first| now.saturating_sub(*first) >= WINDOW) {
            recent.pop_front();
        }
        if let Some(first) = recent.front().filter(|_| recent.len() >= MOST) {
            let wait = (*first + WINDOW).saturating_sub(now) + Duration::from_millis(999);
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1);
            return Err(Refusal::new(Issue::new(Code::RateLimited).fill("n", seconds)).retry_after(seconds));
        }
        recent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_minute_for_each_client() {
        let rate = HandshakeRate::default();
        let at = |seconds| Duration::from_secs(seconds);
        assert!((0..10).all(|second| rate.count(ClientNumber(1), at(second)).is_ok()));
        let refused = rate.count(ClientNumber(1), at(10)).unwrap_err();
        assert_eq!((refused.status(), refused.retry_after_seconds()), (429, Some(50)));
        assert!(rate.count(ClientNumber(2), at(10)).is_ok());
        assert!(rate.count(ClientNumber(1), at(60)).is_ok());
        assert!(rate.count(ClientNumber(1), at(60)).is_err());
    }
}
