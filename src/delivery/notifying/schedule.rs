//! When an attempt that failed is made again. Source: reference/subscriptions (e4, e8).

use std::time::Duration;

use crate::domain::clock::Entropy;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Pauses after the first attempt of an event, the second, …: ten attempts in about 16 hours.
pub(super) const EVENT: &[Duration] = &[
    seconds(5),
    seconds(30),
    seconds(120),
    seconds(600),
    seconds(1_800),
    seconds(3_600),
    seconds(7_200),
    seconds(14_400),
    seconds(28_800),
];

/// Pauses after the attempts of a handshake, whose client waits for it.
pub(super) const HANDSHAKE: &[Duration] = &[seconds(1), seconds(3), seconds(10), seconds(30)];

/// A receiver's wish is heard up to here, where the schedule alone does not wait longer.
const MOST_WISHED: Duration = seconds(3_600);

/// How long to wait after an attempt that failed, `before` others having been made; `None`: it was the last. Spread by 0.8 to 1.2, so that
/// what failed together does not come back together. `wished` is the receiver's `Retry-After`: at least the pause itself, at most
/// twice that.
pub(super) fn pause(
    schedule: &[Duration],
    before: u32,
    wished: Option<Duration>,
    entropy: &dyn Entropy,
) -> Option<Duration> {
    let planned = *schedule.get(usize::try_from(before).ok()?)?;
    let mut bytes = [0; 2];
    entropy.fill(&mut bytes);
    let spread = planned.mul_f64(0.8 + 0.4 * f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX));
    let most = planned.saturating_mul(2).min(MOST_WISHED).max(spread);
    Some(wished.map_or(spread, |wished| wished.clamp(spread, most)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every byte the same.
    #[derive(Debug)]
    struct Same(u8);

    impl Entropy for Same {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn f81_ten_attempts_are_made_in_about_sixteen_hours() {
        let all: Vec<_> = (0..20).map_while(|before| pause(EVENT, before, None, &Same(0x80))).collect();
        assert_eq!(all.len(), 9);
        let hours = all.iter().sum::<Duration>().as_secs_f64() / 3_600.0;
        assert!((15.5..16.0).contains(&hours), "{hours}");
        assert_eq!(pause(HANDSHAKE, 3, None, &Same(0xff)), Some(Duration::from_secs(36)));
        assert_eq!(pause(HANDSHAKE, 4, None, &Same(0)), None);
        assert_eq!(pause(EVENT, u32::MAX, None, &Same(0)), None);
    }

    #[test]
    fn f82_a_receivers_wish_is_heard_within_twice_the_pause() {
        let wished = |before, wish| pause(EVENT, before, Some(Duration::from_secs(wish)), &Same(0)).unwrap().as_secs();
        assert_eq!((wished(0, 0), wished(0, 7), wished(0, 86_400)), (4, 7, 10));
        assert_eq!(wished(5, 86_400), 3_600);
        // Where the schedule itself waits longer than an hour, a wish does not shorten it.
        assert_eq!((wished(7, 10), wished(8, 86_400)), (11_520, 23_040));
    }

    proptest! {
        #[test]
        fn pauses_stay_within_a_fifth_of_the_plan(before in 0u32..9, byte in any::<u8>()) {
            let (made, plan) = (pause(EVENT, before, None, &Same(byte)).unwrap(), EVENT[before as usize]);
            prop_assert!(made >= plan.mul_f64(0.8) && made <= plan.mul_f64(1.2));
        }
    }
}
