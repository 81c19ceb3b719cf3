//! Whether every erased cell is covered by a later entry that says that it was erased.

use crate::domain::audit::detail::{Detail, Object};

/// Most separate runs of erased entries that are held.
const MAX_RUNS: usize = 65_536;

/// Runs of entries, inclusive.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    found: Vec<(u64, u64)>,
    said: Vec<(u64, u64)>,
    too_many: bool,
}

impl Erasures {
    /// Entry `seq` has an erased cell. Entries come in ascending order.
    pub(super) fn found(&mut self, seq: u64) {
        let room = self.found.len() < MAX_RUNS;
        match self.found.last_mut() {
            Some((_, last)) if last.saturating_add(1) >= seq => *last = seq.max(*last),
            _ if room => self.found.push((seq, seq)),
            _ => self.too_many = true,
        }
    }

    /// The erasure entry `seq` has this subject: it speaks for entries before itself.
    pub(super) fn said(&mut self, seq: u64, subject: &Object) {
        let Some(Detail::List(runs)) = subject.get("erased") else { return };
        for run in runs {
            let Detail::List(ends) = run else { continue };
            let [Detail::Whole(first), Detail::Whole(last)] = ends.as_slice() else { continue };
            let (Ok(first), Ok(last)) = (u64::try_from(first.get()), u64::try_from(last.get())) else { continue };
            if first > last || last >= seq {
                continue;
            }
            if self.said.len() < MAX_RUNS {
                self.said.push((first, last));
            } else {
                self.too_many = true;
            }
        }
    }

    /// Whether there was more than is held.
    pub(super) fn too_many(&self) -> bool {
        self.too_many
    }

    /// Runs of erased entries of which no erasure entry speaks.
    pub(super) fn unsaid(mut self) -> Vec<(u64, u64)> {
        self.said.sort_unstable();
        let mut unsaid = Vec::new();
        for (first, last) in self.found {
            let mut next = first;
            for (from, to) in self.said.iter().filter(|(from, to)| *from <= last && *to >= first) {
                if *from > next {
                    unsaid.push((next, from - 1));
                }
                next = next.max(to.saturating_add(1));
            }
            if next <= last {
                unsaid.push((next, last));
            }
        }
        unsaid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(runs: &[(u64, u64)]) -> Object {
        let mut subject = Object::default();
        let runs: Vec<Detail> = runs.iter().map(|(a, b)| Detail::List(vec![(*a).into(), (*b).into()])).collect();
        subject.set("erased", runs);
        subject
    }

    #[test]
    fn what_no_later_entry_speaks_of_is_unsaid() {
        let mut erasures = Erasures::default();
        [3, 4, 5, 6, 9, 20].into_iter().for_each(|seq| erasures.found(seq));
        erasures.said(10, &saying(&[(4, 4), (6, 8), (8, 2)]));
        erasures.said(15, &saying(&[(9, 15)]));
        assert_eq!(erasures.unsaid(), [(3, 3), (5, 5), (9, 9), (20, 20)]);
    }

    #[test]
    fn runs_may_overlap_and_cover_all() {
        let mut erasures = Erasures::default();
        (3..=6).for_each(|seq| erasures.found(seq));
        erasures.said(10, &saying(&[(5, 9), (0, 5)]));
        assert!(erasures.unsaid().is_empty());
    }
}
