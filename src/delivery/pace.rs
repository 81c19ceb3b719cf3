//! How long safety checks took lately: what whoever comes too early is told to wait. Kept in memory, forgotten with the process.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::Delivery;
use super::offers::closed;
use crate::domain::clock::Timestamp;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::DocumentFacts;

/// Checks that are remembered.
const REMEMBERED: usize = 64;
/// `Retry-After` of `content-not-ready`, in seconds.
const RETRY: (u32, u32) = (1, 60);

/// From creation to verdict, of the newest checks, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<VecDeque<i64>>);

impl Pace {
    /// A check came to its verdict.
    pub(super) fn note(&self, created: Timestamp, now: Timestamp) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() >= REMEMBERED {
            spans.pop_front();
        }
        spans.push_back(now.millis().saturating_sub(created.millis()));
    }

    /// Their median in whole seconds, rounded up, within the bounds; the least before the first.
    fn seconds(&self) -> u32 {
        let mut spans: Vec<i64> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        spans.sort_unstable();
        let median = spans.get(spans.len() / 2).copied().unwrap_or_default();
        let seconds = u32::try_from(median.max(0).saturating_add(999) / 1000).unwrap_or(RETRY.1);
        seconds.clamp(RETRY.0, RETRY.1)
    }
}

impl Delivery {
    /// Why a document's files cannot be opened now, if they cannot; with how long to wait where that helps.
    pub(super) fn closed(&self, document: &DocumentFacts, now: Timestamp) -> Option<Refusal> {
        let refusal = closed(document, now)?;
        let waits = refusal.code() == Code::ContentNotReady;
        Some(if waits { refusal.retry_after(self.pace.seconds()) } else { refusal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(spans: &[i64]) -> u32 {
        let pace = Pace::default();
        for span in spans {
            pace.note(Timestamp::from_millis(5_000), Timestamp::from_millis(5_000 + span));
        }
        pace.seconds()
    }

    #[test]
    fn who_comes_too_early_waits_for_the_median_of_recent_checks() {
        for (spans, seconds) in [
            (vec![], 1),
            (vec![20], 1),
            (vec![-3_000], 1),
            (vec![900, 3_200, 90_000], 4),
            (vec![9_000, 1, 9_000], 9),
            (vec![3_600_000; 3], 60),
        ] {
            assert_eq!(pace(&spans), seconds, "{spans:?}");
        }
        let lately: Vec<i64> =
            std::iter::repeat_n(50_000, 1_000).chain(std::iter::repeat_n(7_000, REMEMBERED)).collect();
        assert_eq!(pace(&lately), 7, "older ones are forgotten");
    }
}
