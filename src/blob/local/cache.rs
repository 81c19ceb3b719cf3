//! Opened spans of small files that are asked for again and again, kept for a while so that they need not be opened each time. Nothing
//! here says who may read: a file is still looked up, its key unwrapped, its length and header checked at each opening.
//!
//! A span is kept when it is read the second time: of what is fetched once, which is most, nothing stays. Least recently used ones go
//! first. What goes is overwritten once nobody reads it any more.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use zeroize::Zeroize;

use super::super::to_u64;
use crate::domain::id::FileId;

/// Files up to this size are kept.
const FILE_MOST: u64 = 1024 * 1024;
/// Spans whose first reading is remembered. One that falls together with another is read once more before it is kept.
const MARKS: usize = 1024;

/// A file, and which of its spans of [`READ_MOST`] bytes.
///
/// [`READ_MOST`]: super::super::READ_MOST
pub(super) type Key = (FileId, u64);

/// The spans that are kept, `most` bytes of them.
pub(super) struct Cache {
    most: usize,
    hasher: RandomState,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    spans: HashMap<Key, Span>,
    weight: usize,
    /// Counts readings, for their order.
    clock: u64,
    /// By hash: what was read once.
    marks: Vec<u64>,
}

struct Span {
    plain: Bytes,
    used: u64,
}

/// Plaintext that is overwritten when its last reader is done with it.
struct Wiped(BytesMut);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Cache {
    /// A cache of at most `most` bytes; `None` for none.
    pub(super) fn of(most: usize) -> Option<Arc<Self>> {
        let held = Held { marks: vec![0; MARKS], ..Held::default() };
        (most > 0).then(|| Arc::new(Self { most, hasher: RandomState::new(), held: Mutex::new(held) }))
    }

    /// Whether files of that size are kept at all.
    pub(super) fn takes(&self, size: u64) -> bool {
        size <= FILE_MOST
    }

    /// A span that is kept, whole.
    pub(super) fn get(&self, key: Key) -> Option<Bytes> {
        let mut held = self.lock();
        held.clock += 1;
        let now = held.clock;
        let span = held.spans.get_mut(&key)?;
        span.used = now;
        Some(span.plain.clone())
    }

    /// Whether a span that is not kept should be: it is read for the second time.
    pub(super) fn wants(&self, key: Key) -> bool {
        let hash = self.hasher.hash_one(key);
        self.lock().is_marked(hash)
    }

    /// Keeps a span, and gives it back.
    pub(super) fn keep(&self, key: Key, plain: BytesMut) -> Bytes {
        let weight = plain.len();
        let plain = Bytes::from_owner(Wiped(plain));
        if weight > self.most {
            return plain;
        }
        let mut held = self.lock();
        let gone = held.make_room(self.most.saturating_sub(weight));
        let span = Span { plain: plain.clone(), used: held.clock };
        let before = held.spans.insert(key, span);
        let replaced = before.as_ref().map_or(0, |span| span.plain.len());
        held.weight = held.weight.saturating_add(weight).saturating_sub(replaced);
        drop(held);
        // Overwriting takes microseconds for each: not while the lock is held.
        drop((gone, before));
        plain
    }

    /// Drops everything of a file, or of all.
    pub(super) fn forget(&self, file: Option<FileId>) {
        let mut gone = Vec::new();
        let mut held = self.lock();
        held.spans.retain(|(of, _), span| {
            let stays = file.is_some_and(|file| *of != file);
            if !stays {
                gone.push(std::mem::take(&mut span.plain));
            }
            stays
        });
        held.weight = held.weight.saturating_sub(gone.iter().map(Bytes::len).sum());
        drop(held);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whether this was marked before; marks it if not.
    fn is_marked(&mut self, hash: u64) -> bool {
        let at = usize::try_from(hash % to_u64(MARKS)).unwrap_or_default();
        let Some(mark) = self.marks.get_mut(at) else { return false };
        let was = *mark == hash;
        *mark = hash;
        was
    }

    /// Takes out the least recently used until no more than `most` bytes are left.
    fn make_room(&mut self, most: usize) -> Vec<Span> {
        let mut gone = Vec::new();
        while self.weight > most {
            let oldest = self.spans.iter().min_by_key(|(_, span)| span.used).map(|(key, _)| *key);
            let Some(span) = oldest.and_then(|key| self.spans.remove(&key)) else { break };
            self.weight = self.weight.saturating_sub(span.plain.len());
            gone.push(span);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u8) -> FileId {
        FileId::from_bytes([number; 16])
    }

    /// Reads the first span of a file of 100 bytes; whether it had to be opened for that.
    fn reads(cache: &Cache, file: FileId) -> bool {
        if let Some(plain) = cache.get((file, 0)) {
            assert_eq!(plain.len(), 100);
            return false;
        }
        if cache.wants((file, 0)) {
            assert_eq!(cache.keep((file, 0), BytesMut::zeroed(100)).len(), 100);
        }
        true
    }

    /// Spans and bytes.
    fn size_of(cache: &Cache) -> (usize, usize) {
        let held = cache.lock();
        (held.spans.len(), held.weight)
    }

    #[test]
    fn a_span_is_kept_from_its_second_reading_on() {
        let cache = Cache::of(1000).unwrap();
        let opened: Vec<bool> = (0..4).map(|_| reads(&cache, file(1))).collect();
        assert_eq!(opened, [true, true, false, false]);
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_weight_holds() {
        let cache = Cache::of(250).unwrap();
        for number in [1, 1, 2, 2, 1, 3, 3] {
            reads(&cache, file(number));
        }
        assert!(!reads(&cache, file(1)), "it was used after the other");
        assert!(!reads(&cache, file(3)));
        assert_eq!(size_of(&cache), (2, 200));
        assert!(reads(&cache, file(2)), "there was no room for three");
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let cache = Cache::of(1000).unwrap();
        reads(&cache, file(1));
        reads(&cache, file(1));
        reads(&cache, file(2));
        reads(&cache, file(2));
        cache.forget(Some(file(1)));
        assert_eq!(size_of(&cache), (1, 100));
        assert!(reads(&cache, file(1)));
        assert!(!reads(&cache, file(2)));
        cache.forget(None);
        assert_eq!(size_of(&cache), (0, 0));
    }

    #[test]
    fn what_has_no_room_is_given_out_and_not_kept() {
        let cache = Cache::of(99).unwrap();
        assert_eq!(cache.keep((file(1), 0), BytesMut::zeroed(100)).len(), 100);
        assert!(cache.get((file(1), 0)).is_none());
        assert!(cache.takes(FILE_MOST) && !cache.takes(FILE_MOST + 1));
        assert!(Cache::of(0).is_none());
    }

    #[test]
    fn a_span_that_is_kept_twice_weighs_once() {
        let cache = Cache::of(1000).unwrap();
        for _ in 0..3 {
            cache.keep((file(1), 0), BytesMut::zeroed(100));
        }
        assert_eq!(size_of(&cache), (1, 100));
    }
}
