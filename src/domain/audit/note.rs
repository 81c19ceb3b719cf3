//! The signed checkpoint: three lines that say how many entries a log has and what their root is, and signatures under them
//! (C2SP tlog-checkpoint in a C2SP signed-note). Who holds one notices any later change to what it vouches for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tree::{Frontier, Hash};
use super::vkey::{KeyKind, SigningKey, VerifyingKey, is_key_name};

/// Longest note that is read.
pub const MAX_NOTE: usize = 64 * 1024;

/// Most signature lines that are read; C2SP asks for at least 16.
pub const MAX_SIGNATURES: usize = 128;

/// The em dash and space that begin a signature line.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log, for ever; also the name of its keys.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// Why a text is no signed checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of the one shape that is written here.
    #[error("not a signed checkpoint")]
    Malformed,
    /// A known key's signature does not fit the text.
    #[error("a signature does not fit")]
    BadSignature,
}

/// The next checkpoint does not continue what was signed last; signing it would vouch for two histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint does not continue the one signed before")]
pub struct NotGrown;

impl Checkpoint {
    /// Of the tree with this frontier.
    pub fn of(origin: &str, tree: &Frontier) -> Self {
        Self { origin: origin.to_owned(), size: tree.size(), root: tree.root() }
    }

    /// The text that is signed: origin, size and base64 of the root, a line each.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The note with a signature of each key (two while one key takes over from another). Does not look at what was signed
    /// before: a running log signs with [`sign_next`].
    pub fn sign(&self, keys: &[&SigningKey]) -> String {
        let text = self.text();
        let mut note = format!("{text}\n");
        for key in keys {
            let public = key.verifying_key();
            let bytes = [public.id().as_slice(), &key.signature(text.as_bytes())].concat();
            note.push_str(&format!("{SIGNATURE_MARK}{} {}\n", public.name(), STANDARD.encode(bytes)));
        }
        note
    }

    fn parse_text(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if lines.next().is_some() || !is_key_name(origin) {
            return None;
        }
        let number = size.parse::<u64>().ok().filter(|number| number.to_string() == size)?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        Some(Self { origin: origin.to_owned(), size: number, root })
    }
}

/// Signs `next` if the log only grew since `last` was signed: `then` is the frontier whose root `last` holds (empty when
/// nothing was signed yet), `since` the leaf hashes that came after, in order.
///
/// # Errors
/// [`NotGrown`] when `then` is not what was signed, the leaves do not lead to `next`, or the origins differ.
pub fn sign_next(
    last: Option<&Checkpoint>,
    then: &Frontier,
    since: impl IntoIterator<Item = Hash>,
    next: &Checkpoint,
    keys: &[&SigningKey],
) -> Result<String, NotGrown> {
    let started = match last {
        Some(last) => Checkpoint::of(&next.origin, then) == *last,
        None => then.size() == 0,
    };
    let mut grown = then.clone();
    grown.extend(since);
    let continues = started && Checkpoint::of(&next.origin, &grown) == *next;
    continues.then(|| next.sign(keys)).ok_or(NotGrown)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// A checkpoint with its signatures, read but not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<Signature>,
}

impl SignedCheckpoint {
    /// Reads a note. Strict: UTF-8, no control characters, three lines of text without extension, an empty line, then
    /// signature lines and nothing else.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        Self::read(note).ok_or(NoteError::Malformed)
    }

    fn read(note: &[u8]) -> Option<Self> {
        let note = Some(note).filter(|note| note.len() <= MAX_NOTE).and_then(|note| std::str::from_utf8(note).ok())?;
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return None;
        }
        let (text, signatures) = note.rsplit_once("\n\n")?;
        let checkpoint = Checkpoint::parse_text(&format!("{text}\n"))?;
        let lines = signatures.strip_suffix('\n')?.split('\n');
        let signatures: Vec<Signature> = lines.take(MAX_SIGNATURES + 1).map(read_signature).collect::<Option<_>>()?;
        (signatures.len() <= MAX_SIGNATURES).then_some(Self { checkpoint, signatures })
    }

    /// What the note says, whoever signed it.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Those of `keys` that signed it. Lines of other keys are passed over; the answer may be empty.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when a line of one of `keys` does not fit: known but bad is never passed over.
    pub fn signers<'k>(&self, keys: &'k [VerifyingKey]) -> Result<Vec<&'k VerifyingKey>, NoteError> {
        let text = self.checkpoint.text();
        let mut signers = Vec::new();
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| key.name() == signature.name && key.id() == signature.id) {
                if !fits(key, &text, &signature.bytes) {
                    return Err(NoteError::BadSignature);
                }
                if !signers.contains(&key) {
                    signers.push(key);
                }
            }
        }
        Ok(signers)
    }
}

