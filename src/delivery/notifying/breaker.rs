//! Leaves a host alone that does not answer: after some Subscriptions in a row got no answer nothing is attempted for a while, then one
//! message is tried, and its end decides. What waits meanwhile waits without losing attempts.
//!
//! An answer of any kind shows that the host is there. One that refuses, or an endpoint that hangs beside others that do not, is paced by
//! its own Subscription's schedule and delays no other Subscription with the same host; so each Subscription counts once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::subscription::SubscriptionNumber;

/// Subscriptions without an answer in a row that open it.
const OPENS_AT: usize = 5;
/// How long it is open first; doubled each time the probe fails.
const FIRST_SPAN: Duration = Duration::from_secs(30);
/// Most of that.
const LONGEST_SPAN: Duration = Duration::from_secs(600);

/// The breaker of one host. Time is monotonic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Those that got no answer since the last one; never more than [`OPENS_AT`].
    silent: BTreeSet<SubscriptionNumber>,
    open: Option<Open>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    until: Duration,
    span: Duration,
    probing: bool,
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Now.
    Go,
    /// Not before.
    NotBefore(Duration),
    /// Not before the attempt that probes has ended.
    AfterProbe,
}

impl Breaker {
    /// Asks for an attempt; where it is the probe, one of [`Breaker::answered`], [`Breaker::silent`], [`Breaker::dropped`] must follow.
    pub fn ask(&mut self, now: Duration) -> Permit {
        match &mut self.open {
            None => Permit::Go,
            Some(open) if open.probing => Permit::AfterProbe,
            Some(open) if now < open.until => Permit::NotBefore(open.until),
            Some(open) => {
                open.probing = true;
                Permit::Go
            }
        }
    }

    /// The host answered, whatever it said.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// It did not answer this Subscription.
    pub fn silent(&mut self, subscription: SubscriptionNumber, now: Duration) {
        let span = match &self.open {
            // An attempt that was under way when it opened says nothing new.
            Some(open) if !open.probing => return,
            Some(open) => open.span.saturating_mul(2).min(LONGEST_SPAN),
            None => FIRST_SPAN,
        };
        self.silent.insert(subscription);
        if self.open.is_some() || self.silent.len() >= OPENS_AT {
            self.silent.clear();
            self.open = Some(Open { until: now.saturating_add(span), span, probing: false });
        }
    }

    /// Nothing was attempted after all.
    pub fn dropped(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// Whether it remembers nothing.
    pub fn is_fresh(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it holds attempts back.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        (0..5).for_each(|number| breaker.silent(SubscriptionNumber(number), at(0)));
        breaker
    }

    const ONE: SubscriptionNumber = SubscriptionNumber(1);

    #[test]
    fn a169_five_without_an_answer_in_a_row_open_it_and_one_answer_forgets_them() {
        let mut breaker = Breaker::default();
        (0..4).for_each(|number| breaker.silent(SubscriptionNumber(number), at(0)));
        assert_eq!(breaker.ask(at(0)), Permit::Go);
        breaker.answered();
        (4..8).for_each(|number| breaker.silent(SubscriptionNumber(number), at(0)));
        assert_eq!(breaker.ask(at(0)), Permit::Go);
        breaker.silent(SubscriptionNumber(8), at(0));
        assert_eq!(breaker.ask(at(29)), Permit::NotBefore(at(30)));
    }

    #[test]
    fn a169_one_endpoint_that_hangs_does_not_hold_back_the_others_of_its_host() {
        let mut breaker = Breaker::default();
        (0..100).for_each(|second| breaker.silent(ONE, at(second)));
        assert_eq!(breaker.ask(at(100)), Permit::Go);
    }

    #[test]
    fn a169_one_message_probes_and_the_span_doubles_up_to_ten_minutes() {
        let (mut breaker, mut now, mut spans) = (opened(), 30, Vec::new());
        for _ in 0..7 {
            assert_eq!((breaker.ask(at(now)), breaker.ask(at(now))), (Permit::Go, Permit::AfterProbe));
            breaker.silent(ONE, at(now));
            let Permit::NotBefore(until) = breaker.ask(at(now)) else { panic!("open") };
            spans.push(until.as_secs() - now);
            now = until.as_secs();
        }
        assert_eq!(spans, [60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(breaker.ask(at(now)), Permit::Go);
        breaker.answered();
        assert!(breaker.is_fresh());
    }

    #[test]
    fn a_probe_that_was_not_made_leaves_room_for_another() {
        let mut breaker = opened();
        // Stragglers of the time before do not lengthen it.
        breaker.silent(ONE, at(20));
        assert_eq!(breaker.ask(at(30)), Permit::Go);
        breaker.dropped();
        assert_eq!(breaker.ask(at(30)), Permit::Go);
    }

    proptest! {
        #[test]
        fn it_never_stays_shut_for_longer_than_ten_minutes(steps in proptest::collection::vec((0u8..4, 0u64..900), 0..60)) {
            let (mut breaker, mut now) = (Breaker::default(), 0);
            for (step, wait) in steps {
                now += wait;
                match step {
                    0 => breaker.silent(SubscriptionNumber(i64::try_from(wait % 7).unwrap()), at(now)),
                    1 => breaker.answered(),
                    2 => breaker.dropped(),
                    _ => match breaker.ask(at(now)) {
                        Permit::NotBefore(until) => prop_assert!(until > at(now) && until <= at(now + 600)),
                        Permit::Go | Permit::AfterProbe => {}
                    },
                }
            }
        }
    }
}
