//! Streams of a PDF: object streams are read as objects, embedded files as files; what else is inflated only to see
//! whether it is one of them in disguise. Pixels of images stay packed.

use std::io::{self, Read};

use flate2::bufread::DeflateDecoder;

use super::super::forward::{Forward, LOOK_AHEAD};
use super::super::inspect::{Outcome, Stop, entry};
use super::super::kind::{self, Kind};
use super::super::limits::Account;
use super::cipher::Decrypted;
use super::filter::{Letters, STEPS, Step};
use super::watch::Watch;
use super::{Facts, Lexer, Whole};
use crate::domain::verdict::Finding;

/// Object streams within object streams that are read: none is honest, a few may be a guess that was wrong.
const MOST_WITHIN: u32 = 4;

/// Reads the stream whose dictionary was just read, and its data to the end.
pub(super) fn inspect(
    forward: &mut Forward<'_>,
    facts: &Facts,
    (number, object): (u64, Object),
    whole: &Whole<'_>,
) -> Outcome<()> {
    // The keyword ends with a line feed, with or without a carriage return (7.3.8.1).
    if forward.peek(1)? == b"\r" {
        forward.skip(1)?;
    }
    if forward.peek(1)? == b"\n" {
        forward.skip(1)?;
    }
    let stream = Stream { facts, number, whole };
    let account = forward.account;
    let place = account.place.get();
    let mut data = Data { forward, watch: Watch::default(), ended: false };
    let mut inside = Forward::plain(account, &mut data);
    let outcome = stream.open(&mut inside, object);
    stream.tolerate(account, outcome)?;
    account.place.set(place);
    inside.drain()?;
    Ok(())
}

/// Number and generation, when they are known.
type Object = Option<(u32, u16)>;

struct Stream<'s> {
    facts: &'s Facts,
    number: u64,
    whole: &'s Whole<'s>,
}

impl Stream<'_> {
    fn must_be_read(&self) -> bool {
        self.facts.holds_objects() || self.facts.embedded
    }

    /// Damage is common in pages and fonts, and viewers show what there is; it hides nothing there. What must be read is
    /// noted instead of refused at once: that the file is encrypted says its end.
    fn tolerate(&self, account: &Account<'_>, outcome: Outcome<()>) -> Outcome<()> {
        let failed = match &outcome {
            Err(Stop::Broken) => account.tripped.get().is_none(),
            Err(Stop::Found(Finding::Unreadable)) => self.must_be_read(),
            _ => false,
        };
        if !failed {
            return outcome;
        }
        if self.must_be_read() {
            self.whole.broken.set(true);
        } else if self.facts.steps.is_empty() {
            self.whole.sealed.set(true);
        }
        Ok(())
    }

    /// Takes off the encryption, if there is one that opens, and the filters.
    fn open(&self, data: &mut Forward<'_>, object: Object) -> Outcome<()> {
        // Tables are never encrypted, and metadata need not be (7.6.2).
        let lock = self.whole.lock.filter(|lock| !(self.facts.table || lock.clear_metadata && self.facts.metadata));
        let Some(lock) = lock else {
            let xml = matches!(data.peek(1)?, [] | b"<" | b"\xef");
            // What is called metadata and is none may be meant to be decrypted after all.
            if self.whole.lock.is_some() && self.facts.metadata && !xml {
                self.whole.sealed.set(true);
            }
            return self.filtered(data);
        };
        let account = data.account;
        let cipher = lock.cipher(object).ok_or(Finding::Unreadable)?;
        let mut decrypted = Decrypted::new(data, cipher);
        self.filtered(&mut Forward::plain(account, &mut decrypted))
    }

    fn filtered(&self, data: &mut Forward<'_>) -> Outcome<()> {
        match self.facts.steps.as_slice() {
            // The filter stands elsewhere; nearly always it is this one.
            [] if self.facts.filter => self.unpack(data, &[Step::Flate]),
            [Step::Flate] if self.facts.image && !self.must_be_read() => Ok(()),
            steps => self.unpack(data, steps),
        }
    }

    /// Takes off one filter after the other.
    fn unpack(&self, packed: &mut Forward<'_>, steps: &[Step]) -> Outcome<()> {
        let account = packed.account;
        match steps {
            [] => self.content(packed),
            _ if steps.len() > STEPS || self.facts.predictor && self.must_be_read() => Err(Finding::Unreadable.into()),
            [Step::Flate, rest @ ..] => {
                // Viewers do not ask for the checksum at the end.
                if packed.peek(2)?.len() == 2 {
                    packed.skip(2)?;
                }
                if self.facts.predictor && !self.facts.table && !self.facts.image {
                    self.whole.sealed.set(true);
                }
                let limit = if self.facts.holds_objects() { account.limits.object_stream } else { u64::MAX };
                let mut decoder = Capped { inner: DeflateDecoder::new(packed), left: limit };
                self.unpack(&mut Forward::unpacking(account, &mut decoder), rest)
            }
            [step @ (Step::Hex | Step::Base85), rest @ ..] => {
                // Some writers put the start mark of other uses of base 85.
                if packed.peek(2)? == b"<~" {
                    packed.skip(2)?;
                }
                let mut decoder = Letters::new(packed, *step == Step::Hex);
                self.unpack(&mut Forward::unpacking(account, &mut decoder), rest)
            }
            _ if self.must_be_read() => Err(Finding::Unreadable.into()),
            [Step::Picture, ..] => Ok(()),
            [Step::Other, ..] => {
                self.whole.sealed.set(self.whole.sealed.get() || !self.facts.image);
                Ok(())
            }
        }
    }

    fn content(&self, inside: &mut Forward<'_>) -> Outcome<()> {
        if self.facts.holds_objects() {
            // No object in an object stream has a stream of its own (7.5.7); whoever writes thousands wants the reader's stack.
            let within = self.whole.within.get();
            if within >= MOST_WITHIN {
                return Err(Finding::ArchiveBomb.into());
            }
            self.whole.within.set(within + 1);
            let outcome = Lexer::new(self.whole).run(inside);
            self.whole.within.set(within);
            return outcome;
        }
        if self.facts.embedded {
            return entry(self.number, inside, None).map(drop);
        }
        match kind::sniff(inside.peek(LOOK_AHEAD)?) {
            // An embedded file need not say that it is one, and forms (XFA) are markup.
            Kind::Executable | Kind::Markup | Kind::Zip | Kind::Compound | Kind::Gzip | Kind::Pdf(0) => {
                entry(self.number, inside, None).map(drop)
            }
            _ => Ok(inside.drain()?),
        }
    }
}

/// Fails beyond its limit, as an archive bomb does.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(count)
    }
}

/// The bytes up to `endstream`, whatever `/Length` says, or to the header of an object.
struct Data<'a, 'r> {
    forward: &'a mut Forward<'r>,
    watch: Watch,
    ended: bool,
}

impl Read for Data<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const END: &[u8] = b"endstream";
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let ahead = self.forward.peek(LOOK_AHEAD)?;
        let last = ahead.len() < LOOK_AHEAD;
        let end = memchr::memmem::find(ahead, END);
        let margin = if last { 0 } else { END.len() };
        let ready = end.unwrap_or(ahead.len().saturating_sub(margin)).min(buffer.len());
        let header = ahead.iter().take(ready).position(|byte| self.watch.sees(*byte));
        let count = header.map_or(ready, |at| at + 1);
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ahead.get(..count)) {
            to.copy_from_slice(from);
        }
        self.ended = header.is_some() || count == 0;
        self.forward.skip(count as u64)?;
        Ok(count)
    }
}