/// A log signs the text; a witness signs a header with a time and then the text (C2SP tlog-cosignature).
fn fits(key: &VerifyingKey, text: &str, signature: &[u8]) -> bool {
    match key.kind() {
        KeyKind::Log => key.verifies(text.as_bytes(), signature),
        KeyKind::Witness => signature.split_first_chunk::<8>().is_some_and(|(time, signature)| {
            let time = u64::from_be_bytes(*time);
            key.verifies(format!("cosignature/v1\ntime {time}\n{text}").as_bytes(), signature)
        }),
    }
}

fn read_signature(line: &str) -> Option<Signature> {
    let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let (id, bytes) = decoded.split_first_chunk::<4>()?;
    (is_key_name(name) && !bytes.is_empty()).then(|| Signature {
        name: name.to_owned(),
        id: *id,
        bytes: bytes.to_vec(),
    })
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

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: ORIGIN.to_owned(), size: 3, root: [7; 32] }
    }

    #[test]
    fn the_example_of_c2sp_signed_note_verifies() {
        // C2SP signed-note.md, Example: its text is no checkpoint, so the signature is checked by itself.
        let key = VerifyingKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let text = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
        let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let signature = read_signature(line).unwrap();
        assert_eq!(signature.id, key.id());
        assert!(fits(&key, text, &signature.bytes) && !fits(&key, "another\n", &signature.bytes));
    }

    #[test]
    fn unknown_lines_are_passed_over_and_a_known_bad_line_is_not() {
        let (ours, others) = (key(1), (2..22).map(key).collect::<Vec<_>>());
        let known = [ours.verifying_key().clone()];
        let mut keys: Vec<&SigningKey> = others.iter().collect();
        keys.push(&ours);
        let note = checkpoint().sign(&keys);
        let parsed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.signers(&known).unwrap(), [&known[0]]);
        // The line of another text's note, under our name and id.
        let other = Checkpoint { size: 4, ..checkpoint() }.sign(&[&ours]);
        let bad = format!("{note}{}\n", other.lines().last().unwrap());
        let parsed = SignedCheckpoint::parse(bad.as_bytes()).unwrap();
        assert_eq!(parsed.signers(&known), Err(NoteError::BadSignature));
        let unknown = [key(40).verifying_key().clone()];
        assert_eq!(parsed.signers(&unknown), Ok(Vec::new()));
    }

    #[test]
    fn other_shapes_are_refused() {
        let note = checkpoint().sign(&[&key(1)]);
        let many: Vec<SigningKey> = (0..129).map(key).collect();
        let wrong = [
            note.replace("\n3\n", "\n03\n"),
            note.replace("\n3\n", "\n+3\n"),
            note.replace("\n3\n", "\n\n"),
            note.replace("\n3\n", "\n18446744073709551616\n"),
            note.replace("\n\n", "\nextension\n\n"),
            note.replace("\n\n", "\n"),
            note.replace('\u{2014}', "-"),
            note.replace("=\n\n", "\n\n"),
            format!("{note}\n"),
            note.trim_end().to_owned(),
            note.replace('\n', "\r\n"),
            checkpoint().sign(&many.iter().collect::<Vec<_>>()),
            checkpoint().text(),
            String::new(),
        ];
        for wrong in wrong {
            assert_eq!(SignedCheckpoint::parse(wrong.as_bytes()), Err(NoteError::Malformed), "{wrong}");
        }
    }

    #[test]
    fn only_what_grew_out_of_the_last_checkpoint_is_signed() {
        let leaves: Vec<Hash> = (0u8..9).map(|n| leaf_hash(&[n])).collect();
        let tree = |n: usize| leaves[..n].iter().copied().collect::<Frontier>();
        let at = |n: usize| Checkpoint::of(ORIGIN, &tree(n));
        let since = |from: usize, to: usize| leaves[from..to].iter().copied();
        let key = key(1);
        assert_eq!(sign_next(None, &tree(0), since(0, 4), &at(4), &[&key]), Ok(at(4).sign(&[&key])));
        assert_eq!(sign_next(Some(&at(4)), &tree(4), since(4, 9), &at(9), &[&key]), Ok(at(9).sign(&[&key])));
        let shrunk = sign_next(Some(&at(9)), &tree(4), since(4, 4), &at(4), &[&key]);
        let other = Checkpoint { root: [1; 32], ..at(4) };
        assert_eq!(shrunk, Err(NotGrown));
        assert_eq!(sign_next(Some(&other), &tree(4), since(4, 9), &at(9), &[&key]), Err(NotGrown));
        assert_eq!(sign_next(None, &tree(4), since(4, 9), &at(9), &[&key]), Err(NotGrown));
        assert_eq!(sign_next(Some(&at(4)), &tree(4), since(5, 9), &at(9), &[&key]), Err(NotGrown));
    }

    proptest! {
        #[test]
        fn arbitrary_notes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "(.|\n){0,60}") {
            let _ = SignedCheckpoint::parse(&bytes);
            let _ = SignedCheckpoint::parse(text.as_bytes());
        }
    }
}
