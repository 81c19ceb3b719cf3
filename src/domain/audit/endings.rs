//! Endings outlive a backup: whatever ended is told once more, outside the database, by ids alone. A line for each, numbered and chained
//! by hash; behind every group of lines one that signs the chain so far, and is a part of it. A restore replays them, so that what was purged stays purged.
//! Where a file was altered and two operators acknowledged it, a signed line goes on behind what is sound, with numbers that were never given.

mod reading;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub use self::reading::{Place, Reading, Settled};
use super::tree::{Hash, sha256};
use super::vkey::SigningKey;
use crate::domain::clock::Timestamp;
use crate::domain::id::{ClientId, FileId, LinkId, ResourceId};
use crate::domain::lifecycle::State;

/// What ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A document was held back, withdrawn or destroyed.
    Document(ResourceId, State),
    /// A file that no document had claimed was destroyed.
    File(FileId),
    /// Links were revoked, under the number that the revocation has.
    Links(u32, LinksOf),
    /// A counted link's use was spent, or given back: how many are spent now.
    Use {
        /// Of which file.
        file: FileId,
        /// By whom.
        client: ClientId,
        /// For whom: a digest, empty where nobody was named.
        recipient: Vec<u8>,
        /// How many.
        used: u64,
    },
}

/// Whose links were revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinksOf {
    /// One link.
    Link(LinkId),
    /// All of a document.
    Document(ResourceId),
    /// All of a client.
    Client(ClientId),
    /// All of a patient, by the number that stands for the reference in this database.
    Patient(i64),
    /// All.
    All,
}

/// One ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Its number; each is one more than the last.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub ended: Ended,
}

impl Ended {
    /// As it is kept: an object with `what` and ids.
    pub fn to_text(&self) -> String {
        match self {
            Self::Document(id, state) => json!({ "what": state.as_str(), "document": id.as_str() }),
            Self::File(file) => json!({ "what": "file", "file": file.to_string() }),
            Self::Links(number, of) => {
                let (name, id) = match of {
                    LinksOf::Link(id) => ("link", id.to_string()),
                    LinksOf::Document(id) => ("document", id.to_string()),
                    LinksOf::Client(id) => ("client", id.to_string()),
                    LinksOf::Patient(number) => ("patient", number.to_string()),
                    LinksOf::All => ("all", String::new()),
                };
                json!({ "what": "links", "number": number, "of": name, "id": id })
            }
            Self::Use { file, client, recipient, used } => json!({
                "what": "use", "file": file.to_string(), "client": client.as_str(),
                "recipient": hex::encode(recipient), "used": used,
            }),
        }
        .to_string()
    }

    /// Reads what [`Self::to_text`] writes.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::from_json(&serde_json::from_str(text).ok()?)
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        Some(match text("what")? {
            "file" => Self::File(FileId::parse(text("file")?)?),
            "links" => {
                let id = text("id")?;
                let of = match text("of")? {
                    "link" => LinksOf::Link(LinkId::parse(id)?),
                    "document" => LinksOf::Document(ResourceId::parse(id)?),
                    "client" => LinksOf::Client(ClientId::parse(id)?),
                    "patient" => LinksOf::Patient(id.parse().ok()?),
                    "all" => LinksOf::All,
                    _ => return None,
                };
                Self::Links(value.get("number")?.as_u64()?.try_into().ok()?, of)
            }
            "use" => Self::Use {
                file: FileId::parse(text("file")?)?,
                client: ClientId::parse(text("client")?)?,
                recipient: hex::decode(text("recipient")?).ok()?,
                used: value.get("used")?.as_u64()?,
            },
            state => Self::Document(ResourceId::parse(text("document")?)?, State::parse(state)?),
        })
    }
}

/// Where a chain of endings stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// Number of the last ending; 0: there is none.
    pub number: u64,
    hash: Hash,
}

impl Chain {
    /// The line of the next ending, with its line end.
    fn line(&mut self, ended: &Ended, at: Timestamp) -> Option<String> {
        let Value::Object(mut line) = serde_json::from_str(&ended.to_text()).ok()? else { return None };
        let number = self.number.checked_add(1)?;
        line.insert("ending".to_owned(), number.into());
        line.insert("at".to_owned(), at.to_string().into());
        line.insert("before".to_owned(), hex::encode(self.hash).into());
        let line = Value::Object(line).to_string();
        *self = Self { number, hash: sha256(&[line.as_bytes()]) };
        Some(format!("{line}\n"))
    }

