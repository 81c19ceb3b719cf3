//! Which checkpoints are kept beside the log: the newest, one for each power of two of the distance from it, and one a day. The folder
//! outside has its own.

use std::collections::BTreeSet;

/// Days of which one checkpoint each is kept.
pub const DAYS: usize = 400;

/// Those of `sizes`, rising, that the distance alone keeps: of each power of two the one that is farthest, which stays the longest.
pub fn by_distance(sizes: &[u64]) -> BTreeSet<u64> {
    let Some((newest, older)) = sizes.split_last() else { return BTreeSet::new() };
    let mut kept = BTreeSet::from([*newest]);
    let mut seen = 0_u128;
    for size in older {
        let bit = 1_u128 << newest.saturating_sub(*size).max(1).ilog2();
        if seen & bit == 0 {
            seen |= bit;
            kept.insert(*size);
        }
    }
    kept
}

/// Those of `dated`, rising by size, each with its day, that their day keeps: the first of each of the last [`DAYS`] days.
pub fn by_day(dated: &[(u64, i64)]) -> BTreeSet<u64> {
    let mut first: Vec<(u64, i64)> = Vec::new();
    for (size, day) in dated {
        if first.last().is_none_or(|(_, last)| last < day) {
            first.push((*size, *day));
        }
    }
    first.iter().rev().take(DAYS).map(|(size, _)| *size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_keeps_few_checkpoints_near_and_far() {
        let mut kept: Vec<u64> = Vec::new();
        for size in 1..=20_000 {
            kept.push(size);
            let keep = by_distance(&kept);
            kept.retain(|size| keep.contains(size));
            assert!(kept.len() <= 2 + 15, "{size}: {kept:?}");
            assert_eq!(kept.last(), Some(&size));
            assert_eq!(kept.first(), Some(&1), "the first is the farthest always");
            // For each power of two within the log, one is not much nearer or farther.
            for power in (1..size.ilog2()).map(|bit| 1_u64 << bit) {
                let near = |kept: &u64| (power / 2..=power * 4).contains(&(size - kept));
                assert!(kept.iter().any(near), "{power} before {size}: {kept:?}");
            }
        }
    }

    #[test]
    fn each_day_keeps_its_first_and_old_days_go() {
        let dated: Vec<(u64, i64)> = (0..1_500).map(|n| (n * 10, i64::try_from(n / 3).unwrap())).collect();
        let kept = by_day(&dated);
        assert_eq!((kept.len(), kept.first(), kept.last()), (DAYS, Some(&3_000), Some(&14_970)));
        assert!(kept.iter().all(|size| size % 30 == 0));
        assert!(by_day(&[]).is_empty() && by_distance(&[]).is_empty());
    }
}
