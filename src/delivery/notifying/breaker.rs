//! Leaves a receiver alone that fails again and again: after some failures in a row nothing is attempted for a while, then one message
//! is tried, and its end decides. What waits meanwhile waits without losing attempts.

use std::time::Duration;

/// Failures in a row that open it.
const OPENS_AT: u32 = 5;
/// How long it is open first; doubled each time the probe fails.
const FIRST_SPAN: Duration = Duration::from_secs(30);
/// Most of that.
const LONGEST_SPAN: Duration = Duration::from_secs(600);

/// The breaker of one host. Time is monotonic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
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
    /// Asks for an attempt; where it is the probe, one of [`Breaker::succeeded`], [`Breaker::failed`], [`Breaker::dropped`] must follow.
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

    /// The receiver took something.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not; `weight` is 2 where the receiver itself says that it will not (4xx).
    pub fn failed(&mut self, weight: u32, now: Duration) {
        let span = match &self.open {
            // An attempt that was under way when it opened says nothing new.
            Some(open) if !open.probing => return,
            Some(open) => open.span.saturating_mul(2).min(LONGEST_SPAN),
            None => FIRST_SPAN,
        };
        self.failures = self.failures.saturating_add(weight);
        if self.open.is_some() || self.failures >= OPENS_AT {
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
        (0..5).for_each(|_| breaker.failed(1, at(0)));
        breaker
    }

    #[test]
    fn a169_five_failures_in_a_row_open_it_and_one_success_forgets_them() {
        let mut breaker = Breaker::default();
        (0..4).for_each(|_| breaker.failed(1, at(0)));
        assert_eq!(breaker.ask(at(0)), Permit::Go);
        breaker.succeeded();
        (0..4).for_each(|_| breaker.failed(1, at(0)));
        assert_eq!(breaker.ask(at(0)), Permit::Go);
        breaker.failed(1, at(0));
        assert_eq!(breaker.ask(at(29)), Permit::NotBefore(at(30)));
        let mut refused = Breaker::default();
        (0..3).for_each(|_| refused.failed(2, at(0)));
        assert!(refused.is_open());
    }

    #[test]
    fn a169_one_message_probes_and_the_span_doubles_up_to_ten_minutes() {
        let (mut breaker, mut now, mut spans) = (opened(), 30, Vec::new());
        for _ in 0..7 {
            assert_eq!((breaker.ask(at(now)), breaker.ask(at(now))), (Permit::Go, Permit::AfterProbe));
            breaker.failed(1, at(now));
            let Permit::NotBefore(until) = breaker.ask(at(now)) else { panic!("open") };
            spans.push(until.as_secs() - now);
            now = until.as_secs();
        }
        assert_eq!(spans, [60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(breaker.ask(at(now)), Permit::Go);
        breaker.succeeded();
        assert!(breaker.is_fresh());
    }

    #[test]
    fn a_probe_that_was_not_made_leaves_room_for_another() {
        let mut breaker = opened();
        // Stragglers of the time before do not lengthen it.
        breaker.failed(1, at(20));
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
                    0 => breaker.failed(1, at(now)),
                    1 => breaker.succeeded(),
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