    /// The lines of a group of endings, which take the next numbers, and the one that signs them. `None` where one cannot be written.
    pub fn group(&mut self, endings: &[(Ended, Timestamp)], key: &SigningKey) -> Option<String> {
        let mut next = *self;
        let mut lines = String::new();
        for (ended, at) in endings {
            lines.push_str(&next.line(ended, *at)?);
        }
        let signature = STANDARD.encode(key.signature(&next.message(key.verifying_key().name())));
        let line = json!({ "signed": next.number, "signature": signature }).to_string();
        next.hash = sha256(&[line.as_bytes()]);
        lines.push_str(&format!("{line}\n"));
        *self = next;
        Some(lines)
    }

    /// The line behind which numbers go on after `number`, because what stood between is not there as it was written.
    pub fn resumed(&mut self, number: u64, key: &SigningKey) -> String {
        let next = Self { number, hash: self.hash };
        let signature = STANDARD.encode(key.signature(&next.message_of_resumption(key.verifying_key().name())));
        let line = json!({ "resumed": number, "signature": signature }).to_string();
        *self = Self { number, hash: sha256(&[line.as_bytes()]) };
        format!("{line}\n")
    }

    fn message_of_resumption(&self, origin: &str) -> Vec<u8> {
        format!("daylily-endings-resumed/v1\n{origin}\n{}\n{}\n", self.number, hex::encode(self.hash)).into_bytes()
    }

    fn message(&self, origin: &str) -> Vec<u8> {
        format!("daylily-endings/v1\n{origin}\n{}\n{}\n", self.number, hex::encode(self.hash)).into_bytes()
    }
}

