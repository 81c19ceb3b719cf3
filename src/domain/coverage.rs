//! Which bytes of a file have been received, over several range requests: so that a download that broke off and was resumed
//! counts as one whole delivery.

use std::ops::Range;

/// Most separate pieces that are remembered; a reader that asks for more gaps than this is not put together.
const MOST_PIECES: usize = 64;

/// A set of byte ranges, merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    pieces: Vec<Range<u64>>,
}

impl Coverage {
    /// Adds what was received.
    pub fn add(&mut self, piece: Range<u64>) {
        if piece.is_empty() {
            return;
        }
        let mut merged = piece;
        self.pieces.retain(|known| {
            let apart = known.end < merged.start || merged.end < known.start;
            if !apart {
                merged = merged.start.min(known.start)..merged.end.max(known.end);
            }
            apart
        });
        if self.pieces.len() < MOST_PIECES {
            self.pieces.push(merged);
        }
    }

    /// Whether any byte of a range was received.
    pub fn overlaps(&self, range: &Range<u64>) -> bool {
        self.pieces.iter().any(|piece| piece.start < range.end && range.start < piece.end)
    }

    /// Whether every byte of a file of `size` bytes was received; an empty file is whole at once.
    pub fn is_whole(&self, size: u64) -> bool {
        size == 0 || self.pieces.iter().any(|piece| piece.start == 0 && piece.end >= size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_whole_exactly_when_every_byte_was_received(pieces in prop::collection::vec((0u64..40, 0u64..12), 0..20)) {
            let mut coverage = Coverage::default();
            let mut seen = [false; 40];
            for (start, length) in pieces {
                let end = (start + length).min(40);
                coverage.add(start..end);
                (start..end).for_each(|at| seen[usize::try_from(at).unwrap()] = true);
            }
            prop_assert_eq!(coverage.is_whole(40), seen.iter().all(|byte| *byte));
        }
    }
}
