//! Key sets of clients that are registered by address: fetched, kept as long as their answer allows, and renewed once at a time.
//!
//! - Kept for what `Cache-Control` allows, at most 24 hours; without it 5 minutes (SMART App Launch 2.2,
//!   client-confidential-asymmetric, "SHALL NOT cache longer"). `no-store` and `no-cache` sets are fetched anew, but
//!   at most every [`MIN_INTERVAL`], so that they are no lever against their own host.
//! - A `kid` that the set lacks makes it be fetched anew at most once a minute.
//! - A fetch that fails is not repeated for [`AFTER_FAILURE`]; meanwhile a set that may be kept serves [`STALE`] longer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use moka::sync::Cache;

use super::jwk::{KeySet, SetFault};
use crate::domain::clock::Clock;

/// How long a set without `Cache-Control` is kept.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(5 * 60);
/// How long any set is kept at most.
pub const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Least time between two fetches of a set that may not be kept.
pub const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// Least time between two fetches for the sake of an unknown `kid`.
pub const UNKNOWN_KID_INTERVAL: Duration = Duration::from_secs(60);
/// How long a failed fetch is not repeated.
pub const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How long beyond its life a set serves while it cannot be renewed.
pub const STALE: Duration = Duration::from_secs(10 * 60);
/// Addresses that are remembered.
const MAX_ADDRESSES: u64 = 1_000;

/// An answer of a key address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The body, within [`super::jwk::MAX_SET_BYTES`].
    pub body: Vec<u8>,
    /// `Cache-Control`, all of its lines joined by commas.
    pub cache_control: Option<String>,
    /// `Age` in seconds.
    pub age: Option<u64>,
}

/// Why no set came; for the log and the operator, never for a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchFailed(pub String);

/// Fetches a key set over the guarded way out (`notify::egress`).
#[async_trait]
pub trait FetchKeys: Send + Sync + fmt::Debug {
    /// Fetches once, with its own time limits.
    ///
    /// # Errors
    /// The reason, for the operator.
    async fn fetch(&self, uri: &str) -> Result<Fetched, FetchFailed>;
}

/// The key sets by address.
#[derive(Debug)]
pub struct KeyCache {
    fetch: Arc<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    slots: Cache<String, Arc<Slot>>,
}

/// One address. `gate` lets one fetch run at a time and holds no data; `known` is never held while something is awaited.
#[derive(Debug, Default)]
struct Slot {
    gate: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    set: Option<Arc<KeySet>>,
    /// Until when the set may be used without asking.
    fresh_until: Duration,
    /// Until when it may be used when asking fails.
    stale_until: Duration,
    /// When was asked last.
    asked: Option<Duration>,
    /// The last time asking failed, with the reason.
    failure: Option<FetchFailed>,
}

/// What to do with what is known.
enum Next {
    Use(Arc<KeySet>),
    Fail(FetchFailed),
    Ask,
}

impl Known {
    fn next(&self, kid: &str, now: Duration) -> Next {
        let since_asked = self.asked.map_or(Duration::MAX, |asked| now.saturating_sub(asked));
        if let Some(failure) = self.failure.as_ref().filter(|_| since_asked < AFTER_FAILURE) {
            return self.usable(now).map_or_else(|| Next::Fail(failure.clone()), Next::Use);
        }
        match &self.set {
            // Within the least interval even a set that may not be kept answers: that is the same burst of requests.
            Some(set) if now < self.fresh_until || since_asked < MIN_INTERVAL => {
                if set.knows(kid) || since_asked < UNKNOWN_KID_INTERVAL { Next::Use(set.clone()) } else { Next::Ask }
            }
            _ => Next::Ask,
        }
    }

    fn usable(&self, now: Duration) -> Option<Arc<KeySet>> {
        self.set.clone().filter(|_| now < self.stale_until)
    }

    fn learn(&mut self, answer: Result<(KeySet, Life), FetchFailed>, now: Duration) {
        self.asked = Some(now);
        match answer {
            Ok((set, life)) => {
                self.set = Some(Arc::new(set));
                self.fresh_until = now + life.fresh;
                self.stale_until = self.fresh_until + if life.may_be_stale { STALE } else { Duration::ZERO };
                self.failure = None;
            }
            Err(failure) => self.failure = Some(failure),
        }
    }
}

impl KeyCache {
    /// An empty cache.
    pub fn new(fetch: Arc<dyn FetchKeys>, clock: Arc<dyn Clock>) -> Self {
        Self { fetch, clock, slots: Cache::new(MAX_ADDRESSES) }
    }

    /// The set at an address, with the wish that it knows `kid` (it may turn out not to).
    ///
    /// # Errors
    /// No set could be had.
    pub async fn keys(&self, uri: &str, kid: &str) -> Result<Arc<KeySet>, FetchFailed> {
        let slot = self.slots.get_with_by_ref(uri, Arc::default);
        if let Some(answer) = self.settled(&slot, kid) {
            return answer;
        }
        let _turn = slot.gate.lock().await;
        // Whoever held the gate before may have fetched what is wanted here.
        if let Some(answer) = self.settled(&slot, kid) {
            return answer;
        }
        let answer = self.fetch.fetch(uri).await.and_then(read);
        let mut known = lock(&slot.known);
        known.learn(answer, self.clock.monotonic());
        match (&known.failure, known.usable(self.clock.monotonic())) {
            (Some(failure), None) => Err(failure.clone()),
            (_, Some(set)) => Ok(set),
            (None, None) => known.set.clone().ok_or_else(|| FetchFailed("no key set".to_owned())),
        }
    }

    fn settled(&self, slot: &Slot, kid: &str) -> Option<Result<Arc<KeySet>, FetchFailed>> {
        match lock(&slot.known).next(kid, self.clock.monotonic()) {
            Next::Use(set) => Some(Ok(set)),
            Next::Fail(failure) => Some(Err(failure)),
            Next::Ask => None,
        }
    }
}

/// What is kept behind the lock is replaced as a whole, so a panic elsewhere cannot leave it half written.
fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(fetched: Fetched) -> Result<(KeySet, Life), FetchFailed> {
    let set = KeySet::parse(&fetched.body)
        .map_err(|fault: SetFault| FetchFailed(format!("the key set {}", fault.as_str())))?;
    Ok((set, Life::of(fetched.cache_control.as_deref(), fetched.age)))
}

/// How long an answer may be kept (RFC 9111 §5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    fresh: Duration,
    may_be_stale: bool,
}

impl Life {
    fn of(cache_control: Option<&str>, age: Option<u64>) -> Self {
        let mut life = Self { fresh: DEFAULT_LIFE, may_be_stale: true };
        for directive in cache_control.unwrap_or_default().split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Self { fresh: Duration::ZERO, may_be_stale: false },
                "must-revalidate" => life.may_be_stale = false,
                // An age that cannot be read means stale (RFC 9111 §4.2.1).
                "max-age" => life.fresh = Duration::from_secs(value.trim().trim_matches('"').parse().unwrap_or(0)),
                _ => {}
            }
        }
        life.fresh = life.fresh.saturating_sub(Duration::from_secs(age.unwrap_or(0))).min(MAX_LIFE);
        life
    }
}

#[cfg(test)]
mod tests;