/// What a file of endings says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endings {
    /// Endings that are signed, in order, as far as they were kept.
    pub endings: Vec<Ending>,
    /// Where the chain stands after them.
    pub chain: Chain,
    /// Bytes up to the end of the last signed group; what follows was never answered for, or is not this log's.
    pub length: u64,
    /// The line from which on it is not what was written, counted from 1. What a crash cut off behind the last signed group is none.
    pub wrong: Option<u64>,
    /// Lines behind the last signed group. Each may have been an ending, so that its number is given.
    pub beyond: u64,
    /// SHA-256 of what stands behind the last signed group.
    pub rest: Hash,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::VerifyingKey;

    fn key() -> SigningKey {
        SigningKey::from_seed("log.example/1", &[7; 32]).unwrap()
    }

    fn read(text: &[u8], key: &VerifyingKey) -> Endings {
        let mut reading = Reading::begin(key, Place::default());
        let endings = reading.feed(text);
        Endings { endings, ..reading.finish() }
    }

    fn endings() -> Vec<Ending> {
        let (document, client) = (ResourceId::parse("d1").unwrap(), ClientId::parse("lab").unwrap());
        let file = FileId::from_bytes([2; 16]);
        let ended = [
            Ended::Document(document.clone(), State::Purged),
            Ended::Document(document.clone(), State::Quarantined),
            Ended::File(file),
            Ended::Links(3, LinksOf::Link(LinkId::of_digest(&[1; 8]))),
            Ended::Links(4, LinksOf::Document(document)),
            Ended::Links(5, LinksOf::Client(client.clone())),
            Ended::Links(6, LinksOf::Patient(9)),
            Ended::Links(7, LinksOf::All),
            Ended::Use { file, client, recipient: vec![1; 32], used: 2 },
        ];
        let at = Timestamp::from_millis(1_700_000_000_000);
        (1..).zip(ended).map(|(number, ended)| Ending { number, at, ended }).collect()
    }

    fn written() -> String {
        let (mut chain, all) = (Chain::default(), endings());
        let all: Vec<_> = all.into_iter().map(|ending| (ending.ended, ending.at)).collect();
        let (first, second) = all.split_at(4);
        chain.group(first, &key()).unwrap() + &chain.group(second, &key()).unwrap()
    }

    #[test]
    fn f105_what_was_written_is_read_and_every_alteration_is_seen() {
        let (text, key) = (written(), key().verifying_key().clone());
        let whole = read(text.as_bytes(), &key);
        assert_eq!((whole.endings.clone(), whole.wrong, whole.length), (endings(), None, text.len() as u64));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let read = read(&bytes, &key);
            assert!(
                read.endings.len() < whole.endings.len() && read.endings == endings()[..read.endings.len()],
                "byte {at}"
            );
        }
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for out in 0..lines.len() - 1 {
            let without: String =
                lines.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, line)| *line).collect();
            assert!(read(without.as_bytes(), &key).wrong.is_some(), "line {out} taken out");
            let mut swapped = lines.clone();
            swapped.swap(out, out + 1);
            assert!(read(swapped.concat().as_bytes(), &key).wrong.is_some(), "line {out} swapped");
        }
        let other = SigningKey::from_seed("log.example/1", &[8; 32]).unwrap();
        assert!(read(text.as_bytes(), other.verifying_key()).endings.is_empty());
    }

    #[test]
    fn f105_numbers_go_on_behind_what_was_altered_and_only_a_signed_line_says_so() {
        let (text, verifying) = (written(), key().verifying_key().clone());
        let altered = text.replacen("lab", "wab", 1);
        let found = read(altered.as_bytes(), &verifying);
        assert_eq!((found.chain.number, found.wrong.is_some(), found.beyond), (4, true, 6));
        let mut chain = found.chain;
        let mut mended = altered[..usize::try_from(found.length).unwrap()].to_owned();
        mended.push_str(&chain.resumed(9, &key()));
        mended.push_str(&chain.group(&[(Ended::Links(8, LinksOf::All), endings()[0].at)], &key()).unwrap());
        let sound = read(mended.as_bytes(), &verifying);
        let numbers: Vec<u64> = sound.endings.iter().map(|ending| ending.number).collect();
        assert_eq!((numbers, sound.wrong, sound.beyond), (vec![1, 2, 3, 4, 10], None, 0));
        let lower = mended.replacen("\"resumed\":9", "\"resumed\":5", 1);
        assert!(read(lower.as_bytes(), &verifying).wrong.is_some());
        let moved = &mended[usize::try_from(found.length).unwrap()..];
        assert!(read(moved.as_bytes(), &verifying).wrong.is_some(), "elsewhere in the chain it says nothing");
    }

    #[test]
    fn f105_what_a_crash_cut_off_is_no_alteration() {
        let (text, key) = (written(), key().verifying_key().clone());
        for end in 0..text.len() {
            let read = read(&text.as_bytes()[..end], &key);
            assert_eq!(read.wrong, None, "{end}");
            assert!(read.endings.len() == 4 || read.endings.is_empty(), "a group whole or not at all");
        }
    }

    #[test]
    fn f105_in_pieces_and_from_any_signed_line_the_same_is_read() {
        let (text, key) = (written(), key().verifying_key().clone());
        let altered = text.replacen("lab", "wab", 1);
        for text in [&text, &altered, &text[..text.len() - 3]] {
            let whole = read(text.as_bytes(), &key);
            for size in [1, 7, 100, 1_000] {
                let mut reading = Reading::begin(&key, Place::default());
                let mut endings = Vec::new();
                for piece in text.as_bytes().chunks(size) {
                    endings.extend(reading.feed(piece));
                }
                assert_eq!(Endings { endings, ..reading.finish() }, whole, "pieces of {size}");
            }
        }
        let mut reading = Reading::begin(&key, Place::default()).settling(5);
        reading.feed(text.as_bytes());
        let place = Place::from_text(&reading.settled().to_text()).unwrap();
        assert_eq!((place, place.chain.number), (reading.settled(), 4), "the second group has the sixth");
        let tail = |text: &str| {
            let mut reading = Reading::begin(&key, place);
            let endings = reading.feed(&text.as_bytes()[usize::try_from(place.length).unwrap()..]);
            Endings { endings, ..reading.finish() }
        };
        assert_eq!(
            (tail(&text).endings, tail(&text).chain),
            (endings()[4..].to_vec(), read(text.as_bytes(), &key).chain)
        );
        assert_eq!(tail(&altered).wrong, Some(3), "the line after the altered one does not follow it");
    }

    #[test]
    fn f105_the_place_is_kept_however_many_revocations_were_told_of() {
        let place = Place { length: 9_000_000, chain: Chain { number: 40_000, hash: [7; 32] } };
        let apart = |count: u32| (0..count).map(|number| 100_000 + number * 300).collect();
        for count in [0, 1, 630, 3_000] {
            let settled = Settled { place, revocations: apart(count) };
            assert_eq!(Settled::from_text(&settled.to_text()), Some(settled), "{count}");
        }
        let many = Settled { place, revocations: apart(200_000) };
        let kept = Settled::from_text(&many.to_text()).unwrap();
        assert_eq!(kept.place, place);
        let latest: Vec<u32> = many.revocations.iter().rev().take(kept.revocations.len()).copied().collect();
        assert!(latest.len() > 2_000 && latest.iter().eq(kept.revocations.iter().rev()), "the latest of them");
        assert!(
            many.to_text().len() < crate::domain::audit::note::MAX_NOTE * 7 / 8,
            "with room for the rest of a note"
        );
    }

    #[test]
    fn f105_a_line_without_an_end_is_not_kept() {
        let mut reading = Reading::begin(key().verifying_key(), Place::default());
        for _ in 0..100 {
            reading.feed(&[b'x'; 1_000]);
        }
        let read = reading.finish();
        assert_eq!((read.wrong, read.beyond, read.rest), (Some(1), 1, sha256(&[&[b'x'; 100_000]])));
    }
}
