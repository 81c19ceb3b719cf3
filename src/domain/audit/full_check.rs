//! The note of the last full check of a log: up to which entry all were found whole, the tree up to there, and the checkpoint that was
//! newest then. Signed with a key that signs nothing else. A start that finds a sound one verifies what came after it, and leaves the
//! rest to the check in the background.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::action::Action;
use super::endings::Settled;
use super::note::Checkpoint;
use super::signed_lines;
use super::tree::Frontier;
use super::vkey::{SigningKey, VerifyingKey};

/// First line: what the text is, and its version.
const HEAD: &str = "daylily-log-check/1";
/// What stands where there is nothing to say.
const NOTHING: &str = "-";

/// What a full check found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullCheck {
    /// Name of the log.
    pub origin: String,
    /// The tree of the entries that were checked.
    pub tree: Frontier,
    /// Time in microseconds and action of the last of them.
    pub last: Option<(u64, Action)>,
    /// Size and root of the newest checkpoint that fitted.
    pub newest: Option<Checkpoint>,
    /// Up to where the file of endings was found whole.
    pub endings: Option<Settled>,
}

impl FullCheck {
    /// The note.
    pub fn seal(&self, key: &SigningKey) -> String {
        let last = self.last.map(|(micros, action)| format!("{micros} {action}"));
        let newest = self.newest.as_ref().map(|newest| format!("{} {}", newest.size, STANDARD.encode(newest.root)));
        let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
        let tree = STANDARD.encode(self.tree.encode());
        let endings = self.endings.as_ref().map(Settled::to_text);
        let lines = [self.tree.size().to_string(), tree, or_nothing(last), or_nothing(newest), or_nothing(endings)];
        signed_lines::seal(HEAD, &lines, key)
    }

    /// Reads a note of the log `key` is named after. `None` for anything else: another shape, another log, another key, changed.
    pub fn open(note: &[u8], key: &VerifyingKey) -> Option<Self> {
        let lines = signed_lines::open(HEAD, note, key)?;
        // Before the file of endings was read in pieces, a note had no line of it.
        let (size, tree, last, newest, endings) = match lines.as_slice() {
            [size, tree, last, newest] => (size, tree, last, newest, NOTHING),
            [size, tree, last, newest, endings] => (size, tree, last, newest, endings.as_str()),
            _ => return None,
        };
        let tree = Frontier::decode(&STANDARD.decode(tree).ok()?)?;
        let (last, newest) = (absent_or(last, read_last)?, absent_or(newest, |line| read_newest(key.name(), line))?);
        let endings = absent_or(endings, Settled::from_text)?;
        let origin = key.name().to_owned();
        (*size == tree.size().to_string()).then_some(Self { origin, tree, last, newest, endings })
    }
}

fn absent_or<T>(line: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if line == NOTHING { Some(None) } else { read(line).map(Some) }
}

fn read_last(line: &str) -> Option<(u64, Action)> {
    let (micros, action) = line.split_once(' ')?;
    Some((micros.parse().ok()?, Action::from_code(action)?))
}

fn read_newest(origin: &str, line: &str) -> Option<Checkpoint> {
    let (size, root) = line.split_once(' ')?;
    let root = STANDARD.decode(root).ok()?.try_into().ok()?;
    Some(Checkpoint { origin: origin.to_owned(), size: size.parse().ok()?, root })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::tree::leaf_hash;
    use proptest::prelude::*;

    const ORIGIN: &str = "log.example/audit/1";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(ORIGIN, &[seed; 32]).unwrap()
    }

    fn full(size: u64) -> FullCheck {
        let tree: Frontier = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let newest = (size > 0).then(|| Checkpoint::of(ORIGIN, &tree));
        let last = (size > 0).then_some((1_700_000_000_000_000, Action::ServerStop));
        let endings = Settled::from_text(&format!("{} {size} {} 1-3,7-7", size * 200, "0a".repeat(32)));
        FullCheck { origin: ORIGIN.to_owned(), tree, last, newest, endings }
    }

    #[test]
    fn a_note_reads_back_under_its_own_key_only() {
        for size in [0, 1, 2, 7, 1_000] {
            let note = full(size).seal(&key(1));
            assert_eq!(FullCheck::open(note.as_bytes(), key(1).verifying_key()), Some(full(size)));
            assert_eq!(FullCheck::open(note.as_bytes(), key(2).verifying_key()), None, "another key");
            let other = SigningKey::from_seed("other.example/1", &[1; 32]).unwrap();
            assert_eq!(FullCheck::open(note.as_bytes(), other.verifying_key()), None, "another log");
        }
    }

    #[test]
    fn a_note_of_an_earlier_version_says_nothing_of_endings() {
        let note = FullCheck { endings: None, ..full(0) };
        let lines = ["0".to_owned(), STANDARD.encode(note.tree.encode()), NOTHING.to_owned(), NOTHING.to_owned()];
        let sealed = signed_lines::seal(HEAD, &lines, &key(1));
        assert_eq!(FullCheck::open(sealed.as_bytes(), key(1).verifying_key()), Some(note));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let (note, key) = (full(7).seal(&key(1)).into_bytes(), key(1));
        for at in 0..note.len() {
            let mut changed = note.clone();
            changed[at] ^= 1;
            assert_eq!(FullCheck::open(&changed, key.verifying_key()), None, "byte {at}");
            assert_eq!(FullCheck::open(&note[..at], key.verifying_key()), None, "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_notes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(FullCheck::open(&bytes, key(1).verifying_key()), None);
        }
    }
}
