//! Which bytes of a file have been received, over several range requests: so that a download that broke off and was resumed
//! counts as one whole delivery.

use std::net::IpAddr;
use std::ops::Range;

/// Most separate pieces that are remembered. Of more, those that lie nearest to each other become one: the gap between them counts
/// as received, against the reader.
const MOST_PIECES: usize = 512;

/// Most broken downloads that are remembered of one reader and file; older ones give way.
const MOST_LOOSE: usize = 16;

/// A set of byte ranges: merged, in order, none empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    pieces: Vec<Range<u64>>,
}

impl Coverage {
    /// From its pieces as [`Coverage::pieces`] gave them.
    pub fn of(pieces: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut coverage = Self::default();
        pieces.into_iter().for_each(|piece| coverage.add(piece));
        coverage
    }

    /// Its pieces in order.
    pub fn pieces(&self) -> &[Range<u64>] {
        &self.pieces
    }

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
        let at = self.pieces.partition_point(|known| known.start < merged.start);
        self.pieces.insert(at, merged);
        if self.pieces.len() > MOST_PIECES {
            self.close_narrowest_gap();
        }
    }

    /// Takes a range out again.
    pub fn remove(&mut self, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let around =
            |piece: Range<u64>| [piece.start..piece.end.min(range.start), piece.start.max(range.end)..piece.end];
        let left = std::mem::take(&mut self.pieces).into_iter().flat_map(around).filter(|piece| !piece.is_empty());
        self.pieces = left.collect();
    }

    fn close_narrowest_gap(&mut self) {
        let gaps = self.pieces.iter().zip(self.pieces.iter().skip(1)).map(|(one, next)| next.start - one.end);
        let Some((at, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else { return };
        let next = self.pieces.remove(at + 1);
        if let Some(one) = self.pieces.get_mut(at) {
            one.end = next.end;
        }
    }

    /// Bytes that were received.
    pub fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.end - piece.start).sum()
    }

    /// What of a range was received.
    pub fn within(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let within = |piece: &Range<u64>| piece.start.max(range.start)..piece.end.min(range.end);
        self.pieces.iter().map(within).filter(|piece| !piece.is_empty())
    }

    /// Bytes of a range that were received.
    pub fn overlap(&self, range: &Range<u64>) -> u64 {
        self.within(range).map(|piece| piece.end - piece.start).sum()
    }

    /// The piece that a place lies in or ends.
    pub fn piece_at(&self, place: u64) -> Option<&Range<u64>> {
        self.pieces.iter().find(|piece| piece.start < place && place <= piece.end)
    }

    /// Whether every byte of a file of `size` bytes was received; an empty file is whole at once.
    pub fn is_whole(&self, size: u64) -> bool {
        size == 0 || self.pieces.iter().any(|piece| piece.start == 0 && piece.end >= size)
    }
}

/// What a reader has of a file, over downloads of which some broke off. A connection that broke says nothing of what arrived; the
/// reader itself does, when it goes on from a place within what was handed over there: it has what comes before that place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieced {
    received: Coverage,
    loose: Vec<(IpAddr, Range<u64>)>,
}

impl Pieced {
    /// A download from an address ended; it had handed over `piece`, and `taken` says whether the peer acknowledged all of it.
    pub fn ended(&mut self, from: IpAddr, piece: Range<u64>, taken: bool) {
        for (_, broken) in self.loose.iter().filter(|(address, _)| *address == from) {
            if broken.start < piece.start && piece.start <= broken.end {
                self.received.add(broken.start..piece.start);
            }
        }
        if taken {
            self.received.add(piece);
        } else if !piece.is_empty() {
            if self.loose.len() >= MOST_LOOSE {
                self.loose.remove(0);
            }
            self.loose.push((from, piece));
        }
    }

    /// Whether it has all of a file of `size` bytes.
    pub fn is_whole(&self, size: u64) -> bool {
        self.received.is_whole(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_download_counts_as_far_as_its_reader_goes_on_from_there() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 9]));
        for (parts, whole) in [
            // Broke off at 60, went on at 50; in two steps; exactly at its end.
            (vec![(here, 0..60, false), (here, 50..100, true)], true),
            (vec![(here, 0..60, false), (here, 50..80, false), (here, 70..100, true)], true),
            (vec![(here, 0..60, false), (here, 60..100, true)], true),
            // Nobody said that the first part arrived: another address, another place, or nothing at all.
            (vec![(here, 0..60, false), (there, 50..100, true)], false),
            (vec![(here, 0..60, false), (here, 61..100, true)], false),
            (vec![(here, 0..100, false)], false),
            (vec![(here, 0..100, false), (here, 0..50, true)], false),
            (vec![(here, 0..60, false), (here, 50..100, false)], false),
        ] {
            let mut pieced = Pieced::default();
            parts.iter().for_each(|(from, piece, taken)| pieced.ended(*from, piece.clone(), *taken));
            assert_eq!(pieced.is_whole(100), whole, "{parts:?}");
        }
    }

    #[test]
    fn of_many_broken_downloads_the_newest_are_remembered() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let mut pieced = Pieced::default();
        (0..100).for_each(|_| pieced.ended(here, 0..60, false));
        assert_eq!(pieced.loose.len(), MOST_LOOSE);
        pieced.ended(here, 60..100, true);
        assert!(pieced.is_whole(100));
    }
    use proptest::prelude::*;

    #[test]
    fn what_is_too_many_pieces_to_remember_counts_as_received() {
        let mut coverage = Coverage::default();
        // Every other byte of 1,200; one of the gaps is wider than the others.
        (0..600u64).for_each(|at| coverage.add(if at < 300 { 2 * at..2 * at + 1 } else { 2 * at + 5..2 * at + 6 }));
        assert_eq!(coverage.pieces().len(), MOST_PIECES);
        assert!(coverage.length() > 600 && coverage.overlap(&(599..605)) == 0, "the widest gap is the last to close");
        (0..1_206).for_each(|at| coverage.add(at..at + 1));
        assert!(coverage.is_whole(1_206) && coverage.pieces().len() == 1);
    }

    proptest! {
        #[test]
        fn lengths_and_overlaps_are_those_of_the_bytes(pieces in prop::collection::vec((0u64..40, 0u64..12), 0..20), range in (0u64..40, 0u64..40)) {
            let coverage = Coverage::of(pieces.iter().map(|(start, length)| *start..(start + length).min(40)));
            let seen = |at: &u64| pieces.iter().any(|(start, length)| (*start..(start + length).min(40)).contains(at));
            let count = |range: Range<u64>| range.filter(seen).count() as u64;
            let range = range.0.min(range.1)..range.1.max(range.0);
            prop_assert_eq!((coverage.length(), coverage.overlap(&range)), (count(0..40), count(range.clone())));
            prop_assert_eq!(&Coverage::of(coverage.pieces().to_vec()), &coverage);
            let mut less = coverage.clone();
            less.remove(&range);
            prop_assert_eq!((less.length(), less.overlap(&range)), (coverage.length() - coverage.overlap(&range), 0));
        }

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
