//! PDF (ISO 32000-1): names that make a viewer act, wherever a viewer would find an object. Only names of the object
//! syntax count: the word "JavaScript" on a page is in a string or in a compressed stream and means nothing.
//!
//! Viewers go from the cross-reference table straight to any byte, also into a comment, a string or a stream. So the
//! header of an object (`7 0 obj`) begins a new object here wherever it stands, and nothing can be hidden by an open
//! parenthesis or a false `/Length`.

mod cipher;
mod filter;
pub(super) mod lock;
mod stream;
mod watch;

use std::cell::Cell;

use self::filter::Step;
use self::lock::Lock;
use self::watch::Watch;
use super::forward::Forward;
use super::inspect::{Outcome, Stop};
use crate::domain::verdict::Finding;

/// Longest name that is kept; all names of interest are shorter (7.3.5 allows 127 bytes).
const NAME: usize = 127;

/// Reads a PDF to its end.
pub(super) fn inspect(forward: &mut Forward<'_>) -> Outcome<()> {
    // Only the file itself was searched for its lock; what is attached to it has one of its own.
    let top = forward.account.place.get().level == 0;
    let whole = Whole { lock: forward.account.lock.filter(|_| top), ..Whole::default() };
    let outcome = Lexer::new(&whole).run(forward);
    if let Err(Stop::Found(Finding::Unreadable)) | Ok(()) = &outcome {
        whole.judge()?;
    }
    outcome
}

/// What only the whole file tells: its parts come in any order.
#[derive(Debug, Default)]
struct Whole<'l> {
    /// Opens it, when it is encrypted with the empty password.
    lock: Option<&'l Lock>,
    /// Encryption dictionaries; more than one leave it open which key is the right one.
    locks: Cell<u32>,
    /// It is encrypted, so that what could not be read is no damage.
    encrypted: Cell<bool>,
    /// It has attachments.
    attaches: Cell<bool>,
    /// A stream that may be an attachment could not be looked into.
    sealed: Cell<bool>,
    /// A stream that must be readable is not.
    broken: Cell<bool>,
    /// Object streams within object streams that are being read now.
    within: Cell<u32>,
}

impl Whole<'_> {
    fn judge(&self) -> Result<(), Finding> {
        let open = self.lock.is_some() && self.locks.get() == 1;
        match (self.encrypted.get() && !open, self.broken.get() || (self.attaches.get() && self.sealed.get())) {
            (true, _) => Err(Finding::Encrypted),
            (false, true) => Err(Finding::Unreadable),
            (false, false) => Ok(()),
        }
    }
}

/// What the dictionary of the current object says of a stream behind it.
#[derive(Debug, Default, Clone)]
struct Facts {
    object_stream: bool,
    count: bool,
    first: bool,
    embedded: bool,
    image: bool,
    filter: bool,
    steps: Vec<Step>,
    predictor: bool,
    table: bool,
    metadata: bool,
    owner: bool,
    user: bool,
    previous: Vec<u8>,
}

impl Facts {
    fn note(&mut self, name: Vec<u8>, whole: &Whole<'_>) -> Result<(), Finding> {
        match name.as_slice() {
            b"JavaScript" | b"JS" | b"Launch" | b"AA" | b"RichMedia" => return Err(Finding::ActiveScript),
            b"Encrypt" => whole.encrypted.set(true),
            b"EF" | b"EmbeddedFiles" => whole.attaches.set(true),
            b"Metadata" => self.metadata |= self.previous == b"Type",
            b"O" => self.owner = true,
            b"U" => self.user = true,
            b"XRef" => self.table |= self.previous == b"Type",
            b"ObjStm" => self.object_stream = true,
            b"N" => self.count = true,
            b"First" => self.first = true,
            b"EmbeddedFile" => self.embedded = true,
            b"Image" => self.image |= self.previous == b"Subtype",
            b"Filter" => self.filter = true,
            b"Predictor" => self.predictor = true,
            // One more than are taken off says all that there is to say.
            other if self.steps.len() <= filter::STEPS => self.steps.extend(Step::of(other)),
            _ => {}
        }
        self.previous = name;
        // All that an encryption dictionary must have, wherever its filter's name stands.
        if self.filter && self.owner && self.user {
            whole.locks.set(whole.locks.get().saturating_add(1));
            (self.owner, self.user) = (false, false);
        }
        Ok(())
    }

    /// Readers find object streams by the table, not by their type, and need these two numbers (7.5.7).
    fn holds_objects(&self) -> bool {
        self.object_stream || (self.count && self.first)
    }
}

fn is_regular(byte: u8) -> bool {
    !matches!(byte, 0 | 9 | 10 | 12 | 13 | b' ' | b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

/// Reads object syntax (7.2).
struct Lexer<'w> {
    whole: &'w Whole<'w>,
    /// The last two words, if they are numbers, and the object that they named.
    numbers: [Option<u32>; 2],
    object: Option<(u32, u16)>,
    streams: u64,
    facts: Facts,
    watch: Watch,
}

impl<'w> Lexer<'w> {
    fn new(whole: &'w Whole<'w>) -> Self {
        Self { whole, numbers: [None; 2], object: None, streams: 0, facts: Facts::default(), watch: Watch::default() }
    }

    fn run(&mut self, forward: &mut Forward<'_>) -> Outcome<()> {
        while let Some(byte) = forward.next_byte()? {
            match byte {
                b'%' => self.pass(forward, |byte| matches!(byte, 10 | 13))?,
                b'(' => self.string(forward)?,
                b'<' if forward.peek(1)? == b"<" => forward.skip(1)?,
                b'<' => self.pass(forward, |byte| byte == b'>')?,
                b'/' => {
                    let name = name(forward)?;
                    self.facts.note(name, self.whole)?;
                }
                byte if is_regular(byte) => self.word(forward, byte)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Passes over bytes up to `ends`, or to the header of an object.
    fn pass(&mut self, forward: &mut Forward<'_>, ends: fn(u8) -> bool) -> Outcome<()> {
        self.watch = Watch::default();
        while let Some(byte) = forward.next_byte()? {
            if self.watch.sees(byte) {
                (self.facts, self.object) = (Facts::default(), None);
                return Ok(());
            }
            if ends(byte) {
                break;
            }
        }
        Ok(())
    }

    /// A literal string with its parentheses and escapes (7.3.4.2).
    fn string(&mut self, forward: &mut Forward<'_>) -> Outcome<()> {
        self.watch = Watch::default();
        let mut open = 1u64;
        while let Some(byte) = forward.next_byte()? {
            if self.watch.sees(byte) {
                (self.facts, self.object) = (Facts::default(), None);
                return Ok(());
            }
            match byte {
                b'\\' => drop(forward.next_byte()?),
                b'(' => open += 1,
                b')' if open == 1 => return Ok(()),
                b')' => open -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// A number or a keyword that begins with `first`.
    fn word(&mut self, forward: &mut Forward<'_>, first: u8) -> Outcome<()> {
        let mut word = vec![first];
        while let Some(byte) = forward.peek(1)?.first().copied().filter(|byte| is_regular(*byte)) {
            forward.skip(1)?;
            if word.len() < 16 {
                word.push(byte);
            }
        }
        match word.as_slice() {
            b"stream" => {
                self.streams += 1;
                let facts = std::mem::take(&mut self.facts);
                stream::inspect(forward, &facts, (self.streams, self.object), self.whole)?;
            }
            b"endobj" | b"xref" | b"startxref" => self.facts = Facts::default(),
            word if word.ends_with(b"obj") => {
                if let Some(number) = word.strip_suffix(b"obj").and_then(number) {
                    let [_, last] = self.numbers;
                    self.numbers = [last, Some(number)];
                }
                self.facts = Facts::default();
                let [first, second] = self.numbers;
                self.object = first.zip(second.and_then(|second| u16::try_from(second).ok()));
            }
            _ => {}
        }
        let [_, last] = self.numbers;
        self.numbers = [last, number(&word)];
        Ok(())
    }
}

fn number(word: &[u8]) -> Option<u32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A name behind its slash; `#4A` is `J` (7.3.5).
fn name(forward: &mut Forward<'_>) -> Outcome<Vec<u8>> {
    let mut name = Vec::new();
    while let Some(byte) = forward.peek(1)?.first().copied().filter(|byte| is_regular(*byte)) {
        let escaped = match forward.peek(3)? {
            [b'#', digits @ ..] => std::str::from_utf8(digits).ok().filter(|text| text.len() == 2),
            _ => None,
        };
        let escaped = escaped.and_then(|text| u8::from_str_radix(text, 16).ok());
        forward.skip(if escaped.is_some() { 3 } else { 1 })?;
        if name.len() <= NAME {
            name.push(escaped.unwrap_or(byte));
        }
    }
    Ok(name)
}
